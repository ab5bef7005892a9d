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


# class, score, box in fractions of the input; the last row is behind the end
SSD_ROWS = [
    [0, 1, 0.9, 0.125, 0.1875, 0.375, 0.3125],
    [0, 2, 0.8, 0.5, 0.5, 0.75, 0.75],
    [0, 0, 0.7, 0.1, 0.1, 0.2, 0.2],
    [0, 1, 0.1, 0.1, 0.1, 0.2, 0.2],
    [-1, 0, 0, 0, 0, 0, 0],
    [0, 1, 0.9, 0.5, 0.5, 0.6, 0.6],
]


def ssd(background: str) -> OutputSpec:
    return OutputSpec(None, "xyxy", normalized=True, background=background)


def test_ssd_rows_end_and_count_the_background_as_stated() -> None:
    decoder = make_decoder(model_spec("ssd", output=ssd("first")), outputs((1, 1, 6, 7)))
    assert decoder.decode([np.array([[SSD_ROWS]], np.float32)], SAME) == (
        Prediction("scratch", 0.9, (4, 6, 8, 4), id=0),
        Prediction("dent", 0.8, (16, 16, 8, 8), id=1),
    )
    whole = make_decoder(model_spec("ssd", ("nothing", "a", "b"), output=ssd("none")), outputs((1, 1, 6, 7)))
    assert [one.label for one in whole.decode([np.array([[SSD_ROWS]], np.float32)], SAME)] == ["a", "b", "nothing"]
    last = make_decoder(model_spec("ssd", output=ssd("last")), outputs((1, 1, 6, 7)))
    assert [one.label for one in last.decode([np.array([[SSD_ROWS]], np.float32)], SAME)] == ["dent", "scratch"]


def test_a_background_that_is_counted_and_not_stated_is_seen_when_a_number_has_no_label() -> None:
    decoder = make_decoder(model_spec("ssd", output=ssd("none")), outputs((1, 1, 6, 7)))
    with pytest.raises(InvalidOutputError, match=r"class 2 has no label, there are 2; .*output.background"):
        decoder.decode([np.array([[SSD_ROWS]], np.float32)], SAME)


def test_ssd_may_find_nothing_and_may_fill_its_list() -> None:
    decoder = make_decoder(model_spec("ssd", output=ssd("first")), outputs((1, 1, 6, 7)))
    assert decoder.decode([np.array([[SSD_ROWS[4:]]], np.float32)], SAME) == ()
    assert decoder.decode([np.zeros((1, 1, 0, 7), np.float32)], SAME) == ()
    assert len(decoder.decode([np.array([[SSD_ROWS[:2]]], np.float32)], SAME)) == 2


def test_ssd_rows_that_are_no_numbers_do_not_end_the_list() -> None:
    decoder = make_decoder(model_spec("ssd", output=ssd("first")), outputs((1, 1, 1, 7)))
    with pytest.raises(InvalidOutputError, match="best score nan"):
        decoder.decode([np.full((1, 1, 1, 7), np.nan, np.float32)], SAME)


def test_ssd_needs_rows_of_seven() -> None:
    with pytest.raises(DataError, match=r"an output \[1,1,n,7\]"):
        make_decoder(model_spec("ssd"), outputs((1, 1, 100, 6)))


BOXES = np.array([[4, 6, 12, 10], [16, 16, 24, 24], [1, 1, 9, 9]], np.float32)
SCORES = np.array([0.8, 0.9, 0.1], np.float32)
NUMBERS = np.array([0, 1, 7])
FOUND = (Prediction("dent", 0.9, (16, 16, 8, 8), id=1), Prediction("scratch", 0.8, (4, 6, 8, 4), id=0))


def info(name: str, dtype: str, *shape: int | None) -> TensorInfo:
    return TensorInfo(name, dtype, shape)


def test_lists_are_told_apart_by_what_they_hold_and_sorted() -> None:
    listed = [info("a", "float32", None), info("b", "int64", None), info("c", "float32", None, 4)]
    decoder = make_decoder(model_spec("boxes"), listed)
    assert decoder.decode([SCORES, NUMBERS, BOXES], SAME) == FOUND


def test_lists_may_have_an_axis_for_one_picture_and_the_score_in_the_box() -> None:
    listed = [info("labels", "int32", 1, 3), info("boxes", "float32", 1, 3, 5)]
    decoder = make_decoder(model_spec("boxes"), listed)
    five = np.concatenate((BOXES, SCORES[:, None]), axis=1)[None]
    assert decoder.decode([NUMBERS[None], five], SAME) == FOUND


def test_lists_may_be_empty_and_of_another_length_each_time() -> None:
    listed = [info("boxes", "float32", 0, 4), info("labels", "int64", 0), info("scores", "float32", 0)]
    decoder = make_decoder(model_spec("boxes"), listed)
    assert decoder.decode([BOXES[:0], NUMBERS[:0], SCORES[:0]], SAME) == ()
    assert decoder.decode([BOXES[:2], NUMBERS[:2], SCORES[:2]], SAME) == FOUND


def test_lists_are_taken_by_the_names_that_are_stated() -> None:
    listed = [info("x", "float32", 3, 4), info("y", "float32", 3, 4), info("z", "int64", 3), info("s", "float32", 3)]
    with pytest.raises(DataError, match=r'which is which can be written as "output": \{"names": ...\}'):
        make_decoder(model_spec("boxes"), listed)
    decoder = make_decoder(model_spec("boxes", output=OutputSpec(names={"boxes": "y"})), listed)
    assert decoder.decode([BOXES * 9, BOXES, NUMBERS, SCORES], SAME) == FOUND
    with pytest.raises(DataError, match="boxes named 'z'"):
        make_decoder(model_spec("boxes", output=OutputSpec(names={"boxes": "z"})), listed)


def test_lists_need_numbers_of_classes() -> None:
    with pytest.raises(DataError, match=r"labels \[n\] of whole numbers"):
        make_decoder(model_spec("boxes"), [info("boxes", "float32", None, 5)])


@pytest.mark.parametrize(
    ("boxes", "labels", "scores", "expected"),
    [
        (BOXES, NUMBERS[:2], SCORES, "3 boxes, 2 labels and 3 scores"),
        (BOXES[:2], NUMBERS, SCORES, "2 boxes, 3 labels and 3 scores"),
        (BOXES[:, :3], NUMBERS, SCORES, r"boxes of \(3, 3\), expected"),
        (np.zeros((3, 0), np.float32), NUMBERS, SCORES, r"boxes of \(3, 0\), expected"),
        (np.zeros(3, np.float32), NUMBERS, SCORES, r"boxes of \(3,\), expected"),
    ],
)
def test_lists_that_do_not_belong_together_are_no_answer(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, expected: str
) -> None:
    listed = [info("boxes", "float32", None, None), info("labels", "int64", None), info("scores", "float32", None)]
    decoder = make_decoder(model_spec("boxes"), listed)
    with pytest.raises(InvalidOutputError, match=expected):
        decoder.decode([boxes, labels, scores], SAME)


def test_boxes_without_a_score_anywhere_are_no_answer() -> None:
    decoder = make_decoder(model_spec("boxes"), [info("boxes", "float32", None, None), info("labels", "int64", None)])
    with pytest.raises(InvalidOutputError, match=r"expected \[n,4\] beside scores, or \[n,5\]"):
        decoder.decode([BOXES, NUMBERS], SAME)


def test_unsigned_numbers_of_classes_may_say_that_there_is_nothing() -> None:
    kinds = [TensorInfo("boxes", "float32", (2, 5)), TensorInfo("labels", "uint8", (2,))]
    decoder = make_decoder(model_spec("boxes", output=OutputSpec(background="first")), kinds)
    answer = [np.array([[4, 4, 20, 20, 0.9], [2, 2, 30, 30, 0.8]], np.float32), np.array([1, 0], np.uint8)]
    assert [one.label for one in decoder.decode(answer, Transform(1, 1, 0, 0, 32, 32))] == ["scratch"]
