"""What differs between our predictions about a picture and those of the framework that a model comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from tests.integration.matching import overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.core.result import Prediction

Expected = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far ours may be from theirs.

    Attributes:
        score: absolute difference of scores and of values.
        box: least IoU of two boxes, turned or not.
        mask: least IoU of two masks.
        point: pixels of the picture between two keypoints, for each 1000 pixels of its longer side.
    """

    score: float = 1e-3
    box: float = 0.99
    mask: float = 0.98
    point: float = 0.5


def differences(
    found: Sequence[Prediction], expected: Sequence[Expected], size: tuple[int, int], tolerance: Tolerance
) -> list[str]:
    """Say what is in one list only, and what differs in those that belong together: same label, most overlap.

    Alternatives of ours may be what they expect, but need not be expected.

    Args:
        found: ours.
        expected: theirs, see `tools/parity/record.py`.
        size: height, width of the picture.
        tolerance: see there.
    """
    left = list(found)
    problems = []
    for wanted in sorted(expected, key=lambda one: -one["score"]):
        same = [one for one in left if one.label == wanted["label"]]
        partner = max(same, key=lambda one: (_overlap(one, wanted), -abs(one.score - wanted["score"])), default=None)
        if partner is None or _overlap(partner, wanted) < tolerance.box:
            nearest = f", the nearest overlaps {_overlap(partner, wanted):.4f}" if partner else ""
            problems.append(f"missing {_brief(wanted)}{nearest}")
            continue
        left.remove(partner)
        problems += [f"{_brief(wanted)}: {text}" for text in _pair(partner, wanted, size, tolerance)]
    left = [one for one in left if not one.alternative]
    return problems + [f"unexpected {one.label} {one.score:.4f} {one.box}" for one in left]


def _brief(wanted: Expected) -> str:
    box = [round(value, 1) for value in wanted["box"]] if "box" in wanted else ""
    return f"{wanted['label']} {wanted['score']:.4f} {box}"


def _overlap(ours: Prediction, wanted: Expected) -> float:
    """IoU of the corners of turned boxes, else of the boxes; 1 when neither has one, 0 when only one has."""
    if "corners" in wanted:
        if ours.polygon is None or len(ours.polygon) != 4:
            return 0.0
        return quadrangle_iou(np.array(ours.polygon), np.array(wanted["corners"]))
    if "box" not in wanted or ours.box is None:
        return float("box" not in wanted and ours.box is None)
    return overlap(ours.box, wanted["box"])


def quadrangle_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two convex shapes of (n, 2) corners, in any order of turning."""
    first, second = (cv2.convexHull(one.astype(np.float32)).reshape(-1, 2) for one in (first, second))
    both, _shape = cv2.intersectConvexConvex(first, second)
    return float(both / (cv2.contourArea(first) + cv2.contourArea(second) - both))


def _pair(ours: Prediction, wanted: Expected, size: tuple[int, int], tolerance: Tolerance) -> list[str]:
    problems = []
    if abs(ours.score - wanted["score"]) > tolerance.score:
        problems.append(f"score {ours.score:.5f}, expected {wanted['score']:.5f}")
    if "id" in wanted and ours.id is not None and ours.id != wanted["id"]:
        problems.append(f"id {ours.id}, expected {wanted['id']}")
    if "text" in wanted and ours.text != wanted["text"]:
        problems.append(f"text {ours.text!r}, expected {wanted['text']!r}")
    if "value" in wanted and (ours.value is None or abs(ours.value - wanted["value"]) > tolerance.score):
        problems.append(f"value {ours.value}, expected {wanted['value']}")
    if "keypoints" in wanted:
        problems += _keypoints(ours, wanted["keypoints"], tolerance.point * max(size) / 1000, tolerance.score)
    if "rle" in wanted:
        problems += _mask(ours, wanted["rle"], size, tolerance.mask)
    return problems


def _keypoints(ours: Prediction, wanted: list[list[float]], pixels: float, score: float) -> list[str]:
    if ours.keypoints is None or len(ours.keypoints) != len(wanted):
        return [f"{len(ours.keypoints or ())} keypoints, expected {len(wanted)}"]
    apart = np.abs(np.array(ours.keypoints)[:, : len(wanted[0])] - np.array(wanted))
    worst = apart[:, :2].max(), apart[:, 2:].max(initial=0.0)
    return [f"keypoints {worst[0]:.3f} px and {worst[1]:.5f} apart"] if worst[0] > pixels or worst[1] > score else []


def _mask(ours: Prediction, wanted: dict[str, Any], size: tuple[int, int], least: float) -> list[str]:
    if ours.rle is None:
        return ["no mask"]
    first, second = decode_rle(ours.rle, size), decode_rle(wanted["counts"], (wanted["size"][0], wanted["size"][1]))
    both, either = int((first & second).sum()), int((first | second).sum())
    if either and both / either < least:
        return [f"masks of {int(first.sum())} and {int(second.sum())} px overlap {both / either:.4f}"]
    return []


def decode_rle(counts: str, size: tuple[int, int]) -> np.ndarray:
    """Return the (H, W) mask of a compressed COCO run-length encoding.

    Columns first, runs of 0 and 1 by turns. Each run is written in characters of 5 bits, low ones first, from 48 on;
    0x20 = more follow, 0x10 of the last = negative. From the fourth run on it is the difference to the one two before.
    Source: `rleFrString` of the COCO API, common/maskApi.c.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts.encode():
        bits = character - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size[1], size[0]).T
