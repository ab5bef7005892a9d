"""Turned rectangles in pictures: around a region, grown, cut out upright, compared; OpenCV's part in reading text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TALL: Final = 1.5
"""A crop that is this many times as high as wide holds text that runs upwards (PaddleOCR's get_rotate_crop_image)."""
_CANVAS: Final = 512
_CIRCLE_POINTS = 64
_CIRCLE: Final = np.stack(
    [fn(np.linspace(0, 2 * np.pi, _CIRCLE_POINTS, endpoint=False)) for fn in (np.cos, np.sin)], axis=1
)


def regions(mask: NDArray[np.bool_], *, limit: int) -> list[NDArray[np.int32]]:
    """Return outlines (n, 1, 2) of the regions and holes of ``mask`` (H, W), grown by a pixel; at most ``limit``."""
    thick = cv2.dilate(mask.astype(np.uint8), np.ones((2, 2), np.uint8))
    outlines, _ = cv2.findContours(thick, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return list(outlines[:limit])  # type: ignore[arg-type]  # OpenCV's stubs say less than its manual


def smallest_rectangle(points: NDArray[np.generic]) -> tuple[NDArray[np.float32], float]:
    """Return the corners (4, 2) of the smallest rectangle around ``points`` (n, 2), and its shorter side in pixels.

    Corners run clockwise from the top left one, as a reader sees it.
    """
    rectangle = cv2.minAreaRect(points.reshape(-1, 1, 2).astype(np.float32))
    return ordered(cv2.boxPoints(rectangle)), float(min(rectangle[1]))


def ordered(corners: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the corners (4, 2) of a rectangle clockwise from the top left: of the two left ones the upper is first."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")].astype(np.float32)
    left, right = (half[np.argsort(half[:, 1], kind="stable")] for half in (by_x[:2], by_x[2:]))
    return np.stack((left[0], right[0], right[1], left[1]))


def mean_inside(values: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    """Return the mean of ``values`` (H, W) in the quadrilateral (4, 2), as PaddleOCR's box_score_fast counts it."""
    height, width = values.shape
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, (width - 1, height - 1))
    inside = np.zeros((high[1] - low[1] + 1, high[0] - low[0] + 1), np.uint8)
    cv2.fillPoly(inside, [(corners - low).astype(np.int32).reshape(-1, 1, 2)], (1,))
    return float(cv2.mean(values[low[1] : high[1] + 1, low[0] : high[0] + 1], inside)[0])


def grown(corners: NDArray[np.float32], ratio: float) -> NDArray[np.float64]:
    """Return points (n, 2) on the outline of a quadrilateral (4, 2) that was moved outwards, with round corners.

    The distance is ``area * ratio / perimeter`` (DB, arXiv 1911.08947, 3.4). What a convex outline becomes when it is
    moved by a distance is the hull of the circles of that radius around its corners.
    """
    x, y = corners.astype(np.float64).T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    perimeter = np.hypot(x - np.roll(x, -1), y - np.roll(y, -1)).sum()
    circles = corners[:, None, :] + area * ratio / perimeter * _CIRCLE
    outline: NDArray[np.float64] = circles.reshape(-1, 2)
    return outline


def cut_polygon(frame: NDArray[np.uint8], polygon: Sequence[tuple[float, float]], pad: float) -> NDArray[np.uint8]:
    """Return what ``frame`` shows inside four corners (clockwise from the top left), upright; at least a pixel.

    Text that runs upwards is turned to run to the right. As PaddleOCR's get_rotate_crop_image.

    Args:
        frame: (H, W) or (H, W, C), uint8.
        polygon: four x, y in its pixels.
        pad: fraction of width and height to add on each side.
    """
    corners = _padded(np.array(polygon, np.float32), pad)
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    width, height = max(1, int(max(sides[0], sides[2]))), max(1, int(max(sides[1], sides[3])))
    upright = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    turn = cv2.getPerspectiveTransform(corners, upright)
    crop = cv2.warpPerspective(frame, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if height / width >= TALL:
        crop = np.rot90(crop)
    return np.ascontiguousarray(crop, np.uint8)


def cut_box(frame: NDArray[np.uint8], box: tuple[float, float, float, float], pad: float) -> NDArray[np.uint8]:
    """Return what ``frame`` shows inside a box x, y, w, h in its pixels, at least a pixel; ``pad`` as `cut_polygon`."""
    x, y, w, h = box
    rows, columns = frame.shape[:2]
    left, top = min(columns - 1, max(0, math.floor(x - pad * w))), min(rows - 1, max(0, math.floor(y - pad * h)))
    right, bottom = max(left + 1, math.ceil(x + w + pad * w)), max(top + 1, math.ceil(y + h + pad * h))
    return np.ascontiguousarray(frame[top:bottom, left:right])


def shared_part(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the intersection over union, to about 0.5 %, of two polygons (n, 2) of any form.

    Both are drawn into a square that their common box fills: stretching does not change the ratio of areas.
    """
    if np.array_equal(first, second):
        return 1.0
    both = np.concatenate((first, second))
    low, side = both.min(axis=0), np.maximum(np.ptp(both, axis=0), np.finfo(np.float32).eps)
    drawn = []
    for points in (first, second):
        canvas = np.zeros((_CANVAS, _CANVAS), np.uint8)
        cv2.fillPoly(canvas, [np.rint((points - low) / side * (_CANVAS - 1)).astype(np.int32)], (1,))
        drawn.append(canvas.astype(np.bool_))
    return float((drawn[0] & drawn[1]).sum() / (drawn[0] | drawn[1]).sum())


def _padded(corners: NDArray[np.float32], pad: float) -> NDArray[np.float32]:
    centre = corners.mean(axis=0)
    moved: NDArray[np.float32] = centre + (corners - centre) * np.float32(1 + 2 * pad)
    return moved
