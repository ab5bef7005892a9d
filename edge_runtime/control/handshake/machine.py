"""The four-phase hand-shake between a controller and one inspection, as a pure state machine.

    READY --trigger--> BUSY --result, refusal or deadline--> RESULT --ack--> RELEASE --trigger and ack low--> READY

Signals are levels, as on wires: what counts is the change from low to high, so a level that is told twice changes
nothing. One part has one answer: whatever goes wrong between trigger and result becomes ``NotDecidable`` with an error
code, never silence. The result stands until the controller has acknowledged it.

The signals are those of LandingEdge's PLC workflow (Trigger, Trigger Ready, Results Ready, Results Ack, OK, NG, Error
with its code). Nothing here reads a clock: callers pass CLOCK_MONOTONIC ns.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from edge_runtime.core.result import Evaluation

NS_PER_MS = 1_000_000


class Phase(Enum):
    """Where the hand-shake stands."""

    READY = "ready"
    BUSY = "busy"
    RESULT = "result"
    RELEASE = "release"  # acknowledged; the controller has still to take its signals back


class Code(IntEnum):
    """What is wrong, as a number that a controller can switch on; 0 is nothing."""

    NONE = 0
    NO_LINE = 1  # starting, reloading or stopping
    CAMERA = 2  # the camera gives no pictures
    MODEL = 3  # the model cannot judge
    PAUSED = 4
    NOT_READY = 10  # triggered while not ready: that part is not judged
    ACK_TIMEOUT = 11  # the result was not acknowledged in time; it still stands
    DEADLINE = 12  # no result in time: NotDecidable
    REFUSED = 13  # the line refused the trigger: NotDecidable
    INPUT = 14  # a signal could not be read


@dataclass(frozen=True, slots=True)
class Trouble:
    """A code with its reason in words."""

    code: Code
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """Whom a trigger is about, as the controller said."""

    part_id: str | None = None
    product_id: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted trigger; the line is to judge the next picture and to name ``job_id`` in its result."""

    job_id: str
    part: Part


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one job; ``result_id`` is ``None`` when no result message exists."""

    job: Job
    evaluation: Evaluation
    reason: str
    result_id: str | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds: from a trigger to its answer at most, and from the answer to its acknowledgement at most."""

    result_ms: int
    ack_ms: int


@dataclass(frozen=True, slots=True)
class Signals:
    """What the controller sees, all of one moment; ``outcome`` only as long as it stands."""

    phase: Phase
    ready: bool
    busy: bool
    result_ready: bool
    trigger: bool
    ack: bool
    trouble: Trouble | None
    outcome: Outcome | None
    job: Job | None


class Handshake:
    """See the module docstring. Not thread-safe: one thread owns it."""

    def __init__(self, timing: Timing) -> None:
        """Start with all signals low and the line not there yet."""
        self._timing = timing
        self._phase = Phase.READY
        self._trigger = False
        self._ack = False
        self._last_id: str | None = None  # of the trigger before, to know a repetition
        self._unavailable: Trouble | None = Trouble(Code.NO_LINE, "the line has not started yet")
        self._trouble: Trouble | None = None  # of this cycle
        self._job: Job | None = None
        self._outcome: Outcome | None = None
        self._due_ns: int | None = None

    @property
    def signals(self) -> Signals:
        """What to show now."""
        idle = self._phase is Phase.READY
        return Signals(
            phase=self._phase,
            ready=idle and self._unavailable is None and not self._trigger,
            busy=self._phase is Phase.BUSY,
            result_ready=self._phase is Phase.RESULT,
            trigger=self._trigger,
            ack=self._ack,
            trouble=self._trouble or (self._unavailable if idle else None),
            outcome=self._outcome if self._phase is Phase.RESULT else None,
            job=self._job,
        )

    def on_available(self, unavailable: Trouble | None) -> None:
        """Tell whether the line can judge; while it cannot, the hand-shake is not ready."""
        self._unavailable = unavailable

    def on_trigger(self, part: Part, job_id: str, now_ns: int, *, level: bool, event_id: str | None) -> Job | None:
        """Take the trigger signal; return the job that it starts.

        Args:
            part: whom it is about.
            job_id: name for the job, unique.
            now_ns: CLOCK_MONOTONIC.
            level: high or low.
            event_id: the controller's name for this rise; the same again is a repetition of the message.
        """
        if level and event_id is not None and event_id == self._last_id:
            return None
        rises, self._trigger = level and not self._trigger, level
        if not rises:
            self._after_fall()
            return None
        self._last_id = event_id
        if self._phase is not Phase.READY or self._unavailable is not None:
            why = self._unavailable.text if self._phase is Phase.READY and self._unavailable else self._phase.value
            self._trouble = Trouble(Code.NOT_READY, f"triggered while not ready ({why}): this part is not judged")
            return None
        self._phase, self._trouble, self._outcome = Phase.BUSY, None, None
        self._job = Job(job_id, part)
        self._due_ns = now_ns + self._timing.result_ms * NS_PER_MS
        return self._job

    def on_ack(self, *, level: bool) -> None:
        """Take the acknowledge signal; its rise takes the result away."""
        rises, self._ack = level and not self._ack, level
        if rises and self._phase is Phase.RESULT:
            self._phase, self._due_ns = Phase.RELEASE, None
            if self._trouble is not None and self._trouble.code is Code.ACK_TIMEOUT:
                self._trouble = None
        self._after_fall()

    def on_reset(self) -> None:
        """Forget the job and the result; ready again as soon as the controller has taken its signals back."""
        self._phase, self._due_ns, self._job, self._outcome, self._trouble = Phase.RELEASE, None, None, None, None
        self._after_fall()

    def on_bad_input(self, text: str) -> None:
        """A signal could not be read; said until the next trigger."""
        self._trouble = Trouble(Code.INPUT, text)

    def on_result(self, outcome: Outcome, now_ns: int) -> bool:
        """Take the result of a job; False when nobody waits for it any more."""
        if self._phase is not Phase.BUSY or self._job is None or outcome.job.job_id != self._job.job_id:
            return False
        self._answer(outcome, now_ns)
        return True

    def on_refused(self, job_id: str, text: str, now_ns: int) -> bool:
        """The line will not judge the job; False when nobody waits for it any more."""
        if self._phase is not Phase.BUSY or self._job is None or job_id != self._job.job_id:
            return False
        self._trouble = Trouble(Code.REFUSED, text)
        self._answer(Outcome(self._job, Evaluation.NOT_DECIDABLE, text), now_ns)
        return True

    def on_time(self, now_ns: int) -> bool:
        """Note a deadline that has passed; return whether one did."""
        if self._due_ns is None or now_ns < self._due_ns:
            return False
        self._due_ns = None
        if self._phase is Phase.BUSY and self._job is not None:
            text = f"no result within {self._timing.result_ms} ms"
            self._trouble = Trouble(Code.DEADLINE, text)
            self._answer(Outcome(self._job, Evaluation.NOT_DECIDABLE, text), now_ns)
        else:
            text = f"the result was not acknowledged within {self._timing.ack_ms} ms"
            self._trouble = Trouble(Code.ACK_TIMEOUT, text)
        return True

    @property
    def due_ns(self) -> int | None:
        """When ``on_time`` has something to say (CLOCK_MONOTONIC)."""
        return self._due_ns

    def _answer(self, outcome: Outcome, now_ns: int) -> None:
        self._phase, self._outcome = Phase.RESULT, outcome
        self._due_ns = now_ns + self._timing.ack_ms * NS_PER_MS

    def _after_fall(self) -> None:
        """Begin anew when a cycle is over; a trigger that was refused is forgotten when it falls."""
        if self._trigger:
            return
        if self._phase is Phase.RELEASE and not self._ack:
            self._phase, self._job = Phase.READY, None
        if self._phase is Phase.READY:
            self._trouble = None
