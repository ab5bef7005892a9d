"""Room on the disk: how much there may be, what does not fit, and what goes to make some.

What no slot runs, what nobody wants any more, and what never arrived is garbage.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, StorageError
from edge_runtime.registry.store.blobs import SUFFIX, entries
from edge_runtime.system.names import remove_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from edge_runtime.registry.descriptor import Descriptor
    from edge_runtime.registry.store.blobs import Blobs
    from edge_runtime.registry.store.store import ModelStore

logger = logging.getLogger(__name__)

HEADROOM: Final = 1.1  # of what is about to be written, for directories, journals and a neighbour
_DAY_NS: Final = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Room:
    """How much the store may take.

    Attributes:
        quota_bytes: all blobs together, unfinished ones too.
        reserve_bytes: low-water mark: that much of the file system stays free for others.
        stale_days: what has not been written to for so long, and is neither kept nor part of a release, is garbage.
    """

    quota_bytes: int = 4 << 30
    reserve_bytes: int = 64 << 20
    stale_days: float = 7.0


def is_short(store: ModelStore, room: Room, need_bytes: int) -> bool:
    """Tell whether ``need_bytes`` more do not fit.

    Raises:
        PermissionDeniedError, StorageError: the disk does not say.
    """
    blobs = store.blobs
    over = blobs.used_bytes() + need_bytes > room.quota_bytes
    return over or blobs.free_bytes() < need_bytes * HEADROOM + room.reserve_bytes


def admit(blobs: Blobs, room: Room, missing: Sequence[Descriptor]) -> None:
    """Refuse what will not fit before a byte of it is asked for.

    Raises:
        DataError: code ``registry.quota``: it alone is more than the quota; trying again will not help.
        StorageError: code ``storage.full``: it does not fit beside what is there.
    """
    if not missing:
        return
    size = sum(blob.size for blob in missing)
    if size > room.quota_bytes:
        message = f"{size} bytes are to be fetched, the quota is {room.quota_bytes}"
        raise DataError("registry.quota", message, help="raise registry.quota_mb, or publish a smaller model")
    need = sum(max(0, blob.size - blobs.part_bytes(blob)) for blob in missing)
    used, free = blobs.used_bytes(), blobs.free_bytes()
    if used + need > room.quota_bytes:
        message = f"{need} bytes more than the {used} that are stored exceed the quota of {room.quota_bytes}"
        raise StorageError("storage.full", message, help="raise registry.quota_mb")
    if free < need * HEADROOM + room.reserve_bytes:
        message = f"{need} bytes are to be fetched and {free} are free, of which {room.reserve_bytes} stay free"
        raise StorageError("storage.full", message, help="free space on the disk of the state directory")


def collect(store: ModelStore, room: Room, *, keep: Collection[str], need_bytes: int, now_utc_ns: int) -> int:
    """Remove garbage, with the lock of the store held; return how many bytes of blobs went.

    What is stale goes always. Releases that no slot points to go when there is not enough room, the oldest first, and
    only as many as it takes: going back to one of them then costs no download.

    Args:
        store: where.
        room: how much there may be.
        keep: digests of releases and blobs that stay: what runs, what the rollout wants, what is being fetched.
        need_bytes: what is about to be written.
        now_utc_ns: wall clock; one that is wrong costs a download, nothing else.

    Raises:
        PermissionDeniedError, StorageError: the disk refuses.
    """
    before = store.blobs.used_bytes()
    stale_ns = now_utc_ns - int(room.stale_days * _DAY_NS)
    _remove_loose(store, keep, stale_ns)
    if is_short(store, room, need_bytes):
        _remove_loose(store, keep, None)
    for digest in _oldest_first(store):
        if not is_short(store, room, need_bytes):
            break
        if digest not in keep and _dropped(store, digest):
            _remove_loose(store, keep, None)
    return before - store.blobs.used_bytes()


def _dropped(store: ModelStore, digest: str) -> bool:
    """Remove a release unless a slot points to it; whoever lets one do so meanwhile waits for that."""
    with store.slots.changing():
        if digest in store.slots.named():
            return False
        logger.info("release %s is removed to make room", digest)
        store.releases.drop(digest)
        return True


def _oldest_first(store: ModelStore) -> Iterator[str]:
    written = {name: status.st_mtime_ns for name, status in entries(store.releases.directory)}
    for name in sorted(store.releases.names(), key=lambda one: written.get(one, 0)):
        yield f"sha256:{name}"


def _remove_loose(store: ModelStore, keep: Collection[str], stale_ns: int | None) -> None:
    """Remove what belongs to no release and was last written before ``stale_ns``, or whenever."""
    blobs = store.blobs
    used = {f"sha256:{name}" for name in store.releases.names()} | set(keep)
    for release in store.releases.all():
        used |= release.digests()
    for digest, status in list(blobs.stored()):
        # a second name: it is part of a release, even of one whose description cannot be read
        if digest not in used and status.st_nlink == 1 and (stale_ns is None or status.st_mtime_ns < stale_ns):
            remove_tree(store.blobs.layout / "blobs" / "sha256" / digest.removeprefix("sha256:"))
    for directory in (blobs.incoming, blobs.damaged):
        for name, status in list(entries(directory)):
            wanted = directory == blobs.incoming and f"sha256:{name.removesuffix(SUFFIX)}" in keep
            if not wanted and (stale_ns is None or status.st_mtime_ns < stale_ns):
                remove_tree(directory / name)
