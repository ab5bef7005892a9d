"""Carries out what becomes of one slot: events into the machine, its commands into the line, the disk and to people.

One thread, that of `app.deployment_service`; what the line says comes back through its channel. Whatever belongs to a
trial that is over (its generation) is not listened to any more.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from edge_runtime.app.deployment_terms import conditions_of, is_paused, spec_of, wanted_by, withdrawn
from edge_runtime.control.deployment import commands as do
from edge_runtime.control.deployment import events as on
from edge_runtime.control.deployment import machine
from edge_runtime.control.deployment.deployment import Now
from edge_runtime.control.deployment.record import Hold, SlotRecord
from edge_runtime.core.errors import EdgeError
from edge_runtime.core.ids import RANDOM_BYTES, uuid7
from edge_runtime.pipeline.attempt import NS_PER_MS
from edge_runtime.pipeline.vet_link import VetSpec
from edge_runtime.registry.box.report import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.deployment_store import DeploymentStore
    from edge_runtime.app.deployment_terms import Wanted
    from edge_runtime.config.updates import Updates
    from edge_runtime.control.deployment.deployment import Conditions, Deployment, Policy
    from edge_runtime.pipeline.results import ModelFacts
    from edge_runtime.pipeline.slot import SlotSpec
    from edge_runtime.pipeline.vet_link import VetReport
    from edge_runtime.registry.box.order import Want
    from edge_runtime.registry.box.report import Ban, SlotReport
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

VET_DEADLINE_S: Final = 120.0
MEMORY_SHARE: Final = 0.5
"""Of the box's memory: a release is tried while another one works."""


class Host(Protocol):
    """What a slot needs of the service that it lives in."""

    clock: Clock
    store: DeploymentStore
    updates: Updates
    line: LineService | None
    lot: bool | None

    def later(self, work: Callable[[], None]) -> None:
        """Have ``work`` done in the thread of the service; from any thread."""
        ...

    def tell(self, kind: str, message: str, fields: Mapping[str, object]) -> None:
        """Write it into the audit trail and say it as an event."""
        ...

    def restart(self) -> None:
        """Have the line started anew."""
        ...


class SlotDeployment:
    """See the module docstring."""

    def __init__(self, want: Want, host: Host) -> None:
        """Read what is known of the slot.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses to tell.
        """
        self.want = want
        self._host = host
        known = host.store.load(want.slot)
        self.deployment: Deployment | None = None
        self.last = known.last
        self.hold = known.hold
        self.report: SlotReport | None = None
        self.by_hand: Wanted | None = None  # what somebody asked for, until it has ended
        self.approved: str | None = None  # id of the deployment that somebody agreed to
        self.is_changed = True  # what is said about the slot is to be said anew
        self._events: deque[on.Event] = deque()
        self._is_stepping = False
        self._trial = 0  # generation of vet and standby
        if known.deployment is not None:
            links = host.store.links(want.slot)
            self.deployment, wanted = machine.resume(known.deployment, links, self._now())
            self._carry_out(wanted)
            self._work_off()

    # --- what the service tells

    def on_line(self, line: LineService | None) -> None:
        """A line was started, or the one there was has ended."""
        self._trial += 1
        if line is None:
            self.step(on.LineEnded())
        else:
            self.step(on.LineStarted(self.inspections(line), self._host.store.links(self.want.slot).current))

    def on_report(self, report: SlotReport) -> None:
        """Somebody has looked at the registry."""
        self.report = report
        self.is_changed = True
        deployment = self.deployment
        if deployment is not None and not deployment.state.is_over:
            banned = next((one for one in report.banned if one.manifest == deployment.candidate.manifest), None)
            gone = withdrawn(report, deployment) if deployment.policy.origin == "rollout" else None
            if banned is not None:
                self.step(on.Banned(banned.reason, banned.message))
            elif gone is not None:
                self.step(on.Withdrawn(*gone))
        self.offer()

    def tick(self) -> None:
        """A second has passed."""
        self._tell_conditions()
        self.step(on.Tick())
        self.offer()

    def offer(self) -> None:
        """Tell the machine what is wanted in the slot, if anything is."""
        wanted = self.by_hand
        if wanted is None and self.report is not None:
            wanted = wanted_by(self.report, self._host.updates)
        if wanted is None or any(one.manifest == wanted.candidate.manifest for one in self._bans()):
            return
        host = self._host
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
                before = self.deployment
                self.deployment, wanted = machine.step(before, self._events.popleft(), self._now())
                if before is not None and self.deployment is not None and before.id != self.deployment.id:
                    self.last = before
                self._carry_out(wanted)
        finally:
            self._is_stepping = False

    # --- what the machine wants

    def _carry_out(self, wanted: tuple[do.Command, ...]) -> None:
        for command in wanted:
            self._do(command)

    def _do(self, command: do.Command) -> None:
        slot, line = self.want.slot, self._host.line
        match command:
            case do.Store(deployment):
                self._store(deployment)
            case do.Tell():
                self._tell(command)
            case _ if line is None:
                pass  # it has ended: the machine is told so, and begins again with the next one
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
        if deployment.holds and deployment.state.is_over and self.hold is None:
            reason, message = deployment.reason or "", deployment.message or ""
            self.hold = Hold(reason, message, "box", self._now().utc)
        try:
            self._host.store.save(self.want.slot, SlotRecord(deployment, self.last, self.hold), deployment)
        except EdgeError as error:
            logger.warning("slot %s: its deployment cannot be kept: %s", self.want.slot, error)
            self._events.append(on.StoreRefused(deployment.revision, str(error)))
        else:
            self._events.append(on.Stored(deployment.revision))

    def _tell(self, command: do.Tell) -> None:
        one = command.deployment
        fields = {
            "slot": one.slot,
            "model": one.model,
            "deployment": one.id,
            "release": one.candidate.release,
            "digest": one.candidate.digest,
            "manifest": one.candidate.manifest,
            "previous": None if one.previous is None else one.previous.digest,
            "seq": one.policy.seq,
            "origin": one.policy.origin,
            "reason": one.reason,
            "gates": dict(one.numbers),
            **command.fields,
        }
        self._host.tell(command.kind, command.message, fields)
        self.is_changed = True
        if one.state.is_over and self.by_hand is not None and self.by_hand.candidate == one.candidate:
            self.by_hand = None

    def _verified(self) -> Path | None:
        """Return where the candidate lies, after hashing it; ``None`` = it is not what it was, and is given up."""
        deployment = self.deployment
        assert deployment is not None  # noqa: S101 - the machine commands only about one
        try:
            return self._host.store.verified(deployment.candidate)
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
        path, base = self._verified(), self._base(line)
        if path is None:
            return
        trial = self._next_trial()
        spec = VetSpec(
            path=path,
            device=base.device,
            backend=base.backend,
            threads=base.threads,
            deadline_s=VET_DEADLINE_S,
            memory_bytes=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE),
        )

        def ended(report: VetReport) -> None:
            error = report.error
            event = on.Vetted() if error is None else on.Vetted(error.code, error.message)
            self.hear(trial, event)

        line.vet(spec, f"vet/{self.want.slot}/{trial}", ended)

    def _stand_by(self, line: LineService) -> None:
        path, base, deployment = self._verified(), self._base(line), self.deployment
        if path is None or deployment is None:
            return
        if base.path is None:
            self._begin_with(deployment)
            return
        spec = spec_of(base, deployment.candidate, path, deployment.policy.seq)
        line.stand_by(self.want.slot, spec, _Listener(self, self._next_trial()))

    def _begin_with(self, deployment: Deployment) -> None:
        """Make the first release of a slot current: nothing judges that it could stand beside, nothing to go back to."""
        store = self._host.store
        try:
            links = store.store.slots.activate(self.want.slot, deployment.candidate.manifest)
        except EdgeError as error:
            self._give_up(error)
            return
        self.deployment, wanted = machine.resume(deployment, links, self._now())
        self._carry_out(wanted)
        logger.info("the line is started anew: there is a release for %s", self.want.slot)
        self._host.restart()

    # --- what the line says

    def hear(self, trial: int, event: on.Event) -> None:
        """Take what is said about a trial, unless it is over; from any thread."""

        def take() -> None:
            if trial == self._trial:
                self.step(event)

        self._host.later(take)

    def _next_trial(self) -> int:
        self._trial += 1
        return self._trial

    # --- what is known

    def inspections(self, line: LineService) -> tuple[str, ...]:
        """Return those that the slot judges for, in their order."""
        return tuple(one.spec.id for one in line.plan.inspections if one.spec.slot == self.want.slot)

    def _base(self, line: LineService) -> SlotSpec:
        return next(one for one in line.plan.slots if one.id == self.want.slot)

    def _bans(self) -> tuple[Ban, ...]:
        return () if self.report is None else self.report.banned

    def _tell_conditions(self) -> None:
        deployment = self.deployment
        if deployment is None or deployment.state.is_over:
            return
        now = self._conditions(deployment.policy, deployment.id)
        if now != deployment.conditions:
            self.step(on.ConditionsChanged(now))

    def _conditions(self, policy: Policy, deployment: str | None) -> Conditions:
        host, report = self._host, self.report
        return conditions_of(
            policy,
            host.updates,
            datetime.now().astimezone(),
            lot=host.lot,
            approved=deployment is not None and deployment == self.approved,
            held=self.hold is not None,
            paused=report is not None and is_paused(report),
        )

    def _now(self) -> Now:
        clock = self._host.clock
        return Now(clock.mono_ns(), datetime.fromtimestamp(clock.utc_ns() // 10**9, UTC))


@dataclass(frozen=True, slots=True)
class _Listener:
    """Of one standby; called in the line's thread."""

    slot: SlotDeployment
    trial: int

    def on_ready(self, facts: ModelFacts) -> None:
        """It has loaded and warmed the release."""
        self.slot.hear(self.trial, on.StandbyReady())

    def on_refused(self, code: str, message: str) -> None:
        """It cannot."""
        self.slot.hear(self.trial, on.StandbyRefused(code, message))

    def on_lost(self, message: str) -> None:
        """Its process ended; the line starts it again."""
        self.slot.hear(self.trial, on.StandbyLost(message))

    def on_switched(self, to_standby: bool, inspections: tuple[str, ...], first_frame: dict[str, int]) -> None:  # noqa: FBT001 - the line's
        """From these frames on another engine judges."""
        self.slot.hear(self.trial, on.Switched(to_standby, inspections))
