"""When the registry is looked at: every so often, sooner when somebody asks, later when it does not answer.

At once when a verb at this box has looked (`registry.box.nudge`), for example at a stick: there may be something new.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Final, Protocol

from edge_runtime.core.errors import BusyError, EdgeError
from edge_runtime.registry.box.nudge import last_nudge
from edge_runtime.registry.box.report import Contact, Report, Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.registry.box.order import Order
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

NUDGE_S: Final = 10.0
"""From one look to the next at least, however many ask for it."""
BUSY_S: Final = 5.0
"""When somebody else, a verb for example, is at it."""
BACKOFF_MAX_S: Final = 900.0
DOUBLINGS_MAX: Final = 10
JITTER: Final = 0.2
SLICE_S: Final = 0.25
"""How late a nudge or a stop is seen."""
_NS: Final = 1_000_000_000


class Looker(Protocol):
    """`registry_process.look`."""

    def __call__(self, order: Order, stop: Stop, /, *, fresh: bool) -> Report:
        """Look once."""
        ...


class RegistryWatch:
    """A `system.service.Service`; ``nudge`` may be called by any thread."""

    name = "registry"

    def __init__(
        self,
        order: Order,
        poll_s: float,
        clock: Clock,
        *,
        look: Looker,
        on_report: Callable[[Report], None],
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Look for ``order`` every ``poll_s`` seconds, more or less; ``on_report`` is called in the thread of this."""
        self._order = order
        self._poll_s = poll_s
        self._clock = clock
        self._look = look
        self._on_report = on_report
        self._uniform = uniform
        self._nudged = False
        self._seen: tuple[int, int] | None = None  # the last nudge at this box
        self._looked_ns: int | None = None
        self._failures = 0
        self._fresh = True  # the first look of a process hashes what is on the disk
        self._last: Report | None = None
        self.looks = 0

    def nudge(self) -> float:
        """Look soon; return in how many seconds."""
        self._nudged = True
        looked = self._looked_ns
        return 0.0 if looked is None else max(0.0, NUDGE_S - (self._clock.mono_ns() - looked) / _NS)

    def run(self, stop: Stop) -> None:
        """Look until stopped; a look that is under way is ended."""
        pause_s = self._uniform(0.0, min(1.0, self._poll_s * JITTER))  # a plant that is switched on is many boxes
        self._seen = last_nudge(self._order.root)
        while not self._wait(stop, pause_s):
            self._seen = last_nudge(self._order.root)
            self._nudged, self._looked_ns = False, self._clock.mono_ns()
            self.looks += 1
            try:
                report = self._look(self._order, stop, fresh=self._fresh)
            except BusyError as error:
                logger.info("registry: %s", error.message)
                pause_s = BUSY_S
                continue
            except EdgeError as error:
                if stop.is_set():
                    return
                report = self._failed(error)
            else:
                self._fresh = False
            self._last = report
            self._on_report(report)
            pause_s = self._pause(report)

    def _wait(self, stop: Stop, pause_s: float) -> bool:
        """Sleep; return whether the stop was asked for."""
        due_ns = self._clock.mono_ns() + round(pause_s * _NS)
        while not stop.wait(SLICE_S):
            now_ns, looked_ns = self._clock.mono_ns(), self._looked_ns
            if now_ns >= due_ns or (self._nudged and (looked_ns is None or now_ns - looked_ns >= NUDGE_S * _NS)):
                return False
            if last_nudge(self._order.root) != self._seen:
                return False
        return True

    def _failed(self, error: EdgeError) -> Report:
        logger.warning("registry: %s", error)
        slots = () if self._last is None else self._last.repeated().slots
        return Report(Contact.FAILED, error.code, str(error), slots)

    def _pause(self, report: Report) -> float:
        """Return how long to wait: what failed for a passing reason is tried less and less often."""
        passing = report.contact in (Contact.UNREACHABLE, Contact.FAILED)
        passing |= any(one.standing is Standing.RETRY for one in report.slots)
        self._failures = min(self._failures + 1, DOUBLINGS_MAX) if passing else 0
        most_s = max(self._poll_s, BACKOFF_MAX_S)
        return min(self._poll_s * 2.0 ** max(0, self._failures - 1), most_s) * self._uniform(1 - JITTER, 1 + JITTER)
