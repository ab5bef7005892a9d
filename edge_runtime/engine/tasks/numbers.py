"""Numbers as they are: targets of a regression (`values`), or whatever the outputs hold (`tensors`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.core.description import LABEL_BYTES_LIMIT
from edge_runtime.core.errors import DataError
from edge_runtime.core.result import PREDICTIONS_LIMIT, Prediction
from edge_runtime.engine.postprocess import InvalidOutputError
from edge_runtime.engine.tasks.base import find_output, refuse_labels, refuse_outputs, static_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec

_NAME_LIMIT = LABEL_BYTES_LIMIT - len("[1000]") - 2  # quotes


class Values:
    """Reads one number per label from an output [1, labels]: the label is what was measured; a `Decoder`."""

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Find the output; see `tasks.make_decoder` for what is raised."""
        wanted = len(spec.labels)
        exact = any(_is_row(shape := static_shape(one)) and np.prod(shape) == wanted for one in outputs)
        self._position = find_output(
            spec,
            outputs,
            "an output [1, labels]",
            lambda shape: _is_row(shape) and bool(not exact or np.prod(shape) == wanted),
        )
        numbers = int(np.prod(static_shape(outputs[self._position])))
        if numbers != len(spec.labels):
            refuse_labels(numbers, spec)
        if numbers > PREDICTIONS_LIMIT:
            _refuse_many(numbers, "this is no model of a few measures")
        self._labels = spec.labels

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`; in the order of the labels, with `value`."""
        del transform  # the whole picture is meant
        return _predictions(self._labels, outputs[self._position])


class Tensors:
    """Reads every number of the outputs, or of the one that is named; a `Decoder`.

    The label is the name of the output, with the position of the number in brackets when there are several.
    """

    def __init__(self, spec: ModelSpec, outputs: Sequence[TensorInfo]) -> None:
        """Choose the outputs; see `tasks.make_decoder` for what is raised."""
        self._outputs: list[tuple[int, tuple[str, ...]]] = []
        total = 0
        for position, one in enumerate(outputs):
            if spec.output.name not in (None, one.name, *one.aliases):
                continue
            shape = static_shape(one)
            if min(shape, default=1) < 1:
                refuse_outputs(spec, "outputs of fixed shapes", outputs)
            numbers = int(np.prod(shape))
            total += numbers
            if total > PREDICTIONS_LIMIT:
                _refuse_many(total, 'write "output": {"name": ...} in edge-model.json to choose one')
            name = one.name if spec.output.name is None else spec.output.name
            if len(name.encode()) > _NAME_LIMIT:
                refuse_outputs(spec, f"outputs with names of at most {_NAME_LIMIT} bytes", outputs)
            self._outputs.append((position, (name,) if numbers == 1 else tuple(f"{name}[{i}]" for i in range(numbers))))
        if not self._outputs:
            refuse_outputs(spec, f"an output named {spec.output.name!r}", outputs)

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """See `Decoder`; in the order of the outputs, with `value`."""
        del transform  # nothing is known about places
        return tuple(one for position, names in self._outputs for one in _predictions(names, outputs[position]))


def _is_row(shape: tuple[int, ...]) -> bool:
    return sum(n != 1 for n in shape) <= 1 and min(shape, default=1) >= 1


def _predictions(names: tuple[str, ...], numbers: NDArray[np.float32]) -> tuple[Prediction, ...]:
    values = numbers.reshape(-1).astype(np.float64)
    if not np.isfinite(values).all():
        message = f"{int((~np.isfinite(values)).sum())} of {values.size} numbers are not finite"
        raise InvalidOutputError(message, help="the weights are damaged or overflow in this precision")
    return tuple(
        Prediction(name, 1.0, id=i, value=float(value))
        for i, (name, value) in enumerate(zip(names, values, strict=True))
    )


def _refuse_many(numbers: int, way_out: str) -> None:
    message = f"the outputs hold {numbers} numbers, a result has room for {PREDICTIONS_LIMIT}"
    raise DataError("model.wrong_output", message, help=way_out)
