"""A Sigstore bundle proves one thing about one manifest, or nothing."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge_runtime.core.errors import DataError
from edge_runtime.registry.descriptor import digest_of
from edge_runtime.registry.publisher.sigstore import BundleSigner
from edge_runtime.registry.trust.sigstore import (
    PAYLOAD_TYPE,
    pre_authentication_encoding,
    read_bundle_key,
    verify_bundle,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DIGEST, OTHER = digest_of(b"manifest"), digest_of(b"another")
KEY = generate_private_key(SECP256R1())
SIGNER = BundleSigner(KEY, "release-board.pub")
STRANGER = BundleSigner(generate_private_key(SECP256R1()), "stranger.pub")


def pem(key: Any) -> bytes:
    raw: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return raw


def changed(change: Callable[[dict[str, Any]], object], raw: bytes | None = None) -> bytes:
    fields = json.loads(SIGNER.sign(DIGEST) if raw is None else raw)
    change(fields)
    return json.dumps(fields).encode()


def signed(statement: object, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """A bundle with a good signature of any statement."""
    payload = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    signature = KEY.sign(pre_authentication_encoding(payload_type, payload), ECDSA(SHA256()))

    def change(fields: dict[str, Any]) -> None:
        envelope = fields["dsseEnvelope"]
        envelope["payload"], envelope["payloadType"] = base64.b64encode(payload).decode(), payload_type
        envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()

    return changed(change)


def statement(**changes: object) -> dict[str, object]:
    fields: dict[str, object] = json.loads(base64.b64decode(json.loads(SIGNER.sign(DIGEST))["dsseEnvelope"]["payload"]))
    return {**fields, **changes}


def refused(raw: bytes, digest: str = DIGEST) -> DataError:
    with pytest.raises(DataError) as caught:
        verify_bundle(raw, digest, [SIGNER.public], "welds 7")
    return caught.value


def test_a_bundle_is_believed_for_the_manifest_that_it_is_about() -> None:
    keys = [STRANGER.public, read_bundle_key(pem(KEY), "release-board.pub")]
    assert verify_bundle(SIGNER.sign(DIGEST), DIGEST, keys, "welds 7").name == "release-board.pub"


def test_what_a_transparency_log_adds_is_not_looked_at() -> None:
    raw = changed(lambda one: one["verificationMaterial"].update(tlogEntries=[], timestampVerificationData={}))
    assert verify_bundle(raw, DIGEST, [SIGNER.public], "welds 7") == SIGNER.public


def test_attack_27_bundle_for_another_digest() -> None:
    error = refused(SIGNER.sign(OTHER))
    assert error.code == "registry.bundle"
    assert DIGEST in error.message
    assert OTHER.removeprefix("sha256:") in error.message


@pytest.mark.parametrize("kind", ["application/vnd.in-toto+xml", "text/plain", ""])
def test_attack_27_bundle_with_a_wrong_payload_type(kind: str) -> None:
    error = refused(signed(statement(), kind))  # the signature is good for that type
    assert (error.code, "payloadType" in error.message) == ("registry.bundle", True)


@pytest.mark.parametrize("count", [0, 2])
def test_attack_27_bundle_with_two_signatures_or_none(count: int) -> None:
    def change(fields: dict[str, Any]) -> None:
        fields["dsseEnvelope"]["signatures"] *= count

    assert f"expected one of its signatures, found {count}" in refused(changed(change)).message


def test_attack_27_bundle_with_a_wrong_key_hint() -> None:
    wrong = changed(lambda one: one["verificationMaterial"]["publicKey"].update(hint=STRANGER.public.hint))
    assert "trusted are: release-board.pub" in refused(wrong).message
    named = changed(lambda one: one["dsseEnvelope"]["signatures"][0].update(keyid=STRANGER.public.hint))
    assert "its signature names the key" in refused(named).message


def test_attack_27_bundle_of_a_stranger_under_the_name_of_a_trusted_key() -> None:
    hint = SIGNER.public.hint
    raw = changed(lambda one: one["verificationMaterial"]["publicKey"].update(hint=hint), STRANGER.sign(DIGEST))
    assert "its signature is not that of release-board.pub" in refused(raw).message


def test_attack_27_bundle_with_any_flipped_byte() -> None:
    raw = SIGNER.sign(DIGEST)
    for place in range(len(raw)):
        for bit in (0x01, 0x20):
            flipped = raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]
            assert refused(flipped).code in ("registry.bundle", "manifest.unreadable"), (place, flipped)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "_type"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "predicateType"),
        ({"subject": []}, "expected one of its subject, found 0"),
        ({"subject": "x"}, "found none"),
        ({"subject": [{"digest": {"sha256": DIGEST.removeprefix("sha256:")}}] * 2}, "found 2"),
        ({"subject": [{"digest": {"sha512": "0"}}]}, "it is about sha512"),
        ({"subject": [{"digest": {"sha256": DIGEST.removeprefix("sha256:"), "md5": "0"}}]}, "sha256, md5"),
        ({"subject": [{"name": "welds"}]}, "it has no digest"),
    ],
)
def test_a_statement_that_is_another_proves_nothing(changes: dict[str, object], message: str) -> None:
    assert message in refused(signed(statement(**changes))).message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"), "mediaType"),
        (lambda one: one.update(messageSignature={}), "'messageSignature', which is not known"),
        (lambda one: one.pop("verificationMaterial"), "it has no verificationMaterial"),
        (lambda one: one["verificationMaterial"].update(certificate={}), "'certificate', which is not known"),
        (lambda one: one["dsseEnvelope"].update(payload="@"), "its payload is not in base64"),
        (lambda one: one["dsseEnvelope"].update(payload=7), "its payload is not in base"),
        (lambda one: one["dsseEnvelope"]["signatures"][0].update(sig="MEUCIQDx"), "its signature is not that"),
        (lambda one: one["dsseEnvelope"]["signatures"][0].update(sig="ü"), "its sig is not in base64"),
    ],
)
def test_a_bundle_of_another_form_is_refused(change: Callable[[dict[str, Any]], object], message: str) -> None:
    assert message in refused(changed(change)).message


def test_a_statement_that_is_no_document_is_refused() -> None:
    assert refused(signed(b"[]")).code == "manifest.unreadable"


def test_a_bundle_is_small() -> None:
    assert refused(SIGNER.sign(DIGEST) + b" " * (64 << 10)).code == "manifest.unreadable"


@pytest.mark.parametrize("raw", [b"", b"x", pem(Ed25519PrivateKey.generate()), pem(generate_private_key(SECP384R1()))])
def test_only_keys_on_p256_are_taken(raw: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.pub is no public ECDSA key") as caught:
        read_bundle_key(raw, "a.pub")
    assert caught.value.code == "key.kind"
