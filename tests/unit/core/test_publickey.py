from __future__ import annotations

import pytest

from edge_runtime.control.commands.ed25519 import generate
from edge_runtime.core.errors import DataError
from edge_runtime.core.publickey import KEY_BYTES, public_key_bytes

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
