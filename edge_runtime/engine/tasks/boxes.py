"""What all detectors share: thresholds, suppression, and the way back into the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import (
    CANDIDATE_LIMIT,
    SCORE_SLACK,
    Candidates,
    InvalidOutputError,
    check_boxes,
    suppress,
    to_frame,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

BOX: Final = 4
"""Numbers of a box."""
BESIDE_MAX: Final = 0.1
"""How far beside the input a box may lie, as a fraction of its side: cells at the edge err by a few pixels."""
FRACTION_MAX: Final = 1.5
"""Boxes that all end within so many pixels of the corner are fractions of the input that were taken for pixels."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Candidates of a head, in pixels of the canvas.

    Attributes:
        corners: (n, 4) x1 y1 x2 y2.
        scores: (n,) 0..1.
        classes: (n,) label indices.
        extras: (n, k) what the head holds beside boxes and scores.
    """

    corners: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.intp]
    extras: NDArray[np.float32]


class Detector:
    """Base of the detectors.

    Attributes:
        spec: the model's description.
        floors: (labels,) lowest score to keep, float32.
    """

    def __init__(self, spec: ModelSpec) -> None:
        """Read the thresholds."""
        thresholds = spec.thresholds
        self.spec = spec
        self.floors = np.array(
            [thresholds.by_label.get(label, thresholds.score) for label in spec.labels], dtype=np.float32
        )

    def scaled(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (n, 4) ``boxes`` in canvas pixels."""
        if not self.spec.output.normalized:
            return boxes
        height, width = self.spec.input.size
        return boxes * np.array((width, height) * 2, np.float32)

    def finish(
        self,
        corners: NDArray[np.float32],
        scores: NDArray[np.float32],
        classes: NDArray[np.intp],
        transform: Transform,
    ) -> tuple[Prediction, ...]:
        """Return the predictions of `place`."""
        return tuple(one for _, one in self.place(corners, scores, classes, transform))

    def place(
        self,
        corners: NDArray[np.float32],
        scores: NDArray[np.float32],
        classes: NDArray[np.intp],
        transform: Transform,
    ) -> list[tuple[int, Prediction]]:
        """Suppress doubles and return what is left in pixels of the frame, best first, each with its row.

        Args:
            corners: (n, 4) x1 y1 x2 y2 in canvas pixels.
            scores: (n,) 0..1.
            classes: (n,) label indices.
            transform: how the frame became the canvas.

        Raises:
            InvalidOutputError: boxes that are no numbers, turned inside out, or where no picture is.
        """
        check_boxes(corners)
        check_sides(corners[:, 2:] - corners[:, :2])
        thresholds = self.spec.thresholds
        kept = suppress(corners, scores, classes, iou=thresholds.iou, limit=thresholds.max_predictions)
        self.check_place(corners[kept])
        boxes = to_frame(corners[kept], transform).round(2)
        found = []
        for position, (x, y, w, h) in zip(kept, boxes.tolist(), strict=True):
            if w <= 0 or h <= 0:  # wholly in the border around the picture, or thinner than can be told
                continue
            number = int(classes[position])
            score = round(float(scores[position]), 6)
            prediction = Prediction(self.spec.labels[number], score, (x, y, w, h), id=number)
            found.append((int(position), prediction))
        return found

    def check_place(self, corners: NDArray[np.float32]) -> None:
        """Refuse boxes that cannot be in the picture: left out, they would pass for one in which nothing was found.

        Raises:
            InvalidOutputError: one lies beside the input, or all of them lie in its corner.
        """
        if not len(corners):
            return
        height, width = self.spec.input.size
        side = np.array((width, height), np.float32)
        beside = (corners[:, 2:] < -BESIDE_MAX * side) | (corners[:, :2] > (1 + BESIDE_MAX) * side)
        if beside.any():
            x1, y1, x2, y2 = corners[beside.any(axis=1)][0].tolist()
            message = f"a box from {x1:.5g}, {y1:.5g} to {x2:.5g}, {y2:.5g} lies beside the input of {width} x {height}"
            raise InvalidOutputError(message, help="correct output.boxes and output.normalized")
        if not self.spec.output.normalized and corners.max() <= FRACTION_MAX < min(height, width):
            message = f"all {len(corners)} boxes lie within {corners.max():.3g} pixels of the corner"
            raise InvalidOutputError(message, help='fractions of the input? write "output": {"normalized": true}')

    def rows(self, scores: NDArray[np.float32], numbers: NDArray[np.number[Any]], columns: str) -> Candidates:
        """Return the rows of a finished list that reach the floor of their class, best first.

        Args:
            scores: (n,) as the model wrote them.
            numbers: (n,) of the classes; with ``output.background`` one of them stands for nothing.
            columns: what a row holds, for the message.

        Raises:
            InvalidOutputError: a score that is none, or a class without a label.
        """
        if scores.size and not (np.isfinite(scores).all() and scores.max() <= 1 + SCORE_SLACK):
            message = f"best score {scores.max():.3g}, expected finite numbers up to 1"
            raise InvalidOutputError(message, help=f"the columns must be {columns}")
        index = np.flatnonzero(scores >= self.floors.min())
        # of unsigned numbers, one less than 0 would be the largest there is
        named = numbers[index].astype(np.float64) - (1 if self.spec.output.background == "first" else 0)
        count = len(self.floors)
        nothing = {"first": -1, "last": count, "none": np.nan}[self.spec.output.background]
        wrong = ~((named >= 0) & (named < count) & (named == np.round(named)) | (named == nothing))
        if wrong.any():
            message = f"class {float(numbers[index][wrong][0]):.6g} has no label, there are {count}"
            help_ = "the labels do not belong to this model, or output.background says wrong which class is none"
            raise InvalidOutputError(message, help=help_)
        index, classes = index[named != nothing], named[named != nothing].astype(np.intp)
        keep = scores[index] >= self.floors[classes]
        index, classes = index[keep], classes[keep]
        order = np.argsort(-scores[index], kind="stable")[:CANDIDATE_LIMIT]
        return Candidates(index[order], classes[order], np.clip(scores[index[order]], 0, 1))


def check_sides(sides: NDArray[np.float32]) -> None:
    """Refuse boxes that are turned inside out, all of them: dropped, they would pass for nothing found.

    Args:
        sides: (n, 2) width and height of what is above the threshold.

    Raises:
        InvalidOutputError: none of them is a box.
    """
    if len(sides) and (sides < 0).any(axis=1).all():
        message = f"all {len(sides)} boxes above the threshold have a negative width or height"
        raise InvalidOutputError(message, help="correct decoder and output.boxes: these are no such boxes")
