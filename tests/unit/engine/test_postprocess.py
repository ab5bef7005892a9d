from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_runtime.engine.postprocess import (
    CANDIDATE_LIMIT,
    InvalidOutputError,
    Transform,
    check_boxes,
    sigmoid,
    softmax,
    suppress,
    survivors,
    to_corners,
    to_frame,
)


def f32(rows: object) -> np.ndarray:
    return np.array(rows, np.float32)


def best(count: int) -> np.ndarray:
    return np.empty(count, np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.intp)


SCORES = f32([[0.9, 0.2, 0.3, 0.1], [0.1, 0.6, 0.4, 0.1]])  # two classes, four boxes


def test_survivors_are_the_boxes_of_which_a_class_reaches_its_floor_best_first() -> None:
    found = survivors(SCORES, f32([0.5, 0.4]), class_axis=0, best=best(4))

    assert found.index.tolist() == [0, 1, 2]
    assert found.classes.tolist() == [0, 1, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6, 0.4])


def test_a_floor_belongs_to_its_class() -> None:
    found = survivors(SCORES, f32([0.95, 0.4]), class_axis=0, best=best(4))
    assert found.index.tolist() == [1, 2]


def test_a_box_is_of_the_best_class_among_those_that_reach_their_floors() -> None:
    scores = f32([[0.55, 0.95, 0.55], [0.5, 0.5, 0.2]])
    for head, axis in ((scores, 0), (np.ascontiguousarray(scores.T), 1)):
        found = survivors(head, f32([0.9, 0.3]), class_axis=axis, best=best(3))
        assert found.index.tolist() == [1, 0]
        assert found.classes.tolist() == [0, 1]
        assert found.scores.tolist() == pytest.approx([0.95, 0.5])


def test_boxes_may_lie_in_rows_as_well_as_in_columns() -> None:
    by_column = survivors(SCORES, f32([0.5, 0.4]), class_axis=0, best=best(4))
    by_row = survivors(np.ascontiguousarray(SCORES.T), f32([0.5, 0.4]), class_axis=1, best=best(4))
    assert by_row.index.tolist() == by_column.index.tolist()
    assert by_row.classes.tolist() == by_column.classes.tolist()


def test_nothing_survives_a_floor_nobody_reaches() -> None:
    found = survivors(SCORES, f32([0.99, 0.99]), class_axis=0, best=best(4))
    assert (found.index.size, found.classes.size, found.scores.size) == (0, 0, 0)


def test_an_empty_head_has_no_survivors() -> None:
    found = survivors(np.empty((2, 0), np.float32), f32([0.1, 0.1]), class_axis=0, best=best(0))
    assert found.index.size == 0


def test_survivors_are_bounded() -> None:
    scores = np.linspace(0.5, 1, CANDIDATE_LIMIT + 100, dtype=np.float32)[None]
    found = survivors(scores, f32([0.1]), class_axis=0, best=best(scores.shape[1]))
    assert found.index.size == CANDIDATE_LIMIT
    assert found.index[0] == CANDIDATE_LIMIT + 99


def test_a_score_a_little_above_one_is_quantization_and_is_cut() -> None:
    found = survivors(f32([[1.004]]), f32([0.1]), class_axis=0, best=best(1))
    assert found.scores.tolist() == [1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused(bad: float) -> None:
    scores = SCORES.copy()
    scores[1, 3] = bad
    with pytest.raises(InvalidOutputError, match="1 of 4 scores are not finite"):
        survivors(scores, f32([0.5, 0.5]), class_axis=0, best=best(4))


@pytest.mark.parametrize("scores", [[[4.2]], [[-3.0]]])
def test_logits_are_no_scores(scores: list[list[float]]) -> None:
    with pytest.raises(InvalidOutputError, match="expected 0 to 1; the head needs a sigmoid"):
        survivors(f32(scores), f32([0.5]), class_axis=0, best=best(1))


def test_centre_boxes_become_corners() -> None:
    assert to_corners(f32([[10, 20, 4, 8]]), "cxcywh").tolist() == [[8, 16, 12, 24]]
    assert to_corners(f32([[8, 16, 12, 24]]), "xyxy").tolist() == [[8, 16, 12, 24]]


def test_boxes_must_be_finite() -> None:
    check_boxes(f32([[0, 0, 1, 1]]))
    with pytest.raises(InvalidOutputError, match="1 of 2 boxes"):
        check_boxes(f32([[0, 0, 1, 1], [0, np.nan, 1, 1]]))


BOXES = f32([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [20, 20, 30, 30]])


def test_the_best_of_overlapping_boxes_of_a_class_stays() -> None:
    kept = suppress(BOXES, f32([0.6, 0.9, 0.5, 0.4]), ints(0, 0, 1, 0), iou=0.5, limit=10)
    assert kept.tolist() == [1, 2, 3]


def test_at_most_limit_boxes_stay() -> None:
    scores, classes = f32([0.6, 0.9, 0.5, 0.4]), ints(0, 0, 1, 0)
    assert suppress(BOXES, scores, classes, iou=0.5, limit=1).tolist() == [1]
    assert suppress(BOXES, scores, classes, iou=1.0, limit=2).tolist() == [1, 0]


def test_an_iou_of_one_keeps_all_but_boxes_without_area() -> None:
    boxes = f32([[0, 0, 10, 10], [0, 0, 10, 10], [5, 5, 5, 9], [7, 7, 6, 8]])
    assert suppress(boxes, f32([0.1, 0.2, 0.9, 0.9]), ints(0, 0, 0, 0), iou=1.0, limit=10).tolist() == [1, 0]


def test_no_boxes_give_no_boxes() -> None:
    assert suppress(np.empty((0, 4), np.float32), f32([]), ints(), iou=0.5, limit=10).tolist() == []


def slow_suppress(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, iou: float) -> list[int]:
    """The definition, box by box."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda one: (-scores[one], one)):
        x1, y1, x2, y2 = boxes[i].tolist()
        if x2 <= x1 or y2 <= y1:
            continue
        for k in kept:
            u1, v1, u2, v2 = boxes[k].tolist()
            both = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
            union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - both
            if classes[i] == classes[k] and both > iou * union:
                break
        else:
            kept.append(i)
    return kept


@given(
    # halves are exact in float32, so that both ways compute the same areas
    boxes=arrays(np.int32, st.tuples(st.integers(0, 12), st.just(4)), elements=st.integers(-8, 8)),
    seed=st.integers(0, 1000),
)
def test_suppression_is_the_textbook_one(boxes: np.ndarray, seed: int) -> None:
    check_suppression(boxes, seed)


def test_suppression_is_the_textbook_one_for_many_boxes() -> None:
    lot = np.random.default_rng(5)
    check_suppression(lot.integers(-40, 40, (700, 4)), 6)


def check_suppression(boxes: np.ndarray, seed: int) -> None:
    lot = np.random.default_rng(seed)
    corners = boxes.astype(np.float32) / 2
    scores, classes = (
        lot.integers(0, 8, len(boxes)).astype(np.float32) / 8,
        lot.integers(0, 2, len(boxes)).astype(np.intp),
    )
    kept = suppress(corners, scores, classes, iou=0.5, limit=1000)
    assert kept.tolist() == slow_suppress(corners, scores, classes, 0.5)


def test_boxes_go_back_into_the_frame_and_are_clipped() -> None:
    # a 200 x 100 frame drawn at half size, 10 pixels down
    transform = Transform(0.5, 0.5, 0, 10, 200, 100)
    boxes = to_frame(f32([[10, 20, 30, 40], [-5, -5, 500, 500], [0, 0, 100, 5]]), transform)
    assert boxes.tolist() == [[20, 20, 40, 40], [0, 0, 200, 100], [0, 0, 200, 0]]


def test_softmax_and_sigmoid_survive_large_numbers() -> None:
    assert softmax(f32([1000, 1000])).tolist() == [0.5, 0.5]
    assert softmax(f32([[0, 0], [0, 1000]])).tolist() == [[0.5, 0.5], [0, 1]]
    assert sigmoid(f32([-1000, 0, 1000])).tolist() == [0, 0.5, 1]
