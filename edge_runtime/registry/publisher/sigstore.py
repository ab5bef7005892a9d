"""Makes Sigstore bundles, as cosign 3 does with a key, and puts them where other tools look for them.

A plant that checks images with tools of its own finds the bundle as a referrer of the manifest (OCI distribution-spec
1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema"). Boxes find it by the signed release; see
`trust.sigstore`. With the same key and manifest two bundles differ: ECDSA signatures are salted.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.registry.carriers.listing import NOTHING
from edge_runtime.registry.descriptor import EMPTY, INDEX, MANIFEST, Descriptor, describe, digest_of
from edge_runtime.registry.trust.sigstore import (
    BUNDLE,
    PAYLOAD_TYPE,
    PREDICATE,
    STATEMENT,
    BundleKey,
    bundle_key_of,
    pre_authentication_encoding,
    verify_bundle,
)
from edge_runtime.system.files import read_limited, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from edge_runtime.registry.carriers.carrier import Publication

_KEY_BYTES_MAX: Final = 64 << 10
_CONTENT: Final = {
    "dev.sigstore.bundle.content": "dsse-envelope",
    "dev.sigstore.bundle.predicateType": PREDICATE,
}
_HELP_KEY: Final = "edge-runtime registry key new NAME --type ecdsa makes a pair"


class BundleSigner:
    """A private ECDSA key on P-256. One thread."""

    def __init__(self, private: EllipticCurvePrivateKey, name: str) -> None:
        """Sign with ``private``, which is called ``name`` in messages.

        Raises:
            DataError: code ``key.kind``: it is on another curve.
        """
        self._private = private
        self.public: BundleKey = bundle_key_of(private.public_key(), name)

    def sign(self, digest: str) -> bytes:
        """Return a bundle that says that the manifest with ``digest`` is this publisher's; a box would take it."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415 - 40 ms
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        statement = {
            "_type": STATEMENT,
            "subject": [{"digest": {"sha256": digest.removeprefix("sha256:")}}],
            "predicateType": PREDICATE,
            "predicate": {},
        }
        payload = _written(statement)
        signature = self._private.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload), ECDSA(SHA256()))
        raw = _written(
            {
                "mediaType": BUNDLE,
                "verificationMaterial": {"publicKey": {"hint": self.public.hint}},
                "dsseEnvelope": {
                    "payload": base64.b64encode(payload).decode(),
                    "payloadType": PAYLOAD_TYPE,
                    "signatures": [{"sig": base64.b64encode(signature).decode()}],
                },
            }
        )
        verify_bundle(raw, digest, [self.public], digest)
        return raw


def read_bundle_signer(path: Path, passphrase: Callable[[], str]) -> BundleSigner:
    """Return the private key in a PEM file: PKCS 8, as ``registry key new --type ecdsa`` and openssl write it.

    Args:
        path: of the file.
        passphrase: asked when the key is encrypted.

    Raises:
        DataError: it is no such key, or the passphrase is wrong.
        StorageError, PermissionDeniedError: it cannot be read.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        raw = read_limited(path, _KEY_BYTES_MAX)
    except FileNotFoundError as error:
        raise DataError("key.missing", f"{path}: there is no such file", help=_HELP_KEY) from error
    secret = passphrase().encode() if b"ENCRYPTED" in raw else None
    try:
        key = load_pem_private_key(raw, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if secret is not None:
            raise DataError("key.passphrase", f"{path}: that is not its passphrase", help="try again") from error
        raise DataError("key.unreadable", f"{path} is no private key in PEM", help=_HELP_KEY) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise DataError("key.kind", f"{path} is no ECDSA key on P-256", help=_HELP_KEY)
    return BundleSigner(key, path.name)


def make_bundle_key(path: Path, passphrase: str | None) -> BundleSigner:
    """Make a new key: ``path`` (private, never written over) and beside it ``STEM.pub``, which boxes are given.

    Raises:
        DataError: one of the files is there already.
        StorageError, PermissionDeniedError: the disk refuses.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    public = path.with_suffix(".pub")
    taken = next((one for one in (path, public) if one.exists()), None)
    if taken is not None:
        raise DataError("key.exists", f"{taken} exists; a key is never written over", help="choose another name")
    private = generate_private_key(SECP256R1())
    sealed = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    write_atomic(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed), mode=0o600)
    shown = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_atomic(public, shown, mode=0o644)
    return BundleSigner(private, path.name)


def attach_bundle(place: Publication, repository: str, manifest: bytes, bundle: bytes) -> Descriptor:
    """Put ``bundle`` beside ``manifest``, whose digest it is about, and return what names it.

    The tag ``sha256-HEX`` is for registries and tools that know no referrers; another publisher's entries in it are not
    kept, since nothing here is found by it.

    Args:
        place: the registry.
        repository: of the model.
        manifest: of the release; lies in the repository.
        bundle: as `BundleSigner.sign` made it.

    Raises:
        EdgeError: as `Publication.put`.
    """
    blob, nothing = describe(bundle, BUNDLE), describe(NOTHING, EMPTY)
    place.put(repository, nothing, io.BytesIO(NOTHING))
    place.put(repository, blob, io.BytesIO(bundle))
    pointer = point_at(manifest, blob)
    place.tag(repository, digest_of(pointer.referrer), pointer.referrer)
    place.tag(repository, pointer.tag, pointer.index)
    return blob


@dataclass(frozen=True, slots=True)
class Pointer:
    """How other tools find a bundle.

    Attributes:
        referrer: OCI manifest of the bundle, whose subject is the manifest that it is about.
        index: lists the referrer; for registries without the API for them.
        tag: of ``index``.
    """

    referrer: bytes
    index: bytes
    tag: str


def point_at(manifest: bytes, bundle: Descriptor) -> Pointer:
    """Return what leads from ``manifest`` to ``bundle``; always the same for the same two."""
    subject, nothing = describe(manifest, MANIFEST), describe(NOTHING, EMPTY)
    referrer = _written(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": BUNDLE,
            "config": nothing.as_fields(),
            "layers": [bundle.as_fields()],
            "subject": subject.as_fields(),
            "annotations": _CONTENT,
        }
    )
    entry = {**describe(referrer, MANIFEST).as_fields(), "artifactType": BUNDLE, "annotations": _CONTENT}
    index = _written({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    return Pointer(referrer, index, f"sha256-{subject.hex}")


def _written(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
