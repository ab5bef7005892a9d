"""An image layout in a tar archive, read in place and never unpacked: ``oci-archive:FILE.tar``.

Only headers are looked at, and of them only what a layout needs: regular files and directories with plain names. All
else that tar can say (links, devices, sparse files, headers that change the name or the size of the next member, two
members with one name) makes two readers disagree about what is in an archive, so such an archive is refused.
"""

from __future__ import annotations

import os
import re
import tarfile
import threading
from typing import TYPE_CHECKING, BinaryIO, Final

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.registry.carriers.directory import FileStream, file_error
from edge_runtime.system.regular import open_beneath

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK: Final = 512
_MEMBERS_MAX: Final = 20_000
_EXTENDED_BYTES_MAX: Final = 64 << 10
_FILES: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})
_EXTENDED: Final = frozenset({tarfile.XHDTYPE, tarfile.XGLTYPE})
_LABELS: Final = rb"mtime|atime|ctime|uname|gname|uid|gid|comment|LIBARCHIVE\.creationtime"
_HARMLESS: Final = re.compile(rb"(?:\d+ (?:" + _LABELS + rb"|(?:SCHILY|LIBARCHIVE)\.xattr\.[^=\n]*)=[^\n]*\n)*")
_PLAIN: Final = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[0-9A-Za-z._-]+(?:/[0-9A-Za-z._-]+)*")


class Archive:
    """The `Files` of a layout in an archive, which is read again when it was replaced."""

    def __init__(self, path: Path) -> None:
        """Name the archive; it may appear later."""
        self.name = f"oci-archive:{path}"
        self._path = path
        self._lock = threading.Lock()  # guards the members and whose they are
        self._members: dict[str, tuple[int, int]] = {}  # offset and size in bytes
        self._identity: tuple[int, ...] = ()

    def read(self, path: str, limit: int) -> bytes:
        """See `Files`."""
        file, offset, size = self._member(path)
        with file:
            if size > limit:
                raise DataError("registry.size", f"{self._where(path)}: has {size} bytes, allowed are {limit}")
            try:
                file.seek(offset)
                return file.read(size)
            except OSError as error:
                raise file_error(error, self.name) from error

    def open(self, path: str, size: int, start: int) -> FileStream:
        """See `Files`."""
        file, offset, found = self._member(path)
        if found != size:
            file.close()
            raise DataError("registry.size", f"{self._where(path)}: has {found} bytes, expected {size}")
        return FileStream(file, self._where(path), offset=offset, start=start, size=size)

    def close(self) -> None:
        """Nothing stays open."""

    def _member(self, path: str) -> tuple[BinaryIO, int, int]:
        """Return the open archive, and where in it the file ``path`` is."""
        try:
            file = open_beneath(self._path.parent, self._path.name)
        except FileNotFoundError as error:
            message = f"{self.name}: there is no such file"
            raise UnavailableError("registry.unavailable", message, help="mount it, or correct the path") from error
        except (OSError, ValueError) as error:
            raise file_error(error if isinstance(error, OSError) else OSError(str(error)), self.name) from error
        try:
            return file, *self._find(file, path)
        except OSError as error:
            file.close()
            raise file_error(error, self.name) from error
        except DataError:
            file.close()
            raise

    def _find(self, file: BinaryIO, path: str) -> tuple[int, int]:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            if identity != self._identity:
                self._members, self._identity = scan(file, status.st_size, self.name), identity
            found = self._members.get(path)
        if found is None:
            raise DataError("registry.missing", f"{self._where(path)}: is not in the archive")
        return found

    def _where(self, path: str) -> str:
        return f"{self.name}: {path}"


def scan(file: BinaryIO, size: int, where: str) -> dict[str, tuple[int, int]]:
    """Return offset and size of the regular files in a tar archive (POSIX.1-2017, pax, ustar interchange format).

    Args:
        file: the archive.
        size: its bytes.
        where: its name, for messages.

    Raises:
        DataError: code ``registry.archive``.
        OSError: it cannot be read.
    """
    found: dict[str, tuple[int, int]] = {}
    at = 0
    for _ in range(_MEMBERS_MAX):
        file.seek(at)
        header = file.read(_BLOCK)
        if not header.strip(b"\0"):  # the end, with or without the blocks that mark it
            return found
        member = _header(header, where)
        begin = at + _BLOCK
        at = begin + -(-member.size // _BLOCK) * _BLOCK
        if member.size < 0 or begin + member.size > size:
            raise _refused(f"{where}: is cut off in {member.name[:80]!r}")
        name = member.name.removeprefix("./").rstrip("/") or "."
        if member.type in _EXTENDED:
            if member.size > _EXTENDED_BYTES_MAX or not _HARMLESS.fullmatch(file.read(member.size)):
                raise _refused(f"{where}: an extended header changes what the next member is")
        elif member.type not in _FILES and member.type != tarfile.DIRTYPE:
            raise _refused(f"{where}: {name[:80]!r} is no regular file, but of type {member.type!r}")
        elif name != "." and (not _PLAIN.fullmatch(name) or name in found):
            raise _refused(f"{where}: {name[:80]!r} is there twice, or no plain name")
        elif member.type in _FILES:
            found[name] = (begin, member.size)
    raise _refused(f"{where}: has more than {_MEMBERS_MAX} members")


def _header(block: bytes, where: str) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise _refused(f"{where}: is no tar archive, or damaged: {error}") from error


def _refused(message: str) -> DataError:
    return DataError("registry.archive", message, help="make it with skopeo copy ... oci-archive:FILE, uncompressed")
