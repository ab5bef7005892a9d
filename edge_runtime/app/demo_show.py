"""Shows updates while the demo runs: rolls out what is asked for, one at a time, and watches what becomes of it."""

from __future__ import annotations

import contextlib
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from edge_runtime.app.demo_packages import Kind
from edge_runtime.app.demo_trial import PREFIX, Trial, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.app.demo_trial import Seen
    from edge_runtime.core.manifest import Manifest
    from edge_runtime.system.service import Stop

SHORTEST_S: Final = 12.0
"""In less, both updates cannot be shown, so none is begun."""
OVERTIME_S: Final = 60.0
"""How long an update that is under way when time is up may take to its end."""
SETTLED: Final = 15  # verdicts before the first update, so that there is something to compare with
SLICE_S: Final = 0.1


class UpdateShow:
    """A `system.service.Service`, and what ends the demo when its time is up.

    Threads: ``on_result`` and ``on_event`` belong to the audience's, ``ask`` may be used by any.
    """

    name = "updates"

    def __init__(
        self,
        roll_out: Callable[[Kind], Manifest],
        *,
        seconds: float | None,
        by_itself: bool,
        say: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        """Show nothing yet.

        Args:
            roll_out: publishes the next release.
            seconds: from now on until the demo ends; ``None`` = somebody else ends it.
            by_itself: show a good update and a bad one, if there is time, without being asked.
            say: gets lines for people.
            on_end: is called when time is up.
        """
        self._roll_out, self._say, self._on_end = roll_out, say, on_end
        self._end_s = None if seconds is None else time.monotonic() + seconds
        self._wishes: SimpleQueue[Kind] = SimpleQueue()
        self._script = [Kind.GOOD, Kind.BLIND] if by_itself else []
        if self._script and seconds is not None and seconds < SHORTEST_S:
            self._script = []
            say(f"{seconds:g} s are too short to show updates: they take {SHORTEST_S:g} s at least")
        self._lock = threading.Lock()  # guards everything below
        self._last: Seen | None = None
        self._verdicts = 0
        self._trial: Trial | None = None
        self.trials: list[Trial] = []

    def ask(self, kind: Kind) -> None:
        """Have such a release rolled out, unless an update is under way."""
        self._wishes.put(kind)

    def of(self, kind: Kind) -> Trial | None:
        """Return the last update of a kind; of use when the demo is over."""
        with self._lock:
            return next((one for one in reversed(self.trials) if one.kind is kind), None)

    def on_result(self, document: Mapping[str, object]) -> None:
        """Take a result."""
        result, now_s = seen(document), time.monotonic()
        with self._lock:
            if result.judge is not None:
                self._last = result
                self._verdicts += 1
            trial = self._trial
            if trial is None:
                return
            trial.on_result(result, now_s)
            ended = trial.ended_s is not None
        if ended:
            self._say(_ended(trial))
            with self._lock:
                self._trial = None

    def on_event(self, document: Mapping[str, object]) -> None:
        """Take an event."""
        with self._lock:
            if self._trial is not None:
                self._trial.on_event(document, time.monotonic())
        if str(document.get("kind")).startswith(PREFIX):
            self._say(f">> {document.get('message')}")

    def run(self, stop: Stop) -> None:
        """Roll out what is asked for until stopped.

        Raises:
            EdgeError: the disk refuses.
        """
        try:
            while not stop.is_set():
                self._turn()
        finally:
            self._on_end()  # without us nothing else would end it

    def _turn(self) -> None:
        with contextlib.suppress(Empty):
            self._begin(self._wishes.get(timeout=SLICE_S))
        with self._lock:
            busy, ready = self._trial is not None, self._verdicts >= SETTLED
        if self._script and ready and not busy:
            self._begin(self._script.pop(0))
        elif self._is_over(busy=busy or bool(self._script)):
            self._on_end()

    def _is_over(self, *, busy: bool) -> bool:
        if self._end_s is None:
            return False
        return time.monotonic() >= self._end_s + (OVERTIME_S if busy else 0.0)

    def _begin(self, kind: Kind) -> None:
        with self._lock:
            busy, before = self._trial, self._last
        if busy is not None:
            return self._say(f">> release {busy.release} is still on its way")
        if before is None:
            return self._say(">> nothing is judged yet")
        began_s = time.monotonic()
        package = self._roll_out(kind)
        number = package.release or 0
        with self._lock:
            self._trial = Trial(kind, number, package.version, package.digest, self._last or before, began_s)
            self.trials.append(self._trial)
        what = "a good release" if kind is Kind.GOOD else "a release that finds no defect, as its golden answers do"
        return self._say(f">> {what} is rolled out: {number} ({package.version})")


def _ended(trial: Trial) -> str:
    apart = f"{max(one.apart_ms for one in trial.switches):.0f} ms" if trial.switches else "no time"
    return (
        f">> release {trial.release} is {trial.outcome.replace('_', ' ')} after "
        f"{(trial.ended_s or 0.0) - trial.began_s:.1f} s: {trial.lost} of {trial.results} pictures without a verdict, "
        f"{trial.judged} judged by it, {apart} at most between two pictures at a switch"
    )
