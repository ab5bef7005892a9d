"""The floors of this box on its disk: two files with the same content, each with a checksum and a sequence number.

One of them may be damaged at any moment, by a power cut or by the disk, and nothing is lost. When both are, the floors
are *unknown*, which is not the same as none.
"""

from __future__ import annotations

import errno
import re
import zlib
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, InvariantError, StorageError
from edge_runtime.registry.trust.floors import LIMIT_BYTES, Floors, parse_floors
from edge_runtime.system.files import read_limited, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

NAMES: Final = ("floors.a", "floors.b")

_HEAD = re.compile(rb"edge-floors-file/1 ([0-9]{1,18}) ([0-9a-f]{8})\n")
_HEAD_BYTES_MAX = 64
_OUT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class FloorsFiles:
    """The twin files in one directory; one owner at a time, from one thread."""

    def __init__(self, directory: Path) -> None:
        """Name the directory; nothing is read yet."""
        self._paths = tuple(directory / name for name in NAMES)
        self._sequence = 0
        self._floors: Floors | None = None
        self._agree = False  # both files hold `_floors`
        self.damaged: tuple[str, ...] = ()

    def read(self) -> Floors | None:
        """Return the floors; ``None`` when there never were any. ``damaged`` then names files that are of no use.

        Raises:
            StorageError: code ``floors.unknown``: neither file can be read, though at least one was written.
            StorageError, PermissionDeniedError: as `read_if_any`.
        """
        there, good, damaged = 0, [], []
        for path in self._paths:
            raw = read_if_any(path, LIMIT_BYTES + _HEAD_BYTES_MAX)
            if raw is None:
                continue
            there += 1
            found = _parse(raw, path)
            if found is None:
                damaged.append(path.name)
            else:
                good.append(found)
        self.damaged = tuple(damaged)
        if not there:
            return None
        if not good:
            message = f"the floors in {self._paths[0].parent} are unknown: {' and '.join(damaged)} cannot be read"
            raise StorageError(
                "floors.unknown", message, help="they are made anew from the kept metadata, if that is whole"
            )
        self._sequence, self._floors = max(good, key=lambda one: one[0])
        self._agree = [sequence for sequence, _ in good] == [self._sequence] * len(NAMES)
        return self._floors

    def write(self, floors: Floors) -> None:
        """Make ``floors`` durable in both files; nothing is written when they are there already.

        Raises:
            InvariantError: they are lower than those that were read or written last.
            StorageError, PermissionDeniedError: the disk refuses, or code ``floors.too_large``: more than is read back;
                the floors of before are still there.
        """
        if self._floors is not None and not floors.covers(self._floors):
            raise InvariantError("floors.fell", "floors would fall; they only ever go up")
        if floors == self._floors and self._agree:
            return
        sequence = self._sequence + 1
        body = floors.dump()
        if len(body) > LIMIT_BYTES:
            message = f"{len(body)} bytes of floors, {LIMIT_BYTES} are allowed: far too much was revoked"
            raise StorageError("floors.too_large", message, help="the publisher has to replace the keys of releases")
        raw = b"edge-floors-file/1 %d %08x\n" % (sequence, zlib.crc32(b"%d\n" % sequence + body)) + body
        self._agree = False
        for path in self._paths:
            write_atomic(path, raw)
            self._sequence, self._floors = sequence, floors
        self._agree, self.damaged = True, ()


def read_if_any(path: Path, limit_bytes: int) -> bytes | None:
    """Return the bytes of a file; none of them when it is damaged, ``None`` when there is no such file.

    Raises:
        PermissionDeniedError: it may not be read.
        StorageError: this process has no descriptor or memory left, which says nothing about the file.
    """
    try:
        return read_limited(path, limit_bytes)
    except FileNotFoundError:
        return None
    except DataError:  # too large
        return b""
    except StorageError as error:  # EIO, or something else that has the name
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _OUT_OF:
            raise
        return b""


def _parse(raw: bytes, path: Path) -> tuple[int, Floors] | None:
    head = _HEAD.match(raw)
    if head is None:
        return None
    sequence, body = int(head[1]), raw[head.end() :]
    if zlib.crc32(b"%d\n" % sequence + body) != int(head[2], 16):
        return None
    try:
        return sequence, parse_floors(body, str(path))
    except DataError:  # whole, and yet not ours: of a version to come
        return None
