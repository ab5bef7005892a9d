"""A follower of a spool that lives in memory, and results as rows of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from edge_runtime.publish.payload import Stamp, encode_result
from edge_runtime.publish.spool.rows import Row
from tests.fakes.results import BOOT, IDENTITY, make_result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.system.clock import Clock


def row(
    number: int, seq: int | None = None, *, inspection: str = "top", clock: Clock | None = None, **fields: Any
) -> Row:
    """The result number ``number`` as the spool hands it out."""
    seq = number if seq is None else seq
    result = make_result(seq, clock, inspection=inspection, **fields)
    message = encode_result(result, IDENTITY, Stamp(seq, BOOT))
    return Row(
        number, message.topic, seq, result.captured_utc_ns, result.captured_mono_ns, message.headers, message.body
    )


class MemoryFollower:
    """``publish.spool.follower.Follower``; ``put`` is the spool's side."""

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.rows = list(rows)  # committed
        self.position = 0
        self.settled: list[int] = []
        self.lost = 0
        self._live: deque[Row] = deque()
        self._backlog: deque[Row] = deque(rows)
        self._on_ready: Callable[[], None] | None = None

    def put(self, *rows: Row) -> None:
        """Commit."""
        self.rows += rows
        self._live.extend(rows)
        if self._on_ready is not None:
            self._on_ready()

    def overflow(self) -> None:
        """Leave what is live to the backlog."""
        self._backlog.extend(self._live)
        self._live.clear()

    def set_listener(self, on_ready: Callable[[], None] | None) -> None:
        self._on_ready = on_ready

    def take_live(self, limit: int) -> Sequence[Row]:
        return [self._live.popleft() for _ in range(min(limit, len(self._live)))]

    def take_backlog(self, limit: int) -> Sequence[Row]:
        return [self._backlog.popleft() for _ in range(min(limit, len(self._backlog)))]

    def rewind(self, row_id: int | None = None) -> None:
        after = self.position if row_id is None else row_id
        self._live.clear()
        self._backlog = deque(one for one in list(self.rows) if one.id > after)

    def settle(self, row_id: int) -> None:
        self.position = row_id
        self.settled.append(row_id)

    @property
    def backlog(self) -> int:
        return len(self._backlog)

    def skipped(self) -> int:
        lost, self.lost = self.lost, 0
        return lost
