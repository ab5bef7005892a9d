"""The two clocks, in one place so that tests can pass their own, and which boot the monotonic one belongs to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4)


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


def kernel_boot() -> str | None:
    """Return what tells this boot of the kernel from all others, or ``None`` where /proc does not say."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return None
