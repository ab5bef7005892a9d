"""Reading public keys from PEM. The DER form of a kind begins with fixed bytes, and the key follows.

Ed25519: RFC 8410, 4. ECDSA on P-256, the point not compressed: RFC 5480, 2.
"""

from __future__ import annotations

import base64
import binascii
import re

from edge_runtime.core.errors import DataError

_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)-----END PUBLIC KEY-----")
_PREFIX = bytes.fromhex("302a300506032b6570032100")
KEY_BYTES = 32
_P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_P256_BYTES = 64


def public_key_bytes(pem: str, where: str) -> bytes:
    """Return the 32 bytes of the key in ``pem``; ``where`` names the file in messages.

    Raises:
        DataError: it is no Ed25519 public key in PEM.
    """
    der = _der(pem)
    if len(der) != len(_PREFIX) + KEY_BYTES or not der.startswith(_PREFIX):
        way_out = "edge-runtime command keygen makes a pair; openssl pkey -pubout shows that of a private key"
        raise DataError("key.kind", f"{where} is not an Ed25519 public key in PEM", help=way_out)
    return der[len(_PREFIX) :]


def demand_p256(pem: str, where: str) -> None:
    """Accept an ECDSA public key on P-256; whether its point lies on the curve is not looked at.

    Raises:
        DataError: code ``key.kind``.
    """
    der = _der(pem)
    if len(der) != len(_P256_PREFIX) + _P256_BYTES or not der.startswith(_P256_PREFIX):
        way_out = "edge-runtime registry key new NAME --type ecdsa makes a pair"
        raise DataError("key.kind", f"{where} is no public ECDSA key on P-256 in PEM", help=way_out)


def _der(pem: str) -> bytes:
    found = _PEM.search(pem)
    try:
        return base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except binascii.Error:
        return b""
