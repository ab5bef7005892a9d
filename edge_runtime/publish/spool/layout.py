"""The tables of the spool's file, and how a file of an earlier version becomes one of this version.

``row`` holds every document. Each is in exactly one state, which is the table that has its id: ``pending`` is owed to
the broker, ``kept`` was acknowledged and is kept for replay and for followers, ``dead`` was refused. So a change of
state rewrites a few bytes and never the document. ``stream`` has the last seq and frame of each stream, ``follower``
the position of each follower.

``class`` says what is given up first (see ``eviction``): 0 a result that is OK, 1 another result, 2 an event.
``again`` is 1 for what is owed once more, by a replay or as a dead letter that gets another chance.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from edge_runtime.core.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = 2  # PRAGMA user_version; a change of the tables raises it
ROW_OVERHEAD_BYTES = 200  # what a row costs on disk beside its body: headers, keys, page slack (rounded up)
# A larger file is opened without a check for damage, which is still found on reading: the check reads all of it (so
# much in 0.7 s on a fast disk, 3 s on a card) while the line waits, and it cannot be interrupted: SQLite 3.40 asks a
# progress handler between opcodes only, and the check of a table is a single one.
CHECK_BYTES_MAX = 64 << 20

_DOCUMENTS = """
CREATE TABLE row(id INTEGER PRIMARY KEY, stream TEXT NOT NULL, seq INTEGER NOT NULL, utc_ns INTEGER NOT NULL,
                 mono_ns INTEGER NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE pending(id INTEGER PRIMARY KEY, size INTEGER NOT NULL);
CREATE TABLE stream(name TEXT PRIMARY KEY, seq INTEGER NOT NULL, frame_id INTEGER) WITHOUT ROWID;
"""
_STATES = """
ALTER TABLE pending ADD COLUMN class INTEGER NOT NULL DEFAULT 1;
ALTER TABLE pending ADD COLUMN again INTEGER NOT NULL DEFAULT 0;
CREATE TABLE kept(id INTEGER PRIMARY KEY, size INTEGER NOT NULL, class INTEGER NOT NULL, at_s INTEGER NOT NULL);
CREATE TABLE dead(id INTEGER PRIMARY KEY, size INTEGER NOT NULL, class INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE follower(name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX place ON row(stream, seq);
"""
_CLASS = """CASE WHEN row.stream LIKE 'event/%' THEN 2
                 WHEN row.headers LIKE '%["evaluation", "OK"]%' THEN 0 ELSE 1 END"""
_FROM_1 = f"""
ALTER TABLE dead RENAME TO dead_1;
{_STATES}
INSERT INTO row SELECT id, stream, seq, utc_ns, 0, headers, body FROM dead_1;
INSERT INTO dead SELECT id, length(row.body) + {ROW_OVERHEAD_BYTES}, {_CLASS}, reason FROM row JOIN dead_1 USING(id);
DROP TABLE dead_1;
UPDATE pending SET class = (SELECT {_CLASS} FROM row WHERE row.id = pending.id)
 WHERE id IN (SELECT id FROM row);
INSERT INTO kept SELECT id, length(row.body) + {ROW_OVERHEAD_BYTES}, {_CLASS}, row.utc_ns / 1000000000 FROM row
 WHERE NOT EXISTS (SELECT 1 FROM pending WHERE pending.id = row.id)
   AND NOT EXISTS (SELECT 1 FROM dead WHERE dead.id = row.id);
"""  # noqa: S608 - constants


def prepare(connection: sqlite3.Connection, path: Path, *, strict: bool, check: bool) -> None:
    """Make ``connection`` the only one to ``path``, and its tables those of this version.

    ``strict`` syncs in every commit, ``check`` looks for damage first. An upgrade is one transaction: the file is of
    the old layout or of the new one, whenever the process or the power ends.

    Raises:
        StorageError: with code ``storage.newer`` or ``storage.corrupt``.
        sqlite3.Error: as SQLite says it; the caller maps it.
    """
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
    if layout and check:
        _check(connection, path)
    if layout < LAYOUT:
        steps = _DOCUMENTS + _STATES if layout == 0 else _FROM_1
        try:
            connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {LAYOUT}; COMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _check(connection: sqlite3.Connection, path: Path) -> None:
    ask = connection.execute
    if ask("PRAGMA page_count").fetchone()[0] * ask("PRAGMA page_size").fetchone()[0] > CHECK_BYTES_MAX:
        return
    verdict = ask("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        code, msg = "storage.corrupt", f"{path} is damaged: {verdict}"
        raise StorageError(code, msg, help="it is kept beside the new one; look at the disk")
