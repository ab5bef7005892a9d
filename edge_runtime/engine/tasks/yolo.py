"""Raw heads of the YOLO family: one row or column per cell, nothing suppressed.

`yolo`: boxes and one score per label (Ultralytics YOLOv8 and later). `yolov5`: boxes, the score of there being
something, and one per label (YOLOv5; YOLOX with the decoding in its graph). `yolox`: the same with boxes that are still
relative to their cell. The last two have the same shape and nothing else that tells them apart.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.engine.postprocess import SCORE_SLACK, InvalidOutputError, survivors, to_corners
from edge_runtime.engine.tasks.base import find_output, refuse_labels, refuse_outputs, static_shape
from edge_runtime.engine.tasks.boxes import BOX, Detector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.core.result import Prediction
    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

STRIDES: Final = (8, 16, 32)
"""Of the cells of YOLOX, in the order of its rows."""
_EXPONENT_MAX: Final = 20.0
"""A side of exp(20) strides is no box; beyond 88 it is no number of float32 any more."""


class Yolo(Detector):
    """Raw head [1, 4 + labels, n]: boxes in input pixels, then one sigmoided score per label; a `Decoder`."""

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        rows = BOX + len(spec.labels)
        expected = f"an output [1,{rows},n] (4 + {len(spec.labels)} labels)"
        shapes = [static_shape(one) for one in outputs]
        like = [s for s in shapes if len(s) == 3 and s[0] == 1 and BOX < s[1] < s[2]]  # noqa: PLR2004 - axes
        if spec.output.name is None and len(like) == 1 and like[0][1] != rows:
            refuse_labels(like[0][1] - BOX, spec)
        self._position = find_output(spec, outputs, expected, lambda s: len(s) == 3 and s[:2] == (1, rows) and s[2] > 0)  # noqa: PLR2004 - axes
        self._best = np.empty(shapes[self._position][2], np.float32)

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        head = outputs[self._position][0]
        found = survivors(head[BOX:], self.floors, class_axis=0, best=self._best)
        boxes = self.scaled(head[:BOX, found.index].T)
        return self.finish(to_corners(boxes, self.spec.output.boxes), found.scores, found.classes, transform)


class YoloV5(Detector):
    """Raw head [1, n, 5 + labels]: a box in input pixels, the score of an object, one per label; a `Decoder`.

    The score of a label is the product of both. All of them went through a sigmoid in the graph.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        columns = BOX + 1 + len(spec.labels)
        shapes = [static_shape(one) for one in outputs]
        like = [s for s in shapes if len(s) == 3 and s[0] == 1 and BOX + 1 < s[2] < s[1]]  # noqa: PLR2004 - axes
        if spec.output.name is None and len(like) == 1 and like[0][2] != columns:
            refuse_labels(like[0][2] - BOX - 1, spec)
        expected = f"an output [1,n,{columns}] (4 + 1 + {len(spec.labels)} labels)"
        self._position = find_output(
            spec,
            outputs,
            expected,
            lambda s: len(s) == 3 and s[0] == 1 and s[2] == columns and s[1] > 0,  # noqa: PLR2004 - axes
        )
        self.rows_count = shapes[self._position][1]
        self._best = np.empty(self.rows_count, np.float32)

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        head = outputs[self._position][0]
        objects = head[:, BOX]
        if not (objects.min() >= -SCORE_SLACK and objects.max() <= 1 + SCORE_SLACK):
            message = f"scores of objects from {objects.min():.3g} to {objects.max():.3g}, expected 0 to 1"
            raise InvalidOutputError(message, help="the head needs a sigmoid: export it with one")
        index = np.flatnonzero(objects >= self.floors.min())  # a product is no larger than its factors
        products = head[index, BOX + 1 :] * objects[index, None]
        found = survivors(products, self.floors, class_axis=1, best=self._best[: len(index)])
        index = index[found.index]
        boxes = self.scaled(self.boxes(head[index, :BOX], index))
        return self.finish(to_corners(boxes, self.spec.output.boxes), found.scores, found.classes, transform)

    def boxes(self, written: NDArray[np.float32], index: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return (m, 4) boxes of the rows ``index`` from what the head holds about them."""
        del index
        return written


class YoloX(YoloV5):
    """As `YoloV5`, but boxes are relative to their cell; a `Decoder`.

    ``centre = (xy + cell) * stride`` and ``sides = exp(wh) * stride`` (YOLOX, arXiv 2107.08430; its exporter leaves
    this out of the graph unless told otherwise). Rows are the cells of stride 8, then 16, then 32, each row by row.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec, outputs)
        height, width = spec.input.size
        cells, strides = [], []
        for stride in STRIDES:
            y, x = np.mgrid[: math.ceil(height / stride), : math.ceil(width / stride)]
            cells.append(np.stack((x.ravel(), y.ravel()), axis=1))
            strides.append(np.full(x.size, stride))
        self._cells = np.concatenate(cells).astype(np.float32)
        self._strides = np.concatenate(strides).astype(np.float32)[:, None]
        if len(self._cells) != self.rows_count or spec.output.normalized or spec.output.boxes != "cxcywh":
            refuse_outputs(
                spec, f"{len(self._cells)} rows for {height} x {width}, boxes cxcywh relative to cells", outputs
            )

    def boxes(self, written: NDArray[np.float32], index: NDArray[np.intp]) -> NDArray[np.float32]:
        """See `YoloV5.boxes`.

        Raises:
            InvalidOutputError: sides without measure: the graph decoded them already.
        """
        if written.size and written[:, 2:].max() > _EXPONENT_MAX:
            message = f"a side of exp({written[:, 2:].max():.3g}) cells"
            raise InvalidOutputError(message, help="the graph decodes its boxes itself: write decoder yolov5")
        stride = self._strides[index]
        return np.concatenate(((written[:, :2] + self._cells[index]) * stride, np.exp(written[:, 2:]) * stride), axis=1)
