"""Geometry of turned boxes: corners, how far two are the same, suppression. Pure numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_BLOCK: Final = 128  # boxes compared with all better ones at once
_EPS: Final = 1e-7
_DISTANCE_MAX: Final = 100.0
_NEAR: Final = 1.0  # square pixels: the constants matter for boxes of less than that


def corners_of(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n, 4, 2) corners of (n, 5) centre x y, width, height, angle in radians."""
    centre, sides, angle = boxes[:, :2], boxes[:, 2:4] / 2, boxes[:, 4]
    along = np.stack((np.cos(angle), np.sin(angle)), axis=1) * sides[:, :1]
    across = np.stack((-np.sin(angle), np.cos(angle)), axis=1) * sides[:, 1:]
    corners: NDArray[np.float32] = np.stack(
        (centre + along + across, centre + along - across, centre - along - across, centre - along + across), axis=1
    )
    return corners


def prob_iou(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (...) overlaps 0..1 of (..., 5) and (..., 5) turned boxes whose leading axes go together.

    Each box is taken for a Gaussian with the variances ``w² / 12`` and ``h² / 12``, turned by the angle. The overlap is
    1 minus the Hellinger distance of the two, worked out from their Bhattacharyya distance (ProbIoU, arXiv 2106.06072),
    with the small constants that Ultralytics adds: its models are trained and measured with this, not with areas.
    """
    return _overlap(_moments(first), _moments(second))


def _overlap(first: Sequence[NDArray[np.float32]], second: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return `prob_iou` of boxes of which the `_moments` are known."""
    x1, y1, a1, b1, c1 = first
    x2, y2, a2, b2, c2 = second
    dx, dy = x1 - x2, y1 - y2
    a, b, c = a1 + a2, b1 + b2, c1 + c2
    determinant = np.maximum(a * b - c * c, 0)  # rounding makes that of a thin box negative
    distance = (a * dy * dy + b * dx * dx) / (determinant + _EPS) / 4 - c * dx * dy / (determinant + _EPS) / 2
    own = np.maximum(a1 * b1 - c1 * c1, 0) * np.maximum(a2 * b2 - c2 * c2, 0)
    distance += np.log(determinant / (4 * np.sqrt(own) + _EPS) + _EPS) / 2
    distance = np.clip(distance, _EPS, _DISTANCE_MAX)
    overlap: NDArray[np.float32] = 1 - np.sqrt(1 - np.exp(-distance) + _EPS)
    return overlap


def suppress_rotated(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.intp],
    *,
    iou: float,
    limit: int,
) -> NDArray[np.intp]:
    """Return the positions that are kept, best first: those that no better box of their class overlaps.

    A box that was suppressed itself suppresses others all the same (Fast NMS, arXiv 1904.02689 section 4.2), as in
    Ultralytics. Boxes without area are dropped. ``iou`` = 1 keeps all others.

    Args:
        boxes: (n, 5) centre x y, width, height, angle in radians.
        scores: (n,).
        classes: (n,).
        iou: a box goes when `prob_iou` with a better one of its class is more than this.
        limit: most boxes to keep.
    """
    solid = np.flatnonzero((boxes[:, 2] > 0) & (boxes[:, 3] > 0))
    order = solid[np.argsort(-scores[solid], kind="stable")]
    if iou >= 1:
        return order[:limit]
    is_double = np.zeros(order.size, bool)
    for number in np.unique(classes[order]):
        same = np.flatnonzero(classes[order] == number)
        ranked = boxes[order[same]]
        moments = _moments(ranked)
        for start in range(0, same.size, _BLOCK):
            end = min(start + _BLOCK, same.size)
            better, worse = np.nonzero(_may_overlap(ranked[:end], ranked[start:end], iou))
            worse += start
            pairs = better < worse
            better, worse = better[pairs], worse[pairs]
            overlaps = _overlap([one[better] for one in moments], [one[worse] for one in moments])
            is_double[same[worse[overlaps > iou]]] = True
    return order[~is_double][:limit]


def _may_overlap(first: NDArray[np.float32], second: NDArray[np.float32], iou: float) -> NDArray[np.bool_]:
    """Return (n, m), false for pairs of (n, 5) and (m, 5) boxes that `prob_iou` cannot put above ``iou``.

    Their Bhattacharyya distance is at least ``d² / 8`` over the mean of their largest variances, for centres d apart.
    """
    reach = -np.log(max(1 - (1 - iou) ** 2, _EPS)) * 1.01 + _EPS  # a little more, for the small constants
    longest = (first[:, 2:4].max(axis=1) ** 2, second[:, 2:4].max(axis=1) ** 2)
    dx = first[:, 0, None] - second[:, 0]
    dy = first[:, 1, None] - second[:, 1]
    near: NDArray[np.bool_] = dx * dx + dy * dy <= (longest[0][:, None] + longest[1]) * np.float32(reach / 3) + _NEAR
    return near


def _moments(boxes: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return the centres x, y and the three parts a, b, c of the matrices [[a, c], [c, b]] of (..., 5) boxes."""
    along, across = boxes[..., 2] ** 2 / 12, boxes[..., 3] ** 2 / 12
    cosine, sine = np.cos(boxes[..., 4]), np.sin(boxes[..., 4])
    a = along * cosine**2 + across * sine**2
    b = along * sine**2 + across * cosine**2
    c = ((along - across) * cosine * sine).astype(np.float32, copy=False)
    return boxes[..., 0], boxes[..., 1], a, b, c
