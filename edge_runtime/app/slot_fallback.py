"""What a slot runs when its current release is taken away: revoked, killed, gone, or one that no engine can load.

    previous release -> factory model of the configuration -> ``if_revoked``: goes on with an alarm, or judges nothing

Each is loaded beside and switched to like a candidate, so that the line does not stop for it; then the links of the
slot say so, and a restart finds it. A current release that cannot be loaded judges nothing anyway: after the last of
these somebody has to come.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.app.deployment_terms import factory_spec, spec_of
from edge_runtime.app.standby_ears import Ears
from edge_runtime.control.deployment import events as on
from edge_runtime.core.errors import EdgeError
from edge_runtime.pipeline.slot import SlotState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.deployment_host import ServedSlot
    from edge_runtime.pipeline.slot import SlotSpec
    from edge_runtime.registry.box.report import Held

logger = logging.getLogger(__name__)

LOAD_S: Final = 300.0
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a current release has to go: of which manifest, stable code, for people, and whether it must not judge."""

    manifest: str
    reason: str
    message: str
    banned: bool


@dataclass(frozen=True, slots=True)
class Rung:
    """What can stand in: a release, or the factory model (``held`` is ``None``)."""

    held: Held | None
    spec: SlotSpec

    @property
    def name(self) -> str:
        """For people."""
        return "the factory model" if self.held is None else f"release {self.held.release} ({self.held.version})"


class SlotFallback:
    """See the module docstring. One thread, that of its slot."""

    def __init__(self, slot: ServedSlot) -> None:
        """Nothing is wrong yet."""
        self._slot = slot
        self._cause: Cause | None = None  # what is being left
        self._rungs: list[Rung] = []
        self._rung: Rung | None = None  # what is being loaded, or judges and is to be written down
        self._due_ns = 0
        self._unwritten: Callable[[], object] | None = None
        self._answered: Cause | None = None  # nothing is left to do about it

    @property
    def is_under_way(self) -> bool:
        """Whether the standby engine of the slot is taken."""
        return self._rung is not None

    def on_line(self) -> None:
        """Another line runs, or none: it is found out anew what is wrong."""
        self._cause = self._rung = None
        self._answered = None

    def tick(self) -> None:
        """See whether the current release has to go, and how far that is."""
        self._write()
        host, slot = self._slot.host, self._slot
        line = host.line
        if line is None or slot.is_judging:
            return
        if self._rung is not None:
            if host.clock.mono_ns() >= self._due_ns:
                self._next(line, f"{self._rung.name} was not loaded within {LOAD_S:g} s")
            return
        cause = self._found(line)
        if cause is None or cause == self._answered or self._unwritten is not None:
            return
        slot.give_way("model.fallback", cause.message)
        self._cause, self._rungs = cause, list(self._ladder(line))
        self._next(line, cause.message)

    def _found(self, line: LineService) -> Cause | None:
        slot = self._slot
        links = slot.host.store.links(slot.want.slot)
        if links.current is None:
            return None
        ban = next((one for one in slot.bans if one.manifest == links.current), None)
        if ban is not None:
            return Cause(ban.manifest, ban.reason, ban.message, banned=True)
        if self._is_gone(line, links.current):
            text = "the release that it ran is not whole on this box any more, and cannot be fetched now"
            return Cause(links.current, "release.not_here", text, banned=False)
        standing = line.line.picture.slots.get(slot.want.slot)
        if standing is not None and standing.state is SlotState.FAILED:
            return Cause(links.current, "model.failed", standing.message, banned=False)
        return None

    def _is_gone(self, line: LineService, current: str) -> bool:
        """Whether the line began with nothing because of that, and a look at the registry did not mend it."""
        slot = self._slot
        is_empty = slot.base(line).path is None and slot.report is not None
        return is_empty and slot.host.store.held(current, slot.want.model) is None

    def _ladder(self, line: LineService) -> list[Rung]:
        """Return what can stand in, whole and not banned itself, in the order in which it is tried."""
        slot, host, found = self._slot, self._slot.host, []
        base = slot.base(line)
        links = host.store.links(slot.want.slot)
        held = host.store.held(links.previous, slot.want.model)
        if held is not None and held.manifest not in {links.current, *(one.manifest for one in slot.bans)}:
            try:
                found.append(Rung(held, spec_of(base, held, host.store.verified(held), None)))
            except EdgeError as error:
                logger.error("slot %s cannot go back: %s", slot.want.slot, error)  # noqa: TRY400 - no bug of ours
        factory = host.configured[slot.want.slot].factory
        if factory is not None:
            found.append(Rung(None, factory_spec(base, Path(factory))))
        return found

    def _next(self, line: LineService, why: str) -> None:
        """Try the next rung; after the last one do what the configuration says."""
        slot = self._slot
        if self._rung is not None:
            logger.error("slot %s: %s", slot.want.slot, why)
            line.dismiss(slot.want.slot)
        self._rung = self._rungs.pop(0) if self._rungs else None
        if self._rung is None:
            self._bottom(line)
            return
        self._due_ns = slot.host.clock.mono_ns() + round(LOAD_S * _NS)
        rung = self._rung
        if slot.base(line).path is None:
            self._begin_with(rung)
            return

        def hear(event: on.Event) -> None:
            slot.host.later(lambda: self.heard(rung, event))

        line.stand_by(slot.want.slot, rung.spec, Ears(hear))

    def _begin_with(self, rung: Rung) -> None:
        """Begin the line anew with a release: it has nothing that this one could stand beside."""
        slot, cause = self._slot, self._cause
        assert cause is not None  # noqa: S101 - `tick` set it
        self._rung = self._cause = None
        self._later(lambda: slot.host.store.store.slots.roll_back(slot.want.slot))
        if self._unwritten is None:
            text = f"slot {slot.want.slot} runs {rung.name} now: {cause.message}"
            self._tell("deployment.fallback", text, cause, rung)
            slot.host.restart()

    def _bottom(self, line: LineService) -> None:
        slot, cause = self._slot, self._cause
        assert cause is not None  # noqa: S101 - `tick` set it
        self._cause, self._answered = None, cause
        name = slot.want.slot
        if cause.banned and slot.host.configured[name].if_revoked == "stop":
            text = f"slot {name} judges nothing any more: {cause.message}, and nothing can stand in"
            line.empty(name, text)
            self._later(lambda: slot.host.store.store.slots.vacate(name))
            self._tell("deployment.safe", text, cause)
        elif cause.banned:
            text = f"slot {name} goes on with a release that must not run, as configured (if_revoked): {cause.message}"
            self._tell("deployment.alarm", text, cause)
        else:
            text = f"slot {name} judges nothing: {cause.message}, and nothing can stand in"
            self._tell("deployment.safe", text, cause)

    def heard(self, rung: Rung, event: on.Event) -> None:
        """Take what the line says about the engine of a rung; after one that died the next is tried."""
        line, cause = self._slot.host.line, self._cause
        if rung is not self._rung or line is None or cause is None:
            return
        slot, slots = self._slot.want.slot, self._slot.host.store.store.slots
        match event:
            case on.StandbyReady():
                line.switch(slot, None)
            case on.StandbyRefused() | on.StandbyLost():
                self._next(line, event.message)
            case on.Switched(to_standby=True):
                line.settle(slot)
                self._rung = self._cause = None
                self._later(lambda: slots.vacate(slot) if rung.held is None else slots.roll_back(slot))
                self._tell("deployment.fallback", f"slot {slot} runs {rung.name} now: {cause.message}", cause, rung)
            case _:
                pass

    def _later(self, write: Callable[[], object]) -> None:
        self._unwritten = write
        self._write()

    def _write(self) -> None:
        """Change the links; what the disk refuses is tried again every second, the line runs what it has to anyway."""
        if self._unwritten is None:
            return
        try:
            self._unwritten()
        except EdgeError as error:
            logger.warning("slot %s: what it runs cannot be written down yet: %s", self._slot.want.slot, error)
            return
        self._unwritten = None
        self._slot.is_changed = True

    def _tell(self, kind: str, message: str, cause: Cause, rung: Rung | None = None) -> None:
        held = None if rung is None else rung.held
        fields: Mapping[str, object] = {
            "slot": self._slot.want.slot,
            "model": self._slot.want.model,
            "reason": cause.reason,
            "manifest": cause.manifest,
            "release": None if held is None else held.release,
            "digest": None if held is None else held.digest,
        }
        self._slot.note = (kind, cause.reason, message)
        self._slot.is_changed = True
        self._slot.host.tell(kind, message, fields)
