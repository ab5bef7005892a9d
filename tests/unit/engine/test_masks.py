from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.engine.masks import OUTLINE_POINTS_MAX, Grid, Window, above, draw, pasted
from edge_runtime.engine.postprocess import Transform
from tests.unit.engine.runlengths import pixels, shared_part

SAME = Transform(1, 1, 0, 0, 8, 8)


def drawn(mask: np.ndarray, left: int = 0, top: int = 0, frame: tuple[int, int] | None = None):  # noqa: ANN201 - what draw returns
    """Draw a (rows, columns) mask."""
    return draw(np.ascontiguousarray(mask.T.astype(bool)), left, top, frame or (mask.shape[1], mask.shape[0]))


def canvas(width: int, height: int, *rectangles: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    for x, y, w, h in rectangles:
        mask[y : y + h, x : x + w] = True
    return mask


# what pycocotools 2.0.11 writes, `mask.encode(numpy.asfortranarray(mask))["counts"]`
@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        (canvas(5, 4, (0, 0, 5, 4)), "0d0"),
        (canvas(5, 4, (1, 1, 3, 2)), "5220003"),
        (canvas(5, 4, (1, 0, 2, 4)), "488"),
        (canvas(5, 4, (0, 0, 1, 1), (4, 3, 1, 1)), "01b00"),
        (canvas(5, 4, (1, 2, 1, 2), (2, 0, 1, 2)), "64:"),  # a run that goes on at the head of the next column
        (np.indices((6, 7)).sum(axis=0) % 2, "1110010O0010O0010O0010O0010O0010O000"),
        (
            ((np.mgrid[:1080, :1920] - np.array((500, 900)).reshape(2, 1, 1)) ** 2).sum(axis=0) <= 49,
            "\\Z^m01dQ16L2N2N2O000O20N10001N2N2N4J_kZQ1",
        ),
    ],
    ids=["full", "middle", "columns", "corners", "wrap", "chess", "disc in a large frame"],
)
def test_run_lengths_are_those_of_pycocotools(mask: np.ndarray, counts: str) -> None:
    found = drawn(mask)
    assert found.rle == counts
    assert found.area == mask.sum()


@given(
    frame=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    shares=st.tuples(*[st.floats(0, 1)] * 4),
    filled=st.floats(0, 1),
    seed=st.integers(0, 1 << 30),
)
def test_what_is_drawn_comes_back(frame: tuple[int, int], shares: tuple[float, ...], filled: float, seed: int) -> None:
    width, height = frame
    left, top = int(shares[0] * (width - 1)), int(shares[1] * (height - 1))
    w, h = 1 + int(shares[2] * (width - left - 1)), 1 + int(shares[3] * (height - top - 1))
    part = np.random.default_rng(seed).random((h, w)) <= filled
    found = drawn(part, left, top, frame)
    if not part.any():
        assert found is None
        return
    whole = np.zeros((height, width), bool)
    whole[top : top + h, left : left + w] = part
    assert (pixels(found.rle, width, height) == whole).all()
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    assert found.box == (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)


def test_the_outline_is_that_of_the_largest_part() -> None:
    found = drawn(canvas(40, 30, (2, 3, 4, 4), (20, 10, 12, 8)))
    assert set(found.polygon) == {(20, 10), (31, 10), (31, 17), (20, 17)}


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_a_line_or_a_dot_has_no_outline(size: tuple[int, int]) -> None:
    found = drawn(canvas(20, 20, (4, 5, *size)))
    assert found.polygon is None
    assert found.box == (4, 5, *size)


def test_an_outline_is_near_the_border_and_has_few_points() -> None:
    mask = np.zeros((400, 400), np.uint8)
    cv2.ellipse(mask, (200, 180), (150, 90), 30, 0, 360, 1, -1)
    found = drawn(mask)
    assert 10 < len(found.polygon) <= 60
    again = cv2.fillPoly(np.zeros_like(mask), [np.array(found.polygon, np.int32)], 1)
    assert shared_part(again.astype(bool), mask.astype(bool)) > 0.98


def test_noise_is_drawn_with_an_outline_of_bounded_length() -> None:
    noise = np.random.default_rng(3).random((300, 500)) > 0.5
    found = drawn(noise)
    assert 3 <= len(found.polygon) <= OUTLINE_POINTS_MAX
    assert (pixels(found.rle, 500, 300) == noise).all()


def test_of_noise_too_the_largest_part_is_outlined() -> None:
    noise = np.zeros((400, 600), bool)
    noise[::2, ::2] = True  # 60 000 dots
    noise[100:201, 301:400] = True
    found = drawn(noise)
    assert np.array(found.polygon).min(axis=0).tolist() == [300, 100]
    assert np.array(found.polygon).max(axis=0).tolist() == [400, 200]


def ramp(cells: int) -> np.ndarray:
    """A map whose cells hold the x of their centre, 0..1."""
    return np.repeat((np.arange(cells, dtype=np.float32) + 0.5)[:, None] / cells, cells, axis=1)


def masked(values: np.ndarray, window: Window, floor: float) -> np.ndarray:
    return above(values[window.cells], window, floor)


def test_a_map_is_interpolated_to_the_pixels_of_the_frame() -> None:
    grid = Grid((4, 4), (16, 16), Transform(0.5, 0.5, 0, 0, 32, 32))
    mask = masked(ramp(4), grid.whole(), 0.5)
    assert mask.shape == (32, 32)
    assert mask.any(axis=1).argmax() == 16


def test_a_window_is_the_same_part_of_the_whole() -> None:
    values = np.random.default_rng(1).random((20, 20), np.float32)
    grid = Grid((20, 20), (80, 80), Transform(0.5, 0.5, 0, 10, 160, 120))
    whole = masked(values, grid.whole(), 0.5)
    assert whole.shape == (160, 120)
    window = grid.window((30.2, 40.0, 50.5, 20.5))
    assert window is not None
    assert (window.left, window.top) == (31, 40)
    assert (masked(values, window, 0.5) == whole[31:81, 40:61]).all()
    everything = grid.window(None)
    assert everything is not None
    assert (masked(values, everything, 0.5) == whole).all()


@pytest.mark.parametrize("box", [(200, 0, 10, 10), (0, 130, 10, 10), (5.1, 5.1, 0.5, 0.5), (-20, 0, 10, 10)])
def test_a_box_without_a_pixel_of_the_frame_has_no_window(box: tuple[float, ...]) -> None:
    grid = Grid((20, 20), (80, 80), Transform(0.5, 0.5, 0, 10, 160, 120))
    assert grid.window(box) is None  # type: ignore[arg-type]


def test_the_border_of_a_letterbox_does_not_shine_into_the_picture() -> None:
    # 80 x 40 in the middle of 80 x 80: rows 20 to 60 of the canvas, 5 to 15 of the map
    values = np.full((20, 20), 1.0, np.float32)
    values[:, 5:15] = -1
    grid = Grid((20, 20), (80, 80), Transform(0.5, 0.5, 0, 20, 160, 80))
    assert not masked(values, grid.whole(), 0).any()
    # a border of 9 canvas pixels ends between two cells only in a map four times as large
    values = np.full((20, 20), -1.0, np.float32)
    values[:, :2] = 1
    mask = masked(values, Grid((20, 20), (80, 80), Transform(1, 1, 0, 9, 80, 62)).whole(), 0)
    assert not mask.any()


def test_a_frame_larger_than_what_the_model_saw_keeps_its_rest_empty() -> None:
    # the middle 32 of 96 columns fill the canvas
    grid = Grid((32, 32), (32, 32), Transform(1, 1, -32, 0, 96, 32))
    window = grid.whole()
    assert (window.left, window.top) == (32, 0)
    assert masked(np.ones((32, 32), np.float32), window, 0).shape == (32, 32)
    spread, left, top = grid.spread(np.arange(1024, dtype=np.int32).reshape(32, 32))
    assert (left, top) == (32, 0)
    assert (spread == np.arange(1024).reshape(32, 32)).all()


def test_numbers_are_spread_and_never_mixed() -> None:
    grid = Grid((4, 4), (8, 8), Transform(0.25, 0.25, 0, 2, 32, 16))
    numbers = np.arange(16, dtype=np.int32).reshape(4, 4)  # (x, y)
    spread, left, top = grid.spread(numbers)
    assert (left, top, spread.shape) == (0, 0, (32, 16))
    assert (spread == np.repeat(np.repeat(numbers[:, 1:3], 8, axis=0), 8, axis=1)).all()
    assert grid.inside() == (slice(0, 4), slice(1, 3))


def test_a_mask_is_pasted_into_its_box() -> None:
    window = pasted((10, 20, 38, 48), (28, 28), Transform(1, 1, 0, 0, 100, 100))
    assert window is not None
    full = above(np.pad(np.ones((28, 28), np.float32), 1), window, 0.5)
    found = draw(full, window.left, window.top, (100, 100))
    assert found is not None
    assert found.box == (10, 20, 29, 29)  # the last pixel of a box counts as part of it


def test_a_pasted_mask_reaches_only_as_far_as_the_frame() -> None:
    half = Transform(0.5, 0.5, 4, 0, 60, 60)
    window = pasted((0, -10, 24, 20), (14, 14), half)
    assert window is not None
    found = draw(above(np.pad(np.ones((14, 14), np.float32), 1), window, 0.5), window.left, window.top, (60, 60))
    assert found is not None
    assert found.box == pytest.approx((0, 0, 40, 40), abs=1)
    assert pasted((100, 0, 120, 10), (14, 14), half) is None
    assert pasted((0, 100, 20, 120), (14, 14), half) is None
