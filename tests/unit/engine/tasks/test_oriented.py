from __future__ import annotations

import math

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import ModelSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec, outputs

SAME = Transform(1, 1, 0, 0, 32, 32)  # a frame of the size of the canvas
UPRIGHT = math.pi / 2


def turned(decoder: str, iou: float = 0.5) -> ModelSpec:
    return model_spec(decoder, task="oriented_detection", thresholds=ThresholdSpec(0.25, iou, 100))


def head(*rows: list[float], columns: int = 20) -> list[np.ndarray]:
    """Rows cx cy w h score score angle -> [1, 7, n]."""
    padded = [*rows, *[[0.0] * 7] * (columns - len(rows))]
    return [np.ascontiguousarray(np.array(padded, np.float32).T[None])]


def test_a_turned_box_has_four_corners_and_their_bounds() -> None:
    decoder = make_decoder(turned("yolo"), outputs((1, 7, 20)))
    double = [16.5, 16, 12, 4, 0.7, 0.1, UPRIGHT]
    found = decoder.decode(head([16, 16, 12, 4, 0.9, 0.1, UPRIGHT], double, [6, 6, 4, 4, 0.1, 0.8, 0]), SAME)
    assert found == (
        Prediction("scratch", 0.9, (14, 10, 4, 12), polygon=((14, 22), (18, 22), (18, 10), (14, 10)), id=0),
        Prediction("dent", 0.8, (4, 4, 4, 4), polygon=((8, 8), (8, 4), (4, 4), (4, 8)), id=1),
    )


def test_corners_may_lie_outside_of_the_frame_and_bounds_may_not() -> None:
    # the picture covers rows 8 to 24 of the canvas
    decoder = make_decoder(turned("yolo"), outputs((1, 7, 20)))
    rows = [[2, 16, 8, 8, 0.9, 0, math.pi / 4], [16, 4, 4, 4, 0.8, 0, 0]]
    (found,) = decoder.decode(head(*rows), Transform(0.5, 0.5, 0, 8, 64, 32))
    reach = 2 * 8 / math.sqrt(2)
    assert found.box == pytest.approx((0, 16 - reach, 4 + reach, 2 * reach), abs=0.01)
    assert found.polygon is not None
    assert min(x for x, _ in found.polygon) == pytest.approx(4 - reach, abs=0.01)


def test_finished_rows_are_taken_as_they_are() -> None:
    decoder = make_decoder(turned("end2end", iou=1.0), outputs((1, 4, 7)))
    rows = [[16, 16, 12, 4, 0.7, 0, UPRIGHT], [16, 16, 12, 4, 0.9, 0, UPRIGHT], [6, 6, 4, 4, 0.8, 1, 0], [0] * 7]
    found = decoder.decode([np.array([rows], np.float32)], SAME)
    assert [(one.label, one.score, one.box) for one in found] == [
        ("scratch", pytest.approx(0.9), (14, 10, 4, 12)),
        ("dent", pytest.approx(0.8), (4, 4, 4, 4)),
        ("scratch", pytest.approx(0.7), (14, 10, 4, 12)),
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([16, 16, 12, 4, 0.9, 0, math.nan], "not finite"),
        ([16, 16, -12, 4, 0.9, 0, 0], "negative width or height"),
        ([500, 16, 12, 4, 0.9, 0, 0], "lies beside the input"),
        ([0.5, 0.5, 0.2, 0.2, 0.9, 0, 0], "pixels of the corner"),
        ([16, 16, 12, 4, 0.9, 9, 0], "class 9 has no label"),
    ],
)
def test_nonsense_is_no_answer(row: list[float], expected: str) -> None:
    decoder = make_decoder(turned("end2end"), outputs((1, 1, 7)))
    with pytest.raises(InvalidOutputError, match=expected):
        decoder.decode([np.array([[row]], np.float32)], SAME)


def test_nothing_seen_is_an_empty_answer() -> None:
    assert make_decoder(turned("yolo"), outputs((1, 7, 20))).decode(head(), SAME) == ()


def test_the_number_of_classes_leaves_one_place_for_the_angle() -> None:
    with pytest.raises(DataError, match="tells 15 classes apart, there are 2 labels") as caught:
        make_decoder(turned("yolo"), outputs((1, 20, 8400)))
    assert caught.value.code == "model.wrong_labels"


@pytest.mark.parametrize(("decoder", "shape"), [("yolo", (1, 8400, 7)), ("end2end", (1, 300, 6))])
def test_other_heads_are_refused(decoder: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError) as caught:
        make_decoder(turned(decoder), outputs(shape))
    assert caught.value.code == "model.wrong_output"
