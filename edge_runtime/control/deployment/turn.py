"""One step of a deployment: the value as it becomes, and the commands as they add up. Pure; see `machine`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_runtime.control.deployment.commands import (
    Dismiss,
    Settle,
    Shadow,
    StandBy,
    Store,
    SwitchBack,
    SwitchTo,
    Tell,
    Vet,
)
from edge_runtime.control.deployment.deployment import Deployment, Outcome, Standby, State
from edge_runtime.control.deployment.events import (
    Banned,
    Compared,
    ConditionsChanged,
    Judged,
    LineEnded,
    LineStarted,
    Offered,
    StandbyLost,
    StandbyReady,
    StandbyRefused,
    Stored,
    StoreRefused,
    Switched,
    Vetted,
    Withdrawn,
)
from edge_runtime.control.deployment.going import lacking, late, next_stage, sentence, waits_for

if TYPE_CHECKING:
    from edge_runtime.control.deployment.commands import Command
    from edge_runtime.control.deployment.deployment import Now, Verdict
    from edge_runtime.control.deployment.events import Event

Step = tuple[Deployment | None, tuple["Command", ...]]

SAVE_EVERY_S: Final = 600.0  # so much of a long wait may be forgotten by a power cut
ANSWER_S: Final = 60.0  # a store without an answer is commanded again
RETRY_MAX_S: Final = 60.0
DISK: Final = "wait.disk"
_DURABLE_FIRST: Final = frozenset({State.VETTING, State.LOADING, State.CANARY, State.ACTIVATING})


class Turn:
    """One step: the deployment as it becomes, and the commands as they add up."""

    def __init__(self, deployment: Deployment, now: Now) -> None:
        passed_s = 0.0 if deployment.at_ns is None else max(0, now.mono_ns - deployment.at_ns) / 1e9
        retry_in_s = deployment.retry_in_s
        self.now_is = replace(
            deployment,
            at_ns=now.mono_ns,
            elapsed_s=deployment.elapsed_s + passed_s,
            unsaved_s=deployment.unsaved_s + passed_s,
            retry_in_s=None if retry_in_s is None else retry_in_s - passed_s,
        )
        self._now = now
        self._commands: list[Command] = []

    @property
    def result(self) -> Step:
        """The deployment and the commands, which carry it as it is in the end."""
        done = self.now_is
        return done, tuple(
            replace(one, deployment=done) if isinstance(one, Store | Tell) else one for one in self._commands
        )

    def take(self, event: Event) -> None:
        """Take an event."""
        match event:
            case Stored() | StoreRefused():
                self._on_disk(event)
            case LineStarted() | LineEnded():
                self._on_line(event)
            case _ if self.now_is.state.is_over:
                pass
            case StandbyReady() | StandbyRefused() | StandbyLost() | Switched():
                self._on_standby(event)
            case Vetted() | Compared() | Judged():
                self._on_evidence(event)
            case _:
                self._on_wish(event)

    def tend(self) -> None:
        """See what time has brought: a deadline, a disk to ask again, a wait to be remembered."""
        one = self.now_is
        found = late(one)
        if found is not None:
            self.fail(found.reason, found.message, quarantine=found.quarantine)
        elif one.awaited is not None:
            if one.unsaved_s >= ANSWER_S if one.retry_in_s is None else one.retry_in_s <= 0:
                self.store()
        elif one.state is State.WAITING and one.unsaved_s >= SAVE_EVERY_S:
            self.store()

    def adopt(self, offer: Offered) -> None:
        """Let the policy of ``offer`` count from now on; the candidate is the same."""
        if offer.policy != self.now_is.policy:
            self._change(policy=offer.policy)
            self.store()
        self._look_on()

    def supersede(self, why: str) -> None:
        """End it for something newer, which is stored in its place."""
        self._leave()
        self._change(state=State.SUPERSEDED, since=self._now.utc, reason="rollout.newer", message=why, awaited=None)
        self._tell()

    def is_settled_by(self, current: str | None) -> bool:
        """Tell whether the slot runs something else than before; then it is over."""
        one = self.now_is
        if current is None or (one.previous is not None and current == one.previous.manifest):
            return False
        if current == one.candidate.manifest and one.judged:
            self._enter(State.COMMITTED, None, None)  # the links have moved, the process died before the record
        else:
            self._enter(State.SUPERSEDED, "slot.changed", "the slot was given a release by somebody else")
        return True

    def store(self) -> None:
        """Have the deployment made durable, as it is after this step."""
        revision = self.now_is.revision + 1
        self._change(revision=revision, awaited=revision, retry_in_s=None, unsaved_s=0.0)
        if not any(isinstance(one, Store) for one in self._commands):
            self._commands.append(Store(self.now_is))

    def strike(self, reason: str, message: str) -> None:
        """Count a death; go back if it was the last try, else load it beside anew."""
        left = self.now_is.tries_left - 1
        self._change(tries_left=left)
        if left <= 0:
            self.fail(reason, f"{message}; no try is left", regression=True)
            return
        self._tell("deployment.strike", f"{message}; {left} more before it is given up")
        self._leave()  # what the line would start again by itself may do so only when the disk knows
        if self.now_is.line:
            self._enter(State.LOADING, reason, None)
        else:
            self._wait("wait.line")

    def fail(self, reason: str, message: str, *, quarantine: bool = True, regression: bool = False) -> None:
        """End it: back to the old model at once, on the disk as soon as that can be written."""
        judged = self.now_is.judged
        self._change(
            quarantined=quarantine,
            holds=regression and judged and self.now_is.policy.on_regression == "hold",
            passed=False,
        )
        self._leave()
        self._enter(State.ROLLED_BACK if judged else State.REJECTED, reason, message)

    def onward(self) -> None:
        """Go to the next stage, or to what has to come before it, or wait."""
        one, stage = self.now_is, next_stage(self.now_is)
        missing = lacking(one)
        if missing in (None, "wait.lot") and stage is not State.VETTING and one.standby is Standby.NONE:
            self._enter(State.LOADING, None, None)
        elif missing is None:
            self._enter(stage, None, None)
        else:
            self._wait(missing)

    # --- events

    def _on_disk(self, event: Stored | StoreRefused) -> None:
        one = self.now_is
        if event.revision != one.awaited:
            return
        if isinstance(event, StoreRefused):
            self._change(retries=one.retries + 1, retry_in_s=min(2.0 ** min(one.retries, 9), RETRY_MAX_S))
            if not one.retries:
                self._tell(DISK, f"it cannot be stored and is tried again: {event.message}")
            return
        self._change(awaited=None, retries=0, retry_in_s=None)
        if one.passed:
            self._commands.append(Settle())
            self._change(standby=Standby.NONE)
            self._enter(State.COMMITTED, None, None)
        elif not one.begun:
            self._begin()

    def _on_line(self, event: LineStarted | LineEnded) -> None:
        running = isinstance(event, LineStarted)
        if self.now_is.state.is_over:
            self._change(line=running, standby=Standby.NONE)
            return
        self._change(line=False, standby=Standby.NONE, passed=False)
        if isinstance(event, LineStarted) and self.is_settled_by(event.current):
            return
        if self.now_is.state.has_begun:
            self._wait("wait.line")
        if isinstance(event, LineStarted):
            self._change(line=True, slot_inspections=event.inspections)
            self.onward()

    def _on_standby(self, event: StandbyReady | StandbyRefused | StandbyLost | Switched) -> None:
        one = self.now_is
        if one.standby is Standby.NONE:
            return  # it was dismissed, this comes too late
        match event:
            case StandbyReady():
                self._change(standby=Standby.READY)
                if one.state is State.LOADING:
                    self.onward()
            case StandbyRefused():
                self.fail(event.reason, event.message)
            case StandbyLost():
                self.strike("standby.lost", event.message)
            case Switched() if one.state is State.ACTIVATING and one.begun and event.to_standby:
                self._enter(State.PROBATION, None, None)
            case _:
                pass  # another switch than the one that is waited for

    def _on_evidence(self, event: Vetted | Compared | Judged) -> None:
        one = self.now_is
        if not one.begun:
            return
        if isinstance(event, Vetted):
            if one.state is State.VETTING:
                self._vetted(event)
        elif isinstance(event, Compared):
            if one.state is State.SHADOW:
                self._weigh(event.verdict, regression=False)
        elif one.state in (State.CANARY, State.PROBATION):
            self._weigh(event.verdict, regression=True)

    def _on_wish(self, event: Event) -> None:
        match event:
            case Withdrawn():
                if self.now_is.judged or event.quarantine:
                    self.fail(event.reason, event.message, quarantine=event.quarantine)
                else:
                    self._leave()
                    self._enter(State.SUPERSEDED, event.reason, event.message)
            case Banned():
                self.fail(event.reason, event.message)
            case ConditionsChanged():
                approved = self.now_is.approved or event.conditions.approved
                if approved != self.now_is.approved:
                    self._change(approved=approved)
                    self.store()
                self._change(conditions=event.conditions)
                self._look_on()
            case _:
                self._look_on()

    # --- parts

    def _begin(self) -> None:
        """Do what had to be durable first."""
        one = self.now_is
        self._change(begun=True, elapsed_s=0.0, judged=one.judged or one.state.is_judging)
        if one.state is State.VETTING:
            self._commands.append(Vet())
        elif one.state.is_judging:
            self._commands.append(SwitchTo(one.inspections if one.state is State.CANARY else None))
        else:
            self._change(standby=Standby.LOADING)
            self._commands.append(StandBy())

    def _vetted(self, event: Vetted) -> None:
        self._change(numbers=event.numbers)
        if event.reason is not None:
            self.fail(event.reason, event.message or event.reason)
        else:
            self._change(vetted=True)
            self.onward()

    def _weigh(self, verdict: Verdict, *, regression: bool) -> None:
        one = self.now_is
        progress = verdict.progress
        if one.state is State.PROBATION:
            progress = min(progress, one.elapsed_s / one.policy.probation_s)
        self._change(numbers=verdict.numbers, frames=verdict.frames, progress=min(1.0, progress))
        if verdict.outcome is Outcome.BREACHED:
            reason = verdict.reason or "gate"
            self.fail(reason, verdict.message or reason, regression=regression)
        elif verdict.outcome is Outcome.PASSED:
            self._passed()

    def _passed(self) -> None:
        one = self.now_is
        if one.state is State.SHADOW:
            self._change(shadowed=True)
            self._commands.append(Shadow(on=False))
            self.onward()
        elif one.state is State.CANARY:
            self._change(canaried=True)
            self._look_on()
        elif one.elapsed_s >= one.policy.probation_s and not one.passed:
            self._change(passed=True)
            self.store()

    def _look_on(self) -> None:
        """See whether what it waits for has come."""
        one = self.now_is
        if one.state is State.WAITING:
            self.onward()
        elif one.state is State.CANARY and one.canaried and one.begun:
            missing = lacking(one)
            self._change(reason=missing, message=None if missing is None else waits_for(one, missing))
            if missing is None:
                self._enter(State.ACTIVATING, None, None)

    def _wait(self, reason: str) -> None:
        one = self.now_is
        if one.standby is not Standby.NONE and reason != "wait.lot":
            self._commands.append(Dismiss())
            self._change(standby=Standby.NONE)
        if one.state is not State.WAITING or not one.begun:
            self._enter(State.WAITING, reason, waits_for(one, reason))
        else:
            self._change(reason=reason, message=waits_for(one, reason))

    def _enter(self, state: State, reason: str | None, message: str | None) -> None:
        one = self.now_is
        first = one.slot_inspections[:1] if state is State.CANARY else ()
        begun = state not in _DURABLE_FIRST
        self._change(
            state=state,
            since=self._now.utc,
            elapsed_s=0.0,
            reason=reason,
            message=message,
            progress=1.0 if state is State.COMMITTED else 0.0,
            frames=0,
            begun=begun,
            passed=False,
            inspections=first,
        )
        self.store()
        if state is State.SHADOW:
            self._commands.append(Shadow(on=True))
        self._tell()

    def _leave(self) -> None:
        if self.now_is.line:  # without one there is nothing to leave
            if self.now_is.state.is_judging:
                self._commands.append(SwitchBack())
            self._commands.append(Dismiss())
        self._change(standby=Standby.NONE)

    def _tell(self, kind: str | None = None, message: str | None = None) -> None:
        one = self.now_is
        self._commands.append(Tell(kind or f"deployment.{one.state.value}", sentence(one, message), one))

    def _change(self, **fields: object) -> None:
        self.now_is = replace(self.now_is, **fields)  # type: ignore[arg-type] # mypy checks no fields of replace
