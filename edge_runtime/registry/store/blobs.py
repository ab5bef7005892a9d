"""Blobs by digest, on our disk: the ``blobs`` of a valid OCI layout, and what has not arrived whole yet.

A blob gets its name when all its bytes are on the disk and have the digest they should have. Then it is read-only; one
whose bytes are other ones later, whoever changed them, is set aside and never used.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, StorageError
from edge_runtime.registry.carriers.index import LAYOUT
from edge_runtime.registry.descriptor import checked_digest, digest_of
from edge_runtime.registry.store.part import Part
from edge_runtime.system.files import make_directory, storage_error, sync_directory, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.registry.descriptor import Descriptor

logger = logging.getLogger(__name__)

SUFFIX: Final = ".part"
_WAY_OUT: Final = "edge-runtime models pull fetches it again"
_NOFOLLOW: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class UnreadableError(StorageError):
    """A bad sector, perhaps: a new copy gets another one."""


class Blobs:
    """Below ``root``: ``store/`` (the layout), ``incoming/HEX.part``, ``damaged/HEX``. From any thread.

    Who writes holds the lock of the store (`store.ModelStore.updating`). Reading needs none, nor does setting a damaged
    blob aside: that takes away only what nobody may use.
    """

    def __init__(self, root: Path) -> None:
        """Touch nothing yet."""
        self.layout = root / "store"
        self.incoming = root / "incoming"
        self.damaged = root / "damaged"
        self._blobs = self.layout / "blobs" / "sha256"

    def prepare(self) -> None:
        """Make what is missing, and what a process before us was killed over durable.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        for directory in (self._blobs, self.incoming, self.damaged):
            make_directory(directory)
        marker = self.layout / "oci-layout"
        try:
            if not marker.is_file() or marker.read_bytes() != LAYOUT:
                write_atomic(marker, LAYOUT)
            sync_directory(self._blobs)
        except OSError as error:
            raise storage_error(error, self.layout, "open") from error

    def path(self, digest: str) -> Path:
        """Return where the blob lies, or would.

        Raises:
            DataError: code ``registry.digest``: no SHA-256 digest.
        """
        return self._blobs / checked_digest(digest, "blob").removeprefix("sha256:")

    def part_path(self, blob: Descriptor) -> Path:
        """Return where the blob arrives."""
        return self.incoming / (self.path(blob.digest).name + SUFFIX)

    def has(self, blob: Descriptor) -> bool:
        """Tell whether a file with this name and size is there; its bytes are not looked at.

        Raises:
            PermissionDeniedError, StorageError: it cannot be told.
        """
        return has_size(self.path(blob.digest), blob.size)

    def is_sound(self, blob: Descriptor) -> bool:
        """Tell whether the blob is there and its bytes are the right ones; one with other bytes is set aside.

        Reads the whole file: some 2 ms per MB. One that the disk cannot read is not sound either, but stays: it may be
        readable the next time, and a new copy takes its place.

        Raises:
            PermissionDeniedError, StorageError: it cannot be told.
        """
        path = self.path(blob.digest)
        try:
            if is_itself(path, blob):
                return True
        except UnreadableError as error:
            logger.error("%s", error)  # noqa: TRY400 - no bug of ours
            return False
        if os.path.lexists(path):
            self.set_aside(blob.digest)
        return False

    def set_aside(self, digest: str) -> None:
        """Take a blob that is not what its name says out of use: it stays in ``damaged/`` for who looks into it."""
        path = self.path(digest)
        logger.error("blob %s is damaged on the disk and is set aside", digest)
        with contextlib.suppress(OSError):  # gone already, or a disk that takes nothing: it is refused all the same
            path.replace(self.damaged / path.name)

    def read(self, digest: str, limit_bytes: int) -> bytes:
        """Return the bytes of a small blob, hashed before they are handed out.

        Raises:
            DataError: code ``store.damaged``: it is not there or not itself, fetch it again; ``file.too_large``.
            PermissionDeniedError, StorageError: it cannot be read.
        """
        path = self.path(digest)
        try:
            with os.fdopen(_open_blob(path), "rb") as file:
                raw = file.read(limit_bytes + 1)
        except FileNotFoundError as error:
            raise damaged(digest, path) from error
        except OSError as error:
            if error.errno == errno.EIO:
                raise damaged(digest, path) from error
            raise storage_error(error, path, "read") from error
        if len(raw) > limit_bytes:
            raise DataError("file.too_large", f"{path} is larger than the {limit_bytes} bytes that are allowed")
        if digest_of(raw) != digest:
            self.set_aside(digest)
            raise damaged(digest, path)
        return raw

    def put(self, blob: Descriptor, raw: bytes) -> None:
        """Store bytes that are in memory already, durably; those that are there are left alone.

        Raises:
            DataError: code ``registry.digest_mismatch``: ``raw`` is not this blob.
            PermissionDeniedError, StorageError: the disk refuses.
        """
        if self.is_sound(blob):
            return
        with self.part(blob) as part:
            part.restart()
            part.write(raw)
            part.commit()

    def part(self, blob: Descriptor) -> Part:
        """Return the unfinished blob, for ``with``."""
        return Part(self.part_path(blob), self.path(blob.digest), blob)

    def part_bytes(self, blob: Descriptor) -> int:
        """Return how much of the blob has arrived."""
        try:
            return self.part_path(blob).lstat().st_size
        except OSError:
            return 0

    def stored(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield digest and status of every blob; what is none, and lies between them, has no valid digest.

        Raises:
            PermissionDeniedError, StorageError: the directory cannot be read.
        """
        for name, status in entries(self._blobs):
            yield f"sha256:{name}", status

    def used_bytes(self) -> int:
        """Return how much all blobs, unfinished and damaged ones too, take.

        Raises:
            PermissionDeniedError, StorageError: the directory cannot be read.
        """
        return sum(
            status.st_size
            for directory in (self._blobs, self.incoming, self.damaged)
            for _, status in entries(directory)
        )

    def free_bytes(self) -> int:
        """Return how much more the file system would take from us.

        Raises:
            PermissionDeniedError, StorageError: it does not say.
        """
        try:
            status = os.statvfs(self._blobs)
        except OSError as error:
            raise storage_error(error, self._blobs, "look at the disk of") from error
        return status.f_bavail * status.f_frsize


def damaged(digest: str, path: Path) -> DataError:
    """Return the error for a file that is not there or not what it should be."""
    message = f"{path} is missing or does not hold {digest}: the disk or somebody changed it"
    return DataError("store.damaged", message, help=_WAY_OUT)


def has_size(path: Path, size: int) -> bool:
    """Tell whether ``path`` is a regular file of this size; links are not followed.

    Raises:
        PermissionDeniedError, StorageError: it cannot be told.
    """
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise storage_error(error, path, "look at") from error
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def is_itself(path: Path, blob: Descriptor) -> bool:
    """Tell whether ``path`` holds the bytes of ``blob``.

    Raises:
        UnreadableError: the disk cannot read it, now or ever.
        PermissionDeniedError, StorageError: it cannot be told now, as when there are too many open files.
    """
    if not has_size(path, blob.size):
        return False
    try:
        with os.fdopen(_open_blob(path), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == blob.hex
    except OSError as error:
        if error.errno == errno.EIO:
            message = f"{path} cannot be read: {error.strerror}"
            raise UnreadableError("store.unreadable", message, help=_WAY_OUT) from error
        raise storage_error(error, path, "read") from error


def entries(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield name and status of what lies in ``directory``; nothing when there is none.

    Raises:
        PermissionDeniedError, StorageError: it cannot be read.
    """
    try:
        with os.scandir(directory) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):  # removed while we look
                    yield entry.name, entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, directory, "read") from error


def _open_blob(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a file", str(path))
