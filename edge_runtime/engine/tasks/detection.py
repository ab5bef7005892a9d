"""Where things are: raw heads (`yolo`), distributions (`nanodet`), and heads that suppress in the graph (`end2end`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import (
    CANDIDATE_LIMIT,
    SCORE_SLACK,
    InvalidOutputError,
    check_boxes,
    softmax,
    suppress,
    survivors,
    to_corners,
    to_frame,
)
from edge_runtime.engine.tasks.base import find_output, refuse_labels, refuse_outputs, static_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

STRIDES: Final = (8, 16, 32, 64)
BESIDE_MAX: Final = 0.1
"""How far beside the input a box may lie, as a fraction of its side: cells at the edge err by a few pixels."""
FRACTION_MAX: Final = 1.5
"""Boxes that all end within so many pixels of the corner are fractions of the input that were taken for pixels."""
_BOX = 4
_ROW = 6


class _Detector:
    """What the three heads share: thresholds, suppression, the way back into the frame."""

    def __init__(self, spec: ModelSpec) -> None:
        thresholds = spec.thresholds
        self._spec = spec
        self._iou = thresholds.iou
        self._limit = thresholds.max_predictions
        self._floors = np.array(
            [thresholds.by_label.get(label, thresholds.score) for label in spec.labels], dtype=np.float32
        )

    def _finish(
        self,
        corners: NDArray[np.float32],
        scores: NDArray[np.float32],
        classes: NDArray[np.intp],
        transform: Transform,
    ) -> tuple[Prediction, ...]:
        check_boxes(corners)
        kept = suppress(corners, scores, classes, iou=self._iou, limit=self._limit)
        self._check_place(corners[kept])
        boxes = to_frame(corners[kept], transform)
        found = []
        for position, (x, y, w, h) in zip(kept, boxes.tolist(), strict=True):
            if w <= 0 or h <= 0:  # wholly in the border around the picture
                continue
            number = int(classes[position])
            box = (round(x, 2), round(y, 2), round(w, 2), round(h, 2))
            found.append(Prediction(self._spec.labels[number], round(float(scores[position]), 6), box, id=number))
        return tuple(found)

    def _check_place(self, corners: NDArray[np.float32]) -> None:
        """Refuse boxes that cannot be in the picture: left out, they would pass for one in which nothing was found.

        Raises:
            InvalidOutputError: one lies beside the input, or all of them lie in its corner.
        """
        if not len(corners):
            return
        height, width = self._spec.input.size
        side = np.array((width, height), np.float32)
        beside = (corners[:, 2:] < -BESIDE_MAX * side) | (corners[:, :2] > (1 + BESIDE_MAX) * side)
        if beside.any():
            x1, y1, x2, y2 = corners[beside.any(axis=1)][0].tolist()
            message = f"a box from {x1:.5g}, {y1:.5g} to {x2:.5g}, {y2:.5g} lies beside the input of {width} x {height}"
            raise InvalidOutputError(message, help="correct output.boxes and output.normalized")
        if not self._spec.output.normalized and corners.max() <= FRACTION_MAX < min(height, width):
            message = f"all {len(corners)} boxes lie within {corners.max():.3g} pixels of the corner"
            raise InvalidOutputError(message, help='fractions of the input? write "output": {"normalized": true}')

    def _scaled(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes in canvas pixels."""
        if not self._spec.output.normalized:
            return boxes
        height, width = self._spec.input.size
        return boxes * np.array((width, height) * 2, np.float32)


class Yolo(_Detector):
    """Raw head [1, 4 + labels, n]: boxes in input pixels, then one sigmoided score per label; a `Decoder`."""

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        rows = _BOX + len(spec.labels)
        expected = f"an output [1,{rows},n] (4 + {len(spec.labels)} labels)"
        shapes = [static_shape(one) for one in outputs]
        like = [s for s in shapes if len(s) == 3 and s[0] == 1 and _BOX < s[1] < s[2]]  # noqa: PLR2004 - axes
        if spec.output.name is None and len(like) == 1 and like[0][1] != rows:
            refuse_labels(like[0][1] - _BOX, spec)
        self._position = find_output(spec, outputs, expected, lambda s: len(s) == 3 and s[:2] == (1, rows) and s[2] > 0)  # noqa: PLR2004 - axes
        self._best = np.empty(shapes[self._position][2], np.float32)

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        head = outputs[self._position][0]
        found = survivors(head[_BOX:], self._floors, class_axis=0, best=self._best)
        boxes = self._scaled(head[:_BOX, found.index].T)
        return self._finish(to_corners(boxes, self._spec.output.boxes), found.scores, found.classes, transform)


class NanoDet(_Detector):
    """Per stride [1, n, labels] scores and [1, n, 4 * bins] distances; a `Decoder`.

    A box side is the mean of a softmax over ``bins`` distances, in strides from the centre of its cell (Generalized
    Focal Loss, arXiv 2006.04388; centres at (i + 0.5) * stride as in NanoDet 0.x).
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Pair the outputs by their number of cells; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        height, width = spec.input.size
        shapes = [static_shape(one) for one in outputs]
        cells = {math.ceil(height / s) * math.ceil(width / s): s for s in STRIDES}
        labels = len(spec.labels)
        self._levels: list[tuple[int, int, int]] = []
        for count, stride in cells.items():
            level = [i for i, shape in enumerate(shapes) if len(shape) == 3 and shape[:2] == (1, count)]  # noqa: PLR2004 - axes
            scores = [i for i in level if shapes[i][2] == labels]
            sides = [i for i in level if shapes[i][2] % _BOX == 0 and shapes[i][2] != labels]
            if len(scores) == 1 and len(sides) == 1:
                self._levels.append((scores[0], sides[0], stride))
        if len(self._levels) * 2 != len(outputs):
            refuse_outputs(spec, f"for each stride an output [1,n,{labels}] and an output [1,n,4*bins]", outputs)
        self._columns = [math.ceil(width / stride) for _, _, stride in self._levels]
        self._best = [np.empty(shapes[scores][1], np.float32) for scores, _, _ in self._levels]

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        corners, scores, classes = [], [], []
        for (score_at, side_at, stride), columns, best in zip(self._levels, self._columns, self._best, strict=True):
            found = survivors(outputs[score_at][0], self._floors, class_axis=1, best=best)
            bins = outputs[side_at].shape[2] // _BOX
            sides = outputs[side_at][0][found.index].reshape(len(found.index), _BOX, bins)
            distance = softmax(sides) @ np.arange(bins, dtype=np.float32) * stride
            centre = (np.stack((found.index % columns, found.index // columns), axis=1) + 0.5) * stride
            corners.append(np.concatenate((centre - distance[:, :2], centre + distance[:, 2:]), axis=1))
            scores.append(found.scores)
            classes.append(found.classes)
        return self._finish(
            np.concatenate(corners).astype(np.float32), np.concatenate(scores), np.concatenate(classes), transform
        )


class EndToEnd(_Detector):
    """Finished boxes [1, n, 6]: box, score, class; a `Decoder`."""

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        self._position = find_output(
            spec,
            outputs,
            "an output [1,n,6]",
            lambda s: len(s) == 3 and s[0] == 1 and s[2] == _ROW and s[1] > 0,  # noqa: PLR2004 - axes
        )

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        rows = outputs[self._position][0]
        scores = rows[:, 4]
        if not np.isfinite(scores).all() or scores.max() > 1 + SCORE_SLACK:
            message = f"best score {scores.max():.3g}, expected finite numbers up to 1"
            raise InvalidOutputError(message, help="the columns must be x1, y1, x2, y2, score, class")
        rows = rows[scores >= self._floors.min()]
        numbers = rows[:, 5]
        wrong = ~((numbers >= 0) & (numbers < len(self._floors)) & (numbers == np.round(numbers)))
        if wrong.any():
            message = f"class {numbers[wrong][0]:.6g} has no label, there are {len(self._floors)}"
            raise InvalidOutputError(message, help="the labels do not belong to this model")
        classes = numbers.astype(np.intp)
        keep = rows[:, 4] >= self._floors[classes]
        rows, classes = rows[keep][:CANDIDATE_LIMIT], classes[keep][:CANDIDATE_LIMIT]
        corners = to_corners(self._scaled(rows[:, :_BOX]), self._spec.output.boxes)
        return self._finish(corners, np.clip(rows[:, 4], 0, 1), classes, transform)
