"""The process that looks at the registry, with other programs in its place: it lies, hangs, dies, talks too much."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_runtime.app.registry_process import look
from edge_runtime.core.errors import BusyError, DataError, EdgeError, UnavailableError
from edge_runtime.registry.box.report import Contact, Report
from edge_runtime.registry.carriers.access import Access
from edge_runtime.system.service import Stop
from tests.fakes.published import Published
from tests.hostile_registry import Call, HostileRegistry

if TYPE_CHECKING:
    from edge_runtime.registry.box.order import Order


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Published(tmp_path / "publisher").order(tmp_path / "models")


def command(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", "import json, os, sys, time\norder = json.load(sys.stdin)\n" + program)


def said(*messages: dict[str, object]) -> tuple[str, ...]:
    return command("\n".join(f"print({json.dumps(one)!r})" for one in messages))


def test_the_real_one_looks(tmp_path: Path) -> None:
    registry = Published(tmp_path / "other")
    report = look(registry.order(tmp_path / "models"), Stop(), fresh=True)
    assert report.contact is Contact.UNREACHABLE  # nothing was published
    assert [one.slot for one in report.slots] == ["defects"]


def test_its_report_and_its_progress_are_passed_on(order: Order) -> None:
    heard: list[tuple[int, int]] = []
    report = Report(Contact.FROZEN, "trust.frozen", "too old")
    messages = ({"op": "progress", "done": 3, "total": 7}, {"op": "report", **report.as_fields()})
    found = look(order, Stop(), on_progress=lambda *one: heard.append(one), command=said(*messages))
    assert (found, heard) == (report, [(3, 7)])


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"op": "error", "code": "storage.locked", "message": "held", "help": None, "exit_code": 75}, BusyError),
        ({"op": "error", "code": "x.y", "message": "wrong", "help": "mend it", "exit_code": 65}, DataError),
        ({"op": "report", "contact": "fine"}, DataError),
        ({"op": "report"}, DataError),
    ],
)
def test_its_errors_are_raised_here(order: Order, message: dict[str, object], kind: type[EdgeError]) -> None:
    with pytest.raises(kind) as caught:
        look(order, Stop(), command=said(message))
    if message["op"] == "error":
        assert (caught.value.code, caught.value.message) == (message["code"], message["message"])


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        ("os.kill(os.getpid(), 9)", "registry.crashed", "SIGKILL"),
        ("sys.exit(3)", "registry.crashed", "code 3"),
        ("", "registry.crashed", "code 0"),
        ("print('{')", "manifest.unreadable", "not JSON"),
        ("print('[]')", "manifest.unreadable", "an object"),
        ("sys.stdout.write('x' * (5 << 20)); sys.stdout.flush(); time.sleep(60)", "registry.report", "at once"),
        ("time.sleep(60)", "registry.silent", "said nothing"),
    ],
)
def test_one_that_misbehaves_is_ended(order: Order, program: str, code: str, words: str) -> None:
    silence_s = 0.3 if code == "registry.silent" else 30.0
    with pytest.raises(EdgeError) as caught:
        look(order, Stop(), command=command(program), silence_s=silence_s)
    assert caught.value.code == code
    assert words in caught.value.message


def test_a_stop_ends_it_whatever_it_does(order: Order) -> None:
    stop = Stop()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    with pytest.raises(UnavailableError) as caught:
        look(
            order, stop, command=command("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)")
        )
    timer.join()
    assert caught.value.code == "registry.stopped"


def test_secrets_are_in_the_pipe_and_not_among_the_arguments(tmp_path: Path) -> None:
    from edge_runtime.registry.carriers.access import Access

    order = Published(tmp_path / "publisher").order(tmp_path / "m", access=Access(username="robot", password="hunter2"))
    report = json.dumps({"op": "report", **Report(Contact.OK).as_fields()})
    program = (
        "secret = order['order']['access']['password']\n"
        "assert secret.startswith('hunter')\n"
        "assert secret not in open('/proc/self/cmdline').read()\n"
        "assert secret not in open('/proc/self/environ').read()\n"
        f"print({report!r})"
    )
    assert look(order, Stop(), command=command(program)).contact is Contact.OK


def test_it_does_not_outlive_us(order: Order, tmp_path: Path) -> None:
    """The kernel ends it with the thread that asked."""
    pid_file = tmp_path / "pid"
    program = (
        "from edge_runtime.system.child import die_with_parent\n"
        "die_with_parent(int(sys.argv[1]))\n"
        f"open({str(pid_file)!r} + '.new', 'w').write(str(os.getpid())); os.rename({str(pid_file)!r} + '.new', "
        f"{str(pid_file)!r})\ntime.sleep(60)"
    )
    child = os.fork()
    if child == 0:
        try:
            look(order, Stop(), command=command(program))
        finally:
            os._exit(0)
    deadline = time.monotonic() + 20
    while not pid_file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pid = int(pid_file.read_text())
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while " Z " not in Path(f"/proc/{pid}/stat").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_registry_that_says_the_password_back_does_not_bring_it_into_reports(order: Order) -> None:
    sent = base64.b64encode(b"robot:hunter22").decode()

    def echo(call: Call) -> None:
        if call.handler.headers.get("Authorization") is None:
            call.handler.answer(401, WWW_Authenticate='Basic realm="r"')
        else:
            call.handler.wfile.write(f"is it hunter22, or {sent} ?\r\n\r\n".encode())
            call.cut()

    with HostileRegistry(attack=echo) as hostile:
        hostile.tag("tuf", "latest", b"{}")
        asked = replace(order, urls=(f"oci://{hostile.address}",), access=Access(username="robot", password="hunter22"))
        report = look(asked, Stop())
    assert report.contact is Contact.UNREACHABLE
    assert "is it ***, or *** ?" in str(report.message)


def test_a_password_that_is_said_back_as_it_was_sent_is_masked_at_once() -> None:
    access = Access(username="robot", password="hunter22")
    assert access.secrets() == ("cm9ib3Q6aHVudGVyMjI=", "cm9ib3Q6aHVudGVyMjI", "hunter22")
    assert Access(username="robot").secrets() == ()
