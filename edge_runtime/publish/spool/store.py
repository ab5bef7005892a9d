"""The spool's file: SQLite in WAL mode, every change one transaction, every failure a ``StorageError`` with a code.

The tables are in ``layout``. An acknowledgement moves an id between small tables, so it costs no rewrite of the
document.

Legal order: ``open`` -> any method -> ``close``. One thread at a time, except ``sync``, which any thread may call.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from typing import TYPE_CHECKING

from edge_runtime.publish.spool.layout import LAYOUT, prepare
from edge_runtime.publish.spool.reading import Reading
from edge_runtime.publish.spool.rows import Changes, Found, Held, Row, StreamState
from edge_runtime.system import files
from edge_runtime.system.sqlfaults import mapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Changes", "Found", "Held", "Row", "Store", "StreamState"]


class Store(Reading):
    """See the module docstring."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Use ``open``."""
        super().__init__(path, connection)
        self._wal = path.with_name(path.name + "-wal")
        self._wal_descriptor: int | None = None
        self._closed = False
        self._sync_lock = threading.Lock()  # guards _wal_descriptor and _closed: close() must not meet sync()

    @classmethod
    def open(cls, path: Path, *, strict: bool, check: bool) -> Store:
        """Open or make the store at ``path``; ``strict`` syncs in every commit, ``check`` looks for damage first.

        Raises:
            StorageError: with code ``storage.corrupt``, ``storage.newer``, ``storage.full``, ``storage.io`` ...
            BusyError: another process has it open.
        """
        with mapped(path):
            # Autocommit mode, because BEGIN and COMMIT are written out; handed between threads, never shared.
            connection = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
            try:
                prepare(connection, path, strict=strict, check=check)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def commit(self, changes: Changes) -> None:
        """Apply ``changes`` in one transaction.

        Raises:
            StorageError: the disk or the file refuses. Nothing of it is there, or, if only the sync at its end failed,
                all of it: ``owes`` tells when the file was opened again.
        """
        with mapped(self._path), self._transaction() as connection:
            many = connection.executemany
            many(
                "INSERT INTO row VALUES(?,?,?,?,?,?,?)",
                [(r.id, r.stream, r.seq, r.utc_ns, r.mono_ns, json.dumps(r.headers), r.body) for r in changes.rows],
            )
            many("INSERT INTO pending VALUES(?,?,?,0)", [(r.id, r.size, r.rank) for r in changes.rows])
            many(
                "INSERT OR REPLACE INTO stream VALUES(?,?,?)",
                [(name, state.seq, state.frame_id) for name, state in changes.streams.items()],
            )
            many(
                "INSERT OR IGNORE INTO kept SELECT id, size, class, ? FROM pending WHERE id = ?",
                [(changes.at_s, row_id) for row_id in changes.acked],
            )
            many(
                "INSERT OR IGNORE INTO dead SELECT id, size, class, ? FROM pending WHERE id = ?",
                [(reason, row_id) for row_id, reason in changes.dead],
            )
            removed = [(row_id,) for row_id in changes.removed]
            answered = [(row_id,) for row_id in changes.acked] + [(row_id,) for row_id, _ in changes.dead]
            many("DELETE FROM pending WHERE id = ?", answered + removed)
            for table in ("row", "kept", "dead") if removed else ():
                many(f"DELETE FROM {table} WHERE id = ?", removed)  # noqa: S608 - a constant
            for name, position in changes.positions.items():
                if position is None:
                    connection.execute("DELETE FROM follower WHERE name = ?", (name,))
                else:
                    connection.execute("INSERT OR REPLACE INTO follower VALUES(?,?)", (name, position))

    def revive(self, ids: Sequence[int], source: str) -> None:
        """Make rows owed again that are in the table ``source``, ``kept`` or ``dead``.

        Raises:
            StorageError: the disk or the file refuses.
        """
        wanted = [(row_id,) for row_id in ids]
        with mapped(self._path), self._transaction() as connection:
            many = connection.executemany
            many(f"INSERT OR IGNORE INTO pending SELECT id, size, class, 1 FROM {source} WHERE id = ?", wanted)  # noqa: S608 - one of two constants
            many(f"DELETE FROM {source} WHERE id = ?", wanted)  # noqa: S608 - the same

    def shrink(self, pages: int) -> None:
        """Give up to ``pages`` unused pages back to the file system.

        Raises:
            StorageError: the disk or the file refuses.
        """
        with mapped(self._path):
            # As a script, because the pragma frees one page per step and execute() takes one step only.
            self._connection.executescript(f"PRAGMA incremental_vacuum({int(pages)})")

    def probe(self) -> None:
        """Write a page without changing anything.

        Raises:
            StorageError: the disk or the file refuses.
        """
        with mapped(self._path), self._transaction() as connection:
            connection.execute(f"PRAGMA user_version = {LAYOUT}")

    def checkpoint(self) -> None:
        """Sync the log, copy it into the main file and sync that: what was committed is durable.

        The log file keeps its size, so that a full disk does not take the room from the next commits.

        Raises:
            StorageError: the disk refuses; what is durable is unknown.
        """
        with mapped(self._path):
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()

    def sync(self) -> None:
        """Make every commit so far durable (fdatasync of the log). Any thread; blocks for one disk flush.

        Raises:
            StorageError: the flush failed; what is durable is unknown until ``checkpoint`` succeeds.
        """
        with self._sync_lock:
            try:
                if self._closed:
                    return
                if self._wal_descriptor is None:
                    self._wal_descriptor = os.open(self._wal, os.O_RDONLY | os.O_CLOEXEC)
                    files.sync_directory(self._path.parent)  # the log's name must survive a power cut too
                os.fdatasync(self._wal_descriptor)
            except OSError as error:
                raise files.storage_error(error, self._wal, "sync") from error

    def close(self) -> None:
        """Close the file; idempotent, never raises: what is committed stays in the log."""
        with self._sync_lock:
            self._closed = True
            if self._wal_descriptor is not None:
                os.close(self._wal_descriptor)
                self._wal_descriptor = None
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite has rolled back by itself after most disk errors
                self._connection.execute("ROLLBACK")
            raise
