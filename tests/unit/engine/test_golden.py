from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge_runtime.core.acceptance import Tolerances
from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import GoldenFrame
from edge_runtime.engine.golden import Comparison, compare, read_golden, read_picture

if TYPE_CHECKING:
    from pathlib import Path

ALLOWED = Tolerances(score=0.05, iou=0.9, cosine=0.99)
DENT: dict[str, Any] = {"label": "dent", "score": 0.8, "box": [100.0, 100.0, 50.0, 40.0]}
CHIP: dict[str, Any] = {"label": "chip", "score": 0.6, "box": [10.0, 10.0, 20.0, 20.0]}


def held(expected: list[dict[str, Any]], found: list[dict[str, Any]], floor: float = 0.25) -> Comparison:
    into = Comparison()
    compare(GoldenFrame("f.jpg", tuple(expected)), found, ALLOWED, floor, into)
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


@pytest.mark.parametrize(
    ("field", "good", "bad", "words"),
    [
        ("text", "LOT 7", "LOT 1", "reads 'LOT 1' here, 'LOT 7' was expected"),
        ("value", 3.0, 3.4, "has the value 3.4 here, 3 was expected"),
        ("value", 3.0, None, "has the value None here"),
        (
            "keypoints",
            [[1.0, 2.0], [30.0, 40.0]],
            [[1.0, 2.0], [30.0, 60.0]],
            "has keypoints 20.0 px off, 10.0 are allowed",
        ),
        ("keypoints", [[1.0, 2.0]], None, "has keypoints inf px off"),
    ],
)
def test_fields_that_are_expected_are_compared(field: str, good: object, bad: object, words: str) -> None:
    expected = {**DENT, field: good}
    assert held([expected], [expected]).problems == []
    assert held([DENT], [{**DENT, field: bad}]).problems == []
    assert words in "; ".join(held([expected], [{**DENT, field: bad}]).problems)


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
