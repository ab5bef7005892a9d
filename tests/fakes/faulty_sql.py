"""An SQLite connection whose n-th statement fails as a disk would make it fail."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_runtime.publish.spool.store import Store


def disk_error(code: int = sqlite3.SQLITE_IOERR) -> sqlite3.OperationalError:
    """An error as SQLite raises it."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


class FaultySql:
    """Wraps the connection of ``store``; ``arm(n)`` makes the n-th statement from now on fail, once.

    ``arm_late()`` makes the next COMMIT fail when it is done, as one does whose sync at the end fails.
    """

    def __init__(self, store: Store, code: int = sqlite3.SQLITE_IOERR) -> None:
        self._real = store._connection
        self._code = code
        self._left: int | None = None
        self._late = False
        self.fired = 0
        store._connection = self  # type: ignore[assignment]  # duck-typed

    def arm(self, n: int | None) -> None:
        self._left = n

    def arm_late(self) -> None:
        self._late = True

    def execute(self, *arguments: Any) -> Any:
        self._count(str(arguments[0]))
        found = self._real.execute(*arguments)
        if self._late and arguments[0] == "COMMIT":
            self._late = False
            raise disk_error(self._code)
        return found

    def executemany(self, *arguments: Any) -> Any:
        self._count(str(arguments[0]))
        return self._real.executemany(*arguments)

    def executescript(self, *arguments: Any) -> Any:
        self._count(str(arguments[0]))
        return self._real.executescript(*arguments)

    def close(self) -> None:
        self._real.close()

    def _count(self, statement: str) -> None:
        if self._left is None or statement == "ROLLBACK":
            return
        self._left -= 1
        if self._left == 0:
            self._left = None
            self.fired += 1
            raise disk_error(self._code)
