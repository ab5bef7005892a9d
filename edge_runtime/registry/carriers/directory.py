"""An image layout in a directory, perhaps on a USB stick that a stranger filled: ``oci-layout:DIR``."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, BinaryIO, Final

from edge_runtime.core.errors import DataError, PermissionDeniedError, UnavailableError
from edge_runtime.system.regular import open_beneath

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.core.errors import EdgeError

_REFUSED: Final = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EINVAL, errno.EISDIR, errno.ENXIO})


class FileStream:
    """Bytes ``start`` to ``end`` of a regular file; see `Stream`."""

    def __init__(self, file: BinaryIO, name: str, *, offset: int, start: int, size: int) -> None:
        """Own ``file``.

        Args:
            file: an open regular file.
            name: what to call it in messages.
            offset: where in ``file`` the blob begins.
            start: offset in the blob of the first byte to read.
            size: of the blob.
        """
        self.start = start
        self._file = file
        self._name = name
        self._left = size - start
        file.seek(offset + start)

    def read(self, limit: int) -> bytes:
        """See `Stream`."""
        try:
            chunk = self._file.read(min(limit, self._left))
        except OSError as error:
            raise file_error(error, self._name) from error
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        """See `Stream`."""
        self._file.close()


class Directory:
    """The `Files` of a layout in a directory. Below it no link is followed, and only regular files are opened."""

    def __init__(self, root: Path) -> None:
        """Name the directory; it may appear later."""
        self.name = f"oci-layout:{root}"
        self._root = root

    def read(self, path: str, limit: int) -> bytes:
        """See `Files`."""
        with self.file(path) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                raw = file.read(limit + 1) if size <= limit else b""
            except OSError as error:
                raise file_error(error, self._where(path)) from error
        if max(size, len(raw)) > limit:
            message = f"{self._where(path)}: has {size} bytes, allowed are {limit}"
            raise DataError("registry.size", message)
        return raw

    def open(self, path: str, size: int, start: int) -> FileStream:
        """See `Files`."""
        file = self.file(path)
        found = os.fstat(file.fileno()).st_size
        if found != size:
            file.close()
            message = f"{self._where(path)}: has {found} bytes, expected {size}"
            raise DataError("registry.size", message, help="copy it again")
        return FileStream(file, self._where(path), offset=0, start=start, size=size)

    def close(self) -> None:
        """Nothing stays open."""

    def size_of(self, path: str) -> int | None:
        """Return the size of a file in bytes, ``None`` when there is none.

        Raises:
            UnavailableError, PermissionDeniedError, DataError: as `read`.
        """
        try:
            with self.file(path) as file:
                return os.fstat(file.fileno()).st_size
        except DataError as error:
            if error.code == "registry.missing":
                return None
            raise

    def file(self, path: str) -> BinaryIO:
        """Return the open file ``path``, for example ``index.json``.

        Raises:
            UnavailableError, PermissionDeniedError, DataError: as `read`.
        """
        try:
            return open_beneath(self._root, *path.split("/"))
        except FileNotFoundError as error:
            if not self._root.is_dir():
                message = f"{self.name}: there is no such directory"
                raise UnavailableError("registry.unavailable", message, help="mount it, or correct the path") from error
            raise DataError("registry.missing", f"{self._where(path)}: there is no such file") from error
        except OSError as error:
            raise file_error(error, self._where(path)) from error

    def _where(self, path: str) -> str:
        return str(self._root / path)


def file_error(error: OSError, name: str) -> EdgeError:
    """Translate the kernel's answer to reading the file ``name`` of a registry."""
    text = f"{name}: {error.strerror or error}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionDeniedError("registry.permission", text, help="give this user the right to read it")
    if error.errno in _REFUSED:
        text = f"{name}: is no regular file in regular directories"
        return DataError("registry.not_a_file", text, help="links, pipes and devices are not read; copy the files")
    return UnavailableError("registry.unavailable", text, help="look at the medium, and the kernel log")
