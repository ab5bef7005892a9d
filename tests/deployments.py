"""Deployments for tests: releases, offers, moments, and a box that carries commands out on a modelled disk and line."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

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
from edge_runtime.control.deployment.deployment import Conditions, Deployment, Links, Now, Policy, State
from edge_runtime.control.deployment.events import (
    Banned,
    ConditionsChanged,
    LineEnded,
    LineStarted,
    Offered,
    StandbyLost,
    Stored,
    StoreRefused,
)
from edge_runtime.control.deployment.machine import resume, step
from edge_runtime.control.deployment.record import SlotRecord, dump, parse
from edge_runtime.registry.box.report import Held
from edge_runtime.registry.store.slots import SlotLinks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.control.deployment.commands import Command
    from edge_runtime.control.deployment.events import Event

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
GO = Conditions(window_open=True, between_lots=True, approved=False, held=False, paused=False)
TWO = ("left", "right")


def held(number: int) -> Held:
    """Return a release."""
    return Held(number, f"1.{number}", f"sha256:{number:064x}", f"sha256:{number + 1000:064x}")


OLD, NEW, NEWER = held(1), held(2), held(3)


def moment(seconds: float) -> Now:
    """Return the moment so many seconds after a start."""
    return Now(int(seconds * 1e9), START + timedelta(seconds=int(seconds)))


def offer(candidate: Held = NEW, policy: Policy | None = None, **other: object) -> Offered:
    """Return an offer to a slot that runs `OLD`, ready to go."""
    fields = {
        "id": f"deploy-{candidate.release}",
        "slot": "weld",
        "model": "weld-seam",
        "candidate": candidate,
        "previous": OLD,
        "policy": policy or Policy(seq=7),
        "inspections": TWO,
        "line": True,
        "conditions": GO,
    }
    return Offered(**{**fields, **other})  # type: ignore[arg-type] # the fields of a test


class KilledError(Exception):
    """The process is gone."""


@dataclass
class Disk:
    """What outlives a process: links, the record, the quarantine."""

    current: str | None = OLD.manifest
    previous: str | None = None
    trial: str | None = None
    record: bytes = field(default_factory=lambda: dump(SlotRecord()))
    quarantine: dict[str, int] = field(default_factory=dict)
    good_writes: int | None = None  # from then on it refuses; None = never

    def write(self) -> None:
        """Count a write.

        Raises:
            OSError: the disk refuses.
        """
        if self.good_writes is not None:
            if self.good_writes == 0:
                raise OSError(28, "no space")
            self.good_writes -= 1


@dataclass
class Line:
    """What a line does for the slot."""

    current: str | None
    standby: str | None = None  # manifest that is loaded or being loaded beside
    ready: bool = False
    vetting: bool = False
    shadow: bool = False
    judging: tuple[str, ...] | None = ()  # inspections of the standby, None = all


class Box:
    """A driver as `commands` describes one, which can be killed between any two writes or commands.

    It fails a test as soon as something is commanded that must not be.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        """Begin with a line that runs `OLD`."""
        self.disk = Disk()
        self.policy = policy or Policy(seq=7, bake_s=5.0)
        self.deployment: Deployment | None = None
        self.slot = SlotRecord()
        self.line: Line | None = Line(OLD.manifest)
        self.seconds = 0.0
        self.conditions = GO
        self.banned: set[str] = set()
        self.passed: set[str] = set()  # ids whose probation passed
        self.strikes: dict[str, int] = {}
        self.told: list[Tell] = []
        self.steps_left: int | None = None  # until the process is killed

    # --- what happens

    def put(self, event: Event) -> bool:
        """Take an event and all that follows; False if the process was killed at it and has started anew."""
        try:
            self._put(event)
            self._tidied()
        except KilledError:
            self.start()
            return False
        return True

    def start(self) -> None:
        """Start the process anew, and a line."""
        before, line = self.deployment, self.line
        if before is not None and line is not None and before.state.has_begun and (line.vetting or line.standby):
            self._count(before.id)
        self.steps_left, self.line, self.seconds = None, None, self.seconds + 1
        self.slot = parse(self.disk.record, "record")
        self.deployment = self.slot.deployment
        found = self.deployment
        if found is not None:
            links = SlotLinks(self.disk.current, self.disk.previous, self.disk.trial)
            self.deployment, commands = resume(found, links, moment(self.seconds))
            self._carry_out(commands)
        one = self.deployment
        if not self._tidied() and one is not None and one.candidate.manifest in self.banned:
            self._put(Banned("release.revoked", "revoked"))
        self._put(ConditionsChanged(self.conditions))
        self._start_line(self.disk.current)

    def reload(self, *, early: bool) -> None:
        """End the line and start one; ``early``: what it runs was read before the end."""
        current = self.disk.current
        if self._end_line():
            self._start_line(current if early else self.disk.current)

    def lose_standby(self) -> None:
        """Let the process of the standby die; the line starts it again."""
        line = self.line
        assert line is not None
        line.ready, line.judging = False, ()
        before = self.deployment
        assert before is not None
        if self.put(StandbyLost("the engine is gone")):
            self._count(before.id)

    # --- what is commanded

    def _tidied(self) -> bool:
        """Take a trial away that is nobody's; False if one is under way."""
        if self.deployment is not None and not self.deployment.is_done:
            return False
        with contextlib.suppress(OSError):
            if self.disk.trial is not None:
                self.disk.write()
            self.disk.trial = None
        return True

    def _end_line(self) -> bool:
        self.line = None
        return self.put(LineEnded())

    def _start_line(self, current: str | None) -> None:
        self.line = Line(current)
        self.put(LineStarted(TWO, current))

    def _put(self, event: Event) -> None:
        self.deployment, commands = step(self.deployment, event, moment(self.seconds))
        self._carry_out(commands)

    def _carry_out(self, commands: tuple[Command, ...]) -> None:
        answers: list[Event] = []
        for command in commands:
            self._step()
            match command:
                case Store():
                    answers.append(self._store(command.deployment))
                case Tell():
                    self.told.append(command)
                    self.slot = self.slot.with_deployment(command.deployment)
                case _ if self.line is not None:
                    self._to_line(self.line, command)
        for answer in answers:
            self._put(answer)

    def _store(self, one: Deployment) -> Event:
        assert one == self.deployment, "what is stored is what is"
        self.slot = self.slot.with_deployment(one)
        try:
            for _ in self._writes(one):
                self._step()
        except OSError as error:
            return StoreRefused(one.revision, str(error))
        return Stored(one.revision)

    def _writes(self, one: Deployment) -> Iterator[None]:
        disk, candidate = self.disk, one.candidate.manifest
        if one.quarantined:
            disk.write()
            disk.quarantine[candidate] = one.policy.seq
            yield
        if one.links is Links.COMMIT:
            assert one.id in self.passed, "current moves only after probation"
            if disk.current != candidate:
                disk.write()
                disk.previous = disk.current
                yield
                disk.write()
                disk.current = candidate
                yield
            disk.write()
            disk.trial = None
            yield
        else:
            if disk.current == candidate:
                disk.write()
                disk.current = None if one.previous is None else one.previous.manifest
                yield
            disk.write()
            disk.trial = candidate if one.links is Links.TRIAL else None
            yield
        disk.write()
        disk.record = dump(self.slot)
        yield

    def _to_line(self, line: Line, command: Command) -> None:
        one = self.deployment
        assert one is not None
        candidate = one.candidate.manifest
        match command:
            case Vet():
                line.vetting = True
            case StandBy():
                assert line.standby is None, "one standby at a time"
                line.standby, line.ready = candidate, False
            case Shadow():
                assert line.ready
                line.shadow = command.on
            case SwitchTo():
                self._may_judge(one)
                assert line.ready
                line.judging = command.inspections
            case SwitchBack():
                line.judging = ()
            case Settle():
                assert line.judging is None, "what is settled has judged all"
                line.current, line.standby, line.ready, line.judging = line.standby, None, False, ()
            case Dismiss():
                line.standby, line.ready, line.vetting, line.shadow, line.judging = None, False, False, False, ()

    def _may_judge(self, one: Deployment) -> None:
        stored = parse(self.disk.record, "record").deployment
        assert stored is not None
        assert stored.state.is_judging
        assert (stored.id, stored.tries_left, self.disk.trial) == (one.id, one.tries_left, one.candidate.manifest)
        assert one.candidate.manifest not in self.banned

    def _count(self, deployment: str) -> None:
        self.strikes[deployment] = self.strikes.get(deployment, 0) + 1

    def _step(self) -> None:
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise KilledError


def at(state: State, **fields: object) -> Deployment:
    """Return a deployment as it stands in the middle of ``state``, with everything stored."""
    begun, _ = step(None, offer(), moment(0))
    assert begun is not None
    passed = {"vetted": True} if state is not State.VETTING else {}
    usual = {"state": state, "begun": True, "awaited": None, "judged": state.is_judging, **passed}
    return replace(begun, **{**usual, **fields})  # type: ignore[arg-type] # the fields of a test
