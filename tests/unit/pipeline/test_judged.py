"""``pipeline.judged``: what an engine made of its frames."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.result import Evaluation
from edge_runtime.pipeline.judged import (
    EVIDENCE_MAX,
    LABELS_MAX,
    NOTHING,
    OTHER_LABELS,
    REPEATS_MAX,
    Comparisons,
    Disagreement,
    Tally,
    together,
)
from edge_runtime.system.metrics import percentile

EVALUATIONS = (Evaluation.UNDEFINED, Evaluation.OK, Evaluation.NOT_OK, Evaluation.NOT_DECIDABLE)
FRAMES = st.lists(
    st.tuples(st.sampled_from(EVALUATIONS), st.floats(0.05, 50_000), st.floats(0, 1)), min_size=1, max_size=60
)


@given(FRAMES, st.integers(0, 60))
def test_what_came_after_a_moment_and_the_moment_are_all_there_is(
    frames: list[tuple[Evaluation, float, float]], at: int
) -> None:
    tally, before = Tally(), NOTHING
    for number, (evaluation, ms, score) in enumerate(frames):
        if number == at:
            before = tally.now()
        tally.judged(evaluation, ms, {"a": score})
    tally.refused("invalid_output")
    tally.undecided("deadline")
    now = tally.now()
    assert now.frames == len(frames) + 2
    assert together([before, now.since(before)]) == now
    assert now.since(now) == NOTHING


@given(st.lists(st.floats(0.06, 50_000), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_percentile_is_at_most_five_percent_too_large(times: list[float], quantile: float) -> None:
    tally = Tally()
    for ms in times:
        tally.judged(Evaluation.OK, ms, {})
    exact, found = percentile(sorted(times), quantile), tally.now().percentile_ms(quantile)
    assert exact is not None
    assert found is not None
    assert exact * 0.9999 <= found <= exact * 1.0501


def test_times_beyond_all_buckets_and_a_model_with_many_labels_have_a_bound() -> None:
    tally = Tally()
    tally.judged(Evaluation.OK, 1e9, {str(number): 1.0 for number in range(LABELS_MAX + 10)})
    tally.judged(Evaluation.OK, 0.0, {"0": 0.0})
    now = tally.now()
    assert sum(now.times) == 2
    assert len(now.labels) == LABELS_MAX + 1
    assert now.labels[OTHER_LABELS] == 10
    assert now.scores[-1] == LABELS_MAX + 10
    assert NOTHING.percentile_ms(0.5) is None


def test_the_sum_of_nothing_is_nothing() -> None:
    assert together([]) == NOTHING


@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_each_evaluation_is_counted_on_its_own(evaluation: Evaluation) -> None:
    tally = Tally()
    tally.judged(evaluation, 1.0, {})
    now = tally.now()
    assert (now.undefined, now.ok, now.not_ok, sum(now.undecided.values())) == tuple(
        int(evaluation is one) for one in EVALUATIONS
    )


@pytest.mark.parametrize(("alike", "least", "most"), [(1, 1.0, 1.5), (10, 8.0, 40.0), (40, 40.0, 160.0)])
def test_frames_that_are_alike_count_as_few(alike: int, least: float, most: float) -> None:
    rng, tally = random.Random(3), Tally()
    for _ in range(2000 // alike):
        evaluation, score = rng.choice((Evaluation.OK, Evaluation.NOT_OK)), rng.random()
        for _ in range(alike):
            tally.judged(evaluation, 1.0, {"a": score})
    now = tally.now()
    assert least <= now.verdict_repeats <= most
    assert least <= now.score_repeats <= most


def test_what_never_changes_says_little_and_nothing_says_what_it_says() -> None:
    tally = Tally()
    for _ in range(1000):
        tally.judged(Evaluation.OK, 1.0, {"a": 0.5})
    assert tally.now().score_repeats == REPEATS_MAX
    assert (NOTHING.score_repeats, NOTHING.verdict_repeats) == (1.0, 1.0)


def test_a_comparison_keeps_the_first_disagreements_and_the_largest_distance() -> None:
    comparisons, ok, not_ok = Comparisons(), (Evaluation.OK, 1.0, {"a": 0.1}), (Evaluation.NOT_OK, 2.0, {"a": 0.9})
    for number in range(EVIDENCE_MAX + 5):
        comparisons.add(Disagreement("lid", number, "OK", "NOT_OK", 0.1, 0.9), ok, not_ok)
    comparisons.add(Disagreement("lid", 99, "OK", "OK", 0.1, None), ok, ok)
    comparisons.skipped()
    comparisons.failed("invalid_output")
    now = comparisons.now()
    assert (now.compared, now.skipped, now.failed) == (EVIDENCE_MAX + 6, 1, {"invalid_output": 1})
    assert (now.disagreements, now.score_distance) == (EVIDENCE_MAX + 5, pytest.approx(0.8))
    assert [one.frame_id for one in now.evidence] == list(range(EVIDENCE_MAX))
    assert (now.old.ok, now.new.not_ok, now.new.ok) == (EVIDENCE_MAX + 6, EVIDENCE_MAX + 5, 1)
