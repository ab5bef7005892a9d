"""Sequence numbers that outlive the spool file: a small durable side file with a number per stream never yet reached.

Every ``seq`` in use is at or below the stream's floor, and the floor is at most ``BLOCK`` above it. So when the
spool file is lost, going on above the floor can never use a number twice, and a floor far above what the spool file
says proves that the file is not the one that was in use.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.system import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BLOCK = 4096  # numbers reserved by one write of the file
_MARGIN = BLOCK // 2  # a write starts when fewer than these are left, long before they are used up
_SLACK = 1024  # commits that a power cut may take back although their floor was already written
_LIMIT_BYTES = 1 << 20


class SeqFloor:
    """Durable upper bounds of ``seq``; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Use the file ``path``; nothing is read yet."""
        self._path = path
        self._reserved: dict[str, int] = {}

    def load(self) -> None:
        """Read the file; a missing one means no stream was ever used.

        Raises:
            DataError: it is not ours.
            StorageError: it cannot be read.
        """
        try:
            document = json.loads(files.read_limited(self._path, _LIMIT_BYTES))
            reserved = {str(name): int(seq) for name, seq in document["reserved"].items()}
        except FileNotFoundError:
            reserved = {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            code, msg = "spool.floor", f"{self._path} is not a file of sequence numbers: {error}"
            raise DataError(code, msg, help="it is moved aside") from error
        self._reserved = reserved

    def resume(self, name: str, seq: int) -> int:
        """Return the last number that may have been used in stream ``name`` when the spool file says ``seq``.

        It is ``seq`` itself unless the spool file cannot be the one that was in use.
        """
        reserved = self._reserved.get(name, 0)
        return seq if seq + BLOCK + _SLACK >= reserved and (seq > 0 or reserved == 0) else reserved

    def names(self) -> list[str]:
        """Return the streams that have a floor."""
        return list(self._reserved)

    def cover(self, last: Mapping[str, int]) -> bool:
        """Raise the floors that ``last`` (stream to seq) comes near to, durably; return whether the file was written.

        Raises:
            PermissionDeniedError: the directory may not be written.
            StorageError: the disk refuses; the floors are as before.
        """
        raised = {name: seq + BLOCK for name, seq in last.items() if seq + _MARGIN > self._reserved.get(name, 0)}
        if not raised:
            return False
        reserved = {**self._reserved, **raised}
        files.write_atomic(self._path, json.dumps({"reserved": reserved}, indent=1).encode())
        self._reserved = reserved
        return True
