"""The newest result of each inspection on its way to ``latest/...``: only forwards, and not too often. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.publish.spool.notices import is_result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_runtime.publish.spool.store import Row

EVERY_NS = 200_000_000  # per inspection


class Latest:
    """A box with the newest result per stream; one thread."""

    def __init__(self) -> None:
        """Start empty."""
        self._waiting: dict[str, Row] = {}
        self._taken_id: dict[str, int] = {}
        self._due_ns: dict[str, int] = {}

    def put(self, rows: Iterable[Row]) -> None:
        """Replace what waits by newer results; events have no place here."""
        self._waiting.update((row.stream, row) for row in rows if is_result(row.stream))

    def take(self, limit: int, now_ns: int, *, paced: bool = True) -> list[Row]:
        """Return at most ``limit`` results whose time has come; not ``paced`` where there is no later for them."""
        until_ns = now_ns if paced else now_ns + EVERY_NS
        due = [row for row in self._waiting.values() if self._due_ns.get(row.stream, 0) <= until_ns][:limit]
        for row in due:
            del self._waiting[row.stream]
            self._taken_id[row.stream] = row.id
            self._due_ns[row.stream] = now_ns + EVERY_NS
        return due

    def restore(self, row: Row, not_before_ns: int = 0) -> None:
        """Put back what did not arrive, unless something newer waits or was taken since."""
        if row.id == self._taken_id[row.stream]:
            self._waiting.setdefault(row.stream, row)
            self._due_ns[row.stream] = max(self._due_ns[row.stream], not_before_ns)

    def wait_ns(self, now_ns: int, most_ns: int) -> int:
        """Return how long nothing more becomes due, at most ``most_ns``."""
        waits = (self._due_ns.get(stream, 0) - now_ns for stream in self._waiting)
        return min([most_ns, *(wait_ns for wait_ns in waits if wait_ns > 0)])
