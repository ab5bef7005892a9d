"""What the home framework of a model saw, written beside it: `expected.json`, and how thresholds are chosen.

    {"framework", "version", "settings", "manifest", "images": [{"file", "width", "height", "predictions": [...]}]}

A prediction has ``label``, ``score`` and what its task has: ``box`` x, y, w, h in pixels of the picture, ``corners``
of a turned box, ``keypoints`` [[x, y, score]], ``rle`` (COCO, compressed) with ``area``, ``polygon``, ``text``,
``value``. ``manifest`` is what our `edge-model.json` must say for the same settings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCORE_GAP = 0.004
"""No score of the framework lies nearer to the chosen threshold, so a rounding difference cannot add or lose a box."""
FEWEST, MOST = 5, 50
"""Predictions a picture should have; a threshold is chosen for about `WANTED`."""
WANTED = 12
IOUS = (0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
IOU_STEP = 0.005

Found = list[dict[str, Any]]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on disk: BGR, (height, width, 3), uint8."""

    file: str
    pixels: np.ndarray


def box_of(corners: Sequence[float]) -> list[float]:
    """Return x, y, w, h of x1, y1, x2, y2."""
    x1, y1, x2, y2 = map(float, corners)
    return [x1, y1, x2 - x1, y2 - y1]


def clipped(corners: Sequence[float], picture: Picture) -> list[float] | None:
    """Return x, y, w, h of the part of x1, y1, x2, y2 that lies in the picture, ``None`` when nothing does.

    For frameworks that let boxes hang out; our predictions end where the picture ends.
    """
    height, width = picture.pixels.shape[:2]
    x1, x2 = (min(max(float(x), 0.0), width) for x in corners[::2])
    y1, y2 = (min(max(float(y), 0.0), height) for y in corners[1::2])
    return [x1, y1, x2 - x1, y2 - y1] if x2 > x1 and y2 > y1 else None


def rle_of(mask: np.ndarray) -> dict[str, Any]:
    """Return the COCO run lengths of a (H, W) mask, compressed, as text."""
    from pycocotools import mask as coco  # noqa: PLC0415 - only some models have masks

    coded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(coded["size"]), "counts": coded["counts"].decode()}


def choose_score(rows: Sequence[Found], *, wanted: int = WANTED) -> float:
    """Return a threshold in the widest gap between scores that leaves each picture `FEWEST` to `MOST` predictions.

    Args:
        rows: predictions about each picture at a low threshold, any order.
        wanted: how many there should be a picture, about.
    """
    scores = sorted((one["score"] for found in rows for one in found), reverse=True)
    best: tuple[float, float] | None = None
    for high, low in pairwise(scores):
        middle = round((high + low) / 2, 4)
        counts = [sum(one["score"] > middle for one in found) for found in rows]
        if high - low < SCORE_GAP or not all(FEWEST <= count <= MOST for count in counts):
            continue
        worth = min(high - low, 5 * SCORE_GAP) - SCORE_GAP * abs(sum(counts) / len(counts) - wanted) / wanted
        if best is None or worth > best[0]:
            best = (worth, middle)
    if best is None:
        counts = [len(found) for found in rows]
        message = f"no threshold leaves {FEWEST}..{MOST} predictions a picture; at the lowest there are {counts}"
        raise ValueError(message)
    return best[1]


def choose(predict: Callable[[float, float], Sequence[Found]], lowest: float) -> tuple[float, float]:
    """Return a score and an IoU at which a little more or less of either changes nothing.

    Args:
        predict: what is found in each picture at a score and an IoU of the suppression.
        lowest: score to begin with.
    """

    def at(score: float, iou: float) -> list[list[tuple[str, float]]]:
        return [sorted((one["label"], one["score"]) for one in found) for found in predict(score, iou)]

    for iou in IOUS:
        score = choose_score(predict(lowest, iou))
        if at(score, iou - IOU_STEP) == at(score, iou) == at(score, iou + IOU_STEP):
            return score, iou
    message = "every IoU has a pair of boxes at its edge: take another seed"
    raise ValueError(message)


def write(
    folder: Path,
    framework: str,
    version: str,
    settings: dict[str, Any],
    manifest: dict[str, Any],
    answers: Sequence[tuple[Picture, Found]],
    *,
    tolerance: dict[str, float] | None = None,
    tells_itself: bool = False,
) -> None:
    """Write `expected.json` into ``folder``.

    Args:
        folder: of the model.
        framework: its name.
        version: likewise.
        settings: what the framework was asked for.
        manifest: what our `edge-model.json` must say for the same.
        answers: what it saw in each picture.
        tolerance: where the usual one of `tests/parity` cannot hold.
        tells_itself: what lies beside the model, or in it, is enough to run it without a manifest.
    """
    images = [
        {
            "file": str(Path(picture.file).resolve()),
            "width": picture.pixels.shape[1],
            "height": picture.pixels.shape[0],
            "predictions": found,
        }
        for picture, found in answers
    ]
    document = {
        "framework": framework,
        "version": version,
        "settings": settings,
        "manifest": manifest,
        "tolerance": tolerance or {},
        "tells_itself": tells_itself,
        "images": images,
    }
    (folder / "expected.json").write_text(json.dumps(document, indent=1))
