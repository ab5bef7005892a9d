"""Which release a slot of this box should run, and if not, why not. Pure.

A rollout chooses among releases that somebody else signed; the box has the last word: what was banned, what is for
other hardware or needs newer libraries is not taken whatever a rollout says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.registry.conditions import check
from edge_runtime.registry.statements import KEYS_OF_MATCH, STABLE, Assignment, Match, Release, Rollout, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from edge_runtime.core.errors import EdgeError
    from edge_runtime.registry.trust.floors import Floors
    from edge_runtime.registry.trust.trusted import SignedRelease, Trusted

_STEPS: Final = 10_000  # of a percentage: 0.01 each

_NUMBERS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})*")


@dataclass(frozen=True, slots=True)
class BoxFacts:
    """What a rollout can ask of a box.

    Attributes:
        site: name of the plant; ``line`` and ``edge`` = of the line and of the box in it.
        labels: from the configuration.
        hardware: all names that this box answers to, see ``hardware`` of a release.
        versions: of installed libraries by name, as ``requires`` of a release names them; others are not there.
    """

    site: str
    line: str
    edge: str
    labels: Mapping[str, str] = field(default_factory=dict)
    hardware: frozenset[str] = frozenset()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The box among all boxes."""
        return f"{self.site}/{self.line}/{self.edge}"


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """What a rollout can ask of a slot.

    Attributes:
        slot: its name in the configuration of the box.
        model: which model it wants releases of.
        channel: which of the rollout's channels it follows.
        cameras: whose pictures it judges.
    """

    slot: str
    model: str
    channel: str = STABLE
    cameras: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Take:
    """Run this release, in the way the assignment says, because of the rollout with this sequence number."""

    release: SignedRelease
    assignment: Assignment
    seq: int


@dataclass(frozen=True, slots=True)
class Keep:
    """Stay with what runs; nothing is wrong.

    Attributes:
        reason: ``rollout.none`` (the site has none), ``rollout.paused``, or ``rollout.no_match``.
        message: the same for people, and what to compare when it was not meant to be so.
    """

    reason: str
    message: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Stay with what runs, although a rollout wants something else; somebody should look at it.

    Attributes:
        error: why; its ``code`` begins with ``rollout.`` or ``trust.`` when the rollout itself is not believed, and
            with ``release.`` or ``registry.`` when it is what the rollout names.
    """

    error: EdgeError


Decision = Take | Keep | Refused


def decide(trusted: Trusted, box: BoxFacts, slot: SlotFacts, now: datetime) -> Decision:
    """Return what ``slot`` of ``box`` should run.

    Args:
        trusted: of the last refresh.
        box: which box.
        slot: which slot.
        now: what the clock says, UTC; the later one of it and the time floor counts.
    """
    if trusted.rollout_problem is not None:
        return Refused(trusted.rollout_problem)
    rollout = trusted.rollout
    if rollout is None:
        message = f"the registry has no rollout for the site {box.site}"
        return Keep("rollout.none", f"{message}; compare site: here with edge-runtime registry rollout show")
    if max(now, trusted.checked) >= rollout.expires:
        message = f"rollout {rollout.seq} of {rollout.site} expired at {stamp(rollout.expires)}"
        return Refused(
            DataError("rollout.expired", message, help="sign a newer one: edge-runtime registry rollout set")
        )
    if rollout.pause:
        return Keep("rollout.paused", f"rollout {rollout.seq} of {rollout.site} is paused")
    for assignment in rollout.assignments:
        if assignment.model == slot.model and matches(assignment.match, box, slot) and is_chosen(assignment, box.name):
            return _take(trusted, rollout, assignment, box)
    return Keep("rollout.no_match", _no_match(rollout, box, slot))


def _no_match(rollout: Rollout, box: BoxFacts, slot: SlotFacts) -> str:
    """Return why no assignment is for a slot, and what to compare."""
    named = sorted({one.model for one in rollout.assignments})
    name, show = f"rollout {rollout.seq} of {rollout.site}", "edge-runtime registry rollout show"
    if slot.model not in named:
        others = ", ".join(named)[:200] or "nothing"
        return f"{name} names no release of {slot.model}, only of {others}; compare release: here with {show}"
    where = f"slot {slot.slot} of {box.name}"
    return f"{name} has {slot.model} for others than {where}; compare line, edge, channel and labels here with {show}"


def matches(match: Match, box: BoxFacts, slot: SlotFacts) -> bool:
    """Tell whether an assignment with this ``match`` is for ``slot`` of ``box``, whatever model it wants."""
    found = {
        "line": {box.line},
        "edge": {box.edge},
        "camera": slot.cameras,
        "slot": {slot.slot},
        "channel": {slot.channel},
    }
    return all(
        not (wanted := getattr(match, key)) or not found[key].isdisjoint(wanted) for key in KEYS_OF_MATCH
    ) and all(box.labels.get(key) in values for key, values in match.labels.items())


def is_chosen(assignment: Assignment, box: str) -> bool:
    """Tell whether ``box`` (``site/line/edge``) is among the percent of an assignment.

    A box that is among 10 percent is among 25, too. Another salt, model or release chooses other boxes.
    """
    text = f"{assignment.salt}|{assignment.model}|{assignment.release}|{box}"
    return int(sha256(text.encode()).hexdigest()[:8], 16) % _STEPS < assignment.percent * 100


def ban(floors: Floors, rollout: Rollout | None, release: int, model: str, manifest: str) -> DataError | None:
    """Return why a release may not run here, whoever wants it: a rollout, an operator, or a fallback to an older one.

    Args:
        floors: those of the box.
        rollout: of its site.
        release: its number, of ``model``.
        model: its name.
        manifest: digest of its OCI manifest.

    Returns:
        An error with the code ``release.floored``, ``release.revoked`` or ``release.killed``; ``None`` = it may run.
    """
    name, floor = f"release {release} of {model}", floors.models.of(model)
    banned = floor.bans(release, manifest)
    if banned == "floored":
        message = f"{name} is below {floor.min_release}, the least that its publisher allows"
        return DataError("release.floored", message, help="roll out a newer release")
    if banned == "revoked":
        return DataError("release.revoked", f"{name} was revoked by its publisher", help="roll out another release")
    if rollout is not None and manifest in rollout.kill:
        message = f"{name} was killed by rollout {rollout.seq} of {rollout.site}"
        return DataError("release.killed", message, help="roll out another release")
    return None


def unfit(release: Release, box: BoxFacts) -> DataError | None:
    """Return why a release cannot run on ``box``: ``release.hardware`` or ``release.requires``; ``None`` = it can."""
    name = f"release {release.release} of {release.model}"
    if release.hardware and box.hardware.isdisjoint(release.hardware):
        found = ", ".join(sorted(box.hardware)) or "no name"
        message = f"{name} is for {', '.join(release.hardware)}, this box is {found}"
        return DataError("release.hardware", message, help="roll out a release for this hardware")
    unmet = [
        f"{library} {least} or later, found {box.versions.get(library, 'none')}"
        for library, least in sorted(release.requires.items())
        if not reaches(box.versions.get(library), least)
    ]
    if unmet:
        message = f"{name} needs {'; '.join(unmet)}"
        return DataError("release.requires", message, help="update the runtime of this box first")
    return None


def reaches(version: str | None, least: str) -> bool:
    """Tell whether ``version`` is ``least`` or later, by the numbers it begins with: 1.24.1+cpu reaches 1.24."""
    found = None if version is None else _NUMBERS.match(version)
    if found is None:
        return False
    pairs = zip_longest(map(int, found[0].split(".")), map(int, least.split(".")), fillvalue=0)
    return next((mine > other for mine, other in pairs if mine != other), True)


def _take(trusted: Trusted, rollout: Rollout, assignment: Assignment, box: BoxFacts) -> Decision:
    try:
        check(assignment)
        signed = trusted.release(assignment.model, assignment.release)
    except DataError as error:
        return Refused(error)
    problem = ban(trusted.floors, rollout, assignment.release, assignment.model, signed.manifest.digest) or unfit(
        signed.release, box
    )
    return Take(signed, assignment, rollout.seq) if problem is None else Refused(problem)
