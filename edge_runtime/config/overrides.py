"""Values that come from outside the files: ``EDGE__MQTT__HOST=...`` and options of the command line. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edge_runtime.config.checks import suggestion
from edge_runtime.config.report import Problem
from edge_runtime.config.schema import Settings
from edge_runtime.config.shape import Kind, Shape, typed
from edge_runtime.config.tree import Entry, Node, Origin, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.config.checks import Loc

PREFIX: Final = "EDGE__"
SEPARATOR: Final = "__"


@dataclass(frozen=True, slots=True)
class _Target:
    """Where an override goes, or why it goes nowhere."""

    loc: Loc
    shape: Shape
    problem: str = ""
    help: str | None = None


def from_environment(root: Node, environ: Mapping[str, str]) -> tuple[Node, list[Problem]]:
    """Apply every ``EDGE__...`` variable: upper or lower case, other signs of names than letters and digits as ``_``.

    Of several names that a variable may mean, the one that is spelled like it wins.

    Returns:
        The new tree, and a problem for every variable that leads nowhere.
    """
    problems: list[Problem] = []
    for variable in sorted(name for name in environ if name.upper().startswith(PREFIX)):
        origin = Origin(Place.ENVIRONMENT, variable)
        target = _target(root, variable[len(PREFIX) :].split(SEPARATOR))
        if not target.problem and _is_group(target.shape):
            target = _Target(target.loc, target.shape, "names a whole section", _inside(target.shape))
        if target.problem:
            problems.append(
                Problem("config.unknown_variable", f"{variable} {target.problem}", origin, help=target.help)
            )
        elif not _is_blocked(root, target.loc):
            root = put(root, target.loc, node_of(environ[variable], origin, target.shape))
    return root, problems


def from_options(root: Node, overrides: Mapping[str, object]) -> tuple[Node, list[Problem]]:
    """Apply ``{"mqtt.port": 1884}``; a value may be a whole map, and new names may be made.

    Returns:
        The new tree, and a problem for every path that leads nowhere.
    """
    problems: list[Problem] = []
    for path, value in overrides.items():
        origin = Origin(Place.OVERRIDE, path)
        target = _target(root, path.split("."), create=True)
        if target.problem:
            problems.append(Problem("config.unknown_option", f"{path} {target.problem}", origin, help=target.help))
        elif not _is_blocked(root, target.loc):
            root = put(root, target.loc, node_of(value, origin, target.shape))
    return root, problems


def put(root: Node, loc: Loc, node: Node) -> Node:
    """Return a copy of the tree with ``node`` at ``loc``; what is not a map on the way becomes one."""
    if not loc:
        return node
    step = str(loc[0])
    entries = dict(root.value) if isinstance(root.value, dict) else {}
    inside = entries[step].node if step in entries else Node({}, node.origin)
    key = entries[step].key if step in entries else node.origin
    entries[step] = Entry(key, put(inside, loc[1:], node))
    if isinstance(root.value, dict):
        return replace(root, value=entries)
    return Node(entries, root.origin)


def node_of(value: object, origin: Origin, shape: Shape | None) -> Node:
    """Wrap a plain value; text gets its YAML type, except where the schema wants text."""
    if isinstance(value, dict):
        inside = {str(key): (within, shape.child(str(key)) if shape else None) for key, within in value.items()}
        return Node({key: Entry(origin, node_of(within, origin, at)) for key, (within, at) in inside.items()}, origin)
    if isinstance(value, (list, tuple)):
        item = shape.child(0) if shape else None
        return Node(tuple(node_of(within, origin, item) for within in value), origin)
    if value is None or isinstance(value, (bool, int, float)):
        return Node(value, origin, raw=None if value is None else str(value))
    return Node(typed(str(value), shape), origin, raw=str(value))


def _is_blocked(root: Node, loc: Loc) -> bool:
    """Tell whether something stands on the way to ``loc`` that is no section: a mistake, which is not to be hidden."""
    shape: Shape | None = Shape(Kind.SECTION, model=Settings)
    node = root
    for step in loc:
        if not isinstance(node.value, dict):
            words = shape.shorthand.split(", ") if shape is not None and shape.shorthand is not None else []
            return node.value is not None and str(node.value).lower() not in words
        if step not in node.value:
            return False
        node, shape = node.value[str(step)].node, shape.child(step) if shape else None
    return False


def _target(root: Node, words: list[str], *, create: bool = False) -> _Target:
    shape, node, loc = Shape(Kind.SECTION, model=Settings), root, list[str]()
    while words:
        known = list(shape.fields) if shape.kind is Kind.SECTION else _names(node)
        used, names = _match(known, words)
        if len(names) > 1:
            way_out = "rename one of them, or write the setting in a file"
            return _Target((), shape, f"may mean {' and '.join(names)}", way_out)
        name = names[0] if names else None
        if name is None and create and shape.kind is Kind.NAMES:
            used, name = 1, words[0]
        inside = shape.child(name) if name is not None else None
        if name is None or inside is None:
            return _Target((), shape, *_nowhere(shape, loc, words[0].lower(), known))
        loc.append(name)
        words = words[used:]
        shape = inside
        node = node.value[name].node if isinstance(node.value, dict) and name in node.value else Node(None, node.origin)
    return _Target(tuple(loc), shape)


def _names(node: Node) -> list[str]:
    return list(node.value) if isinstance(node.value, dict) else []


def _match(known: list[str], words: list[str]) -> tuple[int, list[str]]:
    """Return how many of ``words`` spell one of ``known``, and which; a name may hold the separator itself.

    More than one is returned when none of them is spelled more like the words than the others.
    """
    found: dict[tuple[int, int], list[str]] = {}
    lowered = [word.lower() for word in words]
    for name in known:
        for spelled in (name.split("."), re.sub("[^a-z0-9]", "_", name.lower()).split(SEPARATOR)):
            count = len(spelled)
            if [word.lower() for word in spelled] == lowered[:count]:
                written = SEPARATOR.join(words[:count])
                likeness = (name == written) + (name.lower() == written.lower()) + (spelled == words[:count])
                found.setdefault((count, likeness), []).append(name)
    if not found:
        return 0, []
    best = max(found)
    return best[0], list(dict.fromkeys(found[best]))


def _nowhere(shape: Shape, loc: list[str], word: str, known: list[str]) -> tuple[str, str | None]:
    where = ".".join(loc)
    if shape.kind not in (Kind.SECTION, Kind.NAMES):
        return f"goes too deep: {where} is a single setting", None
    close = suggestion(word, known)
    way_out = f"did you mean {close}?" if close else f"known here: {', '.join(known) or 'nothing'}"
    return f'names no setting: there is no "{word[:64]}"' + (f" in {where}" if where else ""), way_out


def _is_group(shape: Shape) -> bool:
    return shape.kind in (Kind.NAMES, Kind.LIST) or (shape.kind is Kind.SECTION and shape.shorthand is None)


def _inside(shape: Shape) -> str | None:
    return f"set what is inside: {', '.join(shape.fields)}" if shape.fields else "write it in a file"
