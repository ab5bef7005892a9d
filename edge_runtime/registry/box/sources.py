"""The places that a box asks: what each of them lists, and the small files that it lists."""

from __future__ import annotations

import math
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.registry.carriers.access import for_mirror
from edge_runtime.registry.carriers.carrier import TUF
from edge_runtime.registry.carriers.open import open_carrier
from edge_runtime.registry.descriptor import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_runtime.registry.box.order import Order
    from edge_runtime.registry.carriers.carrier import Carrier
    from edge_runtime.registry.carriers.listing import Listing
    from edge_runtime.registry.descriptor import Descriptor
    from edge_runtime.registry.trust.refresh import Fetch

METADATA_S: Final = 120.0
"""Limit for all metadata of one place: one that serves it byte by byte holds back the others and what was revoked."""


def openers(order: Order) -> Iterator[Callable[[], Carrier]]:
    """Yield what opens each place, in order of preference."""
    for url in order.urls:
        yield partial(open_carrier, url, for_mirror(order.access, order.urls[0], url))


def fetch_from(carrier: Carrier, listing: Listing) -> Fetch:
    """Return what fetches the files of ``listing``, whole and with the digest that was listed, from now on."""
    until_s = time.monotonic() + METADATA_S

    def fetch(name: str, limit: int) -> bytes | None:
        blob = listing.files.get(name)
        if blob is None:
            return None
        if blob.size > limit:
            message = f"{carrier.name}: {name} has {blob.size} bytes, at most {limit} are read"
            raise DataError("registry.too_large", message)
        return read_blob(carrier, TUF, blob, until_s)

    return fetch


def read_blob(carrier: Carrier, repository: str, blob: Descriptor, until_s: float = math.inf) -> bytes:
    """Return the bytes of a small blob; never more are read than it should have, nor after ``until_s`` (monotonic).

    Raises:
        UnavailableError, PermissionDeniedError, DataError: as `Carrier.open`; ``registry.digest_mismatch``: it has
            other bytes.
    """
    raw = bytearray()
    with closing(carrier.open(repository, blob)) as stream:
        while len(raw) <= blob.size and (chunk := stream.read(blob.size + 1 - len(raw))):
            raw += chunk
            if time.monotonic() >= until_s:
                message = f"{carrier.name}: what it lists was not here within {METADATA_S:g} s"
                raise UnavailableError("registry.timeout", message, help="look at the network, or name a mirror")
    found = bytes(raw)
    if digest_of(found) != blob.digest:
        message = f"{carrier.name}: expected {blob.digest} with {blob.size} bytes, found others"
        raise DataError("registry.digest_mismatch", message, help="this place does not serve what it lists")
    return found
