from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge_runtime.core.acceptance import Tolerances
from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import parse_golden, write_golden
from edge_runtime.engine.golden import Comparison, compare, read_golden, read_picture
from edge_runtime.engine.masks import draw
from edge_runtime.engine.spec import ThresholdSpec
from tests.unit.engine.specs import model_spec

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.engine.spec import ModelSpec

ALLOWED = Tolerances(score=0.05, iou=0.9, cosine=0.99)
SPEC = model_spec("yolo", ("dent", "chip"))
REGRESSION = replace(SPEC, task="regression", thresholds=ThresholdSpec(0.0, 1.0, 100))
RAW = replace(REGRESSION, task="raw")
DENT: dict[str, Any] = {"label": "dent", "score": 0.8, "box": [100.0, 100.0, 50.0, 40.0]}
CHIP: dict[str, Any] = {"label": "chip", "score": 0.6, "box": [10.0, 10.0, 20.0, 20.0]}


def held(expected: list[dict[str, Any]], found: list[dict[str, Any]], spec: ModelSpec = SPEC) -> Comparison:
    into = Comparison()
    frame = json.dumps({"schema": "golden/1", "frames": [{"file": "f.jpg", "predictions": expected}]}).encode()
    compare(parse_golden(frame, "expected.json")[0], found, ALLOWED, spec, into)
    return into


def test_the_same_answers_in_another_order_are_alike() -> None:
    into = held([DENT, CHIP], [CHIP, DENT])
    assert (into.problems, into.score, into.iou, into.cosine) == ([], 0.0, 1.0, None)


def test_the_largest_differences_are_kept() -> None:
    into = held([DENT, CHIP], [{**DENT, "score": 0.83}, {**CHIP, "box": [10.0, 10.0, 20.0, 19.0]}])
    assert into.problems == []
    assert into.score == pytest.approx(0.03)
    assert into.iou == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "f.jpg: dent 0.8000 at 100,100 was not found"),
        ([{**DENT, "score": 0.7}], "dent 0.8000 at 100,100 has a score of 0.7000 here; 0.05 more or less is allowed"),
        ([{**DENT, "label": "chip"}], "chip 0.8000 at 100,100 was found and should not be"),
        ([{**DENT, "box": [110.0, 100.0, 50.0, 40.0]}], "the nearest overlaps by 0.667 and 0.9 is asked for"),
        ([DENT, CHIP], "chip 0.6000 at 10,10 was found and should not be"),
        ([DENT, DENT], "dent 0.8000 at 100,100 was found and should not be"),
    ],
)
def test_other_places_are_said(found: list[dict[str, Any]], words: str) -> None:
    assert words in "; ".join(held([DENT], found).problems)


def test_what_is_as_near_to_the_threshold_as_rounding_may_come_and_go() -> None:
    weak = {**CHIP, "score": 0.28}
    assert held([DENT], [DENT, weak]).problems == []
    into = held([DENT, weak], [DENT])
    assert (into.problems, into.iou) == ([], 1.0)
    assert held([DENT, {**weak, "score": 0.31}], [DENT]).problems != []


def test_a_box_without_area_is_alike_only_itself() -> None:
    flat = {**DENT, "box": [5.0, 5.0, 0.0, 0.0]}
    assert held([flat], [flat]).problems == []
    assert held([flat], [{**flat, "box": [6.0, 5.0, 0.0, 0.0]}]).problems != []
    assert held([DENT], [{"label": "dent", "score": 0.8}]).problems != []


def scores(**values: float) -> list[dict[str, Any]]:
    return [{"label": label, "score": score} for label, score in values.items()]


def test_labels_are_held_against_each_other_by_cosine_and_by_who_comes_first() -> None:
    into = held(scores(red=0.9, green=0.1), scores(red=0.88, green=0.12))
    assert into.problems == []
    assert into.cosine == pytest.approx(0.9996, abs=1e-4)
    assert into.iou is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "1 labels expected, 0 found"),
        (scores(red=0.7), "red 0.9000 has a score of 0.7000 here"),
        (scores(green=0.9), "red 0.9000 was expected, green 0.9000 was found"),
        (scores(green=0.9), "the scores have a cosine of 0.0000, at least 0.99 is asked for"),
    ],
)
def test_other_labels_are_said(found: list[dict[str, Any]], words: str) -> None:
    assert words in "; ".join(held(scores(red=0.9), found).problems)


def test_of_two_labels_that_tie_either_may_come_first() -> None:
    assert held(scores(red=0.45, green=0.44), scores(green=0.46, red=0.44)).problems == []


def test_nothing_is_like_nothing() -> None:
    assert held([], []) == Comparison()
    assert held(scores(red=0.0), scores(red=0.0)).cosine == 1.0


SQUARE = [[100.0, 100.0], [150.0, 100.0], [150.0, 140.0], [100.0, 140.0]]
DIAMOND = [[125.0, 100.0], [150.0, 120.0], [125.0, 140.0], [100.0, 120.0]]
POINTS = [[110.0, 110.0, 0.9], [140.0, 130.0, 0.8], [0.0, 0.0, 0.1]]


def moved(right: float, score: float = 0.9, third: float = 0.0) -> list[list[float]]:
    """`POINTS` with the first so many pixels to the right, and the third, which is doubted, anywhere."""
    return [[110.0 + right, 110.0, score], POINTS[1], [third, third, 0.1]]


@pytest.mark.parametrize(
    ("field", "good", "bad", "words"),
    [
        ("text", "LOT 7", "LOT 1", "reads 'LOT 1' here, 'LOT 7' was expected"),
        ("text", "LOT 7", None, "reads None here, 'LOT 7' was expected"),
        ("value", 0.003, 0.0031, "has the value 0.0031 here, 0.003 was expected"),
        ("value", 3.0, None, "has the value None here"),
        ("polygon", SQUARE, DIAMOND, "was not found, the nearest overlaps by 0.5"),
        ("polygon", SQUARE, None, "was not found"),
        ("keypoints", POINTS, moved(2.0), "has a keypoint that is 0.040 of its box off, 0.03 is allowed"),
        ("keypoints", POINTS, moved(0.0, 0.8), "has keypoints whose scores are 0.1000 apart; 0.05 is allowed"),
        ("keypoints", POINTS, POINTS[:2], "has a keypoint that is inf of its box off"),
        ("keypoints", POINTS, None, "has a keypoint that is inf of its box off"),
    ],
)
def test_fields_that_are_expected_are_compared(field: str, good: object, bad: object, words: str) -> None:
    expected = {**DENT, field: good}
    assert held([expected], [expected]).problems == []
    assert held([DENT], [{**DENT, field: bad}]).problems == []
    without = {**DENT, field: bad} if bad is not None else DENT
    assert words in "; ".join(held([expected], [without]).problems)


def test_keypoints_are_as_exact_as_their_box_is_large() -> None:
    far = {**DENT, "box": [4000.0, 3000.0, 50.0, 40.0], "keypoints": POINTS}
    assert held([far], [{**far, "keypoints": moved(2.0)}]).problems != []
    into = held([far], [{**far, "keypoints": moved(1.0, third=500.0)}])
    assert (into.problems, into.keypoint) == ([], pytest.approx(0.02))


def test_a_polygon_is_alike_one_that_is_nearly_the_same() -> None:
    shifted = [[x + 1, y] for x, y in SQUARE]
    into = held([{**DENT, "polygon": SQUARE}], [{**DENT, "polygon": shifted}])
    assert (into.problems, into.iou) == ([], pytest.approx(49 / 51, abs=0.01))


def masked(columns: slice, rows: slice) -> dict[str, Any]:
    mask = np.zeros((80, 120), np.bool_)
    mask[rows, columns] = True
    drawn = draw(mask, 7, 9, (200, 150))
    assert drawn is not None
    return {"label": "dent", "score": 0.8, "box": [0.0, 0.0, 200.0, 150.0], "rle": drawn.rle}


def test_masks_are_compared_pixel_by_pixel_whatever_their_boxes() -> None:
    mask, near, other = (
        masked(slice(10, 60), slice(5, 45)),
        masked(slice(10, 59), slice(5, 45)),
        masked(slice(30, 80), slice(5, 45)),
    )
    assert held([mask], [mask]).iou == 1.0
    into = held([mask], [near])
    assert (into.problems, into.iou) == ([], pytest.approx(49 / 50))
    assert "the nearest overlaps by 0.429 and 0.9 is asked for" in "; ".join(held([mask], [other]).problems)
    assert held([mask], [{**mask, "rle": "P5"}]).problems != []  # of another picture
    for damaged in ("o", "\u20ac", "P", "oooooooo0"):
        with pytest.raises(DataError, match="rle: expected compressed run lengths") as caught:
            held([{**mask, "rle": damaged}], [mask])
        assert caught.value.code == "golden.invalid"


def values(**numbers: float) -> list[dict[str, Any]]:
    return [{"label": label, "score": 1.0, "value": value} for label, value in numbers.items()]


def test_each_value_is_held_against_its_own_size() -> None:
    into = held(values(length=500.0, angle=0.1), values(length=505.0, angle=0.1), REGRESSION)
    assert (into.problems, into.value) == ([], pytest.approx(0.01))
    (problem,) = held(values(length=500.0, angle=0.1), values(length=500.0, angle=0.2), REGRESSION).problems
    assert "angle has the value 0.2 here, 0.1 was expected; 0.02 of it more or less is allowed" in problem
    assert held(values(zero=0.0), values(zero=0.0), REGRESSION).problems == []
    assert held(values(zero=0.0), values(zero=0.5), REGRESSION).problems != []


def test_the_values_of_a_raw_model_are_compared_by_their_cosine() -> None:
    into = held(values(a=1.0, b=0.001, c=-2.0), values(a=1.01, b=-0.001, c=-2.0), RAW)
    assert into.problems == []
    assert into.cosine == pytest.approx(1.0, abs=1e-4)
    assert "the values have a cosine of" in held(values(a=1.0, b=2.0), values(a=2.0, b=1.0), RAW).problems[0]
    assert held(values(a=3.0), values(a=4.0), RAW).problems != []  # of one number the cosine is always 1
    assert (
        "2 values expected, 1 found, 1 by the same name" in held(values(a=1.0, b=2.0), values(a=1.0), RAW).problems[0]
    )
    assert held(values(a=1.0), [], RAW).problems != []
    assert held([], values(a=1.0), RAW).problems != []


def test_a_verdict_and_its_regions_are_compared_each_in_its_way() -> None:
    verdict = scores(anomalous=0.8, normal=0.2)
    region = {"label": "region", "score": 0.9, "box": [5.0, 5.0, 9.0, 9.0]}
    assert held([*verdict, region], [*verdict, region]).problems == []
    other = scores(normal=0.7, anomalous=0.3)
    assert "anomalous 0.8000 was expected, normal 0.7000 was found" in "; ".join(
        held([*verdict, region], [*other, region]).problems
    )
    assert "region 0.9000 at 5,5 was not found" in "; ".join(held([*verdict, region], verdict).problems)


def test_a_frame_on_which_nothing_is_expected_fails_when_something_is_found() -> None:
    assert "dent 0.8000 at 100,100 was found and should not be" in held([], [DENT]).problems[0]
    assert "red 0.9000 was found and should not be" in held([], scores(red=0.9)).problems[0]
    assert held([], scores(red=0.26)).problems == []
    assert held(scores(red=0.26), []).problems == []


def test_a_label_with_a_threshold_of_its_own_is_doubtful_at_that_one() -> None:
    strict = replace(SPEC, thresholds=ThresholdSpec(0.25, 0.5, 100, {"dent": 0.78}))
    assert held([], [DENT], strict).problems == []
    assert held([DENT], [], strict).problems == []
    assert held([], [CHIP], strict).problems != []


def test_answers_are_written_as_exactly_as_a_model_gives_them() -> None:
    rows = [{"label": "a", "score": 1.0, "value": 0.000012345678, "polygon": ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0))}]
    (frame,) = parse_golden(write_golden({"f.png": rows}, {}), "expected.json")
    assert frame.predictions[0]["value"] == pytest.approx(0.000012345678, rel=1e-6)
    assert frame.predictions[0]["polygon"] == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def test_a_package_without_golden_frames_has_none(tmp_path: Path) -> None:
    assert read_golden(tmp_path) == ()


def test_a_picture_is_read_as_colour_and_what_is_none_is_refused(tmp_path: Path) -> None:
    good, bad, empty = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"
    cv2.imwrite(str(good), np.full((4, 6), 7, np.uint8))
    bad.write_bytes(b"<html>404</html>")
    empty.touch()
    assert read_picture(good).shape == (4, 6, 3)
    for path in (bad, empty, tmp_path / "absent.png"):
        with pytest.raises(DataError, match=path.name) as caught:
            read_picture(path)
        assert caught.value.code == "golden.unreadable"
