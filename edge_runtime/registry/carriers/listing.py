"""Which metadata files a registry has: one OCI manifest, tagged ``tuf:latest``, with a layer for each of them. Pure.

Media type and annotation are those of docker/attest: ``application/vnd.tuf.metadata+json`` and ``tuf.io/filename``.
Names are those of a TUF repository with consistent snapshots: ``2.root.json``, ``timestamp.json``, ``7.snapshot.json``,
``3.rollout-plant-a.json``; and ``targets/PATH`` for the small documents that TUF vouches for.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.descriptor import EMPTY, MANIFEST, Descriptor, checked_digest, describe, digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_BYTES: Final = 1 << 20  # of the manifest
FILES_MAX: Final = 1024
FILE_BYTES_MAX: Final = 4 << 20  # of one of the files
ARTIFACT: Final = "application/vnd.tuf.metadata+json"
FILENAME: Final = "tuf.io/filename"
NOTHING: Final = b"{}"  # the config of an artifact without one

_NAME = re.compile(r"(targets/)?(?!.*(^|/)\.)[0-9a-z][0-9a-z._-]{0,99}(/[0-9a-z][0-9a-z._-]{0,63}){0,4}")


@dataclass(frozen=True, slots=True)
class Listing:
    """The metadata files at one moment.

    Attributes:
        token: names this listing among all there ever were: the digest of its manifest.
        files: by name; the digests only say which blob to fetch, trust comes from signatures.
    """

    token: str
    files: Mapping[str, Descriptor]


def make_listing(files: Mapping[str, bytes]) -> bytes:
    """Return the manifest for ``files``; the same files give the same bytes.

    Raises:
        DataError: too many of them, one is too large, a name is not allowed, or there is too much to list.
    """
    for name, raw in files.items():
        if not _NAME.fullmatch(name) or len(raw) > FILE_BYTES_MAX or len(files) > FILES_MAX:
            message = (
                f"cannot list {name[:80]!r}: names are lower case, at most {FILE_BYTES_MAX} bytes, {FILES_MAX} files"
            )
            raise DataError("registry.listing", message)
    layers = [describe(raw, ARTIFACT, **{FILENAME: name}).as_fields() for name, raw in sorted(files.items())]
    fields = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": describe(NOTHING, EMPTY).as_fields(),
        "layers": layers,
    }
    raw = json.dumps(fields, separators=(",", ":")).encode()
    if len(raw) > LIMIT_BYTES:
        message = f"the listing of {len(files)} files would have {len(raw)} bytes, allowed are {LIMIT_BYTES}"
        raise DataError("registry.listing", message, help="drop the metadata of sites that are no more")
    return raw


def parse_listing(raw: bytes, where: str) -> Listing:
    """Return the listing in the bytes of a manifest.

    Args:
        raw: the manifest; its digest becomes the token.
        where: which carrier, for messages.

    Raises:
        DataError: code ``registry.listing``, or ``manifest.unreadable``.
    """
    data = load_object(raw, f"listing of {where}", limit_bytes=LIMIT_BYTES)
    layers = data.get("layers")
    if data.get("artifactType") != ARTIFACT or not isinstance(layers, list) or len(layers) > FILES_MAX:
        found = data.get("artifactType")
        message = (
            f"{where}: expected an artifact of type {ARTIFACT} with up to {FILES_MAX} layers, found {str(found)[:80]!r}"
        )
        raise DataError("registry.listing", message, help="check the address: it should name a registry of releases")
    files: dict[str, Descriptor] = {}
    for layer in layers:
        name, blob = _layer(layer, where)
        if name in files:
            raise DataError("registry.listing", f"{where}: {name!r} is listed twice")
        files[name] = blob
    return Listing(digest_of(raw), files)


def _layer(layer: object, where: str) -> tuple[str, Descriptor]:
    fields = layer if isinstance(layer, dict) else {}
    notes, size = fields.get("annotations"), fields.get("size")
    name = notes.get(FILENAME) if isinstance(notes, dict) else None
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DataError("registry.listing", f"{where}: {str(name)[:80]!r} is no name of a metadata file")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= FILE_BYTES_MAX:
        message = f"{where}: {name} has {str(size)[:30]!r} bytes, allowed are {FILE_BYTES_MAX}"
        raise DataError("registry.listing", message)
    return name, Descriptor(checked_digest(fields.get("digest"), f"{where}: {name}"), size, ARTIFACT, {FILENAME: name})
