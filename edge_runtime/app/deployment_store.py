"""What is durable about deployments: the record of each slot, its links, the quarantine; and the bytes of a release.

Written by main alone, in its own thread for it (`app.deployment_service`), under the short lock of the slots. kill -9
between any two steps leaves a slot on its old or its new release, and `control.deployment.machine.resume` finds out
which.
"""

from __future__ import annotations

import errno
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge_runtime.app.plan import Released
from edge_runtime.control.deployment import record
from edge_runtime.control.deployment.deployment import Links
from edge_runtime.control.deployment.record import Hold, SlotRecord
from edge_runtime.core.errors import DataError, EdgeError, StorageError
from edge_runtime.registry.box.shelf import held_as
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.system.files import make_directory, move_aside, read_limited, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.control.deployment.deployment import Deployment
    from edge_runtime.registry.box.report import Held
    from edge_runtime.registry.store.slots import SlotLinks

logger = logging.getLogger(__name__)

DAMAGED: Final = "damaged"
_DAMAGE: Final = frozenset({errno.EIO, errno.EISDIR, errno.ELOOP})  # the next attempt would find the same


class DeploymentStore:
    """See the module docstring. One thread."""

    def __init__(self, root: Path) -> None:
        """Use the store of models at ``root``; nothing is touched yet."""
        self.store = ModelStore(root)
        self._held: dict[str, Held] = {}  # by digest of the manifest: what it says never changes

    def load(self, slot: str) -> SlotRecord:
        """Return what is known about the deployments of a slot; one that cannot be read is set aside.

        What it costs then is the knowledge of a trial: the slot runs its current release, as its link says. Somebody
        may have held it, so it is held until an operator lifts that.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses to tell.
        """
        path = self._path(slot)
        try:
            return record.parse(read_limited(path, record.LIMIT_BYTES), str(path))
        except FileNotFoundError:
            return SlotRecord()
        except (DataError, StorageError) as error:
            if not _is_damage(error):
                raise
            logger.error("slot %s: %s; it runs its current release", slot, error)  # noqa: TRY400 - no bug of ours
            move_aside(path, DAMAGED)
            message = f"what was known about it could not be read ({error.code}): somebody may have held it"
            now = datetime.now(UTC).replace(microsecond=0)
            held = SlotRecord(hold=Hold("deployment.record", message, "box", now))
            self._write(slot, held)
            return held

    def running(self, slot: str, model: str) -> Released | None:
        """Return the current release of a slot, and the rollout by which it came; ``None`` = it has none.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses to tell.
        """
        held = self.held(self.store.slots.links(slot).current, model)
        if held is None:
            return None
        try:
            known = self.load(slot)
        except EdgeError as error:  # by which rollout it came is worth less than that the line runs
            logger.warning("slot %s: its record cannot be read: %s", slot, error)
            known = SlotRecord()
        seqs = [one.policy.seq for one in (known.deployment, known.last) if one is not None and one.candidate == held]
        return Released(str(self.store.releases.path(held.manifest)), held.digest, held.release, next(iter(seqs), None))

    def save(self, slot: str, wanted: SlotRecord, deployment: Deployment) -> None:
        """Make a deployment durable: quarantine, links and record, in the order of `commands.Store`.

        Raises:
            EdgeError: the disk refuses, or somebody holds the lock; what was done so far is done.
        """
        slots = self.store.slots
        with slots.changing():
            if deployment.quarantined:
                reason = f"{deployment.reason}: {deployment.message}"
                self.store.quarantine.add(deployment.candidate.manifest, reason, deployment.policy.seq)
            match deployment.links:
                case Links.COMMIT:
                    slots.activate(slot, deployment.candidate.manifest, back=deployment.policy.back)
                case Links.TRIAL:
                    self._restore(slot, deployment)
                    slots.try_out(slot, deployment.candidate.manifest)
                case Links.OLD:
                    self._restore(slot, deployment)
                    slots.try_out(slot, None)
            self._write(slot, wanted)

    def tidy(self, slot: str) -> None:
        """Take away a trial that is nobody's: no deployment of the slot is under way.

        Raises:
            EdgeError: the disk refuses, or somebody holds the lock.
        """
        if self.links(slot).trial is not None:
            with self.store.slots.changing():
                self.store.slots.try_out(slot, None)

    def is_refused(self, deployment: Deployment) -> bool:
        """Tell whether a deployment that is under way has failed already, and only its end was not written.

        Raises:
            PermissionDeniedError, StorageError: it cannot be told.
        """
        found = self.store.quarantine.refusal(deployment.candidate.manifest, deployment.policy.seq)
        return found is not None and deployment.policy.origin == "rollout"

    def write(self, slot: str, wanted: SlotRecord) -> None:
        """Make the record of a slot durable; no link is changed.

        Raises:
            EdgeError: the disk refuses, or somebody holds the lock.
        """
        with self.store.slots.changing():
            self._write(slot, wanted)

    def held(self, digest: str | None, model: str | None = None) -> Held | None:
        """Return a release that is on the disk; ``None`` when it is not, or not of ``model``.

        Raises:
            PermissionDeniedError, StorageError: it cannot be told.
        """
        if digest is None:
            return None
        if digest not in self._held:
            found = held_as(self.store.releases.find(digest), model)
            if found is None:
                return None
            self._held[digest] = found
        return self._held[digest]

    def verified(self, held: Held) -> Path:
        """Return where a release lies, after hashing every byte of it: it is about to be loaded.

        Raises:
            DataError: code ``release.not_here`` or ``store.damaged``; what is damaged is taken out of use.
            PermissionDeniedError, StorageError: the disk refuses.
        """
        stored = self.store.releases.find(held.manifest)
        if stored is None:
            self._held.pop(held.manifest, None)
            raise DataError("release.not_here", f"release {held.release} is not whole on this box any more")
        try:
            self.store.releases.verify(stored)
        except EdgeError:
            self._held.pop(held.manifest, None)
            raise
        return stored.directory

    def path(self, held: Held) -> Path:
        """Return where a release lies, or would."""
        return self.store.releases.path(held.manifest)

    def links(self, slot: str) -> SlotLinks:
        """Return what a slot points to.

        Raises:
            PermissionDeniedError, StorageError: it cannot be told.
        """
        return self.store.slots.links(slot)

    def current(self, slot: str) -> str | None:
        """Return the manifest of what a slot runs; ``None`` = nothing, or it cannot be told."""
        try:
            return self.links(slot).current
        except EdgeError as error:  # what a line runs is worth less than to know that there is one
            logger.warning("slot %s: it cannot be told what it runs: %s", slot, error)
            return None

    def _restore(self, slot: str, deployment: Deployment) -> None:
        """Undo a commit of which only the links are known."""
        slots, links = self.store.slots, self.store.slots.links(slot)
        if links.current != deployment.candidate.manifest:
            return
        if deployment.previous is None:
            slots.vacate(slot)
        elif links.previous == deployment.previous.manifest:
            slots.roll_back(slot)
        else:
            slots.activate(slot, deployment.previous.manifest, back=True)  # the candidate failed

    def _write(self, slot: str, wanted: SlotRecord) -> None:
        path = self._path(slot)
        make_directory(path.parent)
        write_atomic(path, record.dump(wanted))

    def _path(self, slot: str) -> Path:
        return self.store.slots.directory / slot / record.FILE


def _is_damage(error: DataError | StorageError) -> bool:
    """Tell whether a record is lost, and not only out of reach at the moment."""
    cause = error.__cause__
    return isinstance(error, DataError) or (isinstance(cause, OSError) and cause.errno in _DAMAGE)
