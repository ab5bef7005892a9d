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


def _demand(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a file", str(path))
