"""The audit trail in the state directory: who asked for what, and what became of it (IEC 62443-4-2 CR 2.8 to 2.12).

``audit.jsonl`` grows by one line per record; when it is large it becomes ``audit.000000000001.jsonl`` (the number of
its first record) and the chain goes on in a new file. The oldest files beyond ``FILES_MAX`` are deleted, which the
next record says. A disk that refuses does not stop the line: what could not be written is counted, and the next record
that can be written says how many are missing.

Any thread; a record is written (not synced) when ``add`` returns.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING

from edge_runtime.control.commands.chain import BROKEN, TORN, Head, Proof, encode, torn_fields, verify
from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.publish.payload import timestamp
from edge_runtime.system import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

FILE = "audit.jsonl"
_OLD = "audit.[0-9]*.jsonl"
FILE_BYTES = 4 << 20
FILES_MAX = 8  # older files that are kept beside the present one
_READ_MAX = 2 * FILE_BYTES
_NS_PER_S = 1_000_000_000


def trail(directory: Path) -> list[Path]:
    """Return the files of the trail in ``directory``, oldest first."""
    present = directory / FILE
    return sorted(directory.glob(_OLD)) + ([present] if present.exists() else [])


def lacks_beginning(paths: list[Path], proof: Proof) -> str | None:
    """Say so when the first records of a trail were taken out: rotation deletes them only beyond ``FILES_MAX`` files.

    A trail that was begun anew, because the one before was found broken and moved aside, says so in its first record.
    """
    older = sum(path.name != FILE for path in paths)
    if proof.first <= 1 or older >= FILES_MAX or proof.begins_anew:
        return None
    return f"records 1 to {proof.first - 1} are missing, and no file was full enough to be rotated away"


def contents(paths: list[Path]) -> Iterator[bytes]:
    """Read the files of a trail.

    Raises:
        DataError: one is larger than any that is written.
        PermissionDeniedError: one may not be read.
        StorageError: the disk refuses.
    """
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # rotated away since
            yield files.read_limited(path, _READ_MAX)


class Audit:
    """See the module docstring.

    Attributes:
        lost: records that could not be written, in all.
        head: the last record.
    """

    def __init__(self, directory: Path, boot_id: str, clock: Clock, *, file_bytes: int = FILE_BYTES) -> None:
        """Keep the trail in ``directory``; nothing is opened yet."""
        self._directory = directory
        self._path = directory / FILE
        self._boot_id = boot_id
        self._clock = clock
        self._file_bytes = file_bytes
        self._lock = threading.Lock()  # guards everything below
        self._descriptor: int | None = None
        self._size = 0
        self._unsaid = 0
        self._first = 1
        self.lost = 0
        self.head = Head()
        self.trouble: str | None = None

    def open(self) -> None:
        """Find the end of the chain and go on from there; what is broken is said in a record. Never raises."""
        with self._lock:
            self._attempt(self._open)

    def close(self) -> None:
        """Sync and close; idempotent, never raises."""
        with self._lock:
            if self._descriptor is not None:
                with contextlib.suppress(OSError):
                    os.fdatasync(self._descriptor)
                os.close(self._descriptor)
                self._descriptor = None

    def add(self, kind: str, fields: Mapping[str, object]) -> Head | None:
        """Append a record; return where the chain ends now, ``None`` when the disk refused it. Never raises."""
        with self._lock:
            if self._attempt(lambda: self._append_or_open(kind, fields)):
                return self.head
            self.lost += 1
            self._unsaid += 1
            return None

    def sync(self) -> None:
        """Make every record so far survive a power cut; blocks for one disk flush, and nobody else. Never raises."""
        with self._lock:
            copy = None if self._descriptor is None else os.dup(self._descriptor)
        if copy is None:
            return
        try:
            os.fdatasync(copy)
        except OSError as error:
            self.trouble = str(error)
        finally:
            os.close(copy)

    # --- under the lock

    def _attempt(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except (OSError, StorageError, PermissionDeniedError, DataError) as error:
            if self.trouble is None:
                logger.error("the audit trail cannot be written, what is missing is counted: %s", error)  # noqa: TRY400 - no bug of ours
            self.trouble = str(error)
            return False
        return True

    def _append_or_open(self, kind: str, fields: Mapping[str, object]) -> None:
        if self._descriptor is None:
            self._open()
        if self._size > self._file_bytes:
            self._rotate()
        if self._unsaid:
            self._append("audit.lost", {"count": self._unsaid})
            self._unsaid = 0
        self._append(kind, fields)
        if self.trouble is not None:
            logger.warning("the audit trail can be written again after: %s", self.trouble)
            self.trouble = None

    def _append(self, kind: str, fields: Mapping[str, object], *, before: bytes = b"") -> None:
        """Write one line after the bytes ``before``."""
        fixed = {"ts": timestamp(self._clock.utc_ns()), "bootId": self._boot_id, "kind": kind}
        line, head = encode(self.head, {**fixed, **fields, **fixed})
        self._write(before + line + b"\n")
        self.head = head

    def _write(self, data: bytes) -> None:
        """Write all of ``data``; the part of it that a full disk takes is our own and is taken back."""
        if self._descriptor is None:
            raise StorageError("storage.io", f"{self._path} is not open")
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self._take_back()
            raise files.storage_error(error, self._path, "write") from error
        self._size += len(data)

    def _take_back(self) -> None:
        """Cut what the refused write left; where that fails too, opening again declares it torn."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        before, data = self._look()
        proof = verify([data], start=before)
        moved = None
        if proof.broken is not None:
            moved = files.move_aside(self._path, f"broken-{self._clock.utc_ns() // _NS_PER_S}")
            logger.error("the audit trail is broken after record %d: %s", proof.head.seq, proof.broken)
            data = b""
        self.head = proof.head if proof.records else before or proof.head
        self._first = proof.first if data and proof.records else self.head.seq + 1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags, 0o640)
        except OSError as error:
            raise files.storage_error(error, self._path, "open") from error
        self._size = len(data)
        if proof.broken is not None:
            self._append(BROKEN, {"reason": proof.broken, "movedTo": moved.name if moved else None})
        elif proof.tail:
            self._mend(proof, data, before)

    def _mend(self, proof: Proof, data: bytes, before: Head | None) -> None:
        """End the half line at the end; the next record declares it, unless only its line feed was missing."""
        whole = verify([data + b"\n"], start=before)
        if whole.broken is None:
            self._write(b"\n")
            self.head = whole.head
            return
        logger.warning("the last line of the audit trail was torn, as a power cut does; the next one says so")
        self._append(TORN, torn_fields(proof.tail), before=b"\n")

    def _look(self) -> tuple[Head | None, bytes]:
        """Return where the newest older file ends, if there is one, and the present file."""
        older = sorted(self._directory.glob(_OLD))
        before = verify(contents(older[-1:]))
        data = b"".join(contents([self._path]))
        return (before.head if before.records and before.broken is None else None), data

    def _rotate(self) -> None:
        if self._descriptor is None:
            return
        old = self._path.with_name(f"audit.{self._first:012d}.jsonl")
        os.fdatasync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = None
        self._path.rename(old)
        gone = sorted(self._directory.glob(_OLD))[:-FILES_MAX]
        for path in gone:
            path.unlink()
        files.sync_directory(self._directory)
        self._open()
        self._append("audit.rotated", {"before": old.name, "deleted": [path.name for path in gone]})
