"""Threads with an owner: a ServiceGroup starts them, sees them fail, stops and joins them.

Legal order of a group: ``with ServiceGroup() as group`` -> ``group.start(service)`` ... -> ``group.wait()`` ->
end of block (stop is set, services are joined in reverse order of their start, failures are raised).

The rule is trio's nursery rule for threads: no thread outlives the block that started it, and an exception in one
of them always reaches the block.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger(__name__)

JOIN_TIMEOUT_S = 4.0  # SIGTERM must end the daemon within 5 s


class Stop:
    """A request to stop that any thread can make, see and wait on, and how much time there is to obey it."""

    def __init__(self) -> None:
        """Start unset."""
        self._event = threading.Event()
        self._end_s = math.inf

    def set(self, within_s: float = JOIN_TIMEOUT_S) -> None:
        """Ask for the stop; whoever is not done ``within_s`` seconds from now is given up. Earlier wins.

        Idempotent, callable from any thread, but not from signal handlers.

        A handler runs between two instructions of the main thread, and that may hold the lock of the event, in
        ``wait`` for example: it would wait for itself for ever. The ``put`` of a ``queue.SimpleQueue`` is reentrant.
        """
        self._end_s = min(self._end_s, time.monotonic() + within_s)
        self._event.set()

    def is_set(self) -> bool:
        """Tell whether the stop was asked for."""
        return self._event.is_set()

    @property
    def left_s(self) -> float:
        """Seconds that are left to obey, endless before the stop."""
        return self._end_s - time.monotonic()

    def wait(self, timeout_s: float) -> bool:
        """Sleep at most ``timeout_s`` seconds, less when stopped; return whether the stop was asked for."""
        return self._event.wait(timeout_s)


class Service(Protocol):
    """Something that runs in a thread of its own until told to stop."""

    @property
    def name(self) -> str:
        """Thread name, for example ``publish/spool``."""
        ...

    def run(self, stop: Stop) -> None:
        """Work until ``stop`` is set; returning earlier or raising is a failure of the whole group."""
        ...


class StuckThreadError(Exception):
    """A service did not end in time; the message holds its name and where it stands."""


class ServiceGroup:
    """Owns the threads of one process; see the module docstring for the legal order."""

    def __init__(self, *, join_timeout_s: float = JOIN_TIMEOUT_S) -> None:
        """Make an empty group whose stop takes at most ``join_timeout_s`` seconds in all; can be changed until then."""
        self.stop = Stop()
        self.join_timeout_s = join_timeout_s
        self._threads: list[threading.Thread] = []
        self._failures: list[Exception] = []
        self._failures_lock = threading.Lock()  # guards _failures

    def __enter__(self) -> Self:
        """Open the group."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and join every service in reverse order.

        Raises:
            ExceptionGroup: a service failed or did not end in time, and the body itself did not raise.
        """
        self.stop.set(self.join_timeout_s)
        deadline = time.monotonic() + self.join_timeout_s
        for thread in reversed(self._threads):
            thread.join(max(0.05, deadline - time.monotonic()))
            if thread.is_alive():
                self._add_failure(StuckThreadError(f"{thread.name} did not stop:\n{_stack(thread)}"))
        failures = self.failures
        if not failures:
            return
        if error is None:
            msg = "services failed"
            raise ExceptionGroup(msg, list(failures))
        for failure in failures:
            logger.error("service failed while another error was being raised: %s", failure)

    def start(self, service: Service) -> None:
        """Run ``service`` in a new thread that this group joins. Call from the thread that opened the group."""
        thread = threading.Thread(target=self._run, args=(service,), name=service.name, daemon=True)
        thread.start()
        self._threads.append(thread)  # only now: one that could not be started cannot be joined

    def wait(self, timeout_s: float) -> bool:
        """Wait for a stop or a failure; return whether either came within ``timeout_s`` seconds."""
        return self.stop.wait(timeout_s)

    @property
    def failures(self) -> tuple[Exception, ...]:
        """What went wrong so far, oldest first."""
        with self._failures_lock:
            return tuple(self._failures)

    def _run(self, service: Service) -> None:
        try:
            service.run(self.stop)
            if not self.stop.is_set():
                msg = f"{service.name} ended although nobody asked it to"
                raise RuntimeError(msg)  # noqa: TRY301 - one handler for both ways of failing
        except SystemExit as error:  # the interpreter would end the thread without a word
            self._fail(RuntimeError(f"{service.name} called exit({error.code})"), service)
        except Exception as error:  # noqa: BLE001 - the boundary of a thread; counted, reported and raised by the group
            self._fail(error, service)

    def _fail(self, error: Exception, service: Service) -> None:
        error.add_note(f"in service {service.name}")
        self._add_failure(error)
        self.stop.set(self.join_timeout_s)

    def _add_failure(self, error: Exception) -> None:
        with self._failures_lock:
            self._failures.append(error)


def _stack(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way to see another thread
    return "".join(traceback.format_stack(frame)) if frame else "(no Python frame)"
