from __future__ import annotations

import math

import numpy as np
import pytest

from edge_runtime.engine.rotated import corners_of, prob_iou, suppress_rotated


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 5)


def test_corners_go_round_the_box() -> None:
    quarter = boxes((10, 20, 6, 2, 0), (10, 20, 6, 2, math.pi / 2))
    assert corners_of(quarter) == pytest.approx(
        np.array([[[13, 21], [13, 19], [7, 19], [7, 21]], [[9, 23], [11, 23], [11, 17], [9, 17]]]), abs=1e-5
    )


def test_overlap_is_that_of_the_gaussians() -> None:
    # of two squares of side 12, a variance of 12, apart by 12: the Bhattacharyya distance is 12² / (8 * 12) = 1.5
    first, second = boxes((0, 0, 12, 12, 0)), boxes((0, 0, 12, 12, 0.7), (12, 0, 12, 12, 0), (500, 0, 12, 12, 0))
    expected = [1, 1 - math.sqrt(1 - math.exp(-1.5)), 0]
    assert prob_iou(first, second) == pytest.approx(expected, abs=1e-3)


def test_overlap_of_crossed_bars_is_small_and_does_not_depend_on_the_order() -> None:
    # variances 75 and 3 against 3 and 75: ln((78 * 78) / (4 * 225)) / 2
    bars = boxes((5, 5, 30, 6, 0), (5, 5, 30, 6, math.pi / 2), (5, 5, 6, 30, 0))
    expected = 1 - math.sqrt(1 - math.exp(-math.log(78 * 78 / 900) / 2))
    found = prob_iou(bars[:, None], bars)
    assert found[0, 1] == pytest.approx(expected, abs=1e-5)
    assert found == pytest.approx(found.T, abs=1e-5)
    assert found[1, 2] == pytest.approx(1, abs=1e-3)


def test_thin_boxes_have_an_overlap_that_is_a_number() -> None:
    thin = boxes((0, 0, 3000, 1e-3, 0.3), (0, 0, 3000, 1e-3, 0.3), (7, 7, 1e-3, 1e-3, 0))
    assert np.isfinite(prob_iou(thin[:, None], thin)).all()


ROWS = boxes((10, 10, 12, 4, 0), (10.2, 10, 12, 4, 0), (10, 10, 12, 4, math.pi / 2), (30, 30, 4, 4, 0), (5, 5, 0, 4, 0))
SCORES = np.array([0.6, 0.9, 0.7, 0.8, 1.0], np.float32)


def test_doubles_of_one_class_go_and_crossed_ones_stay() -> None:
    same = np.zeros(5, np.intp)
    assert suppress_rotated(ROWS, SCORES, same, iou=0.5, limit=10).tolist() == [1, 3, 2]
    assert suppress_rotated(ROWS, SCORES, np.arange(5), iou=0.5, limit=10).tolist() == [1, 3, 2, 0]
    assert suppress_rotated(ROWS, SCORES, same, iou=1.0, limit=3).tolist() == [1, 3, 2]
    assert suppress_rotated(ROWS, SCORES, same, iou=0.5, limit=1).tolist() == [1]
    assert suppress_rotated(ROWS[:0], SCORES[:0], same[:0], iou=0.5, limit=9).tolist() == []


def test_what_was_suppressed_suppresses_all_the_same() -> None:
    # each overlaps the next only
    chain = boxes(*((10 + 3 * i, 10, 12, 12, 0) for i in range(3)))
    overlaps = prob_iou(chain[:, None], chain)
    iou = float(overlaps[0, 1] + overlaps[0, 2]) / 2
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    assert suppress_rotated(chain, scores, np.zeros(3, np.intp), iou=iou, limit=10).tolist() == [0]


def test_many_boxes_are_compared_in_blocks_as_if_at_once() -> None:
    random = np.random.default_rng(5)
    count = 300
    centres, sides = random.uniform(0, 200, (count, 2)), random.uniform(10, 60, (count, 2))
    rows = np.concatenate((centres, sides, random.uniform(0, 3, (count, 1))), axis=1).astype(np.float32)
    scores, classes = random.uniform(0.3, 1, count).astype(np.float32), random.integers(0, 2, count)
    order = np.argsort(-scores)
    overlaps = prob_iou(rows[order][:, None], rows[order]) > 0.4
    same = classes[order][:, None] == classes[order]
    expected = order[~np.triu(overlaps & same, 1).any(axis=0)]
    assert suppress_rotated(rows, scores, classes, iou=0.4, limit=count).tolist() == expected.tolist()


@pytest.mark.parametrize("iou", [0.01, 0.1, 0.45, 0.9])
def test_pairs_that_are_not_compared_would_not_have_overlapped(iou: float) -> None:
    random = np.random.default_rng(4)
    some = random.uniform((0, 0, 0.5, 0.5, -3), (90, 90, 60, 60, 3), (400, 5)).astype(np.float32)
    scores = np.linspace(1, 0.5, 400, dtype=np.float32)
    better = np.tri(400, k=-1, dtype=bool).T
    doubles = ((prob_iou(some[:, None], some) > iou) & better).any(axis=0)
    kept = suppress_rotated(some, scores, np.zeros(400, np.intp), iou=iou, limit=400)
    assert kept.tolist() == np.flatnonzero(~doubles).tolist()
