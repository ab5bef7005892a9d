"""Classifiers whose labels lie below one another: numbers of several heads in one output (Geti, OpenVINO Model API).

Of a group of several labels the best is present, one that is alone is present from its floor on; a label below another
is reported only when that one is, too. The rest of a group with a reported label are alternatives.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import InvalidOutputError, sigmoid, softmax
from edge_runtime.engine.tasks.base import find_output, refuse_labels, static_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec


class Hierarchy:
    """Reads one logit per label from an output [1, labels], in the order of `output.groups`; a `Decoder`."""

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        groups = spec.output.groups
        if tuple(chain(*groups)) != spec.labels or len(set(spec.labels)) != len(spec.labels):
            message = (
                f"output.groups name {sum(map(len, groups))} labels, not each of the {len(spec.labels)} labels once"
            )
            help_ = (
                'write "output": {"groups": [["a", "b"], ["c"]]} with all labels, in the order of the model\'s numbers'
            )
            raise DataError("model.wrong_labels", message, help=help_)
        self._position = find_output(
            spec, outputs, "an output [1, labels]", lambda shape: sum(n != 1 for n in shape) == 1
        )
        numbers = int(np.prod(static_shape(outputs[self._position])))
        if numbers != len(spec.labels):
            refuse_labels(numbers, spec)
        self._labels = spec.labels
        self._ancestors = _ancestors(spec.labels, spec.output.parents)
        self._floors = [spec.thresholds.by_label.get(one, spec.thresholds.score) for one in spec.labels]
        self._limit = spec.thresholds.max_predictions
        ends = np.cumsum([len(group) for group in groups]).tolist()
        self._groups = [(end - len(group), end) for group, end in zip(groups, ends, strict=True)]

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`; predictions have no box."""
        del transform  # the whole picture is meant
        logits = outputs[self._position].reshape(-1).astype(np.float32, copy=False)
        if not np.isfinite(logits).all():
            message = f"{int((~np.isfinite(logits)).sum())} of {logits.size} logits are not finite numbers"
            raise InvalidOutputError(message, help="the weights are damaged or overflow in this precision")
        scores = np.empty_like(logits)
        chosen: set[int] = set()
        for begin, end in self._groups:
            if end - begin > 1:
                scores[begin:end] = softmax(logits[begin:end])
                chosen.add(begin + int(np.argmax(scores[begin:end])))
            else:
                scores[begin] = sigmoid(logits[begin])
                chosen |= {begin} if scores[begin] >= self._floors[begin] else set()
        kept = {one for one in chosen if self._ancestors[one] <= chosen}
        others = {i for begin, end in self._groups for i in range(begin, end) if kept & set(range(begin, end))} - kept
        best = sorted(kept, key=lambda i: -scores[i])
        rest = islice(sorted(others, key=lambda i: -scores[i]), max(0, self._limit - len(best)))
        return tuple(
            Prediction(self._labels[i], round(float(scores[i]), 6), id=i, alternative=i not in kept)
            for i in (*best, *rest)
        )


def _ancestors(labels: tuple[str, ...], parents: Mapping[str, str]) -> list[set[int]]:
    """Return for each label the positions of all labels above it."""
    found: list[set[int]] = []
    for label in labels:
        above: set[int] = set()
        one = parents.get(label)
        while one is not None:
            if one not in labels or labels.index(one) in above:
                message = f"output.parents lead from {label!r} to {one!r}, which is no label or was passed already"
                raise DataError("model.wrong_labels", message, help="write for each label the one label above it")
            above.add(labels.index(one))
            one = parents.get(one)
        found.append(above)
    return found
