"""Signs of life between processes: a 64-bit word in shared memory, and the pure judgement of it.

The watched process stores CLOCK_MONOTONIC in the word whenever its main loop turns. The watching one only looks
whether the word changed, and counts the silence by its own checks: a box that was frozen or so busy that the checks
themselves came late does not make every child look dead.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from enum import Enum
from typing import Self

CHECK_INTERVAL_S = 0.1
_LATE_CHECK_NS = 500_000_000  # a check that comes later than this counts as this much silence, no more
_PAGE_BYTES = 4096
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Heartbeat:
    """One shared word; 0 until the first beat. Any thread may beat or read."""

    def __init__(self, memory: mmap.mmap) -> None:
        """Own ``memory``; made by ``create``, ``attach`` and ``private`` only."""
        self._memory = memory
        self._word = memoryview(memory).cast("Q")

    @classmethod
    def create(cls) -> tuple[Self, int]:
        """Return a heartbeat and a new descriptor for the process that shall ``attach``; the caller closes it.

        Raises:
            OSError: the kernel gives no memory or descriptor.
        """
        fd = os.memfd_create("edge-heartbeat", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, _PAGE_BYTES)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)  # shrinking it would be a SIGBUS for the watcher
            return cls(mmap.mmap(fd, _PAGE_BYTES)), fd
        except OSError:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, fd: int) -> Self:
        """Share the heartbeat behind ``fd``, which stays the caller's.

        Raises:
            OSError: ``fd`` cannot be mapped.
        """
        return cls(mmap.mmap(fd, _PAGE_BYTES))

    @classmethod
    def private(cls) -> Self:
        """Return a heartbeat that only this process sees, for running a child's code in a thread."""
        return cls(mmap.mmap(-1, _PAGE_BYTES))

    def beat(self) -> None:
        """Store the present time."""
        self._word[0] = time.monotonic_ns()

    @property
    def last_ns(self) -> int:
        """What was stored last: CLOCK_MONOTONIC nanoseconds, or anything if the other process went wild."""
        return self._word[0]

    def close(self) -> None:
        """Unmap. Idempotent; not while another thread beats."""
        self._word.release()
        self._memory.close()


class Alarm(Enum):
    """Why a process counts as dead."""

    START_TIMEOUT = "start_timeout"  # no first beat in time
    HEARTBEAT = "heartbeat"  # beats stopped


class Watchdog:
    """Judges one process by the values that its heartbeat word shows at each check."""

    def __init__(self, *, start_timeout_s: float, heartbeat_timeout_s: float, now_ns: int) -> None:
        """Start watching at ``now_ns`` (monotonic), when the word was 0."""
        self.first_beat_ns: int | None = None
        """When the first beat was seen, or ``None``."""
        self._start_timeout_ns = start_timeout_s * 1e9
        self._heartbeat_timeout_ns = heartbeat_timeout_s * 1e9
        self._beat = 0
        self._silence_ns = 0
        self._checked_ns = now_ns

    def check(self, beat: int, now_ns: int) -> Alarm | None:
        """Return the alarm that ``beat``, read at ``now_ns``, gives; call it every ``CHECK_INTERVAL_S``."""
        elapsed_ns = min(max(0, now_ns - self._checked_ns), _LATE_CHECK_NS)
        self._checked_ns = now_ns
        if beat != self._beat:
            if self.first_beat_ns is None:
                self.first_beat_ns = now_ns
            self._beat = beat
            self._silence_ns = 0
            return None
        self._silence_ns += elapsed_ns
        if self.first_beat_ns is None:
            return Alarm.START_TIMEOUT if self._silence_ns > self._start_timeout_ns else None
        return Alarm.HEARTBEAT if self._silence_ns > self._heartbeat_timeout_ns else None
