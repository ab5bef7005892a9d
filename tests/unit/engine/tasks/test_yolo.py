from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import OutputSpec
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


def test_boxes_that_are_turned_inside_out_are_no_answer() -> None:
    decoder = make_decoder(model_spec("yolo"), outputs((1, 6, 7)))
    inside_out = [8, 8, -4, 4, 0.9, 0.1]
    with pytest.raises(InvalidOutputError, match="all 1 boxes above the threshold have a negative width or height"):
        decoder.decode(yolo_head(inside_out, *[[0.0] * 6] * 6), SAME)
    assert len(decoder.decode(yolo_head(inside_out, OTHER, *[[0.0] * 6] * 5), SAME)) == 1


def test_a_yolov5_score_is_that_of_an_object_and_of_its_label() -> None:
    decoder = make_decoder(model_spec("yolov5"), outputs((1, 20, 7)))
    rows = [
        [8, 8, 8, 4, 0.9, 1.0, 0.1],
        [8.5, 8, 8, 4, 0.9, 0.9, 0.1],
        [24, 20, 6, 10, 0.5, 0.1, 0.8],
        [16, 16, 4, 4, 0.4, 0.5, 0.5],  # 0.2: an object of no label
        [16, 16, 4, 4, 0.1, 1.0, 1.0],  # a label of no object
        *[[0] * 7] * 15,
    ]
    assert decoder.decode([np.array([rows], np.float32)], SAME) == (
        Prediction("scratch", 0.9, (4, 6, 8, 4), id=0),
        Prediction("dent", 0.4, (21, 15, 6, 10), id=1),
    )


def test_a_yolov5_answer_without_an_object_is_empty() -> None:
    decoder = make_decoder(model_spec("yolov5"), outputs((1, 20, 7)))
    assert decoder.decode([np.zeros((1, 20, 7), np.float32)], SAME) == ()


@pytest.mark.parametrize("score", [np.nan, 3.0, -2.0])
def test_yolov5_objects_need_scores(score: float) -> None:
    decoder = make_decoder(model_spec("yolov5"), outputs((1, 20, 7)))
    rows = [[8, 8, 8, 4, score, 1, 0], *[[0] * 7] * 19]
    with pytest.raises(InvalidOutputError, match="scores of objects from"):
        decoder.decode([np.array([rows], np.float32)], SAME)


@pytest.mark.parametrize("decoder", ["yolov5", "yolox"])
def test_yolov5_says_how_many_classes_the_model_has(decoder: str) -> None:
    with pytest.raises(DataError, match="tells 80 classes apart, there are 2 labels") as caught:
        make_decoder(model_spec(decoder), outputs((1, 25200, 85)))
    assert caught.value.code == "model.wrong_labels"


@pytest.mark.parametrize("shape", [(1, 7, 8400), (1, 7), (2, 100, 7)])
def test_yolov5_refuses_other_heads(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"expects an output \[1,n,7\] \(4 \+ 1 \+ 2 labels\)") as caught:
        make_decoder(model_spec("yolov5"), outputs(shape))
    assert caught.value.code == "model.wrong_output"


# YOLOX on 32 x 32: strides 8, 16, 32 have 16, 4 and 1 cells
YOLOX_ROWS = 21


def yolox_head(**rows: list[float]) -> list[np.ndarray]:
    """Rows by their number, ``r6=[...]``."""
    head = np.zeros((1, YOLOX_ROWS, 7), np.float32)
    for name, row in rows.items():
        head[0, int(name[1:])] = row
    return [head]


def test_yolox_boxes_are_relative_to_their_cell() -> None:
    decoder = make_decoder(model_spec("yolox"), outputs((1, YOLOX_ROWS, 7)))
    double = float(np.log(2))
    found = decoder.decode(
        yolox_head(
            r6=[0.5, 0.25, 0, double, 0.9, 1, 0],  # stride 8, column 2, row 1: centre (20, 10), 8 x 16
            r18=[0, 0.5, 0, 0, 0.8, 0, 1],  # stride 16, column 0, row 1: centre (0, 24), 16 x 16
            r20=[0.5, 0.5, 0, 0, 0.7, 1, 0],  # stride 32: everything
        ),
        SAME,
    )
    assert found == (
        Prediction("scratch", 0.9, (16, 2, 8, 16), id=0),
        Prediction("dent", 0.8, (0, 16, 8, 16), id=1),
        Prediction("scratch", 0.7, (0, 0, 32, 32), id=0),
    )


def test_yolox_with_nothing_seen_is_an_empty_answer() -> None:
    decoder = make_decoder(model_spec("yolox"), outputs((1, YOLOX_ROWS, 7)))
    assert decoder.decode(yolox_head(), SAME) == ()


def test_the_two_heads_of_one_shape_are_not_taken_for_each_other() -> None:
    decoded = yolox_head(r6=[20, 10, 30, 16, 0.9, 1, 0])
    with pytest.raises(InvalidOutputError, match=r"exp\(30\) cells; .*write decoder yolov5"):
        make_decoder(model_spec("yolox"), outputs((1, YOLOX_ROWS, 7))).decode(decoded, SAME)
    relative = yolox_head(r6=[0.5, 0.25, -0.5, 0.2, 0.9, 1, 0])
    with pytest.raises(InvalidOutputError, match="negative width or height"):
        make_decoder(model_spec("yolov5"), outputs((1, YOLOX_ROWS, 7))).decode(relative, SAME)
    relative = yolox_head(r6=[0.5, 0.25, 0.5, 0.2, 0.9, 1, 0])
    with pytest.raises(InvalidOutputError, match=r"within 0\.75 pixels of the corner"):
        make_decoder(model_spec("yolov5"), outputs((1, YOLOX_ROWS, 7))).decode(relative, SAME)


@pytest.mark.parametrize(
    ("rows", "output"),
    [
        (20, None),
        (YOLOX_ROWS, OutputSpec(None, "cxcywh", normalized=True)),
        (YOLOX_ROWS, OutputSpec(None, "xyxy", normalized=False)),
    ],
)
def test_yolox_needs_its_cells_and_boxes(rows: int, output: OutputSpec | None) -> None:
    with pytest.raises(DataError, match="21 rows for 32 x 32, boxes cxcywh relative to cells"):
        make_decoder(model_spec("yolox", output=output), outputs((1, rows, 7)))


def test_a_box_thinner_than_can_be_told_is_left_out() -> None:
    decoder = make_decoder(model_spec("yolo"), outputs((1, 6, 7)))
    found = decoder.decode(yolo_head(ONE, [8, 20, 0.004, 4, 0.8, 0.1], *[[0.0] * 6] * 5), SAME)
    assert [one.score for one in found] == [pytest.approx(0.9)]


def test_a_box_beyond_all_measure_is_no_answer_though_its_numbers_are_finite() -> None:
    decoder = make_decoder(model_spec("yolo"), outputs((1, 6, 7)))
    with pytest.raises(InvalidOutputError, match=r"1 of 2 boxes .* up to 1e\+06 pixels"):
        decoder.decode(yolo_head(ONE, [16, 16, 3e38, 3e38, 0.8, 0.1], *[[0.0] * 6] * 5), SAME)
