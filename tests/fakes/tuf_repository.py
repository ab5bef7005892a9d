"""A registry's metadata, made with python-tuf's public API: what a publisher does, and what a thief could do.

Deterministic: keys come from their names, time stands still unless it is moved. ``files`` is what the listing names.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient import FetcherInterface

from edge_runtime.registry.documents import (
    FLOORS_PATH,
    Assignment,
    FloorsDocument,
    ModelFloor,
    Release,
    Rollout,
    dump_floors,
    dump_rollout,
    release_fields,
    release_path,
    rollout_path,
    rollout_paths,
    rollout_role,
    stamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
LIFE = {
    "root": timedelta(days=730),
    "targets": timedelta(days=180),
    "snapshot": timedelta(days=30),
    "timestamp": timedelta(days=7),
    "rollout": timedelta(days=30),
}


class TreeFetcher(FetcherInterface):
    """Lets python-tuf's own client read what `TufRepository.write_tree` wrote."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(url)
        if not path.is_file():
            raise DownloadHTTPError("not there", 404)
        yield path.read_bytes()


def signer(name: str) -> CryptoSigner:
    """The key that is always the same for the same name."""
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


class TufRepository:
    """Change something, then ``publish``: ``files`` has the new ones, and older versions stay where TUF keeps them."""

    def __init__(self, *, sites: Iterable[str] = ("plant-a",), now: datetime = START) -> None:
        self.now = now
        self.files: dict[str, bytes] = {}
        self.keys: dict[str, list[CryptoSigner]] = {}
        self.root = Root(expires=now + LIFE["root"], consistent_snapshot=True)
        for role, count, threshold in (("root", 3, 2), ("targets", 3, 2), ("snapshot", 1, 1), ("timestamp", 1, 1)):
            self.keys[role] = [signer(f"{role}-{number}") for number in range(count)]
            for key in self.keys[role]:
                self.root.add_key(key.public_key, role)
            self.root.roles[role].threshold = threshold
        self.targets = Targets(expires=now + LIFE["targets"])
        self.targets.delegations = Delegations(keys={}, roles={})
        self.snapshot = Snapshot(expires=now + LIFE["snapshot"])
        self.timestamp = Timestamp(expires=now + LIFE["timestamp"])
        self.rollouts: dict[str, Targets] = {}
        self.sign_root()
        for site in sites:
            self.delegate(site)
        self.publish(first=True)

    @property
    def pinned(self) -> bytes:
        return self.files["1.root.json"]

    def fetch(self, name: str, limit: int) -> bytes | None:
        """As a box would: at most ``limit`` bytes and one more."""
        raw = self.files.get(name)
        return None if raw is None else raw[: limit + 1]

    # what a publisher does

    def sign_root(self, *others: CryptoSigner) -> None:
        """Sign the root as it is, with its own keys and those of ``others`` (the root before)."""
        self.files[f"{self.root.version}.root.json"] = _signed(self.root, [*self.keys["root"], *others])

    def rotate(self, *roles: str, tag: str = "new") -> None:
        """Give new keys to ``roles`` in the next root."""
        old = self.keys["root"]
        self.root = deepcopy(self.root)
        self.root.version += 1
        self.root.expires = self.now + LIFE["root"]
        for role in roles:
            for key in self.keys[role]:
                self.root.revoke_key(key.public_key.keyid, role)
            self.keys[role] = [signer(f"{role}-{tag}-{number}") for number in range(len(self.keys[role]))]
            for key in self.keys[role]:
                self.root.add_key(key.public_key, role)
        self.sign_root(*(old if "root" in roles else ()))

    def delegate(self, site: str, *, tag: str = "", paths: list[str] | None = None) -> None:
        """Let the operators of ``site`` sign its rollouts, with a key of its own."""
        role = rollout_role(site)
        self.keys[role] = [signer(role + tag)]
        delegations = self.targets.delegations
        assert delegations is not None
        assert delegations.roles is not None
        delegations.roles[role] = DelegatedRole(role, [], 1, terminating=True, paths=paths or [rollout_paths(site)])
        self.targets.add_key(self.keys[role][0].public_key, role)
        self.rollouts.setdefault(site, Targets(expires=self.now + LIFE["rollout"]))

    def add_release(self, model: str, number: int, manifest: bytes = b"{}", **custom: Any) -> None:
        release = Release(
            model=model,
            release=number,
            version=f"{number}.0",
            digest="sha256:" + hashlib.sha256(f"{model}-{number}".encode()).hexdigest(),
            repository=model,
            issued=self.now,
            **custom,
        )
        path = release_path(model, number)
        info = TargetFile.from_data(path, manifest, ["sha256"])
        info.unrecognized_fields["custom"] = release_fields(release)
        self.targets.targets[path] = info

    def set_floors(self, **models: ModelFloor) -> None:
        raw = dump_floors(FloorsDocument(models))
        self.targets.targets[FLOORS_PATH] = TargetFile.from_data(FLOORS_PATH, raw, ["sha256"])
        self.files[f"targets/{FLOORS_PATH}"] = raw

    def set_rollout(self, site: str, seq: int, *assignments: Assignment, **other: Any) -> None:
        fields: dict[str, Any] = {"issued": self.now, "expires": self.now + LIFE["rollout"], **other}
        self.put_document(site, rollout_path(site), dump_rollout(Rollout(site, seq, assignments=assignments, **fields)))

    def put_document(self, site: str, path: str, raw: bytes) -> None:
        """Let the operators of ``site`` sign any bytes at any path."""
        self.rollouts[site].targets[path] = TargetFile.from_data(path, raw, ["sha256"])
        self.files[f"targets/{path}"] = raw

    def publish(self, *roles: str, first: bool = False) -> None:
        """Sign new versions of ``roles`` (all targets, when none is named), of the snapshot, and of the timestamp."""
        for role in roles or ("targets", *map(rollout_role, self.rollouts)):
            if role not in ("snapshot", "timestamp"):
                self._sign_targets(role, first=first)
        if roles != ("timestamp",):
            self.snapshot.version += not first
            self.snapshot.expires = self.now + LIFE["snapshot"]
            self.sign_snapshot()
        self.timestamp.version += not first
        self.timestamp.expires = self.now + LIFE["timestamp"]
        self.sign_timestamp()

    def _sign_targets(self, role: str, *, first: bool) -> None:
        signed = self.targets if role == "targets" else self.rollouts[role.removeprefix("rollout-")]
        signed.version += not first
        signed.expires = self.now + LIFE["targets" if role == "targets" else "rollout"]
        self.sign(role, signed)

    # what a thief may do too, with other things than the publisher meant

    def sign(self, role: str, signed: Targets, keys: Iterable[CryptoSigner] | None = None) -> bytes:
        raw = _signed(signed, self.keys[role] if keys is None else keys)
        self.files[f"{signed.version}.{role}.json"] = raw
        self.snapshot.meta[f"{role}.json"] = _meta(signed.version, raw)
        return raw

    def sign_snapshot(self) -> bytes:
        raw = _signed(self.snapshot, self.keys["snapshot"])
        self.files[f"{self.snapshot.version}.snapshot.json"] = raw
        self.timestamp.snapshot_meta = _meta(self.snapshot.version, raw)
        return raw

    def sign_timestamp(self, issued: object = None) -> bytes:
        self.timestamp.unrecognized_fields["issued"] = issued or stamp(self.now)
        self.files["timestamp.json"] = _signed(self.timestamp, self.keys["timestamp"])
        return self.files["timestamp.json"]

    def write_tree(self, directory: Path) -> None:
        """Write what python-tuf's own client reads: metadata, and targets with their hash in the name."""
        for name, raw in self.files.items():
            head, slash, tail = name.removeprefix("targets/").rpartition("/")
            place = f"targets/{head}{slash}{hashlib.sha256(raw).hexdigest()}.{tail}"
            path = directory / (place if name.startswith("targets/") else f"metadata/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)


def _signed(signed: Any, keys: Iterable[CryptoSigner]) -> bytes:
    metadata: Metadata[Any] = Metadata(deepcopy(signed))
    for key in keys:
        metadata.sign(key, append=True)
    return metadata.to_bytes()


def _meta(version: int, raw: bytes) -> MetaFile:
    return MetaFile(version, len(raw), {"sha256": hashlib.sha256(raw).hexdigest()})
