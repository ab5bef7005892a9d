from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import SHAPES_BYTES_LIMIT
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import OutputSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.runlengths import pixels
from tests.unit.engine.specs import model_spec, outputs

SAME = Transform(1, 1, 0, 0, 32, 32)  # a frame of the size of the canvas


def decoder(name: str, infos: Any, **changes: Any) -> Any:
    return make_decoder(replace(model_spec(name, **changes), task="instance_segmentation"), infos)


def prototypes() -> np.ndarray:
    """Two prototypes of 8 x 8 cells: 1 in the left half and -1 in the right, and the same from top to bottom."""
    left = np.where(np.arange(8) < 4, 1.0, -1.0).astype(np.float32)
    return np.stack((np.tile(left, (8, 1)), np.tile(left[:, None], (1, 8))))[None]


HEAD = [16, 16, 24, 24, 0.9, 0.1]  # from 4 to 28


def yolo(*rows: list[float]) -> list[np.ndarray]:
    """Rows cx cy w h score score coefficient coefficient -> [1, 8, 9]."""
    head = np.zeros((9, 8), np.float32)
    head[: len(rows)] = rows
    return [np.ascontiguousarray(head.T[None]), prototypes()]


def test_a_mask_is_the_sum_of_prototypes_inside_its_box() -> None:
    made = decoder("yolo", outputs((1, 8, 9), (1, 2, 8, 8)))
    (left,) = made.decode(yolo([*HEAD, 1, 0]), SAME)
    assert (left.label, left.score, left.box) == ("scratch", pytest.approx(0.9), (4, 4, 24, 24))
    mask = pixels(left.rle, 32, 32)
    assert mask[4:28, 4:16].all()
    assert mask.sum() == 12 * 24
    assert set(left.polygon) == {(4, 4), (15, 4), (15, 27), (4, 27)}
    (corner,) = made.decode(yolo([*HEAD, 1, 1]), SAME)
    assert pixels(corner.rle, 32, 32)[4:14, 4:14].all()
    assert not pixels(corner.rle, 32, 32)[18:, 18:].any()


def test_masks_are_in_pixels_of_the_frame() -> None:
    # 128 x 64 letterboxed to rows 8 to 24 of the canvas
    made = decoder("yolo", outputs((1, 8, 9), (1, 2, 8, 8)))
    (found,) = made.decode(yolo([*HEAD, 1, 0]), Transform(0.25, 0.25, 0, 8, 128, 64))
    mask = pixels(found.rle, 128, 64)
    assert mask[:, 16:64].all()
    assert mask.sum() == 48 * 64


def test_an_object_without_a_pixel_is_none() -> None:
    made = decoder("yolo", outputs((1, 8, 9), (1, 2, 8, 8)))
    assert made.decode(yolo([*HEAD, 0, 0]), SAME) == ()
    assert made.decode(yolo([16.5, 16.5, 0.4, 0.4, 0.9, 0.1, 1, 0]), SAME) == ()
    assert made.decode(yolo([0.0] * 8), SAME) == ()


def test_finished_rows_have_masks_too() -> None:
    made = decoder("end2end", outputs((1, 8, 8, 8), (1, 5, 14)), output=OutputSpec(names={"prototypes": "out0"}))
    rows = np.zeros((1, 5, 14), np.float32)
    rows[0, 2, :8] = [4, 4, 28, 28, 0.8, 1, 0, 0]
    rows[0, 2, 13] = 1
    maps = np.full((1, 8, 8, 8), -5, np.float32)
    maps[0, 7, :, :4] = 5
    (found,) = made.decode([maps, rows], SAME)
    assert (found.label, found.id) == ("dent", 1)
    assert pixels(found.rle, 32, 32).sum() == 12 * 24


@pytest.mark.parametrize("where", ["coefficients", "prototypes"])
def test_a_mask_that_is_no_numbers_is_refused(where: str) -> None:
    made = decoder("yolo", outputs((1, 8, 9), (1, 2, 8, 8)))
    answer = yolo([*HEAD, np.nan if where == "coefficients" else 1, 0])
    if where == "prototypes":
        answer[1][0, 0, 4, 4] = np.inf
    with pytest.raises(InvalidOutputError, match="mask of 'scratch' is not made of finite numbers"):
        made.decode(answer, SAME)


@pytest.mark.parametrize("shapes", [((1, 8, 9),), ((1, 8, 9), (1, 2, 8, 8), (1, 2, 4, 4)), ((1, 8, 9), (2, 2, 8, 8))])
def test_one_output_of_prototypes_is_needed(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(DataError, match="of prototypes beside its head") as caught:
        decoder("yolo", outputs(*shapes))
    assert caught.value.code == "model.wrong_output"
    with pytest.raises(DataError, match=r"of prototypes named 'out7'"):
        decoder("yolo", outputs((1, 8, 9), (1, 2, 8, 8)), output=OutputSpec(names={"prototypes": "out7"}))


def test_the_classes_of_a_head_with_coefficients_are_counted() -> None:
    with pytest.raises(DataError, match="tells 4 classes apart, there are 2 labels"):
        decoder("yolo", outputs((1, 10, 90), (1, 2, 8, 8)))


# lists with a mask per box


def listed(*rows: tuple[list[float], int, np.ndarray]) -> list[np.ndarray]:
    return [
        np.array([row[0] for row in rows], np.float32).reshape(-1, 5),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float32).reshape(-1, 14, 14),
    ]


LISTS = [
    TensorInfo("boxes", "float32", (None, 5)),
    TensorInfo("labels", "int64", (None,)),
    TensorInfo("masks", "float32", (None, 14, 14)),
]
FULL = np.ones((14, 14))


def test_masks_of_boxes_are_pasted_into_them() -> None:
    made = decoder("maskrcnn", LISTS)
    half = np.zeros((14, 14))
    half[:7] = 0.9
    found = made.decode(listed(([2, 4, 16, 18, 0.7], 1, half), ([20, 20, 30, 30, 0.9], 0, FULL)), SAME)
    assert [(one.label, one.box) for one in found] == [("scratch", (20, 20, 10, 10)), ("dent", (2, 4, 14, 14))]
    upper = pixels(found[1].rle, 32, 32)
    assert upper[4:11, 2:16].all()
    assert not upper[13:].any()
    assert found[1].polygon is not None


def test_how_many_there_are_may_change_from_frame_to_frame() -> None:
    made = decoder("maskrcnn", LISTS)
    assert made.decode(listed(), SAME) == ()
    assert len(made.decode(listed(([2, 4, 16, 18, 0.7], 1, FULL)), SAME)) == 1
    assert made.decode(listed(([2, 4, 16, 18, 0.1], 1, FULL)), SAME) == ()


def test_an_axis_of_one_picture_and_scores_apart_are_read() -> None:
    infos = [
        TensorInfo("a", "int64", (1, 3)),
        TensorInfo("b", "float32", (1, 3, 4)),
        TensorInfo("c", "float32", (1, 3)),
        TensorInfo("d", "float32", (3, 1, 14, 14)),
    ]
    output = OutputSpec(background="first", names={"scores": "c", "labels": "a", "boxes": "b", "masks": "d"})
    made = decoder("maskrcnn", infos, output=output, thresholds=ThresholdSpec(0.25, 1.0, 100))
    answer = [
        np.array([[1, 2, 0]]),
        np.array([[[2, 4, 16, 18], [20, 20, 30, 30], [0, 0, 0, 0]]], np.float32),
        np.array([[0.6, 0.8, 0]], np.float32),
        np.ones((3, 1, 14, 14), np.float32),
    ]
    assert [one.label for one in made.decode(answer, SAME)] == ["dent", "scratch"]


def test_masks_of_the_size_of_the_input_are_pasted_already() -> None:
    infos = [*LISTS[:2], TensorInfo("masks", "float32", (None, 1, 32, 32))]
    mask = np.zeros((1, 1, 32, 32), np.float32)
    mask[0, 0, 6:12, 4:9] = 0.8
    mask[0, 0, 25:] = 0.8  # beside the box
    boxes, labels, _ = listed(([3, 5, 12, 14, 0.7], 1, FULL))
    (found,) = decoder("maskrcnn", infos).decode([boxes, labels, mask], SAME)
    expected = np.zeros((32, 32), bool)
    expected[6:12, 4:9] = True
    assert (pixels(found.rle, 32, 32) == expected).all()
    boxes[0, :4] = [3.2, 5, 3.4, 14]
    assert decoder("maskrcnn", infos).decode([boxes, labels, mask], SAME) == ()


def test_a_mask_without_a_pixel_is_none() -> None:
    made = decoder("maskrcnn", LISTS)
    assert made.decode(listed(([2, 4, 16, 18, 0.7], 1, 0.4 * FULL)), SAME) == ()


def test_lists_of_different_length_are_no_answer() -> None:
    boxes, labels, masks = listed(([2, 4, 16, 18, 0.7], 1, FULL))
    with pytest.raises(InvalidOutputError, match="1 boxes, 1 labels, 1 scores and 2 masks"):
        decoder("maskrcnn", LISTS).decode([boxes, labels, np.concatenate((masks, masks))], SAME)
    with pytest.raises(InvalidOutputError, match="not made of finite numbers"):
        decoder("maskrcnn", LISTS).decode([boxes, labels, masks * np.nan], SAME)


def test_boxes_without_scores_or_of_another_shape_are_no_answer() -> None:
    boxes, labels, masks = listed(([2, 4, 16, 18, 0.7], 1, FULL))
    four = [TensorInfo("boxes", "float32", (None, 4)), *LISTS[1:]]
    for answer in ([boxes[:, :4], labels, masks], [boxes[:0, :0], labels[:0], masks[:0]], [boxes[0], labels, masks]):
        with pytest.raises(InvalidOutputError, match=r"expected \[n,4\] beside scores, or \[n,5\]"):
            decoder("maskrcnn", four).decode(answer, SAME)
    with pytest.raises(InvalidOutputError, match=r"masks of \(14, 14\)"):
        decoder("maskrcnn", LISTS).decode([boxes, labels, masks[0]], SAME)


@pytest.mark.parametrize("masks", [(3, 14), (3, 3, 14, 14), (3, 4, 4), (1, 1, 1, 1, 14, 14)])
def test_other_outputs_are_no_masks(masks: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"masks \[n,h,w\]"):
        decoder("maskrcnn", [*LISTS[:2], TensorInfo("masks", "float32", masks)])


def test_masks_of_noise_are_drawn_only_as_long_as_a_message_has_room() -> None:
    size = (256, 256)
    rows = np.zeros((1, 12, 7), np.float32)
    rows[0, :, :6] = [[4, 4, 250, 250, 0.9 - number / 100, number % 2] for number in range(12)]
    rows[0, :, 6] = 1
    noise = np.random.default_rng(7).normal(size=(1, 1, 256, 256)).astype(np.float32)
    made = decoder("end2end", outputs((1, 12, 7), noise.shape), size=size, thresholds=ThresholdSpec(0.25, 1.0, 100))
    found = made.decode([rows, noise], Transform(1, 1, 0, 0, 256, 256))
    drawn = [one.rle is not None for one in found]
    assert len(found) == 12
    assert drawn == sorted(drawn, reverse=True)
    assert SHAPES_BYTES_LIMIT < sum(len(one.rle or "") for one in found) < 2 * SHAPES_BYTES_LIMIT
