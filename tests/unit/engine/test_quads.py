from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.engine.quads import cut_box, cut_polygon, grown, mean_inside, ordered, regions, smallest_rectangle

FRAME = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)


def test_corners_run_clockwise_from_the_top_left() -> None:
    corners = np.array([[9, 8], [1, 2], [9, 2], [1, 8]], np.float32)
    assert ordered(corners).tolist() == [[1, 2], [9, 2], [9, 8], [1, 8]]


def test_a_rectangle_grows_by_the_distance_on_each_side() -> None:
    rectangle = np.array([[10, 20], [70, 20], [70, 40], [10, 40]], np.float32)
    corners, side = smallest_rectangle(grown(rectangle, 1.6))  # 60 * 20 * 1.6 / 160 = 12
    assert corners == pytest.approx(np.array([[-2, 8], [82, 8], [82, 52], [-2, 52]]), abs=1e-3)
    assert side == pytest.approx(44, abs=1e-3)


def test_regions_are_found_one_by_one_and_bounded() -> None:
    mask = np.zeros((20, 40), bool)
    mask[2:6, 2:10] = mask[10:14, 20:30] = True
    boxes = sorted(tuple(np.concatenate((r.min(axis=(0, 1)), r.max(axis=(0, 1))))) for r in regions(mask, limit=9))
    assert boxes == [(2, 2, 10, 6), (20, 10, 30, 14)]
    assert len(regions(mask, limit=1)) == 1


def test_the_mean_counts_the_pixels_on_the_outline() -> None:
    values = np.zeros((10, 10), np.float32)
    values[2:5, 3:7] = 0.5
    inside = np.array([[3, 2], [6, 2], [6, 4], [3, 4]], np.float32)
    assert mean_inside(values, inside) == 0.5
    assert mean_inside(values, np.add(inside, (0, 1))) == pytest.approx(0.5 * 8 / 12)
    assert mean_inside(values, np.add(inside, (100, 100))) == 0  # beside the map: its nearest pixel


def test_an_upright_polygon_is_cut_out_as_it_is() -> None:
    crop = cut_polygon(FRAME, ((10, 5), (50, 5), (50, 25), (10, 25)), 0)
    assert crop.shape == (20, 40, 3)
    assert np.array_equal(crop, FRAME[5:25, 10:50])


def test_a_tall_polygon_is_turned_to_read_from_the_left() -> None:
    crop = cut_polygon(FRAME, ((10, 5), (20, 5), (20, 35), (10, 35)), 0)
    assert crop.shape == (10, 30, 3)
    assert np.array_equal(crop, np.rot90(FRAME[5:35, 10:20]))
    assert crop.flags.c_contiguous


def test_a_polygon_grows_by_a_fraction_of_its_sides() -> None:
    crop = cut_polygon(FRAME, ((20, 10), (40, 10), (40, 20), (20, 20)), 0.5)
    assert crop.shape == (20, 40, 3)
    assert np.array_equal(crop, FRAME[5:25, 10:50])


def test_a_box_is_cut_in_whole_pixels_inside_the_frame() -> None:
    assert np.array_equal(cut_box(FRAME, (10.4, 5.6, 20, 10), 0), FRAME[5:16, 10:31])
    assert np.array_equal(cut_box(FRAME, (20, 10, 10, 10), 0.5), FRAME[5:25, 15:35])
    assert np.array_equal(cut_box(FRAME, (50, 30, 100, 100), 1.0), FRAME[:, :])


@pytest.mark.parametrize("box", [(59.9, 39.9, 0.0, 0.0), (60, 40, 0, 0), (0, 0, 0, 0)])
def test_a_crop_has_a_pixel_at_least(box: tuple[float, float, float, float]) -> None:
    assert min(cut_box(FRAME, box, 0).shape) > 0
    assert min(cut_polygon(FRAME, ((5, 5),) * 4, 0).shape) > 0


def test_grey_frames_are_cut_alike() -> None:
    grey = np.ascontiguousarray(FRAME[:, :, 0])
    assert cut_polygon(grey, ((10, 5), (50, 5), (50, 25), (10, 25)), 0).shape == (20, 40)
    assert cut_box(grey, (10, 5, 20, 10), 0).shape == (10, 20)
