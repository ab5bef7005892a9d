"""The stamp in test pictures."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.camera.stamp import BITS, Stamp, block_px, read_stamp, stamp_bits


def stamped(number: int, unix_ms: int, width: int = 640, height: int = 480) -> np.ndarray:
    block = block_px(width, height)
    assert block is not None
    image = np.full((height, width, 3), 77, np.uint8)
    image[:block, : BITS * block] = np.repeat(np.array(stamp_bits(number, unix_ms), np.uint8) * 255, block)[:, None]
    return image


@pytest.mark.parametrize("width", [288, 360, 640, 1920])
def test_a_stamp_is_read_back_from_any_size_it_fits(width: int) -> None:
    assert read_stamp(stamped(123456, 0xFEDCBA98, width)) == Stamp(123456, 0xFEDCBA98)


def test_a_grey_picture_has_a_stamp_too() -> None:
    assert read_stamp(stamped(7, 8)[:, :, 0]) == Stamp(7, 8)


def test_noise_and_compression_do_not_hurt() -> None:
    image = stamped(99, 12345).astype(np.int16)
    image += np.random.default_rng(0).integers(-60, 60, image.shape, np.int16)
    assert read_stamp(image.clip(0, 255).astype(np.uint8)) == Stamp(99, 12345)


def test_a_damaged_stamp_is_none() -> None:
    image = stamped(99, 12345)
    image[:8, 80:88] = 255 - image[:8, 80:88]
    assert read_stamp(image) is None


@pytest.mark.parametrize("level", [0, 255])
def test_plain_black_and_plain_white_are_no_stamps(level: int) -> None:
    assert read_stamp(np.full((480, 640, 3), level, np.uint8)) is None


def test_a_picture_too_small_for_a_stamp_has_none() -> None:
    assert block_px(287, 100) is None
    assert read_stamp(np.zeros((100, 287, 3), np.uint8)) is None


def test_age_is_right_across_the_wrap_of_the_clock() -> None:
    assert Stamp(0, 0xFFFFFFF0).age_ms((7 << 32) + 0x10) == 0x20
    assert Stamp(0, 1000).age_ms(900) == -100
