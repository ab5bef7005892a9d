"""Keeps the spool within its limits: what is past its retention goes, what is too much is evicted and declared.

Used by the writer's thread. Each call does transactions of a bounded size and tells when there is more to do, so that
results never wait for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.publish.spool.alarm import Alarm
from edge_runtime.publish.spool.eviction import ROWS_AT_ONCE, Eviction
from edge_runtime.publish.spool.notices import evictions, gap_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.core.result import Event
    from edge_runtime.publish.spool.handout import Handout
    from edge_runtime.publish.spool.ledger import Ledger
    from edge_runtime.publish.spool.limits import SpoolLimits
    from edge_runtime.publish.spool.rows import Held, Row
    from edge_runtime.system.clock import Clock

_S = 1_000_000_000
_SHRINK_PAGES = 256
_RELIEF_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Tidied:
    """What tidying up did.

    Attributes:
        rows: events that were committed about what went.
        told: other events, to be committed like any that is put.
        more: there is something left to do, in a transaction of its own.
    """

    rows: list[Row]
    told: list[Event]
    more: bool


class Housekeeping:
    """See the module docstring."""

    def __init__(self, ledger: Ledger, limits: SpoolLimits, clock: Clock) -> None:
        """Keep ``ledger`` within ``limits``."""
        self._ledger = ledger
        self._limits = limits
        self._clock = clock
        self._eviction = Eviction(limits)
        self._alarm = Alarm(limits.max_bytes)

    def rows_came_back(self) -> None:
        """Rows older than others are owed again, or the file was opened anew."""
        self._eviction.forget_places()

    def tidy(self, handout: Handout) -> Tidied:
        """Drop what is past its retention and evict what is beyond the limits.

        Raises:
            StorageError: the disk refuses; call again later.
        """
        ledger, limits, tally = self._ledger, self._limits, self._ledger.tally
        store, utc_now_ns = ledger.store, ledger.utc_now_ns()
        expired = self._eviction.expired(store, tally, ledger.followers.floor, utc_now_ns // _S)
        rows = self._forget(expired)
        if tally.dead > limits.dead_rows:
            rows += self._forget(store.dead_beyond(limits.dead_rows, ROWS_AT_ONCE), dead=True)
        old = self._eviction.beyond_age(store, self._clock.mono_ns(), utc_now_ns, ledger.carried_through)
        rows += self._evict(handout, old, "max_age")
        evicted = self._evict(handout, self._eviction.beyond_bytes(store, tally), limits.why)
        rows += evicted
        told = self._alarm.check(tally.depth_bytes, tally.depth, self._clock.utc_ns())
        tally.oldest_utc_ns = store.oldest_utc_ns()
        store.shrink(_SHRINK_PAGES)
        # beyond the bytes without progress: all that is left is in the sender's hands, or the gap events themselves
        more = len(expired) == ROWS_AT_ONCE or bool(evicted and tally.depth_bytes > limits.max_bytes)
        return Tidied(rows, told, more=more)

    def relieve(self) -> None:
        """Make room in a full file: what is only kept for replay and for followers goes.

        Raises:
            StorageError: there is no room even for that.
        """
        store = self._ledger.store
        for _ in range(_RELIEF_ROUNDS):
            store.checkpoint()
            kept = store.kept(ROWS_AT_ONCE)
            if not kept:
                return
            self._forget(kept)

    def _forget(self, rows: Sequence[Held], *, dead: bool = False) -> list[Row]:
        """Remove rows that are not owed."""
        if not rows:
            return []
        told = self._ledger.remove(rows, ())
        tally = self._ledger.tally
        if dead:
            tally.dead -= len(rows)
        else:
            tally.kept -= len(rows)
            tally.kept_bytes -= sum(row.size for row in rows)
        return told

    def _evict(self, handout: Handout, candidates: Sequence[Held], policy: str) -> list[Row]:
        """Remove owed rows that the sender does not hold, with the events that declare them."""
        free = set(handout.withdraw([row.id for row in candidates])) if candidates else set()
        chosen = [row for row in candidates if row.id in free]
        if not chosen:
            return []
        utc_ns = self._clock.utc_ns()
        gaps = evictions([(row.stream, row.seq) for row in chosen], policy)
        told = self._ledger.remove(chosen, [gap_event(gap, utc_ns) for gap in gaps])
        tally = self._ledger.tally
        tally.evicted += len(chosen)
        tally.depth -= len(chosen)
        tally.depth_bytes -= sum(row.size for row in chosen)
        tally.again -= sum(row.again for row in chosen)
        return told
