"""One thread that waits for everything: descriptors, timers and calls from other threads.

Legal order: make the loop, ``watch``/``call_later``/``on_stop`` from the thread that will drive it (or before it
runs), run it in a ServiceGroup (or ``turn`` it by hand in tests), ``close`` it. Callbacks run one at a time in the
driving thread and must not block. One that raises ends the loop with that exception; nothing is swallowed.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol, Self

from edge_runtime.core.errors import BusyError
from edge_runtime.system.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from edge_runtime.system.service import Stop

STOP_POLL_S = 0.1  # a Stop cannot wake a selector, so the loop looks this often
POSTS_MAX = 65536
_SWEEP_MIN = 64


class HasFileno(Protocol):
    """A descriptor in an object."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class Timer:
    """A call at a time; made by ``Loop.call_at`` and ``Loop.call_later``."""

    def __init__(self, mono_ns: int, callback: Callable[[], None]) -> None:
        """Made by the loop only."""
        self.mono_ns = mono_ns
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Make sure that the call does not happen (any more). Idempotent; in the loop's thread."""
        self._callback = None

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._callback is not None

    def _fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class _Watch:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback


class Loop:
    """See the module docstring. All methods belong to the driving thread, except ``post``."""

    def __init__(self, *, name: str = "line", clock: Clock | None = None) -> None:
        """Make a loop that owns two descriptors until ``close``."""
        self.name = name
        self.clock: Clock = clock or SystemClock()
        self.last_turn_mono_ns = self.clock.mono_ns()
        """When the loop last began a turn; any thread may read it to see whether the loop lives."""
        self._selector = selectors.DefaultSelector()
        self._watches: dict[int, _Watch] = {}
        self._timers: list[tuple[int, int, Timer]] = []
        self._sweep_at = _SWEEP_MIN
        self._order = itertools.count()  # equal times fire in the order of their making
        self._posts: deque[Callable[[], None]] = deque()
        self._closers: list[Callable[[], None]] = []
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._wake_lock = threading.RLock()  # guards _wake_fd; reentrant so that signal handlers may post
        self._selector.register(self._wake_fd, selectors.EVENT_READ, _Watch(self._woken))

    def __enter__(self) -> Self:
        """Open a block at whose end the loop is closed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def watch(self, fd: int | HasFileno, on_readable: Callable[[], None]) -> None:
        """Call ``on_readable`` in every turn in which ``fd`` is readable or at its end; one watch per descriptor."""
        watch = _Watch(on_readable)
        number = fd if isinstance(fd, int) else fd.fileno()
        self._selector.register(number, selectors.EVENT_READ, watch)
        self._watches[number] = watch

    def unwatch(self, fd: int | HasFileno) -> None:
        """End a watch, before the descriptor is closed; nothing happens when there is none."""
        number = fd if isinstance(fd, int) else fd.fileno()
        if self._watches.pop(number, None) is not None:
            self._selector.unregister(number)

    def call_at(self, mono_ns: int, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once, in the first turn at or after ``mono_ns`` of the loop's clock."""
        timer = Timer(mono_ns, callback)
        heapq.heappush(self._timers, (mono_ns, next(self._order), timer))
        if len(self._timers) > self._sweep_at:  # cancelled timers far in the future must not pile up
            self._timers = [entry for entry in self._timers if entry[2].pending]
            heapq.heapify(self._timers)
            self._sweep_at = max(_SWEEP_MIN, 2 * len(self._timers))
        return timer

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once, ``seconds`` from now; 0 means in the next turn."""
        return self.call_at(self.clock.mono_ns() + round(seconds * 1e9), callback)

    def post(self, callback: Callable[[], None]) -> bool:
        """Have ``callback`` called in the loop's thread; from any thread and from signal handlers; does not block.

        Returns:
            Whether it was taken; ``False`` once the loop is closed.

        Raises:
            BusyError: ``POSTS_MAX`` calls are waiting already; the loop does not turn.
        """
        if len(self._posts) >= POSTS_MAX:
            msg = f"loop {self.name} has {POSTS_MAX} calls waiting and takes no more"
            raise BusyError("system.loop_full", msg)
        with self._wake_lock:
            if self._wake_fd < 0:
                return False
            self._posts.append(callback)
            os.eventfd_write(self._wake_fd, 1)
            return True

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the loop's thread when ``run`` ends for whatever reason, last registered first.

        It may drive the loop by ``turn`` while it waits for something to end.
        """
        self._closers.append(callback)

    def run(self, stop: Stop) -> None:
        """Turn until ``stop`` is set (seen within 0.1 s), then make the ``on_stop`` calls."""
        with contextlib.ExitStack() as closers:
            for callback in self._closers:
                closers.callback(callback)
            while not stop.is_set():
                self.turn(STOP_POLL_S)

    def turn(self, wait_s: float) -> None:
        """Wait at most ``wait_s`` seconds for something to do, and do all that is due now. May be nested."""
        now = self.last_turn_mono_ns = self.clock.mono_ns()
        if self._posts:
            wait_s = 0
        elif self._timers:
            wait_s = min(wait_s, max(0, self._timers[0][0] - now) / 1e9)
        for key, _ in self._selector.select(max(0, wait_s)):
            # an earlier callback of this turn may have ended this watch, or even reused its number
            if key.fd == self._wake_fd or self._watches.get(key.fd) is key.data:
                key.data.callback()
        for _ in range(len(self._posts)):
            if self._posts:  # a nested turn may have taken it
                self._posts.popleft()()
        self._fire_timers()

    def close(self) -> list[Callable[[], None]]:
        """Give the descriptors back and return the posted calls that came too late. Idempotent; not while it runs."""
        with self._wake_lock:
            if self._wake_fd >= 0:
                self._selector.close()
                os.close(self._wake_fd)
                self._wake_fd = -1
        late = list(self._posts)  # nothing is posted any more
        self._posts.clear()
        self._timers.clear()
        self._watches.clear()
        return late

    def _fire_timers(self) -> None:
        now = self.clock.mono_ns()
        newest = next(self._order)  # timers made from here on wait for the next turn, even if due
        while self._timers and self._timers[0][0] <= now and self._timers[0][1] < newest:
            heapq.heappop(self._timers)[2]._fire()  # noqa: SLF001 - the loop's own

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):  # a nested turn may have read it
            os.eventfd_read(self._wake_fd)
