"""The least that this box accepts, as values: versions, sequences, releases and time only ever go up. Pure.

TUF's own memory is the metadata that was verified last. It is lost when those files are, and then an old repository,
validly signed, looks like a new one. Floors are a second memory, a few hundred bytes that are kept twice.

Every floor remembers which keys vouched for it. While so many of them are still trusted that they could sign alone,
the floor holds. When a valid chain of roots has put others in their place it starts anew: that is how a repository
recovers after a thief has signed a version that nothing honest can exceed (TUF 1.0.34, 5.3.11, fast-forward attack).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import Section, load_object
from edge_runtime.registry.descriptor import DIGEST
from edge_runtime.registry.statements import NUMBER_MAX, FloorsDocument, ModelFloor, parse_stamp, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

LIMIT_BYTES: Final = 8 << 20  # of the dump: floors of a few thousand models, each with its revoked releases
SCHEMA: Final = "edge-trust-floors/1"


@dataclass(frozen=True, slots=True)
class Keys:
    """Who vouches: ids of the keys of a role, and how many of them must sign."""

    ids: frozenset[str] = frozenset()
    threshold: int = 1

    def replaced_by(self, now: Keys) -> bool:
        """Tell whether so few of these keys are left among those of ``now`` that they cannot sign alone any more."""
        return len(self.ids & now.ids) < now.threshold


@dataclass(frozen=True, slots=True)
class RoleFloor:
    """The newest version of a role's metadata that was verified, >= 0."""

    keys: Keys
    version: int


@dataclass(frozen=True, slots=True)
class SeqFloor:
    """The newest rollout of a site that was verified: its sequence number and the digest of its bytes."""

    keys: Keys
    seq: int
    digest: str


@dataclass(frozen=True, slots=True)
class TimeFloor:
    """A moment that has passed for certain: the signer of timestamps said so, or the clock did and was believable."""

    keys: Keys
    at: datetime


@dataclass(frozen=True, slots=True)
class Floors:
    """All floors of a box; a value, so what was written stays what was written.

    Attributes:
        roles: by name of the role; that of ``root`` never starts anew, its versions follow one another.
        rollouts: by site.
        models: by name of the model; ``models_keys`` = the keys of the releases' publisher.
        time: ``None`` until the first timestamp was verified.
    """

    roles: Mapping[str, RoleFloor] = field(default_factory=dict)
    rollouts: Mapping[str, SeqFloor] = field(default_factory=dict)
    models: FloorsDocument = field(default_factory=FloorsDocument)
    models_keys: Keys = field(default_factory=Keys)
    time: TimeFloor | None = None

    def version(self, role: str, keys: Keys) -> int:
        """Return the least version of ``role`` to accept, now that ``keys`` sign it; 0 = any."""
        floor = self.roles.get(role)
        return 0 if floor is None or (role != "root" and floor.keys.replaced_by(keys)) else floor.version

    def rollout(self, site: str, keys: Keys) -> SeqFloor | None:
        """Return the rollout of ``site`` that none may be older than, now that ``keys`` sign them."""
        floor = self.rollouts.get(site)
        return None if floor is None or floor.keys.replaced_by(keys) else floor

    def passed(self, keys: Keys) -> datetime | None:
        """Return the moment that has passed for certain, now that ``keys`` sign timestamps."""
        return None if self.time is None or self.time.keys.replaced_by(keys) else self.time.at

    def with_role(self, role: str, keys: Keys, version: int) -> Floors:
        """Return floors raised to ``version`` of ``role``."""
        floor = RoleFloor(keys, max(version, self.version(role, keys)))
        return replace(self, roles={**self.roles, role: floor})

    def with_rollout(self, site: str, keys: Keys, seq: int, digest: str) -> Floors:
        """Return floors raised to this rollout of ``site``; one that is not newer than the floor changes nothing."""
        floor = self.rollout(site, keys)
        raised = SeqFloor(keys, seq, digest) if floor is None or seq > floor.seq else replace(floor, keys=keys)
        return replace(self, rollouts={**self.rollouts, site: raised})

    def with_models(self, keys: Keys, said: FloorsDocument) -> Floors:
        """Return floors raised to what the publisher of releases ``said``: what was revoked once stays revoked."""
        old = FloorsDocument() if self.models_keys.replaced_by(keys) else self.models
        models = {name: _higher(old.of(name), said.of(name)) for name in sorted({*old.models, *said.models})}
        return replace(self, models=FloorsDocument(models), models_keys=keys)

    def with_time(self, keys: Keys, at: datetime) -> Floors:
        """Return floors raised to the moment ``at``."""
        at, passed = at.replace(microsecond=0), self.passed(keys)
        return replace(self, time=TimeFloor(keys, at if passed is None else max(at, passed)))

    def covers(self, older: Floors) -> bool:
        """Tell whether nothing of ``older`` was lowered or lost, other than by keys that were replaced."""
        return (
            all(role in self.roles and self._covers_role(role, old) for role, old in older.roles.items())
            and all(site in self.rollouts and self._covers_rollout(site, old) for site, old in older.rollouts.items())
            and (
                older.models_keys.replaced_by(self.models_keys)
                or all(_higher(mine := self.models.of(name), old) == mine for name, old in older.models.models.items())
            )
            and (older.time is None or (self.time is not None and self._covers_time(self.time, older.time)))
        )

    def _covers_role(self, role: str, old: RoleFloor) -> bool:
        mine = self.roles[role]
        return mine.version >= old.version or (role != "root" and old.keys.replaced_by(mine.keys))

    def _covers_rollout(self, site: str, old: SeqFloor) -> bool:
        mine = self.rollouts[site]
        return mine.seq >= old.seq or old.keys.replaced_by(mine.keys)

    @staticmethod
    def _covers_time(mine: TimeFloor, old: TimeFloor) -> bool:
        return mine.at >= old.at or old.keys.replaced_by(mine.keys)

    def dump(self) -> bytes:
        """Return JSON; the same floors give the same bytes."""
        fields: dict[str, object] = {
            "schema": SCHEMA,
            "roles": {name: {**_keys(one.keys), "version": one.version} for name, one in self.roles.items()},
            "rollouts": {
                site: {**_keys(one.keys), "seq": one.seq, "digest": one.digest} for site, one in self.rollouts.items()
            },
            "models": {
                name: {"min_release": one.min_release, "revoked": sorted(one.revoked)}
                for name, one in self.models.models.items()
            },
            "models_keys": _keys(self.models_keys),
        }
        if self.time is not None:
            fields["time"] = {**_keys(self.time.keys), "at": stamp(self.time.at)}
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def parse_floors(raw: bytes, where: str) -> Floors:
    """Return the floors that `Floors.dump` wrote.

    Raises:
        DataError: code ``manifest.unreadable`` or ``trust.floors_damaged``: those bytes are something else.
    """
    problems: list[str] = []
    top = Section(load_object(raw, where, limit_bytes=LIMIT_BYTES), "", problems, problems)
    if top.text("schema", required=True) != SCHEMA:
        problems.append(f"schema: expected {SCHEMA!r}")
    roles = {name: RoleFloor(_read_keys(one), _number(one, "version")) for name, one in _each(top, "roles")}
    rollouts = {
        site: SeqFloor(_read_keys(one), _number(one, "seq"), one.text("digest", required=True, pattern=DIGEST) or "")
        for site, one in _each(top, "rollouts")
    }
    models = {
        name: ModelFloor(_number(one, "min_release"), frozenset(one.texts("revoked") or ()))
        for name, one in _each(top, "models")
    }
    floors = Floors(roles, rollouts, FloorsDocument(models), _read_keys(top.section("models_keys")))
    if "time" in top.data:
        section = top.section("time")
        at = parse_stamp(section.get("at"))
        if at is None:
            section.wrong("at", "a time", section.get("at"))
        else:
            floors = replace(floors, time=TimeFloor(_read_keys(section), at))
    top.close()
    if problems:
        raise DataError("trust.floors_damaged", f"{where}: " + "; ".join(problems))
    return floors


def _each(top: Section, key: str) -> Iterator[tuple[str, Section]]:
    sections = top.section(key, open_ended=True)
    for name in sections.data:
        yield name, sections.section(name)


def _number(section: Section, key: str) -> int:
    found = section.integer(key, 0, NUMBER_MAX)
    if found is None:
        section.problems.append(f"{section.path}{key}: missing")
    return found or 0


def _read_keys(section: Section) -> Keys:
    ids = section.get("keys")  # whatever texts the metadata calls them
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        section.wrong("keys", "a list of texts", ids)
        ids = []
    return Keys(frozenset(ids), section.integer("threshold", 1, NUMBER_MAX) or 1)


def _higher(one: ModelFloor, other: ModelFloor) -> ModelFloor:
    return ModelFloor(max(one.min_release, other.min_release), one.revoked | other.revoked)


def _keys(keys: Keys) -> dict[str, object]:
    return {"keys": sorted(keys.ids), "threshold": keys.threshold}
