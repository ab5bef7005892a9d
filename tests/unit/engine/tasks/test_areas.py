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
ALL = ThresholdSpec(0.0, 1.0, 100)


def decoder(name: str, *shapes: tuple[int, ...], **changes: Any) -> Any:
    spec = model_spec(name, **{"thresholds": ALL, **changes})
    return make_decoder(replace(spec, task="semantic_segmentation"), outputs(*shapes))


def quarters() -> np.ndarray:
    """Logits of three classes, 8 x 8: class 1 in the upper left quarter, class 2 right of it, else class 0."""
    maps = np.zeros((1, 3, 8, 8), np.float32)
    maps[0, 1, :4, :4] = 4
    maps[0, 2, :4, 4:] = 2
    maps[0, 0, 4:] = 3
    return maps


def softmaxed(*logits: float) -> float:
    return float(np.exp(logits[0]) / np.exp(logits).sum())


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_largest_number_decides_and_the_background_is_not_told(layout: str) -> None:
    maps = quarters() if layout == "NCHW" else quarters().transpose(0, 2, 3, 1)
    made = decoder("argmax", maps.shape, output=OutputSpec(activation="softmax", background="first"), layout=layout)
    first, second = made.decode([maps], SAME)
    assert {first.label, second.label} == {"scratch", "dent"}
    scratch, dent = sorted((first, second), key=lambda one: one.id)
    assert (scratch.id, scratch.score) == (0, pytest.approx(softmaxed(4, 0, 0), abs=1e-5))
    assert dent.score == pytest.approx(softmaxed(2, 0, 0), abs=1e-5)
    mask = pixels(scratch.rle, 32, 32)
    assert mask[:14, :14].all()
    assert not mask[18:].any()
    assert scratch.box is not None
    assert scratch.box[:2] == (0, 0)
    assert set(scratch.polygon or ()) >= {(0, 0)}
    assert not (mask & pixels(dent.rle, 32, 32)).any()


def test_numbers_are_interpolated_before_they_are_compared() -> None:
    maps = np.zeros((1, 2, 8, 8), np.float32)
    maps[0, 0, :, :4], maps[0, 1, :, 4:] = 3, 1  # they meet three quarters of the way between the two centres
    left, right = decoder("argmax", (1, 2, 8, 8), output=OutputSpec(activation="sigmoid")).decode([maps], SAME)
    assert left.score == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-5)
    assert (left.label, left.box, right.box) == ("scratch", (0, 0, 17, 32), (17, 0, 15, 32))


def test_the_last_class_may_be_the_background() -> None:
    maps = np.roll(quarters(), -1, axis=1)
    made = decoder("argmax", (1, 3, 8, 8), output=OutputSpec(activation="softmax", background="last"))
    assert {one.label for one in made.decode([maps], SAME)} == {"scratch", "dent"}


def test_nothing_but_background_is_an_empty_answer() -> None:
    maps = np.zeros((1, 3, 8, 8), np.float32)
    maps[:, 0] = 1
    made = decoder("argmax", (1, 3, 8, 8), output=OutputSpec(background="first"))
    assert made.decode([maps], SAME) == ()


def test_probabilities_are_taken_as_they_are_and_logits_for_them_are_refused() -> None:
    maps = np.full((1, 2, 8, 8), 0.3, np.float32)
    maps[:, 1] = 0.7
    made = decoder("argmax", (1, 2, 8, 8))
    assert [(one.label, one.score) for one in made.decode([maps], SAME)] == [("dent", pytest.approx(0.7))]
    for wrong in (10 * maps, maps - 1):
        with pytest.raises(InvalidOutputError, match=r'sum to 1 in each pixel.*"activation": "softmax"'):
            made.decode([wrong], SAME)
    maps[0, 0, 3, 3] = np.nan
    with pytest.raises(InvalidOutputError, match="not made of finite numbers"):
        made.decode([maps], SAME)


def test_what_is_smaller_than_a_pixel_of_the_frame_is_left_out() -> None:
    maps = np.zeros((1, 2, 8, 8), np.float32)
    maps[0, 0] = 1
    maps[0, 1, 0, 0] = 2  # the only two pixels are interpolated from cells 1, 2 and 5, 6
    made = decoder("argmax", (1, 2, 8, 8), output=OutputSpec(activation="softmax"))
    assert [one.label for one in made.decode([maps], Transform(16, 16, 0, 0, 2, 2))] == ["scratch"]


def test_a_letterboxed_map_is_read_inside_the_picture_only() -> None:
    # 64 x 32 in rows 8 to 24 of the canvas, 2 to 6 of the map; the border is sure of dents
    maps = np.zeros((1, 2, 8, 8), np.float32)
    maps[0, 1, :2] = maps[0, 1, 6:] = 9
    maps[0, 0, 2:6] = 1
    made = decoder("argmax", (1, 2, 8, 8), output=OutputSpec(activation="softmax"))
    (found,) = made.decode([maps], Transform(0.5, 0.5, 0, 8, 64, 32))
    assert (found.label, found.box) == ("scratch", (0, 0, 64, 32))
    (again,) = made.decode([maps], Transform(0.5, 0.5, 0, 8, 64, 32))
    assert again == found


def test_a_label_that_is_not_sure_enough_is_left_out_and_the_largest_are_kept() -> None:
    output = OutputSpec(activation="softmax", background="first")
    unsure = ThresholdSpec(0.0, 1.0, 100, {"dent": 0.9})
    found = decoder("argmax", (1, 3, 8, 8), output=output, thresholds=unsure).decode([quarters()], SAME)
    assert [one.label for one in found] == ["scratch"]
    maps = quarters()
    maps[0, 2, :6, 4:] = 5
    largest = ThresholdSpec(0.0, 1.0, 1)
    found = decoder("argmax", (1, 3, 8, 8), output=output, thresholds=largest).decode([maps], SAME)
    assert [one.label for one in found] == ["dent"]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 8, 8), (1, 8, 8, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_the_numbers_of_classes_are_read_in_each_shape_and_type(shape: tuple[int, ...], dtype: str) -> None:
    numbers = np.zeros((8, 8), dtype)
    numbers[:4] = 2
    numbers[7, 7] = 1
    made = decoder("argmax", shape, output=OutputSpec(background="first"))
    dent, scratch = made.decode([numbers.reshape(shape)], SAME)
    assert (dent.label, dent.score, dent.box) == ("dent", 1.0, (0, 0, 32, 16))
    assert (scratch.label, scratch.box) == ("scratch", (28, 28, 4, 4))


def test_numbers_of_classes_with_the_background_last_or_without_any() -> None:
    numbers = np.full((1, 8, 8), 2, np.uint8)
    numbers[0, 0, 0] = 1
    (found,) = decoder("argmax", (1, 8, 8), output=OutputSpec(background="last")).decode([numbers], SAME)
    assert (found.label, found.box) == ("dent", (0, 0, 4, 4))
    found = decoder("argmax", (1, 8, 8)).decode([numbers - 1], SAME)
    assert [one.label for one in found] == ["dent", "scratch"]


def test_with_one_label_numbers_say_whether_it_is_there() -> None:
    numbers = np.zeros((1, 8, 8), np.uint8)
    made = decoder("argmax", (1, 8, 8), labels=("crack",))
    assert made.decode([numbers], SAME) == ()
    numbers[0, 2:4, 3] = 1
    (found,) = made.decode([numbers], SAME)
    assert (found.label, found.id, found.box) == ("crack", 0, (12, 8, 4, 8))


@pytest.mark.parametrize("number", [2, -1, 0.5, np.nan, np.inf])
def test_a_number_without_a_label_is_refused(number: float) -> None:
    numbers = np.zeros((1, 8, 8), np.float32)
    numbers[0, 4, 4] = number
    with pytest.raises(InvalidOutputError, match="expected those of 2 classes"):
        decoder("argmax", (1, 8, 8)).decode([numbers], SAME)


@pytest.mark.parametrize("shape", [(1, 5, 8, 8), (2, 2, 8, 8), (2, 8, 8), (1, 8), (1, 3, 8, 8)])
def test_other_outputs_are_no_areas(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError) as caught:
        decoder("argmax", shape)
    assert caught.value.code in ("model.wrong_labels", "model.wrong_output")


def test_the_classes_of_a_map_are_counted_without_the_background() -> None:
    with pytest.raises(DataError, match="tells 20 classes apart, there are 2 labels"):
        decoder("argmax", (1, 21, 8, 8), output=OutputSpec(background="first"))
    with pytest.raises(DataError, match="tells 21 classes apart"):
        decoder("argmax", (1, 8, 8, 21), layout="NHWC")
    with pytest.raises(DataError, match=r"\[1,2,h,w\] of numbers per class"):
        decoder("argmax", (1, 21, 8, 8), (1, 9))


def test_a_square_of_as_many_classes_is_read_in_the_layout_of_the_input() -> None:
    maps = np.zeros((1, 2, 8, 2), np.float32)
    maps[0, 1] = 1
    (found,) = decoder("argmax", maps.shape, output=OutputSpec(activation="softmax")).decode([maps], SAME)
    assert found.label == "dent"
    made = decoder("argmax", maps.shape, output=OutputSpec(activation="softmax"), layout="NHWC")
    assert [one.label for one in made.decode([maps], SAME)] == ["scratch"]  # equal numbers: the first


# one probability per pixel


def disc() -> np.ndarray:
    rows, columns = np.mgrid[:8, :8]
    return np.clip(1 - np.hypot(rows - 3.5, columns - 3.5) / 4, 0, 1).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 8, 8), (1, 8, 8, 1)])
def test_pixels_of_at_least_the_threshold_belong_to_the_label(shape: tuple[int, ...]) -> None:
    made = decoder("threshold", shape, labels=("person",), thresholds=ThresholdSpec(0.5, 1.0, 100))
    (found,) = made.decode([disc().reshape(shape)], SAME)
    assert (found.label, found.id) == ("person", 0)
    assert 0.5 < found.score < 0.9
    mask = pixels(found.rle, 32, 32)
    assert mask[14:18, 14:18].all()
    assert (mask == mask.T).all()
    assert mask.sum() == pytest.approx(np.pi * 8**2, rel=0.1)
    assert made.decode([np.zeros(shape, np.float32)], SAME) == ()


def test_a_label_may_have_a_threshold_of_its_own() -> None:
    sure = ThresholdSpec(0.5, 1.0, 100, {"person": 0.8})
    loose = decoder("threshold", (1, 8, 8), labels=("person",), thresholds=ThresholdSpec(0.5, 1.0, 100))
    strict = decoder("threshold", (1, 8, 8), labels=("person",), thresholds=sure)
    areas = [pixels(made.decode([disc()[None]], SAME)[0].rle, 32, 32).sum() for made in (loose, strict)]
    assert areas[0] > 2 * areas[1] > 0


def test_logits_of_one_label_need_a_sigmoid() -> None:
    logits = (8 * disc() - 4)[None]
    made = decoder("threshold", (1, 8, 8), labels=("person",), thresholds=ThresholdSpec(0.5, 1.0, 100))
    with pytest.raises(InvalidOutputError, match=r'"activation": "sigmoid"'):
        made.decode([logits], SAME)
    output = OutputSpec(activation="sigmoid")
    made = decoder("threshold", (1, 8, 8), labels=("person",), output=output, thresholds=ThresholdSpec(0.5, 1.0, 100))
    (found,) = made.decode([logits], SAME)
    assert pixels(found.rle, 32, 32)[16, 16]
    logits[0, 0, 0] = np.nan
    with pytest.raises(InvalidOutputError, match="expected probabilities of 0 to 1"):
        made.decode([logits], SAME)


def test_one_probability_is_of_one_label() -> None:
    with pytest.raises(DataError, match="tells 1 classes apart, there are 2 labels"):
        decoder("threshold", (1, 8, 8))
    for shape in ((1, 2, 8, 8), (2, 8, 8), (1, 8)):
        with pytest.raises(DataError, match=r"\[1,1,h,w\], \[1,h,w,1\] or \[1,h,w\]"):
            decoder("threshold", shape, labels=("person",))
    spec = replace(model_spec("threshold", ("person",)), task="semantic_segmentation")
    with pytest.raises(DataError, match="out float32"):
        make_decoder(spec, [TensorInfo("out", "float32", None)])


def test_a_noisy_map_is_read_within_bounds() -> None:
    noise = np.random.default_rng(5).random((1, 3, 160, 160), np.float32)
    made = decoder("argmax", noise.shape, output=OutputSpec(activation="softmax", background="first"), size=(160, 160))
    found = made.decode([noise], Transform(0.5, 0.5, 0, 0, 320, 320))
    assert {one.label for one in found} == {"scratch", "dent"}
    assert all(3 <= len(one.polygon or ()) <= 128 for one in found)
    assert all(len(one.rle or "") < 320 * 320 for one in found)


def test_areas_of_noise_are_drawn_only_as_long_as_a_message_has_room() -> None:
    labels = tuple("abcdefghij")
    numbers = np.random.default_rng(5).integers(0, 10, (1, 512, 512)).astype(np.uint8)
    made = decoder("argmax", numbers.shape, labels=labels, size=(512, 512))
    found = made.decode([numbers], Transform(1, 1, 0, 0, 512, 512))
    assert sorted(one.label for one in found) == list(labels)
    drawn = [one.rle is not None for one in found]
    assert drawn == sorted(drawn, reverse=True)
    assert 0 < sum(drawn) < 10
    assert sum(len(one.rle or "") for one in found) < 2 * SHAPES_BYTES_LIMIT
