"""Render the images that train and judge the network, once, into files that are read back in a second."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from surface_defects.render import Box, render_scene
from surface_defects.scene import FRAME_SIZE, LABELS, sample_scene

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INPUT_SIZE: Final = (288, 512)
"""Height and width of the network's input: half the rendered frame, so no bars are needed."""
TRAIN, TEST, CALIBRATION = 0, 1, 2
"""The splits: numbers that enter the seed, so no scene can be in two of them."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rendered images and their truth.

    `images` is (N, H, W, 3) uint8 RGB at the network's size; `targets` has per image a (K, 5) array of label index and
    left, top, right, bottom in pixels of the network's input.
    """

    images: NDArray[np.uint8]
    targets: tuple[NDArray[np.float32], ...]


def to_input(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce a rendered frame, (H, W, 3) BGR, to the network's size, RGB."""
    small = cv2.resize(frame, (INPUT_SIZE[1], INPUT_SIZE[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)


def to_target(boxes: tuple[Box, ...]) -> NDArray[np.float32]:
    """Boxes of a rendered frame as a (K, 5) array at the network's size."""
    scale = INPUT_SIZE[0] / FRAME_SIZE[0]
    rows = [(LABELS.index(b.label), b.left * scale, b.top * scale, b.right * scale, b.bottom * scale) for b in boxes]
    return np.array(rows, np.float32).reshape(-1, 5)


def _render_one(index: int, *, seed: int, split: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    cv2.setNumThreads(1)
    picture = render_scene(sample_scene(seed, split, index))
    return to_input(picture.image), to_target(picture.boxes)


def load_or_render(folder: Path, name: str, count: int, *, seed: int, split: int, workers: int = 2) -> Dataset:
    """Read the split from `folder`, or render it there first.

    Args:
        folder: Work directory; gets `<name>-images.npy` and `<name>-boxes.json`.
        name: Name of the files.
        count: Number of images; files with another number are rendered anew.
        seed: Seed of everything random.
        split: One of `TRAIN`, `TEST`, `CALIBRATION`.
        workers: Processes to render with.
    """
    images_file, boxes_file = folder / f"{name}-images.npy", folder / f"{name}-boxes.json"
    if images_file.exists() and boxes_file.exists():
        known = json.loads(boxes_file.read_text("utf-8"))
        if known["seed"] == seed and len(known["targets"]) == count:
            targets = tuple(np.array(rows, np.float32).reshape(-1, 5) for rows in known["targets"])
            return Dataset(np.load(images_file), targets)
    folder.mkdir(parents=True, exist_ok=True)
    images = np.empty((count, *INPUT_SIZE, 3), np.uint8)
    found: list[NDArray[np.float32]] = []
    with ProcessPoolExecutor(workers) as pool:
        jobs = pool.map(partial(_render_one, seed=seed, split=split), range(count), chunksize=16)
        for index, (image, target) in enumerate(jobs):
            images[index] = image
            found.append(target)
    np.save(images_file, images)
    boxes_file.write_text(json.dumps({"seed": seed, "targets": [t.tolist() for t in found]}), "utf-8")
    return Dataset(images, tuple(found))
