"""The two clocks, in one place so that tests can pass their own, and which boot the monotonic one belongs to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal, Protocol

from edge_runtime.system.timex import synchronised

Followed = Literal["ntp", "free"]
ASK_EVERY_NS = 60_000_000_000
STEP_MS = 100.0  # an NTP daemon that slews is 0.5 ms a second off at most
_UNDISTURBED_NS = 1_000_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4)


class Clock(Protocol):
    """Monotonic time for intervals, UTC for labels."""

    def mono_ns(self) -> int:
        """CLOCK_MONOTONIC in nanoseconds; the same in every process of this box."""
        ...

    def utc_ns(self) -> int:
        """UTC nanoseconds since 1970; may step."""
        ...

    def followed(self) -> Followed:
        """What the UTC clock follows: ``ntp`` while the kernel holds it for synchronised, else ``free``."""
        ...


class SystemClock:
    """The kernel's clocks."""

    def __init__(self) -> None:
        """Ask nothing yet."""
        self._followed: Followed = "free"
        self._asked_ns: int | None = None

    def mono_ns(self) -> int:
        """See ``Clock``."""
        return time.monotonic_ns()

    def utc_ns(self) -> int:
        """See ``Clock``."""
        return time.time_ns()

    def followed(self) -> Followed:
        """See ``Clock``; the kernel is asked once a minute."""
        now_ns = time.monotonic_ns()
        if self._asked_ns is None or now_ns - self._asked_ns >= ASK_EVERY_NS:
            self._followed, self._asked_ns = "ntp" if synchronised() else "free", now_ns
        return self._followed


class StepWatch:
    """Sees that somebody set the UTC clock, by comparing it with the monotonic one; one thread."""

    def __init__(self, clock: Clock) -> None:
        """Watch ``clock``."""
        self._clock = clock
        self._offset_ns: int | None = None

    def step_ms(self) -> float | None:
        """Return by how much the clock was set since the last call, forwards positive, if by ``STEP_MS`` or more.

        The sleep of a suspended machine counts: the monotonic clock stands still meanwhile.
        """
        before_ns, utc_ns, after_ns = self._clock.mono_ns(), self._clock.utc_ns(), self._clock.mono_ns()
        if after_ns - before_ns > _UNDISTURBED_NS:
            return None  # somebody else ran in between: this says nothing, the next look will
        offset_ns = utc_ns - before_ns
        old_ns, self._offset_ns = self._offset_ns, offset_ns
        step_ms = 0.0 if old_ns is None else (offset_ns - old_ns) / 1e6
        return step_ms if abs(step_ms) >= STEP_MS else None


def kernel_boot() -> str | None:
    """Return what tells this boot of the kernel from all others, or ``None`` where /proc does not say."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return None
