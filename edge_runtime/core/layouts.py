"""How other systems lay out a model directory: what tells them, for whoever looks at one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MLMODEL_NAME: Final = "MLmodel"
"""File in the directory of an MLflow model that describes it."""
METADATA_NAME: Final = "metadata.yaml"
"""File beside a model in the directories that Ultralytics' exporter makes, of which some hold a single model."""
HUGGING_FACE_NAME: Final = "config.json"
"""File in the directory of a model of Hugging Face's transformers that describes it."""
REPOSITORY_NAME: Final = "config.pbtxt"
"""File in the directory of a model of a Triton repository that describes it."""
ONNX_FOLDER: Final = "onnx"
"""Directory in one of Hugging Face with the exports of its model."""
READERS_MIN: Final = 2
"""Fewest files of a directory without a manifest that may be models which read text together."""
READERS_LIMIT: Final = 8
"""Most files of such a directory that are looked into."""
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")


def version_number(name: str) -> int | None:
    """Return the version that a directory of a Triton or OVMS repository holds, ``None`` when it is called otherwise.

    Whole numbers from 1, without leading zeros (Triton `docs/user_guide/model_repository.md`, OVMS
    `docs/models_repository_classic.md`).
    """
    return int(name) if _VERSION.fullmatch(name) else None


def home_of(path: Path) -> Path:
    """Return the directory that holds all that belongs to the model at ``path``: mostly ``path``, or where the file is.

    A version of a Triton model is described beside it, an export in the directory `onnx` of Hugging Face likewise; and
    the files of a snapshot in its cache (`models--OWNER--NAME/snapshots/REVISION`) are links into `blobs` beside that.

    Raises:
        OSError: the directory cannot be looked at.
    """
    home = path if path.is_dir() else path.parent
    above = home.parent
    is_export = home.name == ONNX_FOLDER and (above / HUGGING_FACE_NAME).exists()
    is_version = version_number(home.name) is not None and (above / REPOSITORY_NAME).exists()
    home = above if is_export or is_version else home
    cache = home.parent.parent
    return cache if home.parent.name == "snapshots" and cache.name.startswith("models--") else home


def reader_files(root: Path) -> list[Path]:
    """Return the files of the directory ``root`` that may be models which read text together; none if they cannot be.

    PaddleOCR's are kept in one directory, or in one each inside it.

    Raises:
        OSError: the directory cannot be looked at.
    """
    files = sorted([*root.glob("*.onnx"), *root.glob("*/*.onnx")])
    return files if READERS_MIN <= len(files) <= READERS_LIMIT else []
