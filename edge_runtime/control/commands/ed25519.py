"""The only user of ``cryptography``: Ed25519 keys (RFC 8032) in PEM files. Loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.core.publickey import public_key_bytes
from edge_runtime.system.files import read_limited

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_KEY_BYTES_MAX = 4096


def is_signed_by(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """Tell whether ``signature`` (64 bytes) of ``data`` was made with the private key of ``public_key`` (32 bytes)."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - 40 ms that most boxes never need
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_public(path: Path) -> bytes:
    """Return the 32 bytes of the public key in a PEM file.

    Raises:
        DataError: it holds no such key.
        StorageError: it cannot be read.
        PermissionDeniedError: it may not be read.
    """
    try:
        return public_key_bytes(read_limited(path, _KEY_BYTES_MAX).decode("ascii", "replace"), str(path))
    except FileNotFoundError as error:
        raise DataError("key.missing", f"{path}: there is no such file") from error


def sign(private_key: Path, data: bytes) -> bytes:
    """Return the signature (64 bytes) of ``data`` with the private key in a PEM file.

    Raises:
        DataError: it holds no Ed25519 key without passphrase.
        StorageError: it cannot be read.
        PermissionDeniedError: it may not be read.
    """
    return _private(private_key).sign(data)


def generate() -> tuple[bytes, bytes]:
    """Return a new key pair as PEM: PKCS 8 without passphrase, and SubjectPublicKeyInfo (RFC 8410)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _private(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    way_out = "make one: edge-runtime command keygen FILE"
    try:
        key = load_pem_private_key(read_limited(path, _KEY_BYTES_MAX), None)
    except FileNotFoundError as error:
        raise DataError("key.missing", f"{path}: there is no such file", help=way_out) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        msg = f"{path} is not a private key in PEM without passphrase"
        raise DataError("key.unreadable", msg, help=way_out) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DataError("key.kind", f"{path} is not an Ed25519 key", help=way_out)
    return key
