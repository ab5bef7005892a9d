"""How far one field of a prediction is from the one that it should be: a function for each kind of field.

Fields are those of `engine.protocol.prediction_fields`, here or out of a file whose form `core.golden` has checked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import REMAKE
from edge_runtime.engine.quads import shared_part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.core.golden import Fields

VISIBLE: Final = 0.5
"""Keypoints that the trusted run itself doubts (a lower score) lie anywhere; their places are not compared."""
_DIGITS_MAX: Final = 7
_BOX_NUMBERS = 4

Box = tuple[float, float, float, float]


def box_of(prediction: Fields) -> Box | None:
    """Return x, y, w, h in frame pixels, ``None`` without."""
    box = prediction.get("box")
    if not isinstance(box, list | tuple) or len(box) != _BOX_NUMBERS:
        return None
    return (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def place_overlap(expected: Fields, found: Fields) -> float:
    """Return the intersection over union of two places, 0..1: of their boxes and of the shape that is expected.

    The shape is the mask if there is one, else the polygon; the smaller of the two overlaps counts, so that an
    oriented box that is turned differently inside the same upright box is not alike.

    Raises:
        DataError: code ``golden.invalid``, the expected mask cannot be read.
    """
    a, b = box_of(expected), box_of(found)
    if a is None or b is None:
        return 0.0
    overlap = box_overlap(a, b)
    if not overlap:
        return 0.0
    if "rle" in expected:
        return min(overlap, mask_overlap(expected["rle"], found.get("rle")))
    if "polygon" in expected:
        return min(overlap, polygon_overlap(expected["polygon"], found.get("polygon")))
    return overlap


def box_overlap(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes; of boxes without area 1 if they are the same, else 0."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else float(a == b)


def polygon_overlap(one: Any, other: Any) -> float:  # noqa: ANN401 - a list out of JSON or a tuple of ours
    """Return the intersection over union of two polygons, to about 0.5 %; 0 when one is missing."""
    if one is None or other is None:
        return 0.0
    return shared_part(np.asarray(one, np.float64), np.asarray(other, np.float64))


def mask_overlap(one: object, other: object) -> float:
    """Return the intersection over union of two masks, compressed COCO counts; 0 when one is missing.

    Raises:
        DataError: code ``golden.invalid``, they cannot be read.
    """
    if not isinstance(one, str) or not isinstance(other, str):
        return 0.0
    first, second = _ends(one), _ends(other)
    if first[-1] != second[-1]:  # of pictures of another size
        return 0.0
    ends = np.union1d(first, second)
    lengths, starts = np.diff(ends, prepend=0), np.concatenate(([0], ends[:-1]))
    a, b = (np.searchsorted(some, starts, side="right") % 2 == 1 for some in (first, second))
    union = int(lengths[a | b].sum())
    return float(int(lengths[a & b].sum()) / union) if union else 1.0


def keypoint_distance(expected: Any, found: Any, box: Box | None) -> float:  # noqa: ANN401 - as polygon_overlap
    """Return how far the furthest visible keypoint is off, as a part of the longer side of ``box``.

    Infinite when there are not as many. Without a box the longer side of the one around the expected points counts.
    """
    first, second = _points(expected), _points(found)
    if first.shape != second.shape:
        return math.inf
    side = max(box[2:]) if box is not None else float(np.ptp(first[:, :2], axis=0).max(initial=0))
    visible = first[:, 2] >= VISIBLE
    apart = np.linalg.norm(first[visible, :2] - second[visible, :2], axis=1).max(initial=0)
    return float(apart / max(side, 1.0))


def keypoint_scores(expected: Any, found: Any) -> float:  # noqa: ANN401 - as polygon_overlap
    """Return the largest difference of the scores of keypoints, 1 when there are not as many."""
    first, second = _points(expected), _points(found)
    return float(np.abs(first[:, 2] - second[:, 2]).max(initial=0)) if first.shape == second.shape else 1.0


def value_distance(expected: float, found: object) -> float:
    """Return the difference of two values as a part of the expected one; infinite when there is none."""
    if not isinstance(found, int | float) or isinstance(found, bool):
        return math.inf
    apart = abs(expected - found)
    return apart / abs(expected) if expected else (math.inf if apart else 0.0)


def cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the cosine between numbers by label; a label that one of them lacks counts 0 there."""
    product = sum(one[label] * other.get(label, 0.0) for label in one)
    sizes = math.hypot(*one.values()) * math.hypot(*other.values())
    if sizes:
        return product / sizes
    return float(not any(one.values()) and not any(other.values()))


def _points(keypoints: Any) -> NDArray[np.float64]:  # noqa: ANN401 - as polygon_overlap
    """Return (n, 3) x, y, score; an empty array for none."""
    rows: Sequence[Any] = keypoints if isinstance(keypoints, list | tuple) else ()
    return np.asarray(rows, np.float64).reshape(-1, 3)


def _ends(counts: str) -> NDArray[np.int64]:
    """Return where runs end, zeros first (pycocotools `rleFrString`): the reverse of `engine.masks`.

    Raises:
        DataError: code ``golden.invalid``.
    """
    runs: list[int] = []
    value = digits = 0
    for character in counts:
        digit = ord(character) - 48
        if not 0 <= digit < 1 << 6 or digits == _DIGITS_MAX:
            raise _damaged(counts)
        value |= (digit & 31) << 5 * digits
        digits += 1
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << 5 * digits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))  # noqa: PLR2004 - differences begin with the fourth
        value = digits = 0
    if digits or not runs or min(runs) < 0:
        raise _damaged(counts)
    return np.cumsum(np.asarray(runs, np.int64))


def _damaged(counts: str) -> DataError:
    message = f"rle: expected compressed run lengths, found {counts[:40]!r}"
    return DataError("golden.invalid", message, help=REMAKE)
