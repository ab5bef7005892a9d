"""Turns what pydantic finds into our ``Problem``: the place in the file, what is allowed, a suggestion. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

from edge_runtime.config.checks import Mistake, dotted, suggestion
from edge_runtime.config.report import Problem, veil
from edge_runtime.config.schema import Settings
from edge_runtime.config.section import NOT_YET
from edge_runtime.config.shape import Kind, Shape, at
from edge_runtime.config.yaml12 import resolve
from edge_runtime.system.redact import is_secret_name, redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic.fields import FieldInfo

    from edge_runtime.config.checks import Loc
    from edge_runtime.config.tree import Node, Origin

GOT_LIMIT: Final = 40  # characters of a wrong value that are repeated
SECRET_WORDS: Final = ("password", "passwort", "kennwort", "passphrase")  # an unknown key may be any of them, misspelt
SUGGESTIONS_LIMIT: Final = 50  # unknown keys that get a suggestion; the comparison is slow
_RECIPE_STEPS: Final = 3  # inspections.ID.recipe
_KEY_STEP: Final = "[key]"  # pydantic's mark for "the key itself is wrong"
_WITH_UNIT: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?\s*[A-Za-z%\N{MICRO SIGN}][A-Za-z/]*")
_LEADING_ZERO: Final = re.compile(r"-?0[0-9]+")
_YES_NO: Final = {
    **dict.fromkeys(("yes", "on", "y", "1", "enabled"), "true"),
    **dict.fromkeys(("no", "off", "n", "0", "disabled"), "false"),
}


class Finding(TypedDict):
    """The part of pydantic's error details that we use."""

    type: str
    loc: tuple[int | str, ...]
    ctx: dict[str, object]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a path leads in the tree: as far as it was written.

    Attributes:
        node: the value there, ``None`` when it was not written.
        key: position of the last key on the way that was written.
        broken: a problem was reported on the way already.
    """

    node: Node | None
    key: Origin
    broken: bool = False

    @property
    def origin(self) -> Origin:
        """The value's position; for a section, or where nothing was written, that of the last key."""
        return self.key if self.node is None or isinstance(self.node.value, dict) else self.node.origin


def find(root: Node, loc: Loc) -> Spot:
    """Follow ``loc`` through the tree, to where a setting was really written.

    Camera settings that were not written there are looked up in ``defaults``, those of a named recipe in ``recipes``.
    """
    if len(loc) > _RECIPE_STEPS and (loc[0], loc[2]) == ("inspections", "recipe"):
        named = _walk(root, loc[:_RECIPE_STEPS]).node
        if named is not None and isinstance(named.value, str):
            return _walk(root, ("recipes", named.value, *loc[_RECIPE_STEPS:]))
    spot = _walk(root, loc)
    if spot.node is None and not spot.broken and len(loc) > 2 and loc[0] == "cameras":  # noqa: PLR2004 - cameras.ID.SETTING
        inherited = _walk(root, ("defaults", *loc[2:]))
        if inherited.node is not None or inherited.broken:
            return inherited
    return spot


def _walk(root: Node, loc: Loc) -> Spot:
    node, key = root, root.origin
    for step in loc:
        inside: Node | None = None
        if isinstance(node.value, dict) and step in node.value:
            key = node.value[step].key
            inside = node.value[step].node
        elif isinstance(node.value, tuple) and isinstance(step, int) and step < len(node.value):
            inside = node.value[step]
            key = inside.origin
        if inside is None:
            return Spot(None, key, broken=node.broken or node.partial)
        node = inside
    return Spot(node, key, broken=node.broken)


def explain(root: Node, findings: Sequence[Finding]) -> Iterator[Problem]:
    """Word every finding; those at places that were reported already are left out."""
    unknown = 0
    for found in findings:
        finding = _settled(found)
        loc = finding["loc"]
        unknown += finding["type"] == "extra_forbidden"
        spot = find(root, loc[:-1] if loc[-1:] == (_KEY_STEP,) else loc)
        if not spot.broken and not _follows(finding, spot):
            yield _explain(finding, spot, suggest=unknown <= SUGGESTIONS_LIMIT)


def _settled(finding: Finding) -> Finding:
    """A pair that lacks a number is a wrong pair, not a missing setting."""
    if finding["type"] == "missing" and isinstance(finding["loc"][-1], int):
        return {"type": "pair", "loc": finding["loc"][:-1], "ctx": {}}
    return finding


def _follows(finding: Finding, spot: Spot) -> bool:
    """Tell whether a finding only follows from another: it is about a value that was derived, or about a whole."""
    loc, kind = finding["loc"], finding["type"]
    if kind == "edge":
        return not loc  # the schema's own check of references, which were told before
    if kind in ("too_short", "too_long") and spot.node is not None and isinstance(spot.node.value, (dict, tuple)):
        low, high = (finding["ctx"].get(bound) for bound in ("min_length", "max_length"))
        count = len(spot.node.value)  # entries that are wrong themselves do not count for pydantic
        return (not isinstance(low, int) or count >= low) and (not isinstance(high, int) or count <= high)
    return spot.node is None and kind != "missing"


def place(root: Node, mistakes: Sequence[Mistake]) -> Iterator[Problem]:
    """Give mistakes of several settings together their position."""
    for mistake in mistakes:
        spot = find(root, mistake.loc)
        if not spot.broken:
            yield Problem(
                mistake.code, mistake.message, spot.origin, dotted(mistake.loc), mistake.help, warning=mistake.warning
            )


def not_available(root: Node) -> Iterator[Problem]:
    """Find settings of the contract that this version does not act on."""
    yield from _not_available(root, Shape(Kind.SECTION, model=Settings), ())


def _not_available(node: Node, shape: Shape, loc: Loc) -> Iterator[Problem]:
    if not isinstance(node.value, dict):
        return
    for name, entry in node.value.items():
        field = shape.fields.get(name)
        extra = field.json_schema_extra if field is not None else None
        here = (*loc, name)
        if isinstance(extra, dict) and NOT_YET in extra and entry.node.value is not None:
            message = f"{name}: not available in this version ({extra[NOT_YET]})"
            yield Problem("config.not_available", message, entry.key, dotted(here), help=f"remove {name}")
        inside = shape.child(name)
        if inside is not None:
            yield from _not_available(entry.node, inside, here)


def _explain(finding: Finding, spot: Spot, *, suggest: bool) -> Problem:
    loc, kind = finding["loc"], finding["type"]
    context = finding.get("ctx") or {}
    if kind == "extra_forbidden":
        return _unknown_key(loc, spot, suggest=suggest)
    if kind == "missing":
        return _missing(loc, spot)
    if kind == "edge":
        problem = str(context["problem"])
        message = f"{_name(loc)}{' ' if problem.startswith('must ') else ': '}{problem}"
        return Problem(str(context["code"]), message, spot.origin, dotted(loc), str(context["way_out"]) or None)
    if kind in ("too_short", "too_long"):
        return _length(loc, spot, context)
    return _wrong(loc, spot)


def _name(loc: Loc) -> str:
    """Return the last step that says something: ``not_ok[0]`` rather than ``0``."""
    cut = len(loc) - 1
    while cut > 0 and isinstance(loc[cut], int):
        cut -= 1
    return dotted(loc[cut:]) or "the configuration"


def _unknown_key(loc: Loc, spot: Spot, *, suggest: bool) -> Problem:
    name, parent = str(loc[-1]), at(Settings, loc[:-1])
    known = list(parent.fields) if parent else []
    close = suggestion(name, known) if suggest else None
    way_out = f"did you mean {close}?" if close else f"known here: {', '.join(known)}"
    hides = name if suggestion(name, [*filter(is_secret_name, known), *SECRET_WORDS]) else None
    return Problem("config.unknown_key", f'unknown key "{_clip(name)}"', spot.key, dotted(loc), way_out, hides=hides)


def _missing(loc: Loc, spot: Spot) -> Problem:
    way_out = "write  version: 1  at the top" if loc == ("version",) else _describe(loc)
    return Problem("config.missing", f"{_name(loc)} is missing", spot.origin, dotted(loc), way_out)


def _length(loc: Loc, spot: Spot, context: Mapping[str, object]) -> Problem:
    low, high = context.get("min_length"), context.get("max_length")
    bound, limit = ("at least", low) if low is not None else ("at most", high)
    value = spot.node.value if spot.node is not None else None
    got: object = context.get("actual_length")
    one, many = "character", "characters"
    if isinstance(value, (dict, tuple)):
        got, one, many = len(value), "entry", "entries"  # pydantic does not count a map to its end
    unit = one if limit == 1 else many
    message = f"{_name(loc)} must have {bound} {limit} {unit}, got {got}"
    return Problem("config.length", message, spot.origin, dotted(loc), _describe(loc))


def _wrong(loc: Loc, spot: Spot) -> Problem:
    if loc[-1:] == (_KEY_STEP,):
        message = f'"{_clip(str(loc[-2]))}" must be a name of 1 to 64 letters, digits, dots, - and _'
        return Problem("config.name", message, spot.key, dotted(loc[:-1]), "rename it; it is part of MQTT topics")
    shape = at(Settings, loc) or Shape(Kind.TEXT)
    secret = shape.secret or is_secret_name(str(loc[-1])) or (spot.node is not None and spot.node.secret)
    got = "a hidden value" if secret and _is_scalar(spot.node) else _got(spot.node)
    if shape.kind is Kind.LIST and spot.node is not None and isinstance(spot.node.value, tuple):
        got = f"a list of {len(spot.node.value)}"
    message = f"{_name(loc)} must be {shape.words}, got {got}"
    way_out = _hint(shape, spot.node, secret=secret, instead=_instead(loc)) or _describe(loc)
    return Problem("config.value", message, spot.origin, dotted(loc), way_out)


def _instead(loc: Loc) -> str:
    """Say what can be done instead of writing a value."""
    field = _field(loc)
    if field is None:
        return ", or remove the line"  # it has a name of the operator's own, or a place in a list
    return "" if field.is_required() else ", or remove the line to get the default"


def _hint(shape: Shape, node: Node | None, *, secret: bool, instead: str) -> str | None:
    """Recognise the usual slips."""
    if node is None or secret:
        return None
    value = node.value
    if value is None:
        first = "indent what belongs to it" if shape.kind in (Kind.SECTION, Kind.NAMES) else "write a value"
        return first + instead
    hint = None
    if isinstance(value, str) and (shape.kind is Kind.BOOL or (shape.shorthand and "true" in shape.shorthand)):
        hint = f"write {_YES_NO.get(value.lower(), 'true or false')}"
    elif isinstance(value, str) and shape.kind is Kind.CHOICE:
        close = suggestion(value, [str(choice) for choice in shape.choices])
        hint = f"did you mean {close}?" if close else None
    elif isinstance(value, str) and shape.kind in (Kind.WHOLE, Kind.NUMBER):
        if node.raw is None and isinstance(resolve(value), (int, float)):
            hint = "remove the quotes"
        elif _WITH_UNIT.fullmatch(value):
            hint = "write the bare number; its unit is in the name of the setting"
        elif _LEADING_ZERO.fullmatch(value):
            hint = "numbers have no leading zeros"
    return hint


def _field(loc: Loc) -> FieldInfo | None:
    parent = at(Settings, loc[:-1]) if loc else None
    return parent.fields.get(str(loc[-1])) if parent else None


def _describe(loc: Loc) -> str | None:
    """Return the help text of the nearest setting on the way up."""
    known = (end for end in range(len(loc), 0, -1) if _field(loc[:end]) is not None)
    end = next(known, None)
    field = _field(loc[:end]) if end else None
    return f"{loc[end - 1]}: {field.description}" if end and field else None


def _is_scalar(node: Node | None) -> bool:
    return node is not None and node.value is not None and not isinstance(node.value, (dict, tuple))


def _got(node: Node | None) -> str:
    value = node.value if node is not None else None
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, tuple):
        return "a list"
    if isinstance(value, str):
        return json.dumps(_clip(veil(redact(value))), ensure_ascii=False)
    return _clip(node.raw) if node is not None and node.raw is not None else json.dumps(value)


def _clip(text: str) -> str:
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return shown if len(shown) <= GOT_LIMIT else shown[: GOT_LIMIT - 1] + "\N{HORIZONTAL ELLIPSIS}"
