"""Makes rows owed again: kept ones when a subscriber asks for a replay, dead letters when somebody mended the cause.

A job is asked for by any thread and done by the writer, a bounded piece in each of its rounds, so that live results are
not held up. Each piece is a transaction; a job that is done twice, because its asker repeats it or the process was
killed in the middle, changes nothing the second time: what is owed already is only counted.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from edge_runtime.core.errors import BusyError, DataError
from edge_runtime.core.result import Event
from edge_runtime.publish.spool.notices import scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.publish.spool.handout import Handout
    from edge_runtime.publish.spool.ledger import Ledger

NUMBERS_MAX = 1_000_000  # of one replay
JOBS_MAX = 16
RANGES_MAX = 100  # of missing numbers in one answer
_AT_ONCE = 1000  # numbers, or dead letters, of one piece


@dataclass(frozen=True, slots=True)
class Revived:
    """What became of a job.

    Attributes:
        revived: rows that were made owed and will come, ``historical``.
        owed: rows that were owed anyway and will come.
        refused: rows of the range that are dead letters, which only ``requeue`` revives.
        missing: numbers of the range that are not there any more, as inclusive ranges, the lowest first, at most
            ``RANGES_MAX`` of them; ``missing_count`` counts all. Numbers that were not used yet are not among them.
        finished: False when the spool was closed before the job was done.
    """

    revived: int = 0
    owed: int = 0
    refused: int = 0
    missing: tuple[tuple[int, int], ...] = ()
    missing_count: int = 0
    finished: bool = True


@dataclass(slots=True)
class Replay:
    """Kept rows of one stream, by their numbers."""

    stream: str
    from_seq: int
    to_seq: int
    done: Callable[[Revived], None]
    _at: int = 0
    _counts: dict[str, int] = field(default_factory=dict)
    _missing: list[tuple[int, int]] = field(default_factory=list)
    _missing_count: int = 0

    def __post_init__(self) -> None:
        """Begin at the first number.

        Raises:
            DataError: the range is empty or too large.
        """
        count = self.to_seq - self.from_seq + 1
        if self.from_seq < 1 or count < 1 or count > NUMBERS_MAX:
            found = f"cannot replay {self.stream} from {self.from_seq} to {self.to_seq}"
            expected = f"expected 1 to {NUMBERS_MAX} numbers from 1 on, the lower one first"
            raise DataError("replay.range", f"{found}: {expected}")
        self._at = self.from_seq

    def work(self, ledger: Ledger, handout: Handout) -> bool:
        """Do one piece; return whether that was the last one."""
        high = min(self._at + _AT_ONCE - 1, self.to_seq)
        places = ledger.store.places(self.stream, self._at, high)
        _revive([place for place in places if place.state == "kept"], "kept", ledger, handout)
        for place in places:
            self._counts[place.state] = self._counts.get(place.state, 0) + 1
        self._note_missing([place.seq for place in places], high)
        self._at = high + 1
        return self._at > self.to_seq

    def _note_missing(self, there: list[int], high: int) -> None:
        low = self._at
        for seq in [*there, high + 1]:
            if low < seq:
                self._missing_count += seq - low
                if self._missing and self._missing[-1][1] == low - 1:
                    self._missing[-1] = (self._missing[-1][0], seq - 1)
                elif len(self._missing) < RANGES_MAX:
                    self._missing.append((low, seq - 1))
            low = max(low, seq + 1)

    def answer(self, *, finished: bool) -> Revived:
        """Return what was done so far."""
        counts = self._counts
        kept, owed, dead = counts.get("kept", 0), counts.get("owed", 0), counts.get("dead", 0)
        return Revived(kept, owed, dead, tuple(self._missing), self._missing_count, finished)

    def event(self, utc_ns: int) -> Event:
        """Return the event that tells of it."""
        count = self._counts.get("kept", 0)
        fields: dict[str, object] = {
            "topic": self.stream,
            "from_seq": self.from_seq,
            "to_seq": self.to_seq,
            "count": count,
            "missing": self._missing_count,
        }
        message = f"{count} documents of {self.stream} are sent again; {self._missing_count} are not there any more"
        return Event(scope_of(self.stream), "spool.replayed", message, utc_ns, fields)


@dataclass(slots=True)
class Requeue:
    """Dead letters, of one stream and one reason if given."""

    stream: str | None
    reason: str | None
    done: Callable[[Revived], None]
    _after: int = 0
    _count: int = 0

    def work(self, ledger: Ledger, handout: Handout) -> bool:
        """Do one piece; return whether that was the last one."""
        rows = ledger.store.refused(self._after, _AT_ONCE, stream=self.stream, reason=self.reason)
        _revive(rows, "dead", ledger, handout)
        self._count += len(rows)
        self._after = rows[-1].id if rows else self._after
        return len(rows) < _AT_ONCE

    def answer(self, *, finished: bool) -> Revived:
        """Return what was done so far."""
        return Revived(revived=self._count, finished=finished)

    def event(self, utc_ns: int) -> Event:
        """Return the event that tells of it."""
        fields: dict[str, object] = {"count": self._count, "topic": self.stream, "reason": self.reason}
        return Event("system", "spool.requeued", f"{self._count} dead letters are sent again", utc_ns, fields)


class _Numbered(Protocol):
    @property
    def id(self) -> int: ...

    @property
    def size(self) -> int: ...


def _revive(rows: Sequence[_Numbered], source: str, ledger: Ledger, handout: Handout) -> None:
    if rows:
        ids = [row.id for row in rows]
        ledger.revive(ids, source, sum(row.size for row in rows))
        handout.owe_again(min(ids) - 1, max(ids), len(ids))


class Revivals:
    """The jobs that wait; ``ask`` may be called from any thread, the others from the writer's."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()  # guards _jobs and _closed
        self._jobs: deque[Replay | Requeue] = deque()
        self._closed = False

    def ask(self, job: Replay | Requeue) -> None:
        """Add a job; its ``done`` is called by the writer's thread, and must be quick and not raise.

        Raises:
            BusyError: there are too many, or the spool is closed.
        """
        with self._lock:
            if self._closed or len(self._jobs) >= JOBS_MAX:
                code, msg = "spool.busy", "the spool has no room for another replay or requeue"
                raise BusyError(code, msg, help="ask again when those before it are done")
            self._jobs.append(job)

    @property
    def waiting(self) -> bool:
        """Whether there is something to do."""
        with self._lock:
            return bool(self._jobs)

    def work(self, ledger: Ledger, handout: Handout, utc_ns: int) -> list[Event]:
        """Do a piece of the oldest job; return the event that tells of it when that was its last one.

        Raises:
            StorageError: the disk refuses; the piece is done again by the next call.
        """
        with self._lock:
            job = self._jobs[0] if self._jobs else None
        if job is None or not job.work(ledger, handout):
            return []
        with self._lock:
            self._jobs.popleft()
        job.done(job.answer(finished=True))
        return [job.event(utc_ns)]

    def close(self) -> None:
        """Nothing is done any more; whoever waits is told."""
        with self._lock:
            self._closed = True
            jobs, self._jobs = self._jobs, deque()
        for job in jobs:
            job.done(job.answer(finished=False))
