"""What SQLite's errors mean: each becomes an error of ours with a code and a way out."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from edge_runtime.core.errors import BusyError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Primary result codes (sqlite.org/rescode.html); extended codes carry the primary one in their low byte.
_CODES = {
    sqlite3.SQLITE_FULL: ("storage.full", "free space or raise the quota"),
    sqlite3.SQLITE_READONLY: ("storage.read_only", "remount it writable; the kernel log says why it changed"),
    sqlite3.SQLITE_CORRUPT: ("storage.corrupt", "it is kept beside the new one; look at the disk"),
    sqlite3.SQLITE_NOTADB: ("storage.corrupt", "it is kept beside the new one; look at the disk"),
    sqlite3.SQLITE_CANTOPEN: ("storage.io", "make the directory and give the daemon's user the right to write it"),
}
# Without a code of its own: a table or column is missing although the layout number is ours; a text is not UTF-8.
_DAMAGE = ("no such", "Could not decode")


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Turn what SQLite raises about the file ``path`` into our errors.

    Raises:
        BusyError: another process has the file open.
        StorageError: everything else.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, path) from error
    except (ValueError, TypeError) as error:
        # SQLite's pages have no checksums: what it returns need not be what we wrote
        code, msg = "storage.corrupt", f"{path} holds what was not written: {error}"
        raise StorageError(code, msg, help=_CODES[sqlite3.SQLITE_CORRUPT][1]) from error


def _translated(error: sqlite3.Error, path: Path) -> StorageError | BusyError:
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        code, msg = "storage.locked", f"{path} is open in another process"
        return BusyError(code, msg, help="stop that process or use another state directory")
    if primary == sqlite3.SQLITE_ERROR and any(text in str(error) for text in _DAMAGE):
        primary = sqlite3.SQLITE_CORRUPT
    code, way_out = _CODES.get(primary, ("storage.io", "look at the kernel log for errors of this disk"))
    return StorageError(code, f"cannot use {path}: {error}", help=way_out)
