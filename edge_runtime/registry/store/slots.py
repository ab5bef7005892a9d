"""Which release a slot runs: ``slots/SLOT/{current,previous,trial}``, links to directories of ``releases``.

Order of a switch: ``previous`` is what is current -> ``current`` is the new one -> no ``trial``. Each step is one
rename, so whenever it ends there is a current release that was meant to be there, and nothing is half.

A link may dangle (its release is damaged and was removed, and comes back under the same name when it is fetched again)
or be something else altogether; then the slot has no such release, and what can be read of the others counts.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge_runtime.core.errors import BusyError, DataError
from edge_runtime.registry.descriptor import checked_digest
from edge_runtime.registry.store.blobs import entries
from edge_runtime.system.files import LockFile, make_directory, storage_error, sync_directory
from edge_runtime.system.names import point, remove, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK: Final = ".lock"
ATTEMPTS: Final = 20
"""To take the lock, 0.1 s each; it is held for some flushes of the disk."""

Role = Literal["current", "previous", "trial"]
ROLES: Final[tuple[Role, ...]] = ("current", "previous", "trial")

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")  # as `models.SLOT` of the configuration
_TARGET = re.compile(r"\.\./\.\./releases/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class SlotLinks:
    """Digests of manifests; ``None``: no link, or none that can be read. They need not be on the disk any more."""

    current: str | None = None
    previous: str | None = None
    trial: str | None = None

    def digests(self) -> frozenset[str]:
        """Return all of them."""
        return frozenset(digest for digest in (self.current, self.previous, self.trial) if digest is not None)


class Slots:
    """The slots below ``root``/slots. Any thread of any process; who writes takes the lock of `changing` for it."""

    def __init__(self, root: Path) -> None:
        """Touch nothing yet."""
        self.directory = root / "slots"
        self._mutex = threading.RLock()  # guards what follows
        self._depth = 0
        self._lock = LockFile(self.directory / LOCK, way_out="it changes what a slot runs: try again")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the short lock of all slots, for moments: unlike that of the store never while anything is fetched.

        What belongs together (links, record, quarantine) is changed within one block; blocks may be nested.

        Raises:
            BusyError: another process held it for two seconds.
            PermissionDeniedError, StorageError: the disk refuses.
        """
        with self._mutex:
            if self._depth == 0:
                make_directory(self.directory)
                self._acquire()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._lock.release()

    def _acquire(self) -> None:
        for _ in range(ATTEMPTS - 1):
            with suppress(BusyError):
                return self._lock.acquire()
        return self._lock.acquire()

    def prepare(self) -> None:
        """Make the directory; what a process before us did last is durable afterwards, and its leftovers are gone.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        with self.changing():
            for slot in self.names():
                path = self.directory / slot
                for name, _ in list(entries(path)):
                    if name.startswith("."):
                        remove_tree(path / name)
                try:
                    sync_directory(path)
                except OSError as error:
                    raise storage_error(error, path, "write") from error

    def names(self) -> list[str]:
        """Return all slots there are.

        Raises:
            PermissionDeniedError, StorageError: the directory cannot be read.
        """
        found = [name for name, _ in entries(self.directory) if _NAME.fullmatch(name)]
        return sorted(name for name in found if (self.directory / name).is_dir())

    def links(self, slot: str) -> SlotLinks:
        """Return what a slot points to; nothing for one that nobody knows.

        Raises:
            DataError: code ``store.slot``: not a name.
            PermissionDeniedError, StorageError: it cannot be told.
        """
        directory = self._path(slot)
        return SlotLinks(*(_read(directory / role) for role in ROLES))

    def named(self) -> frozenset[str]:
        """Return the digests that any slot points to.

        Raises:
            PermissionDeniedError, StorageError: the directory cannot be read.
        """
        return frozenset().union(*(self.links(slot).digests() for slot in self.names()))

    def activate(self, slot: str, digest: str, *, back: bool = False) -> SlotLinks:
        """Make ``digest`` current, and what was current previous; return what the slot points to now.

        Nothing changes when it is current already, but a trial of it is over. With ``back`` there is no previous one
        afterwards: the one that was just left is nothing to go back to.

        Raises:
            BusyError: as `changing`.
            DataError: code ``store.slot`` or ``registry.digest``.
            PermissionDeniedError, StorageError: the disk refuses; the slot is as before or as after one of the steps.
        """
        checked_digest(digest, "release")
        with self.changing():
            directory, now = self._made(slot), self.links(slot)
            if now.current != digest:
                if now.current is not None and not back:
                    _set(directory / "previous", now.current)
                _set(directory / "current", digest)
            if back:
                remove_tree(directory / "previous")
            if now.trial == digest or now.current != digest:
                remove_tree(directory / "trial")
            return self.links(slot)

    def roll_back(self, slot: str) -> SlotLinks:
        """Make the previous release current again; return what the slot points to now.

        There is no previous one afterwards: the one that was just left is nothing to go back to.

        Raises:
            DataError: code ``store.no_previous``, ``store.slot``.
            BusyError, PermissionDeniedError, StorageError: as `activate`.
        """
        with self.changing():
            directory, now = self._made(slot), self.links(slot)
            if now.previous is None or now.previous == now.current:
                message = f"slot {slot}: there is no release before the current one"
                raise DataError("store.no_previous", message, help="edge-runtime models list shows what is on this box")
            _set(directory / "current", now.previous)
            remove(directory / "previous")
            remove_tree(directory / "trial")
            return self.links(slot)

    def vacate(self, slot: str) -> SlotLinks:
        """Leave a slot without a current release and without one to go back to; return what it points to now.

        Raises:
            BusyError, DataError, PermissionDeniedError, StorageError: as `activate`.
        """
        with self.changing():
            directory = self._made(slot)
            for role in ("previous", "current"):
                remove_tree(directory / role)
            return self.links(slot)

    def try_out(self, slot: str, digest: str | None) -> SlotLinks:
        """Set the trial of a slot, or end it without a change (``None``); return what the slot points to now.

        Raises:
            BusyError, DataError, PermissionDeniedError, StorageError: as `activate`.
        """
        with self.changing():
            directory = self._made(slot)
            if digest is None:
                remove_tree(directory / "trial")
            elif self.links(slot).trial != checked_digest(digest, "release"):
                _set(directory / "trial", digest)
            return self.links(slot)

    def _path(self, slot: str) -> Path:
        if not _NAME.fullmatch(slot):
            raise DataError("store.slot", f"{slot[:80]!r} is no name of a slot: expected {_NAME.pattern}")
        return self.directory / slot

    def _made(self, slot: str) -> Path:
        directory = self._path(slot)
        make_directory(directory)
        return directory


def _read(path: Path) -> str | None:
    try:
        target = os.readlink(path)  # noqa: PTH115 - Path would normalise what has to be exact
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENOTDIR):
            return None  # no link, or something else in its place
        raise storage_error(error, path, "read") from error
    found = _TARGET.fullmatch(target)
    return None if found is None else f"sha256:{found[1]}"


def _set(path: Path, digest: str) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)  # not ours, and nothing can be renamed over it
    point(path, f"../../releases/{digest.removeprefix('sha256:')}")
