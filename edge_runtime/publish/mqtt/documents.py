"""Publishes that are not spooled: only the newest document per topic counts."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.publish.mqtt.link import Outgoing

POSTED_MAX = 256


class Documents:
    """A coalescing box; every method may be called from any thread."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()  # guards everything below
        self._newest: dict[str, Outgoing] = {}
        self._taken: dict[str, Outgoing] = {}  # the newest retained one by topic
        self._posted: deque[Outgoing] = deque()
        self._lost = 0

    def put(self, document: Outgoing) -> None:
        """Replace what waits for the document's topic."""
        with self._lock:
            self._newest[document.topic] = document

    def post(self, message: Outgoing) -> bool:
        """Queue a message that must not be replaced by the next one; return False when the queue is full."""
        with self._lock:
            if len(self._posted) >= POSTED_MAX:
                self._lost += 1
                return False
            self._posted.append(message)
            return True

    def restore(self, document: Outgoing) -> None:
        """Put back a retained document that did not arrive, unless something newer waits or was taken since."""
        with self._lock:
            if self._taken.get(document.topic) is document:
                self._newest.setdefault(document.topic, document)

    def take(self, limit: int, hold: Callable[[Outgoing], bool]) -> list[Outgoing]:
        """Return up to ``limit`` documents to send, but none for which ``hold`` is true."""
        with self._lock:
            taken: list[Outgoing] = []
            while self._posted and len(taken) < limit and not hold(self._posted[0]):
                taken.append(self._posted.popleft())
            topics = [topic for topic, document in self._newest.items() if not hold(document)]
            taken += [self._newest.pop(topic) for topic in topics[: max(0, limit - len(taken))]]
            self._taken.update((document.topic, document) for document in taken if document.retain)
            return taken

    @property
    def lost(self) -> int:
        """Posted messages that found the queue full."""
        with self._lock:
            return self._lost
