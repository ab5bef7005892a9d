"""The hand-shake: every order of signals ends in one answer per accepted part, and nothing is silent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.control.handshake.machine import Code, Handshake, Outcome, Part, Phase, Timing, Trouble
from edge_runtime.core.result import Evaluation

MS = 1_000_000
TIMING = Timing(result_ms=1000, ack_ms=2000)
CAMERA = Trouble(Code.CAMERA, "the camera is away")


def machine() -> Handshake:
    made = Handshake(TIMING)
    made.on_available(None)
    return made


def trigger(
    made: Handshake, *, level: bool = True, job: str = "j1", now_ms: int = 0, event_id: str | None = None
) -> Any:
    return made.on_trigger(Part("P-1"), job, now_ms * MS, level=level, event_id=event_id)


def answered(made: Handshake, evaluation: Evaluation = Evaluation.OK, now_ms: int = 10) -> bool:
    job = made.signals.job
    assert job is not None
    return made.on_result(Outcome(job, evaluation, "because", "r1"), now_ms * MS)


def test_a_whole_cycle() -> None:
    made = machine()
    assert made.signals.ready
    job = trigger(made)
    assert job.part.part_id == "P-1"
    assert (made.signals.ready, made.signals.busy) == (False, True)
    assert answered(made)
    assert (made.signals.busy, made.signals.result_ready) == (False, True)
    assert made.signals.outcome.evaluation is Evaluation.OK
    made.on_ack(level=True)
    assert (made.signals.result_ready, made.signals.ready) == (False, False)
    assert made.signals.outcome is None  # an old verdict cannot be taken for a new one
    trigger(made, level=False)
    assert not made.signals.ready  # ack is still high
    made.on_ack(level=False)
    assert made.signals.ready
    assert made.signals.trouble is None


def test_it_starts_without_a_line() -> None:
    made = Handshake(TIMING)
    assert not made.signals.ready
    assert made.signals.trouble.code is Code.NO_LINE


def test_a_level_that_is_told_twice_changes_nothing() -> None:
    made = machine()
    assert trigger(made) is not None
    assert trigger(made, job="j2") is None
    assert made.signals.job.job_id == "j1"


def test_a_message_that_comes_again_after_the_cycle_is_no_new_part() -> None:
    made = machine()
    assert trigger(made, event_id="17") is not None
    trigger(made, level=False)
    answered(made)
    made.on_ack(level=True)
    made.on_ack(level=False)
    assert made.signals.ready
    assert trigger(made, job="j2", event_id="17") is None
    assert made.signals.ready
    assert trigger(made, job="j3", event_id="18") is not None


def test_no_result_in_time_is_not_decidable_and_a_late_one_changes_nothing() -> None:
    made = machine()
    job = trigger(made)
    assert made.due_ns == 1000 * MS
    assert not made.on_time(999 * MS)
    assert made.on_time(1000 * MS)
    assert made.signals.outcome.evaluation is Evaluation.NOT_DECIDABLE
    assert made.signals.trouble.code is Code.DEADLINE
    assert not made.on_result(Outcome(job, Evaluation.OK, "", "r1"), 1001 * MS)
    assert made.signals.outcome.evaluation is Evaluation.NOT_DECIDABLE


def test_a_job_that_the_line_refuses_is_not_decidable() -> None:
    made = machine()
    trigger(made)
    assert not made.on_refused("other", "no", 0)
    assert made.on_refused("j1", "the inspection is paused", 5 * MS)
    assert made.signals.outcome.evaluation is Evaluation.NOT_DECIDABLE
    assert made.signals.outcome.result_id is None
    assert made.signals.trouble == Trouble(Code.REFUSED, "the inspection is paused")
    assert not made.on_refused("j1", "again", 6 * MS)


def test_the_result_of_another_job_is_not_taken() -> None:
    made = machine()
    job = trigger(made)
    made.on_reset()
    trigger(made, level=False)
    trigger(made, job="j2")
    assert not made.on_result(Outcome(job, Evaluation.OK, "", "r1"), 0)
    assert made.signals.busy


@pytest.mark.parametrize("when", ["away", "busy", "result", "release"])
def test_a_trigger_while_not_ready_is_said_and_not_judged(when: str) -> None:
    made = machine()
    if when == "away":
        made.on_available(CAMERA)
    else:
        trigger(made)
        trigger(made, level=False)
        if when != "busy":
            answered(made)
        if when == "release":
            made.on_ack(level=True)
    before = made.signals
    assert trigger(made, job="j2") is None
    assert made.signals.trouble.code is Code.NOT_READY
    assert (made.signals.phase, made.signals.outcome) == (before.phase, before.outcome)
    if when == "away":
        trigger(made, level=False)
        assert made.signals.trouble == CAMERA


def test_a_result_that_nobody_acknowledges_stands_and_is_said() -> None:
    made = machine()
    trigger(made)
    answered(made, now_ms=10)
    assert made.on_time(2010 * MS)
    assert made.signals.result_ready
    assert made.signals.trouble.code is Code.ACK_TIMEOUT
    assert not made.on_time(9999 * MS)
    made.on_ack(level=True)
    assert made.signals.trouble is None
    trigger(made, level=False)
    made.on_ack(level=False)
    assert made.signals.ready


def test_an_acknowledgement_that_was_high_all_the_time_is_none() -> None:
    made = machine()
    made.on_ack(level=True)
    trigger(made)
    answered(made)
    made.on_ack(level=True)
    assert made.signals.result_ready
    made.on_ack(level=False)
    made.on_ack(level=True)
    assert not made.signals.result_ready


def test_a_camera_that_goes_away_during_a_job_leaves_the_job_alone() -> None:
    made = machine()
    trigger(made)
    made.on_available(CAMERA)
    assert made.signals.trouble is None
    assert answered(made, Evaluation.NOT_DECIDABLE)


def test_reset_gives_up_the_job_and_waits_for_the_signals_to_fall() -> None:
    made = machine()
    trigger(made)
    made.on_reset()
    assert not made.signals.busy
    assert not made.signals.ready
    assert made.due_ns is None
    trigger(made, level=False)
    assert made.signals.ready


def test_what_cannot_be_read_is_said_until_the_next_level() -> None:
    made = machine()
    made.on_bad_input("trigger cannot be read")
    assert made.signals.trouble.code is Code.INPUT
    trigger(made, level=False)
    assert made.signals.trouble is None


STEPS = st.lists(
    st.sampled_from(["up", "down", "ack", "unack", "result", "refuse", "time", "away", "back", "reset", "bad"]),
    max_size=60,
)


@settings(max_examples=400)
@given(STEPS)
def test_each_accepted_part_has_one_answer_whatever_the_order_of_signals(steps: list[str]) -> None:
    made, now, jobs, answers = machine(), 0, 0, 0
    given_up = 0
    for step in steps:
        now += 700
        before = made.signals
        if step in ("up", "down"):
            jobs += trigger(made, level=step == "up", job=f"j{now}", now_ms=now) is not None
        elif step in ("ack", "unack"):
            made.on_ack(level=step == "ack")
        elif step == "result" and before.job is not None:
            made.on_result(Outcome(before.job, Evaluation.OK, "", "r"), now * MS)
        elif step == "refuse" and before.job is not None:
            made.on_refused(before.job.job_id, "no", now * MS)
        elif step == "time":
            made.on_time(now * MS)
        elif step in ("away", "back"):
            made.on_available(CAMERA if step == "away" else None)
        elif step == "reset":
            made.on_reset()
            given_up += before.busy
        elif step == "bad":
            made.on_bad_input("?")
        after = made.signals
        answers += after.result_ready and not before.result_ready
        assert after.ready + after.busy + after.result_ready <= 1
        assert (after.outcome is not None) == after.result_ready
        assert (after.phase is Phase.BUSY) == after.busy
    assert jobs == answers + given_up + made.signals.busy
