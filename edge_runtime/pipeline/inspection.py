"""The fate of every frame of one inspection, as a pure state machine: events in, settled frames out.

Legal order of a frame: captured -> (waiting ->) in flight -> settled, or captured -> settled. It is settled exactly
once, as inferred (a model judged it), failed (a NotDecidable result says why) or dropped (counted by reason), so

    captured = inferred + dropped + failed + in flight (waiting frames included)

holds after every event. Two policies (design.md 4): `latest`, where the newest frame wins, and `every`, a bounded
lossless queue. Nothing here reads a clock: callers pass monotonic ns.

Results leave in the order of capture: one that is known early (bad frame, overrun, fast verdict) counts as in flight
until every older frame is settled. Whoever restarts after a crash may therefore take the newest durable result as a
watermark (`pipeline.flight`). Dropped frames have no result and are counted at once.

Silence is bounded: a frame waits or is in flight for at most the deadline. When newer frames keep replacing the
waiting one (`latest`), the time of the first of them counts, so an engine that is away still yields a NotDecidable
result every deadline.

Commands change its `Setup` between two frames (`pipeline.setup`). A trigger keeps the setup of the moment it was asked
for, so that the frame which answers it is judged by the recipe that its caller knew.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from edge_runtime.core.result import Counters, Drop, Failure
from edge_runtime.pipeline.attempt import NS_PER_MS, Asked, Attempt, Refusal, Settled, TriggerIds, Verdict, allowed
from edge_runtime.pipeline.setup import AS_CONFIGURED, Setup, SetupHistory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.core.frame import Frame


class Capture(Enum):
    """What happens to frames that arrive faster than they are judged."""

    LATEST = "latest"
    EVERY = "every"


@dataclass(frozen=True, slots=True)
class InspectionSpec:
    """What an inspection is made of.

    Attributes:
        id: name in topics and results.
        camera: camera id.
        slot: model slot id.
        capture: policy.
        deadline_ms: no verdict this long after capture -> NotDecidable.
        queue: bound of an `every` inspection's waiting frames, >= 1.
        interval_ms: judge one frame per interval; ``None`` = every frame that the policy admits.
        on_trigger: judge only frames that a trigger asked for.
    """

    id: str
    camera: str
    slot: str
    capture: Capture = Capture.LATEST
    deadline_ms: int = 1000
    queue: int = 16
    interval_ms: int | None = None
    on_trigger: bool = False


@dataclass(slots=True)
class _Tally:
    captured: int = 0
    inferred: int = 0
    failed: Counter[Failure] = field(default_factory=Counter)
    dropped: Counter[Drop] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Figures:
    """Counters of one moment, with the reasons behind them by value of ``Drop`` and ``Failure``."""

    counters: Counters
    dropped_by: Mapping[str, int]
    failed_by: Mapping[str, int]
    setup: Setup = AS_CONFIGURED


class Inspection:
    """See the module docstring. Not thread-safe: one thread owns it."""

    def __init__(self, spec: InspectionSpec, setup: Setup = AS_CONFIGURED) -> None:
        """Start with all counters at zero."""
        self.spec = spec
        self._setups = SetupHistory(setup)
        self._open: OrderedDict[int, Attempt] = OrderedDict()  # by frame id, in the order of capture
        self._waiting: deque[Attempt] = deque()
        self._triggers: deque[Asked] = deque()
        self._next_tick_ns: int | None = None
        self._tally = _Tally()

    @property
    def counters(self) -> Counters:
        """Fates so far; every figure is counted on its own, so the identity can be checked."""
        return Counters(
            captured=self._tally.captured,
            inferred=self._tally.inferred,
            dropped=self._tally.dropped.total(),
            failed=self._tally.failed.total(),
            in_flight=len(self._open) + len(self._triggers),
        )

    def figures(self) -> Figures:
        """Return what may be shown to other threads."""
        return Figures(
            self.counters,
            dropped_by={drop.value: count for drop, count in self._tally.dropped.items()},
            failed_by={failure.value: count for failure, count in self._tally.failed.items()},
            setup=self.setup,
        )

    @property
    def setup(self) -> Setup:
        """What holds for the next frame that the camera begins, and for the next trigger."""
        return self._setups.current

    def change(self, setup: Setup, from_frame: int) -> None:
        """Judge by ``setup`` every frame from id ``from_frame`` on, and whatever is triggered from now on."""
        self._setups.change(setup, from_frame)

    @property
    def wants_engine(self) -> bool:
        """Whether ``take`` would return a frame."""
        return bool(self._waiting)

    @property
    def is_pressed(self) -> bool:
        """Whether half of the frames wait already that may wait before one is an overrun."""
        return 2 * len(self._waiting) >= self.spec.queue and self.spec.capture is Capture.EVERY

    @property
    def waits_from(self) -> int | None:
        """Id of the oldest frame that waits."""
        return self._waiting[0].frame.frame_id if self._waiting else None

    def keeps(self, frame: Frame) -> bool:
        """Whether ``frame``, just admitted, waits here and its pixels must stay."""
        return bool(self._waiting) and self._waiting[-1].frame is frame

    def on_frame(self, frame: Frame) -> list[Settled]:
        """Admit a captured frame; return the frames whose fate that decided."""
        entry = self._admit(frame)
        if isinstance(entry, Drop):
            return [self._drop(frame, entry)]
        settled: list[Settled] = []
        if self.spec.capture is Capture.EVERY or entry.asked is not None:
            if len(self._waiting) >= self.spec.queue:
                message = f"{self.spec.queue} frames are already waiting"
                return self._fail(entry, Failure.OVERRUN, message)
        else:
            for older in self._waiting:
                entry.waits_since_ns = min(entry.waits_since_ns, older.waits_since_ns)
                del self._open[older.frame.frame_id]
                settled.append(self._drop(older.frame, Drop.SUPERSEDED, waited=True))
            self._waiting.clear()
        self._waiting.append(entry)
        self._open[frame.frame_id] = entry
        return settled + self._leave()

    def on_bad_frame(self, frame: Frame, failure: Failure, message: str) -> list[Settled]:
        """Admit a frame that was captured but has no usable pixels, like any other: it fails if it was wanted."""
        entry = self._admit(frame)
        if isinstance(entry, Drop):
            return [self._drop(frame, entry)]
        return self._fail(entry, failure, message)

    def on_dropped(self, frame: Frame, drop: Drop) -> list[Settled]:
        """Admit a frame that was captured and discarded before it came here.

        With `every` it may have shown a part, which never goes without a result. Not so when it was left out on
        purpose, when it is stale, because nobody knows which part that was, and where triggers ask for theirs.
        """
        missed = _MISSED.get(drop)
        if missed is not None and self.spec.capture is Capture.EVERY and not self.spec.on_trigger:
            return self.on_bad_frame(frame, *missed)
        self._tally.captured += 1
        return [self._drop(frame, drop)]

    @property
    def trigger_refusal(self) -> Refusal | None:
        """Why ``on_trigger`` may not be called now; ``None`` when it may. A refused trigger is no attempt."""
        if not self.spec.on_trigger:
            return Refusal.NOT_TRIGGERED
        if self.setup.paused:
            return Refusal.PAUSED
        return Refusal.TOO_MANY if len(self._triggers) >= self.spec.queue else None

    def on_trigger(
        self, ids: TriggerIds, now_ns: int, *, recipe: str | None = None, timeout_ms: int | None = None
    ) -> None:
        """Ask for the next frame captured from now on; only while nothing stands against it (``trigger_refusal``).

        Args:
            ids: for the result.
            now_ns: CLOCK_MONOTONIC.
            recipe: judges this attempt alone; ``None`` is what is selected.
            timeout_ms: from now to the result, in place of the deadline of the inspection.
        """
        self._tally.captured += 1
        setup = self.setup if recipe is None else replace(self.setup, recipe=recipe)
        self._triggers.append(Asked(ids, now_ns, setup, timeout_ms))

    def abort_triggers(self, message: str) -> list[Settled]:
        """Fail everything that a trigger asked for and that is still open."""
        settled: list[Settled] = []
        for entry in [one for one in self._open.values() if one.asked is not None and one.settled is None]:
            waited = not entry.dispatched
            if waited:
                self._waiting.remove(entry)
            settled += self._fail(entry, Failure.ABORTED, message, waited=waited)
        settled += [self._fail_asked(asked, Failure.ABORTED, message) for asked in self._triggers]
        self._triggers.clear()
        return settled

    def take(self) -> Frame | None:
        """Move the oldest waiting frame into flight and return it for dispatch, ``None`` when nothing waits."""
        if not self._waiting:
            return None
        entry = self._waiting.popleft()
        entry.dispatched = True
        return entry.frame

    def in_flight(self, frame_id: int) -> Attempt | None:
        """Return the attempt of a dispatched frame whose fate is open; ``None`` when it is settled already."""
        entry = self._open.get(frame_id)
        return entry if entry is not None and entry.dispatched and entry.settled is None else None

    def on_verdict(self, frame_id: int, verdict: Verdict) -> list[Settled]:
        """The engine judged a dispatched frame; late answers (after the deadline) change nothing."""
        entry = self.in_flight(frame_id)
        if entry is None:
            return []
        return self._settle(entry, Settled(entry.frame, verdict, trigger=entry.ids, setup=entry.setup))

    def on_failed(self, frame_id: int, failure: Failure, message: str) -> list[Settled]:
        """A dispatched frame will get no verdict; ignored when it is already settled."""
        entry = self.in_flight(frame_id)
        return [] if entry is None else self._fail(entry, failure, message)

    def on_time(self, now_ns: int, outage: tuple[Failure, str] | None) -> list[Settled]:
        """Fail what is past its deadline.

        Args:
            now_ns: CLOCK_MONOTONIC.
            outage: why the model slot cannot judge now, or ``None`` when it can; becomes the reason.
        """
        settled: list[Settled] = []
        limit_ms = self.spec.deadline_ms
        for entry in [one for one in self._open.values() if one.settled is None and now_ns >= one.due_ns(limit_ms)]:
            waited = not entry.dispatched
            if waited:
                self._waiting.remove(entry)
            late = (Failure.DEADLINE, f"no verdict within {allowed(entry.asked, limit_ms)}")
            settled += self._fail(entry, *(outage or late), waited=waited)
        for asked in [one for one in self._triggers if now_ns >= one.due_ns(limit_ms)]:
            self._triggers.remove(asked)
            message = f"no frame within {asked.timeout_ms or limit_ms} ms of the trigger"
            settled.append(self._fail_asked(asked, Failure.CAMERA_LOST, message))
        return settled

    def next_deadline_ns(self) -> int | None:
        """When ``on_time`` has something to do next (CLOCK_MONOTONIC), ``None`` when nothing is open."""
        limit_ms = self.spec.deadline_ms
        due = [entry.due_ns(limit_ms) for entry in self._open.values() if entry.settled is None]
        due += [asked.due_ns(limit_ms) for asked in self._triggers]
        return min(due, default=None)

    def drain(self) -> list[Settled]:
        """Settle everything at shutdown: it fails, except for frames that `latest` would have replaced any moment."""
        settled: list[Settled] = []
        for entry in [one for one in self._open.values() if one.dispatched and one.settled is None]:
            settled += self._fail(entry, *_SHUTDOWN)
        while self._waiting:
            entry = self._waiting.popleft()
            if entry.asked is None and self.spec.capture is Capture.LATEST:
                del self._open[entry.frame.frame_id]
                settled.append(self._drop(entry.frame, Drop.STOPPED, waited=True))
            else:
                settled += self._fail(entry, *_SHUTDOWN, waited=True)
        settled += self._leave()
        settled += [self._fail_asked(asked, *_SHUTDOWN) for asked in self._triggers]
        self._triggers.clear()
        return settled

    def _admit(self, frame: Frame) -> Attempt | Drop:
        """Count a captured frame; return what is to be judged of it, or why nothing is."""
        self._tally.captured += 1
        setup = self._setups.of(frame.frame_id)
        captured_ns = frame.captured_mono_ns
        asked = next((t for t in self._triggers if t.asked_ns <= captured_ns), None)
        if asked is not None:
            self._triggers.remove(asked)
            self._tally.captured -= 1  # the attempt was counted when it was asked for
            return Attempt(frame, asked.setup, asked, captured_ns)
        if setup.paused:
            return Drop.PAUSED
        if self.spec.on_trigger or not self._on_interval(frame):
            return Drop.UNTRIGGERED
        return Attempt(frame, setup, None, captured_ns)

    def _on_interval(self, frame: Frame) -> bool:
        if self.spec.interval_ms is None:
            return True
        now_ns = frame.captured_mono_ns
        if self._next_tick_ns is not None and now_ns < self._next_tick_ns:
            return False
        interval_ns = self.spec.interval_ms * NS_PER_MS
        due_ns = now_ns if self._next_tick_ns is None else self._next_tick_ns
        # the grid stays where it was, unless frames were away for longer than a tick
        self._next_tick_ns = due_ns + interval_ns if now_ns - due_ns < interval_ns else now_ns + interval_ns
        return True

    def _fail(self, entry: Attempt, failure: Failure, message: str, *, waited: bool = False) -> list[Settled]:
        ids, setup = entry.ids, entry.setup
        failed = Settled(entry.frame, failure=failure, message=message, waited=waited, trigger=ids, setup=setup)
        return self._settle(entry, failed)

    def _settle(self, entry: Attempt, settled: Settled) -> list[Settled]:
        """Note the fate of a frame and return every result whose turn has come."""
        entry.settled = settled
        self._open[entry.frame.frame_id] = entry
        return self._leave()

    def _leave(self) -> list[Settled]:
        """Release the results at the head of the order."""
        ready: list[Settled] = []
        while self._open:
            oldest_id, oldest = next(iter(self._open.items()))
            if oldest.settled is None:
                break
            del self._open[oldest_id]
            ready.append(oldest.settled)
            if oldest.settled.failure is None:
                self._tally.inferred += 1
            else:
                self._tally.failed[oldest.settled.failure] += 1
        return ready

    def _drop(self, frame: Frame, drop: Drop, *, waited: bool = False) -> Settled:
        self._tally.dropped[drop] += 1
        return Settled(frame, drop=drop, waited=waited)

    def _fail_asked(self, asked: Asked, failure: Failure, message: str) -> Settled:
        """Fail an attempt for which no frame came; it has no place in the order of capture."""
        self._tally.failed[failure] += 1
        return Settled(None, failure=failure, message=message, trigger=asked.ids, setup=asked.setup)


_SHUTDOWN = (Failure.SHUTDOWN, "the runtime was stopped before the verdict")
_MISSED = {
    Drop.TORN: (Failure.CAMERA_LOST, "the camera process ended before the frame was whole"),
    Drop.STOPPED: _SHUTDOWN,
}
