"""Resizing with a filter that widens as the picture shrinks, as Pillow and torchvision do it.

OpenCV's linear interpolation looks at four pixels however much a picture shrinks. A classifier that was trained on
pictures from Pillow may judge such a picture otherwise, since fine structure turns into noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_CHUNK: Final = 16
"""Rows that are made at once: a row needs its neighbourhood only, so a product with all weights is mostly zeros."""


@dataclass(frozen=True, slots=True)
class Filter:
    """How much a pixel counts: ``weigh`` takes distances in pixels of the larger picture, 0 from ``reach`` on."""

    reach: int
    weigh: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _triangle(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - distance, 0)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -0.5, as Pillow's and torchvision's (with antialiasing) is."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0))  # noqa: PLR2004 - of the kernel


FILTERS: Final = {"antialias": Filter(1, _triangle), "antialias_cubic": Filter(2, _cubic)}
"""By the word of `core.description.INTERPOLATIONS`."""


class AntialiasResizer:
    """Resizes windows of pictures of one size; used by one thread.

    Each axis is a sum of the pixels around, weighted by a filter whose unit is one pixel of the larger of the two
    pictures (`Resample.c` of Pillow, BILINEAR or BICUBIC), the horizontal one first, rounded to whole levels between.
    """

    def __init__(
        self,
        source: tuple[int, int],
        target: tuple[int, int],
        window: tuple[float, float, float, float],
        kind: Filter = FILTERS["antialias"],
    ) -> None:
        """Work out the weights.

        Args:
            source: height, width of pictures in pixels.
            target: height, width to make.
            window: x, y, width, height of the part of the picture that is shown, within it; may cut through pixels.
            kind: the filter.
        """
        x, y, width, height = window
        self._rows = _Axis(source[0], target[0], y, height, kind)
        self._columns = _Axis(source[1], target[1], x, width, kind)

    def resize(self, picture: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Write the window of ``picture`` into ``target``; both (H, W) or (H, W, 3), uint8."""
        needed = picture[self._rows.first : self._rows.last]
        narrow = cv2.transpose(self._columns.shrink(cv2.transpose(needed), 0))
        target[...] = self._rows.shrink(narrow, self._rows.first).reshape(target.shape)


class _Axis:
    """Weights along one axis."""

    def __init__(self, length: int, count: int, start: float, extent: float, kind: Filter) -> None:
        scale = extent / count
        unit = max(scale, 1.0)
        reach = unit * kind.reach
        self._parts: list[tuple[int, int, NDArray[np.float32]]] = []
        for begin in range(0, count, _CHUNK):
            centres = start + (np.arange(begin, min(begin + _CHUNK, count)) + 0.5) * scale
            first = max(0, int(centres[0] - reach + 0.5))
            last = min(length, int(centres[-1] + reach + 0.5))
            distance = np.abs(np.arange(first, last) + 0.5 - centres[:, None]) / unit
            weights = kind.weigh(distance)
            self._parts.append((first, last, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)))
        self.first, self.last = self._parts[0][0], self._parts[-1][1]

    def shrink(self, picture: NDArray[np.uint8] | cv2.typing.MatLike, origin: int) -> NDArray[np.uint8]:
        """Return the picture resized along its first axis; its first row is row ``origin`` of the source."""
        rows = []
        for first, last, weights in self._parts:
            part = picture[first - origin : last - origin]
            rows.append(weights @ part.reshape(len(part), -1).astype(np.float32))
        made = np.concatenate(rows)
        made += 0.5  # half a level goes up, as Pillow rounds
        np.clip(made, 0, 255, out=made)  # a cubic filter overshoots at edges
        return made.astype(np.uint8).reshape(len(made), *picture.shape[1:])
