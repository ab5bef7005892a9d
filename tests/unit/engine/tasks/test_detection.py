from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import OutputSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec, outputs

SAME = Transform(1, 1, 0, 0, 32, 32)  # a frame of the size of the canvas


def yolo_head(*rows: list[float]) -> list[np.ndarray]:
    """Rows cx cy w h score score -> [1, 6, n]."""
    return [np.ascontiguousarray(np.array(rows, np.float32).T[None])]


ONE = [8, 8, 8, 4, 0.9, 0.1]
DOUBLE = [8.5, 8, 8, 4, 0.7, 0.1]
OTHER = [24, 20, 6, 10, 0.2, 0.8]


def test_yolo_answers_with_boxes_in_the_frame_best_first() -> None:
    decoder = make_decoder(model_spec("yolo"), outputs((1, 6, 20)))
    padding = [[0.0] * 6] * 17
    found = decoder.decode(yolo_head(ONE, DOUBLE, OTHER, *padding), SAME)
    assert found == (
        Prediction("scratch", 0.9, (4, 6, 8, 4), id=0),
        Prediction("dent", 0.8, (21, 15, 6, 10), id=1),
    )


def test_yolo_boxes_may_be_fractions_or_corners() -> None:
    corners = model_spec("yolo", output=OutputSpec(None, "xyxy", normalized=True))
    decoder = make_decoder(corners, outputs((1, 6, 7)))
    head = yolo_head([0.25, 0.25, 0.5, 0.75, 0.9, 0.0], *[[0.0] * 6] * 6)
    assert decoder.decode(head, SAME)[0].box == (8, 8, 8, 16)


def test_a_box_in_the_border_around_the_picture_is_none() -> None:
    # the picture covers rows 8 to 24 of the canvas
    transform = Transform(0.5, 0.5, 0, 8, 64, 32)
    decoder = make_decoder(model_spec("yolo"), outputs((1, 6, 7)))
    head = yolo_head([16, 4, 8, 4, 0.9, 0.0], [16, 16, 8, 4, 0.8, 0.0], *[[0.0] * 6] * 5)
    assert [one.box for one in decoder.decode(head, transform)] == [(24, 12, 16, 8)]


def test_yolo_boxes_that_are_no_numbers_are_refused() -> None:
    decoder = make_decoder(model_spec("yolo"), outputs((1, 6, 7)))
    with pytest.raises(InvalidOutputError, match="boxes above the threshold"):
        decoder.decode(yolo_head([np.nan, 8, 8, 4, 0.9, 0.1], *[[0.0] * 6] * 6), SAME)


@pytest.mark.parametrize("box", [(5000, 5000, 40, 40), (-900, 10, 40, 40), (10, 60, 8, 8)])
def test_a_box_beside_the_input_is_no_answer(box: tuple[float, ...]) -> None:
    decoder = make_decoder(model_spec("yolo"), outputs((1, 6, 7)))
    with pytest.raises(InvalidOutputError, match="lies beside the input of 32 x 32"):
        decoder.decode(yolo_head(ONE, [*box, 0.8, 0.1], *[[0.0] * 6] * 5), SAME)


def test_a_box_that_misses_the_input_by_little_is_left_out() -> None:
    decoder = make_decoder(model_spec("yolo"), outputs((1, 6, 7)))
    found = decoder.decode(yolo_head(ONE, [-3, 10, 2, 8, 0.8, 0.1], *[[0.0] * 6] * 5), SAME)
    assert [one.score for one in found] == [pytest.approx(0.9)]


def test_fractions_that_are_taken_for_pixels_are_no_answer() -> None:
    decoder = make_decoder(model_spec("yolo"), outputs((1, 6, 7)))
    rows = [[0.5, 0.5, 0.2, 0.2, 0.9, 0.1], [0.3, 0.6, 0.1, 0.1, 0.1, 0.8], *[[0.0] * 6] * 5]
    with pytest.raises(InvalidOutputError, match=r"all 2 boxes .*\"normalized\": true"):
        decoder.decode(yolo_head(*rows), SAME)
    assert len(decoder.decode(yolo_head(ONE, *rows[:-1]), SAME)) == 3  # with a box elsewhere they are small boxes


def test_pixels_that_are_taken_for_fractions_are_no_answer() -> None:
    spec = model_spec("yolo", output=OutputSpec(None, "cxcywh", normalized=True))
    decoder = make_decoder(spec, outputs((1, 6, 7)))
    with pytest.raises(InvalidOutputError, match=r"correct output.boxes and output.normalized"):
        decoder.decode(yolo_head(ONE, *[[0.0] * 6] * 6), SAME)


def test_the_corner_of_a_picture_may_hold_a_small_box_given_in_fractions() -> None:
    spec = model_spec("yolo", output=OutputSpec(None, "cxcywh", normalized=True))
    decoder = make_decoder(spec, outputs((1, 6, 7)))
    (found,) = decoder.decode(yolo_head([0.02, 0.02, 0.03, 0.03, 0.9, 0.1], *[[0.0] * 6] * 6), SAME)
    assert found.label == "scratch"


def test_yolo_says_how_many_classes_the_model_has() -> None:
    with pytest.raises(DataError, match="tells 80 classes apart, there are 2 labels") as caught:
        make_decoder(model_spec("yolo"), outputs((1, 84, 8400)))
    assert caught.value.code == "model.wrong_labels"


@pytest.mark.parametrize("shape", [(1, 8400, 6), (1, 6), (2, 6, 100)])
def test_yolo_refuses_other_heads(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"expects an output \[1,6,n\] \(4 \+ 2 labels\)") as caught:
        make_decoder(model_spec("yolo"), outputs(shape))
    assert caught.value.code == "model.wrong_output"


def test_an_output_whose_shape_is_not_known_does_not_fit() -> None:
    with pytest.raises(DataError, match="out float32"):
        make_decoder(model_spec("yolo"), [TensorInfo("out", "float32", None)])
    with pytest.raises(DataError, match=r"\[1,6,\?\]"):
        make_decoder(model_spec("yolo"), [TensorInfo("out", "float32", (1, 6, None))])


def test_end_to_end_rows_are_taken_as_they_are() -> None:
    spec = model_spec("end2end", thresholds=ThresholdSpec(0.25, 1.0, 100, {"dent": 0.5}))
    decoder = make_decoder(spec, outputs((1, 5, 6)))
    rows = [[4, 6, 12, 10, 0.9, 0], [5, 6, 13, 10, 0.7, 0], [1, 1, 9, 9, 0.4, 1], [1, 1, 9, 9, 0.1, 77], [0] * 6]
    found = decoder.decode([np.array([rows], np.float32)], SAME)
    assert found == (
        Prediction("scratch", 0.9, (4, 6, 8, 4), id=0),
        Prediction("scratch", 0.7, (5, 6, 8, 4), id=0),
    )


def test_end_to_end_doubles_are_suppressed_when_an_iou_is_stated() -> None:
    decoder = make_decoder(model_spec("end2end"), outputs((1, 2, 6)))
    rows = [[5, 6, 13, 10, 0.7, 0], [4, 6, 12, 10, 0.9, 0]]
    assert [one.score for one in decoder.decode([np.array([rows], np.float32)], SAME)] == [0.9]


def test_end_to_end_with_nothing_seen_is_an_empty_answer() -> None:
    decoder = make_decoder(model_spec("end2end"), outputs((1, 2, 6)))
    assert decoder.decode([np.zeros((1, 2, 6), np.float32)], SAME) == ()


@pytest.mark.parametrize("number", [2.0, -1.0, 0.5, np.nan])
def test_a_class_without_a_label_is_refused(number: float) -> None:
    decoder = make_decoder(model_spec("end2end"), outputs((1, 1, 6)))
    with pytest.raises(InvalidOutputError, match="has no label, there are 2"):
        decoder.decode([np.array([[[1, 1, 9, 9, 0.9, number]]], np.float32)], SAME)


@pytest.mark.parametrize("score", [np.nan, 55.0])
def test_end_to_end_scores_must_be_scores(score: float) -> None:
    decoder = make_decoder(model_spec("end2end"), outputs((1, 1, 6)))
    with pytest.raises(InvalidOutputError, match="the columns must be"):
        decoder.decode([np.array([[[1, 1, 9, 9, score, 0]]], np.float32)], SAME)


def test_end_to_end_needs_rows_of_six() -> None:
    with pytest.raises(DataError, match=r"an output \[1,n,6\]"):
        make_decoder(model_spec("end2end"), outputs((1, 100, 7)))


# NanoDet on 32 x 32: strides 8, 16, 32 have 16, 4 and 1 cells; 5 bins
NANO_SHAPES = ((1, 16, 2), (1, 16, 20), (1, 4, 20), (1, 4, 2), (1, 1, 2), (1, 1, 20))


def nano_answer() -> list[np.ndarray]:
    return [np.zeros(shape, np.float32) for shape in NANO_SHAPES]


def test_nanodet_boxes_reach_from_the_centre_of_their_cell() -> None:
    decoder = make_decoder(model_spec("nanodet"), outputs(*NANO_SHAPES))
    answer = nano_answer()
    answer[0][0, 6] = (0.1, 0.9)  # stride 8, column 2, row 1: centre (20, 12)
    for side, bin_ in enumerate((1, 0, 1, 2)):
        answer[1][0, 6, side * 5 + bin_] = 100  # certain: 8 left, 0 up, 8 right, 16 down
    answer[4][0, 0] = (0.6, 0.0)  # stride 32: undecided between 0..4 strides, mean 2: larger than the frame
    assert decoder.decode(answer, SAME) == (
        Prediction("dent", 0.9, (12, 12, 16, 16), id=1),
        Prediction("scratch", 0.6, (0, 0, 32, 32), id=0),
    )


def test_nanodet_with_nothing_seen_is_an_empty_answer() -> None:
    decoder = make_decoder(model_spec("nanodet"), outputs(*NANO_SHAPES))
    assert decoder.decode(nano_answer(), SAME) == ()


@pytest.mark.parametrize(
    "shapes",
    [
        NANO_SHAPES[:5],
        ((1, 16, 3), *NANO_SHAPES[1:]),
        ((1, 17, 2), *NANO_SHAPES[1:]),
        (*NANO_SHAPES, (1, 7)),
        ((1, 84, 8400),),
    ],
)
def test_nanodet_refuses_other_heads(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(DataError, match="for each stride") as caught:
        make_decoder(model_spec("nanodet"), outputs(*shapes))
    assert caught.value.code == "model.wrong_output"
