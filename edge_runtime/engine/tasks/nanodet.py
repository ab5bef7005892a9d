"""NanoDet: a raw head that answers with distributions of distances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.engine.postprocess import softmax, survivors
from edge_runtime.engine.tasks.base import refuse_outputs, static_shape
from edge_runtime.engine.tasks.boxes import BOX, Detector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.core.result import Prediction
    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

STRIDES: Final = (8, 16, 32, 64)


class NanoDet(Detector):
    """Per stride [1, n, labels] scores and [1, n, 4 * bins] distances; a `Decoder`.

    A box side is the mean of a softmax over ``bins`` distances, in strides from the centre of its cell (Generalized
    Focal Loss, arXiv 2006.04388; centres at (i + 0.5) * stride as in NanoDet 0.x). PicoDet of PaddleDetection is the
    same.
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
            sides = [i for i in level if shapes[i][2] % BOX == 0 and shapes[i][2] != labels]
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
            found = survivors(outputs[score_at][0], self.floors, class_axis=1, best=best)
            bins = outputs[side_at].shape[2] // BOX
            sides = outputs[side_at][0][found.index].reshape(len(found.index), BOX, bins)
            distance = softmax(sides) @ np.arange(bins, dtype=np.float32) * stride
            centre = (np.stack((found.index % columns, found.index // columns), axis=1) + 0.5) * stride
            corners.append(np.concatenate((centre - distance[:, :2], centre + distance[:, 2:]), axis=1))
            scores.append(found.scores)
            classes.append(found.classes)
        return self.finish(
            np.concatenate(corners).astype(np.float32), np.concatenate(scores), np.concatenate(classes), transform
        )
