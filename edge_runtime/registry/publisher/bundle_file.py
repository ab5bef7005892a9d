"""Writes a bundle: into a directory (a stick), or into one tar archive that can be written and read in one go.

A bundle that was not written to its end is none: in a directory ``index.json`` comes last, and an archive gets its name
when it is whole. The bytes follow from the bundle alone: no times, owners or order of a file system are in them.
"""

from __future__ import annotations

import contextlib
import tarfile
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.registry.carriers.index import LAYOUT
from edge_runtime.registry.carriers.source import checked_chunks
from edge_runtime.registry.publisher.home import SETTINGS
from edge_runtime.system.files import make_directory, storage_error, write_atomic, write_chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edge_runtime.registry.carriers.carrier import Carrier
    from edge_runtime.registry.descriptor import Descriptor
    from edge_runtime.registry.publisher.bundle import Bundle

_INDEX, _BLOBS, _VERSION = "index.json", "blobs/sha256", "oci-layout"
_BLOCK: Final = 512
_RECORD: Final = 20 * _BLOCK
_FILE_MODE, _DIRECTORY_MODE = 0o644, 0o755


def write_archive(path: Path, bundle: Bundle, registry: Carrier) -> None:
    """Write ``bundle`` as a tar archive (POSIX ustar), its index first and its blobs last.

    Raises:
        DataError: a blob of the registry is not what it should be; there is no new file then.
        StorageError, PermissionDeniedError: the disk refuses; likewise.
        EdgeError: the registry cannot be read; likewise.
    """
    make_directory(path.absolute().parent)
    write_chunks(path, _archive(bundle, registry), mode=_FILE_MODE)


def write_directory(root: Path, bundle: Bundle, registry: Carrier) -> None:
    """Write ``bundle`` into a directory; what lies beside it there, other than a layout, is left alone.

    Raises:
        DataError: a layout is there already, or a blob of the registry is not what it should be.
        StorageError, PermissionDeniedError: the disk refuses.
        EdgeError: the registry cannot be read.
    """
    refuse_layout(root)
    make_directory(root / _BLOBS, mode=_DIRECTORY_MODE)
    for name, _, chunks in _blobs(bundle, registry):
        write_chunks(root / name, chunks, mode=_FILE_MODE)
    write_atomic(root / _VERSION, LAYOUT, mode=_FILE_MODE)
    write_atomic(root / _INDEX, bundle.index, mode=_FILE_MODE)


def check_place(path: Path) -> None:
    """Refuse a place that is not there: where a stick should be mounted, a directory would go to this machine's disk.

    Raises:
        DataError: code ``bundle.no_place``.
    """
    parent = path.absolute().parent
    if not parent.is_dir():
        message = f"there is no directory {parent} to write {path.name} into"
        raise DataError("bundle.no_place", message, help="mount the stick, or correct the path")


def refuse_layout(root: Path) -> None:
    """Refuse a directory that holds a layout or a part of one, or the keys of a publisher.

    Raises:
        DataError: code ``bundle.exists`` or ``bundle.home``.
        StorageError, PermissionDeniedError: it cannot be looked at.
    """
    try:
        there = [name for name in (_INDEX, _VERSION, "blobs") if (root / name).exists()]
        is_home = (root / SETTINGS).exists()
    except OSError as error:
        raise storage_error(error, root, "look at") from error
    if is_home:
        message = f"{root} is a publisher's directory: its keys would travel with the bundle"
        raise DataError("bundle.home", message, help="name another directory")
    if there:
        message = f"{root / there[0]} exists already: a bundle is never mixed with what was carried before"
        raise DataError("bundle.exists", message, help="remove it, or name another directory")


def _archive(bundle: Bundle, registry: Carrier) -> Iterator[bytes]:
    written = 0
    heads = [(_VERSION, len(LAYOUT), [LAYOUT]), (_INDEX, len(bundle.index), [bundle.index])]
    for entries in (heads, _blobs(bundle, registry)):
        for name, size, chunks in entries:
            info = tarfile.TarInfo(name)
            info.size, info.mode = size, _FILE_MODE
            yield info.tobuf(tarfile.USTAR_FORMAT)
            yield from chunks
            yield b"\0" * (-size % _BLOCK)
            written += _BLOCK + size + -size % _BLOCK
    yield b"\0" * (2 * _BLOCK + -(written + 2 * _BLOCK) % _RECORD)


def _blobs(bundle: Bundle, registry: Carrier) -> Iterator[tuple[str, int, Iterable[bytes]]]:
    """Yield name, size and content of each blob: metadata and manifests first, the largest last."""
    for digest, raw in sorted(bundle.small.items(), key=lambda one: (len(one[1]), one[0])):
        yield f"{_BLOBS}/{digest.removeprefix('sha256:')}", len(raw), [raw]
    for repository, blob in bundle.large:
        if blob.digest not in bundle.small:
            yield f"{_BLOBS}/{blob.hex}", blob.size, _copied(registry, repository, blob)


def _copied(registry: Carrier, repository: str, blob: Descriptor) -> Iterator[bytes]:
    if blob.size:
        with contextlib.closing(registry.open(repository, blob)) as stream:
            yield from checked_chunks(stream, blob)
