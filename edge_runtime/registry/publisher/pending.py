"""A change that lacks signatures, in a file that people hand to each other.

Nothing in it is believed but what signatures prove: what it changes is told from the two states in it, and the old one
is verified from the root that the reader has.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.documents import FLOORS_PATH, release_at, rollout_path, rollout_paths
from edge_runtime.registry.publisher.draft import VERSION_MAX, Draft
from edge_runtime.registry.publisher.home import PROFILES, Profile, Seen
from edge_runtime.registry.publisher.repository import ROOT, TARGETS, Repository, delegated, load, site_of
from edge_runtime.system.files import make_directory, read_limited, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

SCHEMA: Final = "edge-pending/1"
_BYTES_MAX: Final = 64 << 20


def write_pending(path: Path, draft: Draft) -> None:
    """Write ``draft`` with the signatures it has.

    Raises:
        StorageError, PermissionDeniedError: the disk refuses.
    """
    base = {} if draft.base is None else draft.base.files
    fields = {
        "schema": SCHEMA,
        "profile": draft.profile.name,
        "base": {name: raw.decode() for name, raw in sorted(base.items())},
        "roles": {role: one.to_bytes().decode() for role, one in draft.roles.items()},
        "documents": {name: raw.decode() for name, raw in draft.documents.items()},
        "manifests": {f"{model}/{number}": raw.decode() for (model, number), raw in draft.manifests.items()},
    }
    make_directory(path.absolute().parent)
    write_atomic(path, (json.dumps(fields, indent=1) + "\n").encode())


def read_pending(path: Path, trusted_root: bytes | None, now: datetime) -> Draft:
    """Return the change in a file.

    Args:
        path: of the file.
        trusted_root: of the reader; ``None`` only when a registry is being founded.
        now: UTC.

    Raises:
        DataError: the file is not as it should be, or its base is not signed by those whom the reader trusts.
        StorageError, PermissionDeniedError: it cannot be read.
    """
    try:
        data = load_object(read_limited(path, _BYTES_MAX), str(path), limit_bytes=_BYTES_MAX)
    except FileNotFoundError as error:
        raise DataError(
            "pending.missing", f"{path}: there is no such file", help="registry status lists them"
        ) from error
    if data.get("schema") != SCHEMA or data.get("profile") not in PROFILES:
        raise _broken(path, "it is no change that waits for signatures")
    base, roles, documents, manifests = (_texts(data, key, path) for key in ("base", "roles", "documents", "manifests"))
    draft = Draft(_base(base, trusted_root, path), now, _profile(data))
    draft.documents.update(documents)
    for role, raw in roles.items():
        draft.roles[role] = _metadata(role, raw, path)
    for name, raw in manifests.items():
        model, _, number = name.rpartition("/")
        if not model or not number.isdecimal():
            raise _broken(path, f"{name[:80]!r} names no release")
        draft.manifests[model, int(number)] = raw
    _check(draft, path)
    if draft.base is None and trusted_root is not None and Metadata[Root].from_bytes(trusted_root).signed != draft.root:
        raise _broken(path, "it founds a registry, but the root.json here is that of another one")
    return draft


def rebased(draft: Draft, current: Repository) -> Draft:
    """Return ``draft`` as a change of the state of now.

    Raises:
        DataError: a role in it was changed by others meanwhile, so it would take that back.
    """
    for role, one in draft.roles.items():
        before = None if draft.base is None else draft.base.roles().get(role)
        there = current.roles().get(role)
        if (before is None) != (there is None) or (before is not None and before != there):
            found = "missing" if there is None else f"at version {there.version}"
            expected = "none" if before is None else f"version {before.version}"
            message = f"{role} {one.signed.version} was made from {expected}, but the registry has it {found} by now"
            raise DataError("pending.outdated", message, help="make the change again, and let it be signed again")
    return Draft(current, draft.now, draft.profile, draft.roles, draft.documents, draft.manifests)


def _check(draft: Draft, path: Path) -> None:
    """Refuse what no action of ours makes, and what would let a person sign something else than is shown.

    Raises:
        DataError: code ``pending.unreadable``.
    """
    if (ROOT not in draft.roles or TARGETS not in draft.roles) and draft.base is None:
        raise _broken(path, "a registry is founded with a root and its targets")
    if draft.root.consistent_snapshot is not True:
        raise _broken(path, "its root gives up consistent snapshots")
    for role in draft.roles:
        if role not in {ROOT, TARGETS, *delegated(draft.targets)}:
            raise _broken(path, f"nobody may sign {role[:80]!r}")
        _check_role(draft, role, path)
    roles = draft.targets.delegations.roles if draft.targets.delegations is not None else None
    for name, delegation in (roles or {}).items():
        if delegation.paths != [rollout_paths(site_of(name) or name)] or not delegation.terminating:
            raise _broken(path, f"it would let {name} sign more than the rollouts of its site")


def _check_role(draft: Draft, role: str, path: Path) -> None:
    payload = draft.roles[role].signed
    before = None if draft.base is None else draft.base.roles().get(role)
    last = 0 if before is None or before.version >= VERSION_MAX else before.version
    if payload.version != last + 1:
        raise _broken(path, f"{role} would be version {payload.version}, the next one is {last + 1}")
    document = FLOORS_PATH if role == TARGETS else rollout_path(site_of(role) or role)
    for name, target in payload.targets.items() if isinstance(payload, Targets) else ():
        if role == TARGETS and release_at(name) is not None:
            continue
        if name != document:
            raise _broken(path, f"{role} vouches for {name[:80]!r}, which is no document that we know")
        try:
            target.verify_length_and_hashes(draft.document(name))
        except (RepositoryError, KeyError) as error:
            raise _broken(path, f"{name} in it is not what {role} vouches for") from error


def _base(files: Mapping[str, bytes], trusted_root: bytes | None, path: Path) -> Repository | None:
    if not files:
        return None
    if trusted_root is None:
        message = f"{path}: there is no root.json here to verify it with"
        raise DataError(
            "publisher.no_root", message, help="copy root.json of the registry into the publisher's directory"
        )
    try:
        return load(files, trusted_root, Seen(), recover=True)
    except DataError as error:
        if error.code == "registry.replayed":
            message = f"{path} was made before the newest root.json here"
            raise DataError("pending.outdated", message, help="make the change again") from error
        message = f"{path} belongs to another registry than the root.json here, or was tampered with: {error.message}"
        raise DataError(
            error.code, message, help="take the root.json that boxes have, and ask for the file again"
        ) from error


def _metadata(role: str, raw: bytes, path: Path) -> Metadata[Root] | Metadata[Targets]:
    try:
        if role == ROOT:
            return _of(Metadata[Root].from_bytes(raw), Root)
        return _of(Metadata[Targets].from_bytes(raw), Targets)
    except RepositoryError as error:
        raise _broken(path, f"its {role[:80]} cannot be read: {error}") from error


def _of(metadata: Metadata, kind: type) -> Metadata:  # type: ignore[type-arg]
    if not isinstance(metadata.signed, kind):
        raise RepositoryError(f"it is of type {metadata.signed.type}")
    return metadata


def _texts(data: Mapping[str, object], key: str, path: Path) -> dict[str, bytes]:
    value = data.get(key)
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _broken(path, f"{key}: expected an object of texts")
    return {name: text.encode() for name, text in value.items()}


def _profile(data: Mapping[str, object]) -> Profile:
    return PROFILES[str(data["profile"])]


def _broken(path: Path, why: str) -> DataError:
    return DataError("pending.unreadable", f"{path}: {why}", help="ask for the file again")
