"""Which system laid a directory out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.core.layouts import (
    HUGGING_FACE_NAME,
    METADATA_NAME,
    MLMODEL_NAME,
    ONNX_FOLDER,
    REPOSITORY_NAME,
    version_number,
)
from edge_runtime.engine.layouts import huggingface, repository
from edge_runtime.engine.layouts.foreign import FORMATS, Directory, Foreign, names_in
from edge_runtime.engine.layouts.mlflow import open_mlflow

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_foreign(root: Path) -> Foreign | None:
    """Return the model in the directory ``root``, ``None`` when it is laid out in no way that is known.

    Raises:
        DataError: it is, but holds no model that runs here: codes ``model.missing``, ``model.no_form``,
            ``model.ambiguous``, ``model.unreadable``.
        OSError: it cannot be looked at.
    """
    root = root if root.name else root.absolute()
    if (root / MLMODEL_NAME).exists():
        return open_mlflow(root)
    names = names_in(root)
    if HUGGING_FACE_NAME in names and (huggingface.PREPROCESSOR_NAME in names or ONNX_FOLDER in names):
        return huggingface.open_directory(root)
    versions = [name for name in names if version_number(name) is not None and (root / name).is_dir()]
    if versions or REPOSITORY_NAME in names:
        return repository.open_model(root, versions)
    repository.refuse_several(root, names)
    return _exported(root, names) or _version(root, names)


def find_around(file: Path) -> Foreign | None:
    """Return the model file ``file`` with what the directory of Hugging Face says that it lies in, or ``None``.

    Raises:
        DataError: as `find_foreign`.
        OSError: it cannot be looked at.
    """
    return huggingface.open_file(file)


def _exported(root: Path, names: Sequence[str]) -> Foreign | None:
    """Return the only model beside a `metadata.yaml`, named as if its file had been."""
    if not (root / METADATA_NAME).is_file():
        return None
    models = [name for name in names if Path(name).suffix.lower() in FORMATS]
    if len(models) != 1:
        return None
    return Foreign(Directory(root).inside(root / models[0]), Path(models[0]).stem, "ultralytics")


def _version(root: Path, names: Sequence[str]) -> Foreign | None:
    """Return the model of a repository when ``root`` is the directory of one of its versions."""
    if version_number(root.name) is None:
        return None
    models = [name for name in names if Path(name).suffix.lower() in FORMATS]
    is_one = len(models) == 1 or (root.parent / REPOSITORY_NAME).exists()
    return repository.open_model(root.parent, [root.name]) if is_one else None
