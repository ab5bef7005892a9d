from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.engine.preprocess import Preprocessor
from edge_runtime.engine.resample import FILTERS, AntialiasResizer
from tests.unit.engine.specs import input_spec

# Pillow 13.0: Image.fromarray(ROW).resize((width, 1), Image.BILINEAR)
ROW = np.array([[0, 10, 20, 200, 40, 50, 255, 70, 80]], np.uint8)
CUBIC = {3: [28, 104, 119], 4: [5, 96, 115, 111], 12: [0, 6, 6, 37, 193, 102, 23, 69, 247, 142, 61, 81]}  # BICUBIC
PILLOW = {3: [34, 99, 116], 4: [8, 99, 108, 111], 12: [0, 6, 14, 43, 178, 100, 44, 76, 229, 139, 74, 80]}


def resized(picture: np.ndarray, size: tuple[int, int], window: tuple[float, ...] | None = None) -> np.ndarray:
    target = np.zeros((*size, *picture.shape[2:]), np.uint8)
    height, width = picture.shape[:2]
    AntialiasResizer((height, width), size, window or (0, 0, width, height)).resize(picture, target)  # type: ignore[arg-type]  # four numbers
    return target


@pytest.mark.parametrize("width", PILLOW)
def test_rows_and_columns_are_those_of_pillow(width: int) -> None:
    assert resized(ROW, (1, width))[0].tolist() == PILLOW[width]
    assert resized(np.ascontiguousarray(ROW.T), (width, 1))[:, 0].tolist() == PILLOW[width]


@pytest.mark.parametrize("width", CUBIC)
def test_the_cubic_filter_is_that_of_pillow_and_stays_between_black_and_white(width: int) -> None:
    target = np.zeros((1, width), np.uint8)
    AntialiasResizer((1, 9), (1, width), (0, 0, 9, 1), FILTERS["antialias_cubic"]).resize(ROW, target)
    assert target[0].tolist() == CUBIC[width]


def test_a_picture_of_its_own_size_stays_as_it_is() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)
    assert (resized(picture, (40, 50)) == picture).all()


def test_a_window_is_that_part_of_the_whole() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (200, 160, 3), np.uint8)
    whole = resized(picture, (50, 40))
    part = resized(picture, (30, 20), (10 * 4, 5 * 4, 20 * 4, 30 * 4))
    assert (part == whole[5:35, 10:30]).all()


def test_fine_stripes_turn_into_their_mean() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 200
    made = resized(stripes, (8, 8))
    assert made[:, 1:-1].tolist() == [[100] * 6] * 8


@pytest.mark.parametrize(("width", "height"), [(90, 120), (120, 90), (64, 64), (7, 30)])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "fit", "crop"])
def test_frames_are_drawn_where_the_transform_says(resize: str, width: int, height: int) -> None:
    spec = input_spec(size=(32, 32), resize=resize, interpolation="antialias", crop=0.875, pad=0)
    frame = np.zeros((height, width, 3), np.uint8)
    frame[height // 2 :] = 200  # the edge between dark and bright lies in the middle
    canvas = np.zeros((32, 32, 3), np.uint8)
    transform = Preprocessor(spec).fill(frame, canvas)
    edge = height // 2 * transform.scale_y + transform.offset_y
    middle = round(width / 2 * transform.scale_x + transform.offset_x)
    bright = float(canvas[:, middle, 0].astype(float).sum() / 200)
    bottom = min(32.0, height * transform.scale_y + transform.offset_y)
    assert bottom - bright == pytest.approx(edge, abs=0.1)


def test_the_middle_is_cut_out_as_torchvision_does_it() -> None:
    # Resize(32) makes 36 x 32 of 100 x 113: int(36.16); CenterCrop(32) begins at row 2
    spec = input_spec(size=(32, 32), resize="crop", interpolation="antialias")
    transform = Preprocessor(spec).fill(np.zeros((113, 100, 3), np.uint8), np.zeros((32, 32, 3), np.uint8))
    assert (transform.scale_x, transform.offset_x) == (0.32, 0)
    assert (transform.scale_y, transform.offset_y) == (pytest.approx(36 / 113), -2)


def test_grey_frames_and_grey_models_are_resized_alike() -> None:
    grey = np.random.default_rng(3).integers(0, 256, (90, 120), np.uint8)
    spec = input_spec(size=(32, 32), interpolation="antialias")
    coloured, plain = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 1), np.uint8)
    Preprocessor(spec).fill(grey, coloured)
    Preprocessor(input_spec(size=(32, 32), interpolation="antialias", color="GRAY")).fill(grey[:, :, None], plain)
    assert (coloured == plain).all()
