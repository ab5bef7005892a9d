"""Whether a lot is running, as the command ``lot`` said last, across restarts: one small file in the state directory.

Nobody said anything, or the file cannot be understood: then a lot may be running, and a box that may change models
between lots only changes none until somebody says so. One thread.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.system.files import move_aside, read_limited, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

NAME: Final = "lots.json"
SCHEMA: Final = "edge.lots/1"
LIMIT_BYTES: Final = 1 << 20
BOX: Final = "*"  # what was said of the whole box


@dataclass(frozen=True, slots=True)
class Lot:
    """What was said last.

    Attributes:
        running: a lot is; false = between two.
        lot_id: which one, or which one ended.
        at: RFC 3339, when it was said.
    """

    running: bool
    lot_id: str | None
    at: str


class LotsFile:
    """See the module docstring."""

    def __init__(self, state_dir: Path, *, looks_on: bool = False) -> None:
        """Read the file in ``state_dir``; who only looks on moves nothing aside."""
        self.path = state_dir / NAME
        self._looks_on = looks_on
        self._lots = self._read()

    def of(self, slot: str) -> Lot | None:
        """Return how it is with a slot; ``None`` = nobody said."""
        return self._lots.get(slot, self._lots.get(BOX))

    def running(self, slot: str) -> bool | None:
        """Return whether a lot is running in a slot; ``None`` = nobody said."""
        lot = self.of(slot)
        return None if lot is None else lot.running

    def say(self, slot: str | None, lot: Lot) -> None:
        """Note how it is with a slot, or (``None``) with the whole box; in force at once, and then on the disk.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses; it is in force until the daemon ends.
        """
        self._lots = {BOX: lot} if slot is None else {**self._lots, slot: lot}
        document = {"schema": SCHEMA, "lots": {name: asdict(one) for name, one in self._lots.items()}}
        write_atomic(self.path, json.dumps(document, ensure_ascii=False).encode())

    def _read(self) -> dict[str, Lot]:
        try:
            return _parsed(read_limited(self.path, LIMIT_BYTES))
        except FileNotFoundError:
            return {}
        except (DataError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            logger.error("%s is damaged, so a lot may be running: %s", self.path, error)  # noqa: TRY400 - no bug of ours
            self._set_aside()
        except (StorageError, PermissionDeniedError) as error:
            logger.error("whether a lot is running cannot be read: %s", error)  # noqa: TRY400 - as above
        return {}

    def _set_aside(self) -> None:
        if self._looks_on:
            return
        try:
            move_aside(self.path, "damaged")
        except (StorageError, PermissionDeniedError) as error:
            logger.warning("it cannot be moved aside: %s", error)


def _parsed(raw: bytes) -> dict[str, Lot]:
    document = json.loads(raw)
    if document["schema"] != SCHEMA:
        msg = f"expected schema {SCHEMA}"
        raise ValueError(msg)
    return {str(name): _lot(one) for name, one in document["lots"].items()}


def _lot(value: Mapping[str, object]) -> Lot:
    running, lot_id, at = value["running"], value["lot_id"], value["at"]
    if not isinstance(running, bool) or not isinstance(lot_id, str | None) or not isinstance(at, str):
        msg = "a lot has running, a lot_id and at"
        raise TypeError(msg)
    return Lot(running, lot_id, at)
