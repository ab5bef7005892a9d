"""What main keeps about the deployments of a slot: ``slots/SLOT/deployment.json``, ``edge-deployment/1``. Pure.

Who cannot read the file has no deployment: the slot runs what its link ``current`` says, its trial is taken away, and
it is held until an operator lifts that. So nothing is ever guessed, and a key of a later version is an error.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from edge_runtime.control.deployment.deployment import ORIGINS, Deployment, Policy, State
from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import Section, load_object
from edge_runtime.registry.box.report import Held
from edge_runtime.registry.conditions import Gates, parse_gates
from edge_runtime.registry.descriptor import checked_digest
from edge_runtime.registry.statements import APPROVALS, MODES, NUMBER_MAX, REGRESSIONS, parse_stamp, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA: Final = "edge-deployment/1"
FILE: Final = "deployment.json"  # in the directory of the slot
LIMIT_BYTES: Final = 256 << 10

_TRIES_MAX: Final = 101
_SECONDS_MAX: Final = 1e12
_NEVER: Final = datetime.min.replace(tzinfo=UTC)  # stands for a time that could not be read
T = TypeVar("T", bound=str)


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is begun in the slot until somebody lifts it.

    Attributes:
        reason: stable code of the regression, or ``operator``.
        message: why, for people.
        by: who holds it: the name of an operator, or ``box``.
        since: UTC.
    """

    reason: str
    message: str
    by: str
    since: datetime


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """All of the file.

    Attributes:
        deployment: the one under way, or the one that ended last.
        last: the one before it that became the model of the slot; if none did, the one that ended before it.
        hold: of the slot.
    """

    deployment: Deployment | None = None
    last: Deployment | None = None
    hold: Hold | None = None

    def with_deployment(self, deployment: Deployment) -> SlotRecord:
        """Return the record after a step: what ended is remembered, and holds the slot if it says so."""
        before, hold, last = self.deployment, self.hold, self.last
        if before is not None and before.id != deployment.id:
            last = last if _is_settled(last) and not _is_settled(before) else before
        if (
            deployment.holds
            and hold is None
            and not (before is not None and before.id == deployment.id and before.holds)
        ):
            message = deployment.message or "a regression"
            hold = Hold(deployment.reason or "gate", message, "box", deployment.since)
        return SlotRecord(deployment, last, hold)


def _is_settled(one: Deployment | None) -> bool:
    return one is not None and one.state is State.COMMITTED


def dump(record: SlotRecord) -> bytes:
    """Return the bytes of ``record``, always the same for the same value."""
    fields = {
        "schema": SCHEMA,
        "deployment": _fields(record.deployment),
        "last": _fields(record.last),
        "hold": None if record.hold is None else {**asdict(record.hold), "since": stamp(record.hold.since)},
    }
    return json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n"


def parse(raw: bytes, where: str) -> SlotRecord:
    """Return the record in ``raw``.

    Raises:
        DataError: code ``manifest.unreadable`` (not one JSON object), or ``deployment.record`` with all that is wrong.
    """
    problems: list[str] = []
    unknown: list[str] = []
    top = Section(load_object(raw, where, limit_bytes=LIMIT_BYTES), "", problems, unknown)
    found = top.text("schema", required=True)
    if found is not None and found != SCHEMA:
        problems.append(f"schema: expected {SCHEMA!r}, found {found[:80]!r}")
    record = SlotRecord(
        deployment=None if top.get("deployment") is None else _deployment(top.section("deployment")),
        last=None if top.get("last") is None else _deployment(top.section("last")),
        hold=None if top.get("hold") is None else _hold(top.section("hold")),
    )
    top.close()
    problems += [f"{name}: unknown key" for name in unknown]
    if problems:
        text = "; ".join(problems)[:1000]
        raise DataError("deployment.record", f"{where}: not as {SCHEMA} says: {text}", help="it counts as none")
    return record


def _fields(one: Deployment | None) -> dict[str, object] | None:
    if one is None:
        return None
    return {
        "id": one.id,
        "slot": one.slot,
        "model": one.model,
        "candidate": asdict(one.candidate),
        "previous": None if one.previous is None else asdict(one.previous),
        "policy": asdict(one.policy),
        "state": one.state.value,
        "since": stamp(one.since),
        "elapsed_s": round(one.elapsed_s, 3),
        "reason": one.reason,
        "message": one.message,
        "tries_left": one.tries_left,
        "passed": {"vetted": one.vetted, "shadowed": one.shadowed, "canaried": one.canaried},
        "approved": one.approved,
        "judged": one.judged,
        "inspections": list(one.inspections),
        # what is not finite is no JSON, and no evidence either
        "numbers": {name: value for name, value in one.numbers.items() if math.isfinite(value)},
        "progress": one.progress,
        "quarantined": one.quarantined,
        "holds": one.holds,
        "revision": one.revision,
    }


def _deployment(section: Section) -> Deployment:
    passed, numbers = section.section("passed"), section.section("numbers", open_ended=True)
    found = Deployment(
        id=section.text("id", required=True) or "",
        slot=section.text("slot", required=True) or "",
        model=section.text("model", required=True) or "",
        candidate=_held(section.section("candidate")),
        previous=None if section.get("previous") is None else _held(section.section("previous")),
        policy=_policy(section.section("policy")),
        state=State(_choice(section, "state", [one.value for one in State])),
        since=_stamp(section, "since"),
        elapsed_s=_number(section, "elapsed_s", _SECONDS_MAX),
        reason=section.text("reason"),
        message=section.text("message"),
        tries_left=_integer(section, "tries_left", _TRIES_MAX),
        approved=_boolean(section, "approved"),
        vetted=_boolean(passed, "vetted"),
        shadowed=_boolean(passed, "shadowed"),
        canaried=_boolean(passed, "canaried"),
        judged=_boolean(section, "judged"),
        inspections=section.texts("inspections") or (),
        numbers={name: _number(numbers, name, math.inf, -math.inf) for name in numbers.data},
        progress=_number(section, "progress", 1),
        quarantined=_boolean(section, "quarantined"),
        holds=_boolean(section, "holds"),
        revision=_integer(section, "revision", NUMBER_MAX),
    )
    passed.close()
    section.close()
    return found


def _held(section: Section) -> Held:
    found = Held(
        release=_integer(section, "release", NUMBER_MAX),
        version=section.text("version", required=True) or "",
        digest=_digest(section, "digest"),
        manifest=_digest(section, "manifest"),
    )
    section.close()
    return found


def _policy(section: Section) -> Policy:
    gates = Gates()
    try:
        gates = parse_gates(section.mapping("gates"))
    except DataError as error:
        section.problems.append(f"{section.path}{error.message}")
    found = Policy(
        mode=_choice(section, "mode", MODES),
        gates=gates,
        window=section.text("window"),
        between_lots=_boolean(section, "between_lots"),
        approve=_choice(section, "approve", APPROVALS),
        bake_s=_number(section, "bake_s", _SECONDS_MAX),
        on_regression=_choice(section, "on_regression", REGRESSIONS),
        seq=_integer(section, "seq", NUMBER_MAX),
        origin=_choice(section, "origin", ORIGINS),
        back=section.boolean("back") or False,
    )
    section.close()
    return found


def _hold(section: Section) -> Hold:
    found = Hold(
        reason=section.text("reason", required=True) or "",
        message=section.text("message", required=True) or "",
        by=section.text("by", required=True) or "",
        since=_stamp(section, "since"),
    )
    section.close()
    return found


# Everything is there in what `dump` wrote: what is not, is wrong, and something stands in its place until that is said.


def _choice(section: Section, key: str, allowed: Sequence[T]) -> T:
    found = section.choice(key, allowed)
    if found is None and section.data.get(key) is None:
        section.wrong(key, "one of " + ", ".join(allowed), None)
    return next((one for one in allowed if one == found), allowed[0])


def _integer(section: Section, key: str, high: int) -> int:
    if section.get(key) is None:
        section.wrong(key, f"a whole number from 0 to {high}", None)
    return section.integer(key, 0, high) or 0


def _number(section: Section, key: str, high: float, low: float = 0) -> float:
    if section.get(key) is None:
        section.wrong(key, "a number", None)
    found = section.number(key, low, high)
    return 0.0 if found is None else found


def _boolean(section: Section, key: str) -> bool:
    if section.get(key) is None:
        section.wrong(key, "true or false", None)
    return section.boolean(key) or False


def _stamp(section: Section, key: str) -> datetime:
    value = section.get(key)
    found = parse_stamp(value)
    if found is None:
        section.wrong(key, "a time like 2026-01-31T12:00:00Z", value)
    return found or _NEVER


def _digest(section: Section, key: str) -> str:
    try:
        return checked_digest(section.get(key), f"{section.path}{key}")
    except DataError as error:
        section.problems.append(error.message)
        return ""
