"""An independent look at what arrives at the broker: for ``watch``, ``demo`` and the tests."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt.link import FAILURE, Accepted, Backoff, Ended, Inbound, SubscribeAnswered, words
from edge_runtime.publish.mqtt.waker import Waker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.publish.mqtt.link import Dial, Link
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

_TURN_S = 0.25
_END_S = 2.0  # how long the broker has at the end to show that it is still there


class Subscriber:
    """Subscribes to topic filters and hands every message on; reconnects by itself. A Service.

    The broker keeps what it missed for the session expiry of the settings, if the client id is its own.
    """

    name = "publish/subscriber"

    def __init__(self, dial: Dial, filters: Sequence[str], on_message: Callable[[Inbound], None]) -> None:
        """Subscribe to ``filters`` (full topics); ``on_message`` is called by the subscriber's thread."""
        self._dial = dial
        self._filters = tuple(filters)
        self._on_message = on_message
        self._waker = Waker()
        self._backoff = Backoff()
        self._subscribed = threading.Event()
        self._answers = 0
        self.reason: str | None = None  # why it is not subscribed now, or was not at the end

    def wait_subscribed(self, timeout_s: float) -> bool:
        """Wait until the broker confirmed the subscription; from any other thread."""
        return self._subscribed.wait(timeout_s)

    def close(self) -> None:
        """Free the descriptor of a subscriber that will not run (again); idempotent."""
        self._waker.close()

    def run(self, stop: Stop) -> None:
        """Receive until ``stop``."""
        try:
            while not stop.is_set():
                self._attempt(stop)
                stop.wait(self._backoff.next())
        finally:
            self.close()

    def _attempt(self, stop: Stop) -> None:
        link = self._dial(None)
        try:
            link.open(stop, clean=False)
            ended = self._receive(link, stop.is_set)
            if ended is None and self._subscribed.is_set():
                ended = self._see_the_end(link)
            if ended is None:
                link.disconnect()
                link.pump(0.0, self._waker.descriptor)
            else:
                self._lost(ended.words)
        except UnavailableError as error:
            self._lost(error.message)
        finally:
            self._subscribed.clear()
            link.close()

    def _receive(self, link: Link, over: Callable[[], bool]) -> Ended | None:
        """Hand messages on until ``over``; return why the connection ended, if it did."""
        ended: Ended | None = None
        while ended is None and not over():
            link.pump(_TURN_S, self._waker.descriptor)
            for happening in link.happened():
                if isinstance(happening, Accepted):
                    link.subscribe(self._filters)
                elif isinstance(happening, SubscribeAnswered):
                    self._answered(happening)
                elif isinstance(happening, Inbound):
                    self._on_message(happening)
                elif isinstance(happening, Ended):
                    ended = ended or happening
        return ended

    def _see_the_end(self, link: Link) -> Ended | None:
        """Have the broker answer once more: whatever it sent before has arrived then."""
        expected, deadline_s = self._answers + 1, time.monotonic() + _END_S
        link.subscribe(self._filters)
        ended = self._receive(link, lambda: self._answers >= expected or time.monotonic() > deadline_s)
        if ended is None and self._answers < expected:
            return Ended(None, "the broker does not answer")
        return ended

    def _answered(self, answer: SubscribeAnswered) -> None:
        self._answers += 1
        if max(answer.codes) >= FAILURE:
            self._lost(f"the broker refuses the subscription: {words(max(answer.codes))}")
            return
        self.reason = None
        self._backoff.reset()
        self._subscribed.set()

    def _lost(self, reason: str) -> None:
        if reason != self.reason:
            logger.warning("not subscribed: %s", reason)
        self.reason = reason
