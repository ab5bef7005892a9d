"""Connected regions of a mask: where they are, and their outlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMOOTHING: Final = 0.5  # cells by which an outline may be off


@dataclass(frozen=True, slots=True)
class Region:
    """One region, in cells of the mask: cell (0, 0) covers 0..1 on both axes.

    Attributes:
        peak: the highest number in it.
        box: x1, y1, x2, y2.
        outline: (n, 2) x, y of the centres of the cells along its outer border; n may be 1 or 2.
    """

    peak: float
    box: tuple[float, float, float, float]
    outline: NDArray[np.float32]


def connected_regions(mask: NDArray[np.bool_], heights: NDArray[np.float32], limit: int) -> list[Region]:
    """Return the regions of ``mask``, at most ``limit``, those with the highest peaks, highest first.

    Args:
        mask: (h, w); cells that touch at a corner belong together.
        heights: (h, w), finite.
        limit: most regions.
    """
    count, found, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    numbers = np.asarray(found, np.int32)
    peaks = np.full(count, -np.inf, np.float32)
    np.maximum.at(peaks, numbers.ravel(), heights.ravel())
    order = 1 + np.argsort(-peaks[1:], kind="stable")[:limit]  # 0 is what lies between them
    return [_region(numbers, stats[i].tolist(), i, float(peaks[i])) for i in order.tolist()]


def _region(numbers: NDArray[np.int32], stats: list[int], number: int, peak: float) -> Region:
    x, y, w, h, _ = stats
    part = (numbers[y : y + h, x : x + w] == number).astype(np.uint8)
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = cv2.approxPolyDP(max(contours, key=len), _SMOOTHING, closed=True)
    centres = outline.reshape(-1, 2).astype(np.float32) + np.array((x + 0.5, y + 0.5), np.float32)
    return Region(peak, (x, y, x + w, y + h), centres)
