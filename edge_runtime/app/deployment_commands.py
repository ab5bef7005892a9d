"""Carries out what people say about models: another release, back, agreed, held, a lot is running.

The desk has read, authorised and remembered a command before; a wish that was left at the box (`registry.box.wish`)
goes the same way behind it. What is answered here is whether it was begun; what becomes of it is told by the record of
the deployment, its events and the document of its slot.

Threads: the handlers may be called by any and do not block; the work is done in the thread of the service that carries
deployments out (`Deployments.later`), where `Slot` may be touched.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from edge_runtime.app import arguments
from edge_runtime.app.lots_file import Lot
from edge_runtime.control.deployment.record import Hold
from edge_runtime.core.command import Answer, Command, Status
from edge_runtime.core.errors import DataError, EdgeError, PermissionDeniedError, StorageError
from edge_runtime.publish.payload import timestamp
from edge_runtime.registry.box import wish as wishes
from edge_runtime.registry.box.bans import banned
from edge_runtime.registry.box.shelf import find
from edge_runtime.registry.statements import STABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from edge_runtime.app.lots_file import LotsFile
    from edge_runtime.control.deployment.deployment import Deployment, Origin
    from edge_runtime.core.command import Handler, Reply
    from edge_runtime.registry.box.order import Want
    from edge_runtime.registry.box.report import Held, SlotReport
    from edge_runtime.registry.store.store import ModelStore
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

OPERATOR: Final = "operator"
BY_HAND: Final = "operator.rollback"  # reason of a deployment that somebody took back
VERBS: Final = ("model.update", "model.rollback", "model.approve", "model.hold", "lot")
_NS_PER_S: Final = 1e9
_DEADLINE_NS: Final = 60_000_000_000  # of a wish


class Slot(Protocol):
    """What can be done with a slot; in the thread of the service."""

    @property
    def want(self) -> Want:
        """What the configuration says of it."""
        ...

    @property
    def deployment(self) -> Deployment | None:
        """The one under way, or the one that ended last."""
        ...

    @property
    def hold(self) -> Hold | None:
        """Why nothing is begun in it."""
        ...

    @property
    def report(self) -> SlotReport | None:
        """What the last look at the registry said of it."""
        ...

    def ask(self, candidate: Held, origin: Origin, *, back: bool = False) -> Deployment | None:
        """Begin a deployment that somebody asked for; ``None``: it cannot be begun now.

        ``back``: it is the release before, which need not be like the one that is left.
        """
        ...

    def withdraw(self, reason: str, message: str, *, quarantine: bool) -> None:
        """End the deployment that is under way."""
        ...

    def agree(self) -> None:
        """Note that somebody agreed to the deployment that is under way."""
        ...

    def put_hold(self, hold: Hold | None) -> None:
        """Hold the slot, or lift that.

        Raises:
            EdgeError: the disk refuses; nothing has changed.
        """
        ...


class Deployments(Protocol):
    """What commands need of the service."""

    @property
    def slots(self) -> Mapping[str, Slot]:
        """Those that have their model from the registry, by name."""
        ...

    @property
    def models(self) -> ModelStore:
        """The store."""
        ...

    @property
    def lots(self) -> LotsFile:
        """What was said about lots."""
        ...

    def later(self, work: Callable[[], None]) -> bool:
        """Have ``work`` done in the thread of the service, ``False`` when it cannot be; from any thread."""
        ...

    def tell(self, kind: str, message: str, fields: Mapping[str, object]) -> None:
        """Write it into the audit trail and say it as an event."""
        ...

    def conditions_changed(self) -> None:
        """Look at what deployments wait for."""
        ...


class _Refused(Exception):  # noqa: N818 - an answer, not a fault
    """An answer that ends the work."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, message)


class DeploymentCommands:
    """See the module docstring."""

    def __init__(self, deployments: Deployments, site: str, clock: Clock) -> None:
        """Act on ``deployments`` of a box at ``site``."""
        self._all = deployments
        self._site = site
        self._clock = clock
        self._work: Mapping[str, Callable[[Command, Origin], Answer]] = {
            "model.update": self._update,
            "model.rollback": self._roll_back,
            "model.approve": self._approve,
            "model.hold": self._hold,
            "lot": self._lot,
        }

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What can be asked, by verb."""
        return dict.fromkeys(VERBS, self._handle)

    def take_wishes(self) -> None:
        """Carry out what was left at the box; about once a second, in the thread of the service."""
        for name in self._all.slots:
            directory = self._all.models.slots.directory / name
            try:
                wish = wishes.take(directory)
                if wish is not None and wish.is_alive(self._clock.mono_ns()):
                    self._grant(name, directory, wish)
            except EdgeError as error:
                logger.warning("slot %s: what was wished at the box is not done: %s", name, error)

    def _handle(self, command: Command, reply: Reply) -> None:
        def work() -> None:
            if self._clock.mono_ns() >= command.deadline_mono_ns:
                reply(Answer(Status.LATE, "its deadline passed before it was come to; nothing was done"))
            else:
                reply(self._answer(command, "command"))

        if not self._all.later(work):
            reply(Answer(Status.TOO_MANY, "too much waits for the disk; ask again in a second"))

    def _grant(self, slot: str, directory: Path, wish: wishes.Wish) -> None:
        verb = "model.update" if wish.verb == "activate" else "model.rollback"
        given = {} if wish.release is None else {"release": wish.release}
        command = Command(verb, slot, given, "", wish.by, self._clock.mono_ns() + _DEADLINE_NS)
        answer = self._answer(command, "box")
        fields = {"slot": slot, "verb": verb, "by": wish.by, "status": int(answer.status), **given}
        self._all.tell("deployment.wish", f"{wish.by} at the box: {wish.verb} {slot}: {answer.message}", fields)
        deployment = answer.fields.get("deployment")
        deployment_id = deployment if isinstance(deployment, str) else None
        wishes.answer(directory, wishes.WishAnswer(wish.id, int(answer.status), answer.message, deployment_id))

    def _answer(self, command: Command, origin: Origin) -> Answer:
        try:
            return self._work[command.verb](command, origin)
        except _Refused as refused:
            return refused.answer
        except DataError as error:
            return Answer(Status.MALFORMED, error.message)
        except EdgeError as error:
            return Answer(Status.FAILED, f"the disk refuses: {error.message}")

    # --- the verbs

    def _update(self, command: Command, origin: Origin) -> Answer:
        slot = self._slot(command)
        candidate = self._candidate(slot, arguments.text(command, "release"))
        self._same_digest(candidate, arguments.text(command, "digest"))
        one = slot.deployment
        if one is not None and one.state.is_judging and one.policy.back and candidate == one.previous:
            return self._take_back(slot, one, command)
        return self._begin(slot, candidate, origin)

    def _roll_back(self, command: Command, origin: Origin) -> Answer:
        slot = self._slot(command)
        running = slot.deployment
        if running is not None and running.state.is_judging:
            if running.policy.back:  # who asks twice must not arrive where he started
                return _begun(running, f"it is back at release {running.candidate.release}, on probation")
            return self._take_back(slot, running, command)
        previous = self._all.models.slots.links(slot.want.slot).previous
        if previous is None:
            raise _Refused(Status.CONFLICT, f"slot {slot.want.slot} has no release before the one that it runs")
        try:
            candidate = find(self._all.models, slot.want.model, previous)
        except DataError as error:
            raise _Refused(Status.CONFLICT, error.message) from error
        return self._begin(slot, candidate, origin, back=True)

    def _take_back(self, slot: Slot, one: Deployment, command: Command) -> Answer:
        message = f"{command.principal} took it back" + _because(command)
        slot.withdraw(BY_HAND, message, quarantine=True)
        return _begun(slot.deployment or one, "it is taken back")

    def _approve(self, command: Command, _origin: Origin) -> Answer:
        slot = self._slot(command)
        one = slot.deployment
        if one is None or one.state.is_over:
            raise _Refused(Status.CONFLICT, f"nothing waits in slot {slot.want.slot}")
        wanted = arguments.text(command, "deployment")
        if wanted not in (None, one.id):
            raise _Refused(Status.CONFLICT, f"expected deployment {wanted}, the one under way is {one.id}")
        self._same_digest(one.candidate, arguments.text(command, "digest"))
        if one.approved:
            return _begun(one, "it was approved before", Status.DONE)
        slot.agree()
        return _begun(slot.deployment or one, "it is approved")

    def _hold(self, command: Command, _origin: Origin) -> Answer:
        is_held = arguments.flag(command, "hold")
        message = arguments.text(command, "reason") or f"{command.principal} holds it"
        hold = Hold(OPERATOR, message, command.principal or OPERATOR, self._now()) if is_held else None
        slots = self._slots(command)
        for slot in slots:
            slot.put_hold(hold)
            said = "is held, nothing is begun in it" if is_held else "is not held any more"
            kind = "deployment.held" if is_held else "deployment.released"
            fields = {"slot": slot.want.slot, "by": command.principal, "message": message}
            self._all.tell(kind, f"slot {slot.want.slot} {said}: {message}", fields)
        self._all.conditions_changed()
        names = ", ".join(slot.want.slot for slot in slots)
        return Answer(Status.DONE, f"{names}: {'held' if is_held else 'not held'}", {"hold": is_held, "durable": True})

    def _lot(self, command: Command, _origin: Origin) -> Answer:
        state, lot_id = arguments.text(command, "state", required=True), arguments.text(command, "lotId")
        if command.target is not None:
            self._slot(command)
        lot = Lot(state != "between", lot_id, timestamp(self._clock.utc_ns()))
        message = f"lot {lot_id or 'without a name'} {'is running' if lot.running else 'has ended'}"
        durable = True
        try:
            self._all.lots.say(command.target, lot)
        except (StorageError, PermissionDeniedError) as error:
            logger.warning("that a lot is running will not survive a restart: %s", error)
            durable = False
        fields = {"lotId": lot_id, "slot": command.target, "by": command.principal}
        self._all.tell(f"lot.{state}", message, fields)
        self._all.conditions_changed()
        return Answer(Status.DONE, message, {"state": state, "lotId": lot_id, "durable": durable})

    # --- parts

    def _slots(self, command: Command) -> list[Slot]:
        return list(self._all.slots.values()) if command.target is None else [self._slot(command)]

    def _slot(self, command: Command) -> Slot:
        slots = self._all.slots
        if command.target is None and len(slots) == 1:
            return next(iter(slots.values()))
        if command.target is None:
            raise _Refused(Status.MALFORMED, f"which slot: write cmd/{command.verb}/SLOT, one of {', '.join(slots)}")
        found = slots.get(command.target)
        if found is None:
            known = ", ".join(slots) or "none"
            message = f"no slot {command.target} has its model from the registry; those that have: {known}"
            raise _Refused(Status.UNKNOWN, message)
        return found

    def _candidate(self, slot: Slot, wanted: str | None) -> Held:
        want, report = slot.want, slot.report
        if wanted is None or wanted in (want.model, f"{want.model}@{want.channel or STABLE}"):
            waiting = _waiting(slot.deployment)
            staged = waiting or (None if report is None else report.staged)
            if staged is None:
                raise _Refused(Status.UNKNOWN, f"slot {want.slot}: no release waits")
            return staged
        if "@" in wanted:
            message = f"slot {want.slot} takes {want.model}@{want.channel or STABLE}, not {wanted}"
            raise _Refused(Status.CONFLICT, message)
        try:
            return find(self._all.models, want.model, wanted)
        except DataError as error:
            raise _Refused(Status.UNKNOWN, error.message) from error

    def _same_digest(self, candidate: Held, wanted: str | None) -> None:
        if wanted not in (None, candidate.digest, candidate.manifest):
            message = f"release {candidate.release} is {candidate.digest} (manifest {candidate.manifest}), not {wanted}"
            raise _Refused(Status.CONFLICT, message)

    def _begin(self, slot: Slot, candidate: Held, origin: Origin, *, back: bool = False) -> Answer:
        for reason in self._reasons_against(slot, candidate, held=not back):
            raise _Refused(Status.CONFLICT, reason)
        begun = slot.ask(candidate, origin, back=back)
        if begun is None:
            raise _Refused(Status.CONFLICT, f"release {candidate.release} cannot be begun now; ask again in a moment")
        return _begun(begun, f"release {candidate.release} ({candidate.version}) is on its way")

    def _reasons_against(self, slot: Slot, candidate: Held, *, held: bool) -> Iterator[str]:
        want, one, name = slot.want, slot.deployment, f"release {candidate.release} of {slot.want.model}"
        is_current = self._all.models.slots.links(want.slot).current == candidate.manifest
        if is_current and (one is None or one.state.is_over):
            yield f"slot {want.slot} runs {name} already"
        elif is_current and one is not None and not one.state.is_judging:
            other = f"release {one.candidate.release} is on its way; model.hold keeps it from going on"
            yield f"slot {want.slot} runs {name} already; {other}"
        refusal = banned(self._all.models.root, self._site, want.model, candidate)
        if refusal is not None:
            yield refusal.message
        if held and slot.hold is not None:
            yield f"slot {want.slot} is held by {slot.hold.by}: {slot.hold.message}; model.hold lifts it (hold false)"
        if one is not None and one.state.is_judging:
            what = f"release {one.candidate.release} judges on trial in slot {want.slot} ({one.state.value})"
            way = f"model.{'update' if one.policy.back else 'rollback'} takes it back"
            yield f"{what}; {way}, else wait for its end"

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.utc_ns() / _NS_PER_S, UTC).replace(microsecond=0)


def _waiting(one: Deployment | None) -> Held | None:
    return None if one is None or one.state.is_over else one.candidate


def _because(command: Command) -> str:
    reason = arguments.text(command, "reason")
    return f": {reason}" if reason else ""


def _begun(one: Deployment, said: str, status: Status = Status.ACCEPTED) -> Answer:
    waits = f"; it waits {one.message}" if one.message and one.state.value == "waiting" else ""
    fields = {
        "deployment": one.id,
        "release": one.candidate.release,
        "digest": one.candidate.digest,
        "state": one.state.value,
        "waitsFor": one.reason if one.state.value == "waiting" else None,
    }
    return Answer(status, f"{said}{waits}", fields)
