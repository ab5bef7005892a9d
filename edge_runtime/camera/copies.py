"""Small grey copies of a picture, and the edges in them: what is measured and compared without touching each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

import edge_runtime.camera.environment  # noqa: F401 - before cv2, which reads its limits when it is loaded

import cv2  # isort: skip

if TYPE_CHECKING:
    from edge_runtime.camera.source import Pixels

SIDE_PX: Final = 160
"""Longer side of the copy that edges are looked for in."""
DECIMATED_PX: Final = 320
"""Longer side, at least, of the pixels that the copy is averaged from."""
EDGE_GREY: Final = 12
"""Steps of grey per pixel of the copy from which on there is an edge; averaged noise stays far below."""
GREEN: Final = 1
"""Channel of a colour picture that is looked at: it has most of the light, and the least noise."""
_SOBEL_SCALE: Final = 0.25  # of two neighbours twice and four once: grey per pixel, at most 255


@dataclass(frozen=True, slots=True)
class Copies:
    """A picture made small: ``small`` is grey, (h, w) uint8, ``edges`` the steepness of its grey, of the same shape."""

    decimated: Pixels
    small: Pixels
    edges: Pixels


def make_copies(image: Pixels) -> Copies:
    """Return small copies of ``image``, (h, w, 3) or (h, w, 1), uint8; of colours only green is looked at."""
    height, width, channels = image.shape
    grey = image[:, :, GREEN if channels > 1 else 0]
    step = max(1, max(height, width) // DECIMATED_PX)
    decimated = np.ascontiguousarray(grey[::step, ::step])
    rows, columns = decimated.shape
    scale = min(1.0, SIDE_PX / max(rows, columns))
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    small = np.asarray(cv2.resize(decimated, size, interpolation=cv2.INTER_AREA), np.uint8)
    return Copies(decimated, small, edges_of(small))


def edges_of(small: Pixels) -> Pixels:
    """Return how steep the grey of a small copy is: in steps from pixel to pixel, right and down together."""
    across, down = (cv2.Sobel(small, cv2.CV_16S, *axis, ksize=3) for axis in ((1, 0), (0, 1)))
    edges = cv2.add(cv2.convertScaleAbs(across, alpha=_SOBEL_SCALE), cv2.convertScaleAbs(down, alpha=_SOBEL_SCALE))
    return np.asarray(edges, np.uint8)
