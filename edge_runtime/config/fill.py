"""Fills in what values refer to, ``${VAR}`` and ``!secret NAME``, and gives plain data to validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.config.checks import dotted
from edge_runtime.config.expand import ExpansionError, expand
from edge_runtime.config.report import Problem
from edge_runtime.config.schema import Settings
from edge_runtime.config.secrets import SecretError, SecretStore
from edge_runtime.config.shape import Kind, Shape, at, typed
from edge_runtime.config.tree import Node, Place, map_scalars

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_runtime.config.checks import Loc


@dataclass(frozen=True, slots=True)
class Filled:
    """The tree with every reference replaced, the secrets that came in, and what had no value."""

    root: Node
    secrets: frozenset[str]
    problems: tuple[Problem, ...]


def fill(root: Node, environ: Mapping[str, str], directory: Path) -> Filled:
    """Expand the variables of values that came from files and look secrets up, last of all in ``directory``."""
    store = SecretStore(environ, directory)
    secrets: set[str] = set()
    problems: list[Problem] = []

    def value(node: Node, loc: Loc) -> Node:
        if node.secret:
            secret = store.get(str(node.value))
            secrets.add(secret)
            return replace(node, value=secret)
        if node.origin.place is not Place.FILE or not isinstance(node.value, str) or "${" not in node.value:
            return node
        text = expand(node.value, environ)
        return replace(node, value=typed(text, at(Settings, loc)), raw=text)

    def checked(node: Node, loc: Loc) -> Node:
        try:
            return value(node, loc)
        except ExpansionError as error:
            shape = at(Settings, loc)
            message = error.message if shape is not None and shape.secret else error.whole
            help_ = error.help
        except SecretError as error:
            message, help_ = error.message, error.help
        problems.append(Problem("config.no_value", message, node.origin, dotted(loc), help_))
        return replace(node, value=None, secret=False, broken=True)

    filled = map_scalars(root, checked, ())
    return Filled(filled, frozenset(secrets), tuple(problems))


def plain(node: Node, shape: Shape | None) -> object:
    """Return plain data for validation: text settings get numbers as they were written, broken values are left out."""
    if isinstance(node.value, dict):
        return {
            name: plain(entry.node, shape.child(name) if shape else None)
            for name, entry in node.value.items()
            if not entry.node.broken
        }
    if isinstance(node.value, tuple):
        inside = shape.child(0) if shape else None
        return tuple(plain(item, inside) for item in node.value)
    if shape is not None and shape.kind is Kind.TEXT and node.value is not None and node.raw is not None:
        return node.raw
    return node.value
