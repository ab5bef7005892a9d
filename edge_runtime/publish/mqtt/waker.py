"""Wakes a thread that waits in poll()."""

from __future__ import annotations

import os
import threading


class Waker:
    """An eventfd that may be poked from any thread, also after its owner closed it."""

    def __init__(self) -> None:
        """Open the descriptor."""
        self._lock = threading.Lock()  # guards _open: a poke must never reach a descriptor that was closed and reused
        self._open = True
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def poke(self) -> None:
        """Make the descriptor readable."""
        with self._lock:
            if self._open:
                os.eventfd_write(self.descriptor, 1)

    def close(self) -> None:
        """Close the descriptor; idempotent."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self.descriptor)
