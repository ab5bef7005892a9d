"""What of the spool is sent next to Sparkplug hosts, and from where it would be sent again.

Live results first, then what was missed, in batches with a pause. Sparkplug is QoS 0: nobody confirms anything. So a
result counts as delivered when the connection on which it was sent still stood ``keep_ns`` later (twice the keep
alive and some more: a connection that died unseen is noticed within that); the window before it is sent again as
historical on the next connection, after a kill as well, because the follower's position is durable.

Results of a device that is dead are held for its next birth. One thread; nothing here blocks.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.publish.sparkplug import mapping
from edge_runtime.publish.sparkplug.spoken import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_runtime.publish.sparkplug.node import Node
    from edge_runtime.publish.sparkplug.points import Point
    from edge_runtime.publish.sparkplug.spoken import Action, Now
    from edge_runtime.publish.spool.follower import Follower
    from edge_runtime.publish.spool.rows import Row

logger = logging.getLogger(__name__)

BATCH_ROWS = 32  # 15 to 16 metrics each: one message of 500 metrics
BATCH_PAUSE_NS = 50_000_000  # 640 results a second at most
LIVE_ROWS = 64
HELD_MAX = 2000  # results of dead devices in memory; beyond it the oldest are given up here (not in the spool's JSON)
_STREAM = "result/"


@dataclass(slots=True)
class FeedStats:
    """What became of results; written by the feed's thread, read by any.

    Attributes:
        live, historical: results that were sent as such; one that is sent again counts again.
        held: results of dead devices that wait.
        given_up: results of dead devices that waited for too long.
        evicted: results that the spool gave up before they could be sent.
        foreign: results of inspections that the configuration has no more, and unreadable ones.
        too_large: results that the broker would not have taken, and that were not sent.
    """

    live: int = 0
    historical: int = 0
    held: int = 0
    given_up: int = 0
    evicted: int = 0
    foreign: int = 0
    too_large: int = 0


class _Window:
    """Rows that were sent lately and may still have to be sent again; ``done`` is the newest that may not."""

    def __init__(self) -> None:
        self._sent: deque[tuple[int, int]] = deque()  # row id and when, in the order of the sending
        self.done = 0

    def add(self, row_id: int, mono_ns: int) -> None:
        self._sent.append((row_id, mono_ns))

    def age(self, limit_ns: int) -> None:
        """Take what was sent before ``limit_ns`` as delivered."""
        while self._sent and self._sent[0][1] <= limit_ns:
            self.done = max(self.done, self._sent.popleft()[0])

    @property
    def oldest(self) -> int | None:
        """The smallest row id that is not delivered."""
        return min((row_id for row_id, _ in self._sent), default=None)


class Feed:
    """See the module docstring."""

    def __init__(self, follower: Follower, node: Node, *, keep_ns: int) -> None:
        """Send what ``follower`` has through ``node``; a result sent ``keep_ns`` ago is delivered."""
        self._follower = follower
        self._node = node
        self._keep_ns = keep_ns
        self._result_json = node.spec.result_json
        self._held: deque[Row] = deque()
        self._from_backlog, self._from_live, self._from_held = _Window(), _Window(), _Window()
        self._next_batch_ns = 0
        self.more = False  # whether there are live results that nobody will tell of again
        self.stats = FeedStats()

    def begin(self) -> None:
        """A birth is next: what comes from now on is live, everything that is not delivered is historical."""
        self._follower.rewind()
        self._held.clear()
        self._from_backlog, self._from_live, self._from_held = _Window(), _Window(), _Window()
        self.stats.held = 0

    def look(self, now: Now) -> None:
        """Keep the newest values for the birth while nothing may be sent; ``begin`` makes all of it historical."""
        while rows := self._follower.take_live(LIVE_ROWS):
            for device, points in self._readable(rows):
                self._node.result(device, points, now)

    def live(self, now: Now) -> list[Action]:
        """Return what to send for the newest results."""
        actions: list[Action] = []
        rows = self._follower.take_live(LIVE_ROWS)
        self.more = len(rows) == LIVE_ROWS
        for row in rows:
            points = self._points(row)
            device = _device(row)
            if points is not None and not self._node.speaks(device):
                self._node.result(device, points, now)  # what the next birth of the device tells
                self._hold(row)
                continue
            if points is not None:
                said = self._node.result(device, points, now)
                refused = _refused(said)
                self.stats.too_large += refused
                self.stats.live += 1 - refused
                actions += said
            self._from_live.add(row.id, now.mono_ns)
        return actions

    def history(self, now: Now) -> list[Action]:
        """Return the next batch of older results, empty while the pause lasts or nothing is owed."""
        if now.mono_ns < self._next_batch_ns:
            return []
        window = self._from_held
        rows: Sequence[Row] = self._released()
        if not rows:
            window, rows = self._from_backlog, self._follower.take_backlog(BATCH_ROWS)
        self.stats.evicted += self._follower.skipped()
        if not rows:
            return []
        self._next_batch_ns = now.mono_ns + BATCH_PAUSE_NS
        by_device: dict[str, list[Sequence[Point]]] = {}
        for row in rows:
            device = _device(row)
            points = self._points(row)
            if points is not None and not self._node.speaks(device):
                self._hold(row)
                continue
            if points is not None:
                by_device.setdefault(device, []).append(points)
            window.add(row.id, now.mono_ns)
        actions: list[Action] = []
        for device, results in by_device.items():
            said = self._node.history(device, results, now)
            refused = _refused(said)
            self.stats.too_large += refused
            self.stats.historical += len(results) - refused
            actions += said
        return actions

    def settle(self, now: Now) -> None:
        """Move the durable position over what is delivered; costs a look at the whole window, so once a second."""
        windows = (self._from_backlog, self._from_live, self._from_held)
        for window in windows:
            window.age(now.mono_ns - self._keep_ns)
        # the backlog is sent in its order; whatever is newer is done only when nothing older is owed any more
        done = max(w.done for w in windows) if not self._follower.backlog else self._from_backlog.done
        open_ids = [w.oldest for w in windows if w.oldest is not None] + [row.id for row in self._held]
        done = min([done, *(row_id - 1 for row_id in open_ids)])
        if done > self._follower.position:
            self._follower.settle(done)

    @property
    def owed(self) -> int:
        """Results that were missed and are not sent yet."""
        return self._follower.backlog + len(self._held)

    def _released(self) -> list[Row]:
        """Take held results whose devices live again."""
        ready = [row for row in self._held if self._node.speaks(_device(row))][:BATCH_ROWS]
        if ready:
            taken = {row.id for row in ready}
            self._held = deque(row for row in self._held if row.id not in taken)
            self.stats.held = len(self._held)
        return ready

    def _hold(self, row: Row) -> None:
        if len(self._held) >= HELD_MAX:
            self._held.popleft()
            self.stats.given_up += 1
        self._held.append(row)
        self.stats.held = len(self._held)

    def _readable(self, rows: Iterable[Row]) -> list[tuple[str, tuple[Point, ...]]]:
        found = []
        for row in rows:
            points = self._points(row)
            if points is not None:
                found.append((_device(row), points))
        return found

    def _points(self, row: Row) -> tuple[Point, ...] | None:
        """Return the points of a result, ``None`` for one that no device can tell."""
        if not self._node.has(_device(row)):
            self.stats.foreign += 1
            return None
        try:
            return mapping.points(row.body, result_json=self._result_json)
        except DataError as error:
            self.stats.foreign += 1
            logger.warning("row %d of the spool is not sent over Sparkplug: %s", row.id, error)
            return None


def _refused(actions: Sequence[Action]) -> int:
    return sum(isinstance(action, Refused) for action in actions)


def _device(row: Row) -> str:
    return row.stream.removeprefix(_STREAM)
