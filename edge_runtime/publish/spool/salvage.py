"""Takes out of a damaged spool file what can still be read; the file itself is not touched.

The file, and the log that was put aside with it, are copied to a place of their own and opened there, because the
newest documents may be in the log only. Where a page cannot be read, the range of ids is halved until only what is
really on that page is missing.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.publish.spool.depot import Document
from edge_runtime.publish.spool.rows import Row
from edge_runtime.system import files

if TYPE_CHECKING:
    from collections.abc import Callable

_TABLES = ("row", "pending", "kept", "dead")
_AT_ONCE = 256
_ATTEMPTS_MAX = 2_000_000  # ranges that cannot be read: then the rest is given up
_COLUMNS = "id, stream, seq, utc_ns, mono_ns, headers, body"


@dataclass(slots=True)
class Salvaged:
    """How it went: documents that were read, and ids whose document could not be read (some of them never were)."""

    read: int = 0
    unreadable: int = 0


def salvage(path: Path, take: Callable[[Document], None]) -> Salvaged:
    """Give ``take`` every document of the file ``path`` that can be read, oldest first.

    Raises:
        DataError: nothing can be read from it.
        StorageError: there is no room for the copy, or the file cannot be read.
        PermissionDeniedError: it may not be read.
    """
    with tempfile.TemporaryDirectory(prefix="edge-runtime-salvage-") as place:
        copy = Path(place) / "spool.db"
        try:
            shutil.copyfile(path, copy)
            log = _log_of(path)
            if log is not None:
                shutil.copyfile(log, copy.with_name("spool.db-wal"))
        except OSError as error:
            raise files.storage_error(error, path, "copy") from error
        with contextlib.closing(sqlite3.connect(f"file:{copy}", uri=True, isolation_level=None)) as connection:
            try:
                layout = int(connection.execute("PRAGMA user_version").fetchone()[0])
                spans = [_span(connection, table) for table in _TABLES]
            except sqlite3.Error as error:
                raise _hopeless(path, error) from error
            known = [span for span in spans if span is not None]
            if not known:
                raise _hopeless(path, "no table can be read")
            low, high = min(span[0] for span in known), max(span[1] for span in known)
            return _Reader(connection, take, layout).read(low, high)


def _log_of(path: Path) -> Path | None:
    """Return the log that was put aside at about the same moment: ``spool.db-wal.corrupt-...``."""
    name, mark, _ = path.name.partition(".corrupt-")
    found = sorted(path.parent.glob(f"{name}-wal{mark}*")) if mark else [path.with_name(path.name + "-wal")]
    there = [log for log in found if log.exists()]
    return min(there, key=lambda log: abs(log.stat().st_mtime - path.stat().st_mtime), default=None)


def _span(connection: sqlite3.Connection, table: str) -> tuple[int, int] | None:
    try:
        low, high = connection.execute(f"SELECT min(id), max(id) FROM {table}").fetchone()  # noqa: S608 - a constant
    except sqlite3.Error:
        return None
    return None if low is None else (low, high)


def _hopeless(path: Path, why: object) -> DataError:
    return DataError("spool.unreadable", f"nothing can be read from {path}: {why}")


class _Reader:
    def __init__(self, connection: sqlite3.Connection, take: Callable[[Document], None], layout: int) -> None:
        self._connection = connection
        self._take = take
        self._layout = layout
        self._found = Salvaged()
        self._attempts = 0

    def read(self, low: int, high: int) -> Salvaged:
        """Read the documents with low <= id <= high."""
        for first in range(low, high + 1, _AT_ONCE):
            self._halve(first, min(first + _AT_ONCE - 1, high))
        if self._layout == 1:
            self._read_old_dead()
        return self._found

    def _halve(self, low: int, high: int) -> None:
        try:
            query = f"SELECT {_COLUMNS} FROM row NOT INDEXED WHERE id BETWEEN ? AND ? ORDER BY id"  # noqa: S608
            rows = [Row.read(values) for values in self._connection.execute(query, (low, high))]
        except (sqlite3.Error, ValueError, TypeError):
            self._attempts += 1
            if low == high or self._attempts > _ATTEMPTS_MAX:
                self._found.unreadable += high - low + 1
                return
            middle = (low + high) // 2
            self._halve(low, middle)
            self._halve(middle + 1, high)
            return
        for row in rows:
            self._take(Document(row, *self._state(row.id)))
            self._found.read += 1

    def _state(self, row_id: int) -> tuple[str, str | None]:
        if self._ask("SELECT 1 FROM pending WHERE id = ?", row_id) is not None:
            return "owed", None
        reason = self._ask("SELECT reason FROM dead WHERE id = ?", row_id)
        return ("kept", None) if reason is None else ("dead", str(reason))

    def _ask(self, query: str, row_id: int) -> object:
        try:
            found = self._connection.execute(query, (row_id,)).fetchone()
        except sqlite3.Error:
            return None
        return None if found is None else found[0]

    def _read_old_dead(self) -> None:
        """In layout 1 refused documents were in a table of their own."""
        try:
            for values in self._connection.execute(
                "SELECT id, stream, seq, utc_ns, 0, headers, body, reason FROM dead ORDER BY id"
            ):
                self._take(Document(Row.read(values[:7]), "dead", str(values[7])))
                self._found.read += 1
        except (sqlite3.Error, ValueError, TypeError):
            self._found.unreadable += 1
