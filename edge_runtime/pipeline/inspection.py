"""The fate of every frame of one inspection, as a pure state machine: events in, settled frames out.

Legal order of a frame: captured -> (waiting ->) in flight -> settled, or captured -> settled. It is settled exactly
once, as inferred (a model judged it), failed (a NotDecidable result says why) or dropped (counted by reason), so

    captured = inferred + dropped + failed + in flight (waiting frames included)

holds after every event. Two policies (design.md 4): `latest`, where the newest frame wins, and `every`, a bounded
lossless queue. Results leave in the order of capture. Nothing here reads a clock: callers pass monotonic ns.

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
    """What the engine answered for one frame; milliseconds of its stages, and the device that really ran."""

    predictions: tuple[Prediction, ...]
    preprocess_ms: float
    infer_ms: float
    postprocess_ms: float
    queue_ms: float
    device: str


@dataclass(frozen=True, slots=True)
class Settled:
    """The one and only fate of a frame: exactly one of ``verdict``, ``failure`` and ``drop`` is set.

    ``dispatched`` frames are still being read by the engine until it answers or dies; the pixels of the others are
    free now. A triggered attempt for which no frame came has ``frame`` None.
    """

    frame: Frame | None
    verdict: Verdict | None = None
    failure: Failure | None = None
    drop: Drop | None = None
    message: str = ""
    dispatched: bool = False
    trigger: TriggerIds | None = None


@dataclass(slots=True)
class _Flight:
    frame: Frame
    trigger: TriggerIds | None
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


class Inspection:
    """See the module docstring. Not thread-safe: one thread owns it."""

    def __init__(self, spec: InspectionSpec) -> None:
        """Start with all counters at zero."""
        self.spec = spec
        self._waiting: deque[tuple[Frame, TriggerIds | None]] = deque()
        self._waiting_since_ns: int | None = None
        self._flights: OrderedDict[int, _Flight] = OrderedDict()
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
            in_flight=len(self._waiting) + len(self._flights) + len(self._triggers),
        )

    @property
    def dropped_by_reason(self) -> dict[str, int]:
        """Dropped frames by ``Drop`` value."""
        return {drop.value: count for drop, count in self._tally.dropped.items()}

    @property
    def failed_by_reason(self) -> dict[str, int]:
        """Failed frames by ``Failure`` value."""
        return {failure.value: count for failure, count in self._tally.failed.items()}

    @property
    def wants_engine(self) -> bool:
        """Whether ``take`` would return a frame."""
        return bool(self._waiting)

    def on_frame(self, frame: Frame) -> list[Settled]:
        """Admit a captured frame; return the frames whose fate that decided."""
        self._tally.captured += 1
        trigger: TriggerIds | None = None
        if self.spec.on_trigger:
            asked = next((t for t in self._triggers if t.asked_ns <= frame.captured_mono_ns), None)
            if asked is None:
                return [self._drop(frame, Drop.UNTRIGGERED)]
            self._triggers.remove(asked)
            self._tally.captured -= 1  # the attempt was counted when it was asked for
            trigger = asked.ids
        elif not self._on_interval(frame):
            return [self._drop(frame, Drop.UNTRIGGERED)]
        if self.spec.capture is Capture.EVERY or trigger is not None:
            if len(self._waiting) >= self.spec.queue:
                message = f"{self.spec.queue} frames are already waiting"
                return [self._fail(frame, Failure.OVERRUN, message, trigger=trigger)]
            settled = []
        else:
            settled = [self._drop(older, Drop.SUPERSEDED) for older, _ in self._waiting]
            self._waiting.clear()
        if self._waiting_since_ns is None:
            self._waiting_since_ns = frame.captured_mono_ns
        self._waiting.append((frame, trigger))
        return settled

    def on_bad_frame(self, frame: Frame, failure: Failure, message: str) -> list[Settled]:
        """Account a frame that was captured but has no usable pixels."""
        self._tally.captured += 1
        return [self._fail(frame, failure, message)]

    def on_dropped(self, count: int, drop: Drop) -> None:
        """Account frames that the camera captured and discarded itself."""
        self._tally.captured += count
        self._tally.dropped[drop] += count

    def on_trigger(self, ids: TriggerIds, now_ns: int) -> list[Settled]:
        """Ask for the next frame captured from now on; too many open triggers fail at once."""
        self._tally.captured += 1
        if len(self._triggers) >= self.spec.queue:
            message = f"{self.spec.queue} triggers are already waiting for a frame"
            return [self._fail(None, Failure.OVERRUN, message, trigger=ids)]
        self._triggers.append(_PendingTrigger(ids, now_ns))
        return []

    def take(self) -> Frame | None:
        """Move the oldest waiting frame into flight and return it for dispatch, ``None`` when nothing waits."""
        if not self._waiting:
            return None
        frame, trigger = self._waiting.popleft()
        self._waiting_since_ns = self._waiting[0][0].captured_mono_ns if self._waiting else None
        self._flights[frame.frame_id] = _Flight(frame, trigger)
        return frame

    def on_verdict(self, frame_id: int, verdict: Verdict) -> list[Settled]:
        """The engine judged a dispatched frame; late answers (after the deadline) change nothing."""
        return self._settle(frame_id, verdict=verdict)

    def on_failed(self, frame_id: int, failure: Failure, message: str) -> list[Settled]:
        """A dispatched frame will get no verdict; ignored when it is already settled."""
        return self._settle(frame_id, failure=failure, message=message)

    def on_time(self, now_ns: int, outage: tuple[Failure, str] | None) -> list[Settled]:
        """Fail what is past its deadline.

        Args:
            now_ns: CLOCK_MONOTONIC.
            outage: why the model slot cannot judge now, or ``None`` when it can; becomes the reason.
        """
        settled: list[Settled] = []
        failure, message = outage or (Failure.DEADLINE, f"no verdict within {self.spec.deadline_ms} ms")
        limit_ns = self.spec.deadline_ms * NS_PER_MS
        for flight in [f for f in self._flights.values() if f.settled is None]:
            if now_ns - flight.frame.captured_mono_ns >= limit_ns:
                settled += self._settle(flight.frame.frame_id, failure=failure, message=message)
        while self._waiting and self._waiting_since_ns is not None and now_ns - self._waiting_since_ns >= limit_ns:
            frame, trigger = self._waiting.popleft()
            self._waiting_since_ns = self._waiting[0][0].captured_mono_ns if self._waiting else None
            settled.append(self._fail(frame, failure, message, trigger=trigger))
        while self._triggers and now_ns - self._triggers[0].asked_ns >= limit_ns:
            asked = self._triggers.popleft()
            message = f"no frame within {self.spec.deadline_ms} ms of the trigger"
            settled.append(self._fail(None, Failure.CAMERA_LOST, message, trigger=asked.ids))
        return settled

    def next_deadline_ns(self) -> int | None:
        """When ``on_time`` has something to do next (CLOCK_MONOTONIC), ``None`` when nothing is open."""
        starts = [f.frame.captured_mono_ns for f in self._flights.values() if f.settled is None][:1]
        if self._waiting_since_ns is not None:
            starts.append(self._waiting_since_ns)
        if self._triggers:
            starts.append(self._triggers[0].asked_ns)
        return min(starts) + self.spec.deadline_ms * NS_PER_MS if starts else None

    def drain(self) -> list[Settled]:
        """Settle everything at shutdown: waiting frames are dropped, frames in flight and triggers fail."""
        settled = [
            self._drop(frame, Drop.STOPPED) if trigger is None else self._fail(frame, *_SHUTDOWN, trigger=trigger)
            for frame, trigger in self._waiting
        ]
        self._waiting.clear()
        self._waiting_since_ns = None
        for frame_id in list(self._flights):
            settled += self._settle(frame_id, failure=_SHUTDOWN[0], message=_SHUTDOWN[1])
        settled += [self._fail(None, *_SHUTDOWN, trigger=asked.ids) for asked in self._triggers]
        self._triggers.clear()
        return settled

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

    def _settle(
        self, frame_id: int, *, verdict: Verdict | None = None, failure: Failure | None = None, message: str = ""
    ) -> list[Settled]:
        """Note the fate of a dispatched frame and release every settled frame at the head of the order."""
        flight = self._flights.get(frame_id)
        if flight is None or flight.settled is not None:
            return []
        flight.settled = Settled(
            flight.frame, verdict, failure, message=message, dispatched=True, trigger=flight.trigger
        )
        ready: list[Settled] = []
        while self._flights:
            oldest_id, oldest = next(iter(self._flights.items()))
            if oldest.settled is None:
                break
            del self._flights[oldest_id]
            ready.append(oldest.settled)
            if oldest.settled.failure is None:
                self._tally.inferred += 1
            else:
                self._tally.failed[oldest.settled.failure] += 1
        return ready

    def _drop(self, frame: Frame, drop: Drop) -> Settled:
        self._tally.dropped[drop] += 1
        return Settled(frame, drop=drop)

    def _fail(
        self, frame: Frame | None, failure: Failure, message: str, *, trigger: TriggerIds | None = None
    ) -> Settled:
        self._tally.failed[failure] += 1
        return Settled(frame, failure=failure, message=message, trigger=trigger)


_SHUTDOWN = (Failure.SHUTDOWN, "the runtime was stopped before the verdict")
