"""A recipe turns predictions into an evaluation, and says why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.pattern import Pattern
from edge_runtime.core.result import Evaluation, Prediction
from edge_runtime.pipeline.recipe import Judgement, Recipe, Rule, judge
from tests.fakes.values import make_prediction

W, H = 640, 480
SCRATCH = make_prediction("scratch", 0.9)
DENT = make_prediction("dent", 0.6)


def _judge(predictions: list[Prediction], *rules: Rule) -> Judgement:
    return judge(Recipe(not_ok=rules), predictions, W, H)


def test_without_rules_nothing_is_decided() -> None:
    assert _judge([]) == Judgement(Evaluation.UNDEFINED, "the recipe has no rules", None)
    assert _judge([DENT, SCRATCH]) == Judgement(Evaluation.UNDEFINED, "the recipe has no rules", 0.9)


def test_a_part_is_ok_when_no_rule_trips_and_the_best_score_is_told() -> None:
    assert _judge([DENT], Rule("scratch")) == Judgement(Evaluation.OK, "no rule tripped", 0.6)
    assert _judge([], Rule("scratch")) == Judgement(Evaluation.OK, "no rule tripped", None)


def test_one_prediction_is_enough_when_the_rule_names_no_count() -> None:
    assert _judge([DENT, SCRATCH], Rule("scratch")) == Judgement(Evaluation.NOT_OK, "scratch 0.90", 0.9)


def test_the_reason_names_the_strongest_prediction_and_how_many_more_there_are() -> None:
    found = [make_prediction("scratch", score) for score in (0.5, 0.8, 0.7)]
    assert _judge(found, Rule("scratch")) == Judgement(Evaluation.NOT_OK, "scratch 0.80 and 2 more", 0.8)


def test_the_star_matches_every_label() -> None:
    assert _judge([DENT, SCRATCH], Rule("*")).reason == "scratch 0.90 and 1 more"


@pytest.mark.parametrize(("score", "expected"), [(0.49, Evaluation.OK), (0.5, Evaluation.NOT_OK)])
def test_predictions_below_the_score_do_not_count(score: float, expected: Evaluation) -> None:
    assert _judge([make_prediction("scratch", score)], Rule("scratch", score_min=0.5)).evaluation is expected


GOOD = (Prediction("good", 0.97, id=0), Prediction("scratch", 0.03, id=1, alternative=True))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("scratch"), Evaluation.OK),
        (Rule("*", count_above=1), Evaluation.OK),
        (Rule("scratch", count_above=0), Evaluation.OK),
        (Rule("scratch", count_below=1), Evaluation.NOT_OK),
        (Rule("good"), Evaluation.NOT_OK),
        (Rule("good", count_below=1), Evaluation.OK),
        (Rule("scratch", score_min=0.02), Evaluation.NOT_OK),
        (Rule("scratch", score_min=0.04), Evaluation.OK),
    ],
)
def test_what_a_classifier_decided_against_counts_only_for_a_rule_that_states_a_score(
    rule: Rule, expected: Evaluation
) -> None:
    assert _judge(list(GOOD), rule).evaluation is expected


@pytest.mark.parametrize(("height", "expected"), [(9.9, Evaluation.OK), (10, Evaluation.NOT_OK)])
def test_boxes_below_the_area_do_not_count(height: float, expected: Evaluation) -> None:
    found = make_prediction("scratch", box=(0, 0, 10, height))
    assert _judge([found], Rule("scratch", area_min_px=100)).evaluation is expected


def test_an_area_cannot_rule_out_what_has_no_box() -> None:
    found = make_prediction("scratch", box=None)
    assert _judge([found], Rule("scratch", area_min_px=100)).evaluation is Evaluation.NOT_OK


@pytest.mark.parametrize(("count", "expected"), [(1, Evaluation.NOT_OK), (2, Evaluation.OK), (3, Evaluation.OK)])
def test_parts_that_must_be_there_are_missed(count: int, expected: Evaluation) -> None:
    judgement = _judge([make_prediction("screw", 0.7)] * count, Rule("screw", count_below=2))
    assert judgement.evaluation is expected
    if count == 1:
        assert judgement == Judgement(Evaluation.NOT_OK, "screw: 1 found, at least 2 needed", 0.7)


def test_a_missing_part_has_no_score() -> None:
    assert _judge([], Rule("screw", count_below=1)) == Judgement(
        Evaluation.NOT_OK, "screw: 0 found, at least 1 needed", None
    )


@pytest.mark.parametrize(("count", "expected"), [(0, Evaluation.OK), (2, Evaluation.OK), (3, Evaluation.NOT_OK)])
def test_more_than_allowed_is_not_ok(count: int, expected: Evaluation) -> None:
    judgement = _judge([make_prediction("pore", 0.7)] * count, Rule("pore", count_above=2))
    assert judgement.evaluation is expected
    if count == 3:
        assert judgement.reason == "pore: 3 found, at most 2 allowed"


@pytest.mark.parametrize(("count", "expected"), [(0, "NotOK"), (1, "OK"), (2, "OK"), (3, "NotOK")])
def test_a_rule_may_have_both_counts(count: int, expected: str) -> None:
    rule = Rule("screw", count_below=1, count_above=2)
    assert _judge([make_prediction("screw")] * count, rule).evaluation.text == expected


def test_the_reasons_of_all_rules_that_tripped_are_joined() -> None:
    judgement = _judge([DENT, SCRATCH], Rule("dent"), Rule("hole"), Rule("scratch"))
    assert judgement == Judgement(Evaluation.NOT_OK, "dent 0.60; scratch 0.90", 0.9)


LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
HOLLOW = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.2), (0.0, 1.0))  # concave: a notch from below


@pytest.mark.parametrize(
    ("region", "centre", "inside"),
    [
        (LEFT_HALF, (0.25, 0.5), True),
        (LEFT_HALF, (0.75, 0.5), False),
        (LEFT_HALF, (0.25, 1.5), False),
        (HOLLOW, (0.5, 0.1), True),
        (HOLLOW, (0.5, 0.9), False),
        (HOLLOW, (0.05, 0.8), True),
        (HOLLOW, (0.95, 0.8), True),
    ],
)
def test_only_boxes_whose_centre_is_in_the_region_count(
    region: tuple[tuple[float, float], ...],
    centre: tuple[float, float],
    inside: bool,  # noqa: FBT001 - a parameter
) -> None:
    found = make_prediction("scratch", 0.9, (centre[0] * W - 5, centre[1] * H - 5, 10, 10))
    judgement = judge(Recipe(not_ok=(Rule("scratch"),), region=region), [found], W, H)
    assert judgement.evaluation is (Evaluation.NOT_OK if inside else Evaluation.OK)
    assert judgement.score == (0.9 if inside else None)


@pytest.mark.parametrize(
    ("box", "expected"),
    [((0.3 * W, 0, 0.6 * W, H), Evaluation.OK), ((-0.4 * W, -H, W, 3 * H), Evaluation.NOT_OK)],
)
def test_it_is_the_centre_that_counts_and_not_a_corner(
    box: tuple[float, float, float, float], expected: Evaluation
) -> None:
    found = make_prediction("scratch", 0.9, box)
    assert judge(Recipe(not_ok=(Rule("scratch"),), region=LEFT_HALF), [found], W, H).evaluation is expected


def test_what_has_no_box_belongs_to_the_whole_frame() -> None:
    found = make_prediction("scratch", box=None)
    judgement = judge(Recipe(not_ok=(Rule("scratch"),), region=LEFT_HALF), [found], W, H)
    assert judgement.evaluation is Evaluation.NOT_OK


@given(x=st.floats(-1, 2), y=st.floats(-1, 2))
def test_a_rectangle_agrees_with_comparing_coordinates(x: float, y: float) -> None:
    region = ((0.2, 0.3), (0.8, 0.3), (0.8, 0.6), (0.2, 0.6))
    centre_x, centre_y = (x * W) / W, (y * H) / H  # rounded as the code under test has to
    found = make_prediction("scratch", 0.9, (x * W, y * H, 0, 0))
    tripped = judge(Recipe(not_ok=(Rule("*"),), region=region), [found], W, H).evaluation is Evaluation.NOT_OK
    if 0.2 < centre_x < 0.8 and 0.3 < centre_y < 0.6:
        assert tripped
    if not (0.2 <= centre_x <= 0.8 and 0.3 <= centre_y <= 0.6):
        assert not tripped


WIDTH = Prediction("width", 1.0, id=0, value=10.5)
HEIGHT = Prediction("height", 1.0, id=1, value=4.0)


@pytest.mark.parametrize(
    ("low", "high", "reason"),
    [
        (None, 10.0, "width 10.5, at most 10 allowed"),
        (11.0, None, "width 10.5, at least 11 needed"),
        (11.0, 12.0, "width 10.5, at least 11 needed"),
        (9.0, 10.0, "width 10.5, at most 10 allowed"),
        (10.5, 10.5, None),
        (9.0, None, None),
        (None, 11.0, None),
    ],
)
def test_a_value_counts_when_it_is_beyond_its_limits(low: float | None, high: float | None, reason: str | None) -> None:
    judgement = _judge([WIDTH, HEIGHT], Rule("width", value_below=low, value_above=high))
    if reason is None:
        assert judgement.evaluation is Evaluation.OK
    else:
        assert (judgement.evaluation, judgement.reason) == (Evaluation.NOT_OK, reason)


def test_values_beyond_their_limits_can_be_counted() -> None:
    rule = Rule("*", value_below=11.0, count_above=1)
    assert _judge([WIDTH, HEIGHT], rule).reason == "*: 2 found, at most 1 allowed"
    assert _judge([WIDTH], rule).evaluation is Evaluation.OK


def test_a_limit_of_what_was_not_measured_decides_nothing() -> None:
    rule = Rule("depth", value_above=1.0)
    expected = Judgement(Evaluation.NOT_DECIDABLE, "depth: no value was measured", None)
    assert _judge([WIDTH], rule) == expected
    assert _judge([Prediction("depth", 0.9)], rule) == expected
    assert _judge([], rule) == expected


def test_what_another_rule_says_is_not_ok_stays_so_when_a_value_was_not_measured() -> None:
    judgement = _judge([SCRATCH], Rule("depth", value_above=1.0), Rule("scratch"))
    assert (judgement.evaluation, judgement.reason) == (Evaluation.NOT_OK, "scratch 0.90")


LOT = Rule("text", text_matches=Pattern(r"LOT \d{6}"), count_below=1)
VOID = Rule("text", text_is="VOID", count_above=0)


def texts(*read: str | None) -> list[Prediction]:
    return [Prediction("text", 0.9, (0, 0, 10, 10), text=one) for one in read]


@pytest.mark.parametrize("read", [["LOT 123456"], ["EXP 2027", " LOT 123456 "]])
def test_an_expected_text_that_is_there_is_ok(read: list[str]) -> None:
    assert _judge(texts(*read), LOT, VOID).evaluation is Evaluation.OK


@pytest.mark.parametrize(
    ("read", "told"),
    [
        ([], "nothing"),
        ([None], "nothing"),
        (["LOT 12345"], "'LOT 12345'"),
        (["EXP 2027", None, "LOT 1234567"], "'EXP 2027', 'LOT 1234567'"),
        (["a", "b", "c", "d", "e", "f"], "'a', 'b', 'c', 'd', 'e', ..."),
    ],
)
def test_an_expected_text_that_is_missing_is_not_ok_and_what_was_read_is_told(
    read: list[str | None], told: str
) -> None:
    reason = rf"text like 'LOT \\d{{6}}': 0 found, at least 1 needed; read: {told}"
    assert _judge(texts(*read), LOT) == Judgement(Evaluation.NOT_OK, reason, None)


def test_a_text_that_must_not_be_there_is_not_ok() -> None:
    found = _judge(texts("VOID", "LOT 123456"), LOT, VOID)
    assert found == Judgement(Evaluation.NOT_OK, "text 'VOID': 1 found, at most 0 allowed", 0.9)
    assert _judge(texts("VOID 1", "void"), VOID).evaluation is Evaluation.OK


def test_texts_of_other_labels_and_unsure_ones_do_not_count() -> None:
    assert _judge([replace(one, label="plate") for one in texts("VOID")], VOID).evaluation is Evaluation.OK
    assert _judge(texts("VOID"), replace(VOID, label="*")).evaluation is Evaluation.NOT_OK
    assert _judge(texts("VOID"), replace(VOID, score_min=0.95)).evaluation is Evaluation.OK
