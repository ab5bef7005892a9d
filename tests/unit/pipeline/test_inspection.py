"""Every frame of an inspection has exactly one fate, in order and in time: examples, then a machine that tries all."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_runtime.core.result import Counters, Drop, Failure
from edge_runtime.pipeline.attempt import NS_PER_MS, Refusal, Settled, TriggerIds
from edge_runtime.pipeline.inspection import Capture, Inspection, InspectionSpec
from edge_runtime.pipeline.setup import AS_CONFIGURED, Setup
from tests.fakes.values import make_frame, make_prediction, make_verdict

if TYPE_CHECKING:
    from edge_runtime.core.frame import Frame

VERDICT = make_verdict(make_prediction())
LOADING = (Failure.NO_MODEL, "model defects is being loaded")


def _spec(
    capture: Capture = Capture.LATEST,
    *,
    deadline_ms: int = 100,
    queue: int = 2,
    interval_ms: int | None = None,
    on_trigger: bool = False,
) -> InspectionSpec:
    return InspectionSpec("top", "top", "defects", capture, deadline_ms, queue, interval_ms, on_trigger)


def _ms(milliseconds: float) -> int:
    return round(milliseconds * NS_PER_MS)


def _fates(settled: list[Settled]) -> list[tuple[int, str]]:
    """Return frame id (0 = none) and fate."""
    return [
        (s.frame.frame_id if s.frame else 0, s.drop.value if s.drop else s.failure.value if s.failure else "inferred")
        for s in settled
    ]


def test_a_frame_that_is_judged_is_inferred_and_carries_its_verdict() -> None:
    inspection = Inspection(_spec())
    frame = make_frame(1, _ms(0))
    assert inspection.on_frame(frame) == []
    assert inspection.keeps(frame)
    assert inspection.wants_engine
    assert inspection.take() is frame
    assert not inspection.wants_engine
    assert inspection.on_verdict(1, VERDICT) == [Settled(frame, VERDICT)]
    assert inspection.counters == Counters(captured=1, inferred=1)


def test_take_returns_none_when_nothing_waits() -> None:
    assert Inspection(_spec()).take() is None


def test_nothing_is_kept_before_the_first_frame() -> None:
    assert not Inspection(_spec()).keeps(make_frame(1, 0))


def test_latest_drops_the_waiting_frame_for_a_newer_one_and_frees_its_pixels() -> None:
    inspection = Inspection(_spec())
    old, new = make_frame(1, _ms(0)), make_frame(2, _ms(10))
    inspection.on_frame(old)
    assert inspection.on_frame(new) == [Settled(old, drop=Drop.SUPERSEDED, waited=True)]
    assert inspection.take() is new
    assert inspection.figures().dropped_by == {"superseded": 1}


def test_latest_leaves_frames_in_flight_alone() -> None:
    inspection = Inspection(_spec())
    inspection.on_frame(make_frame(1, _ms(0)))
    inspection.take()
    assert inspection.on_frame(make_frame(2, _ms(10))) == []
    assert inspection.counters.in_flight == 2


def test_every_keeps_frames_in_order_up_to_its_bound_and_fails_the_next_as_overrun() -> None:
    inspection = Inspection(_spec(Capture.EVERY, queue=2))
    frames = [make_frame(i, _ms(i)) for i in (1, 2, 3)]
    assert [inspection.on_frame(f) for f in frames] == [[], [], []]
    assert not inspection.keeps(frames[2])  # its pixels are free although its result has to wait for its turn
    assert [inspection.take(), inspection.take(), inspection.take()] == [frames[0], frames[1], None]
    inspection.on_verdict(1, VERDICT)
    settled = inspection.on_verdict(2, VERDICT)
    assert _fates(settled) == [(2, "inferred"), (3, "overrun")]
    assert settled[1].message == "2 frames are already waiting"
    assert not settled[1].waited
    assert inspection.figures().failed_by == {"overrun": 1}


def test_verdicts_in_the_wrong_order_leave_in_the_order_of_capture() -> None:
    inspection = Inspection(_spec(Capture.EVERY))
    for i in (1, 2):
        inspection.on_frame(make_frame(i, _ms(i)))
        inspection.take()
    assert inspection.on_verdict(2, VERDICT) == []
    assert inspection.counters == Counters(captured=2, in_flight=2)
    assert _fates(inspection.on_verdict(1, VERDICT)) == [(1, "inferred"), (2, "inferred")]


@pytest.mark.parametrize("dispatched", [True, False])
def test_a_bad_frame_waits_for_the_results_of_older_frames(dispatched: bool) -> None:  # noqa: FBT001 - a parameter
    inspection = Inspection(_spec(Capture.EVERY))
    inspection.on_frame(make_frame(1, _ms(0)))
    if dispatched:
        inspection.take()
    assert inspection.on_bad_frame(make_frame(2, _ms(1)), Failure.INVALID_FRAME, "not a JPEG") == []
    if not dispatched:
        inspection.take()
    settled = inspection.on_verdict(1, VERDICT)
    assert _fates(settled) == [(1, "inferred"), (2, "invalid_frame")]
    assert settled[1].message == "not a JPEG"


def test_a_bad_frame_leaves_at_once_when_nothing_older_is_open() -> None:
    inspection = Inspection(_spec())
    frame = make_frame(1, _ms(0))
    assert inspection.on_bad_frame(frame, Failure.INVALID_FRAME, "not a JPEG") == [
        Settled(frame, failure=Failure.INVALID_FRAME, message="not a JPEG")
    ]


def test_a_superseded_frame_lets_the_results_behind_it_go() -> None:
    inspection = Inspection(_spec())
    inspection.on_frame(make_frame(1, _ms(0)))
    assert inspection.on_bad_frame(make_frame(2, _ms(1)), Failure.INVALID_FRAME, "") == []
    assert _fates(inspection.on_frame(make_frame(3, _ms(2)))) == [(1, "superseded"), (2, "invalid_frame")]


def test_a_dispatched_frame_that_fails_is_settled_with_the_cause() -> None:
    inspection = Inspection(_spec())
    inspection.on_frame(make_frame(1, _ms(0)))
    inspection.take()
    settled = inspection.on_failed(1, Failure.ENGINE_LOST, "killed by signal 11")
    assert [(s.failure, s.message, s.waited) for s in settled] == [(Failure.ENGINE_LOST, "killed by signal 11", False)]


def test_answers_about_frames_that_are_not_in_flight_change_nothing() -> None:
    inspection = Inspection(_spec())
    inspection.on_frame(make_frame(1, _ms(0)))  # waiting, not dispatched
    before = inspection.counters
    assert inspection.on_verdict(1, VERDICT) == []
    assert inspection.on_verdict(99, VERDICT) == []
    assert inspection.on_failed(1, Failure.INVALID_OUTPUT, "") == []
    assert inspection.counters == before


def test_a_verdict_after_the_deadline_changes_nothing() -> None:
    inspection = Inspection(_spec(deadline_ms=100))
    inspection.on_frame(make_frame(1, _ms(0)))
    inspection.take()
    assert inspection.on_time(_ms(100) - 1, None) == []
    settled = inspection.on_time(_ms(100), None)
    assert [(s.failure, s.message) for s in settled] == [(Failure.DEADLINE, "no verdict within 100 ms")]
    assert inspection.on_verdict(1, VERDICT) == []
    assert inspection.counters == Counters(captured=1, failed=1)


def test_a_second_answer_changes_nothing_while_the_first_waits_for_its_turn() -> None:
    inspection = Inspection(_spec(Capture.EVERY))
    for i in (1, 2):
        inspection.on_frame(make_frame(i, _ms(i)))
        inspection.take()
    inspection.on_verdict(2, VERDICT)
    assert inspection.on_failed(2, Failure.INVALID_OUTPUT, "") == []
    assert _fates(inspection.on_verdict(1, VERDICT)) == [(1, "inferred"), (2, "inferred")]


def test_an_outage_of_the_model_is_the_reason_of_what_it_made_late() -> None:
    inspection = Inspection(_spec(Capture.EVERY, deadline_ms=100))
    inspection.on_frame(make_frame(1, _ms(0)))
    inspection.on_frame(make_frame(2, _ms(50)))
    settled = inspection.on_time(_ms(100), LOADING)
    assert [(s.failure, s.message, s.waited) for s in settled] == [(*LOADING, True)]
    assert _fates(inspection.on_time(_ms(150), LOADING)) == [(2, "no_model")]


def test_latest_says_not_decidable_every_deadline_although_newer_frames_keep_arriving() -> None:
    inspection = Inspection(_spec(deadline_ms=100))
    failures = []
    for i in range(1, 51):  # 10 ms apart, and no engine
        inspection.on_frame(make_frame(i, _ms(10 * i)))
        failures += [s for s in inspection.on_time(_ms(10 * i), LOADING) if s.failure]
    assert [s.frame.frame_id for s in failures if s.frame] == [11, 22, 33, 44]


def test_the_next_deadline_is_that_of_the_oldest_open_thing() -> None:
    inspection = Inspection(_spec(Capture.EVERY, deadline_ms=100))
    assert inspection.next_deadline_ns() is None
    inspection.on_frame(make_frame(1, _ms(0)))
    inspection.on_frame(make_frame(2, _ms(30)))
    assert inspection.next_deadline_ns() == _ms(100)
    inspection.take()
    inspection.on_verdict(1, VERDICT)
    assert inspection.next_deadline_ns() == _ms(130)


def test_frames_between_the_ticks_of_an_interval_are_dropped() -> None:
    inspection = Inspection(_spec(Capture.EVERY, queue=100, interval_ms=100, deadline_ms=10_000))
    for i, at_ms in enumerate([0, 40, 99, 105, 190, 200, 310]):
        inspection.on_frame(make_frame(i + 1, _ms(at_ms)))
    assert inspection.figures().dropped_by == {"untriggered": 3}
    taken = [frame.frame_id for frame in iter(inspection.take, None)]
    assert taken == [1, 4, 6, 7]  # 105 was late for its tick, and the grid stayed where it was


def test_the_interval_grid_starts_anew_when_frames_were_away_for_longer_than_a_tick() -> None:
    inspection = Inspection(_spec(Capture.EVERY, queue=100, interval_ms=100, deadline_ms=10_000))
    for i, at_ms in enumerate([0, 950, 1000, 1050]):
        inspection.on_frame(make_frame(i + 1, _ms(at_ms)))
    assert [frame.frame_id for frame in iter(inspection.take, None)] == [1, 2, 4]


def test_a_bad_frame_between_the_ticks_is_dropped_like_any_other() -> None:
    inspection = Inspection(_spec(interval_ms=100))
    inspection.on_frame(make_frame(1, _ms(0)))
    assert _fates(inspection.on_bad_frame(make_frame(2, _ms(50)), Failure.INVALID_FRAME, "")) == [(2, "untriggered")]


def test_frames_nobody_asked_for_are_dropped() -> None:
    inspection = Inspection(_spec(on_trigger=True))
    frame = make_frame(1, _ms(0))
    assert inspection.on_frame(frame) == [Settled(frame, drop=Drop.UNTRIGGERED)]
    assert not inspection.keeps(frame)


def test_a_bad_frame_nobody_asked_for_is_dropped() -> None:
    inspection = Inspection(_spec(on_trigger=True))
    assert _fates(inspection.on_bad_frame(make_frame(1, 0), Failure.INVALID_FRAME, "")) == [(1, "untriggered")]


def test_a_trigger_is_answered_by_the_next_frame_captured_after_it() -> None:
    inspection = Inspection(_spec(on_trigger=True))
    ids = TriggerIds("job", "part", "meas", "product", "correlation")
    inspection.on_trigger(ids, _ms(10))
    assert _fates(inspection.on_frame(make_frame(1, _ms(9)))) == [(1, "untriggered")]
    assert inspection.on_frame(make_frame(2, _ms(10))) == []
    assert _fates(inspection.on_frame(make_frame(3, _ms(20)))) == [(3, "untriggered")]
    inspection.take()
    assert [s.trigger for s in inspection.on_verdict(2, VERDICT)] == [ids]
    assert inspection.counters == Counters(captured=3, inferred=1, dropped=2)


def test_a_bad_frame_is_the_answer_to_a_trigger() -> None:
    inspection = Inspection(_spec(on_trigger=True))
    ids = TriggerIds(part_id="p1")
    inspection.on_trigger(ids, _ms(0))
    settled = inspection.on_bad_frame(make_frame(1, _ms(1)), Failure.INVALID_FRAME, "not a JPEG")
    assert [(s.failure, s.trigger) for s in settled] == [(Failure.INVALID_FRAME, ids)]
    assert inspection.counters == Counters(captured=1, failed=1)


def test_triggered_frames_are_never_superseded() -> None:
    inspection = Inspection(_spec(on_trigger=True, queue=2))
    for i in (1, 2):
        inspection.on_trigger(TriggerIds(part_id=f"p{i}"), _ms(i))
        assert inspection.on_frame(make_frame(i, _ms(i))) == []
    inspection.on_trigger(TriggerIds(part_id="p3"), _ms(3))
    assert inspection.on_frame(make_frame(3, _ms(3))) == []  # its overrun leaves after the two before it
    inspection.take()
    inspection.take()
    inspection.on_verdict(1, VERDICT)
    settled = inspection.on_verdict(2, VERDICT)
    assert [(s.trigger.part_id, s.failure) for s in settled if s.trigger] == [("p2", None), ("p3", Failure.OVERRUN)]


def test_too_many_open_triggers_are_refused_and_are_no_attempt() -> None:
    inspection = Inspection(_spec(on_trigger=True, queue=1))
    assert inspection.trigger_refusal is None
    inspection.on_trigger(TriggerIds(part_id="p1"), _ms(0))
    assert inspection.trigger_refusal is Refusal.TOO_MANY
    assert inspection.counters == Counters(captured=1, in_flight=1)


def test_an_inspection_that_is_not_triggered_takes_no_trigger() -> None:
    assert Inspection(_spec()).trigger_refusal is Refusal.NOT_TRIGGERED


def test_a_trigger_with_a_timeout_of_its_own_has_to_be_over_by_then() -> None:
    inspection = Inspection(_spec(on_trigger=True, deadline_ms=100, queue=3))
    inspection.on_trigger(TriggerIds(part_id="long"), _ms(0), timeout_ms=500)
    inspection.on_trigger(TriggerIds(part_id="short"), _ms(0), timeout_ms=30)
    inspection.on_trigger(TriggerIds(part_id="frameless"), _ms(0), timeout_ms=40)
    for i in (1, 2):
        inspection.on_frame(make_frame(i, _ms(20)))
    inspection.take()
    assert inspection.next_deadline_ns() == _ms(30)
    assert inspection.on_time(_ms(30), None) == []  # it waits for its turn: the one before it is open
    assert not inspection.wants_engine
    [frameless] = inspection.on_time(_ms(40), None)
    assert (frameless.trigger, frameless.message) == (
        TriggerIds(part_id="frameless"),
        "no frame within 40 ms of the trigger",
    )
    assert inspection.on_time(_ms(499), None) == []
    settled = inspection.on_time(_ms(500), None)
    assert [(s.failure, s.message) for s in settled] == [
        (Failure.DEADLINE, "no verdict within 500 ms of the trigger"),
        (Failure.DEADLINE, "no verdict within 30 ms of the trigger"),
    ]


PART_B = Setup(recipe="part-b", product_id="B")
PAUSED = Setup(paused=True)


def test_a_change_of_recipe_takes_effect_between_two_frames_whatever_is_in_flight() -> None:
    inspection = Inspection(_spec(Capture.EVERY, queue=9))
    inspection.on_frame(make_frame(1, _ms(1)))
    inspection.take()
    inspection.on_frame(make_frame(2, _ms(2)))
    inspection.change(PART_B, from_frame=4)
    assert inspection.setup == PART_B
    inspection.on_frame(make_frame(3, _ms(3)))  # was begun before the change and comes after it
    inspection.on_bad_frame(make_frame(4, _ms(4)), Failure.INVALID_FRAME, "")
    inspection.on_frame(make_frame(5, _ms(5)))
    while inspection.take() is not None:
        pass
    settled = [s for i in (5, 3, 2, 1) for s in inspection.on_verdict(i, VERDICT)]
    assert [(s.frame.frame_id, s.setup) for s in settled if s.frame] == [
        (1, AS_CONFIGURED),
        (2, AS_CONFIGURED),
        (3, AS_CONFIGURED),
        (4, PART_B),
        (5, PART_B),
    ]


def test_a_trigger_keeps_the_recipe_of_the_moment_it_was_asked_or_has_its_own() -> None:
    inspection = Inspection(_spec(on_trigger=True, queue=9))
    inspection.on_trigger(TriggerIds(), _ms(1))
    inspection.change(PART_B, from_frame=7)
    inspection.on_trigger(TriggerIds(), _ms(2))
    inspection.on_trigger(TriggerIds(), _ms(3), recipe="part-c")
    for i in (7, 8, 9):
        inspection.on_frame(make_frame(i, _ms(i)))
    assert [s.setup for s in inspection.drain()] == [AS_CONFIGURED, PART_B, Setup("part-c", "B")]


def test_a_paused_inspection_drops_what_was_captured_since_and_settles_what_was_open() -> None:
    inspection = Inspection(_spec(Capture.EVERY, queue=9))
    inspection.on_frame(make_frame(1, _ms(1)))
    inspection.change(PAUSED, from_frame=3)
    inspection.on_frame(make_frame(2, _ms(2)))  # a part that was seen before the pause
    assert _fates(inspection.on_frame(make_frame(3, _ms(3)))) == [(3, "paused")]
    assert _fates(inspection.on_bad_frame(make_frame(4, _ms(4)), Failure.OVERRUN, "")) == [(4, "paused")]
    assert _fates(inspection.on_dropped(make_frame(5, _ms(5)), Drop.TORN)) == [(5, "paused")]
    inspection.change(AS_CONFIGURED, from_frame=7)
    assert _fates(inspection.on_frame(make_frame(6, _ms(6)))) == [(6, "paused")]
    inspection.on_frame(make_frame(7, _ms(7)))
    assert [frame.frame_id for frame in iter(inspection.take, None)] == [1, 2, 7]
    assert inspection.figures().dropped_by == {"paused": 4}


def test_a_paused_inspection_refuses_triggers_and_still_answers_those_it_took() -> None:
    inspection = Inspection(_spec(on_trigger=True))
    inspection.on_trigger(TriggerIds(part_id="p1"), _ms(1))
    inspection.change(PAUSED, from_frame=1)
    assert inspection.trigger_refusal is Refusal.PAUSED
    assert inspection.on_frame(make_frame(1, _ms(2))) == []
    assert _fates(inspection.on_frame(make_frame(2, _ms(3)))) == [(2, "paused")]
    assert _fates(inspection.drain()) == [(1, "shutdown")]


def test_a_reset_aborts_everything_that_was_asked_for_and_nothing_else() -> None:
    inspection = Inspection(_spec(on_trigger=True, queue=9))
    for i in (1, 2, 3):
        inspection.on_trigger(TriggerIds(part_id=f"p{i}"), _ms(i))
    for i in (1, 2):
        inspection.on_frame(make_frame(i, _ms(2)))
    inspection.take()
    settled = inspection.abort_triggers("reset")
    assert [(s.trigger.part_id, s.failure, s.waited) for s in settled if s.trigger] == [
        ("p1", Failure.ABORTED, False),
        ("p2", Failure.ABORTED, True),
        ("p3", Failure.ABORTED, False),
    ]
    assert inspection.counters == Counters(captured=3, failed=3)
    continuous = Inspection(_spec())
    continuous.on_frame(make_frame(1, _ms(1)))
    assert continuous.abort_triggers("reset") == []
    assert continuous.wants_engine


def test_a_trigger_without_a_frame_fails_by_its_deadline() -> None:
    inspection = Inspection(_spec(on_trigger=True, deadline_ms=100))
    inspection.on_trigger(TriggerIds(part_id="p1"), _ms(7))
    assert inspection.next_deadline_ns() == _ms(107)
    settled = inspection.on_time(_ms(107), None)
    assert [(s.frame, s.failure, s.message) for s in settled] == [
        (None, Failure.CAMERA_LOST, "no frame within 100 ms of the trigger")
    ]
    assert inspection.counters == Counters(captured=1, failed=1)


def test_what_the_camera_discarded_is_captured_and_dropped() -> None:
    inspection = Inspection(_spec())
    settled = [inspection.on_dropped(make_frame(i, _ms(i)), drop) for i, drop in enumerate(Drop)]
    assert [item.drop for [item] in settled] == list(Drop)
    assert inspection.counters == Counters(captured=len(Drop), dropped=len(Drop))
    assert inspection.figures().dropped_by == {drop.value: 1 for drop in Drop}


def test_a_part_that_the_camera_missed_has_a_result_in_its_turn() -> None:
    inspection = Inspection(_spec(Capture.EVERY))
    inspection.on_frame(make_frame(1, _ms(1)))
    inspection.take()
    missed = [(2, Drop.TORN), (3, Drop.STOPPED)]
    assert [inspection.on_dropped(make_frame(i, _ms(i)), drop) for i, drop in missed] == [[], []]
    settled = inspection.on_verdict(1, VERDICT)
    assert _fates(settled) == [(1, "inferred"), (2, "camera_lost"), (3, "shutdown")]
    assert inspection.counters == Counters(captured=3, inferred=1, failed=2)


@pytest.mark.parametrize("drop", [Drop.RATE, Drop.STALE])
def test_what_a_camera_leaves_out_on_purpose_or_shows_too_late_is_no_missed_part(drop: Drop) -> None:
    inspection = Inspection(_spec(Capture.EVERY))
    assert _fates(inspection.on_dropped(make_frame(1, _ms(1)), drop)) == [(1, drop.value)]


def test_a_missed_frame_does_not_answer_a_trigger() -> None:
    inspection = Inspection(_spec(Capture.EVERY, on_trigger=True))
    inspection.on_trigger(TriggerIds(), _ms(1))
    assert _fates(inspection.on_dropped(make_frame(1, _ms(2)), Drop.TORN)) == [(1, "torn")]
    assert inspection.counters == Counters(captured=2, dropped=1, in_flight=1)


def test_drain_fails_every_part_in_order() -> None:
    inspection = Inspection(_spec(Capture.EVERY, queue=2))
    for i in range(1, 5):
        inspection.on_frame(make_frame(i, _ms(i)))
        if i == 1:
            inspection.take()
    inspection.on_bad_frame(make_frame(5, _ms(5)), Failure.INVALID_FRAME, "")
    settled = inspection.drain()
    assert _fates(settled) == [
        (1, "shutdown"),
        (2, "shutdown"),
        (3, "shutdown"),
        (4, "overrun"),
        (5, "invalid_frame"),
    ]
    assert inspection.counters == Counters(captured=5, failed=5)
    assert inspection.next_deadline_ns() is None


def test_drain_drops_the_frame_that_latest_lets_wait() -> None:
    inspection = Inspection(_spec())
    for i in (1, 2):
        inspection.on_frame(make_frame(i, _ms(i)))
        if i == 1:
            inspection.take()
    assert _fates(inspection.drain()) == [(1, "shutdown"), (2, "stopped")]
    assert inspection.counters == Counters(captured=2, dropped=1, failed=1)


def test_drain_fails_what_a_trigger_asked_for_and_the_triggers_themselves() -> None:
    inspection = Inspection(_spec(on_trigger=True, queue=3))
    for i in (1, 2):
        inspection.on_trigger(TriggerIds(part_id=f"p{i}"), _ms(i))
        inspection.on_frame(make_frame(i, _ms(i)))
    inspection.take()
    inspection.on_trigger(TriggerIds(part_id="p3"), _ms(3))
    settled = inspection.drain()
    assert [(s.trigger.part_id, s.failure, s.waited) for s in settled if s.trigger] == [
        ("p1", Failure.SHUTDOWN, False),
        ("p2", Failure.SHUTDOWN, True),
        ("p3", Failure.SHUTDOWN, False),
    ]


@dataclass
class _Asked:
    ids: TriggerIds
    asked_ns: int
    setup: Setup
    limit_ns: int
    timed: bool


@dataclass
class _Books:
    """What the test itself knows, by counting in the simplest way."""

    captured: int = 0
    open_ns: dict[int, int] = field(default_factory=dict)  # frame id -> capture time, of frames without a fate
    kept: list[int] = field(default_factory=list)  # frames whose pixels the inspection holds
    taken: list[int] = field(default_factory=list)  # frames that were ever dispatched
    answered: set[int] = field(default_factory=set)  # dispatched frames that the engine answered in time
    asked: list[_Asked] = field(default_factory=list)
    fates: dict[int, str] = field(default_factory=dict)
    setups: dict[int, Setup] = field(default_factory=dict)  # frame id -> what has to judge it
    limits_ns: dict[int, int] = field(default_factory=dict)  # frame id -> when an attempt with a timeout has to be over
    gone: set[int] = field(default_factory=set)  # frames that waited, until an older one let their fate out
    lost_triggers: int = 0
    last_result: int = 0
    kept_since_ns: int = 0


class InspectionMachine(RuleBasedStateMachine):
    """Fires arbitrary events at an inspection and keeps its own books about every frame."""

    inspection: Inspection

    @initialize(
        capture=st.sampled_from(Capture),
        queue=st.integers(1, 3),
        interval_ms=st.sampled_from([None, None, 7]),
        on_trigger=st.booleans(),
    )
    def begin(self, capture: Capture, queue: int, interval_ms: int | None, *, on_trigger: bool) -> None:
        self.spec = _spec(capture, deadline_ms=20, queue=queue, interval_ms=interval_ms, on_trigger=on_trigger)
        self.inspection = Inspection(self.spec)
        self.limit_ns = _ms(20)
        self.bound = queue if on_trigger or capture is Capture.EVERY else 1
        self.now_ns = self.captured_ns = _ms(1000)
        self.next_id = 1
        self.changes = [(0, AS_CONFIGURED)]
        self.books = _Books()

    # events

    @rule(lag_ms=st.integers(0, 3))
    def frame(self, lag_ms: int) -> None:
        """A frame arrives, some time after its capture."""
        frame = self._captured(lag_ms)
        kept_before = bool(self.books.kept)
        settled = self.inspection.on_frame(frame)
        if self.inspection.keeps(frame):
            self.books.kept.append(frame.frame_id)
            if not kept_before:
                self.books.kept_since_ns = frame.captured_mono_ns
        self._note(settled)

    @rule(lag_ms=st.integers(0, 3), failure=st.sampled_from([Failure.INVALID_FRAME, Failure.OVERRUN]))
    def bad_frame(self, lag_ms: int, failure: Failure) -> None:
        self._note(self.inspection.on_bad_frame(self._captured(lag_ms), failure, "bad"))

    @rule(drop=st.sampled_from(Drop))
    def camera_drops(self, drop: Drop) -> None:
        self.books.captured += 1
        self._note(self.inspection.on_dropped(self._made(0), drop))

    @precondition(lambda self: self.inspection.trigger_refusal is None)
    @rule(recipe=st.sampled_from([None, "own"]), timeout_ms=st.sampled_from([None, None, 5, 40]))
    def trigger(self, recipe: str | None, timeout_ms: int | None) -> None:
        ids = TriggerIds(correlation_id=f"{self.books.captured}/{self.now_ns}")
        setup = self.changes[-1][1]
        assert not setup.paused
        limit_ns = self.limit_ns if timeout_ms is None else _ms(timeout_ms)
        asked = _Asked(
            ids, self.now_ns, replace(setup, recipe=recipe or setup.recipe), limit_ns, timeout_ms is not None
        )
        self.books.captured += 1
        self.books.asked.append(asked)
        self.inspection.on_trigger(ids, self.now_ns, recipe=recipe, timeout_ms=timeout_ms)

    @rule(
        setup=st.builds(Setup, st.sampled_from([None, "a", "b"]), st.just(None), st.booleans()), ahead=st.integers(0, 2)
    )
    def change(self, setup: Setup, ahead: int) -> None:
        """A command comes while up to two frames that were begun before it are on their way."""
        first = max(self.next_id + ahead, self.changes[-1][0])
        self.changes.append((first, setup))
        self.inspection.change(setup, first)
        assert self.inspection.setup == setup

    @rule()
    def abort(self) -> None:
        if self.spec.on_trigger:
            self.books.gone.update(self.books.kept)
            self.books.kept = []
        self._note(self.inspection.abort_triggers("reset"))
        assert self.books.asked == []

    @rule()
    def take(self) -> None:
        frame = self.inspection.take()
        expected = self.books.kept.pop(0) if self.books.kept else None
        assert (frame.frame_id if frame else None) == expected
        if frame is not None:
            self.books.taken.append(frame.frame_id)
            self._head_changed()

    @rule(data=st.data(), judged=st.booleans())
    def answer(self, data: st.DataObject, *, judged: bool) -> None:
        """The engine answers about anything it ever got, however late, twice, or about what it never got."""
        frame_id = data.draw(st.sampled_from([*self.books.taken[-6:], self.next_id, *self.books.kept]))
        known = frame_id in self.books.taken and frame_id in self.books.open_ns
        before = self.inspection.counters
        settled = (
            self.inspection.on_verdict(frame_id, VERDICT)
            if judged
            else self.inspection.on_failed(frame_id, Failure.INVALID_OUTPUT, "NaN")
        )
        if known:
            self.books.answered.add(frame_id)
        else:
            assert settled == []
            assert self.inspection.counters == before
        self._note(settled)

    @rule(milliseconds=st.integers(0, 25))
    def time_passes(self, milliseconds: int) -> None:
        self.now_ns += _ms(milliseconds)

    @rule(outage=st.sampled_from([None, LOADING]))
    def on_time(self, outage: tuple[Failure, str] | None) -> None:
        settled = self.inspection.on_time(self.now_ns, outage)
        over = [i for i in self.books.kept if self.now_ns >= self._due_ns(i)]
        self.books.gone.update(over)
        self.books.kept = [i for i in self.books.kept if i not in over]
        self._note(settled)
        if over:
            self._head_changed()
        if all(frame_id not in self.books.limits_ns for frame_id in self.books.open_ns):
            for frame_id, captured_ns in self.books.open_ns.items():
                assert self.now_ns - captured_ns < self.limit_ns, f"frame {frame_id} stayed open"
        for frame_id, until_ns in self.books.limits_ns.items():
            assert self.now_ns < until_ns or frame_id not in self.books.kept, f"frame {frame_id} waits for too long"
        for asked in self.books.asked:
            assert self.now_ns - asked.asked_ns < asked.limit_ns, "a trigger stayed open"
        if self.books.kept and not self.books.limits_ns:
            assert self.now_ns - self.books.kept_since_ns < self.limit_ns, "silence for longer than a deadline"

    @rule()
    def next_deadline_is_exact(self) -> None:
        """At the next deadline there is something to do, and not a nanosecond before."""
        due_ns = self.inspection.next_deadline_ns()
        if due_ns is not None:
            assert copy.deepcopy(self.inspection).on_time(due_ns - 1, None) == []
            later = copy.deepcopy(self.inspection)
            # with a timeout of its own, one may be over whose result has to wait for an older one
            assert later.on_time(due_ns, None) != [] or (self.books.limits_ns and later.next_deadline_ns() != due_ns)

    @rule()
    def drain(self) -> None:
        self._note(self.inspection.drain())
        assert self.books.open_ns == {}
        assert self.books.kept == []
        assert self.books.asked == []
        assert self.inspection.next_deadline_ns() is None

    # what must hold after every event

    @invariant()
    def every_frame_is_counted_once(self) -> None:
        counters = self.inspection.counters
        assert counters.captured == self.books.captured
        assert counters.captured == counters.inferred + counters.dropped + counters.failed + counters.in_flight
        assert counters.in_flight == len(self.books.open_ns) + len(self.books.asked)
        fates = list(self.books.fates.values())
        assert counters.inferred == fates.count("inferred")
        assert counters.dropped == fates.count("dropped")
        assert counters.failed == fates.count("failed") + self.books.lost_triggers
        assert sum(self.inspection.figures().dropped_by.values()) == counters.dropped
        assert sum(self.inspection.figures().failed_by.values()) == counters.failed

    @invariant()
    def the_queue_is_bounded(self) -> None:
        assert len(self.books.kept) <= self.bound
        assert self.inspection.wants_engine == bool(self.books.kept)

    @invariant()
    def a_result_waits_for_older_frames_only(self) -> None:
        if self.books.open_ns:
            oldest = min(self.books.open_ns)
            in_engine = oldest in self.books.taken and oldest not in self.books.answered
            assert in_engine or oldest in self.books.kept

    @invariant()
    def the_next_deadline_is_never_late(self) -> None:
        due_ns = self.inspection.next_deadline_ns()
        limits = self.books.limits_ns
        due = [limits.get(frame_id, since_ns + self.limit_ns) for frame_id, since_ns in self.books.open_ns.items()]
        due += [asked.asked_ns + asked.limit_ns for asked in self.books.asked]
        if not due:
            assert due_ns is None
        elif not limits:  # a fate that is known waits for older frames, and those may have more time
            assert due_ns is not None
            assert due_ns <= min(due)

    # books

    def _made(self, lag_ms: int) -> Frame:
        self.captured_ns = max(self.captured_ns, self.now_ns - _ms(lag_ms))
        frame = make_frame(self.next_id, self.captured_ns)
        self.next_id += 1
        self.books.open_ns[frame.frame_id] = self.captured_ns
        self.books.setups[frame.frame_id] = [setup for first, setup in self.changes if first <= frame.frame_id][-1]
        return frame

    def _captured(self, lag_ms: int) -> Frame:
        frame = self._made(lag_ms)
        answered = next((a for a in self.books.asked if a.asked_ns <= self.captured_ns), None)
        if answered is None:
            self.books.captured += 1
        else:
            self.books.asked.remove(answered)
            self.books.setups[frame.frame_id] = answered.setup
            if answered.timed:
                self.books.limits_ns[frame.frame_id] = answered.asked_ns + answered.limit_ns
        return frame

    def _note(self, settled: list[Settled]) -> None:
        for item in settled:
            assert sum(x is not None for x in (item.verdict, item.failure, item.drop)) == 1
            if item.frame is None:
                assert not item.waited
                self.books.lost_triggers += 1
                self.books.asked = [a for a in self.books.asked if a.ids != item.trigger]
                continue
            frame_id = item.frame.frame_id
            assert frame_id not in self.books.fates, "settled twice"
            del self.books.open_ns[frame_id]
            self.books.limits_ns.pop(frame_id, None)
            expected = self.books.setups.pop(frame_id)
            kept = frame_id in self.books.kept
            assert item.waited == (kept or frame_id in self.books.gone), "pixels would leak, or be freed twice"
            self.books.gone.discard(frame_id)
            if kept:
                self.books.kept.remove(frame_id)
                if item.drop is not Drop.SUPERSEDED:
                    self._head_changed()
            self.books.fates[frame_id] = "dropped" if item.drop else "failed" if item.failure else "inferred"
            if item.drop is None:
                assert (item.trigger is not None) == self.spec.on_trigger
                assert item.setup == expected
                assert item.trigger is not None or not expected.paused
                assert frame_id > self.books.last_result, "results left out of the order of capture"
                self.books.last_result = frame_id

    def _due_ns(self, frame_id: int) -> int:
        """When a frame that waits has waited for long enough; only with `latest` the frames before it count."""
        superseding = self.spec.capture is Capture.LATEST and not self.spec.on_trigger
        since_ns = self.books.kept_since_ns if superseding else self.books.open_ns[frame_id]
        return self.books.limits_ns.get(frame_id, since_ns + self.limit_ns)

    def _head_changed(self) -> None:
        if self.books.kept:
            self.books.kept_since_ns = self.books.open_ns[self.books.kept[0]]


TestInspectionMachine = InspectionMachine.TestCase
TestInspectionMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
