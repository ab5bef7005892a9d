"""What is committed and not yet acknowledged, handed from the spool's writer to the one sender.

Ids of rows that wait are split by one number, ``through``: rows up to it are on disk only (the backlog) and are read
back in order as the sender gets to them; newer ones are in memory (fresh). A small backlog goes first, so that order
is kept through a short outage; a large one goes behind what is new, so that the line's present is not hidden behind
its past (then results of one stream arrive in two ordered sequences, the older one marked historical).

Legal order for a row: ``offer`` or ``supply`` -> ``take`` -> ``acked`` or ``refused`` -> ``collect`` -> ``settled``;
``release`` gives a taken row back.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_runtime.publish.spool.store import Row

FRESH_MAX = 1024  # rows in memory before the oldest of them are left to the disk
PREFETCH = 256  # backlog rows read at once
ORDERED_BACKLOG = 5000  # a backlog of at most this many rows is sent before newer ones: about a second


@dataclass(frozen=True, slots=True)
class Range:
    """Backlog ids to read: after < id <= through."""

    after: int
    through: int


class Handout:
    """Every method may be called from any thread; there is one writer and one sender."""

    def __init__(self) -> None:
        """Start empty; ``rewind`` tells what is on disk."""
        self._lock = threading.Lock()  # guards everything below
        self._fresh: deque[Row] = deque()
        self._prefetched: deque[Row] = deque()
        self._after = 0
        self._through = 0
        self._backlog = 0  # rows in the backlog, an estimate from above
        self._live_first = False
        self._owned: set[int] = set()  # taken, and the answer to it is not yet on disk
        self._acked: list[Row] = []
        self._refused: list[tuple[Row, str]] = []
        self._newest: dict[str, Row] = {}

    # --- writer

    def rewind(self, through: int, backlog: int) -> None:
        """Leave every waiting row up to id ``through`` to the disk: at the start and after a failed transaction."""
        with self._lock:
            self._fresh.clear()
            self._prefetched.clear()
            self._after = 0
            self._through = through
            self._backlog = backlog
            self._live_first = self._live_first or backlog > ORDERED_BACKLOG
            self._live_first = self._live_first and backlog > 0

    def offer(self, rows: Sequence[Row]) -> None:
        """Add rows that were just committed, in the order of their ids."""
        with self._lock:
            self._fresh.extend(rows)
            for row in rows:
                self._newest[row.stream] = row
            while len(self._fresh) > FRESH_MAX:
                self._through = self._fresh.popleft().id
                self._backlog += 1
            if self._backlog > ORDERED_BACKLOG:
                self._live_first = True

    def wanted(self) -> Range | None:
        """Return which backlog should be read now, or ``None`` when enough is in memory."""
        with self._lock:
            if self._after >= self._through or len(self._prefetched) >= PREFETCH // 2:
                return None
            return Range(self._after, self._through)

    def supply(self, asked: Range, rows: Sequence[Row], *, limit: int) -> None:
        """Add what was read for ``asked`` with that ``limit``; fewer rows than it mean that the range is exhausted."""
        with self._lock:
            fit = [row for row in rows if row.id not in self._owned]
            self._prefetched.extend(fit)
            self._backlog = max(0, self._backlog - len(fit))
            self._after = rows[-1].id if len(rows) == limit else asked.through
            if self._after >= self._through:
                self._backlog = 0

    def withdraw(self, ids: Iterable[int]) -> list[int]:
        """Take rows back that the sender does not hold, so that they can be evicted; return which."""
        with self._lock:
            free = [row_id for row_id in ids if row_id not in self._owned]
            gone = set(free)
            self._fresh = deque(row for row in self._fresh if row.id not in gone)
            self._prefetched = deque(row for row in self._prefetched if row.id not in gone)
            return free

    def collect(self) -> tuple[list[Row], list[tuple[Row, str]]]:
        """Return acknowledged rows, and refused ones with their reason, since the last call."""
        with self._lock:
            answers = (self._acked, self._refused)
            self._acked, self._refused = [], []
            return answers

    def settled(self, ids: Iterable[int]) -> None:
        """Forget rows whose answer is on disk now."""
        with self._lock:
            self._owned.difference_update(ids)

    # --- sender

    def take(self, limit: int) -> list[Row]:
        """Return up to ``limit`` rows to send, in order; each stays the sender's until it answers."""
        taken: list[Row] = []
        with self._lock:
            if self._live_first and self._after >= self._through and not self._prefetched:
                self._live_first = False
            if self._live_first:
                _move(self._fresh, taken, limit)
            _move(self._prefetched, taken, limit)
            if self._after >= self._through and not self._prefetched:
                _move(self._fresh, taken, limit)
            self._owned.update(row.id for row in taken)
        return taken

    def acked(self, rows: Iterable[Row]) -> None:
        """The broker took these."""
        with self._lock:
            self._acked.extend(rows)

    def refused(self, row: Row, reason: str) -> None:
        """The broker will never take this one."""
        with self._lock:
            self._refused.append((row, reason))

    def release(self, rows: Iterable[Row]) -> None:
        """The sender ends and does not know the fate of these; they stay owed until the next run reads them."""
        with self._lock:
            self._owned.difference_update(row.id for row in rows)

    def take_newest(self) -> dict[str, Row]:
        """Return the newest committed row of each stream that had one since the last call."""
        with self._lock:
            newest, self._newest = self._newest, {}
            return newest

    # --- both

    @property
    def owned(self) -> int:
        """Rows that were taken and whose answer is not on disk yet."""
        with self._lock:
            return len(self._owned)

    @property
    def waiting(self) -> bool:
        """Whether there is anything to take, in memory or on disk."""
        with self._lock:
            return bool(self._fresh or self._prefetched or self._after < self._through)


def _move(source: deque[Row], target: list[Row], limit: int) -> None:
    while source and len(target) < limit:
        target.append(source.popleft())
