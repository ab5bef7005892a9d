"""What is committed and not yet acknowledged, handed from the spool's writer to the one sender.

What was just committed is in memory (fresh); what is older is on disk only (the backlog, see there). A small backlog
goes first, so that order is kept through a short outage; a large one goes behind what is new and is throttled, so that
the line's present is not hidden behind its past (then results of one stream arrive in two ordered sequences, the older
one marked historical). What is owed once more, by a replay, goes behind everything else.

What the sender holds, and what was answered while the answer is not on disk, a kill -9 makes come twice: ``spare`` says
how much more of it there may be. A refusal does not count, because the broker did not take that row.

Legal order for a row: ``offer`` or ``supply`` -> ``take`` -> ``acked`` or ``refused`` -> ``collect`` -> ``settled``;
``release`` gives a taken row back.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from edge_runtime.publish.spool.backlog import Backlog

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from edge_runtime.publish.spool.backlog import Range
    from edge_runtime.publish.spool.store import Row
    from edge_runtime.publish.spool.throttle import Throttle

FRESH_MAX = 4096  # rows in memory before the oldest of them are left to the disk
FRESH_BYTES = 16 << 20  # the same by what they hold
_FEW = 64  # rows that are not worth counting bytes for
ORDERED_BACKLOG = 5000  # a backlog of at most this many rows is sent before newer ones: about a second


class Handout:
    """Every method may be called from any thread; there is one writer and one sender.

    Attributes:
        owned_max: how many rows the sender should have, see ``spare``; the writer may change it.
        eager: whether answers should be on the disk as soon as nothing else is on its way, see ``acked``; the writer
            may change it.
    """

    def __init__(self, throttle: Throttle | None = None, *, owned_max: int = 64) -> None:
        """Start empty; ``rewind`` tells what is on disk. ``throttle`` bounds how fast a large backlog is handed out."""
        self._lock = threading.Lock()  # guards everything below
        self._throttle = throttle
        self.owned_max = owned_max
        self.eager = False
        self._fresh: deque[Row] = deque()
        self._backlog = Backlog()
        self._again = Backlog(again=True)
        self._live_first = False
        self._owned: set[int] = set()  # taken, and the answer to it is not yet on disk
        self._acked: list[Row] = []
        self._refused: list[tuple[Row, str]] = []
        self._given_up: set[int] = set()  # those of ``_owned`` that were refused
        self._held_back = False  # the sender was told that nothing is spare
        self._newest: dict[str, Row] = {}

    # --- writer

    def rewind(self, through: int, backlog: int, *, again: int = 0) -> None:
        """Leave every waiting row up to id ``through`` to the disk: at the start and after a failed transaction.

        At most ``backlog`` rows wait there, of which ``again`` are owed once more.
        """
        with self._lock:
            self._fresh.clear()
            self._backlog.reset(0, through, backlog - again)
            self._again.reset(0, through if again else 0, again)
            self._live_first = self._live_first or self._backlog.left > ORDERED_BACKLOG
            self._live_first = self._live_first and self._backlog.left > 0

    def offer(self, rows: Sequence[Row]) -> None:
        """Add rows that were just committed, in the order of their ids."""
        with self._lock:
            self._fresh.extend(rows)
            for row in rows:
                self._newest[row.stream] = row
            self._leave_to_disk()
            if self._backlog.left > ORDERED_BACKLOG:
                self._live_first = True

    def _leave_to_disk(self) -> None:
        fresh = self._fresh
        size = sum(len(row.body) for row in fresh) if len(fresh) > _FEW else 0
        left = last = 0
        while len(fresh) > FRESH_MAX or size > FRESH_BYTES:
            row = fresh.popleft()
            left, last, size = left + 1, row.id, size - len(row.body)
        if left:
            self._backlog.add(self._backlog.through, last, left)

    def owe_again(self, after: int, through: int, count: int) -> None:
        """Add ``count`` rows with after < id <= through that are owed once more."""
        with self._lock:
            self._again.widen(after, through, count)

    def wanted(self) -> Range | None:
        """Return which backlog should be read now, or ``None`` when enough is in memory."""
        with self._lock:
            return self._backlog.wanted() or self._again.wanted()

    def supply(self, asked: Range, rows: Sequence[Row], *, limit: int) -> None:
        """Add what was read for ``asked`` with that ``limit``; fewer rows than it mean that the range is exhausted."""
        with self._lock:
            backlog = self._again if asked.again else self._backlog
            backlog.supply(asked, rows, limit=limit, held=self._owned)

    def withdraw(self, ids: Iterable[int]) -> list[int]:
        """Take rows back that the sender does not hold, so that they can be evicted; return which."""
        with self._lock:
            free = [row_id for row_id in ids if row_id not in self._owned]
            gone = set(free)
            self._fresh = deque(row for row in self._fresh if row.id not in gone)
            self._backlog.withdraw(gone)
            self._again.withdraw(gone)
            return free

    def collect(self) -> tuple[list[Row], list[tuple[Row, str]]]:
        """Return acknowledged rows, and refused ones with their reason, since the last call."""
        with self._lock:
            answers = (self._acked, self._refused)
            self._acked, self._refused = [], []
            return answers

    def settled(self, ids: Collection[int]) -> bool:
        """Forget rows whose answer is on disk now; return whether the sender waits for that."""
        with self._lock:
            self._owned.difference_update(ids)
            self._given_up.difference_update(ids)
            held_back = self._held_back and bool(ids)
            self._held_back = self._held_back and not held_back
            return held_back

    # --- sender

    def take(self, limit: int) -> list[Row]:
        """Return up to ``limit`` rows to send, in order; each stays the sender's until it answers."""
        taken: list[Row] = []
        with self._lock:
            self._live_first = self._live_first and not self._backlog.empty
            if self._live_first:
                _move(self._fresh, taken, limit)
                self._trickle(self._backlog, taken, limit)
            else:
                self._backlog.move(taken, limit)
            if self._backlog.empty:
                _move(self._fresh, taken, limit)
                self._trickle(self._again, taken, limit)
            self._owned.update(row.id for row in taken)
        return taken

    def _trickle(self, backlog: Backlog, taken: list[Row], limit: int) -> None:
        if self._throttle is None or not backlog.ready:
            backlog.move(taken, limit)
            return
        before = len(taken)
        backlog.move(taken, before + self._throttle.allowed(limit - before))
        self._throttle.used(len(taken) - before)

    def acked(self, rows: Iterable[Row]) -> bool:
        """The broker took these; return whether the answers should be on the disk soon.

        So it is when so many wait for it that the sender may soon have to, and when nothing else is on its way: until
        the next transaction a kill -9 would make them come twice.
        """
        with self._lock:
            self._acked.extend(rows)
            return len(self._acked) >= self.owned_max // 2 or (self.eager and len(self._acked) == len(self._owned))

    def refused(self, row: Row, reason: str) -> None:
        """The broker will never take this one."""
        with self._lock:
            self._refused.append((row, reason))
            self._given_up.add(row.id)

    def release(self, rows: Iterable[Row]) -> None:
        """The sender ends and does not know the fate of these; they stay owed until the next run reads them."""
        with self._lock:
            self._owned.difference_update(row.id for row in rows)

    def take_newest(self) -> dict[str, Row]:
        """Return the newest committed row of each stream that had one since the last call."""
        with self._lock:
            newest, self._newest = self._newest, {}
            return newest

    def spare(self) -> int:
        """Return how many rows more should be taken, so that a kill -9 makes few come twice; may be negative."""
        with self._lock:
            spare = self.owned_max - len(self._owned) + len(self._given_up)
            self._held_back = self._held_back or spare <= 0
            return spare

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
            return bool(self._fresh) or not self._backlog.empty or not self._again.empty


def _move(source: deque[Row], target: list[Row], limit: int) -> None:
    while source and len(target) < limit:
        target.append(source.popleft())
