"""Hand-over between threads with a bound, a named policy and a count of what it lost."""

from __future__ import annotations

import threading
import time
from collections import deque
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Policy(Enum):
    """What ``put`` does when the channel is full."""

    DROP_OLDEST = "drop_oldest"  # the newest item wins
    REJECT = "reject"  # put returns False and the item is counted as lost


class Closed(Exception):  # noqa: N818 - a state, not a fault
    """The channel was closed and is empty."""


class Channel(Generic[T]):
    """A bounded FIFO for any number of producers and consumers; all methods may be called from any thread."""

    def __init__(self, capacity: int, policy: Policy) -> None:
        """Hold at most ``capacity`` >= 1 items."""
        if capacity < 1:
            msg = f"capacity must be at least 1, got {capacity}"
            raise ValueError(msg)
        self._capacity = capacity
        self._policy = policy
        self._items: deque[T] = deque()
        self._changed = threading.Condition()  # guards _items, _closed, _lost
        self._closed = False
        self._lost = 0

    def put(self, item: T) -> bool:
        """Add ``item`` without blocking; return whether nothing was lost by it.

        Raises:
            Closed: the channel was closed.
        """
        with self._changed:
            if self._closed:
                raise Closed
            full = len(self._items) >= self._capacity
            if full:
                self._lost += 1
                if self._policy is Policy.REJECT:
                    return False
                self._items.popleft()
            self._items.append(item)
            self._changed.notify()
            return not full

    def get(self, timeout_s: float) -> T | None:
        """Return the oldest item, or ``None`` after ``timeout_s`` seconds without one.

        Raises:
            Closed: the channel was closed and everything was taken.
        """
        batch = self.get_batch(1, timeout_s)
        return batch[0] if batch else None

    def get_batch(self, limit: int, timeout_s: float) -> list[T]:
        """Return up to ``limit`` items, oldest first; an empty list after ``timeout_s`` seconds without any.

        Raises:
            Closed: the channel was closed and everything was taken.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._items:
                if self._closed:
                    raise Closed
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return []
                self._changed.wait(remaining)
            return [self._items.popleft() for _ in range(min(limit, len(self._items)))]

    def close(self) -> None:
        """Refuse new items and wake every waiting consumer; what is inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def lost(self) -> int:
        """Items lost to the policy since the start."""
        with self._changed:
            return self._lost

    def __len__(self) -> int:
        """Items waiting now."""
        with self._changed:
            return len(self._items)
