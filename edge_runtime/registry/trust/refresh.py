"""Verifies the metadata of a registry as TUF says, and compares it with the floors of this box. Pure.

The order is that of TUF 1.0.34, section 5 (client workflow): root chain (5.3), timestamp (5.4), snapshot (5.5),
targets (5.6), then the delegated role of the site. python-tuf's ``TrustedMetadataSet`` verifies signatures, versions
and expiry; its ``ngclient.Updater`` is not used, because it takes a metadata file that cannot be read for one that
never was (so a rollback after a power cut gets through), and because it believes the clock whatever it says.

Nothing here reads a file, a clock or a network: the caller hands in what it kept, what fetches, and what time it is.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Metadata
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from edge_runtime.core.errors import ConfigError, DataError, EdgeError, StorageError
from edge_runtime.registry.descriptor import digest_of
from edge_runtime.registry.documents import (
    DOCUMENT_BYTES_MAX,
    FLOORS_PATH,
    NUMBER_MAX,
    FloorsDocument,
    Rollout,
    parse_floors,
    parse_rollout,
    parse_stamp,
    rollout_path,
    rollout_role,
    stamp,
)
from edge_runtime.registry.trust.floors import Floors, Keys
from edge_runtime.registry.trust.refusals import (
    ATTACK_HELP,
    CLOCK_HELP,
    RESET_HELP,
    ExpiredError,
    check_expiry,
    dropped,
    mixed,
    too_large,
)
from edge_runtime.registry.trust.trusted import Outcome, SignedTarget, Trusted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tuf.api.metadata import Role, TargetFile, Targets

    # name of a file of the listing and the most bytes it may have -> its bytes; None = the listing has no such file
    Fetch = Callable[[str, int], bytes | None]

ROOT_BYTES_MAX: Final = 512 << 10
TIMESTAMP_BYTES_MAX: Final = 16 << 10
SNAPSHOT_BYTES_MAX: Final = 2 << 20
TARGETS_BYTES_MAX: Final = 4 << 20
ROLLOUT_BYTES_MAX: Final = 256 << 10
ROOTS_MAX: Final = 256  # new ones in one refresh
TOP_LEVEL: Final = frozenset({"root", "timestamp", "snapshot", "targets"})

_VERSIONED = re.compile(r"\A[0-9]+\.(?!root\.json)")
_ROOT = re.compile(r"([0-9]+)\.root\.json")
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)  # at which nothing has expired


def refresh(
    kept: Mapping[str, bytes], fetch: Fetch, pinned: bytes, floors: Floors | None, *, now: datetime, site: str
) -> Outcome:
    """Verify what ``fetch`` gives.

    Args:
        kept: metadata files that were kept after the last refresh, by name; one that is there and cannot be read is
            empty bytes, not left out.
        fetch: called from this thread; what it raises ends the refresh.
        pinned: the root of trust that came with the configuration.
        floors: those of the last refresh; ``None`` = there are none, and then they are made from what was kept.
        now: what the clock says, UTC.
        site: whose rollout is wanted.

    Returns:
        What to keep, also when something was refused: ``DataError`` for what no honest publisher signs,
        `ExpiredError` for what is too old, or what ``fetch`` raised.

    Raises:
        ConfigError: ``pinned`` is no root of trust.
        StorageError: code ``trust.state_damaged``: there are no floors, and what was kept cannot replace them.
    """
    if floors is None:
        floors = Floors()
        if kept:
            memory = _Workflow(kept, unchanged(kept), pinned, floors, site)
            problem = memory.run(_BEGINNING).refusal
            if memory.damaged or (problem is not None and problem.code not in ("trust.missing", "trust.expired")):
                what = ", ".join(memory.damaged) or str(problem)
                message = f"floors are lost, and the kept metadata that could replace them is damaged: {what}"
                raise StorageError("trust.state_damaged", message, help=RESET_HELP)
            floors = memory.floors
    return _Workflow(kept, fetch, pinned, floors, site).run(now)


def unchanged(kept: Mapping[str, bytes]) -> Fetch:
    """Return what to fetch with when the listing is as it was: a refresh then judges whether that is still fresh."""
    return lambda name, _: kept.get(_VERSIONED.sub("", name))


class _Workflow:
    """One refresh; the order of the methods is the order of the steps."""

    def __init__(self, kept: Mapping[str, bytes], fetch: Fetch, pinned: bytes, floors: Floors, site: str) -> None:
        self._fetch = fetch
        self._site = site
        self.kept = dict(kept)
        self.floors = floors
        self.damaged: list[str] = []
        try:
            self._set = TrustedMetadataSet(pinned, EnvelopeType.METADATA)
        except tuf_errors.RepositoryError as error:
            message = f"the pinned root of trust is not usable: {error}"
            raise ConfigError("trust.pinned_root", message, help="registry.root names root.json") from error

    def run(self, now: datetime) -> Outcome:
        trusted, refusal = None, None
        try:
            trusted = self._steps(now)
        except EdgeError as error:
            refusal = error
        return Outcome(self.kept, self.floors, trusted, refusal, tuple(self.damaged))

    def _steps(self, now: datetime) -> Trusted:
        self._roots()
        self._timestamp(now)
        self._snapshot()
        self._targets()
        rollout, problem = self._rollout()
        roles = (*sorted(TOP_LEVEL), rollout_role(self._site))
        return Trusted(
            targets={path: _target(info) for path, info in self._set.targets.targets.items()},
            floors=self.floors,
            site=self._site,
            rollout=rollout,
            rollout_problem=problem,
            checked=self._set.reference_time,
            expires=self._set.timestamp.expires,
            versions={role: self._set[role].version for role in roles if role in self._set},
        )

    def _roots(self) -> None:
        """Follow the chain of roots from the pinned one to the newest (5.3.3 to 5.3.9)."""
        first, fetched = self._set.root.version + 1, 0
        while fetched < ROOTS_MAX:
            name = f"{self._set.root.version + 1}.root.json"
            if self._kept_is_good(name, self._set.update_root):
                continue
            raw, fetched = self._fetched(name, ROOT_BYTES_MAX), fetched + 1
            if raw is None and name in self.damaged:
                raise DataError("trust.missing", f"{name} is damaged here, and the registry has none", help=ATTACK_HELP)
            if raw is None:
                break
            with _guard(name):
                self._set.update_root(raw)
            self.kept[name] = raw
        root = self._set.root
        self._compare("root", _keys(root.roles["root"]), root.version)
        self.floors = self.floors.with_role("root", _keys(root.roles["root"]), root.version)
        for name in list(self.kept):
            found = _ROOT.fullmatch(name)
            if found and not first <= int(found[1]) <= root.version:
                del self.kept[name]

    def _timestamp(self, now: datetime) -> None:
        keys = _keys(self._set.root.roles["timestamp"])
        self._set.reference_time = max(now, self.floors.passed(keys) or now)
        check_expiry("root.json", "trust.expired", self._set.root.expires, self._set.reference_time)  # 5.3.10
        if self._rotated("timestamp") or self._rotated("snapshot"):  # 5.3.11
            self.kept.pop("timestamp.json", None)
            self.kept.pop("snapshot.json", None)
        self._kept_is_good("timestamp.json", self._set.update_timestamp, tuf_errors.ExpiredMetadataError)
        raw = self._required("timestamp.json", TIMESTAMP_BYTES_MAX)
        before = self._set.get("timestamp")
        # of the same version: the kept one stays (5.4.3.1); expired: judged below, after it has raised the floors
        with _guard("timestamp.json", tuf_errors.EqualVersionNumberError, tuf_errors.ExpiredMetadataError):
            self._set.update_timestamp(raw)
        timestamp = self._set.timestamp
        self._compare("timestamp", keys, timestamp.version)
        issued = self._issued()
        if timestamp is not before:
            self.kept["timestamp.json"] = raw
        self.floors = self.floors.with_role("timestamp", keys, timestamp.version)
        # the clock is believed up to the moment at which this timestamp expires: one that says 2099 locks nobody out
        believable = now if now <= timestamp.expires else timestamp.expires + timedelta(seconds=1)
        self.floors = self.floors.with_time(keys, max(issued or believable, believable))
        self._set.reference_time = max(self._set.reference_time, self.floors.passed(keys) or now)
        check_expiry("timestamp.json", "trust.frozen", timestamp.expires, self._set.reference_time)  # 5.4.4

    def _issued(self) -> datetime | None:
        """Return when the timestamp says that it was signed: a field of ours, which other publishers do not write."""
        said = self._set.timestamp.unrecognized_fields.get("issued")
        issued = parse_stamp(said)
        if (issued is None and said is not None) or (issued is not None and issued >= self._set.timestamp.expires):
            message = f"timestamp.json: expected a time before {stamp(self._set.timestamp.expires)} as issued"
            raise DataError("trust.malformed", f"{message}, found {str(said)[:80]!r}", help=ATTACK_HELP)
        return issued

    def _snapshot(self) -> None:
        keys = _keys(self._set.root.roles["snapshot"])
        meta = self._set.timestamp.snapshot_meta
        self._compare("snapshot", keys, meta.version)
        older = (tuf_errors.ExpiredMetadataError, tuf_errors.BadVersionNumberError)  # loaded to compare with
        if not self._kept_is_good("snapshot.json", lambda raw: self._set.update_snapshot(raw, trusted=True), *older):
            limit = min(meta.length or SNAPSHOT_BYTES_MAX, SNAPSHOT_BYTES_MAX)
            raw = self._required(f"{meta.version}.snapshot.json", limit)
            with _guard("snapshot.json"):
                self._set.update_snapshot(raw)
            self.kept["snapshot.json"] = raw
        listed = self._set.snapshot.meta
        if not self._rotated("snapshot"):
            for role in sorted(self.floors.roles.keys() - TOP_LEVEL):
                if f"{role}.json" not in listed:  # 5.5.5, also when the kept snapshot is gone
                    raise dropped(role)
        self.floors = self.floors.with_role("snapshot", keys, meta.version)

    def _targets(self) -> None:
        keys = _keys(self._set.root.roles["targets"])
        self._load("targets", "root", keys, TARGETS_BYTES_MAX)
        info = self._set.targets.targets.get(FLOORS_PATH)
        said = FloorsDocument() if info is None else parse_floors(self._document(FLOORS_PATH, info), FLOORS_PATH)
        self.floors = self.floors.with_models(keys, said)

    def _rollout(self) -> tuple[Rollout | None, EdgeError | None]:
        """Return the rollout of the site, or why it is not believed.

        What the operators of a site sign, or fail to sign, does not keep releases and revocations from the box.
        """
        try:
            return self._believed_rollout(), None
        except (DataError, ExpiredError) as error:
            return None, error

    def _believed_rollout(self) -> Rollout | None:
        role, path = rollout_role(self._site), rollout_path(self._site)
        delegations = self._set.targets.delegations
        delegated = None if delegations is None else (delegations.roles or {}).get(role)
        if delegated is None:
            return None
        if not delegated.is_delegated_path(path):
            raise DataError("trust.delegation", f"{role} may not sign {path}", help="delegate it again: registry init")
        keys = _keys(delegated)
        self._load(role, "targets", keys, ROLLOUT_BYTES_MAX)
        signed = cast("Targets", self._set[role])
        info = signed.targets.get(path)
        if info is None:
            return None
        raw = self._document(path, info)
        rollout = parse_rollout(raw, path)
        digest, floor = digest_of(raw), self.floors.rollout(self._site, keys)
        if rollout.site != self._site:
            raise DataError("rollout.foreign", f"{path}: is for the site {rollout.site}", help=ATTACK_HELP)
        if floor is not None and (rollout.seq < floor.seq or (rollout.seq == floor.seq and digest != floor.digest)):
            message = f"{path}: expected a seq above {floor.seq}, which was seen already, found {rollout.seq}"
            raise DataError("rollout.replayed", message, help=ATTACK_HELP)
        self.floors = self.floors.with_rollout(self._site, keys, rollout.seq, digest)
        return rollout

    def _load(self, role: str, delegator: str, keys: Keys, limit: int) -> None:
        """Load the metadata of a role, as the snapshot lists it (5.6)."""
        name = f"{role}.json"
        meta = self._set.snapshot.meta.get(name)
        if meta is None:
            raise dropped(role)
        self._compare(role, keys, meta.version)

        def load(raw: bytes) -> None:
            self._set.update_delegated_targets(raw, role, delegator)

        if not self._kept_is_current(name, load):
            raw = self._required(f"{meta.version}.{name}", min(meta.length or limit, limit))
            with _guard(name):
                load(raw)
            self.kept[name] = raw
        self.floors = self.floors.with_role(role, keys, meta.version)

    def _document(self, path: str, info: TargetFile) -> bytes:
        """Return the bytes of a target that is read here: kept, or fetched, but always those that were signed."""
        name, target = f"targets/{path}", _target(info)
        raw = self.kept.get(name)
        if raw is None or not _is(raw, target):
            if target.length > DOCUMENT_BYTES_MAX:
                raise too_large(name, target.length, DOCUMENT_BYTES_MAX)
            raw = self._required(name, target.length)
            if not _is(raw, target):
                raise mixed(name, target.length, target.sha256)
            self.kept[name] = raw
        return raw

    def _compare(self, role: str, keys: Keys, version: int) -> None:
        """Compare with the floor, which knows what was seen also when the files are gone."""
        least = self.floors.version(role, keys)
        if not least <= version <= NUMBER_MAX:
            message = f"{role}: expected version {least} or a later one up to {NUMBER_MAX}, found {version}"
            raise DataError("trust.rollback", message, help=ATTACK_HELP)

    def _rotated(self, role: str) -> bool:
        """Tell whether the keys of a role were replaced since it was verified last."""
        floor = self.floors.roles.get(role)
        return floor is not None and floor.keys.replaced_by(_keys(self._set.root.roles[role]))

    def _kept_is_good(self, name: str, load: Callable[[bytes], object], *older: type[Exception]) -> bool:
        """Load a kept file, and note when it is damaged.

        Args:
            name: which one.
            load: takes its bytes.
            older: what ``load`` raises when they are good to compare with, but not the last word.
        """
        raw = self.kept.get(name)
        if raw is None:
            return False
        try:
            load(raw)
        except older:
            return False
        except tuf_errors.RepositoryError:
            self.damaged.append(name)
            return False
        return True

    def _kept_is_current(self, name: str, load: Callable[[bytes], object]) -> bool:
        """Load a kept file unless the snapshot lists another version; that decides, not what was kept."""
        raw = self.kept.get(name)
        if raw is None:
            return False
        try:
            load(raw)
        except tuf_errors.RepositoryError:
            if not _is_metadata(raw):
                self.damaged.append(name)
            return False
        return True

    def _required(self, name: str, limit: int) -> bytes:
        raw = self._fetched(name, limit)
        if raw is None:
            raise DataError("trust.missing", f"the registry does not list {name}", help=ATTACK_HELP)
        return raw

    def _fetched(self, name: str, limit: int) -> bytes | None:
        raw = self._fetch(name, limit)
        if raw is not None and len(raw) > limit:
            raise too_large(name, len(raw), limit)
        return raw


def _keys(role: Role) -> Keys:
    return Keys(frozenset(map(str, role.keyids)), role.threshold)  # python-tuf reads a number as one, too


def _target(info: TargetFile) -> SignedTarget:
    custom = info.custom
    return SignedTarget(info.length, info.hashes.get("sha256", ""), custom if isinstance(custom, dict) else {})


def _is(raw: bytes, target: SignedTarget) -> bool:
    return len(raw) == target.length and digest_of(raw) == f"sha256:{target.sha256}"


def _is_metadata(raw: bytes) -> bool:
    try:
        Metadata.from_bytes(raw)
    except tuf_errors.RepositoryError:
        return False
    return True


@contextmanager
def _guard(name: str, *fine: type[Exception]) -> Iterator[None]:
    """Turn what python-tuf refuses ``name`` for into our error, other than what is ``fine``."""
    try:
        yield
    except fine:
        pass
    except tuf_errors.ExpiredMetadataError as error:
        raise ExpiredError("trust.expired", f"{name}: {error}", help=CLOCK_HELP) from error
    except tuf_errors.RepositoryError as error:
        raise DataError(_code(name, error), f"{name}: {error}", help=ATTACK_HELP) from error


def _code(name: str, error: tuf_errors.RepositoryError) -> str:
    if isinstance(error, tuf_errors.UnsignedMetadataError):
        return "trust.signature"
    if isinstance(error, tuf_errors.BadVersionNumberError) and name == "timestamp.json":
        return "trust.rollback"
    if isinstance(error, tuf_errors.LengthOrHashMismatchError | tuf_errors.BadVersionNumberError):
        return "trust.mixed"
    return "trust.role_dropped" if "missing info" in str(error) else "trust.malformed"
