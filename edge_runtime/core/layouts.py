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


def reader_files(root: Path) -> list[Path]:
    """Return the files of the directory ``root`` that may be models which read text together; none if they cannot be.

    PaddleOCR's are kept in one directory, or in one each inside it.

    Raises:
        OSError: the directory cannot be looked at.
    """
    files = sorted([*root.glob("*.onnx"), *root.glob("*/*.onnx")])
    return files if READERS_MIN <= len(files) <= READERS_LIMIT else []
