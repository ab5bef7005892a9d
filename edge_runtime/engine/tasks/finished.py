"""Heads that suppress in the graph and answer with finished rows: `end2end`, `ssd`, `boxes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.engine.postprocess import InvalidOutputError, to_corners
from edge_runtime.engine.tasks.base import find_output, find_roles, static_shape
from edge_runtime.engine.tasks.boxes import BOX, Detector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.core.result import Prediction
    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

_ROW: Final = 6
_SSD_ROW: Final = 7


class EndToEnd(Detector):
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
        found = self.rows(rows[:, 4], rows[:, 5], "x1, y1, x2, y2, score, class")
        corners = to_corners(self.scaled(rows[found.index, :BOX]), self.spec.output.boxes)
        return self.finish(corners, found.scores, found.classes, transform)


class Ssd(Detector):
    """Answer of `DetectionOutput`, [1, 1, n, 7]: image, class, score, box; a `Decoder`.

    The first row of image -1 ends the list (OpenVINO operation specification, DetectionOutput-8).
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        self._position = find_output(
            spec,
            outputs,
            "an output [1,1,n,7]",
            lambda s: len(s) == 4 and s[:2] == (1, 1) and s[3] == _SSD_ROW,  # noqa: PLR2004 - axes
        )

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        rows = outputs[self._position].reshape(-1, _SSD_ROW)
        ends = np.flatnonzero(rows[:, 0] < 0)
        rows = rows[: ends[0]] if len(ends) else rows
        found = self.rows(rows[:, 2], rows[:, 1], "image, class, score, x1, y1, x2, y2")
        corners = to_corners(self.scaled(rows[found.index, 3:]), self.spec.output.boxes)
        return self.finish(corners, found.scores, found.classes, transform)


class Boxes(Detector):
    """Finished lists: `boxes` [n, 4], `labels` [n] and `scores` [n], or `boxes` [n, 5] with the score; a `Decoder`.

    Each may have an axis of one picture before it. How many there are may differ from frame to frame.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the outputs; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        self._roles = find_roles(
            spec,
            outputs,
            "boxes [n,4] or [n,5], labels [n] of whole numbers and, with 4 columns, scores [n]",
            {
                "boxes": lambda one: _is_list(one, 2) and static_shape(one)[-1] in (-1, BOX, BOX + 1),
                "labels": lambda one: _is_list(one, 1) and "int" in one.dtype,
                "scores": lambda one: _is_list(one, 1) and "float" in one.dtype,
            },
            optional=("scores",),
        )

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        boxes = outputs[self._roles["boxes"]]
        labels = outputs[self._roles["labels"]].reshape(-1)
        listed = boxes.reshape(-1, boxes.shape[-1]) if boxes.ndim > 1 and boxes.shape[-1] else boxes.reshape(-1, 1)
        if listed.shape[1] == BOX + 1:
            scores = listed[:, BOX]
        elif listed.shape[1] == BOX and "scores" in self._roles:
            scores = outputs[self._roles["scores"]].reshape(-1)
        else:
            message = f"boxes of {boxes.shape}, expected [n,4] beside scores, or [n,5]"
            raise InvalidOutputError(message, help='correct "output": {"names": {"boxes": ...}}')
        if not len(listed) == len(labels) == len(scores):
            message = f"{len(listed)} boxes, {len(labels)} labels and {len(scores)} scores"
            raise InvalidOutputError(message, help='correct "output": {"names": ...}: they are of one list')
        found = self.rows(scores, labels, "boxes, labels and scores of one list")
        corners = to_corners(self.scaled(listed[found.index, :BOX]), self.spec.output.boxes)
        return self.finish(corners, found.scores, found.classes, transform)


def _is_list(output: TensorInfo, axes: int) -> bool:
    """Tell whether the output has so many axes, or one more for one picture."""
    shape = static_shape(output)
    return len(shape) == axes or (len(shape) == axes + 1 and shape[0] in (1, -1))
