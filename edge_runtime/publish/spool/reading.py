"""What can be asked of the spool's file; nothing here changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.publish.spool.rows import Found, Held, Place, Row, StreamState
from edge_runtime.system.sqlfaults import mapped

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_ROW = "row.id, row.stream, row.seq, row.utc_ns, row.mono_ns, row.headers, row.body"
_BRIEF = "row.id, row.stream, row.seq, row.utc_ns, row.mono_ns"


class Reading:
    """Every method may raise ``StorageError``: the file cannot be read. One thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Ask ``connection``, which has ``path`` open."""
        self._path = path
        self._connection = connection

    def found(self) -> Found:
        """Read what is in the store.

        Raises:
            StorageError: it cannot be read.
        """
        with mapped(self._path):
            ask = self._connection.execute
            # A position counts as an id: a row with a lower one would never reach that follower.
            last = ask("SELECT max(coalesce((SELECT max(id) FROM row), 0), coalesce(max(position), 0)) FROM follower")
            streams = ask("SELECT name, seq, frame_id FROM stream")
            pending, size, again = ask(
                "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(again), 0) FROM pending"
            ).fetchone()
            kept, kept_size = ask("SELECT count(*), coalesce(sum(size), 0) FROM kept").fetchone()
            return Found(
                last_id=last.fetchone()[0],
                streams={name: StreamState(seq, frame) for name, seq, frame in streams},
                pending=pending,
                pending_bytes=size,
                again=again,
                kept=kept,
                kept_bytes=kept_size,
                dead=ask("SELECT count(*) FROM dead").fetchone()[0],
                oldest_utc_ns=self._oldest(),
                positions=dict(ask("SELECT name, position FROM follower").fetchall()),
            )

    def read_pending(self, after: int, through: int, limit: int, *, again: bool = False) -> list[Row]:
        """Return up to ``limit`` owed rows with after < id <= through, in the order of their ids.

        Raises:
            StorageError: it cannot be read.
        """
        query = (
            f"SELECT {_ROW} FROM pending CROSS JOIN row USING(id) "  # noqa: S608 - a constant; CROSS keeps the order
            "WHERE pending.id > ? AND pending.id <= ? AND again = ? ORDER BY pending.id LIMIT ?"
        )
        with mapped(self._path):
            found = self._connection.execute(query, (after, through, int(again), limit)).fetchall()
            return [Row.read(values, again=again) for values in found]

    def read_results(self, after: int, through: int, limit: int) -> list[Row]:
        """Return up to ``limit`` results with after < id <= through, owed or not, in the order of their ids.

        Raises:
            StorageError: it cannot be read.
        """
        query = (
            f"SELECT {_ROW} FROM row NOT INDEXED "  # noqa: S608 - a constant
            "WHERE id > ? AND id <= ? AND stream LIKE 'result/%' ORDER BY id LIMIT ?"
        )
        with mapped(self._path):
            return [Row.read(values) for values in self._connection.execute(query, (after, through, limit)).fetchall()]

    def count(self, after: int, through: int) -> int:
        """Return how many rows there are with after < id <= through; reads no documents.

        Raises:
            StorageError: it cannot be read.
        """
        each = "(SELECT count(*) FROM {} WHERE id > :after AND id <= :through)"
        query = "SELECT " + " + ".join(each.format(table) for table in ("pending", "kept", "dead"))
        with mapped(self._path):
            found = self._connection.execute(query, {"after": after, "through": through})
            return int(found.fetchone()[0])

    def owes(self, row_id: int) -> bool:
        """Tell whether a row is owed.

        Raises:
            StorageError: it cannot be read.
        """
        query = "SELECT EXISTS(SELECT 1 FROM pending WHERE id = ?)"
        with mapped(self._path):
            return bool(self._connection.execute(query, (row_id,)).fetchone()[0])

    def owed(
        self,
        classes: tuple[int, int],
        limit: int,
        *,
        after: int = 0,
        newest: bool = False,
        again: bool = True,
    ) -> list[Held]:
        """Return up to ``limit`` owed rows with id > ``after`` whose class is one of ``classes`` (from, to).

        The oldest first, or the ``newest``; with ``again`` also those that are owed once more.

        Raises:
            StorageError: it cannot be read.
        """
        query = (
            f"SELECT {_BRIEF}, size, 0, again FROM pending CROSS JOIN row USING(id) "  # noqa: S608 - constants
            "WHERE pending.id > ? AND class BETWEEN ? AND ? AND again <= ? "
            f"ORDER BY pending.id {'DESC' if newest else ''} LIMIT ?"
        )
        with mapped(self._path):
            found = self._connection.execute(query, (after, *classes, int(again), limit)).fetchall()
            return [Held(*values) for values in found]

    def oldest_utc_ns(self) -> int | None:
        """Return when the oldest owed row happened, or ``None``.

        Raises:
            StorageError: it cannot be read.
        """
        with mapped(self._path):
            return self._oldest()

    def kept(self, limit: int, *, after: int = 0) -> list[Held]:
        """Return up to ``limit`` rows that are acknowledged and kept, oldest first, with id > ``after``.

        Raises:
            StorageError: it cannot be read.
        """
        query = (
            f"SELECT {_BRIEF}, size, at_s FROM kept CROSS JOIN row USING(id) "  # noqa: S608 - a constant
            "WHERE kept.id > ? ORDER BY kept.id LIMIT ?"
        )
        with mapped(self._path):
            return [Held(*values) for values in self._connection.execute(query, (after, limit)).fetchall()]

    def dead_beyond(self, keep: int, limit: int) -> list[Held]:
        """Return up to ``limit`` of the oldest refused rows, as many as there are more than ``keep``.

        Raises:
            StorageError: it cannot be read.
        """
        query = (
            f"SELECT {_BRIEF}, size FROM dead CROSS JOIN row USING(id) "  # noqa: S608 - a constant
            "ORDER BY dead.id LIMIT min(?, max(0, (SELECT count(*) FROM dead) - ?))"
        )
        with mapped(self._path):
            return [Held(*values) for values in self._connection.execute(query, (limit, keep)).fetchall()]

    def places(self, stream: str, low: int, high: int) -> list[Place]:
        """Return where the numbers from ``low`` to ``high`` of ``stream`` are, in their order.

        Raises:
            StorageError: it cannot be read.
        """
        query = (
            "SELECT row.id, row.seq, coalesce(kept.size, dead.size, 0),"
            " CASE WHEN kept.id NOT NULL THEN 'kept' WHEN dead.id NOT NULL THEN 'dead' ELSE 'owed' END "
            "FROM row INDEXED BY place LEFT JOIN kept USING(id) LEFT JOIN dead ON dead.id = row.id "
            "WHERE stream = ? AND seq BETWEEN ? AND ? ORDER BY seq"
        )
        with mapped(self._path):
            return [Place(*values) for values in self._connection.execute(query, (stream, low, high)).fetchall()]

    def read_all(self, after: int, limit: int) -> list[tuple[Row, str, str | None]]:
        """Return up to ``limit`` rows with id > ``after`` in order, with their state and why they were refused.

        Raises:
            StorageError: it cannot be read.
        """
        query = (
            f"SELECT {_ROW}, CASE WHEN pending.id NOT NULL THEN 'owed' "  # noqa: S608 - a constant
            "WHEN dead.id NOT NULL THEN 'dead' ELSE 'kept' END, reason FROM row NOT INDEXED "
            "LEFT JOIN pending ON pending.id = row.id LEFT JOIN dead ON dead.id = row.id "
            "WHERE row.id > ? ORDER BY row.id LIMIT ?"
        )
        with mapped(self._path):
            found = self._connection.execute(query, (after, limit))
            return [(Row.read(values[:7]), str(values[7]), values[8]) for values in found]

    def refused(self, after: int, limit: int, *, stream: str | None, reason: str | None) -> list[Held]:
        """Return up to ``limit`` dead letters with id > ``after``, oldest first, of one stream and reason if given.

        Raises:
            StorageError: it cannot be read.
        """
        query = (
            f"SELECT {_BRIEF}, size FROM dead CROSS JOIN row USING(id) WHERE dead.id > :after "  # noqa: S608 - constant
            "AND (:stream IS NULL OR stream = :stream) AND (:reason IS NULL OR reason = :reason) "
            "ORDER BY dead.id LIMIT :limit"
        )
        values = {"after": after, "stream": stream, "reason": reason, "limit": limit}
        with mapped(self._path):
            return [Held(*found) for found in self._connection.execute(query, values).fetchall()]

    def reasons(self) -> dict[str, int]:
        """Return how many dead letters there are by reason, most first.

        Raises:
            StorageError: it cannot be read.
        """
        query = "SELECT reason, count(*) FROM dead GROUP BY reason ORDER BY count(*) DESC, reason"
        with mapped(self._path):
            return dict(self._connection.execute(query).fetchall())

    def _oldest(self) -> int | None:
        query = "SELECT utc_ns FROM row WHERE id = (SELECT min(id) FROM pending)"
        found = self._connection.execute(query).fetchone()
        return None if found is None else int(found[0])
