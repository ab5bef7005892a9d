"""Which commands were begun and how each was answered: so that a repeat gets the same answer, also after a restart.

Everything is in memory; the journal makes it survive. What was begun and never answered when the process died is
answered "interrupted" for ever: nobody knows whether it was carried out, so it is not carried out again.

Bounds: entries that are answered are forgotten after ``KEEP_S``, or earlier, oldest first, when there are too many.
A signed one is the memory of its nonce: before it is forgotten, the floor rises to its timestamp.

Any thread.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.control.commands.journal import CORRUPT, Journal, Record
from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.core.command import Status
from edge_runtime.core.errors import PermissionDeniedError, StorageError
from edge_runtime.system import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

KEEP_S = 900  # three times the longest deadline
COUNT_MAX = 20_000
BYTES_MAX = 16 << 20
ROW_BYTES = 400  # what an entry costs beside its answer
WINDOW_S = 300  # how far a signature's timestamp may be from our clock
RETRY_S = 2.0
_NS = 1_000_000_000


@dataclass(slots=True)
class _Entry:
    record: Record
    mono_ns: int
    written: bool


class Answers:
    """See the module docstring.

    Attributes:
        unwritten: triggers that were carried out although the disk refused to remember them.
        early: entries that were forgotten before their time.
    """

    def __init__(self, path: Path, clock: Clock, report: Callable[[str], None]) -> None:
        """Use the file at ``path``; ``report`` is told in words when it was damaged."""
        self._path = path
        self._clock = clock
        self._report = report
        self._lock = threading.RLock()  # guards everything below
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._bytes = 0
        self._journal: Journal | None = None
        self._floor_ns = 0
        self._retry_ns = 0
        self._interrupted: Callable[[Record], Record] = lambda record: record
        self.trouble: str | None = None
        self.unwritten = 0
        self.early = 0

    def open(self, interrupted: Callable[[Record], Record]) -> None:
        """Read what earlier boots left; ``interrupted`` answers what was begun and never answered. Never raises.

        While the file cannot be used, triggers are remembered in memory only and everything else is refused.
        """
        with self._lock:
            self._interrupted = interrupted
            self._reopen()

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    def find(self, who: str, command_id: str) -> Record | None:
        """Return what is remembered of a command; ``body`` is ``None`` while it is being carried out."""
        with self._lock:
            entry = self._entries.get((who, command_id))
            return None if entry is None else entry.record

    def begin(self, record: Record, *, must_last: bool) -> Record | None:
        """Remember that a command is about to be carried out; ``must_last``: not without the disk.

        Returns ``None``, or what is remembered under its id: then it is a repeat and must not be carried out. ``body``
        is ``None`` while the first one still runs.

        Raises:
            RefusedError: 401: it was signed so long ago that its nonce may have been forgotten, however the clock went.
            StorageError: it must last, and the disk refuses.
        """
        with self._lock:
            key = (record.who, record.id)
            if key in self._entries:
                return self._entries[key].record
            if record.signed_ns is not None and record.signed_ns <= self._floor_ns:
                why = "it was signed before what this box can still tell from a replay; sign it anew"
                raise RefusedError(Status.UNAUTHORIZED, "replayed", why)
            self._entries[key] = _Entry(record, self._clock.mono_ns(), written=False)
            self._bytes += ROW_BYTES
            try:
                self._write(self._entries[key])
            except StorageError:
                if must_last:
                    self._drop(key)
                    raise
                self.unwritten += 1
        return None

    def sync(self) -> None:
        """Make what was begun survive a power cut; blocks for one disk flush, and nobody else.

        Raises:
            StorageError: the disk refuses.
        """
        journal = self._journal
        if journal is None:
            raise StorageError("storage.io", f"{self._path} is not open: {self.trouble}")
        journal.sync()

    def abandon(self, record: Record) -> None:
        """Forget a command that was begun and not carried out after all."""
        with self._lock:
            self._drop((record.who, record.id))
            self._try(lambda journal: journal.forget([(record.who, record.id)], 0))

    def finish(self, record: Record) -> None:
        """Remember an answer; when the disk refuses, at least until the process ends."""
        with self._lock:
            entry = self._entries.get((record.who, record.id))
            if entry is None:
                return
            self._bytes += len(record.body or b"")
            entry.record = record
            entry.written = False
            self._try(lambda _: self._write(entry))

    def tick(self) -> None:
        """Forget what is old or too much, mend what can be mended; call it now and then. Never raises."""
        with self._lock:
            if self._journal is None and self._clock.mono_ns() >= self._retry_ns:
                self._reopen()
            self._prune()
            journal = self._journal
        if journal is not None:
            try:
                journal.tidy()
            except StorageError as error:
                with self._lock:
                    self._failed(error)

    def __len__(self) -> int:
        """How many commands are remembered."""
        return len(self._entries)

    # --- under the lock

    def _write(self, entry: _Entry) -> None:
        if self._journal is None:
            raise StorageError("storage.io", f"{self._path} is not open: {self.trouble}")
        try:
            self._journal.put([entry.record])
        except StorageError as error:
            self._failed(error)
            raise
        entry.written = True
        self._over()

    def _try(self, act: Callable[[Journal], None]) -> bool:
        if self._journal is None:
            return False
        try:
            act(self._journal)
        except StorageError as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: StorageError | PermissionDeniedError) -> None:
        if self.trouble is None:
            logger.error("commands are not remembered on disk, only triggers are carried out: %s", error)
        self.trouble = error.message
        self._retry_ns = self._clock.mono_ns() + int(RETRY_S * _NS)
        if error.code == CORRUPT:
            self.close()

    def _over(self) -> None:
        if self.trouble is not None:
            logger.warning("commands are remembered on disk again after: %s", self.trouble)
            self.trouble = None

    def _reopen(self) -> None:
        """Open the file, a damaged one aside; write what only memory knows."""
        try:
            journal = self._open_file()
        except (StorageError, PermissionDeniedError) as error:
            self._failed(error)
            return
        try:
            self._load(journal)
            left = [entry for entry in self._entries.values() if not entry.written]
            if left:
                journal.put([entry.record for entry in left])
        except StorageError as error:
            journal.close()
            self._failed(error)
            return
        for entry in left:
            entry.written = True
        self._journal = journal
        self._over()

    def _open_file(self) -> Journal:
        floor_ns = max(self._floor_ns, self._clock.utc_ns())
        try:
            return Journal.open(self._path, floor_ns=floor_ns)
        except StorageError as error:
            if error.code != CORRUPT:
                raise
            why = error.message
        label = f"corrupt-{self._clock.utc_ns() // _NS}"
        for suffix in ("-wal", "-shm"):
            files.move_aside(self._path.with_name(self._path.name + suffix), label)
        moved = files.move_aside(self._path, label)
        name = moved.name if moved is not None else "nothing"
        for entry in self._entries.values():
            entry.written = False
        logger.error("moved %s aside as %s: %s", self._path, name, why)
        self._report(f"{self._path.name} was damaged and is kept as {name}: {why}; what was signed before is refused")
        return Journal.open(self._path, floor_ns=floor_ns)

    def _load(self, journal: Journal) -> None:
        self._floor_ns = max(self._floor_ns, journal.floor_ns())
        now_ns = self._clock.mono_ns()
        for record in journal.records():
            key = (record.who, record.id)
            if key in self._entries:
                continue
            entry = _Entry(record, now_ns, written=True)
            if record.body is None:
                entry.record, entry.written = self._interrupted(record), False
            self._entries[key] = entry
            self._bytes += ROW_BYTES + len(entry.record.body or b"")

    def _drop(self, key: tuple[str, str]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= ROW_BYTES + len(entry.record.body or b"")

    def _prune(self) -> None:
        now_ns, utc_ns = self._clock.mono_ns(), self._clock.utc_ns()
        gone: list[tuple[str, str]] = []
        floor_ns, count, size = self._floor_ns, len(self._entries), self._bytes
        for key, entry in self._entries.items():
            record = entry.record
            excess = count - len(gone) > COUNT_MAX or size > BYTES_MAX
            if not excess and now_ns - entry.mono_ns < KEEP_S * _NS:
                break
            if record.body is None:
                continue  # it is still being carried out
            if record.signed_ns is not None:
                if self._journal is None or (not excess and record.signed_ns > utc_ns - WINDOW_S * _NS):
                    continue  # it could be sent again and taken
                floor_ns = max(floor_ns, record.signed_ns)
            self.early += excess
            size -= ROW_BYTES + len(record.body)
            gone.append(key)
        if gone and not self._try(lambda journal: journal.forget(gone, floor_ns)) and floor_ns > self._floor_ns:
            return  # a nonce is forgotten only when that is on disk
        self._floor_ns = floor_ns
        for key in gone:
            self._drop(key)


def answered(record: Record, status: int, body: bytes) -> Record:
    """Return ``record`` with its answer."""
    return replace(record, status=status, body=body)
