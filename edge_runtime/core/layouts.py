"""How other systems lay out a model directory: what tells them, for whoever looks at one."""

from __future__ import annotations

import re
from typing import Final

MLMODEL_NAME: Final = "MLmodel"
"""File in the directory of an MLflow model that describes it."""
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")


def version_number(name: str) -> int | None:
    """Return the version that a directory of a Triton or OVMS repository holds, ``None`` when it is called otherwise.

    Whole numbers from 1, without leading zeros (Triton `docs/user_guide/model_repository.md`, OVMS
    `docs/models_repository_classic.md`).
    """
    return int(name) if _VERSION.fullmatch(name) else None
