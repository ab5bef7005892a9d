from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge_runtime.control.commands.ed25519 import generate
from edge_runtime.core.errors import DataError
from edge_runtime.core.publickey import KEY_BYTES, demand_p256, public_key_bytes

RSA = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34Gkx\n-----END PUBLIC KEY-----"


def test_the_key_of_a_pem_file_is_its_last_bytes() -> None:
    _, pem = generate()
    assert len(public_key_bytes("remark\n" + pem.decode(), "ops.pub")) == KEY_BYTES
    assert public_key_bytes(pem.decode().replace("\n", "\r\n"), "ops.pub") == public_key_bytes(pem.decode(), "ops.pub")


@pytest.mark.parametrize(
    "text", ["", "hello", RSA, "-----BEGIN PUBLIC KEY-----\nMCow=BQ\n-----END PUBLIC KEY-----", generate()[0].decode()]
)
def test_anything_else_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(DataError, match=r"ops\.pub is not an Ed25519 public key") as refused:
        public_key_bytes(text, "ops.pub")
    assert "keygen" in (refused.value.help or "")


def ecdsa(curve: SECP256R1 | SECP384R1) -> str:
    key = generate_private_key(curve).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_a_key_on_p256_is_one() -> None:
    demand_p256(ecdsa(SECP256R1()), "board.pub")


@pytest.mark.parametrize(
    "text", ["", RSA, ecdsa(SECP384R1()), generate()[1].decode()], ids=["none", "rsa", "384", "ed"]
)
def test_a_key_of_another_kind_is_none_on_p256(text: str) -> None:
    with pytest.raises(DataError, match=r"board\.pub is no public ECDSA key on P-256") as refused:
        demand_p256(text, "board.pub")
    assert refused.value.code == "key.kind"
