"""The renderer is the only source of truth for data set, clip and golden frames: the same seed, the same pixels."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

from surface_defects.render import Picture, render_scene
from surface_defects.scene import FRAME_SIZE, LABELS, Camera, Scene, sample_scene

SEEDS = range(6)


def _quiet(seed: int) -> Scene:
    """A scene seen by a camera that adds neither noise nor blur, so that only damage can differ."""
    return replace(sample_scene(seed, 0, seed), camera=Camera(motion_blur=1, defocus=0.0, noise=0.0, jpeg_quality=0))


def _with_damage() -> list[Picture]:
    return [p for p in (render_scene(_quiet(seed)) for seed in SEEDS) if p.boxes]


def test_the_same_numbers_give_the_same_pixels_and_boxes() -> None:
    first, second = (render_scene(sample_scene(3, 1, 4)) for _ in range(2))
    assert first.boxes == second.boxes
    assert np.array_equal(first.image, second.image)


def test_another_index_or_split_gives_another_picture() -> None:
    images = [render_scene(sample_scene(3, split, index)).image for split, index in ((0, 0), (0, 1), (1, 0))]
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_a_picture_is_a_colour_frame_of_the_stated_size() -> None:
    image = render_scene(sample_scene(1, 0, 0)).image
    assert image.shape == (*FRAME_SIZE, 3)
    assert image.dtype == np.uint8


def test_boxes_lie_in_the_picture_and_have_a_known_label() -> None:
    pictures = _with_damage()
    assert pictures
    for picture in pictures:
        for box in picture.boxes:
            assert box.label in LABELS
            assert 0 <= box.left < box.right <= FRAME_SIZE[1]
            assert 0 <= box.top < box.bottom <= FRAME_SIZE[0]


def test_a_good_part_has_no_boxes() -> None:
    for seed in SEEDS:
        assert render_scene(_quiet(seed).without_defects()).boxes == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_cover_the_pixels_that_the_damage_changed(seed: int) -> None:
    scene = _quiet(seed)
    damaged, clean = render_scene(scene), render_scene(scene.without_defects())
    changed = np.abs(damaged.image.astype(int) - clean.image).max(axis=2) > 12
    # the shadow of a chip moves with its edge, and a sliver at the border of the frame has no box
    covered = np.zeros(FRAME_SIZE, bool)
    for box in damaged.boxes:
        covered[max(0, int(box.top) - 3) : int(box.bottom) + 12, max(0, int(box.left) - 3) : int(box.right) + 10] = True
    covered[:, :70] = covered[:, -70:] = True
    assert not (changed & ~covered).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_every_box_holds_changed_pixels_on_all_four_sides(seed: int) -> None:
    scene = _quiet(seed)
    damaged, clean = render_scene(scene), render_scene(scene.without_defects())
    changed = np.abs(damaged.image.astype(int) - clean.image).max(axis=2) > 3
    for box in damaged.boxes:
        inside = changed[int(box.top) : int(box.bottom) + 1, int(box.left) : int(box.right) + 1]
        rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
        slack = (0.2 * inside.shape[0] + 4, 0.2 * inside.shape[1] + 4)
        assert rows.size
        assert columns.size
        assert rows[0] <= slack[0]
        assert inside.shape[0] - 1 - rows[-1] <= slack[0]
        assert columns[0] <= slack[1]
        assert inside.shape[1] - 1 - columns[-1] <= slack[1]
