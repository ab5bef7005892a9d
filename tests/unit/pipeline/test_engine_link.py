"""Requests to the engine are answered, or settled when it dies; nothing it says is believed unread."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import pytest

from edge_runtime.core.errors import UnavailableError
from edge_runtime.core.result import Failure
from edge_runtime.pipeline.engine_link import EngineLink
from edge_runtime.pipeline.slot import LOAD_DEATHS_LIMIT, ModelSlot, Request, SlotSpec, SlotState
from edge_runtime.system.process import ExitCause, ExitKind
from tests.fakes.child import FakeChild
from tests.fakes.clock import ManualClock
from tests.fakes.values import make_frame

if TYPE_CHECKING:
    from edge_runtime.pipeline.attempt import Verdict
    from edge_runtime.system.process import Child

LOADED = {
    "op": "loaded",
    "slot": "defects",
    "model": {"name": "surface-defects", "version": "1.2.0", "digest": "sha256:00"},
    "backend": "openvino",
    "device": "CPU",
    "precision": "int8",
    "task": "detection",
    "labels": ["scratch"],
    "thresholds": {"score": 0.25, "by_label": {}},
}
INFERRED = {
    "op": "inferred",
    "predictions": [],
    "timings_ms": {"preprocess": 1, "infer": 2, "postprocess": 3},
    "started_mono_ns": 0,
    "device": "CPU",
}


class _Listener:
    def __init__(self) -> None:
        self.changes: list[tuple[str, SlotState]] = []
        self.verdicts: list[tuple[int, float]] = []
        self.failures: list[tuple[int, Failure, str]] = []
        self.others: list[dict[str, object]] = []

    def on_slot_changed(self, slot: ModelSlot) -> None:
        self.changes.append((slot.spec.id, slot.state))

    def on_verdict(self, slot: ModelSlot, request: Request, verdict: Verdict) -> None:
        del slot
        self.verdicts.append((request.frame.frame_id, verdict.infer_ms))

    def on_failed(self, slot: ModelSlot, request: Request, failure: Failure, message: str) -> None:
        del slot
        self.failures.append((request.frame.frame_id, failure, message))

    def on_preparing(self, slot: ModelSlot, request: Request) -> None:
        pass

    def on_other(self, message: dict[str, object]) -> None:
        self.others.append(message)


class _Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.listener = _Listener()
        specs = [SlotSpec("defects", "/models/a", threads=3, hang_ms=100), SlotSpec("codes", "/models/b")]
        self.link = EngineLink(specs, self.listener, cache_dir="/cache")
        self.child = FakeChild(name="engine")
        self.slot = self.link.slots["defects"]

    def start(self, *, restarts: int = 0, gone: bool = False) -> None:
        self.child = FakeChild(name="engine", restarts=restarts)
        self.child.gone = gone
        self.link.on_started(cast("Child", self.child))

    def say(self, **message: object) -> None:
        self.link.on_message(cast("Child", self.child), message)

    def die(self, kind: ExitKind = ExitKind.SIGNALED) -> None:
        self.link.on_exited(cast("Child", self.child), ExitCause(kind, "engine (pid 7): died of SIGSEGV"))

    def infer(self, frame_id: int) -> bool:
        request = Request("top", make_frame(frame_id, self.clock.mono_ns()), self.clock.mono_ns())
        return self.link.infer(self.slot, "top", request)


@pytest.fixture
def bench() -> _Bench:
    """A started engine with its first model loaded."""
    bench = _Bench()
    bench.start()
    bench.say(**LOADED)
    return bench


def test_a_new_process_is_told_to_load_every_model() -> None:
    bench = _Bench()
    assert not bench.link.alive
    bench.start(restarts=2)
    assert bench.link.alive
    assert bench.link.restarts == 2
    assert [(m["op"], m["slot"], m["path"]) for m in bench.child.sent] == [
        ("load", "defects", "/models/a"),
        ("load", "codes", "/models/b"),
    ]
    assert bench.child.sent[0] == {
        "op": "load",
        "slot": "defects",
        "path": "/models/a",
        "digest": None,
        "device": "auto",
        "backend": "auto",
        "workers": 2,
        "threads": 3,
        "streams": 1,
        "cache_dir": "/cache",
    }


def test_an_empty_slot_is_not_loaded_and_a_released_model_with_its_identity() -> None:
    digest = "sha256:" + "a" * 64
    link = EngineLink([SlotSpec("codes", None), SlotSpec("defects", "/m", digest)], _Listener(), cache_dir=None)
    child = FakeChild(name="engine")
    link.on_started(cast("Child", child))
    assert [(one["slot"], one["digest"]) for one in child.sent] == [("defects", digest)]
    link.on_exited(cast("Child", child), ExitCause(ExitKind.SIGNALED, "engine (pid 7): died of SIGSEGV"))
    assert link.slots["codes"].state is SlotState.EMPTY


def test_a_process_that_does_not_take_its_models_is_ended() -> None:
    bench = _Bench()
    bench.start(gone=True)
    assert bench.child.killed == ["it does not take messages"]


def test_a_loaded_model_is_told(bench: _Bench) -> None:
    assert bench.listener.changes == [("defects", SlotState.READY)]
    assert bench.slot.facts is not None
    assert bench.slot.facts.model.name == "surface-defects"


def test_a_refused_model_is_told_with_its_reason(bench: _Bench) -> None:
    bench.say(op="load_failed", slot="codes", code="model.unreadable", message="not an ONNX file")
    assert bench.listener.changes[1:] == [("codes", SlotState.FAILED)]
    assert bench.link.slots["codes"].message == "model.unreadable: not an ONNX file"
    assert bench.child.killed == []


def test_a_frame_is_sent_by_reference(bench: _Bench) -> None:
    assert bench.infer(7)
    assert bench.child.sent[-1] == {
        "op": "infer",
        "request": 1,
        "slot": "defects",
        "inspection": "top",
        "ring": "top",
        "index": 1,
        "generation": 14,
        "width": 640,
        "height": 480,
        "channels": 3,
    }


def test_answers_find_their_frames_in_any_order(bench: _Bench) -> None:
    bench.infer(7)
    bench.infer(8)
    bench.say(**INFERRED, request=2)
    bench.say(**INFERRED, request=1)
    assert [frame_id for frame_id, _ in bench.listener.verdicts] == [8, 7]
    assert bench.slot.has_room


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        ("invalid_frame", Failure.INVALID_FRAME),
        ("stale_slot", Failure.INVALID_FRAME),
        ("invalid_output", Failure.INVALID_OUTPUT),
        ("no_model", Failure.NO_MODEL),
        ("something new", Failure.INVALID_OUTPUT),
    ],
)
def test_a_frame_that_cannot_be_judged_fails_with_the_cause(bench: _Bench, said: str, failure: Failure) -> None:
    bench.infer(7)
    bench.say(op="failed", request=1, failure=said, message="because")
    assert bench.listener.failures == [(7, failure, "because")]


def test_frames_in_a_process_that_dies_fail_once(bench: _Bench) -> None:
    bench.infer(7)
    bench.infer(8)
    bench.die()
    message = "the engine process ended: engine (pid 7): died of SIGSEGV"
    assert bench.listener.failures == [(7, Failure.ENGINE_LOST, message), (8, Failure.ENGINE_LOST, message)]
    assert bench.listener.changes[1:] == [("defects", SlotState.LOST), ("codes", SlotState.LOST)]
    bench.die()
    assert len(bench.listener.failures) == 2
    assert not bench.link.alive


def test_an_engine_that_compiles_for_a_frame_does_not_hang(bench: _Bench) -> None:
    bench.infer(7)
    bench.say(op="preparing", request=1)
    late = bench.clock.mono_ns() + 101_000_000  # the slot's hang_ms is 100
    bench.link.check(late)
    assert bench.child.killed == []
    bench.say(**INFERRED, request=1)
    assert [frame for frame, _ in bench.listener.verdicts] == [7]
    bench.infer(8)
    bench.link.check(late)
    assert bench.child.killed == ["model defects did not answer for 101 ms"]


def test_a_compilation_for_a_frame_that_nobody_sent_is_a_fault(bench: _Bench) -> None:
    bench.say(op="preparing", request=5)
    assert bench.child.killed == ["protocol fault"]


def dies_while_loading(bench: _Bench, slot: str = "codes", kind: ExitKind = ExitKind.SIGNALED) -> None:
    """An engine starts, has its models loaded up to ``slot``, and dies in that one."""
    bench.start()
    if slot == "codes":
        bench.say(**LOADED)
    bench.die(kind)


@pytest.mark.parametrize("kind", [ExitKind.SIGNALED, ExitKind.HEARTBEAT])
def test_a_model_of_whose_load_engines_keep_dying_is_refused_and_the_others_go_on(kind: ExitKind) -> None:
    bench = _Bench()
    for _ in range(LOAD_DEATHS_LIMIT - 1):
        dies_while_loading(bench, kind=kind)
        assert bench.link.slots["codes"].state is SlotState.LOST
    bench.listener.changes.clear()
    dies_while_loading(bench, kind=kind)
    assert bench.listener.changes == [
        ("defects", SlotState.READY),
        ("defects", SlotState.LOST),
        ("codes", SlotState.FAILED),
    ]
    message = bench.link.slots["codes"].message
    assert message.startswith("model.kills_engine: 3 engines in a row died while they loaded this model, last: ")
    assert "died of SIGSEGV" in message
    assert "then reload" in message

    for _ in range(2):
        bench.start()
        assert [sent["slot"] for sent in bench.child.sent] == ["defects"]
        bench.say(**LOADED)
        assert bench.infer(7)
        bench.die()
    assert ("codes", SlotState.FAILED) not in bench.listener.changes[3:]


def test_only_deaths_in_a_row_refuse_a_model() -> None:
    bench = _Bench()
    for _ in range(2):
        for _ in range(LOAD_DEATHS_LIMIT - 1):
            dies_while_loading(bench)
        bench.start()
        bench.say(**LOADED)
        bench.say(**{**LOADED, "slot": "codes"})
        bench.die()
    assert bench.link.slots["codes"].state is SlotState.LOST


@pytest.mark.parametrize(
    "kind", sorted(set(ExitKind) - {ExitKind.SIGNALED, ExitKind.HEARTBEAT}, key=lambda kind: kind.value)
)
def test_an_end_that_has_a_reason_of_its_own_is_not_the_models(kind: ExitKind) -> None:
    bench = _Bench()
    for _ in range(2 * LOAD_DEATHS_LIMIT):
        dies_while_loading(bench, "defects", kind)
    assert {slot.state for slot in bench.link.slots.values()} == {SlotState.LOST}


def test_deaths_of_an_engine_that_loads_nothing_refuse_no_model() -> None:
    bench = _Bench()
    for _ in range(2 * LOAD_DEATHS_LIMIT):
        bench.start()
        bench.say(**LOADED)
        bench.say(**{**LOADED, "slot": "codes"})
        bench.die()
    assert {slot.state for slot in bench.link.slots.values()} == {SlotState.LOST}


def test_a_refused_model_is_not_loaded_again_by_the_next_process(bench: _Bench) -> None:
    bench.say(op="load_failed", slot="codes", code="model.unreadable", message="not an ONNX file")
    bench.listener.changes.clear()
    bench.die()
    bench.start()
    assert [sent["slot"] for sent in bench.child.sent] == ["defects"]
    assert bench.listener.changes == [("defects", SlotState.LOST)]
    assert bench.link.slots["codes"].message == "model.unreadable: not an ONNX file"


def test_frames_of_a_model_that_the_engine_calls_refused_are_settled_when_it_dies(bench: _Bench) -> None:
    bench.infer(7)
    bench.say(op="load_failed", slot="defects", code="model.unreadable", message="after all")
    bench.die()
    assert [(frame_id, failure) for frame_id, failure, _ in bench.listener.failures] == [(7, Failure.ENGINE_LOST)]


def test_a_retired_process_settles_its_frames_and_is_no_change(bench: _Bench) -> None:
    bench.infer(7)
    bench.die(ExitKind.RETIRED)
    assert len(bench.listener.failures) == 1
    assert len(bench.listener.changes) == 1


def test_nothing_is_sent_while_there_is_no_process(bench: _Bench) -> None:
    bench.die()
    assert not bench.infer(7)
    with pytest.raises(UnavailableError, match="not running"):
        bench.link.send({"op": "bench"})


def test_asking_a_process_that_is_gone_is_refused(bench: _Bench) -> None:
    bench.child.gone = True
    with pytest.raises(UnavailableError, match="not running"):
        bench.link.send({"op": "bench"})


def test_a_process_that_takes_no_frames_is_ended_and_nothing_is_in_flight(bench: _Bench) -> None:
    bench.child.gone = True
    assert not bench.infer(7)
    assert bench.child.killed == ["it does not take messages"]
    bench.die()
    assert bench.listener.failures == []


def test_other_messages_pass_both_ways(bench: _Bench) -> None:
    bench.link.send({"op": "bench"})
    assert bench.child.sent[-1] == {"op": "bench"}
    bench.say(op="benched", fps=50)
    assert bench.listener.others == [{"op": "benched", "fps": 50}]


@pytest.mark.parametrize(
    "message",
    [
        {**INFERRED, "request": 99},
        {**INFERRED, "request": "1"},
        {**INFERRED, "request": 1, "device": None},
        {"op": "failed", "request": 1},
        {"op": "failed", "request": 1, "failure": "no_model"},
        {**LOADED, "slot": "nobody"},
        {**LOADED, "labels": None},
        {"op": "load_failed", "slot": "defects", "code": 5},
    ],
)
def test_a_message_that_does_not_fit_kills_the_process_and_no_frame_is_forgotten(
    bench: _Bench, message: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    bench.infer(7)
    bench.say(**message)
    assert bench.child.killed == ["protocol fault"]
    assert [r.levelno for r in caplog.records] == [logging.ERROR]
    bench.die()
    assert [(frame_id, failure) for frame_id, failure, _ in bench.listener.failures] == [(7, Failure.ENGINE_LOST)]


def test_an_engine_that_does_not_answer_in_time_is_killed(bench: _Bench) -> None:
    bench.infer(7)
    bench.clock.advance_ms(100)
    bench.link.check(bench.clock.mono_ns())
    assert bench.child.killed == []
    bench.clock.advance_ms(1)
    bench.link.check(bench.clock.mono_ns())
    assert bench.child.killed == ["model defects did not answer for 101 ms"]


def test_a_dead_engine_is_not_killed_again(bench: _Bench) -> None:
    bench.infer(7)
    bench.die()
    bench.clock.advance_ms(1000)
    bench.link.check(bench.clock.mono_ns())
    assert bench.child.killed == []
