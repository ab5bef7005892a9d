"""Reads and writes as JSON what a registry signs: releases, floors, rollouts, the values of `statements`. Pure.

*Release* (``edge-release/1``) is the custom part of a TUF target, *floors* (``edge-floors/1``) and *rollout*
(``edge-rollout/1``) are targets themselves.

A document with a key that is not known here is refused as a whole: the key could be a restriction, and to act upon
the rest would widen what was meant. Who adds a key gives the schema a new number.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import Section, load_object
from edge_runtime.registry.descriptor import Descriptor, checked_digest
from edge_runtime.registry.statements import (
    APPROVALS,
    BAKE_S_MAX,
    FLOORS_PATH,
    KEYS_OF_MATCH,
    MODES,
    NAME,
    NUMBER_MAX,
    REGRESSIONS,
    Assignment,
    FloorsDocument,
    Match,
    ModelFloor,
    Release,
    Rollout,
    is_name,
    parse_stamp,
    release_at,
    release_path,
    rollout_path,
    rollout_paths,
    rollout_role,
    stamp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [  # values and their form come from one room
    "APPROVALS",
    "FLOORS_PATH",
    "KEYS_OF_MATCH",
    "MODES",
    "NUMBER_MAX",
    "REGRESSIONS",
    "Assignment",
    "FloorsDocument",
    "Match",
    "ModelFloor",
    "Release",
    "Rollout",
    "dump_floors",
    "dump_rollout",
    "is_name",
    "parse_floors",
    "parse_release",
    "parse_rollout",
    "parse_stamp",
    "release_at",
    "release_fields",
    "release_path",
    "rollout_path",
    "rollout_paths",
    "rollout_role",
    "stamp",
]

RELEASE_SCHEMA: Final = "edge-release/1"
FLOORS_SCHEMA: Final = "edge-floors/1"
ROLLOUT_SCHEMA: Final = "edge-rollout/1"
DOCUMENT_BYTES_MAX: Final = 256 << 10

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_MINIMUM = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
T = TypeVar("T")

_NEVER = datetime.min.replace(tzinfo=UTC)  # stands for a time that could not be read
_HELP = "it has to be corrected and signed again by its publisher; nothing in it is acted upon until then"


def parse_release(data: Mapping[str, object], where: str) -> Release:
    """Return what the custom part of a release's target says.

    Raises:
        DataError: code ``registry.release`` with everything that is wrong.
    """
    return _read(data, where, RELEASE_SCHEMA, _release)


def release_fields(release: Release) -> dict[str, object]:
    """Return the custom part of the target of ``release``, after reading it as a box would.

    Raises:
        DataError: as `parse_release`.
    """
    fields = _without_nothing(
        schema=RELEASE_SCHEMA,
        model=release.model,
        release=release.release,
        version=release.version,
        digest=release.digest,
        repository=release.repository,
        issued=stamp(release.issued),
        hardware=list(release.hardware),
        requires=dict(release.requires),
        bundle=None if release.bundle is None else release.bundle.as_fields(),
    )
    parse_release(fields, f"release {release.release} of {release.model}")
    return fields


def parse_floors(raw: bytes, where: str) -> FloorsDocument:
    """Return the floors in ``raw``.

    Raises:
        DataError: code ``manifest.unreadable`` (not one JSON object), or ``registry.floors`` with all that is wrong.
    """
    return _read(load_object(raw, where, limit_bytes=DOCUMENT_BYTES_MAX), where, FLOORS_SCHEMA, _floors)


def dump_floors(floors: FloorsDocument) -> bytes:
    """Return the bytes of ``floors``, always the same for the same value, after reading them as a box would.

    Raises:
        DataError: as `parse_floors`.
    """
    models = {
        name: {"min_release": floor.min_release, "revoked": sorted(floor.revoked)}
        for name, floor in floors.models.items()
    }
    raw = _canonical({"schema": FLOORS_SCHEMA, "models": models})
    parse_floors(raw, FLOORS_PATH)
    return raw


def parse_rollout(raw: bytes, where: str) -> Rollout:
    """Return the rollout in ``raw``.

    Raises:
        DataError: code ``manifest.unreadable`` (not one JSON object), or ``registry.rollout`` with all that is wrong.
    """
    return _read(load_object(raw, where, limit_bytes=DOCUMENT_BYTES_MAX), where, ROLLOUT_SCHEMA, _rollout)


def dump_rollout(rollout: Rollout) -> bytes:
    """Return the bytes of ``rollout``, always the same for the same value, after reading them as a box would.

    Raises:
        DataError: as `parse_rollout`.
    """
    fields = _without_nothing(
        schema=ROLLOUT_SCHEMA,
        site=rollout.site,
        seq=rollout.seq,
        issued=stamp(rollout.issued),
        expires=stamp(rollout.expires),
        pause=rollout.pause,
        kill=list(rollout.kill),
        assignments=[_assignment_fields(one) for one in rollout.assignments],
    )
    raw = _canonical(fields)
    parse_rollout(raw, rollout_path(rollout.site))
    return raw


def _canonical(fields: Mapping[str, object]) -> bytes:
    # what cannot be JSON (half a surrogate pair, NaN) gets through here, so that reading it back says what is wrong
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _without_nothing(**fields: object) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value is not None and value not in ([], {})}


def _assignment_fields(one: Assignment) -> dict[str, object]:
    match = {key: list(getattr(one.match, key)) for key in KEYS_OF_MATCH}
    labels = {key: list(values) for key, values in one.match.labels.items()}
    return _without_nothing(
        match=_without_nothing(**match, labels=labels),
        model=one.model,
        release=one.release,
        ring=one.ring,
        percent=int(one.percent) if one.percent == int(one.percent) else one.percent,
        salt=one.salt or None,
        window=one.window,
        mode=one.mode,
        bake_s=int(one.bake_s) if one.bake_s == int(one.bake_s) else one.bake_s,
        gates=dict(one.gates),
        approve=one.approve,
        on_regression=one.on_regression,
    )


def _read(data: Mapping[str, object], where: str, schema: str, reader: Callable[[Section], T]) -> T:
    problems: list[str] = []
    unknown: list[str] = []
    top = Section(data, "", problems, unknown)
    found = top.text("schema", required=True)
    if found is not None and found != schema:
        problems.append(f"schema: expected {schema!r}, found {found[:80]!r}")
    value = reader(top)
    top.close()
    problems += [f"{name}: unknown key" for name in unknown]
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        code = "registry." + schema.removeprefix("edge-").partition("/")[0]
        raise DataError(code, f"{where}: {count}\n  " + "\n  ".join(problems), help=_HELP)
    return value


def _release(top: Section) -> Release:
    bundle = top.section("bundle") if top.get("bundle") is not None else None
    return Release(
        model=top.text("model", required=True, pattern=NAME) or "",
        release=_number(top, "release", 0),
        version=top.text("version", required=True, pattern=_VERSION) or "",
        digest=_digest(top, "digest", top.get("digest")),
        repository=top.text("repository", required=True, pattern=NAME) or "",
        issued=_stamp(top, "issued"),
        hardware=top.texts("hardware") or (),
        requires=_requires(top),
        bundle=None if bundle is None else _descriptor(bundle),
    )


def _requires(top: Section) -> dict[str, str]:
    section = top.section("requires")
    for name in section.data:
        if not NAME.fullmatch(name):
            section.problems.append(f"{section.path}{name[:80]}: expected the name of a library, like {NAME.pattern}")
    return {name: section.text(name, required=True, pattern=_MINIMUM) or "" for name in section.data}


def _descriptor(section: Section) -> Descriptor:
    found = Descriptor(
        _digest(section, "digest", section.get("digest")),
        _number(section, "size", 0),
        section.text("mediaType", required=True, pattern=_TEXT) or "",
        section.text_map("annotations") or {},
    )
    section.close()
    return found


def _floors(top: Section) -> FloorsDocument:
    models = top.section("models", open_ended=True)
    found = {}
    for name in models.data:
        if not is_name(name):
            models.problems.append(f"{models.path}{name[:80]}: expected the name of a model, like {NAME.pattern}")
        section = models.section(name)
        found[name] = ModelFloor(
            section.integer("min_release", 0, NUMBER_MAX) or 0, frozenset(_digests(section, "revoked"))
        )
        section.close()
    return FloorsDocument(found)


def _refuse_null(section: Section) -> None:
    """Note every null: to read it as the default would make "percent": null everybody and "pause": null go on."""
    section.problems.extend(f"{section.path}{key}: null" for key, value in section.data.items() if value is None)


def _rollout(top: Section) -> Rollout:
    _refuse_null(top)
    issued, expires = _stamp(top, "issued"), _stamp(top, "expires")
    if _NEVER not in (issued, expires) and expires <= issued:
        top.problems.append(f"expires: expected a time after issued {stamp(issued)}, found {stamp(expires)}")
    listed = top.get("assignments")
    if not isinstance(listed, list | None):
        top.wrong("assignments", "a list of objects", listed)
    return Rollout(
        site=top.text("site", required=True, pattern=NAME) or "",
        seq=_number(top, "seq", 1),
        issued=issued,
        expires=expires,
        assignments=tuple(_assignment(one) for one in top.sections("assignments")) if isinstance(listed, list) else (),
        pause=top.boolean("pause") or False,
        kill=_digests(top, "kill"),
    )


def _assignment(section: Section) -> Assignment:
    _refuse_null(section)
    percent = section.number("percent", 0, 100)
    found = Assignment(
        match=_match(section.section("match")),
        model=section.text("model", required=True, pattern=NAME) or "",
        release=_number(section, "release", 0),
        ring=section.text("ring", pattern=_TEXT),
        percent=100.0 if percent is None else percent,
        salt=section.text("salt", pattern=_TEXT) or "",
        window=section.text("window", pattern=_TEXT),
        mode=section.choice("mode", MODES) or "active",
        bake_s=section.number("bake_s", 0, BAKE_S_MAX) or 0.0,
        gates=section.mapping("gates"),
        approve=section.choice("approve", APPROVALS) or "auto",
        on_regression=section.choice("on_regression", REGRESSIONS) or "rollback",
    )
    section.close()
    return found


def _match(section: Section) -> Match:
    parts = {key: _alternatives(section, key) for key in KEYS_OF_MATCH if key in section.data}
    labels = section.section("labels", open_ended=True)
    found = Match(**parts, labels={key: _alternatives(labels, key) for key in labels.data})
    section.close(also=KEYS_OF_MATCH)
    return found


def _alternatives(section: Section, key: str) -> tuple[str, ...]:
    """Return a text or the texts of a list; nothing and an empty list are refused: they would match everything."""
    value = section.get(key)
    texts: Sequence[object] = value if isinstance(value, list) else [value]
    found = tuple(one for one in texts if isinstance(one, str) and _TEXT.fullmatch(one))
    if not found or len(found) < len(texts):
        section.wrong(key, "a text, or a list of at least one", value)
    return found


def _number(section: Section, key: str, low: int) -> int:
    if section.get(key) is None:
        section.wrong(key, f"a whole number from {low} to {NUMBER_MAX}", None)
    return section.integer(key, low, NUMBER_MAX) or 0


def _stamp(section: Section, key: str) -> datetime:
    value = section.get(key)
    found = parse_stamp(value)
    if found is None:
        section.wrong(key, "a time like 2026-01-31T12:00:00Z", value)
    return found or _NEVER


def _digest(section: Section, where: str, value: object) -> str:
    try:
        return checked_digest(value, f"{section.path}{where}")
    except DataError as error:
        section.problems.append(error.message)
        return ""


def _digests(section: Section, key: str) -> tuple[str, ...]:
    listed = section.texts(key) or ()
    return tuple(_digest(section, f"{key}[{index}]", one) for index, one in enumerate(listed))
