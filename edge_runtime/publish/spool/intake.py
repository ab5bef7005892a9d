"""What is put waits here for the writer's next transaction; what finds no room is counted, and told by an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.publish.spool.losses import Losses
from edge_runtime.system.channel import Channel, Closed, Policy

if TYPE_CHECKING:
    from edge_runtime.core.result import Event, Result
    from edge_runtime.system.clock import Clock

_AT_ONCE = 256  # items in one transaction


class Intake:
    """``put`` and ``wake`` may be called from any thread, the others from the writer's."""

    def __init__(self, clock: Clock, capacity: int) -> None:
        """Hold at most ``capacity`` items."""
        self._clock = clock
        self._queue: Channel[Result | Event | None] = Channel(capacity, Policy.REJECT)  # None only wakes the writer
        self.losses = Losses()
        self.woken = False

    def put(self, item: Result | Event) -> None:
        """Queue ``item``; never blocks. A full queue loses it."""
        try:
            taken = self._queue.put(item)
        except Closed:
            taken = False
        if not taken:
            self.losses.add(item)

    def wake(self) -> None:
        """Make the writer do a round now."""
        if self.woken:
            return
        self.woken = True
        try:
            self._queue.put(None)  # a full queue keeps the writer awake anyway
        except Closed:
            return

    def next(self, timeout_s: float, *, ending: bool) -> list[Result | Event]:
        """Return what the next transaction is to write: what was put, and events about what was lost."""
        try:
            found = self._queue.get_batch(_AT_ONCE, timeout_s)
        except Closed:
            found = []
        self.woken = False
        lost = self.losses.due(self._clock.mono_ns(), self._clock.utc_ns(), ending=ending)
        return [item for item in found if item is not None] + lost

    def close(self) -> None:
        """Take nothing any more; what is in the queue can still be written."""
        self._queue.close()

    def rest(self) -> list[Result | Event]:
        """Return what is still in the queue, closed and never to be written."""
        try:
            found = self._queue.get_batch(max(1, len(self._queue)), 0.0)
        except Closed:
            return []
        return [item for item in found if item is not None]

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._queue)
