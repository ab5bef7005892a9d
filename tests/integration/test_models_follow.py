"""``models activate`` and ``rollback`` while a daemon runs: the wish, what is printed, exit codes. There is no line."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_runtime.app import deployment_service
from edge_runtime.app.deployment_service import DeploymentService
from edge_runtime.cli import dispatch, models_follow
from edge_runtime.config.loader import load
from edge_runtime.control.deployment.deployment import State
from edge_runtime.control.deployment.record import SlotRecord
from edge_runtime.publish.payload import Identity
from edge_runtime.registry.box import wish as wishes
from edge_runtime.registry.documents import Assignment
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.files import LockFile
from edge_runtime.system.service import ServiceGroup
from tests.daemons import wait_until
from tests.fakes.published import Published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.delivery import Delivery

CONFIG = """\
version: 1
site: plant-a
line: line-3
edge: box-17
cameras: {{top: {{source: "sim:conveyor"}}}}
models: {{defects: {{release: weld, factory: factory.onnx}}}}
registry: {{url: "{url}", root: "{root}"}}
state_dir: state
"""


class Box:
    """A state directory that a daemon holds: its lock, its service of deployments; and somebody with a terminal."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.registry = Published(directory / "publisher", now=datetime.now(UTC).replace(microsecond=0))
        self.state_dir = directory / "state"
        self.config = directory / "edge.yaml"
        self.config.write_text(CONFIG.format(url=self.registry.url, root=self.registry.anchor))
        (directory / "factory.onnx").touch()
        self._capsys = capsys
        for number in (1, 2):
            self.registry.release("weld", number)
            self.registry.roll_out(Assignment("weld", number))
            assert self.say("pull")[0] == 0
        self.service: Any = None

    def say(self, *words: str) -> tuple[int, str, str]:
        """Return exit code, standard output and standard error of ``models ...``."""
        code = dispatch(["models", *words, "--config", str(self.config)])
        out, err = self._capsys.readouterr()
        return code, out, err

    def begin(self, stack: ExitStack) -> None:
        """Start what takes wishes."""
        stack.enter_context(LockFile(self.state_dir / "lock"))
        desk = SimpleNamespace(note=lambda *_: None)
        said = SimpleNamespace(
            identity=Identity("plant-a", "line-3", "box-17"),
            boot_id="boot",
            desk=desk,
            put=lambda _: None,
            show_newest=lambda _: None,
        )
        settings = load(self.config, environ={}).settings
        order = self.registry.order(self.state_dir / "models")
        service = DeploymentService(order.root, cast("Delivery", said), SystemClock(), settings, lambda: None)
        service.attach(cast("LineService", None), settings, order.wants)
        stack.enter_context(ServiceGroup(join_timeout_s=5)).start(service)
        wait_until(lambda: bool(service.slots), 10, "the slots")
        self.service = service

    def end_as(self, state: State, reason: str | None) -> None:
        """Have the deployment end so, as soon as there is one."""
        slot = self.service.slots["defects"]
        wait_until(lambda: slot.deployment is not None and slot.deployment.awaited is None, 10, "the deployment")
        end = replace(slot.deployment, state=state, reason=reason, message="as the test says")
        self.service.later(lambda: self.service.store.write("defects", SlotRecord(end)))


@pytest.fixture
def box(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setattr(deployment_service, "SLICE_S", 0.01)
    monkeypatch.setattr(deployment_service, "TICK_NS", 10_000_000)
    box = Box(tmp_path, capsys)
    with ExitStack() as stack:
        box.begin(stack)
        yield box


def beside(work: Callable[[], None]) -> threading.Thread:
    """Run ``work`` in a thread."""
    thread = threading.Thread(target=work, name="beside")
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("state", "reason", "code"),
    [
        (State.COMMITTED, None, 0),
        (State.REJECTED, "vet.speed", 65),
        (State.ROLLED_BACK, "gate.latency", 65),
        (State.SUPERSEDED, "rollout.newer", 65),
    ],
)
def test_an_activation_is_watched_to_its_end(box: Box, state: State, reason: str | None, code: int) -> None:
    thread = beside(lambda: box.end_as(state, reason))
    found, out, err = box.say("activate", "defects")
    thread.join()
    assert found == code, err
    lines = out.splitlines()
    assert lines[0].startswith("defects: release 2 (2.0.0) is on its way; it waits for a line")
    assert f" UTC  {state.value:<11} slot defects: release 2 of weld" in lines[-1]


def test_one_object_says_how_it_ended(box: Box) -> None:
    thread = beside(lambda: box.end_as(State.REJECTED, "vet.speed"))
    code, out, _ = box.say("activate", "defects", "--json")
    thread.join()
    said = json.loads(out)
    assert (code, said["state"], said["reason"], said["release"]) == (65, "rejected", "vet.speed", 2)
    assert said["deployment"] == box.service.slots["defects"].deployment.id


def test_a_rollback_that_takes_a_trial_back_is_a_success(box: Box) -> None:
    assert box.say("activate", "defects", "--no-wait")[0] == 0
    slot = box.service.slots["defects"]
    slot.deployment = replace(slot.deployment, state=State.PROBATION, judged=True, begun=True)
    code, out, err = box.say("rollback", "defects")
    assert code == 0, err
    assert "rolled_back" in out


def test_who_does_not_wait_is_told_how_to_look(box: Box) -> None:
    code, out, _ = box.say("activate", "defects", "--no-wait")
    assert (code, "goes on by itself" in out) == (0, True)
    code, _, err = box.say("activate", "defects", "--timeout", "0.1")
    assert (code, "is waiting and goes on by itself" in err) == (75, True)
    listed = json.loads(box.say("list", "--json")[1])["slots"][0]
    assert (listed["deployment"]["state"], listed["trial"]["release"]) == ("waiting", 2)
    assert listed["factory"].endswith("factory.onnx")
    out = box.say("list")[1]
    assert "  waiting since" in out
    assert "  trial     release 2 of weld" in out


def test_what_the_daemon_refuses_is_an_error_with_its_words(box: Box) -> None:
    code, _, err = box.say("activate", "defects", "--release", "1")
    assert (code, "already" in err) == (65, True)
    code, _, err = box.say("rollback", "defects")
    assert (code, "no release before" in err) == (65, True)
    code, _, err = box.say("rollback", "elsewhere")
    assert (code, "no slot elsewhere" in err) == (65, True)


def test_a_daemon_that_does_not_answer_gets_its_wish_taken_back(
    box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(models_follow, "ANSWER_S", 0.2)
    monkeypatch.setattr(box.service.commands, "take_wishes", lambda: None)
    code, _, err = box.say("activate", "defects")
    assert (code, "nothing was begun" in err) == (69, True)
    assert not (tmp_path / "state" / "models" / "slots" / "defects" / wishes.WISH).exists()


def test_who_asks_at_the_same_moment_as_somebody_else_is_told_so_and_leaves_the_others_wish(
    box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(box.service.commands, "take_wishes", lambda: None)
    directory = tmp_path / "state" / "models" / "slots" / "defects"
    newer = wishes.Wish("newer", "rollback", None, "somebody", time.monotonic_ns() + wishes.LIFE_NS)
    leave = wishes.leave

    def both(where: Path, wish: wishes.Wish) -> None:
        leave(where, wish)
        leave(where, newer)

    monkeypatch.setattr(wishes, "leave", both)
    code, _, err = box.say("activate", "defects")
    assert (code, "at the same moment" in err) == (75, True)
    assert wishes.take(directory) == newer


def test_without_a_daemon_the_links_are_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = Box(tmp_path, capsys)
    code, out, _ = box.say("activate", "defects")
    assert (code, "the next one begins with it" in out) == (0, True)


def test_status_says_how_a_deployment_goes_on_and_a_damaged_record_is_told(
    box: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    assert box.say("activate", "defects", "--no-wait")[0] == 0
    live = {"slots": {"defects": {"state": "staged", "deployment": {"progress": 0.4}}}, "deployments": {"committed": 3}}
    top = {"ready": True, "droppedBy": {"queue": 2}}
    status = {
        "live": True,
        "inspections": {"top": top},
        "ready": True,
        "mono_ns": time.monotonic_ns(),
        "registry": {"state": "ok", **live},
    }
    (box.state_dir / "status.json").write_text(json.dumps(status))
    assert dispatch(["status", "--state-dir", str(box.state_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "deployment  defects                  waiting (40%) since" in lines[-1]
    assert [line.split()[0] for line in lines] == ["ready", "inspection", "registry", "release", "deployment"]
    assert lines[1].endswith("ready=True  droppedBy=queue:2")
    assert not any("{" in line for line in lines)
    record = box.state_dir / "models" / "slots" / "defects" / "deployment.json"
    record.write_text("{}")
    assert "its record is damaged" in box.say("list")[1]
    assert record.exists()
    assert dispatch(["status", "--state-dir", str(box.state_dir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["deployments"]["defects"]["damage"]
