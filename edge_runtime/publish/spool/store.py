"""The spool's file: SQLite in WAL mode, every change one transaction, every failure a ``StorageError`` with a code.

Tables: ``row`` holds documents (what is owed and what is kept for replay), ``pending`` the ids still owed to the
broker, ``dead`` what the broker refused, ``stream`` the last seq and frame of each stream.
An acknowledgement only deletes from the small ``pending`` table, so it costs no rewrite of the document.

Legal order: ``open`` -> any method -> ``close``. One thread at a time, except ``sync``, which any thread may call.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.core.errors import BusyError, StorageError
from edge_runtime.system import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LAYOUT = 1  # PRAGMA user_version; a change of the tables raises it
ROW_OVERHEAD_BYTES = 200  # what a row costs on disk beside its body: headers, keys, page slack (rounded up)
# A larger file is opened without a check for damage, which is still found on reading: the check reads all of it (so
# much in 0.7 s on a fast disk, 3 s on a card) while the line waits, and it cannot be interrupted: SQLite 3.40 asks a
# progress handler between opcodes only, and the check of a table is a single one.
CHECK_BYTES_MAX = 64 << 20

_TABLES = """
CREATE TABLE row(id INTEGER PRIMARY KEY, stream TEXT NOT NULL, seq INTEGER NOT NULL, utc_ns INTEGER NOT NULL,
                 mono_ns INTEGER NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE pending(id INTEGER PRIMARY KEY, size INTEGER NOT NULL);
CREATE TABLE dead(id INTEGER PRIMARY KEY, stream TEXT NOT NULL, seq INTEGER NOT NULL, utc_ns INTEGER NOT NULL,
                  headers TEXT NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL);
CREATE TABLE stream(name TEXT PRIMARY KEY, seq INTEGER NOT NULL, frame_id INTEGER) WITHOUT ROWID;
"""
_ROW = "row.id, row.stream, row.seq, row.utc_ns, row.mono_ns, row.headers, row.body"


@dataclass(frozen=True, slots=True)
class Row:
    """One committed document.

    Attributes:
        id: place in the spool; never used twice in one run.
        stream: topic suffix, for example ``result/top``; ``seq`` counts in it.
        utc_ns: when it happened.
        mono_ns: the same on CLOCK_MONOTONIC of the boot it was captured in.
    """

    id: int
    stream: str
    seq: int
    utc_ns: int
    mono_ns: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def size(self) -> int:
        """Bytes it is counted with against the spool's limit."""
        return len(self.body) + ROW_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class StreamState:
    """Where a stream stands: last seq and, for results, the last frame."""

    seq: int
    frame_id: int | None = None


@dataclass(frozen=True, slots=True)
class Owed:
    """A pending row without its body."""

    id: int
    stream: str
    seq: int
    utc_ns: int
    mono_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class Changes:
    """One transaction: all of it is on disk afterwards or nothing."""

    rows: Sequence[Row] = ()
    streams: dict[str, StreamState] = field(default_factory=dict)
    acked: Sequence[int] = ()  # no longer owed, kept
    dead: Sequence[tuple[int, str]] = ()  # refused, with the reason
    removed: Sequence[int] = ()  # evicted or past their retention


@dataclass(frozen=True, slots=True)
class Found:
    """What a store held when it was opened."""

    last_id: int
    streams: dict[str, StreamState]
    pending: int
    pending_bytes: int
    dead: int
    oldest_utc_ns: int | None


class Store:
    """See the module docstring."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Use ``open``."""
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._connection = connection
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
        with _mapped(path):
            # Autocommit mode, because BEGIN and COMMIT are written out; handed between threads, never shared.
            connection = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
            try:
                _prepare(connection, path, strict=strict, check=check)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def found(self) -> Found:
        """Read what is in the store.

        Raises:
            StorageError: it cannot be read.
        """
        with _mapped(self._path):
            ask = self._connection.execute
            last = ask("SELECT max(coalesce((SELECT max(id) FROM row), 0), coalesce((SELECT max(id) FROM dead), 0))")
            streams = ask("SELECT name, seq, frame_id FROM stream")
            pending, size = ask("SELECT count(*), coalesce(sum(size), 0) FROM pending").fetchone()
            return Found(
                last_id=last.fetchone()[0],
                streams={name: StreamState(seq, frame) for name, seq, frame in streams},
                pending=pending,
                pending_bytes=size,
                dead=ask("SELECT count(*) FROM dead").fetchone()[0],
                oldest_utc_ns=self._oldest(),
            )

    def commit(self, changes: Changes) -> None:
        """Apply ``changes`` in one transaction.

        Raises:
            StorageError: the disk or the file refuses. Nothing of it is there, or, if only the sync at its end failed,
                all of it: ``owes`` tells when the file was opened again.
        """
        with _mapped(self._path), self._transaction() as connection:
            many = connection.executemany
            many(
                "INSERT INTO row VALUES(?,?,?,?,?,?,?)",
                [(r.id, r.stream, r.seq, r.utc_ns, r.mono_ns, json.dumps(r.headers), r.body) for r in changes.rows],
            )
            many("INSERT INTO pending VALUES(?,?)", [(r.id, r.size) for r in changes.rows])
            many(
                "INSERT OR REPLACE INTO stream VALUES(?,?,?)",
                [(name, state.seq, state.frame_id) for name, state in changes.streams.items()],
            )
            many(
                "INSERT OR IGNORE INTO dead SELECT id, stream, seq, utc_ns, headers, body, ? FROM row WHERE id = ?",
                [(reason, row_id) for row_id, reason in changes.dead],
            )
            gone = [(row_id,) for row_id, _ in changes.dead] + [(row_id,) for row_id in changes.removed]
            many("DELETE FROM row WHERE id = ?", gone)
            many("DELETE FROM pending WHERE id = ?", gone + [(row_id,) for row_id in changes.acked])

    def read_pending(self, after: int, through: int, limit: int) -> list[Row]:
        """Return up to ``limit`` owed rows with after < id <= through, in the order of their ids.

        Raises:
            StorageError: it cannot be read.
        """
        query = f"SELECT {_ROW} FROM pending JOIN row USING(id) WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"  # noqa: S608 - a constant
        with _mapped(self._path):
            return [_row(values) for values in self._connection.execute(query, (after, through, limit))]

    def owes(self, row_id: int) -> bool:
        """Tell whether a row is owed.

        Raises:
            StorageError: it cannot be read.
        """
        query = "SELECT EXISTS(SELECT 1 FROM pending WHERE id = ?)"
        with _mapped(self._path):
            return bool(self._connection.execute(query, (row_id,)).fetchone()[0])

    def oldest_pending(self, limit: int, streams: str) -> list[Owed]:
        """Return up to ``limit`` owed rows of streams LIKE ``streams``, oldest first.

        Raises:
            StorageError: it cannot be read.
        """
        query = (
            "SELECT id, stream, seq, utc_ns, mono_ns, size FROM pending JOIN row USING(id) "
            "WHERE stream LIKE ? ORDER BY id LIMIT ?"
        )
        with _mapped(self._path):
            return [Owed(*values) for values in self._connection.execute(query, (streams, limit))]

    def oldest_utc_ns(self) -> int | None:
        """Return when the oldest owed row happened, or ``None``.

        Raises:
            StorageError: it cannot be read.
        """
        with _mapped(self._path):
            return self._oldest()

    def kept(self) -> list[tuple[int, int]]:
        """Return id and size of every row that is acknowledged and kept, oldest first.

        Raises:
            StorageError: it cannot be read.
        """
        query = "SELECT id, length(body) FROM row WHERE id NOT IN (SELECT id FROM pending) ORDER BY id"
        with _mapped(self._path):
            return [(row_id, size + ROW_OVERHEAD_BYTES) for row_id, size in self._connection.execute(query)]

    def trim_dead(self, keep: int) -> int:
        """Delete the oldest refused rows beyond ``keep``; return how many went.

        Raises:
            StorageError: the disk or the file refuses.
        """
        query = "DELETE FROM dead WHERE id <= coalesce((SELECT id FROM dead ORDER BY id DESC LIMIT 1 OFFSET ?), -1)"
        with _mapped(self._path), self._transaction() as connection:
            return connection.execute(query, (keep,)).rowcount

    def shrink(self, pages: int) -> None:
        """Give up to ``pages`` unused pages back to the file system.

        Raises:
            StorageError: the disk or the file refuses.
        """
        with _mapped(self._path):
            # As a script, because the pragma frees one page per step and execute() takes one step only.
            self._connection.executescript(f"PRAGMA incremental_vacuum({int(pages)})")

    def probe(self) -> None:
        """Write a page without changing anything.

        Raises:
            StorageError: the disk or the file refuses.
        """
        with _mapped(self._path), self._transaction() as connection:
            connection.execute(f"PRAGMA user_version = {LAYOUT}")

    def checkpoint(self) -> None:
        """Sync the log, copy it into the main file and sync that: what was committed is durable.

        The log file keeps its size, so that a full disk does not take the room from the next commits.

        Raises:
            StorageError: the disk refuses; what is durable is unknown.
        """
        with _mapped(self._path):
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

    def _oldest(self) -> int | None:
        query = "SELECT utc_ns FROM row WHERE id = (SELECT min(id) FROM pending)"
        found = self._connection.execute(query).fetchone()
        return None if found is None else int(found[0])

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


def _prepare(connection: sqlite3.Connection, path: Path, *, strict: bool, check: bool) -> None:
    ask = connection.execute
    # Exclusive: no second process can write, and the log's index lives in our memory instead of a shared file.
    ask("PRAGMA locking_mode = EXCLUSIVE")
    layout = ask("PRAGMA user_version").fetchone()[0]
    if layout > LAYOUT:
        code, msg = "storage.newer", f"{path} has layout {layout}, this version knows {LAYOUT}"
        raise StorageError(code, msg, help="run the newer version, or move the file away to start without its content")
    if layout == 0:
        ask("PRAGMA auto_vacuum = INCREMENTAL")
    ask("PRAGMA journal_mode = WAL")
    ask(f"PRAGMA synchronous = {'FULL' if strict else 'NORMAL'}")
    ask(f"PRAGMA journal_size_limit = {64 << 20}")
    if layout == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
    elif check:
        _check(connection, path)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    ask = connection.execute
    if ask("PRAGMA page_count").fetchone()[0] * ask("PRAGMA page_size").fetchone()[0] > CHECK_BYTES_MAX:
        return
    verdict = ask("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        code, msg = "storage.corrupt", f"{path} is damaged: {verdict}"
        raise StorageError(code, msg, help="it is kept beside the new one; look at the disk")


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, path) from error


# Primary result codes (sqlite.org/rescode.html); extended codes carry the primary one in their low byte.
_CODES = {
    sqlite3.SQLITE_FULL: ("storage.full", "free space or raise the quota"),
    sqlite3.SQLITE_READONLY: ("storage.read_only", "remount it writable; the kernel log says why it changed"),
    sqlite3.SQLITE_CORRUPT: ("storage.corrupt", "it is kept beside the new one; look at the disk"),
    sqlite3.SQLITE_NOTADB: ("storage.corrupt", "it is kept beside the new one; look at the disk"),
    sqlite3.SQLITE_CANTOPEN: ("storage.io", "make the directory and give the daemon's user the right to write it"),
}


def _translated(error: sqlite3.Error, path: Path) -> StorageError | BusyError:
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        code, msg = "storage.locked", f"{path} is open in another process"
        return BusyError(code, msg, help="stop that process or use another state directory")
    if primary == sqlite3.SQLITE_ERROR and "no such" in str(error):
        primary = sqlite3.SQLITE_CORRUPT  # a table or column is missing although the layout number is ours
    code, way_out = _CODES.get(primary, ("storage.io", "look at the kernel log for errors of this disk"))
    return StorageError(code, f"cannot use {path}: {error}", help=way_out)


def _row(values: tuple[int, str, int, int, int, str, bytes]) -> Row:
    row_id, stream, seq, utc_ns, mono_ns, headers, body = values
    return Row(row_id, stream, seq, utc_ns, mono_ns, tuple((k, v) for k, v in json.loads(headers)), body)
