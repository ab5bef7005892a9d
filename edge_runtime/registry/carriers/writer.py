"""Writes a registry into an image-layout directory: blobs first, then the one file that names them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from edge_runtime.core.errors import BusyError, DataError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.carriers.carrier import LATEST, TUF
from edge_runtime.registry.carriers.directory import Directory
from edge_runtime.registry.carriers.index import (
    EMPTY_INDEX,
    INDEX_BYTES_MAX,
    LAYOUT,
    LAYOUT_BYTES_MAX,
    parse_index,
    with_name,
)
from edge_runtime.registry.carriers.layout import Layout, blob_path
from edge_runtime.registry.carriers.listing import ARTIFACT, LIMIT_BYTES, NOTHING, make_listing
from edge_runtime.registry.carriers.source import checked_chunks
from edge_runtime.registry.descriptor import MANIFEST, describe
from edge_runtime.system.files import LockFile, make_directory, storage_error, write_atomic, write_chunks
from edge_runtime.system.names import remove

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge_runtime.registry.descriptor import Descriptor

_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755  # what is in it is signed, not secret: a web server may serve it
_LOCK = ".lock"


class LayoutPublication(Layout):
    """A `Publication` in a directory, which the first write makes; one thread.

    A crash or power cut leaves the old or the new ``index.json``, and every blob that it names. What nothing names any
    more stays: a reader may be at it.
    """

    def __init__(self, root: Path) -> None:
        """Name the directory; nothing is written yet."""
        self._directory = Directory(root)
        super().__init__(self._directory)
        self._root = root
        self._locked = False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """See `Publication`; the kernel ends the lock of a publisher that dies."""
        if self._locked:
            yield
            return
        make_directory(self._root, mode=_DIRECTORY_MODE)
        lock = LockFile(self._root / _LOCK)
        try:
            lock.acquire()
        except BusyError as error:
            message = f"{self.name}: another publisher is at it ({error.message})"
            raise BusyError("registry.locked", message, help="wait until it is done; its lock ends with it") from error
        with lock:
            self._prepare()
            self._locked = True
            try:
                yield
            finally:
                self._locked = False

    def has(self, repository: str, blob: Descriptor) -> bool:  # noqa: ARG002 - all share one place
        """See `Publication`."""
        return self._root.is_dir() and self._directory.size_of(blob_path(blob)) == blob.size

    def put(self, repository: str, blob: Descriptor, source: BinaryIO) -> None:
        """See `Publication`."""
        with self.lock():
            if not self.has(repository, blob):
                write_chunks(self._root / blob_path(blob), checked_chunks(source, blob), mode=_FILE_MODE)

    def tag(self, repository: str, tag: str, manifest: bytes) -> None:
        """See `Publication`."""
        with self.lock():
            kind = load_object(manifest, "manifest", limit_bytes=LIMIT_BYTES).get("mediaType")
            blob = describe(manifest, kind if isinstance(kind, str) else MANIFEST)
            self._write(blob, manifest)
            if tag == blob.digest:
                return
            index = with_name(self._index(), f"{repository}:{tag}", blob, self.name)
            write_atomic(self._root / "index.json", index, mode=_FILE_MODE)

    def publish(self, files: Mapping[str, bytes], replaces: str | None) -> str:
        """See `Publication`."""
        manifest = make_listing(files)
        token = describe(manifest, MANIFEST).digest
        with self.lock():
            current = parse_index(self._index(), self.name).get(f"{TUF}:{LATEST}")
            found = None if current is None else current.digest
            if found != replaces:
                message = f"{self.name}: another publisher was faster: the listing is {found}, expected {replaces}"
                raise BusyError("registry.changed", message, help="do it again: it is made from the new state then")
            for raw in (NOTHING, *files.values()):
                self._write(describe(raw, ARTIFACT), raw)
            self.tag(TUF, LATEST, manifest)
        return token

    def _write(self, blob: Descriptor, raw: bytes) -> None:
        if not self.has("", blob):
            write_atomic(self._root / blob_path(blob), raw, mode=_FILE_MODE)

    def _index(self) -> bytes:
        return self._directory.read("index.json", INDEX_BYTES_MAX)

    def _prepare(self) -> None:
        """Make what is missing of an empty layout, and remove what a publisher that died left half; with the lock."""
        blobs = self._root / "blobs" / "sha256"
        for directory in (blobs.parent, blobs):
            make_directory(directory, mode=_DIRECTORY_MODE)
            if _is_link(directory):
                message = f"{directory}: is a link, where a layout has a directory"
                raise DataError("registry.not_a_file", message, help="remove it, or use another directory")
        for directory in (self._root, blobs):
            for left in _leftovers(directory):
                remove(left)
        for name, content in (("index.json", EMPTY_INDEX), ("oci-layout", LAYOUT)):
            if self._directory.size_of(name) is None:
                write_atomic(self._root / name, content, mode=_FILE_MODE)
        raw = self._directory.read("oci-layout", LAYOUT_BYTES_MAX)
        version = load_object(raw, f"oci-layout of {self.name}", limit_bytes=LAYOUT_BYTES_MAX).get("imageLayoutVersion")
        if version != "1.0.0":
            message = f"{self.name}: is a layout of version {str(version)[:40]!r}, expected 1.0.0"
            raise DataError("registry.index", message, help="use another directory")


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError as error:
        raise storage_error(error, path, "look at") from error


def _leftovers(directory: Path) -> list[Path]:
    """Return the files that `write_chunks` did not finish."""
    try:
        return list(directory.glob(".*.tmp"))
    except OSError as error:
        raise storage_error(error, directory, "list") from error
