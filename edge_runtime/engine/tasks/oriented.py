"""Turned boxes: raw heads (`yolo`) and heads that suppress in the graph (`end2end`), the angle in the last place.

A box is centre, width, height and an angle in radians from the x axis towards the y axis, so clockwise in the picture
(Ultralytics `xywhr`). A prediction has its four corners as polygon, and their bounds inside the frame as box.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import check_boxes, survivors, to_frame, to_frame_points
from edge_runtime.engine.rotated import corners_of, suppress_rotated
from edge_runtime.engine.tasks.base import find_output, refuse_labels, static_shape
from edge_runtime.engine.tasks.boxes import BOX, Detector, check_sides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

_ROW: Final = 7


class _Turned(Detector):
    """What both heads share."""

    def turn(
        self,
        boxes: NDArray[np.float32],
        angles: NDArray[np.float32],
        scores: NDArray[np.float32],
        classes: NDArray[np.intp],
        transform: Transform,
    ) -> tuple[Prediction, ...]:
        """Suppress doubles and return what is left in pixels of the frame, best first; as `Detector.finish`.

        Args:
            boxes: (n, 4) centre and sides, as the model wrote them.
            angles: (n,) radians.
            scores: (n,) 0..1.
            classes: (n,) label indices.
            transform: how the frame became the canvas.
        """
        turned = np.concatenate((self.scaled(boxes), angles[:, None]), axis=1)
        check_boxes(turned)
        check_sides(turned[:, 2:BOX])
        thresholds = self.spec.thresholds
        kept = suppress_rotated(turned, scores, classes, iou=thresholds.iou, limit=thresholds.max_predictions)
        corners = corners_of(turned[kept])
        bounds = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
        self.check_place(bounds)
        found = []
        polygons = to_frame_points(corners, transform).round(2).tolist()
        for position, polygon, box in zip(kept, polygons, to_frame(bounds, transform).round(2).tolist(), strict=True):
            if box[2] <= 0 or box[3] <= 0:  # wholly in the border around the picture
                continue
            number = int(classes[position])
            found.append(
                Prediction(
                    self.spec.labels[number],
                    round(float(scores[position]), 6),
                    (box[0], box[1], box[2], box[3]),
                    polygon=tuple((x, y) for x, y in polygon),
                    id=number,
                )
            )
        return tuple(found)


class OrientedYolo(_Turned):
    """Raw head [1, 4 + labels + 1, n]: boxes in input pixels, one sigmoided score per label, the angle; a `Decoder`."""

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        rows = BOX + len(spec.labels) + 1
        shapes = [static_shape(one) for one in outputs]
        like = [s for s in shapes if len(s) == 3 and s[0] == 1 and BOX + 1 < s[1] < s[2]]  # noqa: PLR2004 - axes
        if spec.output.name is None and len(like) == 1 and like[0][1] != rows:
            refuse_labels(like[0][1] - BOX - 1, spec)
        expected = f"an output [1,{rows},n] (4 + {len(spec.labels)} labels + angle)"
        self._position = find_output(spec, outputs, expected, lambda s: len(s) == 3 and s[:2] == (1, rows) and s[2] > 0)  # noqa: PLR2004 - axes
        self._best = np.empty(shapes[self._position][2], np.float32)

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        head = outputs[self._position][0]
        found = survivors(head[BOX:-1], self.floors, class_axis=0, best=self._best)
        boxes, angles = head[:BOX, found.index].T, head[-1, found.index]
        return self.turn(boxes, angles, found.scores, found.classes, transform)


class OrientedEndToEnd(_Turned):
    """Finished turned boxes [1, n, 7]: centre, sides, score, class, angle; a `Decoder`."""

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        self._position = find_output(
            spec,
            outputs,
            "an output [1,n,7]",
            lambda s: len(s) == 3 and s[0] == 1 and s[2] == _ROW and s[1] > 0,  # noqa: PLR2004 - axes
        )

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        rows = outputs[self._position][0]
        found = self.rows(rows[:, 4], rows[:, 5], "x, y, w, h, score, class, angle")
        return self.turn(rows[found.index, :BOX], rows[found.index, 6], found.scores, found.classes, transform)
