"""Where the product's own model and clip are: in the installed package, or in a checkout's ``models/``."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.core.errors import DataError

PACKAGE = Path(__file__).resolve().parents[1]
MODEL = "surface-defects"


def model_package(name: str = MODEL) -> Path:
    """Return the directory of a model package that ships with the product.

    Raises:
        DataError: the installation is incomplete.
    """
    for base in (PACKAGE / "_models", PACKAGE.parent / "models"):
        if (base / name / "edge-model.json").is_file():
            return base / name
    raise DataError("assets.absent", f"the model package {name} is not in this installation", help="install it again")
