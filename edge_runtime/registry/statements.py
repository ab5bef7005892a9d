"""What a registry signs, as values: releases, floors and rollouts; and the names under which they are signed. Pure.

*Release*: these bytes are release N of a model. *Floors*: what nobody may run any more. *Rollout*: which release which
slot should run. `documents` reads and writes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.registry.descriptor import Descriptor

NUMBER_MAX: Final = 2**53  # of releases and sequences: every JSON reader knows it exactly
BAKE_S_MAX: Final = 90 * 86_400.0
FLOORS_PATH: Final = "floors.json"
STABLE: Final = "stable"  # the channel of a slot that names none
KEYS_OF_MATCH: Final = ("line", "edge", "camera", "slot", "channel")  # beside labels
MODES: Final = ("shadow", "canary", "active")
APPROVALS: Final = ("auto", "operator")
REGRESSIONS: Final = ("rollback", "hold")
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # of models and sites

_STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_RELEASE_PATH = re.compile(rf"releases/({NAME.pattern})/(0|[1-9][0-9]{{0,15}})\.json")


@dataclass(frozen=True, slots=True)
class Release:
    """What the publisher of a release says about it.

    Attributes:
        model: its name, as slots of boxes ask for it.
        release: counts the releases of the model, 0 to ``NUMBER_MAX``.
        version: for people.
        digest: of its `edge-model.json`, the identity that results carry.
        repository: where its blobs lie.
        hardware: names of boxes it may run on; empty = any.
        requires: minimal versions by library, for example ``{"openvino": "2026.1"}``.
        issued: when it was signed, UTC, whole seconds.
        bundle: the Sigstore bundle of its manifest, when there is one.
    """

    model: str
    release: int
    version: str
    digest: str
    repository: str
    issued: datetime
    hardware: tuple[str, ...] = ()
    requires: Mapping[str, str] = field(default_factory=dict)
    bundle: Descriptor | None = None


@dataclass(frozen=True, slots=True)
class ModelFloor:
    """What of one model may not run: releases below ``min_release``, and manifests with a ``revoked`` digest."""

    min_release: int = 0
    revoked: frozenset[str] = frozenset()

    def bans(self, release: int, manifest: str) -> Literal["floored", "revoked"] | None:
        """Return why a release with this number and digest of its manifest may not run, ``None`` when it may."""
        if release < self.min_release:
            return "floored"
        return "revoked" if manifest in self.revoked else None


@dataclass(frozen=True, slots=True)
class FloorsDocument:
    """The floors of all models that have one, by name."""

    models: Mapping[str, ModelFloor] = field(default_factory=dict)

    def of(self, model: str) -> ModelFloor:
        """Return the floor of ``model``, the lowest there is when nothing is said about it."""
        return self.models.get(model, ModelFloor())


@dataclass(frozen=True, slots=True)
class Match:
    """Which slots an assignment is for; each part is a set of alternatives, an empty one means any.

    Attributes:
        line: names of lines; likewise ``edge`` of boxes, ``camera``, ``slot`` and ``channel``.
        labels: values by key, from the configuration of the box; all keys must agree.
    """

    line: tuple[str, ...] = ()
    edge: tuple[str, ...] = ()
    camera: tuple[str, ...] = ()
    slot: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One line of a rollout: these slots, if they want this model, should run this release.

    Attributes:
        match: which slots.
        model: name of the model.
        release: its number; only one that the publisher of releases signed can be named.
        ring: what the operator calls this stage, ``None`` = unnamed.
        percent: of the boxes, 0 to 100, in steps of 0.01; the others look at the next assignment.
        salt: decides which boxes are among the percent; another salt, other boxes.
        window: when a switch may happen, as written; ``None`` = always.
        mode: one of ``MODES``.
        bake_s: seconds that the release should run before it goes further, 0 to 90 days.
        gates: what it must reach there, as written.
        approve: one of ``APPROVALS``.
        on_regression: one of ``REGRESSIONS``.
    """

    model: str
    release: int
    match: Match = field(default_factory=Match)
    ring: str | None = None
    percent: float = 100.0
    salt: str = ""
    window: str | None = None
    mode: str = "active"
    bake_s: float = 0.0
    gates: Mapping[str, object] = field(default_factory=dict)
    approve: str = "auto"
    on_regression: str = "rollback"


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the operators of a site want.

    Attributes:
        site: whom it is for.
        seq: rises with every rollout of the site, 1 to ``NUMBER_MAX``.
        issued: when it was signed; ``expires``: from when on nothing new is begun because of it; UTC, whole seconds.
        assignments: the first that matches counts; none = keep what runs.
        pause: begin nothing.
        kill: digests of manifests that must not run on this site.
    """

    site: str
    seq: int
    issued: datetime
    expires: datetime
    assignments: tuple[Assignment, ...] = ()
    pause: bool = False
    kill: tuple[str, ...] = ()


def is_name(text: str) -> bool:
    """Tell whether a model or a site can be called that: paths and metadata files are named after them."""
    return NAME.fullmatch(text) is not None


def release_path(model: str, release: int) -> str:
    """Return the target path of a release, in the role ``targets``."""
    return f"releases/{model}/{release}.json"


def release_at(path: str) -> tuple[str, int] | None:
    """Return model and release that a target path names, ``None`` when it is no release's."""
    found = _RELEASE_PATH.fullmatch(path)
    return (found[1], int(found[2])) if found and int(found[2]) <= NUMBER_MAX else None


def rollout_role(site: str) -> str:
    """Return the name of the delegated role that signs the rollouts of ``site``."""
    return f"rollout-{site}"


def rollout_paths(site: str) -> str:
    """Return the pattern of the target paths that `rollout_role` may sign."""
    return f"rollout/{site}/*"


def rollout_path(site: str) -> str:
    """Return the target path of the rollout of ``site``."""
    return f"rollout/{site}/desired.json"


def stamp(when: datetime) -> str:
    """Return RFC 3339 text in UTC, whole seconds, as TUF writes them."""
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"  # %Y writes the year 1 as 1


def parse_stamp(text: object) -> datetime | None:
    """Return the time that `stamp` wrote, ``None`` for everything else."""
    if not isinstance(text, str) or not _STAMP.fullmatch(text):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:  # the 31st of February
        return None
