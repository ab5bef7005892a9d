"""The publisher's keys: made, listed, unlocked; in files, on a PKCS#11 token or in a key management service.

``NAME.pub.json`` shows a key to others: its name, its TUF form, and where its private half is, if that is no file.
``NAME.pem`` beside it is the private half of a key in a file: Ed25519 in PKCS 8, PEM (RFC 8410, RFC 5958), with a
passphrase or without. A key without either belongs to somebody else. The only user of securesystemslib.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.core.jsonfields import Section, load_object
from edge_runtime.system.files import make_directory, read_limited, storage_error, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from securesystemslib.signer import Key, Signer

    Secrets = Callable[[str], str]  # asked for a secret by name ("passphrase of root-1", "pin"); returns it

SCHEMA: Final = "edge-key/1"
PUBLIC, PRIVATE = ".pub.json", ".pem"
SCHEMES: Final = ("hsm", "awskms", "azurekms", "gcpkms", "hv")  # of securesystemslib, for keys that are in no file
_FILE_BYTES_MAX: Final = 64 << 10
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ATTEMPTS: Final = 3
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_HELP_NAME: Final = "names have lower-case letters, digits, '.', '_' and '-', 64 at most"


@dataclass(frozen=True, slots=True)
class PublisherKey:
    """One key.

    Attributes:
        name: of its file.
        public: its public half.
        file: its private half in PEM, when that is in a file which is there.
        uri: where the private half is otherwise, for example ``hsm:2?label=release-board``; never a secret.
        encrypted: whether ``file`` needs a passphrase.
    """

    name: str
    public: Key
    file: Path | None = None
    uri: str | None = None
    encrypted: bool = False

    @property
    def keyid(self) -> str:
        """How TUF metadata name it."""
        return self.public.keyid

    @property
    def at_hand(self) -> bool:
        """Whether this machine can sign with it, perhaps after a passphrase or a PIN."""
        return self.file is not None or self.uri is not None


class Keyring:
    """The keys of one directory and of single files; unlocks each at most once. One thread."""

    def __init__(self, directory: Path, secrets: Secrets, extra: Iterable[Path] = ()) -> None:
        """Read the public halves.

        Args:
            directory: with ``*.pub.json`` and ``*.pem``; may be missing.
            secrets: asked when a passphrase or a PIN is needed.
            extra: private keys in other places, for example on a stick.

        Raises:
            DataError: a file is no key.
            StorageError, PermissionDeniedError: it cannot be read.
        """
        self._secrets = secrets
        self._signers: dict[str, Signer] = {}
        found = [read_key(path) for path in _files(directory, PUBLIC)]
        found += [self._single(path) for path in extra]
        self.keys: tuple[PublisherKey, ...] = tuple(found)
        self._by_id = {one.keyid: one for one in sorted(found, key=lambda one: (one.at_hand, not one.encrypted))}

    def named(self, name: str) -> PublisherKey:
        """Return the key called ``name``.

        Raises:
            DataError: there is none.
        """
        found = next((one for one in self.keys if one.name == name), None)
        if found is None:
            known = ", ".join(one.name for one in self.keys) or "none at all"
            message = f"there is no key {name[:80]!r} among the publisher's keys ({known})"
            raise DataError("key.missing", message, help=f"edge-runtime registry key new {name[:80]}")
        return found

    def find(self, keyid: str) -> PublisherKey | None:
        """Return the key with this id; the one that needs no passphrase when there are two files of it."""
        return self._by_id.get(keyid)

    def holds(self, keyid: str) -> bool:
        """Tell whether this machine can sign with that key."""
        key = self._by_id.get(keyid)
        return key is not None and key.at_hand

    def signer(self, keyid: str) -> Signer:
        """Return what signs with the key, which `holds`; may ask for its secret, and blocks meanwhile.

        Raises:
            DataError: the passphrase is wrong, or the private half is not that of the public one.
            UnavailableError: token or service do not answer.
        """
        if keyid not in self._signers:
            self._signers[keyid] = _unlock(self._by_id[keyid], self._secrets)
        return self._signers[keyid]

    def _single(self, path: Path) -> PublisherKey:
        shown = path.with_name(path.name.removesuffix(PRIVATE) + PUBLIC)
        if shown.exists():
            key = read_key(shown)
            if key.at_hand:
                return key
        private = _load(path, self._secrets)
        signer = _crypto_signer(private, None, path.name)
        self._signers[signer.public_key.keyid] = signer
        return PublisherKey(path.name.removesuffix(PRIVATE), signer.public_key, path)


def make_key(directory: Path, name: str, passphrase: str | None) -> PublisherKey:
    """Make a new Ed25519 key in two files of ``directory``; no file is ever written over.

    The private half is written first: what is left after a crash in between is found by `recover_public`.

    Raises:
        DataError: the name is taken or not allowed.
        StorageError, PermissionDeniedError: the disk refuses.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - 40 ms

    _refuse_taken(directory, name)
    make_directory(directory, mode=0o700)
    private = Ed25519PrivateKey.generate()
    write_atomic(directory / f"{name}{PRIVATE}", _pem(private, passphrase), mode=0o600)
    signer = _crypto_signer(private, None, name)
    write_atomic(directory / f"{name}{PUBLIC}", _shown(name, signer.public_key, None), mode=0o644)
    return read_key(directory / f"{name}{PUBLIC}")


def _files(directory: Path, suffix: str) -> list[Path]:
    """Return the files of a directory that may be missing; one that may not be read is not taken for an empty one.

    Raises:
        StorageError, PermissionDeniedError: it cannot be read.
    """
    try:
        return sorted(path for path in directory.iterdir() if path.name.endswith(suffix))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, directory, "read") from error


def recover_public(directory: Path, secrets: Secrets) -> None:
    """Write the public halves that a crash of `make_key` has prevented.

    Raises:
        DataError: a private key there cannot be read.
    """
    for path in _files(directory, PRIVATE):
        name = path.name.removesuffix(PRIVATE)
        if not (directory / f"{name}{PUBLIC}").exists():
            public = _crypto_signer(_load(path, secrets), None, name).public_key
            write_atomic(directory / f"{name}{PUBLIC}", _shown(name, public, None), mode=0o644)


def make_reference(directory: Path, name: str, uri: str | None, public: Path) -> PublisherKey:
    """Take up a key that is in no file here: on a token, in a service, or somebody else's (``uri`` is ``None``).

    Args:
        directory: where ``NAME.pub.json`` is written.
        name: of the key.
        uri: ``hsm:``, ``awskms:``, ``azurekms:``, ``gcpkms:`` or ``hv:`` and what securesystemslib expects after it.
        public: its public half, as PEM (every token and service can export it) or as another ``*.pub.json``.

    Raises:
        DataError: the name is taken, the scheme unknown, or the file holds no public key of a known kind.
    """
    _refuse_taken(directory, name)
    if uri is not None and uri.partition(":")[0] not in SCHEMES:
        message = f"no key can be reached by {uri.partition(':')[0][:40]!r}: expected {', '.join(SCHEMES)}"
        raise DataError("key.uri", message, help="for example hsm:2?label=TOKEN")
    key = read_key(public).public if public.name.endswith(PUBLIC) else _read_public_pem(public)
    make_directory(directory, mode=0o700)
    write_atomic(directory / f"{name}{PUBLIC}", _shown(name, key, uri), mode=0o644)
    return read_key(directory / f"{name}{PUBLIC}")


def read_key(path: Path) -> PublisherKey:
    """Return the key that a ``*.pub.json`` shows, with its private half when that lies beside it.

    Raises:
        DataError: the file is no key.
        StorageError, PermissionDeniedError: it cannot be read.
    """
    data = load_object(_read(path), str(path), limit_bytes=_FILE_BYTES_MAX)
    problems: list[str] = []
    top = Section(data, "", problems, [])
    name, uri = top.text("name", required=True, pattern=_NAME), top.text("uri")
    top.choice("schema", (SCHEMA,))
    public = top.mapping("public")
    top.close()
    if problems:
        raise DataError("key.unreadable", f"{path}: " + "; ".join(problems), help="export it again where it was made")
    private = path.with_name(path.name.removesuffix(PUBLIC) + PRIVATE)
    there = uri is None and private.exists()
    encrypted = there and _ENCRYPTED in _read(private)
    return PublisherKey(name or "", _public_of(public, path), private if there else None, uri, encrypted)


def _public_of(fields: Mapping[str, object], path: Path) -> Key:
    from securesystemslib.signer import SSlibKey  # noqa: PLC0415 - as above

    keyid = fields.get("keyid")
    rest = {key: value for key, value in fields.items() if key != "keyid"}
    try:
        if not isinstance(keyid, str):
            raise TypeError("keyid is no text")  # noqa: TRY301 - told with the rest
        return SSlibKey.from_dict(keyid, rest)
    except (KeyError, TypeError, ValueError) as error:
        message = f"{path}: 'public' is no key as TUF writes it: {error}"
        raise DataError("key.unreadable", message, help="export it again where it was made") from error


def _shown(name: str, key: Key, uri: str | None) -> bytes:
    fields: dict[str, object] = {"schema": SCHEMA, "name": name, "public": {"keyid": key.keyid, **key.to_dict()}}
    return (json.dumps(fields | ({"uri": uri} if uri else {}), indent=1) + "\n").encode()


def checked_name(name: str) -> str:
    """Return ``name`` if a key may be called so.

    Raises:
        DataError: code ``key.name``.
    """
    if not _NAME.fullmatch(name):
        raise DataError("key.name", f"a key cannot be called {name[:80]!r}", help=_HELP_NAME)
    return name


def _refuse_taken(directory: Path, name: str) -> None:
    checked_name(name)
    taken = next((path for end in (PRIVATE, PUBLIC) if (path := directory / f"{name}{end}").exists()), None)
    if taken is not None:
        raise DataError("key.exists", f"{taken} exists; a key is never written over", help="choose another name")


def _pem(private: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - as above
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    sealed = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed)


def _load(path: Path, secrets: Secrets) -> Ed25519PrivateKey:
    """Return the private key in a file; a person at a terminal may mistype its passphrase, a file says it once."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - as above

    raw, tried = _read(path), ""
    if _ENCRYPTED not in raw:
        key = _parsed(raw, None)
        if key is None:
            message = f"{path} is no private key in PEM"
            way_out = "put back a copy; one that is lost is replaced: edge-runtime registry key rotate ROLE OLD NEW"
            raise DataError("key.unreadable", message, help=way_out)
    else:
        key = None
        for _ in range(_ATTEMPTS):
            passphrase = secrets(f"passphrase of {path.name.removesuffix(PRIVATE)}")
            if passphrase == tried:
                break
            key, tried = _parsed(raw, passphrase.encode()), passphrase
            if key is not None:
                break
        if key is None:
            raise DataError(
                "key.passphrase", f"{path}: that is not its passphrase", help="nothing was signed; try again"
            )
    if not isinstance(key, Ed25519PrivateKey):
        raise DataError("key.kind", f"{path} is not an Ed25519 key", help="edge-runtime registry key new NAME")
    return key


def _parsed(raw: bytes, passphrase: bytes | None) -> PrivateKeyTypes | None:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        return load_pem_private_key(raw, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _crypto_signer(private: Ed25519PrivateKey, public: Key | None, name: str) -> Signer:
    from securesystemslib.exceptions import Error  # noqa: PLC0415 - as above
    from securesystemslib.signer import CryptoSigner, SSlibKey  # noqa: PLC0415

    try:
        return CryptoSigner(private, public if isinstance(public, SSlibKey) else None)
    except (ValueError, Error) as error:
        message = f"the private half of key {name} is not that of its public half: {error}"
        raise DataError("key.mismatch", message, help="put the two files of one key together") from error


def _unlock(key: PublisherKey, secrets: Secrets) -> Signer:
    if key.file is not None:
        return _crypto_signer(_load(key.file, secrets), key.public, key.name)
    from securesystemslib.signer import Signer  # noqa: PLC0415 - as above

    uri = key.uri or ""
    try:
        return Signer.from_priv_key_uri(uri, key.public, lambda secret: secrets(f"{secret} of {key.name}"))
    except Exception as error:  # securesystemslib: "implementations may raise errors that are not documented here"
        raise _unreachable(key, error) from error


_HELP_REACH: Final = "is the token plugged in, the service reachable, its Python library installed?"


def _unreachable(key: PublisherKey, error: Exception) -> UnavailableError:
    return UnavailableError("key.unavailable", f"key {key.name} ({key.uri}): {error}", help=_HELP_REACH)


def _read_public_pem(path: Path) -> Key:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415
    from securesystemslib.signer import SSlibKey  # noqa: PLC0415

    try:
        return SSlibKey.from_crypto(load_pem_public_key(_read(path)))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = f"{path} holds no public key of a known kind: {error}"
        raise DataError("key.unreadable", message, help="export it as PEM: Ed25519, ECDSA P-256 or RSA") from error


def _read(path: Path) -> bytes:
    try:
        return read_limited(path, _FILE_BYTES_MAX)
    except FileNotFoundError as error:
        raise DataError("key.missing", f"{path}: there is no such file", help="name the file of a key") from error
