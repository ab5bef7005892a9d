"""The spool's file in the hands of a verb while no daemon runs: look at it, take documents out, try some again."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.spool.store import Store
from edge_runtime.system import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edge_runtime.publish.spool.rows import Found, Row

_AT_ONCE = 1000
STATES = ("owed", "kept", "dead")


@dataclass(frozen=True, slots=True)
class Document:
    """One document and its state; ``reason`` is why it was refused."""

    row: Row
    state: str
    reason: str | None = None


class Depot:
    """Use ``opened``."""

    def __init__(self, store: Store) -> None:
        """Work on ``store``, which nobody else has open."""
        self._store = store

    def found(self) -> Found:
        """Return the totals, streams and followers' positions.

        Raises:
            StorageError: the file cannot be read.
        """
        return self._store.found()

    def reasons(self) -> dict[str, int]:
        """Return dead letters by reason.

        Raises:
            StorageError: the file cannot be read.
        """
        return self._store.reasons()

    def documents(self, states: Sequence[str]) -> Iterator[Document]:
        """Return the documents that are in one of ``states``, oldest first.

        Raises:
            StorageError: the file cannot be read.
        """
        after = 0
        while rows := self._store.read_all(after, _AT_ONCE):
            for row, state, reason in rows:
                if state in states:
                    yield Document(row, state, reason)
            after = rows[-1][0].id

    def requeue(self, *, stream: str | None, reason: str | None) -> int:
        """Make dead letters owed again, of one stream and one reason if given; return how many.

        Raises:
            StorageError: the disk refuses; those before are owed.
        """
        count, after = 0, 0
        while rows := self._store.refused(after, _AT_ONCE, stream=stream, reason=reason):
            self._store.revive([row.id for row in rows], "dead")
            count, after = count + len(rows), rows[-1].id
        return count


@contextmanager
def opened(path: Path) -> Iterator[Depot]:
    """Open the spool's file ``path`` as a block; a file of an earlier layout becomes one of this version.

    Raises:
        BusyError: a daemon has it; the message names its process.
        UnavailableError: there is none.
        StorageError: it cannot be opened.
        PermissionDeniedError: it may not be opened.
    """
    if not path.exists():
        code, msg = "spool.absent", f"there is no spool at {path}"
        raise UnavailableError(code, msg, help="the daemon makes it when it first runs")
    with files.LockFile(path.with_name(path.name + ".lock")):
        store = Store.open(path, strict=True, check=True)
        with closing(store):
            yield Depot(store)
            store.checkpoint()
