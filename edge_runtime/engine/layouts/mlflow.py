"""MLflow's model directories: of a model its `onnx` flavor is taken, and its signature has to be that of the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from edge_runtime.config.yaml12 import LIMIT_BYTES, parse
from edge_runtime.core.layouts import MLMODEL_NAME
from edge_runtime.engine.layouts.foreign import Directory, Foreign, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_runtime.config.tree import Node
    from edge_runtime.engine.base import TensorInfo

_DYNAMIC: Final = -1
_ANYTHING: Final = "any"
_FACTS: Final = ("run_id", "model_id", "model_uuid", "mlflow_version", "utc_time_created")


def open_mlflow(root: Path) -> Foreign:
    """Return the model of the directory ``root``, which has an `MLmodel`.

    Raises:
        DataError: codes ``model.unreadable``, ``model.no_form``, ``model.missing``.
        OSError: it cannot be read.
    """
    folder, where = Directory(root), f"{root.name}/{MLMODEL_NAME}"
    document = parse(folder.text(MLMODEL_NAME, LIMIT_BYTES), where)
    if document.root is None or document.problems:
        problem = document.problems[0]
        refuse("unreadable", f"{problem.origin}: {problem.message}", "log the model again")
    flavors = _at(document.root, "flavors")
    data = _text(flavors, "onnx", "data")
    if data is None:
        found = ", ".join(flavors.value) if flavors is not None and isinstance(flavors.value, dict) else "none"
        message = f"{where}: no flavor onnx with its file, found: {found}"
        help_ = "the others are pickles or code, which are never loaded here: log the model with mlflow.onnx"
        refuse("no_form", message, help_)
    return Foreign(
        folder.inside(root / data),
        root.name,
        "mlflow",
        signature=_text(document.root, "signature", "inputs"),
        read=folder.read,
        facts={key: value for key in _FACTS if (value := _text(document.root, key)) is not None},
    )


def _text(node: Node | None, *keys: str) -> str | None:
    found = _at(node, *keys)
    return found.value if found is not None and isinstance(found.value, str) else None


def _at(node: Node | None, *keys: str) -> Node | None:
    for key in keys:
        entry = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
        node = None if entry is None else entry.node
    return node


def check_signature(signature: str, inputs: Sequence[TensorInfo], where: str) -> None:
    """Compare MLflow's signature with what the model takes.

    Raises:
        DataError: code ``model.wrong_signature``: they are not of one model.
    """
    try:
        entries = json.loads(signature)
        if any(one.get("type") == _ANYTHING for one in entries):  # MLflow 3 could not tell: it says nothing
            return
        stated = [(one.get("name"), one["tensor-spec"]["dtype"], one["tensor-spec"]["shape"]) for one in entries]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        message = f"{where}: the signature is no list of tensors"
        refuse("wrong_signature", message, "log the model with the signature of its tensors")
    taken = {one.name: one for one in inputs}
    fits = len(stated) == len(inputs) and all(
        (one := taken.get(name) if name is not None else inputs[0] if len(inputs) == 1 else None) is not None
        and one.dtype == dtype
        and _is_like(one.shape, shape)
        for name, dtype, shape in stated
    )
    if not fits:
        listed = "; ".join(f"{name or '(no name)'} {dtype} {shape}" for name, dtype, shape in stated)
        message = f"{where}: the signature says {listed[:300]}, the model takes {'; '.join(map(str, inputs))}"
        refuse("wrong_signature", message, "log the model again: signature and weights are not of one model")


def _is_like(shape: tuple[int | None, ...] | None, stated: object) -> bool:
    if shape is None or not isinstance(stated, list) or len(stated) != len(shape):
        return shape is None
    return all(one in (None, other) or other == _DYNAMIC for one, other in zip(shape, stated, strict=True))
