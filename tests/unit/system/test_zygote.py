"""The zygote and main's link to it, on the wire between them; the whole is tested in test_process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edge_runtime
from edge_runtime.system import zygote_link
from edge_runtime.system.child import ForkOrder
from edge_runtime.system.heartbeat import Heartbeat
from edge_runtime.system.loop import Loop
from edge_runtime.system.messages import MessageSocket, Parcel, close_all, pair
from edge_runtime.system.zygote_link import ZygoteLink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
DEADLINE_S = 20.0


class Zygote:
    """A zygote process with the test at the other end of its socket."""

    def __init__(self, *, main_pid: int | None = None) -> None:
        self.control, theirs = pair()
        self.heartbeat, beat_fd = Heartbeat.create()
        fds = (theirs.fileno(), beat_fd)
        arguments = [str(number) for number in (*fds, main_pid or os.getpid())]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_runtime.system.zygote", *arguments],
            pass_fds=fds,
            env={**os.environ, "PYTHONPATH": str(Path(edge_runtime.__file__).parent.parent)},
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        os.close(beat_fd)

    def preload(self, *modules: str) -> None:
        self.control.send({"op": "preload", "path": [str(HERE), *sys.path], "modules": list(modules)})

    def fork(self, order_id: int, entry: str) -> MessageSocket:
        ours, theirs = pair()
        heartbeat, beat_fd = Heartbeat.create()
        order = ForkOrder(order_id, f"camera/{order_id}", entry, {}, {"socket": theirs.fileno(), "heartbeat": beat_fd})
        self.control.send(order.message(), fds=list(order.fds.values()))
        theirs.close()
        os.close(beat_fd)
        heartbeat.close()
        return ours

    def report(self) -> Parcel:
        parcel = self.control.receive_parcel(DEADLINE_S)
        assert parcel is not None
        return parcel

    def close(self) -> None:
        self.control.close()
        self.process.kill()
        self.process.wait(DEADLINE_S)
        self.heartbeat.close()


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    it = Zygote()
    yield it
    it.close()


def test_it_reports_each_birth_with_a_pidfd_and_each_end_with_its_status(zygote: Zygote) -> None:
    zygote.preload("child_entries")
    sockets = [zygote.fork(number, "child_entries:puppet") for number in (1, 2)]
    births = [zygote.report() for _ in sockets]
    assert [(birth.message["op"], birth.message["id"], len(birth.fds)) for birth in births] == [
        ("forked", 1, 1),
        ("forked", 2, 1),
    ]
    assert [sock.receive(DEADLINE_S) for sock in sockets] == [
        {"op": "hello", "pid": birth.message["pid"], "args": {}, "fds": []} for birth in births
    ]
    signal.pidfd_send_signal(births[0].fds[0], signal.SIGKILL)
    assert zygote.report() == Parcel({"op": "exited", "id": 1, "status": signal.SIGKILL}, ())
    sockets[1].send({"op": "exit", "code": 3})
    assert zygote.report() == Parcel({"op": "exited", "id": 2, "status": 3 << 8}, ())
    for sock, birth in zip(sockets, births, strict=True):
        sock.close()
        close_all(birth.fds)


def test_it_ends_with_its_children_when_main_closes_the_socket(zygote: Zygote) -> None:
    zygote.preload()
    child = zygote.fork(1, "child_entries:stubborn")
    birth = zygote.report()
    assert child.receive(DEADLINE_S) == {"op": "hello"}
    zygote.control.close()
    assert zygote.process.wait(DEADLINE_S) == 0
    deadline = time.monotonic() + DEADLINE_S
    while signal_reaches(birth.fds[0]):
        assert time.monotonic() < deadline
        os.sched_yield()
    child.close()
    close_all(birth.fds)


def signal_reaches(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, signal.Signals.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def test_it_ends_at_once_when_main_is_not_its_parent() -> None:
    orphan = Zygote(main_pid=1 << 22)
    assert orphan.process.wait(DEADLINE_S) == os.EX_UNAVAILABLE
    orphan.close()


def test_its_first_beat_says_that_everything_is_preloaded(zygote: Zygote) -> None:
    assert zygote.heartbeat.last_ns == 0
    zygote.preload("child_entries")
    deadline = time.monotonic() + DEADLINE_S
    while zygote.heartbeat.last_ns == 0:
        assert time.monotonic() < deadline
        os.sched_yield()


def test_an_order_that_makes_no_sense_ends_it_because_only_main_writes_there(zygote: Zygote) -> None:
    zygote.preload()
    zygote.control.send({"op": "fork", "id": 1})
    assert zygote.process.wait(DEADLINE_S) == 1


def test_ctrl_c_does_not_end_it(zygote: Zygote) -> None:
    zygote.preload()
    zygote.fork(1, "child_entries:stubborn").close()
    close_all(zygote.report().fds)
    zygote.process.send_signal(signal.SIGINT)
    zygote.fork(2, "child_entries:stubborn").close()
    second = zygote.report()
    assert second.message["id"] == 2
    close_all(second.fds)


class Owner:
    """Hears what the link says."""

    def __init__(self) -> None:
        self.lost: list[tuple[str, float]] = []
        self.failed: list[tuple[int, str]] = []

    def on_forked(self, order_id: int, pid: int, pidfd: int) -> None:
        del order_id, pid
        os.close(pidfd)

    def on_fork_failed(self, order_id: int, message: str) -> None:
        self.failed.append((order_id, message))

    def on_child_exited(self, order_id: int, status: int) -> None:
        del order_id, status

    def on_zygote_lost(self, text: str, worked_s: float) -> None:
        self.lost.append((text, worked_s))


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as it:
        yield it


def turn_until(loop: Loop, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        loop.turn(0.05)


def rogue(script: str) -> Callable[[int, int], tuple[subprocess.Popen[bytes], int]]:
    """In place of the zygote, a process that does what ``script`` says with socket ``control``."""
    body = "import os, signal, socket, sys\ncontrol = socket.socket(fileno=int(sys.argv[1]))\n" + textwrap.dedent(
        script
    )

    def spawn(control_fd: int, heartbeat_fd: int) -> tuple[subprocess.Popen[bytes], int]:
        process = subprocess.Popen([sys.executable, "-ISc", body, str(control_fd)], pass_fds=(control_fd, heartbeat_fd))
        return process, os.pidfd_open(process.pid)

    return spawn


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("sys.exit(3)", "it ended with 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "it ended with -9"),
        ("control.close(); signal.pause()", "it ended with -9"),
        ("control.send(b'garbage'); signal.pause()", "message between processes refused"),
        ("control.send(b'{}'); signal.pause()", "it sent {}"),
        ("""control.send(b'{"op":"forked","id":1,"pid":2}'); signal.pause()""", "it sent {'op': 'forked'"),
    ],
)
def test_a_zygote_that_ends_or_talks_nonsense_is_ended_and_reported_once(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, script: str, text: str
) -> None:
    monkeypatch.setattr(zygote_link, "_spawn", rogue(script))
    owner = Owner()
    link = ZygoteLink(loop, [], owner)
    turn_until(loop, lambda: owner.lost)
    loop.turn(0)
    [(reason, worked_s)] = owner.lost
    assert text in reason
    assert worked_s == 0.0
    assert link.closed
    link.close()


def test_a_zygote_that_does_not_take_orders_is_ended(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote_link, "_spawn", rogue("signal.pause()"))
    owner = Owner()
    link = ZygoteLink(loop, [], owner)
    while link.fork(ForkOrder(1, "camera/top", "a:b", {}, {})):
        pass
    turn_until(loop, lambda: owner.lost)
    assert "did not read its messages" in owner.lost[0][0]


def test_what_the_zygote_said_before_it_died_is_heard_first(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    said = """control.send(b'{"op":"fork_failed","id":5,"message":"no memory"}')"""
    monkeypatch.setattr(zygote_link, "_spawn", rogue(said))
    owner = Owner()
    ZygoteLink(loop, [], owner)
    turn_until(loop, lambda: owner.lost)
    assert owner.failed == [(5, "no memory")]


def test_closing_a_link_ends_a_zygote_that_ignores_it(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote_link, "_spawn", rogue("signal.pause()"))
    owner = Owner()
    link = ZygoteLink(loop, [], owner)
    link.close()
    link.close()
    assert link._process.returncode == -signal.SIGKILL
    assert owner.lost == []
