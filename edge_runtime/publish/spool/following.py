"""Followers: second readers of the spool's results, each with a durable position (the protocol is in ``follower``).

A follower's thread and the spool's writer meet in a ``Following``; the writer knows all of them as ``Followers``.
Rows above the lowest durable position are held, in whatever state they are, until the spool's limits give them up.
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from edge_runtime.core.errors import InvariantError
from edge_runtime.core.result import Event
from edge_runtime.publish.spool.backlog import PREFETCH, Backlog
from edge_runtime.publish.spool.notices import is_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_runtime.publish.spool.backlog import Range
    from edge_runtime.publish.spool.reading import Reading
    from edge_runtime.publish.spool.rows import Held, Row

LIVE_MAX = 1024  # rows in memory before the older half of them is left to the disk


class Following:
    """Implements ``follower.Follower``; the methods of the second part are the writer's."""

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        """Follow as ``name``; ``wake`` makes the writer look at what is ``wanted``, without blocking."""
        self.name = name
        self._wake = wake
        self._on_ready: Callable[[], None] | None = None
        self._lock = threading.Lock()  # guards everything below
        self._live: deque[Row] = deque()
        self._backlog = Backlog()
        self._uncounted = False  # how many rows the backlog has is only guessed yet
        self._position = 0
        self._newest = 0  # every committed row up to this id was offered, or is in the backlog
        self._passed = 0  # newest row that was taken live
        self._skipped = 0

    # --- the follower's thread

    def set_listener(self, on_ready: Callable[[], None] | None) -> None:
        """See ``Follower``."""
        self._on_ready = on_ready

    def take_live(self, limit: int) -> Sequence[Row]:
        """See ``Follower``."""
        with self._lock:
            taken = [self._live.popleft() for _ in range(min(limit, len(self._live)))]
            if taken:
                self._passed = taken[-1].id
        return taken

    def take_backlog(self, limit: int) -> Sequence[Row]:
        """See ``Follower``."""
        taken: list[Row] = []
        with self._lock:
            self._backlog.move(taken, limit)
            hungry = self._backlog.wanted() is not None
        if hungry:
            self._wake()
        return taken

    def rewind(self, row_id: int | None = None) -> None:
        """See ``Follower``."""
        with self._lock:
            self._restart(self._position if row_id is None else row_id)
        self._wake()

    def settle(self, row_id: int) -> None:
        """See ``Follower``; it is on disk with the writer's next transaction, a second later at most."""
        with self._lock:
            self._position = max(self._position, min(row_id, self._newest))

    @property
    def position(self) -> int:
        """See ``Follower``."""
        with self._lock:
            return self._position

    @property
    def backlog(self) -> int:
        """See ``Follower``."""
        with self._lock:
            return self._backlog.remaining

    def skipped(self) -> int:
        """See ``Follower``."""
        with self._lock:
            skipped, self._skipped = self._skipped, 0
            return skipped

    def _restart(self, after: int) -> None:
        self._live.clear()
        self._passed = self._newest
        self._backlog.reset(after, self._newest, max(0, self._newest - after))
        self._uncounted = True

    # --- the writer

    def opened(self, position: int, last_id: int) -> None:
        """The file was opened (again): it knows this ``position`` and has rows up to ``last_id``."""
        with self._lock:
            if not self._newest:
                self._position, self._newest = max(position, self._position), last_id
                self._restart(self._position)

    def offer(self, rows: Sequence[Row]) -> None:
        """Add rows that were just committed, in the order of their ids."""
        fit = [row for row in rows if is_result(row.stream)]
        with self._lock:
            self._newest = max(self._newest, rows[-1].id)
            self._live.extend(fit)
            if len(self._live) > LIVE_MAX:
                self._leave_to_disk(len(self._live) - LIVE_MAX // 2)
        if fit:
            self._ready()

    def _leave_to_disk(self, count: int) -> None:
        oldest = [self._live.popleft().id for _ in range(count)]
        self._backlog.add(max(self._passed, self._backlog.through), oldest[-1], count)

    def serve(self, reading: Reading) -> None:
        """Read what this follower wants, at most ``PREFETCH`` rows.

        Raises:
            StorageError: it cannot be read.
        """
        with self._lock:
            wanted, uncounted = self._backlog.wanted(), self._uncounted
        if wanted is None:
            return
        left = reading.count(wanted.after, wanted.through) if uncounted else None
        self._supply(wanted, reading.read_results(wanted.after, wanted.through, PREFETCH), left)
        self._ready()

    def _supply(self, wanted: Range, rows: Sequence[Row], left: int | None) -> None:
        with self._lock:
            if left is not None and self._backlog.wanted() == wanted:
                self._backlog.left = min(self._backlog.left, left)
                self._uncounted = False
            self._backlog.supply(wanted, rows, limit=PREFETCH)

    @property
    def wants(self) -> bool:
        """Whether ``serve`` has something to do."""
        with self._lock:
            return self._backlog.wanted() is not None

    def gone(self, rows: Iterable[Held]) -> None:
        """Rows were evicted."""
        with self._lock:
            unread = sum(is_result(row.stream) and self._backlog.unread(row.id) for row in rows)
            self._skipped += unread
            self._backlog.left = max(0, self._backlog.left - unread)

    def _ready(self) -> None:
        if self._on_ready is not None:
            self._on_ready()


class Followers:
    """All followers of one spool; every method but ``follow`` is the writer's.

    Attributes:
        durable: positions as they are on disk, also of followers that nobody asked for in this run.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.durable: dict[str, int] = {}
        self._all: dict[str, Following] = {}
        self._complete = False
        self._unopened: tuple[Mapping[str, int], int] | None = None

    def follow(self, name: str, wake: Callable[[], None]) -> Following:
        """Add a follower; before the writer does its first round.

        Raises:
            InvariantError: it is too late, or there is one with that name.
        """
        if self._complete or name in self._all:
            code, msg = "spool.follower", f"{name!r} cannot follow the spool: it runs, or somebody has that name"
            raise InvariantError(code, msg)
        self._all[name] = following = Following(name, wake)
        return following

    def complete(self) -> None:
        """All who follow in this run are known now: positions of others are given up with the next transaction."""
        self._complete = True
        if self._unopened is not None:
            positions, last_id = self._unopened
            for name, following in self._all.items():
                following.opened(positions.get(name, 0), last_id)
            self._unopened = None

    def opened(self, positions: Mapping[str, int], last_id: int) -> None:
        """The file was opened (again)."""
        self.durable = dict(positions)
        self._unopened = (self.durable, last_id)
        if self._complete:
            self.complete()

    def changes(self) -> dict[str, int | None]:
        """Return what is to be written: positions that moved, ``None`` for those that nobody needs any more."""
        if not self._complete:
            return {}
        wanted: dict[str, int | None] = {name: following.position for name, following in self._all.items()}
        wanted |= {name: None for name in self.durable if name not in self._all}
        return {name: position for name, position in wanted.items() if self.durable.get(name, -1) != position}

    def committed(self, changes: Mapping[str, int | None]) -> None:
        """``changes`` are on disk."""
        for name, position in changes.items():
            if position is None:
                self.durable.pop(name, None)
            else:
                self.durable[name] = position

    @property
    def floor(self) -> int | None:
        """The lowest durable position, above which results are held; ``None`` without followers."""
        return min((self.durable.get(name, 0) for name in self._all), default=None)

    def offer(self, rows: Sequence[Row]) -> None:
        """Tell everybody of rows that were just committed."""
        for following in self._all.values() if rows else ():
            following.offer(rows)

    @property
    def wanting(self) -> bool:
        """Whether ``serve`` has something to do."""
        return any(following.wants for following in self._all.values())

    def serve(self, reading: Reading) -> None:
        """Read a little of what each of them wants.

        Raises:
            StorageError: it cannot be read.
        """
        for following in self._all.values():
            following.serve(reading)

    def gaps(self, rows: Sequence[Held], utc_ns: int) -> list[Event]:
        """Return an event for each follower that had not settled some of ``rows``, which are about to be evicted."""
        found = []
        for name in self._all:
            missed = [row for row in rows if row.id > self.durable.get(name, 0) and is_result(row.stream)]
            if missed:
                found.append(_gap(name, missed, utc_ns))
        return found

    def gone(self, rows: Sequence[Held]) -> None:
        """Rows were evicted."""
        for following in self._all.values():
            following.gone(rows)


_STREAMS_MAX = 64  # named in one event


def _gap(name: str, missed: Sequence[Held], utc_ns: int) -> Event:
    streams: dict[str, list[int]] = {}
    for row in missed:
        low, high, count = streams.get(row.stream, (row.seq, row.seq, 0))
        streams[row.stream] = [min(low, row.seq), max(high, row.seq), count + 1]
    fields: dict[str, object] = {
        "follower": name,
        "count": len(missed),
        "from_id": min(row.id for row in missed),
        "to_id": max(row.id for row in missed),
        "streams": [
            {"topic": stream, "from_seq": low, "to_seq": high, "count": count}
            for stream, (low, high, count) in islice(streams.items(), _STREAMS_MAX)
        ],
    }
    message = f"{len(missed)} results were given up before {name} had taken them: the spool's limits"
    return Event("system", "spool.follower_gap", message, utc_ns, fields)
