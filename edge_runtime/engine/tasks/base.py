"""What every decoder promises, and how it finds its output among those of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol

from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.core.result import Prediction
    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.postprocess import Transform
    from edge_runtime.engine.spec import ModelSpec


class Decoder(Protocol):
    """Reads the outputs of one model."""

    def decode(self, outputs: Sequence[NDArray[np.float32]], transform: Transform) -> tuple[Prediction, ...]:
        """Return what the model saw, best first (texts in reading order); boxes are in pixels of the frame.

        Raises:
            InvalidOutputError: the answer makes no sense.
        """
        ...


def refuse_outputs(spec: ModelSpec, expected: str, outputs: Sequence[TensorInfo]) -> NoReturn:
    """Raise: the model has no output that ``spec.decoder`` could read.

    Raises:
        DataError: code ``model.wrong_output``.
    """
    found = "; ".join(map(str, outputs)) or "none"
    message = f"decoder {spec.decoder!r} expects {expected}, the model's outputs are: {found}"
    is_open = any(one.shape is None or None in one.shape for one in outputs)
    way_out = "export the model with static shapes, or " if is_open else ""
    raise DataError("model.wrong_output", message, help=f"{way_out}write the right task and decoder in edge-model.json")


def refuse_labels(classes: int, spec: ModelSpec) -> NoReturn:
    """Raise: as many labels as classes are needed.

    Raises:
        DataError: code ``model.wrong_labels``.
    """
    message = f"the model tells {classes} classes apart, there are {len(spec.labels)} labels"
    raise DataError("model.wrong_labels", message, help="write one label per class, in the order of training")


def find_output(
    spec: ModelSpec, outputs: Sequence[TensorInfo], expected: str, fits: Callable[[tuple[int, ...]], bool]
) -> int:
    """Return the position of the one output that is meant.

    Args:
        spec: its `output.name` decides when it is given.
        outputs: all outputs of the compiled model.
        expected: the shape in words, for the message.
        fits: tells whether a shape is one.

    Raises:
        DataError: code ``model.wrong_output``: none fits, several do, or the named one does not.
    """
    named = [i for i, one in enumerate(outputs) if spec.output.name in (None, one.name, *one.aliases)]
    fitting = [i for i in named if fits(static_shape(outputs[i]))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(repr(outputs[i].name) for i in fitting)
        message = f"several outputs could be the answer: {names}"
        raise DataError("model.wrong_output", message, help='write "output": {"name": ...} in edge-model.json')
    where = expected if spec.output.name is None else f"{expected} named {spec.output.name!r}"
    refuse_outputs(spec, where, outputs)


def find_roles(
    spec: ModelSpec,
    outputs: Sequence[TensorInfo],
    expected: str,
    fits: Mapping[str, Callable[[TensorInfo], bool]],
    *,
    optional: Sequence[str] = (),
) -> dict[str, int]:
    """Return the positions of several outputs by the decoder's word for each.

    What ``output.names`` names is taken; then an output that is called by the word itself; then the only one left that
    fits, the most particular first.

    Args:
        spec: its `output.names` decides where it is given.
        outputs: all outputs of the compiled model.
        expected: the outputs in words, for the message.
        fits: tells by word whether an output could be it; the most particular word first.
        optional: words that may have no output.

    Raises:
        DataError: code ``model.wrong_output``: a word has no output that fits, or several.
    """
    roles: dict[str, int] = {}
    for role, is_one in fits.items():
        wanted = spec.output.names.get(role, role)
        named = [i for i, one in enumerate(outputs) if wanted in (one.name, *one.aliases)]
        if named and is_one(outputs[named[0]]):
            roles[role] = named[0]
        elif role in spec.output.names:
            refuse_outputs(spec, f"{expected}; {role} named {wanted!r}", outputs)
    for role, is_one in fits.items():
        left = [i for i, one in enumerate(outputs) if i not in roles.values() and is_one(one)]
        if role not in roles and len(left) == 1:
            roles[role] = left[0]
        elif role not in roles and (left or role not in optional):
            refuse_outputs(spec, f'{expected}; which is which can be written as "output": {{"names": ...}}', outputs)
    return roles


def static_shape(output: TensorInfo) -> tuple[int, ...]:
    """Return the shape, -1 for what is not fixed."""
    return tuple(-1 if one is None else one for one in output.shape or ())
