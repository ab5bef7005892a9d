"""The one interface of all places that hold a registry: names of metadata, blobs by digest; and that to write to them.

A registry is one *listing* (which metadata files there are now, see ``listing``) and blobs, each in a *repository*
(``tuf`` for the listing and what it lists, else the model's name). Nothing a carrier says is believed: who reads a blob
hashes it, who reads metadata verifies its signatures. A carrier only bounds sizes and times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from edge_runtime.registry.carriers.listing import Listing
    from edge_runtime.registry.descriptor import Descriptor

TUF = "tuf"  # the repository of the listing
LATEST = "latest"  # and its tag


class Stream(Protocol):
    """Bytes of one blob, from one thread.

    Attributes:
        start: offset of the first byte; 0 when the carrier could not begin where it was asked to.
    """

    start: int

    def read(self, limit: int) -> bytes:
        """Return 1 to ``limit`` bytes, or none at the end; never blocks longer than the carrier's stall limit.

        Raises:
            UnavailableError: the connection was cut, stalled or is too slow; what was read is good.
            DataError: the other side breaks its protocol.
        """
        ...

    def close(self) -> None:
        """Let go of connection or file; may be called twice."""
        ...


class Carrier(Protocol):
    """One place; each thread uses its own, unless the class says otherwise.

    Attributes:
        name: what to call it in messages and logs, without secrets.
    """

    name: str

    def listing(self, known: str | None = None) -> Listing | None:
        """Return what metadata there is, or ``None`` when it is still the listing with the token ``known``.

        Raises:
            UnavailableError: it does not answer, or answers 5xx.
            PermissionDeniedError: it refuses the credentials.
            DataError: there is none, or it is not as it should be.
        """
        ...

    def open(self, repository: str, blob: Descriptor, start: int = 0) -> Stream:
        """Begin to read ``blob`` at offset ``start``, which is less than its size.

        Raises:
            UnavailableError, PermissionDeniedError, DataError: as `listing`; ``DataError`` with the code
                ``registry.missing`` when it is not there, and for every other 4xx: trying again will not help.
        """
        ...

    def close(self) -> None:
        """Close connections."""
        ...


class Publication(Carrier, Protocol):
    """A place that a publisher may write to."""

    def lock(self) -> AbstractContextManager[None]:
        """Keep other publishers out until the end of the ``with``.

        Raises:
            BusyError: another one is at it; says since when, and what to do if it died.
        """
        ...

    def has(self, repository: str, blob: Descriptor) -> bool:
        """Tell whether the blob is there, with this size."""
        ...

    def put(self, repository: str, blob: Descriptor, source: BinaryIO) -> None:
        """Write a blob (no manifest) durably; one that is there is left alone.

        Raises:
            EdgeError: it could not be written, or ``source`` does not give what ``blob`` says.
        """
        ...

    def tag(self, repository: str, tag: str, manifest: bytes) -> None:
        """Write an OCI image manifest or index whose blobs are all there, and let ``tag`` name it.

        With its own digest as ``tag`` it is written without a name, so that others can point at it.
        """
        ...

    def publish(self, files: Mapping[str, bytes], replaces: str | None) -> str:
        """Make ``files`` the metadata there is, all at once, and return the token of the new listing.

        Args:
            files: all metadata by name.
            replaces: token of the listing that they were made from; ``None`` when there was none.

        Raises:
            BusyError: another publisher was faster, so nothing was changed; read and make them again.
        """
        ...
