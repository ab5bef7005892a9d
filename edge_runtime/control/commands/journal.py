"""The answers' file ``commands.db``: SQLite in WAL mode, one transaction per change, failures as ``StorageError``.

``answer`` holds one row per command that was begun; a row without ``body`` was never answered. ``floor`` holds the
timestamp at and below which no signed command is taken any more, because its nonce may have been forgotten.

A commit survives kill -9 at once, a power cut after ``sync``. One caller at a time (``Answers`` holds a lock), except
``sync`` and ``tidy``, which any thread may call, and which hold nobody up.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.core.errors import BusyError, StorageError
from edge_runtime.system import files
from edge_runtime.system.sqlfaults import mapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LAYOUT = 1
_TIDY_COMMITS = 250  # a commit is some pages of 4 KiB
_TABLES = """
CREATE TABLE answer(who TEXT NOT NULL, id TEXT NOT NULL, digest BLOB NOT NULL, verb TEXT NOT NULL, target TEXT,
                    signed_ns INTEGER, status INTEGER, body BLOB, PRIMARY KEY(who, id)) WITHOUT ROWID;
CREATE TABLE floor(one INTEGER PRIMARY KEY CHECK(one = 1), signed_ns INTEGER NOT NULL);
"""
_ROW = "who, id, digest, verb, target, signed_ns, status, body"
CORRUPT = "storage.corrupt"


@dataclass(frozen=True, slots=True)
class Record:
    """One row: who asked (with how that is known), what, and the answer if there is one.

    Attributes:
        signed_ns: timestamp of the signature, ns since 1970; ``None`` for unsigned commands.
        body: the answer as it was sent.
    """

    who: str
    id: str
    digest: bytes
    verb: str
    target: str | None
    signed_ns: int | None = None
    status: int | None = None
    body: bytes | None = None


class Journal:
    """See the module docstring."""

    def __init__(self, path: Path, connection: sqlite3.Connection, tidier: sqlite3.Connection) -> None:
        """Use ``open``."""
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._connection = connection
        self._tidier = tidier
        self._commits = 0
        self._sync_lock = threading.Lock()  # guards _tidier, _descriptor and _closed: close() must not meet sync()
        self._descriptor: int | None = None
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, floor_ns: int) -> Journal:
        """Open the file at ``path``, or make it with ``floor_ns``: what was signed before it existed is not taken.

        Raises:
            StorageError: with code ``storage.corrupt``, ``storage.newer``, ``storage.full``, ``storage.io`` ...
        """
        with _mapped(path):
            connection = _connect(path)
            try:
                _prepare(connection, path, floor_ns)
                tidier = _connect(path)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection, tidier)

    def records(self) -> list[Record]:
        """Return every row.

        Raises:
            StorageError: it cannot be read.
        """
        with _mapped(self._path):
            return [Record(*values) for values in self._connection.execute(f"SELECT {_ROW} FROM answer")]  # noqa: S608 - a constant

    def floor_ns(self) -> int:
        """Return the timestamp at and below which no signed command is taken.

        Raises:
            StorageError: it cannot be read.
        """
        with _mapped(self._path):
            return int(self._connection.execute("SELECT signed_ns FROM floor").fetchone()[0])

    def put(self, records: Sequence[Record]) -> None:
        """Write rows, new ones or with their answer.

        Raises:
            StorageError: the disk or the file refuses; nothing of it is there.
        """
        rows = [(r.who, r.id, r.digest, r.verb, r.target, r.signed_ns, r.status, r.body) for r in records]
        with _mapped(self._path), self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO answer VALUES(?,?,?,?,?,?,?,?)", rows)

    def forget(self, keys: Sequence[tuple[str, str]], floor_ns: int) -> None:
        """Delete rows and raise the floor to ``floor_ns``, in one transaction; it never falls.

        Raises:
            StorageError: the disk or the file refuses; nothing of it is done.
        """
        with _mapped(self._path), self._transaction():
            self._connection.executemany("DELETE FROM answer WHERE who = ? AND id = ?", keys)
            self._connection.execute("UPDATE floor SET signed_ns = max(signed_ns, ?)", (floor_ns,))

    def sync(self) -> None:
        """Make every commit so far durable; blocks for one disk flush.

        Raises:
            StorageError: the flush failed; what is durable is unknown.
        """
        with self._sync_lock:
            try:
                if self._closed:
                    raise StorageError("storage.closed", f"{self._path} is closed")
                if self._descriptor is None:
                    self._descriptor = os.open(self._wal, os.O_RDONLY | os.O_CLOEXEC)
                    files.sync_directory(self._path.parent)  # the log's name must survive a power cut too
                os.fdatasync(self._descriptor)
            except OSError as error:
                raise files.storage_error(error, self._wal, "sync") from error

    def tidy(self) -> None:
        """Copy the log into the file when it has grown; blocks for two disk flushes then, but nobody who commits.

        Raises:
            StorageError: the disk refuses.
        """
        if self._commits < _TIDY_COMMITS:
            return
        with self._sync_lock, _mapped(self._path):
            if not self._closed:
                self._commits = 0
                self._tidier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def close(self) -> None:
        """Close the file; idempotent, never raises."""
        with self._sync_lock:
            self._closed = True
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            for connection in (self._tidier, self._connection):
                with contextlib.suppress(sqlite3.Error):
                    connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite has rolled back by itself after most disk errors
                self._connection.execute("ROLLBACK")
            raise
        self._commits += 1


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, path: Path, floor_ns: int) -> None:
    ask = connection.execute
    layout = ask("PRAGMA user_version").fetchone()[0]
    if layout > LAYOUT:
        code, msg = "storage.newer", f"{path} has layout {layout}, this version knows {LAYOUT}"
        raise StorageError(code, msg, help="run the newer version, or move the file away to start without its content")
    ask("PRAGMA journal_mode = WAL")
    ask("PRAGMA synchronous = NORMAL")
    ask("PRAGMA wal_autocheckpoint = 0")  # a trigger must not wait for the flushes of one: see tidy()
    ask(f"PRAGMA journal_size_limit = {8 << 20}")
    if layout == 0:
        floor = f"INSERT INTO floor VALUES(1, {int(floor_ns)});"
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} {floor} PRAGMA user_version = {LAYOUT}; COMMIT;")
        ask("PRAGMA wal_checkpoint(RESTART)").fetchone()
        return
    verdict = ask("PRAGMA quick_check(1)").fetchone()[0]
    for _ in ask(f"SELECT {_ROW} FROM answer"):  # noqa: S608 - a table or column may be missing, a text not UTF-8
        pass
    if verdict != "ok" or ask("SELECT count(*) FROM floor").fetchone()[0] != 1:
        raise StorageError(CORRUPT, f"{path} is damaged: {verdict}")


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        with mapped(path):
            yield
    except BusyError as error:  # the file is this box's alone: whoever reads it is a disk that refuses for a while
        raise StorageError(error.code, error.message, help=error.help) from error
