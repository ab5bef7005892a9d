"""Whether bytes arrive fast enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    from edge_runtime.system.clock import Clock


class Pace:
    """Of one stream: bytes in windows of time that follow each other."""

    def __init__(self, clock: Clock, least_bytes_s: int, window_s: float) -> None:
        """Begin the first window now."""
        self._clock = clock
        self._least_bytes_s = least_bytes_s
        self._window_s = window_s
        self._since_ns = clock.mono_ns()
        self._bytes = 0

    def check(self, count: int, name: str) -> None:
        """Count; raise at the end of a window that was too slow.

        Raises:
            UnavailableError: code ``registry.slow``, of what is called ``name``.
        """
        self._bytes += count
        passed_s = (self._clock.mono_ns() - self._since_ns) / 1e9
        if passed_s < self._window_s:
            return
        rate = self._bytes / passed_s
        if rate < self._least_bytes_s:
            message = f"{name}: {rate:.0f} bytes a second, expected {self._least_bytes_s} at least"
            raise UnavailableError("registry.slow", message, help="look at the network, or name a mirror")
        self._since_ns, self._bytes = self._clock.mono_ns(), 0
