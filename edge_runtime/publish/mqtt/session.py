"""One broker connection while it stands: its limits and what is in flight on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.publish.mqtt.link import Ended, Link, Outgoing
    from edge_runtime.publish.spool.store import Row

_PATIENCE_NS = 20_000_000  # an answer is not late before that
_PATIENCE_MAX_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A QoS 1 publish that waits for its answer.

    Attributes:
        row: what the spool is owed an answer for; ``None`` for a document.
        latest: what a ``latest`` document was made of: it is made anew when it has to be sent again.
    """

    message: Outgoing
    mono_ns: int
    row: Row | None = None
    latest: Row | None = None


@dataclass(slots=True)
class Session:
    """One connection while it stands.

    Attributes:
        window: most publishes in flight; 0 until the broker let us in.
        opened: slow start: one publish at first, one more with every answer, so that a publish for which the broker
            cuts the connection is alone in flight after a few attempts.
        alone: one publish in flight at a time and none without an answer, because the broker cut the last connection
            for a packet that is too large and did not say what it takes: so it is known which one that is.
        since_ns: when the broker let us in; 0 before.
        answered: rows that the broker took or refused.
        sent: what is in flight by message id, oldest first.
        rtt_ns: how long an answer usually takes; 0 before the first one.
        heard_ns: when the last answer came.
    """

    link: Link
    alone: bool = False
    window: int = 0
    opened: int = 1
    packet_max: int | None = None
    ended: Ended | None = None
    since_ns: int = 0
    answered: int = 0
    sent: dict[int, Sent] = field(default_factory=dict)
    rtt_ns: int = 0
    heard_ns: int = 0

    @property
    def room(self) -> int:
        """How many QoS 1 publishes may be sent now."""
        return min(self.window, 1 if self.alone else self.opened) - len(self.sent)

    def heard(self, sent: Sent, now_ns: int) -> None:
        """The broker answered ``sent``."""
        took_ns = now_ns - sent.mono_ns
        self.heard_ns = now_ns
        self.rtt_ns += (took_ns - self.rtt_ns) // 8 if self.rtt_ns else took_ns

    def silent(self, now_ns: int) -> bool:
        """Tell whether the broker is late with an answer.

        What is sent into a network that was cut, or to a broker that hangs, has to be sent again: every row of it may
        arrive twice.
        """
        oldest = next(iter(self.sent.values()), None)
        if oldest is None:
            return False
        patience_ns = min(max(_PATIENCE_NS, 4 * self.rtt_ns), _PATIENCE_MAX_NS)
        return now_ns - max(oldest.mono_ns, self.heard_ns) > patience_ns

    def fits(self, message: Outgoing) -> bool:
        """Tell whether the broker takes a packet of that size, as far as it said; a larger one costs the connection."""
        return self.packet_max is None or self.link.size(message) <= self.packet_max
