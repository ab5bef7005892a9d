"""What the disk says about the deployments of slots, for verbs that look on; nothing is changed or set aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from edge_runtime.app.lots_file import LotsFile
from edge_runtime.app.release_news import deployment_info
from edge_runtime.control.deployment import record
from edge_runtime.control.deployment.deployment import State
from edge_runtime.control.deployment.going import sentence
from edge_runtime.core.errors import DataError, StorageError
from edge_runtime.registry.box.shelf import held_as
from edge_runtime.registry.statements import stamp
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.system.files import read_limited

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_runtime.app.lots_file import Lot
    from edge_runtime.control.deployment.deployment import Deployment
    from edge_runtime.registry.box.report import Held

_WAYS: Final = {
    "wait.hold": "lift it: edge-runtime command model.hold {slot} --arg hold=false --sign KEYFILE",
    "wait.pause": "at the publisher: edge-runtime registry rollout resume",
    "wait.approval": "agree: edge-runtime command model.approve {slot} --sign KEYFILE",
    "wait.lot": "between two lots: edge-runtime command lot --arg state=between",
}


@dataclass(frozen=True, slots=True)
class Deployed:
    """One slot.

    Attributes:
        slot: its name.
        known: its record; empty when there is none.
        damage: why the record cannot be read, ``None`` when it can.
        trial: the release that is tried.
        lot: what was said about lots last.
        is_left: what was committed last is not what the slot runs any more.
    """

    slot: str
    known: record.SlotRecord
    damage: str | None
    trial: Held | None
    lot: Lot | None
    is_left: bool = False

    def as_fields(self) -> dict[str, Any]:
        """Return JSON values."""
        hold, lot, trial = self.known.hold, self.lot, self.trial
        return {
            "deployment": deployment_info(self.known.deployment),
            "hold": None
            if hold is None
            else {"reason": hold.reason, "message": hold.message, "by": hold.by, "since": stamp(hold.since)},
            "trial": None if trial is None else {"release": trial.release, "version": trial.version},
            "lot": None if lot is None else {"running": lot.running, "lotId": lot.lot_id, "at": lot.at},
            "damage": self.damage,
        }

    def lines(self, live: Mapping[str, Any] | None = None) -> list[str]:
        """Return lines for people, none where there never was a deployment; ``live``: what the daemon says of it."""
        hold, lot = self.known.hold, self.lot
        found = [] if self.damage is None else [f"its record is damaged: {self.damage}"]
        if self.known.deployment is not None:
            left = "; the slot runs something else since" if self.is_left else ""
            found.append(_line(self.known.deployment, live or {}) + left)
            found += [] if _is_newer(live or {}, self.known.deployment) else self._next()
        if hold is not None:
            found.append(f"HELD by {hold.by} since {hold.since:%Y-%m-%d %H:%M} UTC: {hold.message}")
            found.append(_WAYS["wait.hold"].format(slot=self.slot))
        if lot is not None:
            name = f"lot {lot.lot_id}" if lot.lot_id else "a lot"
            found.append(f"{name} is running" if lot.running else f"between lots ({name} ended)")
        return found

    def _next(self) -> list[str]:
        """Say what somebody can do about a deployment that does not go on by itself, or may be taken back."""
        one = self.known.deployment
        if one is None:
            return []
        if one.state is State.WAITING and one.reason in _WAYS:
            unsaid = "; nobody has said yet whether a lot is running" if self.lot is None else ""
            return [_WAYS[one.reason].format(slot=one.slot) + (unsaid if one.reason == "wait.lot" else "")]
        if one.state.is_judging:
            back, left = one.policy.back, one.previous
            how = f"activate {one.slot} --release {left.release}" if back and left else f"rollback {one.slot}"
            return [f"take it back: edge-runtime models {how}"]
        if one.state in (State.REJECTED, State.ROLLED_BACK):
            again = "; it is not tried again by itself before a newer rollout" if one.quarantined else ""
            return [f"what judged before it judges on{again}"]
        return []


def deployed(state_dir: Path, root: Path, slot: str) -> Deployed:
    """Return what is known of a slot.

    Args:
        state_dir: of the daemon.
        root: directory of the releases.
        slot: its name.

    Raises:
        PermissionDeniedError, StorageError: the disk does not say where the links lead.
    """
    store, damage = ModelStore(root), None
    path = store.slots.directory / slot / record.FILE
    known = record.SlotRecord()
    try:
        known = record.parse(read_limited(path, record.LIMIT_BYTES), str(path))
    except FileNotFoundError:
        pass
    except (DataError, StorageError) as error:
        damage = error.message
    links = store.slots.links(slot)
    trial, one = links.trial, known.deployment
    return Deployed(
        slot,
        known,
        damage,
        None if trial is None else held_as(store.releases.find(trial)),
        LotsFile(state_dir, looks_on=True).of(slot),
        one is not None and one.state is State.COMMITTED and links.current != one.candidate.manifest,
    )


def _line(one: Deployment, live: Mapping[str, Any]) -> str:
    said = live.get("progress")
    if _is_newer(live, one):
        because = f": {live['message']}" if live.get("message") else ""
        release = f"release {live.get('release')} of {one.model}"
        return f"{live.get('state')}, which is not on the disk yet: slot {one.slot}: {release}{because}"
    share = said if isinstance(said, float) else one.progress
    percent = f" ({share:.0%})" if share and not one.state.is_over else ""
    return f"{one.state.value}{percent} since {one.since:%Y-%m-%d %H:%M:%S} UTC: {sentence(one)}"


def _is_newer(live: Mapping[str, Any], one: Deployment) -> bool:
    """Tell whether the daemon has gone on since the disk took something."""
    since = live.get("since")
    return isinstance(since, str) and datetime.fromisoformat(since) > one.since
