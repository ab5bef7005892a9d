"""What is said about a look at the registry: events for what changed, a document for each slot. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Final

from edge_runtime.publish.payload import timestamp
from edge_runtime.registry.box.report import Contact, Report, SlotReport, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.control.deployment.deployment import Deployment
    from edge_runtime.publish.contract.model import DeploymentInfo, ModelFields, RegistryState, ReleaseInfo
    from edge_runtime.registry.box.report import Held

_TOLD: Final = {
    Standing.STAGED: ("model.staged", "waits to be activated"),
    Standing.REFUSED: ("model.refused", "is refused"),
}


@dataclass(frozen=True, slots=True)
class News:
    """One event: its kind, a sentence, details."""

    kind: str
    message: str
    fields: dict[str, object]


def news(before: Report | None, now: Report) -> Iterator[News]:
    """Yield what is new in ``now``; ``before`` is the report before it, ``None`` for the first."""
    if before is None or (before.contact, before.reason) != (now.contact, now.reason):
        yield from _contact(before, now)
    known = {one.slot: one for one in before.slots} if before is not None else {}
    for slot in now.slots:
        yield from _slot(known.get(slot.slot), slot)


def _contact(before: Report | None, now: Report) -> Iterator[News]:
    if now.contact is not Contact.OK:
        text = now.message or "it says nothing that can be used"
        yield News(f"registry.{now.contact.value}", f"registry: {text}", {"reason": now.reason})
    elif before is not None:
        yield News("registry.ok", "the registry answers again and is believed", {})


def _slot(before: SlotReport | None, now: SlotReport) -> Iterator[News]:
    fields: dict[str, object] = {"slot": now.slot, "model": now.model, "release": now.wanted, "seq": now.seq}
    if (before is None or before.current != now.current) and now.current is not None:
        text = f"slot {now.slot} has release {now.current.release} of {now.model} ({now.current.version})"
        yield News("model.current", text, fields | {"release": now.current.release, "digest": now.current.digest})
    if now.mended:
        yield News("model.mended", f"slot {now.slot}: its release was damaged on the disk and is whole again", fields)
    if now.revoked and not (before is not None and before.revoked):
        text = f"slot {now.slot} runs a release of {now.model} that was revoked: activate another one, or stop the line"
        held = now.current
        more = {} if held is None else {"release": held.release, "digest": held.digest, "manifest": held.manifest}
        yield News("model.revoked", text, fields | more)
    if now.standing in _TOLD and (
        before is None or (before.standing, before.reason, before.wanted) != (now.standing, now.reason, now.wanted)
    ):
        kind, what = _TOLD[now.standing]
        because = f": {now.message}" if now.message else ""
        name = "what is rolled out" if now.wanted is None else f"release {now.wanted} of {now.model}"
        text = f"slot {now.slot}: {name} {what}{because}"
        yield News(kind, text, fields | {"reason": now.reason})


def document(slot: SlotReport, registry: RegistryState, deployment: DeploymentInfo | None) -> ModelFields:
    """Return the retained document of a slot."""
    return {
        "slot": slot.slot,
        "model": slot.model,
        "channel": slot.channel,
        "state": slot.standing.value,
        "reason": slot.reason,
        "message": slot.message,
        "seq": slot.seq,
        "wanted": slot.wanted,
        "current": _held(slot.current),
        "staged": _held(slot.staged),
        "previous": _held(slot.previous),
        "revoked": slot.revoked,
        "deployment": deployment,
        "registry": registry,
    }


def deployment_info(one: Deployment | None) -> DeploymentInfo | None:
    """Return what is said about a deployment; ``None`` for a slot that never had one."""
    if one is None:
        return None
    return {
        "id": one.id,
        "release": one.candidate.release,
        "version": one.candidate.version,
        "digest": one.candidate.digest,
        "seq": one.policy.seq,
        "origin": one.policy.origin,
        "state": one.state.value,
        "since": timestamp(int(one.since.timestamp()) * 1_000_000_000),
        "reason": one.reason,
        "message": one.message,
        "progress": int(one.progress * 20) / 20,
        "gates": {name: round(value, 4) for name, value in one.numbers.items() if isfinite(value)},
        "triesLeft": one.tries_left,
    }


def _held(held: Held | None) -> ReleaseInfo | None:
    if held is None:
        return None
    return {
        "release": held.release,
        "version": held.version,
        "digest": held.digest,
        "manifest": held.manifest,
    }
