"""The two clocks, in one place so that tests can pass their own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic time for intervals, UTC for labels."""

    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC in nanoseconds; the same in every process of this box."""
        ...

    def utc_ns(self) -> int:
        """UTC nanoseconds since 1970; may step."""
        ...


class SystemClock:
    """The kernel's clocks."""

    def mono_ns(self) -> int:
        """See ``Clock``."""
        return time.monotonic_ns()

    def utc_ns(self) -> int:
        """See ``Clock``."""
        return time.time_ns()
