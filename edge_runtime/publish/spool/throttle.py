"""How fast a backlog may be sent while newer results are sent beside it: a token bucket, pure but for its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.system.clock import Clock

_S = 1_000_000_000
_BURST_S = 0.5  # the sender asks at least every quarter of a second


class Throttle:
    """One thread at a time."""

    def __init__(self, clock: Clock, per_s: float | None) -> None:
        """Allow ``per_s`` rows a second, as many as there are when it is ``None``."""
        self._clock = clock
        self._per_s = per_s
        self._tokens = 0.0
        self._asked_ns = clock.mono_ns()

    def allowed(self, limit: int) -> int:
        """Return how many of ``limit`` rows may be sent now."""
        if self._per_s is None:
            return limit
        now_ns = self._clock.mono_ns()
        earned = (now_ns - self._asked_ns) / _S * self._per_s
        self._tokens = min(self._tokens + earned, max(1.0, self._per_s * _BURST_S))
        self._asked_ns = now_ns
        return min(limit, int(self._tokens))

    def used(self, count: int) -> None:
        """Rows were sent."""
        if self._per_s is not None:
            self._tokens -= count
