"""Carries out what becomes of one slot: events into the machine, its commands into the line, the disk and to people.

One thread, that of `app.deployment_service`; what the line says comes back through its channel. Whatever belongs to a
trial that is over (its generation) is not listened to any more.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.app import deployment_terms as told
from edge_runtime.app.slot_fallback import SlotFallback
from edge_runtime.app.slot_sampler import SlotSampler
from edge_runtime.app.standby_ears import Ears
from edge_runtime.app.vetting import numbers_of, spec_for
from edge_runtime.control.deployment import commands as do
from edge_runtime.control.deployment import events as on
from edge_runtime.control.deployment import machine
from edge_runtime.control.deployment.deployment import Now, State
from edge_runtime.core.errors import EdgeError, UnavailableError
from edge_runtime.core.ids import RANDOM_BYTES, uuid7
from edge_runtime.pipeline.attempt import NS_PER_MS
from edge_runtime.registry.box.report import Standing

if TYPE_CHECKING:
    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.deployment_host import Host
    from edge_runtime.control.deployment.deployment import Conditions, Deployment, Origin, Policy
    from edge_runtime.control.deployment.record import Hold
    from edge_runtime.pipeline.slot import SlotSpec
    from edge_runtime.pipeline.vet_link import VetReport
    from edge_runtime.registry.box.order import Want
    from edge_runtime.registry.box.report import Ban, Held, SlotReport

logger = logging.getLogger(__name__)


class SlotDeployment:
    """See the module docstring."""

    def __init__(self, want: Want, host: Host) -> None:
        """Read what is known of the slot.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses to tell.
        """
        self.want = want
        self.host = host
        known = host.store.load(want.slot)
        self.record = known
        self.deployment: Deployment | None = None
        self.report: SlotReport | None = None
        self.by_hand: told.Wanted | None = None  # what somebody asked for, until it has ended
        self.approved: str | None = None  # id of the deployment that somebody agreed to
        self.is_changed = True  # what is said about the slot is to be said anew
        self._events: deque[on.Event] = deque()
        self._is_stepping = False
        self._trial = 0  # generation of vet and standby
        self.fallback = SlotFallback(self)
        self._sampler = SlotSampler(want.slot, host.clock)
        self.note: tuple[str, str, str] | None = None  # of the last fallback: kind, code, for people
        if known.deployment is not None:
            links = host.store.links(want.slot)
            self.deployment, wanted = machine.resume(known.deployment, links, self.now())
            self._carry_out(wanted)
            self._work_off()
        if self.deployment is None or self.deployment.state.is_over:
            host.store.tidy(want.slot)
        elif host.store.is_refused(self.deployment):
            self.step(on.Banned("deployment.ended", "it failed before, and that was not written to its end"))

    # --- what the service tells

    def on_line(self, line: LineService | None) -> None:
        """A line was started, or the one there was has ended."""
        self._trial += 1
        self.fallback.on_line()
        if line is None:
            self.step(on.LineEnded())
        else:
            self.step(on.LineStarted(self.inspections(line), self.host.store.current(self.want.slot)))

    def on_report(self, report: SlotReport) -> None:
        """Somebody has looked at the registry."""
        self.report = report
        self.is_changed = True
        deployment = self.deployment
        if deployment is not None and not deployment.state.is_over:
            banned = next((one for one in report.banned if one.manifest == deployment.candidate.manifest), None)
            gone = told.withdrawn(report, deployment) if deployment.policy.origin == "rollout" else None
            if banned is not None:
                self.step(on.Banned(banned.reason, banned.message))
            elif gone is not None:
                self.step(on.Withdrawn(*gone))
        self.offer()

    def tick(self) -> None:
        """A second has passed."""
        self.fallback.tick()
        self.tell_conditions()
        self._sample()
        self.step(on.Tick())
        self.offer()

    def _sample(self) -> None:
        line, one = self.host.line, self.deployment
        verdict = None if line is None or one is None else self._sampler.verdict(line, one)
        if verdict is not None and one is not None:
            self.step(on.Compared(verdict) if one.state is State.SHADOW else on.Judged(verdict))
            self.is_changed = True

    def offer(self) -> None:
        """Tell the machine what is wanted in the slot, if anything is."""
        wanted = self.by_hand
        if wanted is None and self.report is not None:
            wanted = told.wanted_by(self.report, self.host.updates)
        if wanted is None or self.fallback.is_under_way or not self._may_begin(wanted):
            return
        host = self.host
        self.step(
            on.Offered(
                id=uuid7(host.clock.utc_ns() // NS_PER_MS, os.urandom(RANDOM_BYTES)),
                slot=self.want.slot,
                model=self.want.model,
                candidate=wanted.candidate,
                previous=host.store.held(host.store.links(self.want.slot).current, self.want.model),
                policy=wanted.policy,
                inspections=() if host.line is None else self.inspections(host.line),
                line=host.line is not None,
                conditions=self._conditions(wanted.policy, None),
            )
        )

    def _may_begin(self, wanted: told.Wanted) -> bool:
        """Tell whether nothing here stands against it: a ban, or what somebody chose since the rollout was made."""
        if any(one.manifest == wanted.candidate.manifest for one in self.bans):
            return False
        if wanted.policy.origin != "rollout":
            return True
        known = (self.deployment, self.record.last)  # what was tried since does not undo what somebody chose
        chosen = next((one for one in known if one is not None and one.state is State.COMMITTED), None)
        return chosen is None or chosen.policy.origin == "rollout" or wanted.policy.seq > chosen.policy.seq

    @property
    def is_idle(self) -> bool:
        """Whether the line has nothing to judge with although there is a release: somebody else made it current."""
        line, deployment = self.host.line, self.deployment
        busy = deployment is not None and not deployment.state.is_over
        if line is None or busy or self.fallback.is_under_way or self.base(line).path is not None:
            return False
        return self.host.store.running(self.want.slot, self.want.model) is not None

    @property
    def is_judging(self) -> bool:
        """Whether the candidate of a deployment may be judging."""
        return self.deployment is not None and self.deployment.state.is_judging

    def give_way(self, reason: str, message: str) -> None:
        """End a deployment that does not judge yet: the standby engine is needed for something else."""
        if self.deployment is not None and not self.deployment.state.is_over:
            self.step(on.Withdrawn(reason, message))

    @property
    def hold(self) -> Hold | None:
        """Why nothing is begun in it."""
        return self.record.hold

    def ask(self, candidate: Held, origin: Origin, *, back: bool = False) -> Deployment | None:
        """Deploy what somebody asked for, before whatever a rollout wants; ``None``: it cannot be begun now."""
        report = self.report
        terms = None if report is None or report.staged != candidate else report.terms
        policy = told.by_hand(0 if report is None else report.seq or 0, origin, terms, back=back)
        self.by_hand = told.Wanted(candidate, policy)
        self.offer()
        one = self.deployment
        if one is not None and not one.state.is_over and one.policy == policy:
            return one
        self.by_hand = None  # who asked is told so, and it must not begin behind his back
        return None

    def withdraw(self, reason: str, message: str, *, quarantine: bool) -> None:
        """End the deployment that is under way."""
        self.by_hand = None
        self.step(on.Withdrawn(reason, message, quarantine=quarantine))

    def agree(self) -> None:
        """Note that somebody agreed to the deployment that is under way."""
        self.approved = None if self.deployment is None else self.deployment.id
        self.tell_conditions()

    def put_hold(self, hold: Hold | None) -> None:
        """Hold the slot, or lift that.

        Raises:
            EdgeError: the disk refuses; nothing has changed.
        """
        record = replace(self.record, hold=hold)
        self.host.store.write(self.want.slot, record)
        self.record, self.is_changed = record, True
        self.tell_conditions()

    def step(self, event: on.Event) -> None:
        """Let the machine know, and do what it wants."""
        self._events.append(event)
        self._work_off()

    def _work_off(self) -> None:
        if self._is_stepping:
            return
        self._is_stepping = True
        try:
            while self._events:
                self.deployment, wanted = machine.step(self.deployment, self._events.popleft(), self.now())
                self._carry_out(wanted)
        finally:
            self._is_stepping = False

    # --- what the machine wants

    def _carry_out(self, wanted: tuple[do.Command, ...]) -> None:
        for command in wanted:
            self._do(command)

    def _do(self, command: do.Command) -> None:
        line = self.host.line
        if isinstance(command, do.Store):
            self._store(command.deployment)
        elif isinstance(command, do.Tell):
            self._tell(command)
        elif line is not None:  # the machine is told of its end, and begins again with the next one
            self._do_in(line, command)

    def _do_in(self, line: LineService, command: do.InLine) -> None:
        slot = self.want.slot
        match command:
            case do.Vet():
                self._vet(line)
            case do.StandBy():
                self._stand_by(line)
            case do.Shadow(is_on):
                line.shadow(slot, is_on)
            case do.SwitchTo(inspections):
                line.switch(slot, inspections)
            case do.SwitchBack():
                line.switch_back(slot)
            case do.Dismiss():
                self._trial += 1
                line.dismiss(slot)
            case do.Settle():
                self._trial += 1
                line.settle(slot)

    def _store(self, deployment: Deployment) -> None:
        self.record = self.record.with_deployment(deployment)
        try:
            self.host.store.save(self.want.slot, self.record, deployment)
        except EdgeError as error:
            logger.warning("slot %s: its deployment cannot be kept: %s", self.want.slot, error)
            self._events.append(on.StoreRefused(deployment.revision, str(error)))
        else:
            self._events.append(on.Stored(deployment.revision))

    def _tell(self, command: do.Tell) -> None:
        one = command.deployment
        self.record = self.record.with_deployment(one)  # of one that is superseded nothing else is heard
        fields = {**told.fields_of(one), "evidence": self._sampler.evidence(one.id)}
        self.host.tell(command.kind, command.message, fields)
        self.is_changed = True
        if one.state is State.COMMITTED:
            self.note = None
        if one.state.is_over and self.by_hand is not None and one.policy == self.by_hand.policy:
            self.by_hand = None

    def _verified(self) -> Path | None:
        """Return where the candidate lies, after hashing it; ``None`` = it is not what it was, and is given up."""
        deployment = self.deployment
        assert deployment is not None  # noqa: S101 - the machine commands only about one
        try:
            return self.host.store.verified(deployment.candidate)
        except EdgeError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: EdgeError) -> None:
        """End it through no fault of the candidate; it is offered again when somebody looked anew."""
        logger.error("slot %s: %s", self.want.slot, error)
        if self.report is not None:
            self.report = replace(self.report, standing=Standing.RETRY, staged=None)
        self._events.append(on.Withdrawn(error.code, error.message))

    def _vet(self, line: LineService) -> None:
        path, base, deployment = self._verified(), self.base(line), self.deployment
        if path is None or deployment is None:
            return
        trial, previous = self._next_trial(), deployment.previous
        works = base.path if previous is None else self.host.store.path(previous)
        against = None if works is None else Path(works)
        spec = spec_for(base, path, against=against, slower_max=deployment.policy.gates.latency_ratio_max)

        def ended(report: VetReport) -> None:
            self.host.later(lambda: self._vetted(trial, report))

        line.vet(spec, self.want.slot, ended)

    def _vetted(self, trial: int, report: VetReport) -> None:
        error = report.error
        if trial != self._trial:
            return
        if isinstance(error, UnavailableError):  # no process, no device: it was not tried, which is not its fault
            self._give_up(error)
            self._work_off()
        else:
            code, message = (None, None) if error is None else (error.code, error.message)
            self.step(on.Vetted(code, message, numbers_of(report)))

    def _stand_by(self, line: LineService) -> None:
        path, base, deployment = self._verified(), self.base(line), self.deployment
        if path is None or deployment is None:
            return
        if base.path is None:
            self._begin_with(deployment)
            return
        spec = told.spec_of(base, deployment.candidate, path, deployment.policy.seq)
        line.stand_by(self.want.slot, spec, Ears(partial(self.hear, self._next_trial())))

    def _begin_with(self, deployment: Deployment) -> None:
        """Make the first release of a slot current: there is nothing to stand beside, and nothing to go back to."""
        store = self.host.store
        try:
            links = store.store.slots.activate(self.want.slot, deployment.candidate.manifest)
        except EdgeError as error:
            self._give_up(error)
            return
        self.deployment, wanted = machine.resume(replace(deployment, judged=True), links, self.now())
        self._carry_out(wanted)
        logger.info("the line is started anew: there is a release for %s", self.want.slot)
        self.host.restart()

    # --- what the line says

    def hear(self, trial: int, event: on.Event) -> None:
        """Take what is said about a trial, unless it is over; from any thread."""

        def take() -> None:
            if trial == self._trial:
                self.step(event)

        self.host.later(take)

    def _next_trial(self) -> int:
        self._trial += 1
        return self._trial

    # --- what is known

    def inspections(self, line: LineService) -> tuple[str, ...]:
        """Return those that the slot judges for, in their order."""
        return tuple(one.spec.id for one in line.plan.inspections if one.spec.slot == self.want.slot)

    def base(self, line: LineService) -> SlotSpec:
        """Return what the slot was planned with."""
        return next(one for one in line.plan.slots if one.id == self.want.slot)

    @property
    def bans(self) -> tuple[Ban, ...]:
        """Which releases of the slot must not run."""
        return () if self.report is None else self.report.banned

    def tell_conditions(self) -> None:
        """Tell the machine how the conditions are, if that has changed."""
        deployment = self.deployment
        if deployment is None or deployment.state.is_over:
            return
        now = self._conditions(deployment.policy, deployment.id)
        if now != deployment.conditions:
            self.step(on.ConditionsChanged(now))

    def _conditions(self, policy: Policy, deployment: str | None) -> Conditions:
        host, report = self.host, self.report
        return told.conditions_of(
            policy,
            host.updates,
            self.now().utc,
            lot=host.lots.running(self.want.slot),
            approved=deployment is not None and deployment == self.approved,
            held=self.record.hold is not None,
            paused=report is not None and told.is_paused(report),
        )

    def now(self) -> Now:
        """Return the moment."""
        clock = self.host.clock
        return Now(clock.mono_ns(), datetime.fromtimestamp(clock.utc_ns() // 10**9, UTC))
