"""An independent look at what arrives at the broker: for ``watch``, ``demo`` and the tests."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.link import FAILURE, Accepted, Backoff, Ended, Inbound, SubscribeAnswered, words
from edge_runtime.publish.prover import Proof, Prover
from edge_runtime.publish.waker import Waker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.publish.link import Dial
    from edge_runtime.system.service import Stop

__all__ = ["Proof", "Prover", "Subscriber"]

logger = logging.getLogger(__name__)

_TURN_S = 0.25


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
        self.reason: str | None = None  # why it is not subscribed now

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
            ended: Ended | None = None
            while ended is None and not stop.is_set():
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

    def _answered(self, answer: SubscribeAnswered) -> None:
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


class ProvingSubscriber(Subscriber):
    """A subscriber with a ``Prover``: counts what arrives; ask ``proof`` from any thread."""

    def __init__(self, dial: Dial, filters: Sequence[str]) -> None:
        """Subscribe to result and event topics."""
        super().__init__(dial, filters, self._prove)
        self._lock = threading.Lock()  # guards _prover and unreadable
        self._prover = Prover()
        self.unreadable = 0

    def proof(self, stream: str | None = None) -> Proof:
        """Return what is proven so far; see ``Prover.proof``."""
        with self._lock:
            return self._prover.proof(stream)

    def last(self, stream: str) -> int:
        """Return the highest seq seen in ``stream``, 0 for none."""
        with self._lock:
            return self._prover.last(stream)

    def _prove(self, message: Inbound) -> None:
        with self._lock:
            try:
                self._prover.add(json.loads(message.payload))
            except (ValueError, KeyError, TypeError, AttributeError):
                self.unreadable += 1
