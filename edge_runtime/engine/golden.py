"""Holds the answers of this box against the golden ones of a package: pictures that a trusted run judged before.

Only fields that are expected are compared, each as `engine.alike` says; ``id`` through the label. What has a box is
looked for by its place, what has none (labels of the whole picture, its text, values) by its label.
"""

from __future__ import annotations

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
from edge_runtime.engine.alike import (
    box_of,
    cosine,
    keypoint_distance,
    keypoint_scores,
    place_overlap,
    value_distance,
)
from edge_runtime.system.files import read_limited

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.core.acceptance import Tolerances
    from edge_runtime.engine.spec import ModelSpec, ThresholdSpec

FILE_LIMIT_BYTES: Final = 32 << 20
PIXELS_LIMIT: Final = 40_000_000


@dataclass(slots=True)
class Comparison:
    """How far answers are from golden ones, over as many frames as were compared.

    Attributes:
        problems: what is not as it should be, a sentence each.
        score: largest difference of a score; ``None`` while nothing was compared, like the others.
        iou: least IoU of a box, with its polygon or mask, and the one that it should be.
        cosine: least cosine between the scores (of a raw model: values) of a frame's labels, where there are no boxes.
        keypoint: furthest that a visible keypoint is off, as a part of the longer side of its box.
        value: largest difference of a value, as a part of the expected one.
    """

    problems: list[str] = field(default_factory=list)
    score: float | None = None
    iou: float | None = None
    cosine: float | None = None
    keypoint: float | None = None
    value: float | None = None


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
    frame: GoldenFrame, found: Sequence[Fields], tolerances: Tolerances, spec: ModelSpec, into: Comparison
) -> None:
    """Hold ``found`` against ``frame`` and add what is wrong to ``into``.

    Args:
        frame: the trusted answer.
        found: predictions as `engine.protocol.prediction_fields` writes them, best first.
        tolerances: how far they may be apart.
        spec: of the model; what is nearer to the score from which on it reports a label than the tolerance may come
            and go.
        into: where differences and problems are gathered.

    Raises:
        DataError: code ``golden.invalid``, an expected mask cannot be read.
    """
    (placed, bare), (placed_here, bare_here) = _by_place(frame.predictions), _by_place(found)
    problems = _compare_places(placed, placed_here, tolerances, spec.thresholds, into)
    if any("value" in one for one in bare):
        problems += _compare_values(bare, bare_here, tolerances, into, is_raw=spec.task == "raw")
    else:
        problems += _compare_labels(bare, bare_here, tolerances, spec.thresholds, into)
    into.problems += [f"{frame.file}: {problem}" for problem in problems]


def _by_place(predictions: Sequence[Fields]) -> tuple[list[Fields], list[Fields]]:
    placed = [one for one in predictions if one.get("box") is not None]
    return placed, [one for one in predictions if one.get("box") is None]


def _compare_places(
    expected: Sequence[Fields],
    found: Sequence[Fields],
    tolerances: Tolerances,
    thresholds: ThresholdSpec,
    into: Comparison,
) -> list[str]:
    problems, left = [], list(found)
    for one in expected:
        alike = [(place_overlap(one, other), -at) for at, other in enumerate(left) if other["label"] == one["label"]]
        overlap, place = max(alike, default=(0.0, None))
        if place is not None and overlap >= tolerances.iou:
            into.iou = _least(into.iou, overlap)
            problems += _compare_fields(one, left.pop(-place), tolerances, into)
        elif not _is_doubtful(one, tolerances, thresholds):
            into.iou = _least(into.iou, overlap)
            nearest = f", the nearest overlaps by {overlap:.3f} and {tolerances.iou:g} is asked for" if overlap else ""
            problems.append(f"{_words(one)} was not found{nearest}")
    return problems + _too_many(left, tolerances, thresholds)


def _compare_labels(
    expected: Sequence[Fields],
    found: Sequence[Fields],
    tolerances: Tolerances,
    thresholds: ThresholdSpec,
    into: Comparison,
) -> list[str]:
    if not expected:
        return _too_many(found, tolerances, thresholds)
    if not found:
        sure = [one for one in expected if not _is_doubtful(one, tolerances, thresholds)]
        return [f"{len(expected)} labels expected, 0 found"] if sure else []
    wanted, seen = _by_label(expected, "score"), _by_label(found, "score")
    problems = _compare_directions(wanted, seen, "scores", tolerances, into)
    first, top = expected[0], found[0]
    tied = wanted.get(str(top["label"]), -1.0) >= _score(first) - tolerances.score  # either may come first
    if top["label"] != first["label"] and not tied:
        return [*problems, f"{_words(first)} was expected, {_words(top)} was found"]
    same = next((one for one in found if one["label"] == first["label"]), top)
    return problems + _compare_fields(first, same, tolerances, into)


def _compare_values(
    expected: Sequence[Fields], found: Sequence[Fields], tolerances: Tolerances, into: Comparison, *, is_raw: bool
) -> list[str]:
    """Compare the numbers of a regression one by one, those of a raw model, many of them about 0, by their cosine."""
    wanted, seen = _by_label(expected, "value"), _by_label(found, "value")
    if wanted.keys() != seen.keys():
        return [
            f"{len(wanted)} values expected, {len(seen)} found, {len(wanted.keys() & seen.keys())} by the same name"
        ]
    if is_raw and len(wanted) > 1:
        return _compare_directions(wanted, seen, "values", tolerances, into)
    here = {one["label"]: one for one in found}
    return [problem for one in expected for problem in _compare_value(one, here[one["label"]], tolerances, into)]


def _compare_directions(
    wanted: dict[str, float], seen: dict[str, float], what: str, tolerances: Tolerances, into: Comparison
) -> list[str]:
    least = cosine(wanted, seen)
    into.cosine = _least(into.cosine, least)
    if least >= tolerances.cosine:
        return []
    return [f"the {what} have a cosine of {least:.4f}, at least {tolerances.cosine:g} is asked for"]


def _compare_fields(expected: Fields, found: Fields, tolerances: Tolerances, into: Comparison) -> list[str]:
    problems = []
    difference = abs(_score(expected) - _score(found))
    into.score = max(into.score or 0.0, difference)
    if difference > tolerances.score:
        text = f"{_words(expected)} has a score of {_score(found):.4f} here"
        problems.append(f"{text}; {tolerances.score:g} more or less is allowed")
    if "text" in expected and expected["text"] != found.get("text"):
        problems.append(f"{_words(expected)} reads {found.get('text')!r} here, {expected['text']!r} was expected")
    if "value" in expected:
        problems += _compare_value(expected, found, tolerances, into)
    if "keypoints" in expected:
        problems += _compare_keypoints(expected, found, tolerances, into)
    return problems


def _compare_value(expected: Fields, found: Fields, tolerances: Tolerances, into: Comparison) -> list[str]:
    value = _number(expected, "value")
    apart = value_distance(value, found.get("value"))
    into.value = max(into.value or 0.0, apart)
    if apart <= tolerances.value:
        return []
    text = f"{expected['label']} has the value {found.get('value')} here, {value:g} was expected"
    return [f"{text}; {tolerances.value:g} of it more or less is allowed"]


def _compare_keypoints(expected: Fields, found: Fields, tolerances: Tolerances, into: Comparison) -> list[str]:
    wanted, seen = expected["keypoints"], found.get("keypoints")
    apart, difference = keypoint_distance(wanted, seen, box_of(expected)), keypoint_scores(wanted, seen)
    into.keypoint, into.score = max(into.keypoint or 0.0, apart), max(into.score or 0.0, difference)
    problems = []
    if apart > tolerances.keypoint:
        text = f"{_words(expected)} has a keypoint that is {apart:.3f} of its box off"
        problems.append(f"{text}, {tolerances.keypoint:g} is allowed")
    if difference > tolerances.score:
        text = f"{_words(expected)} has keypoints whose scores are {difference:.4f} apart"
        problems.append(f"{text}; {tolerances.score:g} is allowed")
    return problems


def _too_many(found: Sequence[Fields], tolerances: Tolerances, thresholds: ThresholdSpec) -> list[str]:
    sure = [one for one in found if not _is_doubtful(one, tolerances, thresholds)]
    return [f"{_words(one)} was found and should not be" for one in sure]


def _is_doubtful(one: Fields, tolerances: Tolerances, thresholds: ThresholdSpec) -> bool:
    return _score(one) < thresholds.by_label.get(str(one["label"]), thresholds.score) + tolerances.score


def _least(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)


def _by_label(predictions: Sequence[Fields], key: str) -> dict[str, float]:
    return {str(one["label"]): _number(one, key) for one in predictions}


def _number(prediction: Fields, key: str) -> float:
    number = prediction.get(key)
    return float(number) if isinstance(number, int | float) else 0.0


def _score(prediction: Fields) -> float:
    return _number(prediction, "score")


def _words(prediction: Fields) -> str:
    box = box_of(prediction)
    place = "" if box is None else f" at {box[0]:.0f},{box[1]:.0f}"
    return f"{prediction['label']} {_score(prediction):.4f}{place}"
