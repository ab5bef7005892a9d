"""Reading an Ed25519 public key from PEM: its DER form is 12 fixed bytes and the key (RFC 8410, 4)."""

from __future__ import annotations

import base64
import binascii
import re

from edge_runtime.core.errors import DataError

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)-----END PUBLIC KEY-----")
_PREFIX = bytes.fromhex("302a300506032b6570032100")
KEY_BYTES = 32


def public_key_bytes(pem: str, where: str) -> bytes:
    """Return the 32 bytes of the key in ``pem``; ``where`` names the file in messages.

    Raises:
        DataError: it is no Ed25519 public key in PEM.
    """
    found = _PEM.search(pem)
    try:
        der = base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except binascii.Error:
        der = b""
    if len(der) != len(_PREFIX) + KEY_BYTES or not der.startswith(_PREFIX):
        way_out = "edge-runtime command keygen makes a pair; openssl pkey -pubout shows that of a private key"
        raise DataError("key.kind", f"{where} is not an Ed25519 public key in PEM", help=way_out)
    return der[len(_PREFIX) :]
