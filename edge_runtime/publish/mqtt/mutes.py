"""Topics that the broker refuses: for how long that may pass, and how seldom they are tried again."""

from __future__ import annotations

import logging
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_S = 1_000_000_000
PATIENCE_NS = 2 * _S  # a refusal that lasts shorter passes, as while a broker reads its access list anew
PAUSE_NS = 10 * _S  # mosquitto 2.0.11 ends the connection with every refusal: a refused topic is tried this seldom


@dataclass(slots=True)
class Mute:
    """One refused topic.

    Attributes:
        stands: the refusal has lasted longer than ``PATIENCE_NS``: it is no passing one.
        until_ns: when the topic may be tried again.
    """

    reason: str
    since_ns: int
    until_ns: int
    stands: bool = False


class Mutes:
    """By topic; one thread."""

    def __init__(self) -> None:
        """Start with nothing refused."""
        self._mutes: dict[str, Mute] = {}

    def refused(self, topic: str, reason: str, now_ns: int) -> Mute:
        """Note a refusal; the first one is logged."""
        until_ns = now_ns + PAUSE_NS
        mute = self._mutes.get(topic)
        if mute is None:
            logger.error("the broker refuses %s: %s", topic, reason)
            mute = self._mutes[topic] = Mute(reason, now_ns, until_ns)
        mute.reason, mute.until_ns = reason, until_ns
        mute.stands = now_ns - mute.since_ns >= PATIENCE_NS
        return mute

    def taken(self, topic: str) -> None:
        """The broker took a message on ``topic``."""
        self._mutes.pop(topic, None)

    def waits(self, topic: str, now_ns: int) -> bool:
        """Tell whether it is too early to try ``topic`` again."""
        mute = self._mutes.get(topic)
        return mute is not None and now_ns < mute.until_ns

    def standing(self, topic: str, now_ns: int) -> str | None:
        """Return why nothing should be tried on ``topic`` now, ``None`` when it should, or when that may pass."""
        mute = self._mutes.get(topic)
        return mute.reason if mute is not None and mute.stands and now_ns < mute.until_ns else None
