"""Somebody on the other side of the broker who checks what arrives: for ``demo``, ``bench`` and ``watch``."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

from edge_runtime.publish.mqtt.client import MqttDial, MqttSettings
from edge_runtime.publish.mqtt.subscriber import Subscriber
from edge_runtime.publish.payload import EVENT_SCHEMA, RESULT_SCHEMA
from edge_runtime.publish.prover import Prover
from edge_runtime.system.metrics import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_runtime.publish.mqtt.link import Inbound
    from edge_runtime.publish.prover import Hole, Mark, Proof
    from edge_runtime.system.service import Stop

LATENCIES_MAX = 100_000


class Audience:
    """Subscribes to results and events on a connection of its own and keeps the proof. A Service."""

    name = "audience"

    def __init__(
        self,
        settings: MqttSettings,
        filters: Sequence[str],
        *,
        on_result: Callable[[dict[str, object]], None] | None = None,
        on_event: Callable[[dict[str, object]], None] | None = None,
        marks: Mapping[str, Mark] | None = None,
    ) -> None:
        """Count what matches ``filters``, from ``marks`` on where there are any (see ``Prover``).

        ``on_result`` and ``on_event`` get documents in the subscriber's thread.
        """
        self._on_result = on_result
        self._on_event = on_event
        self._subscriber = Subscriber(MqttDial(settings), filters, self._take)
        self._lock = threading.Lock()  # guards everything below
        self._prover = Prover(marks)
        self._latencies_ms: list[float] = []
        self._first_verdict_s: float | None = None
        self.unreadable = 0

    def run(self, stop: Stop) -> None:
        """Receive until stopped."""
        self._subscriber.run(stop)

    def close(self) -> None:
        """Free the descriptor of an audience that will not run (again); idempotent."""
        self._subscriber.close()

    def wait_subscribed(self, timeout_s: float) -> bool:
        """Wait until the broker confirmed the subscription."""
        return self._subscriber.wait_subscribed(timeout_s)

    @property
    def reason(self) -> str | None:
        """Why nothing can arrive now, ``None`` when it can; after the end: why the end was not seen."""
        return self._subscriber.reason

    def proof(self, stream: str | None = None) -> Proof:
        """What is proven so far; see ``Prover.proof``."""
        with self._lock:
            return self._prover.proof(stream)

    def last(self, stream: str) -> int:
        """The highest seq seen in a stream, 0 for none; see ``Prover`` for its name."""
        with self._lock:
            return self._prover.last(stream)

    def streams(self) -> list[str]:
        """Names of all streams seen; see ``Prover``."""
        with self._lock:
            return self._prover.streams()

    def holes(self) -> list[Hole]:
        """What is missing so far; see ``Prover.holes``."""
        with self._lock:
            return self._prover.holes()

    def marks(self) -> dict[str, Mark]:
        """How far each stream was followed."""
        with self._lock:
            return self._prover.marks()

    @property
    def first_verdict_s(self) -> float | None:
        """``time.monotonic()`` of the first OK or NotOK."""
        return self._first_verdict_s

    def latency_ms(self, *quantiles: float) -> tuple[float | None, ...]:
        """Percentiles of capture to arrival here, by the clock of this box (both ends run on it)."""
        with self._lock:
            ordered = sorted(self._latencies_ms)
        return tuple(percentile(ordered, quantile) for quantile in quantiles)

    def _take(self, message: Inbound) -> None:
        now_s, utc_s = time.monotonic(), time.time()
        try:
            document = json.loads(message.payload)
            schema, taken_s = document["schema"], datetime.fromisoformat(document["ts"]).timestamp()
            with self._lock:
                self._prover.add(document)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self.unreadable += 1
            return
        if schema == EVENT_SCHEMA:
            if self._on_event is not None:
                self._on_event(document)
        elif schema == RESULT_SCHEMA:
            self._judged(document, now_s, (utc_s - taken_s) * 1e3)
            if self._on_result is not None:
                self._on_result(document)

    def _judged(self, document: dict[str, object], now_s: float, latency_ms: float) -> None:
        if document.get("evaluation") not in ("OK", "NotOK"):
            return
        with self._lock:
            self._first_verdict_s = self._first_verdict_s or now_s
            if len(self._latencies_ms) < LATENCIES_MAX:
                self._latencies_ms.append(latency_ms)
