"""One standby engine of one slot as main sees it: a process of its own with the model that may take over.

Legal order: loading -> ready -> (shadows ->) judges -> settled, or dismissed at any time; it judges none of the
inspections, one or all. A process that dies is started again by the supervisor, loads the model once more and judges
nothing until it is switched to again.

What it judges costs no verdict: a frame that it refuses, that it takes too long for, or that is in it when it dies, is
given to the engine of the slot, which stays loaded (`Line.take_over`). A comparison (shadow) holds no pixels: it gets
a frame that was judged already, one at a time, and if the ring has overwritten it meanwhile, it is skipped.

Threads: all of it belongs to the line's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from edge_runtime.core.result import Failure
from edge_runtime.pipeline.attempt import NS_PER_MS
from edge_runtime.pipeline.engine_link import EngineLink
from edge_runtime.pipeline.judged import Comparisons
from edge_runtime.pipeline.slot import Request, SlotState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_runtime.pipeline.attempt import Verdict
    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.pipeline.recipe import Judgement
    from edge_runtime.pipeline.setup import Setup
    from edge_runtime.pipeline.slot import ModelSlot, SlotSpec, Standing
    from edge_runtime.system.loop import Loop, Timer

PATIENCE_SHARE: Final = 0.5
"""Of what is left until its deadline, how long a frame stays in a standby engine alone: the rest is the other's."""


COMPARISON_PATIENCE: Final = 5
"""Times the usual limit until an engine hangs that compares: it works at low priority, others go first."""

SLOWER: Final = 4
SLOW_NS: Final = (20_000_000, 100_000_000)
"""While frames pile up, an answer that takes `SLOWER` times as long as the old model usually does, within these bounds,
is not waited for. 100 ms are three frames of a camera with 30 a second."""


class StandbyListener(Protocol):
    """Who wants to know what a standby engine does; called in the line's thread, must not block."""

    def on_ready(self, facts: ModelFacts) -> None:
        """It is loaded and warm; also after a process was started again."""
        ...

    def on_refused(self, code: str, message: str) -> None:
        """It cannot load the model, and is not tried again. ``code``: stable."""
        ...

    def on_lost(self, message: str) -> None:
        """Its process ended; the engine of the slot judges everything, and another process is being started."""
        ...

    def on_switched(self, to_standby: bool, inspections: tuple[str, ...], first_frame: dict[str, int]) -> None:  # noqa: FBT001
        """From now on it judges ``inspections`` (``to_standby``), or the engine of the slot judges them again.

        ``first_frame``: by inspection, the id before which no frame is judged so.
        """
        ...


class StandbyLine(Protocol):
    """What a standby engine needs of its line (`pipeline.line`)."""

    loop: Loop

    def due_ns(self, request: Request) -> int | None:
        """When it is too late for the answer to a request; ``None`` when its frame is settled."""
        ...

    def on_verdict(self, slot: ModelSlot, request: Request, verdict: Verdict) -> None:
        """A frame was judged."""
        ...

    def take_over(self, request: Request, failure: Failure, message: str) -> None:
        """Give a frame to the engine of its slot; with ``failure`` it fails if that cannot be."""
        ...

    def on_compared(self, comparison: Comparison, answer: Verdict | Failure) -> None:
        """A comparison is over; with a failure it came to nothing."""
        ...

    def feed(self, slot_id: str) -> None:
        """Send what waits."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """One frame that the engine of the slot has judged and the standby judges, too.

    Attributes:
        request: as the standby has it.
        setup: what it was judged by.
        verdict, judgement: of the engine of the slot.
    """

    request: Request
    setup: Setup
    verdict: Verdict
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class StandbyStanding:
    """A standby engine at one moment.

    Attributes:
        standing: whether it can judge, and with what.
        inspections: those that it judges.
        shadows: it is compared on spare frames.
        pid: of its process, ``None`` between two of them.
        restarts: processes before this one.
    """

    standing: Standing
    inspections: frozenset[str]
    shadows: bool
    pid: int | None
    restarts: int


class Standby:
    """See the module docstring; the listener of its link."""

    def __init__(self, spec: SlotSpec, line: StandbyLine, listener: StandbyListener, *, name: str) -> None:
        """Load ``spec`` in the process ``name``, which the caller has spawned with ``link`` as its owner."""
        self.link = EngineLink([spec], self, cache_dir=None, name=name, low=True)
        self.slot = self.link.slots[spec.id]
        self.inspections: frozenset[str] = frozenset()
        self.listener = listener
        self.comparisons = Comparisons()  # since it shadows
        self._line = line
        self._shadows = False
        self._slow_ns = SLOW_NS[1]
        self._comparison: Comparison | None = None
        self._timer: Timer | None = None  # while it has frames
        self.when_ready: Callable[[], None] | None = None  # called once, after the listener

    def standing(self) -> StandbyStanding:
        """Return what may be shown to other threads."""
        link = self.link
        return StandbyStanding(self.slot.standing(), self.inspections, self._shadows, link.pid, link.restarts)

    def judges(self, inspection: str) -> bool:
        """Whether the next frame of an inspection goes to it: not while it owes an answer that was given up."""
        ready = inspection in self.inspections and self.slot.state is SlotState.READY
        return ready and self._owes_nothing

    @property
    def _owes_nothing(self) -> bool:
        compared = None if self._comparison is None else self._comparison.request
        return all(request.counts or request is compared for request in self.slot.requests)

    def judge(self, inspections: frozenset[str], usual_ms: float | None = None) -> None:
        """Judge ``inspections`` from the next frame on, and nothing else; at normal priority if there are any.

        ``usual_ms``: how long the engine of the slot takes for a frame, ``None`` = not known.
        """
        self.inspections = inspections
        if usual_ms is not None:
            self._slow_ns = min(max(round(SLOWER * usual_ms * NS_PER_MS), SLOW_NS[0]), SLOW_NS[1])
        if inspections:
            self.slot.count_anew()
            self._shadows = False
            self.link.set_low(False)

    def shadow(self, *, on: bool) -> None:
        """Be compared on spare frames, or not any more."""
        self._shadows = on and not self.inspections
        self.comparisons = Comparisons() if self._shadows else self.comparisons
        if self._shadows:
            self.link.set_low(True)

    @property
    def wants_comparison(self) -> bool:
        """Whether it has nothing to do and is to be compared."""
        return self._shadows and self.slot.has_room and not self.slot.requests

    def compare(self, request: Request, setup: Setup, verdict: Verdict, judgement: Judgement) -> None:
        """Judge a frame that was judged; nobody waits for it, and its pixels may go at any time."""
        request.counts, request.patience = False, COMPARISON_PATIENCE
        if self.link.infer(self.slot, request.inspection, request):
            self._comparison = Comparison(request, setup, verdict, judgement)

    def give_up(self, request: Request, failure: Failure, message: str) -> None:
        """Give one of its frames to the engine of the slot, and ignore what it will say of it."""
        if request.counts:
            request.counts = False
            if failure is not Failure.DEADLINE:  # for that see `counting.count_late`
                self.slot.tally(request.inspection).refused(failure.value)
            self._line.take_over(request, failure, message)

    def make_way(self) -> None:
        """Give what it is slow with to the engine of the slot, which judges what waits until this one has answered it.

        If it is not slow, frames wait because the box has too much to do, and the other engine would be no faster.
        """
        now_ns = self._line.loop.clock.mono_ns()
        for request in self.slot.requests:
            if now_ns - request.sent_mono_ns >= self._slow_ns:
                self.give_up(request, Failure.DEADLINE, "frames pile up behind the new model")

    def watch(self) -> None:
        """Make sure that what it does not answer goes to the engine of the slot in time."""
        due_ns = min((at_ns for _, at_ns in self._patience()), default=None)
        if due_ns is not None and (self._timer is None or due_ns < self._timer.mono_ns):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._line.loop.call_at(due_ns, self._on_patience)

    def _on_patience(self) -> None:
        self._timer = None
        now_ns = self._line.loop.clock.mono_ns()
        for request, at_ns in list(self._patience()):
            if now_ns >= at_ns:
                self.give_up(request, Failure.DEADLINE, "the new model took too long")
                self.link.set_low(True)
        self._line.feed(self.slot.spec.id)
        self.watch()

    def _patience(self) -> Iterator[tuple[Request, int]]:
        for request in self.slot.requests:
            due_ns = self._line.due_ns(request) if request.counts else None
            if due_ns is not None:
                yield request, request.sent_mono_ns + round(PATIENCE_SHARE * max(0, due_ns - request.sent_mono_ns))

    def judge_no_more(self) -> None:
        """Watch nothing any more: its link belongs to somebody else now, with what is in it."""
        if self._timer is not None:
            self._timer.cancel()

    def give_up_all(self, failure: Failure, message: str) -> None:
        """Give all of its frames to the engine of the slot."""
        self.inspections = frozenset()
        for request in self.slot.requests:
            self.give_up(request, failure, message)

    # engine listener

    def on_slot_changed(self, slot: ModelSlot) -> None:
        """Judge nothing any more, unless it became ready; tell."""
        if slot.state is SlotState.READY and slot.facts is not None:
            self.listener.on_ready(slot.facts)
            when_ready, self.when_ready = self.when_ready, None
            if when_ready is not None:
                when_ready()
            return
        self.inspections = frozenset()
        self.link.set_low(True)
        if slot.state is SlotState.FAILED:
            code, _, message = slot.message.partition(": ")
            self.listener.on_refused(code, message)
        else:
            self.listener.on_lost(slot.message)
        self._line.feed(slot.spec.id)

    def on_verdict(self, slot: ModelSlot, request: Request, verdict: Verdict) -> None:
        """Hand on what counts, and what is compared."""
        if request.counts:
            self._line.on_verdict(slot, request, verdict)
        else:
            self._compared(request, verdict)

    def on_failed(self, slot: ModelSlot, request: Request, failure: Failure, message: str) -> None:
        """Have the engine of the slot judge the frame."""
        if request.counts:
            self.give_up(request, failure, message)
            self._line.feed(slot.spec.id)
        else:
            self._compared(request, failure)

    def on_preparing(self, slot: ModelSlot, request: Request) -> None:
        """Have the engine of the slot judge what this one compiles its model for."""
        self.give_up(request, Failure.DEADLINE, "the model is compiled for frames of a new size")
        self._line.feed(slot.spec.id)

    def on_other(self, message: dict[str, object]) -> None:
        """Nobody asks it anything else."""

    def _compared(self, request: Request, answer: Verdict | Failure) -> None:
        if self.inspections and self._owes_nothing:
            self.link.set_low(False)
        comparison = self._comparison
        if comparison is not None and comparison.request is request:
            self._comparison = None
            self._line.on_compared(comparison, answer)
        self._line.feed(self.slot.spec.id)
