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
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from edge_runtime.core.result import Counters, Drop, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.core.frame import Frame
    from edge_runtime.core.result import Prediction

NS_PER_MS = 1_000_000


class Capture(Enum):
    """What happens to frames that arrive faster than they are judged."""

    LATEST = "latest"
    EVERY = "every"


@dataclass(frozen=True, slots=True)
class TriggerIds:
    """Who asked for a triggered frame; copied into its result."""

    job_id: str | None = None
    part_id: str | None = None
    meas_id: str | None = None
    product_id: str | None = None
    correlation_id: str | None = None


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the engine answered for one frame; milliseconds of its stages, and the device that really ran.

    ``partial``: shapes were left out, see `core.result.SHAPES_BYTES_LIMIT`.
    """

    predictions: tuple[Prediction, ...]
    preprocess_ms: float
    infer_ms: float
    postprocess_ms: float
    queue_ms: float
    device: str
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """The one and only fate of a frame: exactly one of ``verdict``, ``failure`` and ``drop`` is set.

    ``waited`` frames were kept by this inspection (see ``Inspection.keeps``) until now, so their pixels are free now.
    Those of a dispatched frame are free when the engine answers or dies, which may be before or after this. A
    triggered attempt for which no frame came has ``frame`` None.
    """

    frame: Frame | None
    verdict: Verdict | None = None
    failure: Failure | None = None
    drop: Drop | None = None
    message: str = ""
    waited: bool = False
    trigger: TriggerIds | None = None


@dataclass(slots=True)
class _Open:
    """A frame that is waiting, in flight, or settled with its turn still to come."""

    frame: Frame
    trigger: TriggerIds | None
    dispatched: bool = False
    settled: Settled | None = None


@dataclass(slots=True)
class _PendingTrigger:
    ids: TriggerIds
    asked_ns: int


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


class Inspection:
    """See the module docstring. Not thread-safe: one thread owns it."""

    def __init__(self, spec: InspectionSpec) -> None:
        """Start with all counters at zero."""
        self.spec = spec
        self._open: OrderedDict[int, _Open] = OrderedDict()  # by frame id, in the order of capture
        self._waiting: deque[_Open] = deque()
        self._waiting_since_ns: int | None = None
        self._triggers: deque[_PendingTrigger] = deque()
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
        )

    @property
    def wants_engine(self) -> bool:
        """Whether ``take`` would return a frame."""
        return bool(self._waiting)

    def keeps(self, frame: Frame) -> bool:
        """Whether ``frame``, just admitted, waits here and its pixels must stay."""
        return bool(self._waiting) and self._waiting[-1].frame is frame

    def on_frame(self, frame: Frame) -> list[Settled]:
        """Admit a captured frame; return the frames whose fate that decided."""
        entry = self._admit(frame)
        if entry is None:
            return [self._drop(frame, Drop.UNTRIGGERED)]
        settled: list[Settled] = []
        if self.spec.capture is Capture.EVERY or entry.trigger is not None:
            if len(self._waiting) >= self.spec.queue:
                message = f"{self.spec.queue} frames are already waiting"
                return self._fail(entry, Failure.OVERRUN, message)
        else:
            for older in self._waiting:
                del self._open[older.frame.frame_id]
                settled.append(self._drop(older.frame, Drop.SUPERSEDED, waited=True))
            self._waiting.clear()
        if self._waiting_since_ns is None:
            self._waiting_since_ns = frame.captured_mono_ns
        self._waiting.append(entry)
        self._open[frame.frame_id] = entry
        return settled + self._leave()

    def on_bad_frame(self, frame: Frame, failure: Failure, message: str) -> list[Settled]:
        """Admit a frame that was captured but has no usable pixels, like any other: it fails if it was wanted."""
        entry = self._admit(frame)
        if entry is None:
            return [self._drop(frame, Drop.UNTRIGGERED)]
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

    def on_trigger(self, ids: TriggerIds, now_ns: int) -> list[Settled]:
        """Ask for the next frame captured from now on; too many open triggers fail at once."""
        self._tally.captured += 1
        if len(self._triggers) >= self.spec.queue:
            message = f"{self.spec.queue} triggers are already waiting for a frame"
            return [self._fail_trigger(ids, Failure.OVERRUN, message)]
        self._triggers.append(_PendingTrigger(ids, now_ns))
        return []

    def take(self) -> Frame | None:
        """Move the oldest waiting frame into flight and return it for dispatch, ``None`` when nothing waits."""
        if not self._waiting:
            return None
        entry = self._next_waiting()
        entry.dispatched = True
        return entry.frame

    def on_verdict(self, frame_id: int, verdict: Verdict) -> list[Settled]:
        """The engine judged a dispatched frame; late answers (after the deadline) change nothing."""
        entry = self._in_flight(frame_id)
        return [] if entry is None else self._settle(entry, Settled(entry.frame, verdict, trigger=entry.trigger))

    def on_failed(self, frame_id: int, failure: Failure, message: str) -> list[Settled]:
        """A dispatched frame will get no verdict; ignored when it is already settled."""
        entry = self._in_flight(frame_id)
        return [] if entry is None else self._fail(entry, failure, message)

    def on_time(self, now_ns: int, outage: tuple[Failure, str] | None) -> list[Settled]:
        """Fail what is past its deadline.

        Args:
            now_ns: CLOCK_MONOTONIC.
            outage: why the model slot cannot judge now, or ``None`` when it can; becomes the reason.
        """
        settled: list[Settled] = []
        failure, message = outage or (Failure.DEADLINE, f"no verdict within {self.spec.deadline_ms} ms")
        limit_ns = self.spec.deadline_ms * NS_PER_MS
        for entry in self._flying():
            if now_ns - entry.frame.captured_mono_ns >= limit_ns:
                settled += self._fail(entry, failure, message)
        while self._waiting_since_ns is not None and now_ns - self._waiting_since_ns >= limit_ns:
            settled += self._fail(self._next_waiting(), failure, message, waited=True)
        while self._triggers and now_ns - self._triggers[0].asked_ns >= limit_ns:
            message = f"no frame within {self.spec.deadline_ms} ms of the trigger"
            settled.append(self._fail_trigger(self._triggers.popleft().ids, Failure.CAMERA_LOST, message))
        return settled

    def next_deadline_ns(self) -> int | None:
        """When ``on_time`` has something to do next (CLOCK_MONOTONIC), ``None`` when nothing is open."""
        starts = [entry.frame.captured_mono_ns for entry in self._flying()]
        if self._waiting_since_ns is not None:
            starts.append(self._waiting_since_ns)
        if self._triggers:
            starts.append(self._triggers[0].asked_ns)
        return min(starts) + self.spec.deadline_ms * NS_PER_MS if starts else None

    def drain(self) -> list[Settled]:
        """Settle everything at shutdown: it fails, except for frames that `latest` would have replaced any moment."""
        settled: list[Settled] = []
        for entry in self._flying():
            settled += self._fail(entry, *_SHUTDOWN)
        while self._waiting:
            entry = self._next_waiting()
            if entry.trigger is None and self.spec.capture is Capture.LATEST:
                del self._open[entry.frame.frame_id]
                settled.append(self._drop(entry.frame, Drop.STOPPED, waited=True))
            else:
                settled += self._fail(entry, *_SHUTDOWN, waited=True)
        settled += self._leave()
        settled += [self._fail_trigger(asked.ids, *_SHUTDOWN) for asked in self._triggers]
        self._triggers.clear()
        return settled

    def _admit(self, frame: Frame) -> _Open | None:
        """Count a captured frame; return what is to be judged of it, ``None`` when nobody asked for it."""
        self._tally.captured += 1
        if not self.spec.on_trigger:
            return _Open(frame, None) if self._on_interval(frame) else None
        asked = next((t for t in self._triggers if t.asked_ns <= frame.captured_mono_ns), None)
        if asked is None:
            return None
        self._triggers.remove(asked)
        self._tally.captured -= 1  # the attempt was counted when it was asked for
        return _Open(frame, asked.ids)

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

    def _flying(self) -> list[_Open]:
        """Return what the engine has and may still judge in time, in the order of capture."""
        return [entry for entry in self._open.values() if entry.dispatched and entry.settled is None]

    def _in_flight(self, frame_id: int) -> _Open | None:
        entry = self._open.get(frame_id)
        return entry if entry is not None and entry.dispatched and entry.settled is None else None

    def _next_waiting(self) -> _Open:
        """Take the oldest frame out of the queue; it stays open."""
        entry = self._waiting.popleft()
        self._waiting_since_ns = self._waiting[0].frame.captured_mono_ns if self._waiting else None
        return entry

    def _fail(self, entry: _Open, failure: Failure, message: str, *, waited: bool = False) -> list[Settled]:
        return self._settle(
            entry, Settled(entry.frame, failure=failure, message=message, waited=waited, trigger=entry.trigger)
        )

    def _settle(self, entry: _Open, settled: Settled) -> list[Settled]:
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

    def _fail_trigger(self, ids: TriggerIds, failure: Failure, message: str) -> Settled:
        """Fail an attempt for which no frame came; it has no place in the order of capture."""
        self._tally.failed[failure] += 1
        return Settled(None, failure=failure, message=message, trigger=ids)


_SHUTDOWN = (Failure.SHUTDOWN, "the runtime was stopped before the verdict")
_MISSED = {
    Drop.TORN: (Failure.CAMERA_LOST, "the camera process ended before the frame was whole"),
    Drop.STOPPED: _SHUTDOWN,
}
