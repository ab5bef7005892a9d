"""Transformers that answer with a set: one box and its scores per query, nothing suppressed, nothing double.

DETR (arXiv 2005.12872) decides between its labels and a last class for nothing by a softmax, so a query is one thing.
RF-DETR, RT-DETR and Deformable DETR judge each label by a sigmoid of its own: the best pairs of query and label are
taken, as their own post-processing does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.errors import DataError
from edge_runtime.engine.postprocess import CANDIDATE_LIMIT, InvalidOutputError, sigmoid, softmax, survivors, to_corners
from edge_runtime.engine.tasks.base import find_roles, refuse_outputs, static_shape
from edge_runtime.engine.tasks.boxes import BOX, Detector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.core.result import Prediction
    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

_AXES: Final = 3


class Detr(Detector):
    """Boxes [1, q, 4] and scores [1, q, labels], or both in one output [1, q, 4 + labels]; a `Decoder`.

    With ``output.background`` there is one score more, for nothing.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the outputs; see `tasks.make_decoder` for what is raised."""
        super().__init__(spec)
        kind = spec.output
        self._activation = kind.activation
        labels = len(spec.labels)
        classes = labels + (kind.background != "none")
        roles = self._in_one(outputs, BOX + classes)
        if not roles:
            exact = [one for one in outputs if _is_per_query(one, classes)]
            roles = find_roles(
                spec,
                outputs,
                f"boxes [1,q,4] and scores [1,q,{classes}], or one output [1,q,{BOX + classes}]",
                {
                    "boxes": lambda one: _is_per_query(one, BOX),
                    "scores": lambda one: one in exact if exact else _is_per_query(one, None),
                },
            )
        self._boxes, self._scores = roles["boxes"], roles["scores"]
        _, queries, found = static_shape(outputs[self._scores])
        offset = BOX if roles["boxes"] == roles["scores"] else 0
        if static_shape(outputs[self._boxes])[1] != queries:
            refuse_outputs(spec, "boxes and scores of the same queries", outputs)
        if found - offset != classes:
            _refuse_classes(found, classes, spec)
        first = offset + (kind.background == "first")
        self._logits = slice(offset, offset + classes)
        self._shown = slice(first - offset, first - offset + labels)
        self._best = np.empty(queries, np.float32)

    def _in_one(self, outputs: Sequence[TensorInfo], columns: int) -> dict[str, int]:
        """Return the position of the one output that holds both, if that is how it is."""
        name = self.spec.output.name
        meant = [i for i, one in enumerate(outputs) if name in (None, one.name, *one.aliases)]
        is_whole = len(meant) == 1 and _is_per_query(outputs[meant[0]], columns)
        return {"boxes": meant[0], "scores": meant[0]} if is_whole else {}

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`."""
        raw = outputs[self._scores][0][:, self._logits]
        if not np.isfinite(raw).all():
            message = f"{int((~np.isfinite(raw)).sum())} of {raw.size} scores are not finite numbers"
            raise InvalidOutputError(message, help="the weights are damaged or overflow in this precision")
        if self._activation == "sigmoid":
            index, classes, scores = self._pairs(sigmoid(raw)[:, self._shown])
        else:
            judged = softmax(raw) if self._activation == "softmax" else raw
            found = survivors(judged[:, self._shown], self.floors, class_axis=1, best=self._best)
            index, classes, scores = found.index, found.classes, found.scores
        boxes = self.scaled(outputs[self._boxes][0][index, :BOX])
        return self.finish(to_corners(boxes, self.spec.output.boxes), scores, classes, transform)

    def _pairs(self, scores: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        """Return query, label and score of the best pairs, as many as there are queries, that reach their floor."""
        index, classes = np.nonzero(scores >= self.floors)
        found = scores[index, classes]
        order = np.argsort(-found, kind="stable")[: min(len(scores), CANDIDATE_LIMIT)]
        return index[order], classes[order], found[order]


def _is_per_query(output: TensorInfo, columns: int | None) -> bool:
    shape = static_shape(output)
    return len(shape) == _AXES and shape[0] == 1 and shape[1] > 0 and columns in (None, shape[2])


def _refuse_classes(found: int, expected: int, spec: ModelSpec) -> None:
    """Raise: scores and labels do not fit each other; one more may stand for nothing, which is not guessed.

    Raises:
        DataError: code ``model.wrong_labels``.
    """
    message = f"the model has {found} scores per query, {len(spec.labels)} labels and background "
    message += f"{spec.output.background!r} make {expected}"
    help_ = 'write one label per class; when one class stands for nothing, write "output": {"background": "last"}'
    raise DataError("model.wrong_labels", message, help=help_)
