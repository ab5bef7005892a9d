"""A blob on its way to the disk: what has arrived is kept, hashed, and given its name when it is whole.

Legal order: ``resume`` or ``restart`` -> ``write`` ... -> ``commit``; ``discard`` at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final, Self

from edge_runtime.core.errors import DataError
from edge_runtime.system.files import storage_error
from edge_runtime.system.names import move, remove_tree

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from edge_runtime.registry.descriptor import Descriptor

READ_ONLY: Final = 0o440
_WRITABLE: Final = 0o640
_CHUNK_BYTES: Final = 1 << 20
_FLUSH_BYTES: Final = 8 << 20


class Part:
    """A blob on its way to the disk. One thread."""

    def __init__(self, path: Path, target: Path, blob: Descriptor) -> None:
        """Use `Blobs.part`."""
        self._path = path
        self._target = target
        self._blob = blob
        self._descriptor: int | None = None
        self._hash = hashlib.sha256()
        self._flushing = 0  # up to here the kernel was told to write
        self.size = 0

    def resume(self) -> int:
        """Hash what is there and return how much that is; more than the blob has is thrown away.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        descriptor = self._open()
        self._hash, self.size = hashlib.sha256(), 0
        try:
            if os.fstat(descriptor).st_size > self._blob.size:
                os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                self._hash.update(chunk)
                self.size += len(chunk)
            self._flushing = self.size
        except OSError as error:
            raise self._failed(error) from error
        return self.size

    def restart(self) -> None:
        """Throw away what is there.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        descriptor = self._open()
        self._hash, self.size, self._flushing = hashlib.sha256(), 0, 0
        try:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
        except OSError as error:
            raise self._failed(error) from error

    def write(self, chunk: bytes) -> None:
        """Append; one byte more than the blob has and nothing of ``chunk`` is written.

        Raises:
            DataError: code ``registry.too_long``.
            PermissionDeniedError, StorageError: the disk refuses; what had arrived is removed to make room.
        """
        if self.size + len(chunk) > self._blob.size:
            message = f"blob {self._blob.digest}: more than the {self._blob.size} bytes that were declared arrive"
            raise DataError("registry.too_long", message, help="this registry or mirror does not serve what was signed")
        descriptor = self._open()
        self._hash.update(chunk)
        view = memoryview(chunk)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
            self.size += len(chunk)
            if self.size - self._flushing >= _FLUSH_BYTES:
                self._begin_to_flush(descriptor)
        except OSError as error:
            raise self._failed(error) from error

    def commit(self) -> None:
        """Give the blob its name if it is whole and itself; then it is durable.

        Raises:
            DataError: code ``registry.digest_mismatch``; what had arrived is gone.
            PermissionDeniedError, StorageError: the disk refuses.
        """
        descriptor = self._open()
        found = f"sha256:{self._hash.hexdigest()}"
        if self.size != self._blob.size or found != self._blob.digest:
            self.discard()
            message = f"expected {self._blob.digest} with {self._blob.size} bytes, found {found} with {self.size} bytes"
            raise DataError(
                "registry.digest_mismatch", message, help="this registry or mirror does not serve what was signed"
            )
        try:
            os.fchmod(descriptor, READ_ONLY)
            os.fsync(descriptor)
        except OSError as error:
            raise self._failed(error) from error
        self.close()
        move(self._path, self._target)

    def discard(self) -> None:
        """Remove what has arrived; as far as the disk lets us."""
        self.close()
        with contextlib.suppress(OSError):  # it is overwritten by the next one who tries, or is garbage
            self._path.unlink()

    def close(self) -> None:
        """Let go of the file; what has arrived stays. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Nothing is opened before it is used."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _begin_to_flush(self, descriptor: int) -> None:
        """Have the kernel begin to write what is dirty, without waiting for it: less is left for the fsync."""
        with contextlib.suppress(OSError):  # not every file system takes advice
            os.posix_fadvise(descriptor, self._flushing, self.size - self._flushing, os.POSIX_FADV_DONTNEED)
        self._flushing = self.size

    def _open(self) -> int:
        if self._descriptor is None:
            try:
                self._descriptor = self._opened()
            except OSError as error:
                raise storage_error(error, self._path, "write") from error
        return self._descriptor

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with contextlib.suppress(FileNotFoundError):
            mode = self._path.lstat().st_mode
            if not stat.S_ISREG(mode):
                remove_tree(self._path)  # a link, a pipe, a directory: not ours
            elif not mode & stat.S_IWUSR:
                self._path.chmod(_WRITABLE)  # its process was killed between the last byte and the name
        return os.open(self._path, flags, _WRITABLE)

    def _failed(self, error: OSError) -> Exception:
        """Remove what has arrived: after a failed write or sync nobody knows what of it the disk has."""
        self.discard()
        return storage_error(error, self._path, "write")
