"""Opens files that somebody else names: a pipe, a device or a directory is refused, never waited for."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path


def open_regular(path: Path) -> BinaryIO:
    """Open the regular file ``path`` for reading.

    Opening a pipe waits for its writer, perhaps for ever, and opening a device may change it, so neither is tried. What
    becomes one between the look and the opening is opened without waiting and refused afterwards.

    Raises:
        OSError: as the kernel says it; ``IsADirectoryError`` for a directory and ``EINVAL`` for what else is no file.
        ValueError: the path holds a NUL.
    """
    _demand(path.stat().st_mode, path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _demand(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def open_beneath(root: Path, *names: str) -> BinaryIO:
    """Open the regular file ``root/NAME/NAME...`` for reading; below ``root`` no symbolic link is followed.

    For directories that strangers filled, such as a USB stick. Neither a pipe nor a device is waited for or touched.

    Raises:
        OSError: as the kernel says it; ``ENOTDIR`` for a link in place of a directory, ``EINVAL`` for what is no file.
        ValueError: a name is empty, ``..``, or holds a slash or a NUL.
    """
    if not names or any(name in {"", ".", ".."} or "/" in name for name in names):
        raise ValueError(f"not names below a directory: {names!r}")
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names[:-1]:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(name, flags, dir_fd=directory)
            os.close(directory)
            directory = inner
        last, path = names[-1], root.joinpath(*names)
        _demand(os.stat(last, dir_fd=directory, follow_symlinks=False).st_mode, path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(last, flags, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        _demand(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def _demand(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a file", str(path))
