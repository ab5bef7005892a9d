"""From raw output tensors to boxes in the frame: pure numpy, the same for every backend and every head.

What a model answers is not trusted: numbers that are not finite, scores outside 0..1 and classes without a label are
errors (`InvalidOutputError`), never predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CANDIDATE_LIMIT: Final = 2048
"""Boxes that enter the suppression, best first; more is noise and would cost tens of milliseconds."""
_BLOCK: Final = 64  # boxes decided at once by the suppression
REACH_MAX_PX: Final = 1e6
"""No corner of a box lies farther away than this."""
SCORE_SLACK: Final = 0.01
"""How far a quantized score may lie outside 0..1 before it is no score at all."""


class InvalidOutputError(DataError):
    """The model's answer makes no sense; the frame has no verdict, the model stays loaded."""

    def __init__(self, message: str, *, help: str | None = None) -> None:  # noqa: A002 - the field's word
        super().__init__("model.invalid_output", message, help=help)


@dataclass(frozen=True, slots=True)
class Transform:
    """How frame pixels went to canvas pixels: ``canvas = frame * scale + offset`` on each axis.

    Attributes:
        width: of the frame, pixels.
        height: of the frame, pixels.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes that are good enough to be looked at.

    Attributes:
        index: (n,) positions in the model's list of boxes.
        classes: (n,) label indices.
        scores: (n,) 0..1, float32.
    """

    index: NDArray[np.intp]
    classes: NDArray[np.intp]
    scores: NDArray[np.float32]


def survivors(
    scores: NDArray[np.float32], floors: NDArray[np.float32], *, class_axis: int, best: NDArray[np.float32]
) -> Candidates:
    """Return the boxes of which a class reaches its floor, best first, at most `CANDIDATE_LIMIT`.

    A box is of the best class among those that do: with a floor of 0.9 for scratches and 0.3 for dents, one that is
    0.5 scratch and 0.4 dent is a dent.

    Args:
        scores: (classes, n) or (n, classes), as ``class_axis`` says; 0..1.
        floors: (classes,) lowest score to keep.
        class_axis: 0 or 1.
        best: (n,) buffer of the caller for the best score of each box.

    Raises:
        InvalidOutputError: a box has no finite score or one outside 0..1.
    """
    np.max(scores, axis=class_axis, out=best)
    # max propagates NaN, so looking at the best of each box sees every one of them
    if best.size and not (best.min() >= -SCORE_SLACK and best.max() <= 1 + SCORE_SLACK):
        _refuse_scores(best)
    index = np.flatnonzero(best >= floors.min())
    chosen = scores[:, index] if class_axis == 0 else scores[index].T
    if floors.min() != floors.max():
        chosen = np.where(chosen >= floors[:, None], chosen, -1)
    classes = np.argmax(chosen, axis=0) if index.size else np.zeros(0, np.intp)
    found = chosen[classes, np.arange(index.size)]
    keep = found >= floors[classes]
    index, classes, found = index[keep], classes[keep], found[keep]
    order = np.argsort(-found, kind="stable")[:CANDIDATE_LIMIT]
    return Candidates(index[order], classes[order], np.clip(found[order], 0, 1))


def _refuse_scores(best: NDArray[np.float32]) -> None:
    if not np.isfinite(best).all():
        message = f"{int((~np.isfinite(best)).sum())} of {best.size} scores are not finite numbers"
        raise InvalidOutputError(message, help="the weights are damaged or overflow in this precision")
    message = f"scores from {best.min():.3g} to {best.max():.3g}, expected 0 to 1"
    raise InvalidOutputError(message, help="the head needs a sigmoid: export it with one")


def to_corners(boxes: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return (n, 4) x1 y1 x2 y2 from (n, 4) boxes written as ``kind``: `cxcywh` or `xyxy`."""
    if kind == "xyxy":
        return boxes
    half = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)


def check_boxes(boxes: NDArray[np.float32]) -> None:
    """Refuse boxes that are no numbers, or lie beyond all measure: clipped to the frame they would fill it.

    Raises:
        InvalidOutputError: with their count.
    """
    usable = (np.abs(boxes) <= REACH_MAX_PX).all(axis=1)
    if not usable.all():
        message = f"{int((~usable).sum())} of {len(boxes)} boxes above the threshold are not finite numbers "
        message += f"up to {REACH_MAX_PX:g} pixels"
        raise InvalidOutputError(message, help="the weights are damaged or overflow in this precision")


def suppress(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.intp],
    *,
    iou: float,
    limit: int,
) -> NDArray[np.intp]:
    """Return the positions that a greedy per-class non-maximum suppression keeps, best first.

    Boxes without area are dropped: implementations disagree about their overlap. ``iou`` = 1 keeps all others.

    Args:
        boxes: (n, 4) x1 y1 x2 y2.
        scores: (n,).
        classes: (n,).
        iou: a box goes when it overlaps a better one of its class by more than this.
        limit: most boxes to keep.
    """
    solid = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    order = solid[np.argsort(-scores[solid], kind="stable")]
    if iou >= 1:
        return order[:limit]
    table = _Rows(np.ascontiguousarray(boxes[order].T), classes[order])
    left, kept = np.arange(order.size), np.zeros(0, np.intp)
    while left.size and kept.size < limit:
        # a block is decided at once, then clears what is left: numpy's cost is per call, not per box
        block, left = left[:_BLOCK], left[_BLOCK:]
        alive = np.ones(block.size, bool)
        for position, others in enumerate(~table.rivals(block, block, iou)):
            if alive[position]:
                alive[position + 1 :] &= others[position + 1 :]
        winners = block[alive]
        if left.size:
            left = left[~table.rivals(winners, left, iou).any(axis=0)]
        kept = np.concatenate((kept, winners))
    return order[kept[:limit]]


class _Rows:
    """Boxes by coordinate, each in a row of its own: what is done to all of them runs over memory in order."""

    def __init__(self, corners: NDArray[np.float32], classes: NDArray[np.intp]) -> None:
        """Take (4, n) x1 y1 x2 y2 and (n,) classes."""
        self._x1, self._y1, self._x2, self._y2 = corners
        self._area = (self._x2 - self._x1) * (self._y2 - self._y1)
        self._classes = classes

    def rivals(self, first: NDArray[np.intp], second: NDArray[np.intp], iou: float) -> NDArray[np.bool_]:
        """Tell for each pair (first, second) whether both are of one class and overlap by more than ``iou``."""
        both = self._shared(self._x1, self._x2, first, second)
        both *= self._shared(self._y1, self._y2, first, second)
        least = self._area[first, None] + self._area[second]
        least -= both
        least *= iou
        pairs: NDArray[np.bool_] = both > least
        pairs &= self._classes[first, None] == self._classes[second]
        return pairs

    @staticmethod
    def _shared(
        low: NDArray[np.float32], high: NDArray[np.float32], first: NDArray[np.intp], second: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return how far each pair overlaps along one axis, 0 when it does not."""
        length: NDArray[np.float32] = np.minimum(high[first, None], high[second])
        length -= np.maximum(low[first, None], low[second])
        return np.maximum(length, 0, out=length)


def to_frame(boxes: NDArray[np.float32], transform: Transform) -> NDArray[np.float64]:
    """Return (n, 4) x y w h in frame pixels from (n, 4) x1 y1 x2 y2 in canvas pixels, clipped to the frame.

    A box that lies wholly outside has width or height 0 afterwards.
    """
    scale = np.array((transform.scale_x, transform.scale_y) * 2, np.float64)
    offset = np.array((transform.offset_x, transform.offset_y) * 2, np.float64)
    limits = np.array((transform.width, transform.height) * 2, np.float64)
    corners = np.clip((boxes - offset) / scale, 0, limits)
    corners[:, 2:] -= corners[:, :2]
    return corners


def to_frame_points(points: NDArray[np.float32], transform: Transform) -> NDArray[np.float64]:
    """Return (..., 2) points in frame pixels from canvas pixels; not clipped: they may lie outside of the frame."""
    offset = np.array((transform.offset_x, transform.offset_y), np.float64)
    moved: NDArray[np.float64] = (points - offset) / np.array((transform.scale_x, transform.scale_y), np.float64)
    return moved


def softmax(logits: NDArray[np.float32], axis: int = -1) -> NDArray[np.float32]:
    """Return the softmax along ``axis``, safe for large numbers."""
    shifted = np.exp(logits - logits.max(axis=axis, keepdims=True))
    total: NDArray[np.float32] = shifted / shifted.sum(axis=axis, keepdims=True)
    return total


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / (1 + exp(-x)), safe for large numbers."""
    half: NDArray[np.float32] = 0.5 * (1 + np.tanh(0.5 * logits))
    return half
