"""How the gates say no."""

from __future__ import annotations

from typing import NoReturn

from edge_runtime.core.errors import DataError


def refuse(code: str, message: str, help_: str, cause: Exception | None = None) -> NoReturn:
    """Raise that a model is not taken; ``code`` without its ``model.``.

    Raises:
        DataError: always.
    """
    raise DataError(f"model.{code}", message, help=help_) from cause
