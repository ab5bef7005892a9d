"""A TUF repository as a value: read from a listing, and verified from the publisher's own root before it is used.

A publisher that signed on top of whatever lies in the registry would make a forged or an old state true. So the files
are verified as a box does it (TUF 1.0.34, 5.3 to 5.6), but for expiry: renewing what has expired is the publisher's
work. And no role may be older than what this publisher has seen of it (`home.Seen`).
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from edge_runtime.core.errors import DataError
from edge_runtime.registry.documents import (
    FLOORS_PATH,
    FloorsDocument,
    Release,
    Rollout,
    parse_floors,
    parse_release,
    parse_rollout,
    release_at,
    rollout_path,
    rollout_role,
)
from edge_runtime.registry.publisher.home import Seen, SeenRole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tuf.api.metadata import MetaFile, Signed

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
_ROLLOUT: Final = "rollout-"
_VERSIONED = re.compile(r"([1-9][0-9]{0,15})\.([a-z0-9._-]+)\.json")
_HELP_FORGED: Final = "nothing was changed; edge-runtime registry restore puts back what was published from here last"
S = TypeVar("S", bound="Signed")


@dataclass(frozen=True, slots=True)
class Repository:
    """All that is signed at one moment; every signature was verified.

    Attributes:
        files: as they lie in the registry, by name.
        root: the newest.
        past_roots: the ones before it that are known, oldest first.
        targets: role of the releases.
        rollouts: what each site's role signed, by site.
        snapshot: ``None`` when it could not be verified and that was allowed; likewise ``timestamp``.
        documents: floors and rollouts, by target path.
    """

    files: Mapping[str, bytes]
    root: Metadata[Root]
    past_roots: tuple[Metadata[Root], ...]
    targets: Metadata[Targets]
    rollouts: Mapping[str, Metadata[Targets]]
    snapshot: Metadata[Snapshot] | None
    timestamp: Metadata[Timestamp] | None
    documents: Mapping[str, bytes] = field(default_factory=dict)

    def releases(self) -> dict[tuple[str, int], tuple[Release, str]]:
        """Return all releases by model and number, each with the digest of its OCI manifest.

        Raises:
            DataError: one of them is not as it should be.
        """
        return releases_of(self.targets.signed)

    def floors(self) -> FloorsDocument:
        """Return what nobody may run.

        Raises:
            DataError: the document is not as it should be.
        """
        return parse_floors(self.documents[FLOORS_PATH], FLOORS_PATH)

    def rollout(self, site: str) -> Rollout:
        """Return what the operators of ``site`` want.

        Raises:
            DataError: there is no such site, or its document is not as it should be.
        """
        if site not in self.rollouts:
            known = ", ".join(sorted(self.rollouts)) or "none"
            message = f"this registry has no site {site[:80]!r}; its sites: {known}"
            raise DataError("registry.site", message, help=f"edge-runtime registry site {site[:80]} adds it")
        return parse_rollout(self.documents[rollout_path(site)], rollout_path(site))

    def roles(self) -> dict[str, Signed]:
        """Return what each role says now, by its name."""
        found: dict[str, Signed] = {ROOT: self.root.signed, TARGETS: self.targets.signed}
        found |= {rollout_role(site): one.signed for site, one in self.rollouts.items()}
        if self.snapshot is not None:
            found[SNAPSHOT] = self.snapshot.signed
        if self.timestamp is not None:
            found[TIMESTAMP] = self.timestamp.signed
        return found

    def signers(self, role: str) -> tuple[str, ...]:
        """Return the ids of the keys that signed what ``role`` says now."""
        if role == ROOT:
            return tuple(self.root.signatures)
        if role == SNAPSHOT:
            return tuple(self.snapshot.signatures) if self.snapshot is not None else ()
        if role == TIMESTAMP:
            return tuple(self.timestamp.signatures) if self.timestamp is not None else ()
        return tuple((self.targets if role == TARGETS else self.rollouts[site_of(role) or role]).signatures)

    def keyids(self, role: str) -> tuple[str, ...]:
        """Return the keys that may sign ``role``."""
        return keyids_of(self.root.signed, self.targets.signed, role)

    def threshold(self, role: str) -> int:
        """Return how many of them must."""
        delegator = self.root.signed if role in self.root.signed.roles else self.targets.signed
        return delegator.get_delegated_role(role).threshold

    def seen(self) -> Seen:
        """Return what a publisher has seen who saw this."""
        issued = self.timestamp.signed.unrecognized_fields.get("issued") if self.timestamp is not None else ""
        roles = {role: SeenRole(one.version, self.keyids(role)) for role, one in self.roles().items()}
        return Seen(roles, issued if isinstance(issued, str) else "")


def releases_of(targets: Targets) -> dict[tuple[str, int], tuple[Release, str]]:
    """Return the releases that ``targets`` lists; see `Repository.releases`.

    Raises:
        DataError: one of them is not as it should be.
    """
    found = {}
    for path, target in targets.targets.items():
        if (named := release_at(path)) is not None:
            custom = target.custom if isinstance(target.custom, dict) else {}
            found[named] = (parse_release(custom, path), "sha256:" + target.hashes["sha256"])
    return dict(sorted(found.items()))


def delegated(targets: Targets) -> tuple[str, ...]:
    """Return the roles that sign for one site each."""
    roles = targets.delegations.roles if targets.delegations is not None else None
    return tuple(roles or ())


def site_of(role: str) -> str | None:
    """Return the site that a role signs for, ``None`` when it is no such role."""
    return role.removeprefix(_ROLLOUT) if role.startswith(_ROLLOUT) else None


def keyids_of(root: Root, targets: Targets, role: str) -> tuple[str, ...]:
    """Return the keys that may sign ``role``, none when nobody gave them that right."""
    with contextlib.suppress(ValueError):
        delegator = root if role in root.roles else targets
        return tuple(delegator.get_delegated_role(role).keyids)
    return ()


def load(files: Mapping[str, bytes], trusted_root: bytes, seen: Seen, *, recover: bool = False) -> Repository:
    """Verify ``files`` and return what they say.

    Args:
        files: all of a listing, by name.
        trusted_root: where trust begins: a root of any version.
        seen: what may not be undercut.
        recover: do without timestamp and snapshot when they cannot be verified or name what does not exist, because
            their keys were lost or stolen; of the other roles the newest that is there counts then.

    Raises:
        DataError: code ``registry.forged`` (not signed by those who may), ``registry.replayed`` (older than seen).
    """
    with _refusing("root"):
        roots = _root_chain(files, Metadata[Root].from_bytes(trusted_root))
    root = roots[-1]
    timestamp = _timestamp(files, root.signed, lenient=recover)
    snapshot = _snapshot(files, root.signed, timestamp, lenient=recover)
    metas = None if recover or snapshot is None else snapshot.signed.meta
    with _refusing(TARGETS):
        targets = _role(files, root.signed, TARGETS, metas)
    rollouts = {}
    for role in delegated(targets.signed):
        with _refusing(role):
            rollouts[site_of(role) or role] = _role(files, targets.signed, role, metas)
    documents = dict(_documents(files, targets.signed, (FLOORS_PATH,)))
    for site, one in rollouts.items():
        documents.update(_documents(files, one.signed, (rollout_path(site),)))
    found = Repository(files, root, tuple(roots[:-1]), targets, rollouts, snapshot, timestamp, documents)
    _refuse_older(found, seen)
    return found


@contextlib.contextmanager
def _refusing(role: str) -> Iterator[None]:
    try:
        yield
    except (RepositoryError, ValueError, KeyError, LookupError, RecursionError) as error:
        message = f"what the registry has as {role} is not signed by those who may: {error}"
        raise DataError("registry.forged", message, help=_HELP_FORGED) from error


def _root_chain(files: Mapping[str, bytes], trusted: Metadata[Root]) -> list[Metadata[Root]]:
    """Return all roots up to the newest; those after ``trusted`` are signed by the one before and by themselves."""
    trusted.signed.verify_delegate(ROOT, trusted.signed_bytes, trusted.signatures)
    if f"{trusted.signed.version}.root.json" not in files:
        message = f"the registry does not have root {trusted.signed.version}, which this publisher knows"
        raise DataError("registry.replayed", message, help=_HELP_FORGED)
    older = (files.get(f"{version}.root.json") for version in range(1, trusted.signed.version))
    past = [Metadata[Root].from_bytes(raw) for raw in older if raw is not None]  # only so that no old key comes back
    chain = [trusted]
    while (raw := files.get(f"{chain[-1].signed.version + 1}.root.json")) is not None:
        new = Metadata[Root].from_bytes(raw)
        result = new.signed.get_root_verification_result(chain[-1].signed, new.signed_bytes, new.signatures)
        if not result:
            raise RepositoryError(f"root {new.signed.version} lacks {result.first.missing or result.second.missing}")
        chain.append(new)
    return past + chain


def _timestamp(files: Mapping[str, bytes], root: Root, *, lenient: bool) -> Metadata[Timestamp] | None:
    try:
        with _refusing(TIMESTAMP):
            found = Metadata[Timestamp].from_bytes(files[f"{TIMESTAMP}.json"])
            root.verify_delegate(TIMESTAMP, found.signed_bytes, found.signatures)
            return found
    except DataError:
        if lenient:
            return None
        raise


def _snapshot(
    files: Mapping[str, bytes], root: Root, timestamp: Metadata[Timestamp] | None, *, lenient: bool
) -> Metadata[Snapshot] | None:
    try:
        with _refusing(SNAPSHOT):
            if timestamp is None:
                raise LookupError("there is no timestamp that names it")
            meta = timestamp.signed.snapshot_meta
            raw = files[f"{meta.version}.{SNAPSHOT}.json"]
            meta.verify_length_and_hashes(raw)
            found = Metadata[Snapshot].from_bytes(raw)
            root.verify_delegate(SNAPSHOT, found.signed_bytes, found.signatures)
            return found
    except DataError:
        if lenient:
            return None
        raise


def _role(
    files: Mapping[str, bytes], delegator: Root | Targets, role: str, metas: Mapping[str, MetaFile] | None
) -> Metadata[Targets]:
    """Return what the snapshot names as ``role``; without a snapshot the newest that was signed by those who may."""
    if metas is not None:
        meta = metas[f"{role}.json"]
        meta.verify_length_and_hashes(files[f"{meta.version}.{role}.json"])
        return _version(files, delegator, role, meta.version)
    there = (_VERSIONED.fullmatch(name) for name in files)
    refused: Exception = LookupError(f"there is no {role}")
    for version in sorted((int(one[1]) for one in there if one and one[2] == role), reverse=True):
        try:
            return _version(files, delegator, role, version)
        except RepositoryError as error:
            refused = error
    raise refused


def _version(files: Mapping[str, bytes], delegator: Root | Targets, role: str, version: int) -> Metadata[Targets]:
    found = Metadata[Targets].from_bytes(files[f"{version}.{role}.json"])
    delegator.verify_delegate(role, found.signed_bytes, found.signatures)
    if found.signed.version != version:
        raise RepositoryError(f"{version}.{role}.json is version {found.signed.version}")
    return found


def _documents(files: Mapping[str, bytes], role: Targets, paths: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        try:
            raw = files[f"targets/{path}"]
            role.targets[path].verify_length_and_hashes(raw)
        except (KeyError, LengthOrHashMismatchError) as error:
            message = f"the registry does not have the {path} that was signed: {error}"
            raise DataError("registry.forged", message, help=_HELP_FORGED) from error
        yield path, raw


def _refuse_older(repository: Repository, seen: Seen) -> None:
    for role, one in repository.roles().items():
        newest = seen.version(role, repository.keyids(role), repository.threshold(role))
        if one.version < newest:
            message = f"the registry shows {role} {one.version}, this publisher has seen {newest}: an old copy is back"
            raise DataError("registry.replayed", message, help=_HELP_FORGED)
