"""What commands have set, across restarts: one small file in the state directory, replaced as a whole.

A file that cannot be understood is moved aside and told, and every inspection runs as it is configured: an inspection
that nobody paused must not stand still because of a damaged disk. One thread at a time may save.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.pipeline.setup import AS_CONFIGURED, Setup
from edge_runtime.system.files import move_aside, read_limited, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

NAME: Final = "inspections.json"
SCHEMA: Final = "edge.inspections/1"
LIMIT_BYTES: Final = 1 << 20


class SetupsFile:
    """See the module docstring."""

    def __init__(self, state_dir: Path) -> None:
        """Keep the file in ``state_dir``; nothing is read before ``load``."""
        self.path = state_dir / NAME
        self._on_disk: dict[str, Setup] | None = None

    def load(self) -> tuple[dict[str, Setup], str | None]:
        """Return the setups by inspection, and what was wrong with the file, ``None`` if nothing."""
        try:
            raw = read_limited(self.path, LIMIT_BYTES)
        except FileNotFoundError:
            self._on_disk = {}
            return {}, None
        except DataError as error:
            return {}, self._damaged(error.message)
        except (StorageError, PermissionDeniedError) as error:
            return {}, error.message
        try:
            found = _parsed(raw)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return {}, self._damaged(f"{self.path} is damaged ({type(error).__name__}: {error})")
        self._on_disk = found
        return found, None

    def save(self, setups: Mapping[str, Setup]) -> None:
        """Make ``setups`` last; nothing is written when they are on the disk already.

        Raises:
            PermissionDeniedError: the directory may not be written.
            StorageError: the disk is full, read-only or broken; the file holds what it held.
        """
        wanted = {name: setup for name, setup in setups.items() if setup != AS_CONFIGURED}
        if wanted == self._on_disk:
            return
        self._on_disk = None  # not known until it is written
        document = {"schema": SCHEMA, "inspections": {name: asdict(setup) for name, setup in wanted.items()}}
        write_atomic(self.path, json.dumps(document, ensure_ascii=False).encode(), mode=0o640)
        self._on_disk = wanted

    def _damaged(self, why: str) -> str:
        try:
            kept = move_aside(self.path, "damaged")
        except (StorageError, PermissionDeniedError) as error:
            return f"{why}; it cannot be moved aside: {error.message}"
        return f"{why}; it was moved to {kept}"


def _parsed(raw: bytes) -> dict[str, Setup]:
    document = json.loads(raw)
    if document["schema"] != SCHEMA:
        msg = f"expected schema {SCHEMA}"
        raise ValueError(msg)
    return {str(name): _setup(one) for name, one in document["inspections"].items()}


def _setup(value: Mapping[str, object]) -> Setup:
    recipe, product_id, paused = value["recipe"], value["product_id"], value["paused"]
    if not isinstance(recipe, str | None) or not isinstance(product_id, str | None) or not isinstance(paused, bool):
        msg = "a setup has a recipe, a product_id and paused"
        raise TypeError(msg)
    return Setup(recipe, product_id, paused)
