"""The only way state reaches the disk outside SQLite: whole or not at all, and known to be there.

``write_atomic`` is borg's SaveFile order: temporary file in the same directory, fsync, rename, fsync the directory.
Without the last step a power cut can bring the old name back; without the first fsync it can bring an empty file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import threading
from typing import TYPE_CHECKING, Self

from edge_runtime.core.errors import BusyError, DataError, PermissionDeniedError, StorageError
from edge_runtime.system.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

_WORD_BYTES = 8
_PID_BYTES_MAX = 32
_LOCK_ATTEMPTS, _LOCK_PAUSE_S = 11, 0.01
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT = frozenset({errno.EACCES, errno.EPERM})


def write_atomic(path: Path, data: bytes, *, mode: int = 0o640, durable: bool = True) -> None:
    """Replace ``path`` by ``data`` durably: after a crash or a power cut it holds the old bytes or all the new ones.

    Callable from any thread; two writers of one path end with the bytes of one of them. Blocks for two fsyncs; with
    ``durable`` false for none, and then only readers are safe from half a file, not a power cut.

    Raises:
        PermissionDeniedError: the directory may not be written.
        StorageError: the disk is full, read-only or broken; the old file is untouched and no temporary file is left.
    """
    write_chunks(path, (data,), mode=mode, durable=durable)


def write_chunks(path: Path, chunks: Iterable[bytes], *, mode: int = 0o640, durable: bool = True) -> None:
    """Replace ``path`` by all ``chunks`` as `write_atomic` does; an error of their iterator leaves the old file.

    Raises:
        PermissionDeniedError: the directory may not be written.
        StorageError: the disk is full, read-only or broken; the old file is untouched and no temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            try:
                for chunk in chunks:
                    _write_all(descriptor, chunk)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to report
                temporary.unlink()
            raise
        if durable:
            sync_directory(path.parent)
    except OSError as error:
        raise storage_error(error, path, "write") from error


def read_limited(path: Path, limit_bytes: int) -> bytes:
    """Return the whole content of a file that may not be larger than ``limit_bytes``; a pipe is not waited for.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is larger.
        PermissionDeniedError: it may not be read.
        StorageError: the disk could not read it, or it is no file.
    """
    try:
        with open_regular(path) as file:
            data = file.read(limit_bytes + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(error, path, "read") from error
    if len(data) > limit_bytes:
        code, msg = "file.too_large", f"{path} is larger than the {limit_bytes} bytes that are allowed"
        raise DataError(code, msg)
    return data


def make_directory(path: Path, *, mode: int = 0o750) -> None:
    """Make ``path`` and its missing parents, durably; an existing directory is left as it is.

    Raises:
        PermissionDeniedError: a parent may not be written or looked into.
        StorageError: the disk refuses, or something else has the name.
    """
    missing = []
    step = path
    try:
        while not step.exists():
            missing.append(step)
            step = step.parent
        for directory in reversed(missing):
            directory.mkdir(mode=mode, exist_ok=True)
            sync_directory(directory.parent)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(path))
    except OSError as error:
        raise storage_error(error, path, "create directory") from error


def sync_directory(path: Path) -> None:
    """Make the names in directory ``path`` durable.

    Raises:
        OSError: as the kernel says it; the callers here map it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_aside(path: Path, label: str) -> Path | None:
    """Give a file that cannot be used a name with ``label`` in the same directory; never deletes.

    Returns the new path, or ``None`` when there was no file.

    Raises:
        PermissionDeniedError: the directory may not be written.
        StorageError: the rename failed.
    """
    for attempt in range(1000):
        target = path.with_name(f"{path.name}.{label}" + (f".{attempt}" if attempt else ""))
        if target.exists():
            continue
        try:
            path.rename(target)
            sync_directory(path.parent)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, path, "move aside") from error
        return target
    code, msg = "storage.io", f"cannot move {path} aside: a thousand files with that label exist"
    raise StorageError(code, msg, help=f"look at {path.parent} and remove the old ones")


def remove(path: Path) -> None:
    """Remove a file durably; one that is not there is gone already.

    Raises:
        PermissionDeniedError: the directory may not be written.
        StorageError: the disk refuses.
    """
    try:
        path.unlink()
        sync_directory(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, path, "remove") from error


def storage_error(error: OSError, path: Path, action: str) -> StorageError | PermissionDeniedError:
    """Translate the kernel's answer for ``action`` on ``path`` into an error that says what to do."""
    text = f"cannot {action} {path}: {error.strerror or error}"
    if error.errno in _NO_RIGHT:
        return PermissionDeniedError(
            "storage.permission", text, help="run this as the user whose it is, or give this one the right to it"
        )
    if error.errno in _NO_SPACE:
        return StorageError("storage.full", text, help="free space or raise the quota")
    if error.errno == errno.EROFS:
        return StorageError("storage.read_only", text, help="remount it writable; the kernel log says why it changed")
    if error.errno == errno.ENOENT:
        return StorageError("storage.missing", text, help="make the directory it lies in, or correct the path")
    return StorageError("storage.io", text, help="look at the kernel log for errors of this disk")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def is_locked(path: Path) -> bool:
    """Tell whether a living process holds the lock file ``path``; asking takes nothing and writes nothing.

    Raises:
        PermissionDeniedError: the file may not be opened.
        StorageError: it cannot be opened for another reason than not being there.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(error, path, "open") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int) -> None:
    for _ in range(_LOCK_ATTEMPTS - 1):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        threading.Event().wait(_LOCK_PAUSE_S)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LockFile:
    """An exclusive lock for the life of a process: ``with LockFile(path):``; the kernel frees it when we die."""

    def __init__(self, path: Path, *, way_out: str = "stop that process or use another state directory") -> None:
        """Name the lock; nothing is taken yet. ``way_out`` is what somebody reads who comes second."""
        self._path = path
        self._way_out = way_out
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock and write our pid into the file; idempotent. Waits for 0.1 s at most.

        Not for a holder, who goes on for long: for somebody who asks ``is_locked``, which takes a moment of the lock.

        Raises:
            BusyError: another process holds it; the message names its pid.
            PermissionDeniedError: the file may not be opened.
            StorageError: the disk refuses.
        """
        if self._descriptor is not None:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise storage_error(error, self._path, "open") from error
        try:
            _lock(descriptor)
        except BlockingIOError as error:
            holder = os.pread(descriptor, _PID_BYTES_MAX, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            code, msg = "storage.locked", f"{self._path} is held by process {holder}"
            raise BusyError(code, msg, help=self._way_out) from error
        except OSError as error:  # ENOLCK, or EIO of a disk that is not here
            os.close(descriptor)
            raise storage_error(error, self._path, "lock") from error
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # the pid is for people; a full disk must not cost the lock
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; idempotent. The file stays: removing it would let two processes hold two files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Acquire."""
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release."""
        self.release()


class MappedWords:
    """A few unsigned 64-bit words in a mapped file: a store survives kill -9 of this process at once.

    It does not survive a power cut (nothing is synced). One writer per word; a word is read and written whole,
    because it is an aligned eight-byte copy.
    """

    def __init__(self, mapping: mmap.mmap, words: memoryview) -> None:
        """Use ``open``."""
        self._mapping = mapping
        self._words = words

    @classmethod
    def open(cls, path: Path, count: int) -> Self:
        """Map ``path`` with ``count`` words, keeping what is in it; new words are 0.

        Raises:
            PermissionDeniedError: the file may not be opened.
            StorageError: the disk refuses or has no room for it.
        """
        size = count * _WORD_BYTES
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                # Reserves the blocks: a store into a hole on a full disk would be SIGBUS.
                os.posix_fallocate(descriptor, 0, size)
                os.ftruncate(descriptor, size)
                mapping = mmap.mmap(descriptor, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise storage_error(error, path, "map") from error
        return cls(mapping, memoryview(mapping).cast("Q"))

    def __len__(self) -> int:
        """How many words there are."""
        return len(self._words)

    def __getitem__(self, index: int) -> int:
        """Return one word, 0 <= word < 2**64."""
        return int(self._words[index])

    def __setitem__(self, index: int, value: int) -> None:
        """Store one word, 0 <= value < 2**64."""
        self._words[index] = value

    def close(self) -> None:
        """Unmap; idempotent. Words may not be used afterwards."""
        self._words.release()
        self._mapping.close()
