"""A change to a repository while it is made: who has to sign what, and the files that come out of it.

Order: an edit (`releases`, `rollouts`, `roots`) changes what roles say; `explain` puts that in words; `sign` adds
signatures until each role has enough; `finish` makes snapshot and timestamp, and returns all files of the new listing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from tuf.api.metadata import (
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edge_runtime.core.errors import DataError
from edge_runtime.registry.documents import FLOORS_PATH, rollout_path, rollout_role, stamp
from edge_runtime.registry.publisher.repository import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Repository,
    delegated,
    site_of,
)
from edge_runtime.registry.publisher.signing import Need, add_signatures
from edge_runtime.registry.trust.floors import Keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from edge_runtime.registry.publisher.home import Profile, Seen
    from edge_runtime.registry.publisher.keys import Keyring

VERSION_MAX: Final = 1 << 30  # above it somebody did not count: a fast-forward attack (TUF 1.0.34, 2.1.3)
_ONLINE: Final = (SNAPSHOT, TIMESTAMP)
R = TypeVar("R", Root, Targets)


@dataclass(slots=True)
class Draft:
    """One change; one thread.

    Attributes:
        base: what it starts from; ``None`` = a registry that is being founded.
        now: UTC.
        profile: how long signatures are good for.
        roles: what has changed, by role; with the signatures it has so far.
        documents: what has changed, by target path.
        manifests: OCI manifests of new releases, by model and number.
    """

    base: Repository | None
    now: datetime
    profile: Profile
    roles: dict[str, Metadata[Root] | Metadata[Targets]] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, int], bytes] = field(default_factory=dict)

    @property
    def root(self) -> Root:
        """The root as it will be; not to be changed."""
        changed = self.roles.get(ROOT)
        return _signed(changed, Root) if changed is not None else self._base.root.signed

    @property
    def targets(self) -> Targets:
        """The role of the releases as it will be; not to be changed."""
        changed = self.roles.get(TARGETS)
        return _signed(changed, Targets) if changed is not None else self._base.targets.signed

    @property
    def _base(self) -> Repository:
        if self.base is None:
            raise DataError("registry.none", "there is no registry yet", help="edge-runtime registry init")
        return self.base

    def edit_root(self) -> Root:
        """Return the next root, to be changed."""
        return self._edit(ROOT, None if self.base is None else self.base.root, Root)

    def take_root(self, raw: bytes) -> None:
        """Use a root that was signed before."""
        self.roles[ROOT] = Metadata[Root].from_bytes(raw)

    def edit_targets(self) -> Targets:
        """Return what ``targets`` says next, to be changed."""
        targets = self._edit(TARGETS, None if self.base is None else self.base.targets, Targets)
        if targets.delegations is None:
            targets.delegations = Delegations({}, {})
        return targets

    def edit_rollout(self, site: str) -> Targets:
        """Return what the role of ``site`` says next, to be changed."""
        before = None if self.base is None else self.base.rollouts.get(site)
        return self._edit(rollout_role(site), before, Targets)

    def put(self, role: Targets, path: str, raw: bytes) -> None:
        """Let ``role``, one that is being edited, vouch for a document."""
        role.targets[path] = TargetFile.from_data(path, raw, ["sha256"])
        self.documents[path] = raw

    def document(self, path: str) -> bytes:
        """Return a document as it will be."""
        return self.documents[path] if path in self.documents else self._base.documents[path]

    def needs(self) -> list[Need]:
        """Return whose signatures are needed for the roles that changed: root by the old keys and by the new."""
        found = []
        for role, one in self.roles.items():
            if role == ROOT and self.base is not None:
                found.append(Need(ROOT, self.base.root.signed, one, "as root is now"))
            delegator: Root | Targets = self.root if role in (ROOT, TARGETS) else self.targets
            found.append(Need(role, delegator, one, ""))
        return found

    def missing(self) -> list[Need]:
        """Return those of them that have too few signatures yet."""
        return [one for one in self.needs() if not one.met]

    def lacking(self) -> dict[str, int]:
        """Return how many signatures the roles that changed still need; of two needs of one role the greater."""
        found: dict[str, int] = {}
        for need in self.missing():
            found[need.role] = max(need.lacks, found.get(need.role, 0))
        return found

    def sign(self, keyring: Keyring) -> list[str]:
        """Sign with the keys that are at hand what lacks signatures; return the names of the keys that did.

        Raises:
            DataError, UnavailableError: a key that is at hand could not sign.
        """
        return [name for need in self.needs() for name in add_signatures(need, keyring)]

    def online(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the two roles that each change renews, with their keys."""
        return [(role, tuple(self.root.roles[role].keyids)) for role in _ONLINE]

    def finish(self, keyring: Keyring, seen: Seen) -> dict[str, bytes]:
        """Sign snapshot and timestamp and return all files, when nothing is `missing`.

        Raises:
            DataError: a key is not here, or the clock of this machine is wrong.
            UnavailableError: a key did not sign.
        """
        files = self._kept()
        for role, one in self.roles.items():
            files[f"{one.signed.version}.{role}.json"] = one.to_bytes()
        names = [TARGETS, *delegated(self.targets)]
        metas = {f"{role}.json": _meta(files, role, self._version(role)) for role in names}
        before = None if self.base is None else self.base.snapshot
        snapshot = Metadata(Snapshot(self._next(SNAPSHOT, before, seen), None, self.expiry(SNAPSHOT), metas))
        self._sign_online(SNAPSHOT, snapshot, keyring)
        files[f"{snapshot.signed.version}.{SNAPSHOT}.json"] = snapshot.to_bytes()
        last = None if self.base is None else self.base.timestamp
        timestamp = Metadata(
            Timestamp(
                self._next(TIMESTAMP, last, seen),
                None,
                self.expiry(TIMESTAMP),
                _meta(files, SNAPSHOT, snapshot.signed.version),
                {"issued": max(stamp(self.now), seen.issued_under(self.root.roles[TIMESTAMP].keyids))},
            )
        )
        self._sign_online(TIMESTAMP, timestamp, keyring)
        files[f"{TIMESTAMP}.json"] = timestamp.to_bytes()
        for path in self._document_paths():
            files[f"targets/{path}"] = self.document(path)
        return files

    def renew(self, role: str) -> None:
        """Let ``role`` say the same again for longer."""
        if role == ROOT:
            self.edit_root()
        elif role == TARGETS:
            self.edit_targets()
        else:
            self.edit_rollout(site_of(role) or role)

    def _edit(self, role: str, before: Metadata[R] | None, kind: type[R]) -> R:
        if role not in self.roles:
            payload: R = kind() if before is None else copy.deepcopy(before.signed)
            payload.version = 1 if before is None else self._after(role, before.signed.version)
            payload.expires = self.expiry(role)
            self.roles[role] = Metadata(payload)
        return _signed(self.roles[role], kind)

    def _after(self, role: str, version: int) -> int:
        """Return the version after ``version``; a role that was fast-forwarded begins anew, with other keys."""
        if version < VERSION_MAX:
            return version + 1
        if self.base is not None and self._replaced(role, self.base):
            return 1
        message = f"{role} is at version {version}: somebody who has its key has made it run ahead"
        help_ = "replace the keys in one change: registry key rotate snapshot OLD NEW timestamp OLD NEW"
        raise DataError("registry.fast_forward", message, help=help_ + ("" if role in _ONLINE else f" {role} OLD NEW"))

    def _replaced(self, role: str, base: Repository) -> bool:
        """Tell whether the keys that sign ``role`` now could not sign it any more after this change."""
        delegator = self.root if role in self.root.roles else self.targets
        after = delegator.get_delegated_role(role)
        return Keys(frozenset(base.keyids(role))).replaced_by(Keys(frozenset(after.keyids), after.threshold))

    def _next(self, role: str, before: Metadata[Snapshot] | Metadata[Timestamp] | None, seen: Seen) -> int:
        now = self.root.roles[role]
        newest = seen.version(role, tuple(now.keyids), now.threshold)
        return self._after(role, max(newest, 0 if before is None else before.signed.version))

    def _version(self, role: str) -> int:
        if role in self.roles:
            return self.roles[role].signed.version
        return self._base.roles()[role].version

    def expiry(self, role: str) -> datetime:
        """Return until when what ``role`` signs now is good."""
        return self.now.replace(microsecond=0) + timedelta(days=self.profile.days(role))

    def _sign_online(self, role: str, one: Metadata[Snapshot] | Metadata[Timestamp], keyring: Keyring) -> None:
        need = Need(role, self.root, one, "")
        add_signatures(need, keyring)
        if not need.met:
            names = ", ".join(need.wanted(keyring))
            message = f"{role} has to be signed by {names}, which is not here"
            raise DataError("registry.online_key", message, help="publish it where the online keys are")

    def _kept(self) -> dict[str, bytes]:
        """Return the files that stay: roots that boxes may still need, and roles that did not change; nothing else."""
        if self.base is None:
            return {}
        roots = (f"{one.signed.version}.{ROOT}.json" for one in (*self.base.past_roots, self.base.root))
        kept = {name: self.base.files[name] for name in roots if name in self.base.files}
        for role, one in self.base.roles().items():
            name = f"{one.version}.{role}.json"
            if role not in {*_ONLINE, *self.roles} and name in self.base.files:
                kept[name] = self.base.files[name]
        return kept

    def _document_paths(self) -> list[str]:
        return [FLOORS_PATH, *(rollout_path(site_of(role) or role) for role in delegated(self.targets))]


def _signed(metadata: Metadata[Root] | Metadata[Targets], kind: type[R]) -> R:
    payload = metadata.signed
    if not isinstance(payload, kind):
        raise TypeError(f"expected {kind.__name__}, found {type(payload).__name__}")
    return payload


def _meta(files: Mapping[str, bytes], role: str, version: int) -> MetaFile:
    return MetaFile.from_data(version, files[f"{version}.{role}.json"], ["sha256"])
