"""The ``index.json`` of an image layout: which manifest has which name (OCI image-spec 1.1, image-layout.md). Pure.

Names are ``REPOSITORY:TAG`` in the annotation ``org.opencontainers.image.ref.name``; entries without one, and what
other tools wrote into them, are kept as they are.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.descriptor import INDEX, REF_NAME, Descriptor, checked_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYOUT_BYTES_MAX: Final = 4 << 10  # of oci-layout
INDEX_BYTES_MAX: Final = 4 << 20
LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'  # the content of oci-layout
EMPTY_INDEX: Final = b'{"schemaVersion":2,"mediaType":"' + INDEX.encode() + b'","manifests":[]}'


def parse_index(raw: bytes, where: str) -> dict[str, Descriptor]:
    """Return the manifests that have a name.

    Args:
        raw: content of ``index.json``.
        where: which carrier, for messages.

    Raises:
        DataError: code ``registry.index``: not an index, or two manifests have one name; or ``manifest.unreadable``.
    """
    found: dict[str, Descriptor] = {}
    for entry in _entries(raw, where):
        name = _name(entry)
        if name is None:
            continue
        size, kind = entry.get("size"), entry.get("mediaType")
        if name in found:
            raise DataError("registry.index", f"{where}: two manifests are named {name[:80]!r}")
        if isinstance(size, bool) or not isinstance(size, int) or size < 0 or not isinstance(kind, str):
            raise DataError("registry.index", f"{where}: {name[:80]!r} has no size or no media type")
        digest = checked_digest(entry.get("digest"), f"{where}: {name[:80]!r}")
        found[name] = Descriptor(digest, size, kind, {REF_NAME: name})
    return found


def with_name(raw: bytes, name: str, manifest: Descriptor, where: str) -> bytes:
    """Return the index in ``raw`` with ``name`` given to ``manifest`` and to no other; the same arguments, same bytes.

    Raises:
        DataError: as `parse_index`, or it would become too large.
    """
    kept = [entry for entry in _entries(raw, where) if _name(entry) != name]
    named = Descriptor(manifest.digest, manifest.size, manifest.media_type, {**manifest.annotations, REF_NAME: name})
    fields = load_object(raw, f"index.json of {where}", limit_bytes=INDEX_BYTES_MAX)
    merged = json.dumps({**fields, "manifests": [*kept, named.as_fields()]}, separators=(",", ":")).encode()
    if len(merged) > INDEX_BYTES_MAX:
        message = f"{where}: its index would have {len(merged)} bytes, allowed are {INDEX_BYTES_MAX}"
        raise DataError("registry.index", message, help="begin another layout directory for new releases")
    return merged


def _entries(raw: bytes, where: str) -> list[Mapping[str, object]]:
    entries = load_object(raw, f"index.json of {where}", limit_bytes=INDEX_BYTES_MAX).get("manifests")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError("registry.index", f"{where}: index.json has no list of manifests")
    return entries


def _name(entry: Mapping[str, object]) -> str | None:
    notes = entry.get("annotations")
    name = notes.get(REF_NAME) if isinstance(notes, dict) else None
    return name if isinstance(name, str) else None
