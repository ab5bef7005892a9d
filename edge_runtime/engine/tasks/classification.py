"""Which of the labels a whole picture shows: one of them (`probabilities`, `softmax`, `auto`) or any (`sigmoid`).

`auto` looks at the numbers: what is not probabilities is logits, as in OpenVINO Model API's `is_softmaxed`.

Of one that shows one, the best label that reaches its floor is the answer, and so is each label that reaches a floor of
its own (`thresholds.by_label`: from there on the publisher calls it present). The others are alternatives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import SCORE_SLACK, InvalidOutputError, sigmoid, softmax
from edge_runtime.engine.tasks.base import find_output, refuse_labels, static_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

SUM_SLACK: Final = 0.05
"""How far INT8 probabilities may be from a sum of 1."""


class Classifier:
    """Reads one number per label from an output [1, labels]; a `Decoder`."""

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        self._position = find_output(
            spec, outputs, "an output [1, labels]", lambda shape: _squeezed(shape) == 1 and min(shape, default=0) >= 1
        )
        classes = int(np.prod(static_shape(outputs[self._position])))
        if classes != len(spec.labels):
            refuse_labels(classes, spec)
        self._labels = spec.labels
        self._kind = spec.decoder
        self._limit = spec.thresholds.max_predictions
        own = spec.thresholds.by_label
        self._shown = np.array([spec.decoder == "sigmoid" or one in own for one in spec.labels])
        self._floors = np.array([own.get(one, spec.thresholds.score) for one in spec.labels])

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`; predictions have no box."""
        del transform  # the whole picture is meant
        raw = outputs[self._position].reshape(-1).astype(np.float32, copy=False)
        if not np.isfinite(raw).all():
            message = f"{int((~np.isfinite(raw)).sum())} of {raw.size} scores are not finite numbers"
            raise InvalidOutputError(message, help="the weights are damaged or overflow in this precision")
        scores = self._scores(raw)
        order = np.argsort(-scores, kind="stable")
        kept = order[scores[order] >= self._floors[order]][: self._limit]
        return tuple(
            Prediction(
                self._labels[i], round(float(scores[i]), 6), id=int(i), alternative=bool(rank and not self._shown[i])
            )
            for rank, i in enumerate(kept)
        )

    def _scores(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._kind == "softmax":
            return softmax(raw)
        if self._kind == "sigmoid":
            return sigmoid(raw)
        total = float(raw.sum())
        if raw.min() < -SCORE_SLACK or abs(total - 1) > SUM_SLACK:
            if self._kind == "auto":
                return softmax(raw)
            message = f"{raw.size} numbers from {raw.min():.3g} to {raw.max():.3g} that sum to {total:.3g}"
            raise InvalidOutputError(
                f"expected probabilities, found {message}", help="for logits write decoder softmax or sigmoid"
            )
        return np.clip(raw, 0, 1)


def _squeezed(shape: tuple[int, ...]) -> int:
    """How many axes are longer than one, at least 1."""
    return max(1, sum(one != 1 for one in shape))
