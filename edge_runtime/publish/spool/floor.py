"""Sequence numbers that outlive the spool file: a small durable side file with a number per stream never yet reached.

Every ``seq`` in use is at or below the stream's floor, and the floor is at most ``BLOCK`` above it. So when the
spool file is lost, going on above the floor can never use a number twice, and a floor far above what the spool file
says proves that the file is not the one that was in use.

The file also says under which boot of the kernel the spool is in use with commits that may not be on the disk yet.
When another boot finds that, the power failed in between: the spool file may not know the numbers of the last
milliseconds, which were sent all the same and must not be used again either.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.system import files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

BLOCK = 4096  # numbers reserved by one write of the file
_MARGIN = BLOCK // 2  # a write starts when fewer than these are left, long before they are used up
_SLACK = 1024  # commits that a power cut may take back although their floor was already written
_LIMIT_BYTES = 1 << 20


class SeqFloor:
    """Durable upper bounds of ``seq``; after ``load``, ``cover``, ``lead`` and ``release`` may be called by any thread.

    Attributes:
        cut: the power failed while the spool was in use.
    """

    def __init__(self, path: Path, kernel_boot: str | None = None, *, synced: bool = False) -> None:
        """Use the file ``path``; nothing is read yet. ``synced``: commits are on the disk before they are sent."""
        self._path = path
        self._kernel_boot = kernel_boot
        self._mark = None if synced else kernel_boot
        self._lock = threading.Lock()  # guards what follows, and the order of writes: a floor must not fall
        self._reserved: dict[str, int] = {}
        self._in_use: str | None = None
        self.cut = False

    def load(self) -> None:
        """Read the file; a missing one means no stream was ever used.

        Raises:
            DataError: it is not ours.
            StorageError: it cannot be read.
        """
        try:
            document = json.loads(files.read_limited(self._path, _LIMIT_BYTES))
            reserved = {str(name): int(seq) for name, seq in document["reserved"].items()}
            in_use = document.get("inUse")
        except FileNotFoundError:
            reserved, in_use = {}, None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            code, msg = "spool.floor", f"{self._path} is not a file of sequence numbers: {error}"
            raise DataError(code, msg, help="it is moved aside") from error
        self._reserved, self._in_use = reserved, in_use
        self.cut = None not in (in_use, self._kernel_boot) and in_use != self._kernel_boot

    def resume(self, name: str, seq: int) -> int:
        """Return the last number that may have been used in stream ``name`` when the spool file says ``seq``.

        It is ``seq`` itself unless the spool file cannot be the one that was in use, or its last commits may be gone.
        """
        reserved = self._reserved.get(name, 0)
        if self.cut:
            return max(seq, reserved)
        return seq if seq + BLOCK + _SLACK >= reserved and (seq > 0 or reserved == 0) else reserved

    def names(self) -> list[str]:
        """Return the streams that have a floor."""
        return list(self._reserved)

    def cover(self, last: Mapping[str, int]) -> bool:
        """Raise the floors that ``last`` (stream to seq) comes near to, durably; return whether the file was written.

        The first time it is written in any case, to say that the spool is in use.

        Raises:
            PermissionDeniedError: the directory may not be written.
            StorageError: the disk refuses; the floors are as before.
        """
        with self._lock:
            raised = {name: seq + BLOCK for name, seq in last.items() if seq + _MARGIN > self._reserved.get(name, 0)}
            if not raised and self._in_use == self._mark:
                return False
            self._write({**self._reserved, **raised}, self._mark)
            return True

    def lead(self, last: Mapping[str, int]) -> None:
        """Raise floors that ``last`` is already above, before these numbers are used: those of a new stream.

        ``cover`` is early enough for all others. A disk that refuses stops nothing: ``cover`` reports it.
        """
        if all(seq <= self._reserved.get(name, 0) for name, seq in last.items()):
            return
        try:
            self.cover(last)
        except (StorageError, PermissionDeniedError) as error:
            logger.warning("numbers are used before their floor is written: %s", error)

    def release(self) -> None:
        """Note, durably, that the spool is no longer in use and everything in it is on the disk.

        Raises:
            PermissionDeniedError: the directory may not be written.
            StorageError: the disk refuses.
        """
        with self._lock:
            if self._in_use is not None:
                self._write(self._reserved, None)

    def _write(self, reserved: dict[str, int], in_use: str | None) -> None:
        document = {"reserved": reserved, "inUse": in_use}
        files.write_atomic(self._path, json.dumps(document, indent=1).encode())
        self._reserved, self._in_use = reserved, in_use
