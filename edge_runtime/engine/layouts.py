"""Model directories of other systems, opened as they are: MLflow's, Triton's, OpenVINO Model Server's, Ultralytics'.

Of a repository `NAME/VERSION/model.onnx` (or `.xml` and `.bin`) the highest version is taken, as both servers do unless
their configuration says otherwise, which is not read. Of an MLflow model its `onnx` flavor is, and its signature has
to be that of the model. Ultralytics' exporter puts an IR and its `metadata.yaml` into a directory of their own
(`best_openvino_model`). None lists digests: the identity is that of the bare files.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from edge_runtime.config.yaml12 import LIMIT_BYTES, parse
from edge_runtime.core.errors import DataError
from edge_runtime.core.layouts import METADATA_NAME, MLMODEL_NAME, version_number
from edge_runtime.system.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.config.tree import Node
    from edge_runtime.engine.base import TensorInfo

_FORMATS: Final = (".onnx", ".xml")
_ENTRIES_LIMIT: Final = 10_000
_ENTRIES_TOLD: Final = 5
_DYNAMIC: Final = -1
_CONFIGURATION: Final = "config.pbtxt"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A model found in a directory of another system.

    Attributes:
        file: the `.onnx` or `.xml`.
        name: of the model.
        version: as the system counts, or ``None``.
        signature: of MLflow, as the JSON text it is kept as, or ``None``.
        notes: what a reader of the log should know.
    """

    file: Path
    name: str
    version: str | None = None
    signature: str | None = None
    notes: tuple[str, ...] = ()


def find_foreign(root: Path) -> Foreign | None:
    """Return the model in the directory ``root``, ``None`` when it is laid out in no way that is known.

    Raises:
        DataError: it is, but holds no model that runs here: codes ``model.missing``, ``model.no_form``,
            ``model.unreadable``.
        OSError: it cannot be looked at.
    """
    if (root / MLMODEL_NAME).exists():
        return _mlflow(root)
    versions = {number: name for name in _names(root) if (number := version_number(name)) and (root / name).is_dir()}
    return _repository(root, versions) if versions else _exported(root)


def check_signature(signature: str, inputs: Sequence[TensorInfo], where: str) -> None:
    """Compare MLflow's signature with what the model takes.

    Raises:
        DataError: code ``model.wrong_signature``: they are not of one model.
    """
    try:
        stated = [
            (one.get("name"), one["tensor-spec"]["dtype"], one["tensor-spec"]["shape"]) for one in json.loads(signature)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        message = f"{where}: the signature is no list of tensors"
        _refuse("wrong_signature", message, "log the model with the signature of its tensors")
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
        _refuse("wrong_signature", message, "log the model again: signature and weights are not of one model")


def _is_like(shape: tuple[int | None, ...] | None, stated: object) -> bool:
    if shape is None or not isinstance(stated, list) or len(stated) != len(shape):
        return shape is None
    return all(one in (None, other) or other == _DYNAMIC for one, other in zip(shape, stated, strict=True))


def _mlflow(root: Path) -> Foreign:
    where = f"{root.name}/{MLMODEL_NAME}"
    document = parse(_text(root, MLMODEL_NAME), where)
    if document.root is None or document.problems:
        problem = document.problems[0]
        _refuse("unreadable", f"{problem.origin}: {problem.message}", "log the model again")
    flavors = _at(document.root, "flavors")
    data = _at(flavors, "onnx", "data")
    if data is None or not isinstance(data.value, str):
        found = ", ".join(flavors.value) if flavors is not None and isinstance(flavors.value, dict) else "none"
        message = f"{where}: no flavor onnx with its file, found: {found}"
        _refuse("no_form", message, "log the model with mlflow.onnx")
    signature = _at(document.root, "signature", "inputs")
    stated = signature.value if signature is not None and isinstance(signature.value, str) else None
    return Foreign(_inside(root, root / data.value), root.name, signature=stated)


def _at(node: Node | None, *keys: str) -> Node | None:
    for key in keys:
        entry = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
        node = None if entry is None else entry.node
    return node


def _exported(root: Path) -> Foreign | None:
    """Return the only model beside a `metadata.yaml`, named as if its file had been."""
    if not (root / METADATA_NAME).is_file():
        return None
    models = [name for name in _names(root) if Path(name).suffix.lower() in _FORMATS]
    return Foreign(_inside(root, root / models[0]), Path(models[0]).stem) if len(models) == 1 else None


def _repository(root: Path, versions: dict[int, str]) -> Foreign:
    version = versions[max(versions)]
    place = root / version
    names = _names(place)
    models = [name for name in names if Path(name).suffix.lower() in _FORMATS]
    if len(models) != 1:
        found = ", ".join(names[:_ENTRIES_TOLD]) or "nothing"
        message = f"{root.name}/{version}: expected one .onnx or .xml file, found {found}"
        _refuse("no_form", message, "put the model there as model.onnx, or as model.xml and model.bin")
    notes = [f"version {version} of {len(versions)} is the highest"] if len(versions) > 1 else []
    if (root / _CONFIGURATION).exists():
        notes.append(f"{_CONFIGURATION} is not read")
    file = _inside(root, place / models[0])
    if file.suffix.lower() == ".xml":
        _inside(root, file.with_suffix(".bin"))
    return Foreign(file, root.name, version, notes=tuple(notes))


def _names(place: Path) -> list[str]:
    names = []
    with os.scandir(place) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > _ENTRIES_LIMIT:
                message = f"{place.name}: more than {_ENTRIES_LIMIT} files"
                _refuse("unreadable", message, "name the directory of one model")
    return sorted(names)


def _inside(root: Path, path: Path) -> Path:
    """Return ``path`` if it lies in ``root``, whatever links say."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        message = f"{root.name}/{os.path.relpath(path, root)} leads out of the model's directory"
        _refuse("missing", message, "copy the file into it")
    return path


def _text(root: Path, name: str) -> str:
    path = _inside(root, root / name)
    with open_regular(path) as file:
        raw = file.read(LIMIT_BYTES + 1)
    if len(raw) > LIMIT_BYTES:
        _refuse("unreadable", f"{root.name}/{name}: more than {LIMIT_BYTES} bytes", "log the model again")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        _refuse("unreadable", f"{root.name}/{name}: not UTF-8", "log the model again")


def _refuse(code: str, message: str, help_: str) -> NoReturn:
    raise DataError(f"model.{code}", message, help=help_)
