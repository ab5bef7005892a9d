"""A clock that stands still until a test moves it."""

from __future__ import annotations

from typing import Literal

NS_PER_MS = 1_000_000
START_MONO_NS = 5_000_000_000
START_UTC_NS = 1_800_000_000_000_000_000


class ManualClock:
    """A ``system.clock.Clock``."""

    def __init__(self) -> None:
        self._elapsed_ns = 0
        self._set_ns = 0

    def mono_ns(self) -> int:
        return START_MONO_NS + self._elapsed_ns

    def utc_ns(self) -> int:
        return START_UTC_NS + self._elapsed_ns + self._set_ns

    def followed(self) -> Literal["ntp", "free"]:
        return "ntp"

    def set_ms(self, milliseconds: float) -> None:
        """Somebody sets the UTC clock."""
        self._set_ns += round(milliseconds * NS_PER_MS)

    def advance_ms(self, milliseconds: float) -> None:
        """Let time pass."""
        self._elapsed_ns += round(milliseconds * NS_PER_MS)
