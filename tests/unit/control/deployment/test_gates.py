"""``control.deployment.gates``: what stops a candidate, and that chance does not."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from edge_runtime.control.deployment.deployment import Outcome, Verdict
from edge_runtime.control.deployment.gates import growth_mb, of_judging, of_shadow
from edge_runtime.core.result import Evaluation
from edge_runtime.pipeline.judged import Compared, Tallied, Tally, stability_index
from edge_runtime.registry.conditions import Gates

if TYPE_CHECKING:
    from collections.abc import Mapping

GATES = Gates()


def tallied(
    frames: int = 1000,
    *,
    not_ok: float = 0.1,
    ms: float = 10.0,
    tail_ms: float = 15.0,
    scores: tuple[float, float] = (0.8, 0.05),
    refused: Mapping[str, int] | None = None,
    seed: int = 1,
) -> Tallied:
    rng, tally = random.Random(seed), Tally()
    for number in range(frames):
        evaluation = Evaluation.NOT_OK if rng.random() < not_ok else Evaluation.OK
        score = min(1.0, max(0.0, rng.gauss(*scores)))
        tally.judged(evaluation, tail_ms if number % 50 == 0 else ms * rng.uniform(0.95, 1.05), {"scratch": score})
    for code, count in (refused or {}).items():
        for _ in range(count):
            tally.refused(code)
    return tally.now()


def judging(new: Tallied, *, old: Tallied | None = None, wanted: int = 1000, gates: Gates = GATES) -> Verdict:
    return of_judging(tallied(seed=2) if old is None else old, new, gates, wanted=wanted)


def test_one_that_does_as_the_one_before_passes_with_all_frames_and_not_earlier() -> None:
    assert judging(tallied(999)).outcome is Outcome.OPEN
    verdict = judging(tallied(1000))
    assert (verdict.outcome, verdict.progress, verdict.frames) == (Outcome.PASSED, 1.0, 1000)
    assert {"failed", "not_ok", "p99_ms", "latency_ratio", "score_shift"} <= set(verdict.numbers)


@pytest.mark.parametrize(
    ("reason", "new"),
    [
        ("gate.not_ok", tallied(1000, not_ok=0.5)),
        ("gate.not_ok", tallied(60, not_ok=1.0)),
        ("gate.latency", tallied(200, ms=25.0, tail_ms=60.0)),
        ("gate.scores", tallied(300, scores=(0.5, 0.05))),
        ("gate.failures", tallied(500, refused={"invalid_output": 6})),
        ("gate.failures", tallied(0, refused={"engine_lost": 5})),
        ("gate.failures", tallied(300, refused={"deadline": 10})),
    ],
)
def test_what_is_bad_is_stopped_early_and_named(reason: str, new: Tallied) -> None:
    verdict = judging(new)
    assert (verdict.outcome, verdict.reason) == (Outcome.BREACHED, reason)
    assert verdict.message


@pytest.mark.parametrize(
    "new",
    [
        tallied(300, refused={"invalid_output": 4}),  # fewer than mean anything
        tallied(300, refused={"deadline": 9}),  # the box was busy for a moment
        tallied(1000, tail_ms=40.0),  # the box was busy: only the tail is slower
        tallied(60, not_ok=0.4),  # too few to say
        tallied(1000, not_ok=0.3),  # within the limit
        tallied(15, not_ok=1.0),
    ],
)
def test_what_may_be_chance_or_is_allowed_stops_nothing(new: Tallied) -> None:
    assert judging(new).outcome is not Outcome.BREACHED


def test_a_fast_model_may_be_slower_by_less_than_anybody_sees() -> None:
    old, new = tallied(ms=0.5, tail_ms=0.6), tallied(ms=1.2, tail_ms=1.5)
    assert judging(new, old=old).outcome is Outcome.PASSED


def test_without_a_model_before_it_only_what_it_does_itself_counts() -> None:
    nothing = Tally().now()
    assert judging(tallied(1000), old=nothing).outcome is Outcome.PASSED
    assert judging(tallied(100, refused={"invalid_output": 50}), old=nothing).reason == "gate.failures"
    assert judging(nothing).outcome is Outcome.OPEN


def test_every_breach_is_told_and_the_first_one_is_the_reason() -> None:
    verdict = judging(tallied(300, not_ok=1.0, ms=40.0, tail_ms=90.0, refused={"invalid_output": 9, "deadline": 30}))
    assert verdict.reason == "gate.failures"
    assert verdict.message is not None
    assert "deadline 30, invalid_output 9" in verdict.message
    assert "NotOK" in verdict.message
    assert "p99" in verdict.message


def test_chance_stops_fewer_than_one_good_model_in_a_hundred_at_any_look() -> None:
    stopped = 0
    for seed in range(60):
        rng, old, tally = random.Random(seed), tallied(1000, seed=1000 + seed), Tally()
        for number in range(1000):
            evaluation = Evaluation.NOT_OK if rng.random() < 0.1 else Evaluation.OK
            tally.judged(
                evaluation, rng.lognormvariate(2.3, 0.1), {"scratch": min(1.0, max(0.0, rng.gauss(0.8, 0.05)))}
            )
            if number % 50 == 49 and judging(tally.now(), old=old).outcome is Outcome.BREACHED:
                stopped += 1
                break
    assert stopped == 0


def parts(
    count: int, *, seed: int, not_ok: float = 0.4, frames: int = 30, shift: float = 0.0, is_reversed: bool = False
) -> Tally:
    """A camera sees each part in many frames, which are judged alike."""
    rng, tally = random.Random(seed), Tally()
    for _ in range(count):
        is_bad, score = rng.random() < not_ok, rng.gauss(0.7, 0.15) + shift
        evaluation = Evaluation.NOT_OK if is_bad is not is_reversed else Evaluation.OK
        for _ in range(frames):
            best = {"scratch": min(1.0, max(0.0, score + rng.gauss(0, 0.02)))} if is_bad else {}
            tally.judged(evaluation, 10.0, best)
    return tally


@pytest.mark.parametrize("not_ok", [0.1, 0.4])
def test_frames_of_one_part_are_alike_and_stop_no_good_model(not_ok: float) -> None:
    stopped = 0
    for seed in range(12):
        old = parts(50, seed=1000 + seed, not_ok=not_ok).recent()
        looks = (judging(parts(count, seed=seed, not_ok=not_ok).now(), old=old) for count in (1, 2, 4, 8, 16, 34))
        stopped += any(one.outcome is Outcome.BREACHED for one in looks)
    assert stopped == 0  # taken as independent, 12 of 12 are stopped at 40 %


def test_a_bad_model_is_stopped_early_where_frames_of_one_part_are_alike() -> None:
    old = parts(50, seed=1).recent()
    assert judging(parts(20, seed=2, shift=-0.35).now(), old=old).reason == "gate.scores"
    rare = parts(50, seed=3, not_ok=0.1).recent()
    assert judging(parts(16, seed=4, not_ok=0.1, is_reversed=True).now(), old=rare).reason == "gate.not_ok"


def test_memory_that_grows_is_a_leak_and_warming_up_is_none() -> None:
    warming = [(float(s), 100 + min(s, 9) * 30.0) for s in range(60)]
    leaking = [(float(s), 100 + s * 3.0) for s in range(60)]
    old, new = tallied(seed=2), tallied(1000)
    assert of_judging(old, new, GATES, wanted=1000, memory_mb=warming).outcome is Outcome.PASSED
    verdict = of_judging(old, new, GATES, wanted=1000, memory_mb=leaking)
    assert verdict.reason == "gate.memory"
    assert growth_mb(leaking[:12]) is None
    spike = [(float(s), 900.0 if s == 30 else 100.0) for s in range(60)]
    assert growth_mb(spike) == 0


def compared(frames: int, disagreements: int, **more: object) -> Compared:
    return Compared(compared=frames, disagreements=disagreements, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "outcome", "reason"),
    [
        (compared(200, 0), Outcome.PASSED, None),
        (compared(200, 4), Outcome.PASSED, None),
        (compared(200, 5), Outcome.BREACHED, "gate.disagreement"),
        (compared(30, 30), Outcome.BREACHED, "gate.disagreement"),
        (compared(30, 2), Outcome.OPEN, None),
        (compared(10, 10), Outcome.OPEN, None),
        (compared(0, 0), Outcome.OPEN, None),
        (compared(100, 0, failed={"invalid_output": 5}), Outcome.BREACHED, "gate.failures"),
        (compared(100, 0, failed={"invalid_output": 4}), Outcome.OPEN, None),
        (compared(150, 0, old=tallied(150), new=tallied(150, ms=40, tail_ms=50)), Outcome.OPEN, None),  # a busy box
    ],
)
def test_shadow(seen: Compared, outcome: Outcome, reason: str | None) -> None:
    verdict = of_shadow(seen, GATES)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_the_index_of_two_samples_of_one_distribution_is_nothing_and_of_two_others_is_much() -> None:
    assert stability_index(tallied(2000, seed=3).scores, tallied(2000, seed=4).scores) == pytest.approx(0, abs=0.05)
    assert (stability_index(tallied(2000).scores, tallied(2000, scores=(0.6, 0.05)).scores) or 0) > 1
    assert stability_index(tallied(99).scores, tallied(2000).scores) is None
