"""One broker connection while it stands: its limits and what is in flight on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.publish.link import Ended, Link, Outgoing
    from edge_runtime.publish.store import Row


@dataclass(frozen=True, slots=True)
class Sent:
    item: Row | Outgoing
    mono_ns: int


@dataclass(slots=True)
class Session:
    """One connection while it stands."""

    link: Link
    window: int = 0
    opened: int = 1  # slow start: one publish at first, one more with every answer, so that a publish for which the
    # broker cuts the connection is found alone in flight after a few attempts
    packet_max: int | None = None
    ended: Ended | None = None
    since_ns: int = 0
    answered: int = 0  # rows that the broker took or refused
    sent: dict[int, Sent] = field(default_factory=dict)  # by mid, oldest first

    @property
    def room(self) -> int:
        """How many QoS 1 publishes may be sent now."""
        return min(self.window, self.opened) - len(self.sent)
