from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import OutputSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec, outputs

SAME = Transform(1, 1, 0, 0, 32, 32)  # a frame of the size of the canvas
ENDS = ("left end", "right end")


def decoder(name: str, *infos: Any, keypoints: tuple[str, ...] = ENDS, output: Any = None, **changes: Any) -> Any:
    boxes = "cxcywh" if name == "yolo" else "xyxy"
    spec = model_spec(name, output=output or OutputSpec(boxes=boxes, keypoints=keypoints), **changes)
    return make_decoder(replace(spec, task="keypoints"), infos)


def yolo(*rows: list[float]) -> list[np.ndarray]:
    """Rows of the head -> [1, numbers, 13]."""
    head = np.zeros((13, len(rows[0])), np.float32)
    head[: len(rows)] = rows
    return [np.ascontiguousarray(head.T[None])]


BOX = [16, 16, 24, 8, 0.9, 0.1]


def test_points_stand_after_the_scores_of_a_raw_head() -> None:
    made = decoder("yolo", *outputs((1, 12, 13)))
    (found,) = made.decode(yolo([*BOX, 5, 16, 0.8, 27, 17, 0.3]), SAME)
    assert (found.label, found.box) == ("scratch", (4, 12, 24, 8))
    assert found.keypoints == ((5, 16, 0.8), (27, 17, 0.3))


def test_points_without_a_score_have_that_of_their_object() -> None:
    made = decoder("yolo", *outputs((1, 10, 13)))
    (found,) = made.decode(yolo([*BOX, 5, 16, 27, 17]), SAME)
    assert found.keypoints == ((5, 16, 0.9), (27, 17, 0.9))


def test_points_are_in_pixels_of_the_frame_and_inside_it() -> None:
    made = decoder("yolo", *outputs((1, 12, 13)))
    (found,) = made.decode(yolo([*BOX, 5, 2, 1, 40, 17, 0]), Transform(0.5, 0.5, 0, 8, 64, 32))
    assert found.keypoints == ((10, 0, 1), (64, 18, 0))
    fractions = OutputSpec(boxes="cxcywh", normalized=True, keypoints=ENDS)
    made = decoder("yolo", *outputs((1, 12, 13)), output=fractions)
    (found,) = made.decode(yolo([0.5, 0.5, 0.75, 0.25, 0.9, 0.1, 0.25, 0.5, 1, 1, 0.5, 1]), SAME)
    assert found.keypoints == ((8, 16, 1), (32, 16, 1))


def test_finished_rows_have_points_too() -> None:
    made = decoder("end2end", *outputs((1, 3, 12)))
    rows = np.zeros((1, 3, 12), np.float32)
    rows[0, 1] = [4, 12, 28, 20, 0.7, 1, 5, 16, 0.8, 27, 17, 0.3]
    (found,) = made.decode([rows], SAME)
    assert (found.label, found.keypoints) == ("dent", ((5, 16, 0.8), (27, 17, 0.3)))


@pytest.mark.parametrize("point", [(np.nan, 16, 0.8), (5, 16, np.nan), (5, 16, 7.0), (5, np.inf, 0.5)])
def test_points_that_are_none_are_refused(point: tuple[float, ...]) -> None:
    made = decoder("yolo", *outputs((1, 12, 13)))
    with pytest.raises(InvalidOutputError, match="keypoints that are no numbers, or scores"):
        made.decode(yolo([*BOX, *point, 27, 17, 0.3]), SAME)


def test_how_many_points_there_are_must_be_stated() -> None:
    with pytest.raises(DataError, match="how many keypoints there are") as caught:
        decoder("yolo", *outputs((1, 12, 13)), keypoints=())
    assert caught.value.code == "model.ambiguous"
    assert '"keypoints": [' in str(caught.value)


def test_a_head_without_so_many_points_is_refused() -> None:
    with pytest.raises(DataError, match=r"\[1,n,12\]"):
        decoder("end2end", *outputs((1, 3, 13)))
    with pytest.raises(DataError, match="classes apart"):
        decoder("yolo", *outputs((1, 14, 99)))
    with pytest.raises(DataError, match="expects an output"):
        decoder("yolo", *outputs((1, 14)))


# one person


def person(*rows: tuple[float, float, float]) -> list[np.ndarray]:
    return [np.array([[rows]], np.float32)]


def test_movenet_points_are_fractions_of_the_input_y_first() -> None:
    made = decoder("movenet", *outputs((1, 1, 2, 3)), labels=("person",))
    (found,) = made.decode(person((0.25, 0.5, 0.8), (0.75, 0.125, 0.6)), SAME)
    assert (found.label, found.id, found.score) == ("person", 0, pytest.approx(0.7))
    assert found.keypoints == ((16, 8, 0.8), (4, 24, 0.6))
    assert found.box == (4, 8, 12, 16)


def test_the_box_is_around_the_points_that_were_seen() -> None:
    names = ("a", "b", "c")
    made = decoder("movenet", *outputs((1, 1, 3, 3)), labels=("person",), keypoints=names)
    (found,) = made.decode(person((0.25, 0.5, 0.8), (0.75, 0.125, 0.6), (0.99, 0.99, 0.1)), SAME)
    assert found.box == (4, 8, 12, 16)
    assert len(found.keypoints) == 3


def test_nobody_is_an_empty_answer() -> None:
    made = decoder("movenet", *outputs((1, 1, 2, 3)), labels=("person",))
    assert made.decode(person((0.25, 0.5, 0.2), (0.75, 0.1, 0.1)), SAME) == ()
    everything = decoder("movenet", *outputs((1, 1, 2, 3)), labels=("person",), thresholds=ThresholdSpec(0, 1, 1))
    assert everything.decode(person((0.25, 0.5, 0.1), (0.75, 0.1, 0.1)), SAME) == ()
    strict = decoder(
        "movenet", *outputs((1, 1, 2, 3)), labels=("person",), thresholds=ThresholdSpec(0, 1, 1, {"person": 0.9})
    )
    assert strict.decode(person((0.25, 0.5, 0.8), (0.75, 0.1, 0.8)), SAME) == ()


def test_points_beside_the_input_are_no_answer_if_they_were_seen() -> None:
    made = decoder("movenet", *outputs((1, 1, 2, 3)), labels=("person",))
    with pytest.raises(InvalidOutputError, match="a point at 96, 64 lies beside the input of 32 x 32"):
        made.decode(person((0.25, 0.5, 0.8), (2.0, 3.0, 0.8)), SAME)
    assert len(made.decode(person((0.25, 0.5, 0.8), (2.0, 3.0, 0.1)), SAME)) == 1


def test_a_person_is_of_one_label_and_has_its_points() -> None:
    with pytest.raises(DataError, match="tells 1 classes apart"):
        decoder("movenet", *outputs((1, 1, 2, 3)))
    with pytest.raises(DataError, match=r"an output \[1,1,2,3\]"):
        decoder("movenet", *outputs((1, 1, 17, 3)), labels=("person",))
    with pytest.raises(DataError, match=r"an output \[1,1,0,3\]"):
        decoder("movenet", *outputs((1, 1, 0, 3)), labels=("person",), keypoints=())


SIMCC = [TensorInfo("simcc_x", "float32", (1, 2, 64)), TensorInfo("simcc_y", "float32", (1, 2, 64))]


def along(*places: tuple[int, float]) -> np.ndarray:
    numbers = np.zeros((1, len(places), 64), np.float32)
    for row, (place, value) in enumerate(places):
        numbers[0, row, place] = value
    return numbers


def test_simcc_points_are_the_largest_along_each_axis() -> None:
    made = decoder("simcc", *SIMCC, labels=("tool",))
    (found,) = made.decode([along((10, 0.9), (60, 0.7)), along((20, 0.8), (21, 1.1))], SAME)
    assert found.keypoints == ((5, 10, 0.8), (30, 10.5, 0.7))
    assert (found.label, found.score, found.box) == ("tool", pytest.approx(0.75), (5, 10, 25, 0.5))


def test_simcc_scores_may_need_a_softmax() -> None:
    output = OutputSpec(keypoints=ENDS, activation="softmax")
    made = decoder("simcc", *SIMCC, labels=("tool",), output=output)
    flat = along((10, 0.01), (60, 0.0))
    (found,) = made.decode([flat, along((20, 0.01), (21, 0.02))], SAME)
    sure = np.exp(9) / (np.exp(9) + 63)
    assert found.keypoints == ((5, 10, round(sure, 4)), (0, 10.5, round(1 / 64, 4)))


def test_simcc_outputs_are_told_by_name_or_by_the_sides_of_the_input() -> None:
    infos = outputs((1, 2, 128), (1, 2, 64))
    made = decoder("simcc", *infos, labels=("tool",), size=(64, 32))
    y, x = np.zeros((1, 2, 128), np.float32), along((10, 1), (60, 1))
    y[0, :, 100] = 1
    (found,) = made.decode([y, x], Transform(1, 1, 0, 0, 32, 64))
    assert found.keypoints == ((5, 50, 1), (30, 50, 1))
    with pytest.raises(DataError, match="which is which can be written"):
        decoder("simcc", *outputs((1, 2, 64), (1, 2, 64)), labels=("tool",))
    named = OutputSpec(keypoints=ENDS, names={"x": "out1", "y": "out0"})
    made = decoder("simcc", *outputs((1, 2, 64), (1, 2, 64)), labels=("tool",), output=named)
    (found,) = made.decode([along((10, 1), (60, 1)), along((20, 1), (22, 1))], SAME)
    assert found.keypoints == ((10, 5, 1), (11, 30, 1))


def test_simcc_outputs_have_as_many_places_per_pixel_along_both_axes() -> None:
    for shape in ((1, 2, 96), (1, 3, 64), (1, 64)):
        with pytest.raises(DataError, match=r"\[1,2,k\*32\] along x"):
            decoder("simcc", SIMCC[0], replace(SIMCC[1], shape=shape), labels=("tool",))


def test_simcc_numbers_must_be_finite() -> None:
    made = decoder("simcc", *SIMCC, labels=("tool",))
    with pytest.raises(InvalidOutputError, match="along an axis are not finite"):
        made.decode([along((10, np.nan), (60, 0.7)), along((20, 0.8), (21, 1.1))], SAME)
