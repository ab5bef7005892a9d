"""A registry in an OCI image layout, wherever its files are: a directory, a tar archive, a web server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge_runtime.core.errors import DataError
from edge_runtime.registry.carriers.carrier import LATEST, TUF
from edge_runtime.registry.carriers.index import INDEX_BYTES_MAX, parse_index
from edge_runtime.registry.carriers.listing import LIMIT_BYTES, Listing, parse_listing
from edge_runtime.registry.descriptor import digest_of

if TYPE_CHECKING:
    from edge_runtime.registry.carriers.carrier import Stream
    from edge_runtime.registry.descriptor import Descriptor


class Files(Protocol):
    """The files of one layout; all methods may be called from any thread.

    Attributes:
        name: what to call it in messages, without secrets.
    """

    name: str

    def read(self, path: str, limit: int) -> bytes:
        """Return the whole file ``path``, for example ``index.json``, which may have ``limit`` bytes at most.

        Raises:
            UnavailableError, PermissionDeniedError, DataError: as `Carrier.listing`.
        """
        ...

    def open(self, path: str, size: int, start: int) -> Stream:
        """Begin to read the file ``path``, which must have ``size`` bytes, at offset ``start``.

        Raises:
            UnavailableError, PermissionDeniedError, DataError: as `Carrier.open`.
        """
        ...

    def close(self) -> None:
        """Let go of what is open; may be called twice."""
        ...


class Layout:
    """A `Carrier` that reads a layout; may be used by any number of threads at once."""

    def __init__(self, files: Files) -> None:
        """Read ``files``; nothing is looked at yet."""
        self.name = files.name
        self._files = files

    def listing(self, known: str | None = None) -> Listing | None:
        """See `Carrier`."""
        manifest = parse_index(self._files.read("index.json", INDEX_BYTES_MAX), self.name).get(f"{TUF}:{LATEST}")
        if manifest is None:
            message = f"{self.name}: holds no manifest named {TUF}:{LATEST}"
            raise DataError("registry.missing", message, help="it is no registry, or nothing was published yet")
        if manifest.digest == known:
            return None
        raw = self._files.read(blob_path(manifest), LIMIT_BYTES)
        if digest_of(raw) != manifest.digest:
            message = f"{self.name}: the listing has the digest {digest_of(raw)}, expected {manifest.digest}"
            raise DataError("registry.digest", message, help="copy or publish it again")
        return parse_listing(raw, self.name)

    def open(self, repository: str, blob: Descriptor, start: int = 0) -> Stream:  # noqa: ARG002 - all share one place
        """See `Carrier`."""
        return self._files.open(blob_path(blob), blob.size, start)

    def close(self) -> None:
        """See `Carrier`."""
        self._files.close()


def blob_path(blob: Descriptor) -> str:
    """Return where a layout keeps ``blob``."""
    return f"blobs/sha256/{blob.hex}"
