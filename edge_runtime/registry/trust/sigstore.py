"""Verifies a Sigstore bundle that was made with a key: a second lock beside TUF, for plants with keys of their own.

What is read: Sigstore bundle v0.3 (github.com/sigstore/protobuf-specs, ``sigstore_bundle.proto``) with one DSSE
envelope (github.com/secure-systems-lab/dsse, ``envelope.md``) around one in-toto statement, as cosign 3 makes them;
ECDSA on P-256 with SHA-256. A bundle is never looked for: its digest stands in the signed release. Pure, but for the
arithmetic of ``cryptography``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import load_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_BYTES_MAX: Final = 64 << 10
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
_HELP: Final = "publish the release again with the key that this plant expects; nothing of it is used until then"


@dataclass(frozen=True, slots=True)
class BundleKey:
    """A public key that may sign bundles.

    Attributes:
        name: where it was read, for messages.
        hint: base64 of the SHA-256 of its SubjectPublicKeyInfo in DER, by which a bundle names it.
        der: that form of it.
    """

    name: str
    hint: str
    der: bytes


def read_bundle_key(pem: bytes, name: str) -> BundleKey:
    """Return the key in ``pem``, which is called ``name``.

    Raises:
        DataError: code ``key.kind``: it is no public key on P-256 in PEM.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - 40 ms that most boxes never need
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(name) from error
    return bundle_key_of(key, name)


def bundle_key_of(key: object, name: str) -> BundleKey:
    """Return ``key``, an object of ``cryptography``.

    Raises:
        DataError: code ``key.kind``: it is not on P-256.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise _no_key(name)
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return BundleKey(name, base64.b64encode(hashlib.sha256(der).digest()).decode(), der)


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return what a DSSE signature is made over (``protocol.md``, Signature Definition)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def verify_bundle(raw: bytes, digest: str, keys: Sequence[BundleKey], where: str) -> BundleKey:
    """Return the key that signed, in ``raw``, that a manifest with ``digest`` is its owner's.

    Args:
        raw: the bundle.
        digest: of the OCI manifest that it has to be about.
        keys: that are trusted.
        where: what it is about, for messages.

    Raises:
        DataError: codes ``registry.bundle`` (it proves nothing about this manifest), ``manifest.unreadable``.
    """
    top = _Fields(load_object(raw, f"Sigstore bundle of {where}", limit_bytes=BUNDLE_BYTES_MAX), where)
    top.demand("mediaType", BUNDLE)
    material = top.inner("verificationMaterial")
    hint = material.inner("publicKey")
    envelope = top.inner("dsseEnvelope")
    envelope.demand("payloadType", PAYLOAD_TYPE)
    payload = envelope.binary("payload")
    signature = envelope.only("signatures")
    sealed = signature.binary("sig")
    key = next((one for one in keys if one.hint == hint.text("hint")), None)
    if key is None:
        known = ", ".join(one.name for one in keys) or "none"
        _refuse(where, f"it is signed with the key {hint.text('hint')[:60]!r}, trusted are: {known}")
    if signature.text("keyid") not in ("", key.hint):
        _refuse(where, f"its signature names the key {signature.text('keyid')[:60]!r}, the bundle {key.hint}")
    material.close(also=("tlogEntries", "timestampVerificationData"))  # of a log that a plant cannot ask
    for one in (hint, signature, envelope, top):
        one.close()
    if not _is_signed(key, sealed, pre_authentication_encoding(PAYLOAD_TYPE, payload)):
        _refuse(where, f"its signature is not that of {key.name}")
    _check_statement(payload, digest, where)
    return key


def _check_statement(payload: bytes, digest: str, where: str) -> None:
    statement = _Fields(load_object(payload, f"statement about {where}", limit_bytes=BUNDLE_BYTES_MAX), where)
    statement.demand("_type", STATEMENT)
    statement.demand("predicateType", PREDICATE)
    subject = statement.only("subject").inner("digest")
    found = subject.text("sha256")
    if f"sha256:{found}" != digest or set(subject.data) != {"sha256"}:
        _refuse(where, f"it is about {', '.join(subject.data)[:40]} {found[:64]!r}, expected {digest}")


def _is_signed(key: BundleKey, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    public: EllipticCurvePublicKey = load_der_public_key(key.der)  # type: ignore[assignment]  # made by bundle_key_of
    try:
        public.verify(signature, data, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


class _Fields:
    """One object of a bundle; whatever is not as it should be is the end of it."""

    def __init__(self, data: dict[str, object], where: str) -> None:
        self.data = data
        self._where = where
        self._asked: set[str] = set()

    def text(self, name: str) -> str:
        value = self._get(name)
        return value if isinstance(value, str) else ""

    def demand(self, name: str, expected: str) -> None:
        if self._get(name) != expected:
            _refuse(self._where, f"its {name} is {str(self._get(name))[:80]!r}, expected {expected!r}")

    def inner(self, name: str) -> _Fields:
        value = self._get(name)
        if not isinstance(value, dict):
            _refuse(self._where, f"it has no {name}")
        return _Fields(value, self._where)

    def only(self, name: str) -> _Fields:
        value = self._get(name)
        if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
            count = len(value) if isinstance(value, list) else "none"
            _refuse(self._where, f"expected one of its {name}, found {count}")
        return _Fields(value[0], self._where)

    def binary(self, name: str) -> bytes:
        """Return what stands in base64; only in the one way in which it can be written."""
        text = self.text(name)
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if not raw or base64.b64encode(raw).decode() != text:
            _refuse(self._where, f"its {name} is not in base64")
        return raw

    def close(self, *, also: Sequence[str] = ()) -> None:
        unknown = next((name for name in self.data if name not in (*self._asked, *also)), None)
        if unknown is not None:
            _refuse(self._where, f"it has {unknown[:40]!r}, which is not known here")

    def _get(self, name: str) -> object:
        self._asked.add(name)
        return self.data.get(name)


def _no_key(name: str) -> DataError:
    help_ = "edge-runtime registry key new NAME --type ecdsa makes a pair; openssl pkey -pubout shows a public half"
    return DataError("key.kind", f"{name} is no public ECDSA key on P-256 in PEM", help=help_)


def _refuse(where: str, text: str) -> NoReturn:
    raise DataError("registry.bundle", f"the Sigstore bundle of {where} is refused: {text}", help=_HELP)
