"""Keys in files, on tokens and of other people."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.registry.publisher import roots
from edge_runtime.registry.publisher.home import PROFILES
from edge_runtime.registry.publisher.keys import Keyring, make_key, make_reference, read_key, recover_public
from tests.publishers import SITE, Publisher, founded

if TYPE_CHECKING:
    from pathlib import Path


def _no_secret(what: str) -> NoReturn:
    pytest.fail(f"asked for {what}")


def _verify(key: Any, signature: Any, data: bytes) -> None:
    key.public.verify_signature(signature, data)


def test_a_key_is_what_openssl_takes_for_an_ed25519_key(tmp_path: Path) -> None:
    key = make_key(tmp_path, "root-1", None)
    assert key.file is not None
    assert (key.file.stat().st_mode & 0o777, key.encrypted, key.at_hand) == (0o600, False, True)
    shown = subprocess.run(["openssl", "pkey", "-in", key.file, "-text", "-noout"], capture_output=True, check=True)
    assert b"ED25519 Private-Key" in shown.stdout


def test_a_key_signs(tmp_path: Path) -> None:
    key = make_key(tmp_path, "k", None)
    _verify(key, Keyring(tmp_path, _no_secret).signer(key.keyid).sign(b"data"), b"data")


def test_a_passphrase_is_asked_for_once(tmp_path: Path) -> None:
    key = make_key(tmp_path, "k", "sesame")
    asked = []
    ring = Keyring(tmp_path, lambda what: asked.append(what) or "sesame")
    assert key.encrypted
    for _ in range(2):
        _verify(key, ring.signer(key.keyid).sign(b"data"), b"data")
    assert asked == ["passphrase of k"]


def test_a_wrong_passphrase_is_said_without_it(tmp_path: Path) -> None:
    key = make_key(tmp_path, "k", "sesame")
    with pytest.raises(DataError, match="that is not its passphrase") as caught:
        Keyring(tmp_path, lambda _: "swordfish").signer(key.keyid)
    assert "swordfish" not in str(caught.value)


def test_a_person_may_mistype_a_passphrase_twice(tmp_path: Path) -> None:
    key = make_key(tmp_path, "k", "sesame")
    words = iter(["sesam", "seasme", "sesame"])
    assert Keyring(tmp_path, lambda _: next(words)).signer(key.keyid).public_key.keyid == key.keyid
    wrong = iter("abcd")
    with pytest.raises(DataError, match="not its passphrase"):
        Keyring(tmp_path, lambda _: next(wrong)).signer(key.keyid)
    assert next(wrong) == "d"


@pytest.mark.parametrize("name", ["", "Root", "../x", "a/b", "a" * 65, ".x"])
def test_a_name_that_is_no_name_makes_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be called"):
        make_key(tmp_path, name, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", [".pem", ".pub.json"])
def test_a_key_is_never_written_over(tmp_path: Path, end: str) -> None:
    (tmp_path / f"k{end}").write_text("precious")
    with pytest.raises(DataError, match="never written over"):
        make_key(tmp_path, "k", None)
    assert (tmp_path / f"k{end}").read_text() == "precious"


def test_a_crash_between_the_two_files_of_a_key_is_mended(tmp_path: Path) -> None:
    key = make_key(tmp_path, "k", "sesame")
    (tmp_path / "k.pub.json").unlink()
    recover_public(tmp_path, lambda _: "sesame")
    assert read_key(tmp_path / "k.pub.json").keyid == key.keyid
    recover_public(tmp_path, _no_secret)


def test_a_key_on_a_stick_is_used_with_and_without_its_public_half(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    key = make_key(stick, "targets-1", None)
    assert key.file is not None
    for _ in range(2):
        ring = Keyring(tmp_path / "none", _no_secret, [key.file])
        _verify(key, ring.signer(key.keyid).sign(b"data"), b"data")
        (stick / "targets-1.pub.json").unlink(missing_ok=True)


def test_the_half_of_another_key_is_refused(tmp_path: Path) -> None:
    key = make_key(tmp_path, "a", None)
    (tmp_path / "a.pem").write_bytes(make_key(tmp_path, "b", None).file.read_bytes())  # type: ignore[union-attr]
    with pytest.raises(DataError, match="not that of its public half") as caught:
        Keyring(tmp_path, _no_secret).signer(key.keyid)
    assert caught.value.code == "key.mismatch"


def test_what_is_no_key_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("hello")
    with pytest.raises(DataError, match="no private key in PEM"):
        Keyring(tmp_path / "none", _no_secret, [tmp_path / "x.pem"])
    ec = generate_ec(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "x.pem").write_bytes(ec)
    with pytest.raises(DataError, match="not an Ed25519 key"):
        Keyring(tmp_path / "none", _no_secret, [tmp_path / "x.pem"])
    with pytest.raises(DataError, match="no such file"):
        Keyring(tmp_path / "none", _no_secret, [tmp_path / "y.pem"])


@pytest.mark.parametrize(
    "change",
    [
        {"public": {"keytype": "ed25519"}},
        {"public": {"keyid": "a", "keytype": "x"}},
        {"name": "A B"},
        {"schema": "x/9"},
    ],
)
def test_a_public_half_that_is_none_is_said(tmp_path: Path, change: dict[str, object]) -> None:
    make_key(tmp_path, "k", None)
    path = tmp_path / "k.pub.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError) as caught:
        Keyring(tmp_path, _no_secret)
    assert caught.value.code == "key.unreadable"


def test_names_that_are_not_there_are_said_with_those_that_are(tmp_path: Path) -> None:
    make_key(tmp_path, "targets-1", None)
    with pytest.raises(DataError, match=r"no key 'target' among the publisher's keys \(targets-1\)"):
        Keyring(tmp_path, _no_secret).named("target")


class _Token(CryptoSigner):
    """Stands for a token: the private half is behind an address, and there is a PIN."""

    keys: dict[str, Any] = {}  # noqa: RUF012 - one shelf of tokens

    @classmethod
    def from_priv_key_uri(cls, uri: str, public: Any, secrets: Any = None) -> CryptoSigner:
        if secrets("pin") != "1234":
            raise OSError("CKR_PIN_INCORRECT")
        return CryptoSigner(cls.keys[uri], public)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the exported public half of an ECDSA key that is on the token ``hsm:2``."""
    private = generate_ec(SECP256R1())
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "hsm", _Token)
    monkeypatch.setitem(_Token.keys, "hsm:2", private)
    path = tmp_path / "token.pem"
    path.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_a_key_on_a_token_signs_what_boxes_accept(tmp_path: Path, token: Path) -> None:
    publisher = founded(tmp_path)
    publisher.secret = "1234"
    old = publisher.key("targets").keyid
    key = make_reference(publisher.home.keys, "board", "hsm:2", token)
    assert (key.at_hand, key.file) == (True, None)
    publisher.do(lambda draft: roots.rotate(draft, "targets", old, key))
    publisher.release(1)
    assert publisher.state().signers("targets") == (key.keyid,)


def test_a_token_that_does_not_answer_is_said(tmp_path: Path, token: Path) -> None:
    key = make_reference(tmp_path / "keys", "board", "hsm:2", token)
    with pytest.raises(UnavailableError, match=r"key board \(hsm:2\): CKR_PIN_INCORRECT") as caught:
        Keyring(tmp_path / "keys", lambda _: "0000").signer(key.keyid)
    assert "0000" not in str(caught.value)


def test_a_token_that_goes_away_while_it_signs_is_said(
    tmp_path: Path, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = founded(tmp_path)
    publisher.secret = "1234"
    old = publisher.key("targets").keyid
    key = make_reference(publisher.home.keys, "board", "hsm:2", token)
    before = publisher.desk().registry.listing()

    def gone(*_: object) -> NoReturn:
        raise OSError("CKR_DEVICE_REMOVED")

    monkeypatch.setattr(CryptoSigner, "sign", gone)
    with pytest.raises(UnavailableError, match="did not sign"):
        publisher.do(lambda draft: roots.rotate(draft, "targets", old, key))
    assert publisher.desk().registry.listing() == before


def test_a_key_of_somebody_else_is_taken_up_and_cannot_sign_here(tmp_path: Path) -> None:
    make_key(tmp_path / "theirs", "bob", None)
    key = make_reference(tmp_path / "ours", "bob", None, tmp_path / "theirs" / "bob.pub.json")
    assert not key.at_hand
    assert not Keyring(tmp_path / "ours", _no_secret).holds(key.keyid)
    with pytest.raises(DataError, match="no key can be reached by 'ftp'"):
        make_reference(tmp_path / "ours", "eve", "ftp:x", tmp_path / "theirs" / "bob.pub.json")
    (tmp_path / "x.pem").write_text("hello")
    with pytest.raises(DataError, match="no public key of a known kind"):
        make_reference(tmp_path / "ours", "eve", None, tmp_path / "x.pem")


def test_no_more_passphrases_are_asked_for_than_signatures_are_needed(tmp_path: Path) -> None:
    publisher = founded(tmp_path, "production")
    third = publisher.new_key("targets-4")
    sealed = make_key(publisher.home.keys, "targets-0", "sesame")
    for key in (third, sealed):
        publisher.do(lambda draft, key=key: roots.grant(draft, "targets", key, None))  # type: ignore[misc]
    publisher.secret = ""
    publisher.release(1)
    assert len(publisher.state().signers("targets")) == PROFILES["production"].targets_keys[1]


def test_secrets_are_nowhere_but_in_keys(tmp_path: Path) -> None:
    publisher: Publisher = founded(tmp_path)
    secret = [path for path in tmp_path.rglob("*") if path.is_file() and b"PRIVATE" in path.read_bytes()]
    assert {path.parent for path in secret} == {publisher.home.keys}
    assert {path.stat().st_mode & 0o077 for path in secret} == {0}
    assert SITE in {path.name.removeprefix("rollout-").removesuffix(".pem") for path in secret}
