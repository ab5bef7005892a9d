"""Reads small things of a place whole: they have the bytes that were named, or they are not handed out."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.registry.carriers.carrier import TUF
from edge_runtime.registry.carriers.source import checked_chunks
from edge_runtime.registry.descriptor import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.registry.carriers.carrier import Carrier
    from edge_runtime.registry.carriers.listing import Listing
    from edge_runtime.registry.descriptor import Descriptor

WITHIN_S: Final = 60.0  # a place that sends one byte now and then keeps nobody from asking the next one


def read_blob(carrier: Carrier, repository: str, blob: Descriptor, *, within_s: float = WITHIN_S) -> bytes:
    """Return the bytes of a small blob; never more are read than it should have.

    Raises:
        UnavailableError, PermissionDeniedError, DataError: as `Carrier.open`; ``registry.timeout``: not all of it was
            here within ``within_s`` seconds; ``registry.digest_mismatch``: it has other bytes.
    """
    raw = bytearray()
    until_s = time.monotonic() + within_s
    if blob.size:
        with closing(carrier.open(repository, blob)) as stream:
            while len(raw) <= blob.size and (chunk := stream.read(blob.size + 1 - len(raw))):
                raw += chunk
                if time.monotonic() > until_s and len(raw) < blob.size:
                    message = f"{carrier.name}: {len(raw)} of {blob.size} bytes of {blob.digest} in {within_s:g} s"
                    raise UnavailableError("registry.timeout", message, help="look at the network, or name a mirror")
    found = bytes(raw)
    if digest_of(found) != blob.digest:
        expected = f"expected {blob.size} bytes with the digest {blob.digest}"
        message = f"{carrier.name}: {expected}, found {len(found)} with {digest_of(found)}"
        raise DataError("registry.digest_mismatch", message, help="this place does not serve what it lists")
    return found


def check_blob(carrier: Carrier, repository: str, blob: Descriptor) -> None:
    """Read and hash a blob of any size, and keep nothing of it.

    Raises:
        UnavailableError, PermissionDeniedError, DataError: as `Carrier.open`; ``registry.digest``: it has other bytes.
    """
    if blob.size:
        with closing(carrier.open(repository, blob)) as stream:
            for _ in checked_chunks(stream, blob):
                pass


def fetch_from(carrier: Carrier, listing: Listing) -> Callable[[str, int], bytes | None]:
    """Return what fetches the files of ``listing``, whole and with the digest that was listed: see `trust.refresh`."""

    def fetch(name: str, limit: int) -> bytes | None:
        blob = listing.files.get(name)
        if blob is None:
            return None
        if blob.size > limit:
            message = f"{carrier.name}: {name} has {blob.size} bytes, at most {limit} are read"
            raise DataError("registry.too_large", message, help="this place does not list what was signed")
        return read_blob(carrier, TUF, blob)

    return fetch
