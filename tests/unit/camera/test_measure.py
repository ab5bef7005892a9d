"""camera.measure: numbers of one picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_runtime.camera.copies import SIDE_PX, make_copies
from edge_runtime.camera.measure import LINES_BYTES, Measure, sharpness
from tests import scenes


def sharpness_of(image: np.ndarray) -> float | None:
    return sharpness(image, make_copies(image).edges)


def test_grey_is_measured() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 320:] = 255
    numbers, copies = Measure().measure(image, 7, 0.0)
    assert (numbers.frame_id, numbers.width, numbers.height) == (7, 640, 480)
    assert (numbers.brightness, numbers.black, numbers.white) == pytest.approx((127.5, 0.5, 0.5))
    assert numbers.contrast == pytest.approx(127.5, abs=1)
    assert 0 < numbers.detail < 0.05
    assert max(copies.small.shape) == SIDE_PX
    assert (numbers.shift, numbers.likeness) == (None, None)


@pytest.mark.parametrize("shape", [(1, 1, 3), (16, 16, 1), (48, 48, 3), (2, 5000, 3), (3000, 48, 1), (161, 97, 3)])
def test_pictures_of_every_shape_can_be_measured(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    measure = Measure()
    for now_s in (0.0, 1.0):
        numbers, copies = measure.measure(image, 1, now_s)
    assert numbers.unchanged == 1
    assert max(copies.small.shape) <= SIDE_PX
    assert 0 <= numbers.detail <= 1


@pytest.mark.parametrize("index", [0, 18, 36])
def test_sharpness_tells_the_lens_and_not_what_is_seen(index: int) -> None:
    image = scenes.clip()[index]
    clear = sharpness_of(image)
    assert clear is not None
    assert 0.55 <= clear <= 1
    for variant in (scenes.noisy(image, 4, index), (image * 0.4).astype(np.uint8), image[::-1].copy()):
        found = sharpness_of(variant)
        assert found is not None
        assert found > 0.5
    for deviation, limit in ((3, 0.31), (6, 0.25), (10, 0.25)):
        soft = sharpness_of(scenes.noisy(cv2.GaussianBlur(image, (0, 0), deviation), 2, index))
        assert soft is not None
        assert soft < limit


def test_noise_is_no_edge() -> None:
    image = scenes.noisy(np.full((480, 640, 3), 100, np.uint8), 5, 1)
    assert sharpness_of(image) is None
    assert Measure().measure(image, 1, 0.0)[0].detail == 0


def test_blur_in_one_direction_alone_is_motion_and_not_the_lens() -> None:
    image = scenes.bench_scene()
    kernel = np.full((1, 15), 1 / 15, np.float32)
    found = sharpness_of(cv2.filter2D(image, -1, kernel))
    assert found is not None
    assert found > 0.5


def test_unchanged_pictures_are_counted_from_the_first_of_them() -> None:
    measure, image = Measure(), scenes.bench_scene()
    first, _ = measure.measure(image, 1, 10.0)
    second, _ = measure.measure(image, 2, 10.5, keys=3)
    third, _ = measure.measure(image, 3, 11.0, keys=2)
    other, _ = measure.measure(scenes.noisy(image, 1, 1), 4, 11.5)
    assert [(n.unchanged, n.unchanged_keys, n.unchanged_s) for n in (first, second, third, other)] == [
        (0, 0, 0.0),
        (1, 3, 0.5),
        (2, 5, 1.0),
        (0, 0, 0.0),
    ]


def test_another_connection_begins_anew() -> None:
    measure, image = Measure(), scenes.bench_scene()
    measure.measure(image, 1, 0.0)
    measure.forget()
    assert measure.measure(image, 2, 1.0)[0].unchanged == 0


def test_of_large_pictures_some_lines_are_compared() -> None:
    measure = Measure()
    measure.measure(np.zeros((2000, 3000, 3), np.uint8), 1, 0.0)
    assert len(measure._lines) <= LINES_BYTES
