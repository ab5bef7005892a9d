"""Brings one release to the box: admit, fetch, verify, stage; and says what became of it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, EdgeError, UnavailableError
from edge_runtime.registry.box.countersign import NOT_COUNTERSIGNED, bundle_of, read_publisher_keys
from edge_runtime.registry.box.order import Want
from edge_runtime.registry.box.report import Standing
from edge_runtime.registry.box.shelf import facts_of, held_as, is_vacant, on_disk
from edge_runtime.registry.box.sources import openers
from edge_runtime.registry.download import Downloader, Limits
from edge_runtime.registry.package.modelpack import MANIFEST_BYTES_MAX, parse_manifest
from edge_runtime.registry.package.unpack import check_contents, described_in
from edge_runtime.registry.store.garbage import Room, collect
from edge_runtime.registry.trust.sigstore import BUNDLE_BYTES_MAX, verify_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from edge_runtime.registry.box.order import Order
    from edge_runtime.registry.box.report import SlotReport
    from edge_runtime.registry.descriptor import Descriptor
    from edge_runtime.registry.package.modelpack import Artifact
    from edge_runtime.registry.store.releases import StoredRelease
    from edge_runtime.registry.store.store import ModelStore
    from edge_runtime.registry.trust.decide import Take
    from edge_runtime.registry.trust.trusted import SignedRelease, Trusted
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

_CONTENTS_BYTES_MAX: Final = 8 << 20
OPERATOR: Final = "operator"  # of an assignment: somebody at the box says when
_OF_THIS_BOX: Final = frozenset({"registry.quota", "package.quota", NOT_COUNTERSIGNED})  # a setting here may lift it


class _RefusedError(Exception):
    """The release itself is wrong: whoever serves it, it is the same."""

    def __init__(self, error: DataError) -> None:
        super().__init__(str(error))
        self.error = error


class Taking:
    """What `Pull` takes for the slots of one look; the lock of the store is held."""

    def __init__(
        self,
        order: Order,
        store: ModelStore,
        stop: Stop,
        clock: Clock,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        """Take nothing yet."""
        self._order = order
        self._store = store
        self._clock = clock
        self._room = Room(quota_bytes=order.quota_bytes)
        limits = Limits(room=self._room)
        self._downloader = Downloader(
            store.blobs, tuple(openers(order)), limits=limits, stop=stop, on_progress=on_progress, clock=clock
        )
        self._sound: dict[str, StoredRelease] = {}  # hashed in this look
        self.fetched_bytes = 0

    def sound(self, digest: str | None) -> StoredRelease | None:
        """Return a release that is here and whole, after hashing all of it; a damaged one is taken out of use.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        if digest is None or digest in self._sound:
            return None if digest is None else self._sound[digest]
        stored = self._store.releases.find(digest)
        if stored is not None:
            try:
                self._store.releases.verify(stored)
            except DataError as error:
                logger.error("release %s: %s", digest, error)  # noqa: TRY400 - it is fetched again
                return None
            self._sound[digest] = stored
        return stored

    def take(self, slot: SlotReport, decision: Take, keep: Collection[str]) -> SlotReport:
        """Return how ``slot`` is after what was decided for it was tried.

        Args:
            slot: as it is; ``current`` is sound.
            decision: which release, and how.
            keep: digests of releases that must not make room for it.

        Raises:
            PermissionDeniedError, StorageError: what was refused cannot be remembered.
        """
        digest = decision.release.manifest.digest
        try:
            refusal = self._store.quarantine.refusal(digest, decision.seq)
            if refusal is not None:
                return replace(slot, standing=Standing.REFUSED, reason="release.quarantined", message=refusal.reason)
            self._demand_countersignature(decision.release, _name(decision.release))
            stored = self.sound(digest) or self._fetched(decision.release, decision.seq, keep)
            return self._placed(slot, decision, stored)
        except _RefusedError as refused:
            return self._refused(slot, decision, refused.error)
        except EdgeError as error:
            logger.warning("%s: %s", _name(decision.release), error)
            standing = Standing.REFUSED if error.code in _OF_THIS_BOX else Standing.RETRY
            return replace(slot, standing=standing, reason=error.code, message=str(error))

    def mend(self, digest: str, trusted: Trusted, model: str, keep: Collection[str]) -> bool:
        """Fetch a release anew that is current and damaged, whatever is rolled out by now; tell whether it is whole.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        try:
            known = (trusted.release(model, number) for number in trusted.numbers(model))
            signed = next((one for one in known if one.manifest.digest == digest), None)
            if signed is not None:
                seq = 0 if trusted.rollout is None else trusted.rollout.seq
                self._fetched(signed, seq, {digest, *keep})
        except _RefusedError as refused:
            logger.error("%s cannot be mended: %s", digest, refused.error)  # noqa: TRY400 - not our fault
        except (DataError, UnavailableError) as error:
            logger.warning("%s cannot be mended now: %s", digest, error)
        return digest in self._sound

    def _refused(self, slot: SlotReport, decision: Take, error: DataError) -> SlotReport:
        logger.error("%s is refused: %s", _name(decision.release), error)
        if error.code not in _OF_THIS_BOX:
            with self._store.slots.changing():
                self._store.quarantine.add(decision.release.manifest.digest, str(error), decision.seq)
        return replace(slot, standing=Standing.REFUSED, reason=error.code, message=str(error))

    def _placed(self, slot: SlotReport, decision: Take, stored: StoredRelease) -> SlotReport:
        """Make it current if there is nothing else to run, else leave that to who activates it."""
        digest, by_operator = stored.digest, decision.assignment.approve == OPERATOR
        # a slot whose current release is damaged is not empty: it gets that one back, not another one
        want = Want(slot.slot, slot.model, slot.channel)
        vacant = is_vacant(self._store, want)
        if vacant and self._order.first and not by_operator:
            self._store.slots.activate(slot.slot, digest)
        now = on_disk(self._store, want)
        slot = replace(slot, current=now.current, previous=now.previous, reason=None, message=None)
        if now.current is not None and now.current.manifest == digest:
            return replace(slot, standing=Standing.CURRENT)
        reason, message = ("rollout.approval" if by_operator else None), None
        if now.current is None and not vacant and not by_operator:
            reason, message = "store.damaged", "what is current is damaged and cannot be had again: activate this one"
        return replace(slot, standing=Standing.STAGED, staged=held_as(stored), reason=reason, message=message)

    def _fetched(self, signed: SignedRelease, seq: int, keep: Collection[str]) -> StoredRelease:
        release, manifest, where = signed.release, signed.manifest, _name(signed)
        if manifest.size > MANIFEST_BYTES_MAX:
            message = f"{where}: its manifest has {manifest.size} bytes, allowed are {MANIFEST_BYTES_MAX}"
            raise _RefusedError(DataError("package.invalid", message))
        blobs = self._store.blobs
        self._download(release.repository, [manifest])
        raw = blobs.read(manifest.digest, MANIFEST_BYTES_MAX)
        with _its_fault():
            artifact = parse_manifest(raw, where, quota_bytes=self._order.quota_bytes)
        self._make_room(artifact, {manifest.digest, *keep})
        self._download(release.repository, artifact.blobs)
        with _its_fault():
            described = described_in(artifact, where)
        contents = {path: blobs.read(blob.digest, _CONTENTS_BYTES_MAX) for path, blob in described.items()}
        with _its_fault():
            check_contents(
                artifact, contents, model=release.model, release=release.release, digest=release.digest, where=where
            )
        stored = self._store.releases.stage(raw, facts_of(release, seq))
        self._store.write_index()
        self._sound[manifest.digest] = stored
        return stored

    def _demand_countersignature(self, signed: SignedRelease, where: str) -> None:
        """Refuse what the configured publishers have not signed as well; see `countersign`."""
        if not self._order.publisher_keys:
            return
        keys = read_publisher_keys(self._order.publisher_keys)
        with _its_fault():
            bundle = bundle_of(signed, where)
        self._download(signed.release.repository, [bundle])
        raw = self._store.blobs.read(bundle.digest, BUNDLE_BYTES_MAX)
        with _its_fault():
            verify_bundle(raw, signed.manifest.digest, keys, where)

    def _make_room(self, artifact: Artifact, keep: set[str]) -> None:
        need = sum(blob.size for blob in artifact.blobs if not self._store.blobs.has(blob))
        keep |= {blob.digest for blob in artifact.blobs}
        collect(self._store, self._room, keep=keep, need_bytes=need, now_utc_ns=self._clock.utc_ns())

    def _download(self, repository: str, blobs: Iterable[Descriptor]) -> None:
        self.fetched_bytes += self._downloader.fetch(repository, blobs).read_bytes


@contextmanager
def _its_fault() -> Iterator[None]:
    """In this block what is wrong is what was signed, not who serves it."""
    try:
        yield
    except DataError as error:
        raise _RefusedError(error) from error


def _name(signed: SignedRelease) -> str:
    return f"release {signed.release.release} of {signed.release.model}"
