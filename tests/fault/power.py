"""A disk whose power can be cut: ext4 in a file on a loop device, shut down without flushing anything.

What was not synced is gone afterwards, as after a power cut; the journal of the file system is replayed at the next
mount. Needs root and loop devices.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH
_ATTEMPTS = 200


def missing() -> str | None:
    """Return why a disk like that cannot be had here, or ``None``."""
    if os.geteuid() != 0:
        return "root, to mount a file system"
    if shutil.which("mkfs.ext4") is None:
        return "mkfs.ext4: apt-get install e2fsprogs"
    if subprocess.run(["losetup", "-f"], capture_output=True, check=False).returncode:
        return "loop devices: a container needs --privileged"
    return None


class PoweredDisk:
    """A block; ``path`` is the mounted directory."""

    def __init__(self, directory: Path, *, size_mb: int = 64) -> None:
        self._image = directory / "disk.img"
        self.path = directory / "disk"
        self._size_mb = size_mb

    def __enter__(self) -> Self:
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(self._size_mb << 20)
        _run("mkfs.ext4", "-q", "-F", str(self._image))
        self.on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.off()

    def on(self) -> None:
        """Mount it; the journal is replayed."""
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def cut(self) -> None:
        """Take the power away: from now on every access fails, and nothing that waits in memory is written."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def off(self) -> None:
        """Unmount; a process that has just been killed may still hold it for a moment."""
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("umount", str(self.path))
                return
            threading.Event().wait(0.02)
        _run("umount", "-l", str(self.path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
