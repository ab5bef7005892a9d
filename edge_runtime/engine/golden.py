"""Holds the answers of this box against the golden ones of a package: pictures that a trusted run judged before.

Only fields that are expected are compared; masks (``polygon``, ``rle``) through the box around them, ``id`` through
the label.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from edge_runtime.core.errors import DataError
from edge_runtime.core.golden import (
    ANSWERS_LIMIT_BYTES,
    ANSWERS_NAME,
    FOLDER,
    REMAKE,
    Fields,
    GoldenFrame,
    parse_golden,
)
from edge_runtime.system.files import read_limited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.core.acceptance import Tolerances

FILE_LIMIT_BYTES: Final = 32 << 20
PIXELS_LIMIT: Final = 40_000_000
_BOX_NUMBERS = 4

Box = tuple[float, float, float, float]


@dataclass(slots=True)
class Comparison:
    """How far answers are from golden ones, over as many frames as were compared.

    Attributes:
        problems: what is not as it should be, a sentence each.
        score: largest difference of a score; ``None`` while nothing was compared, like the others.
        iou: least IoU of a box and the one that it should be.
        cosine: least cosine between the scores of a frame's labels, of models that find no places.
    """

    problems: list[str] = field(default_factory=list)
    score: float | None = None
    iou: float | None = None
    cosine: float | None = None


def read_golden(root: Path) -> tuple[GoldenFrame, ...]:
    """Return the golden frames of the package at ``root``; none when it has none.

    Raises:
        DataError: see `core.golden.parse_golden`.
    """
    try:
        raw = read_limited(root / FOLDER / ANSWERS_NAME, ANSWERS_LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return parse_golden(raw, f"{root.name}/{FOLDER}/{ANSWERS_NAME}")


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return a picture as (H, W, 3), uint8, BGR.

    Raises:
        DataError: code ``golden.unreadable``.
    """
    try:
        raw = read_limited(path, FILE_LIMIT_BYTES)
    except FileNotFoundError as error:
        raise DataError("golden.unreadable", f"{path.name}: no such file", help=REMAKE) from error
    try:
        picture = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR) if raw else None
    except cv2.error:  # more pixels than OpenCV is allowed, for example
        picture = None
    if picture is None or picture.shape[0] * picture.shape[1] > PIXELS_LIMIT:
        raise DataError("golden.unreadable", f"{path.name}: not a picture that can be decoded", help=REMAKE)
    return picture.astype(np.uint8, copy=False)


def compare(
    frame: GoldenFrame, found: Sequence[Fields], tolerances: Tolerances, floor: float, into: Comparison
) -> None:
    """Hold ``found`` against ``frame`` and add what is wrong to ``into``.

    Args:
        frame: the trusted answer.
        found: predictions as `engine.protocol.prediction_fields` writes them, best first.
        tolerances: how far they may be apart.
        floor: the score below which nothing is reported: what is nearer to it than the tolerance may come and go.
        into: where differences and problems are gathered.
    """
    has_places = any("box" in one for one in (*frame.predictions, *found))
    problems = (
        _compare_places(frame.predictions, found, tolerances, floor, into)
        if has_places
        else _compare_labels(frame.predictions, found, tolerances, into)
    )
    into.problems += [f"{frame.file}: {problem}" for problem in problems]


def _compare_places(
    expected: Sequence[Fields], found: Sequence[Fields], tolerances: Tolerances, floor: float, into: Comparison
) -> list[str]:
    doubtful = floor + tolerances.score
    problems, left = [], list(found)
    for one in expected:
        alike = [(_overlap(one, other), -at) for at, other in enumerate(left) if other.get("label") == one["label"]]
        overlap, place = max(alike, default=(0.0, None))
        if place is not None and overlap >= tolerances.iou:
            into.iou = _least(into.iou, overlap)
            problems += _compare_fields(one, left.pop(-place), tolerances, into)
        elif _score(one) >= doubtful:
            into.iou = _least(into.iou, overlap)
            nearest = f", the nearest overlaps by {overlap:.3f} and {tolerances.iou:g} is asked for" if overlap else ""
            problems.append(f"{_words(one)} was not found{nearest}")
    problems += [f"{_words(one)} was found and should not be" for one in left if _score(one) >= doubtful]
    return problems


def _compare_labels(
    expected: Sequence[Fields], found: Sequence[Fields], tolerances: Tolerances, into: Comparison
) -> list[str]:
    if not expected or not found:
        return [] if not expected and not found else [f"{len(expected)} labels expected, {len(found)} found"]
    wanted, seen = _by_label(expected), _by_label(found)
    cosine = _cosine(wanted, seen)
    into.cosine = _least(into.cosine, cosine)
    problems = []
    if cosine < tolerances.cosine:
        problems.append(f"the scores have a cosine of {cosine:.4f}, at least {tolerances.cosine:g} is asked for")
    first, top = expected[0], found[0]
    tied = wanted.get(str(top["label"]), -1.0) >= _score(first) - tolerances.score  # either may come first
    if top["label"] != first["label"] and not tied:
        return [*problems, f"{_words(first)} was expected, {_words(top)} was found"]
    same = next((one for one in found if one["label"] == first["label"]), top)
    return problems + _compare_fields(first, same, tolerances, into)


def _compare_fields(expected: Fields, found: Fields, tolerances: Tolerances, into: Comparison) -> list[str]:
    problems = []
    difference = abs(_score(expected) - _score(found))
    into.score = max(into.score or 0.0, difference)
    if difference > tolerances.score:
        text = f"{_words(expected)} has a score of {_score(found):.4f} here"
        problems.append(f"{text}; {tolerances.score:g} more or less is allowed")
    if "text" in expected and expected["text"] != found.get("text"):
        problems.append(f"{_words(expected)} reads {found.get('text')!r} here, {expected['text']!r} was expected")
    value, other = expected.get("value"), found.get("value")
    if isinstance(value, int | float):
        near = isinstance(other, int | float) and abs(value - other) <= tolerances.score * max(1.0, abs(value))
        problems += [] if near else [f"{_words(expected)} has the value {other} here, {value:g} was expected"]
    if "keypoints" in expected:
        reach = (1 - tolerances.iou) * max(_box(expected) or (0.0, 0.0, 100.0, 100.0))
        apart = _furthest(expected["keypoints"], found.get("keypoints"))
        if apart > reach:
            problems.append(f"{_words(expected)} has keypoints {apart:.1f} px off, {reach:.1f} are allowed")
    return problems


def _least(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)


def _by_label(predictions: Sequence[Fields]) -> dict[str, float]:
    return {str(one["label"]): _score(one) for one in predictions}


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    product = sum(one[label] * other.get(label, 0.0) for label in one)
    sizes = math.hypot(*one.values()) * math.hypot(*other.values())
    return product / sizes if sizes else 1.0


def _furthest(one: object, other: object) -> float:
    """Return the largest difference of two nested lists of numbers; infinite when they are not built alike."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return max(map(_furthest, one, other), default=0.0)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other)
    return 0.0 if one is other is None else math.inf


def _score(prediction: Fields) -> float:
    score = prediction.get("score")
    return float(score) if isinstance(score, int | float) else 0.0


def _box(prediction: Mapping[str, object]) -> Box | None:
    box = prediction.get("box")
    if not isinstance(box, list) or len(box) != _BOX_NUMBERS or not all(isinstance(v, int | float) for v in box):
        return None
    return (float(box[0]), float(box[1]), float(box[2]), float(box[3]))


def _overlap(one: Fields, other: Fields) -> float:
    """Return the intersection over union of two boxes, 0 without."""
    a, b = _box(one), _box(other)
    if a is None or b is None:
        return 0.0
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else float(a == b)


def _words(prediction: Fields) -> str:
    box = _box(prediction)
    place = "" if box is None else f" at {box[0]:.0f},{box[1]:.0f}"
    return f"{prediction.get('label')} {_score(prediction):.4f}{place}"
