"""What names a sequence of bytes in a registry: digest, size, media type (OCI image-spec 1.1, descriptor.md). Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
TITLE: Final = "org.opencontainers.image.title"
REF_NAME: Final = "org.opencontainers.image.ref.name"

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob that is wanted: nothing is read for it but exactly ``size`` bytes with exactly this ``digest``.

    Attributes:
        digest: ``sha256:`` and 64 lower-case hex digits; no other algorithm is known.
        size: bytes, >= 0.
        media_type: what the bytes are; ``MANIFEST`` and ``INDEX`` are fetched from another endpoint of a registry.
        annotations: as written beside it.
    """

    digest: str
    size: int
    media_type: str
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def hex(self) -> str:
        """The digest without its algorithm: the name of the file in a layout."""
        return self.digest.removeprefix("sha256:")

    def as_fields(self) -> dict[str, object]:
        """Return the JSON object, without empty annotations."""
        fields: dict[str, object] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return {**fields, "annotations": dict(self.annotations)} if self.annotations else fields


def describe(raw: bytes, media_type: str, **annotations: str) -> Descriptor:
    """Return the descriptor of these bytes."""
    return Descriptor(digest_of(raw), len(raw), media_type, annotations)


def digest_of(raw: bytes) -> str:
    """Return ``sha256:`` and the hex SHA-256 of ``raw``."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def checked_digest(text: object, where: str) -> str:
    """Return ``text`` if it is a SHA-256 digest.

    Raises:
        DataError: code ``registry.digest``: another algorithm, upper case, or no digest at all.
    """
    if not isinstance(text, str) or not DIGEST.fullmatch(text):
        message = f"{where}: expected sha256: and 64 lower-case hex digits, found {str(text)[:80]!r}"
        raise DataError("registry.digest", message, help="publish it again with a tool that uses sha256")
    return text
