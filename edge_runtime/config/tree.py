"""Configuration as written: values that remember where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.config.checks import Loc

Scalar = str | int | float | bool | None


class Place(Enum):
    """What kind of place a value comes from."""

    FILE = "file"
    ENVIRONMENT = "environment"
    OVERRIDE = "override"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written.

    Attributes:
        place: kind of place.
        name: file path, variable name, option, or why this is the default.
        line: 1-based; 0 outside files, and so for the other three.
        column: 1-based, in characters.
        end_line: line of the first character behind the value.
        end_column: its column.
    """

    place: Place
    name: str
    line: int = 0
    column: int = 0
    end_line: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        """``configs/a.yaml:3:10``, ``$EDGE__MQTT__PORT``, ``option mqtt.port`` or ``default (host name)``."""
        match self.place:
            case Place.FILE:
                return f"{self.name}:{self.line}:{self.column}" if self.line else self.name
            case Place.ENVIRONMENT:
                return f"${self.name}"
            case Place.OVERRIDE:
                return f"option {self.name}"
            case Place.DEFAULT:
                return f"default ({self.name})" if self.name else "default"


DEFAULT: Final = Origin(Place.DEFAULT, "")


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key: value`` of a map."""

    key: Origin
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its origin.

    Attributes:
        value: a scalar, a tuple of nodes (list) or a dict of entries (map).
        origin: where it stands.
        raw: the text of an unquoted scalar as written, so that text settings get ``1.10`` and not ``1.1``.
        secret: ``True`` for ``!secret NAME``; ``value`` is the name until it was looked up, then the secret.
        broken: a problem was reported here; nothing more is to be said about it.
        partial: entries of this map were refused; what seems to be missing may be among them.
    """

    value: Scalar | tuple[Node, ...] | Mapping[str, Entry]
    origin: Origin
    raw: str | None = field(default=None, repr=False)
    secret: bool = False
    broken: bool = False
    partial: bool = False


def merge(under: Node, over: Node) -> Node:
    """Lay one tree over another: maps merge, everything else is replaced."""
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    entries = dict(under.value)
    for name, entry in over.value.items():
        below = entries.get(name)
        entries[name] = entry if below is None else Entry(entry.key, merge(below.node, entry.node))
    return replace(under, value=entries)


def map_scalars(node: Node, change: Callable[[Node, Loc], Node], loc: Loc) -> Node:
    """Return a copy of the tree below ``loc`` in which ``change`` has seen everything that is neither map nor list."""
    if isinstance(node.value, dict):
        entries = {
            name: Entry(entry.key, map_scalars(entry.node, change, (*loc, name))) for name, entry in node.value.items()
        }
        return replace(node, value=entries)
    if isinstance(node.value, tuple):
        return replace(node, value=tuple(map_scalars(inside, change, (*loc, i)) for i, inside in enumerate(node.value)))
    return change(node, loc)
