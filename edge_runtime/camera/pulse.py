"""Signs of life during calls that block for a known time: name resolution, connecting, a slow camera's next frame."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTERVAL_S: Final = 0.5


class Pulse:
    """Beats for another thread while that is inside ``during``, and not one beat longer than announced.

    So a call may take its time, and one that hangs is still found out. ``start`` and ``stop`` belong to the thread that
    uses ``during``; before ``start`` nothing beats.
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        """Use ``beat``, which must be callable from any thread."""
        self._beat = beat
        self._until_s = 0.0  # written by the user's thread, read by ours; one float needs no lock
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread. Idempotent."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End and join the thread. Idempotent."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(2 * INTERVAL_S)

    @contextlib.contextmanager
    def during(self, limit_s: float) -> Iterator[None]:
        """Beat until the block ends, at most for ``limit_s`` seconds."""
        self._until_s = time.monotonic() + limit_s
        try:
            yield
        finally:
            self._until_s = 0.0

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            if time.monotonic() < self._until_s:
                self._beat()
