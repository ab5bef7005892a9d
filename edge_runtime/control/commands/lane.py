"""A thread that works through what the desk gives it, in order, and looks after the time in between."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, TypeVar

from edge_runtime.system.channel import Channel, Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

T = TypeVar("T")
MESSAGES_MAX = 256  # that wait; one more is refused
RUNNING_MAX = 256  # commands of a lane that are being carried out; each has one answer to come
_TURN_S = 0.1  # how late a deadline is seen


class Lane(Generic[T]):
    """A Service; ``offer`` and ``put`` may be called from any thread and never block."""

    def __init__(self, name: str, work: Callable[[T], None], tick: Callable[[], None], end: Callable[[], None]) -> None:
        """Call ``work`` for each item, ``tick`` ten times a second or more often, ``end`` once when told to stop.

        What waits after ``end`` still goes to ``work``, which then has to be quick.
        """
        self.name = name
        self._work = work
        self._tick = tick
        self._end = end
        self._channel: Channel[T] = Channel(MESSAGES_MAX + 2 * RUNNING_MAX, Policy.REJECT)
        self.faults = 0

    def offer(self, item: T) -> bool:
        """Add a message; False when too many wait."""
        return len(self._channel) < MESSAGES_MAX and self._channel.put(item)

    def put(self, item: T) -> None:
        """Add an answer, for which there is always room."""
        self._channel.put(item)

    def run(self, stop: Stop) -> None:
        """Work until stopped, then end."""
        while not stop.is_set():
            item = self._channel.get(_TURN_S)
            if item is not None:
                self._guarded(lambda item=item: self._work(item))  # type: ignore[misc]  # mypy infers no default argument
            self._guarded(self._tick)
        self._guarded(self._end)
        for item in self._channel.get_batch(MESSAGES_MAX + 2 * RUNNING_MAX, 0.0):
            self._guarded(lambda item=item: self._work(item))  # type: ignore[misc]

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception:  # the boundary of a thread that must go on: the next command is not to blame for this one
            self.faults += 1
            logger.exception("%s: a command could not be dealt with", self.name)
