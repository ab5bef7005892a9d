"""Reads what a publisher is going to write, and does not let it pass unless it is what its descriptor says."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from edge_runtime.core.errors import DataError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_runtime.registry.descriptor import Descriptor

CHUNK_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 64 << 10  # each has its own time to leave


class Readable(Protocol):
    """A file, or a `Stream` of a carrier."""

    def read(self, limit: int, /) -> bytes:
        """Return up to ``limit`` bytes, none at the end."""
        ...


def checked_chunks(source: Readable, blob: Descriptor) -> Iterator[bytes]:
    """Yield the bytes of ``source``, and raise instead of ending when they are not those of ``blob``.

    Raises:
        DataError: code ``registry.digest``: too few, too many, or other bytes.
        StorageError: the source cannot be read.
    """
    hasher, left = hashlib.sha256(), blob.size
    while chunk := _read(source, min(CHUNK_BYTES, left + 1)):
        left -= len(chunk)
        if left < 0:
            raise DataError("registry.digest", f"more than the {blob.size} bytes of {blob.digest} are to be written")
        hasher.update(chunk)
        yield chunk
    found = f"sha256:{hasher.hexdigest()}"
    if left or found != blob.digest:
        message = f"expected {blob.size} bytes with the digest {blob.digest}, found {blob.size - left} with {found}"
        raise DataError("registry.digest", message, help="the file was changed meanwhile: do it again")


def part_of(source: BinaryIO, offset: int, size: int) -> Callable[[], Iterator[bytes]]:
    """Return what yields ``size`` bytes of ``source`` from ``offset`` on, as often as it is called.

    Its iterators raise StorageError when the source cannot be read.
    """

    def chunks() -> Iterator[bytes]:
        source.seek(offset)
        left = size
        while left and (chunk := _read(source, min(_PIECE_BYTES, left))):
            left -= len(chunk)
            yield chunk

    return chunks


def _read(source: Readable, limit: int) -> bytes:
    try:
        return source.read(limit)
    except OSError as error:
        message = f"cannot read {getattr(source, 'name', 'what is to be published')}: {error.strerror or error}"
        raise StorageError("storage.io", message) from error
