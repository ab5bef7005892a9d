"""Whatever becomes of a vet process, there is one report, and a sentence for people in it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.pipeline.vet_link import START_S, Stage, VetLink, VetReport, VetSpec
from edge_runtime.system.process import ExitCause, ExitKind
from tests.fakes.child import FakeChild
from tests.fakes.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.system.loop import Loop
    from edge_runtime.system.process import Child, ChildSpec, Supervisor

DEADLINE_S = 5.0
BEGIN = {"op": "begin", "step": "engine", "what": "openvino on CPU"}
GOOD = {"op": "verdict", "ok": True, "step": "speed", "engine": {"backend": "openvino"}, "other": 1}
BAD = {
    "op": "verdict",
    "ok": False,
    "step": "gate",
    "error": {"code": "model.unsafe", "message": "m.onnx: a circle", "help": "export it again", "exit_code": 65},
}


class Scene:
    """A link that was started, with a loop and a supervisor that do nothing but remember."""

    def __init__(self) -> None:
        self.reports: list[VetReport] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.spawned: list[ChildSpec] = []
        self.retired: list[str] = []
        self.child = FakeChild(name="vet")
        self.clock = ManualClock()
        spec = VetSpec(path=Path("/models/m.onnx"), deadline_s=DEADLINE_S, threads=2, record=("a.jpg",))
        place = Stage(cast("Loop", self), cast("Supervisor", self))
        self.link = VetLink(spec, "engine.vet:main", place, self.reports.append)
        self.link.start()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self.timers.append((seconds, callback))

    def spawn(self, spec: ChildSpec, owner: object) -> None:
        assert owner is self.link
        self.spawned.append(spec)

    def retire(self, name: str) -> None:
        self.retired.append(name)

    def begin(self) -> None:
        self.link.on_started(cast("Child", self.child))

    def say(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.link.on_message(cast("Child", self.child), message)

    def end(self, kind: ExitKind = ExitKind.EXITED, code: int | None = 0, number: int | None = None) -> VetReport:
        self.link.on_exited(cast("Child", self.child), ExitCause(kind, "vet (pid 7): it ended", code, number))
        (report,) = self.reports
        assert self.retired == ["vet"]
        return report


@pytest.fixture
def stage() -> Scene:
    return Scene()


def test_the_process_gets_what_it_needs(stage: Scene) -> None:
    (spec,) = stage.spawned
    assert spec.entry == "engine.vet:main"
    assert spec.heartbeat_timeout_s > DEADLINE_S
    assert (spec.args["path"], spec.args["record"], spec.args["threads"]) == ("/models/m.onnx", ["a.jpg"], 2)


def test_a_good_verdict_is_reported_once_the_process_is_gone(stage: Scene) -> None:
    stage.begin()
    stage.say(BEGIN, {"op": "done", "step": "engine", "seconds": 0.5})
    stage.say({"op": "frame", "file": "a.jpg", "predictions": [{"label": "dent"}]}, GOOD)
    assert stage.reports == []
    report = stage.end()
    assert report.error is None
    assert [(one.name, one.seconds) for one in report.steps] == [("engine", 0.5)]
    assert report.facts == {"engine": {"backend": "openvino"}}
    assert report.frames == {"a.jpg": [{"label": "dent"}]}


def test_a_refusal_keeps_its_code_words_and_kind(stage: Scene) -> None:
    stage.say(BAD)
    error = stage.end().error
    assert isinstance(error, DataError)
    assert (error.code, error.message, error.help) == ("model.unsafe", "m.onnx: a circle", "export it again")


def test_a_device_that_is_not_there_is_no_fault_of_the_model(stage: Scene) -> None:
    stage.say({**BAD, "error": {**cast("dict[str, Any]", BAD["error"]), "code": "device.missing", "exit_code": 69}})
    assert isinstance(stage.end().error, UnavailableError)


@pytest.mark.parametrize(
    ("kind", "code", "number", "expected", "words"),
    [
        (
            ExitKind.SIGNALED,
            None,
            signal.SIGSEGV,
            "model.crashed",
            "crashed the process that tried it: vet (pid 7): it ended",
        ),
        (ExitKind.SIGNALED, None, signal.SIGABRT, "model.crashed", "crashed the process"),
        (ExitKind.SIGNALED, None, signal.SIGKILL, "model.memory", "as the system does when memory runs out"),
        (ExitKind.EXITED, 1, None, "model.crashed", "ended without a verdict"),
        (ExitKind.KILLED, None, None, "model.crashed", "ended without a verdict"),
        (ExitKind.ZYGOTE_LOST, None, None, "vet.lost", "was lost"),
    ],
)
def test_an_end_without_a_verdict_says_which_step_and_what_happened(
    stage: Scene, kind: ExitKind, code: int | None, number: int | None, expected: str, words: str
) -> None:
    stage.begin()
    stage.say(BEGIN)
    error = stage.end(kind, code, number).error
    assert error is not None
    assert error.code == expected
    assert "m.onnx: step engine (openvino on CPU)" in error.message
    assert words in error.message
    assert error.help


def test_its_time_is_up_at_the_deadline(stage: Scene) -> None:
    stage.begin()
    stage.say(BEGIN)
    seconds, deadline = stage.timers[-1]
    assert seconds == DEADLINE_S
    deadline()
    assert stage.child.killed == ["its time is up"]
    error = stage.end(ExitKind.KILLED, None, signal.SIGKILL).error
    assert error is not None
    assert (error.code, "did not end within 5 s" in error.message) == ("model.hangs", True)


def test_a_deadline_after_the_end_does_nothing(stage: Scene) -> None:
    stage.begin()
    stage.say(BEGIN, GOOD)
    stage.end()
    for _, timer in stage.timers:
        timer()
    assert stage.child.killed == []
    assert len(stage.reports) == 1


def test_a_process_that_never_begins_is_reported(stage: Scene) -> None:
    seconds, never = stage.timers[0]
    assert seconds == START_S + DEADLINE_S
    never()
    (report,) = stage.reports
    assert isinstance(report.error, UnavailableError)
    assert stage.retired == ["vet"]


@pytest.mark.parametrize(
    "message",
    [
        {"op": "dance"},
        {"op": "done", "step": "engine", "seconds": 1},
        {"op": "begin", "step": 3, "what": "x"},
        {"op": "frame", "file": "a.jpg", "predictions": 3},
        {"op": "verdict", "ok": False},
        {"op": "verdict", "ok": True, "error": {"code": "a", "message": "b", "help": "c", "exit_code": "x"}},
    ],
)
def test_nonsense_ends_the_process(stage: Scene, message: dict[str, Any]) -> None:
    stage.begin()
    stage.say(message)
    assert len(stage.child.killed) == 1


def test_a_second_verdict_is_nonsense(stage: Scene) -> None:
    stage.say(BAD, GOOD)
    assert len(stage.child.killed) == 1
    assert stage.end().error is not None
