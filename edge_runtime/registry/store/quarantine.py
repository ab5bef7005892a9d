"""Releases that failed here and are not tried again before the operators say something newer.

Losing the file costs one more attempt at each of them and nothing else, so one that cannot be read counts as empty.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import Section, load_object
from edge_runtime.registry.descriptor import checked_digest
from edge_runtime.registry.statements import NUMBER_MAX
from edge_runtime.system.files import read_limited, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

SCHEMA: Final = "edge-quarantine/1"
ENTRIES_MAX: Final = 256
_LIMIT_BYTES: Final = 1 << 20
_REASON_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a release is not tried, and which wish of the operators (``seq`` of the rollout) it failed under."""

    reason: str
    seq: int


class Quarantine:
    """The file ``root``/quarantine.json. Who adds to it holds the short lock of the slots (`Slots.changing`)."""

    def __init__(self, root: Path) -> None:
        """Read nothing yet."""
        self._path = root / "quarantine.json"

    def refusal(self, digest: str, seq: int) -> Refusal | None:
        """Return why the release is not to be tried under ``seq``, ``None`` when it may be.

        Raises:
            PermissionDeniedError, StorageError: the file cannot be read.
        """
        entry = self.entries().get(digest)
        return entry if entry is not None and seq <= entry.seq else None

    def add(self, digest: str, reason: str, seq: int) -> None:
        """Remember, durably, that the release failed; beyond ``ENTRIES_MAX`` the one with the oldest seq is forgotten.

        Raises:
            DataError: code ``registry.digest``.
            PermissionDeniedError, StorageError: the disk refuses.
        """
        found = {**self.entries(), checked_digest(digest, "release"): Refusal(reason[:_REASON_MAX], seq)}
        newest = sorted(found, key=lambda one: (found[one].seq, one == digest))[-ENTRIES_MAX:]
        document = {"schema": SCHEMA, "refused": {one: asdict(found[one]) for one in sorted(newest)}}
        write_atomic(self._path, json.dumps(document, indent=1).encode())

    def entries(self) -> dict[str, Refusal]:
        """Return all of them by digest.

        Raises:
            PermissionDeniedError, StorageError: the file cannot be read.
        """
        try:
            return _parse(read_limited(self._path, _LIMIT_BYTES), str(self._path))
        except FileNotFoundError:
            return {}
        except DataError as error:
            logger.warning("%s; it counts as empty", error.message)
            return {}


def _parse(raw: bytes, where: str) -> dict[str, Refusal]:
    problems: list[str] = []
    top = Section(load_object(raw, where, limit_bytes=_LIMIT_BYTES), "", problems, [])
    refused = top.section("refused", open_ended=True)
    found: dict[str, Refusal] = {}
    for digest in refused.data:
        entry = refused.section(digest)
        reason, seq = entry.text("reason", required=True), entry.integer("seq", 0, NUMBER_MAX)
        if reason is not None and seq is not None:
            found[checked_digest(digest, where)] = Refusal(reason, seq)
    if top.text("schema", required=True) != SCHEMA or problems:
        raise DataError("store.damaged", f"{where}: not as {SCHEMA} says: {'; '.join(problems)[:300]}")
    return found
