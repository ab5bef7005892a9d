"""What a signed command signs, and how the signature is carried: pure.

The key signs lines of text (UTF-8, joined by a line feed): the protocol tag, ``site/line/edge``, verb, target (empty
without one), id, timestamp as sent, and the SHA-256 of the arguments' bytes as sent, in hex. So it is good for one box,
one command, one id and a few minutes. The id is the nonce: it is remembered until its timestamp can no longer be taken.

MQTT 5: user properties ``key``, ``ts``, ``sig`` (base64), arguments = the payload. MQTT 3.1.1: the payload is
``{"command": "<JSON text>", "key":..., "ts":..., "sig":...}`` and the arguments are the bytes of that text.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.core.command import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.publish.payload import Identity

TAG = "edge-runtime command 1"
SEALED = "command"
_SIGNATURE_BYTES = 64
_FIELDS = ("key", "ts", "sig")


@dataclass(frozen=True, slots=True)
class Signature:
    """As sent: name of the key, RFC 3339 timestamp, signature, and the SHA-256 (hex) of the arguments' bytes."""

    key: str
    ts: str
    value: bytes
    arguments_sha256: str

    @classmethod
    def of(cls, key: str, ts: str, value: bytes, arguments: bytes) -> Self:
        """Make one for ``arguments`` as they are sent."""
        return cls(key, ts, value, hashlib.sha256(arguments).hexdigest())


def canonical(identity: Identity, verb: str, target: str | None, command_id: str, signature: Signature) -> bytes:
    """Return the bytes that are signed."""
    box = f"{identity.site}/{identity.line}/{identity.edge}"
    parts = (TAG, box, verb, target or "", command_id, signature.ts, signature.arguments_sha256)
    return "\n".join(parts).encode()


def sealed(document: Mapping[str, object]) -> bytes | None:
    """Return the bytes of the inner command of a signed MQTT 3.1.1 payload; ``None`` of any other document.

    Raises:
        RefusedError: 400: fields stand beside it that are not signed.
    """
    inner = document.get(SEALED)
    if not isinstance(inner, str) or "sig" not in document:
        return None
    if set(document) - {SEALED, *_FIELDS}:
        raise RefusedError(Status.MALFORMED, "field", f"beside {SEALED}, key, ts and sig nothing may stand unsigned")
    return inner.encode()


def signature_of(fields: Mapping[str, object], arguments: bytes) -> Signature | None:
    """Return the signature that ``fields`` carry, ``None`` when there is none.

    Raises:
        RefusedError: 401: it is not of the documented form.
    """
    found = [fields.get(name) for name in _FIELDS]
    if all(value is None for value in found):
        return None
    key, ts, sig = (value if isinstance(value, str) else "" for value in found)
    try:
        value = base64.b64decode(sig, validate=True)
    except (binascii.Error, ValueError):
        value = b""
    if not key or not ts or "\n" in ts or len(value) != _SIGNATURE_BYTES:
        why = "a signature is three texts: key (its name), ts (RFC 3339), sig (base64 of 64 bytes)"
        raise RefusedError(Status.UNAUTHORIZED, "signature", why)
    return Signature.of(key, ts, value, arguments)
