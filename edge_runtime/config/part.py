"""A piece of a configuration for programs that look on from outside: ``watch``, ``status``, ``doctor``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edge_runtime.config.overrides import node_of
from edge_runtime.config.schema import Settings
from edge_runtime.config.shape import Kind, Shape
from edge_runtime.config.tree import DEFAULT, Entry, Node, merge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_runtime.config.checks import Loc
    from edge_runtime.config.delivery import Mqtt

_REST: Final = {"cameras": {"none": {"source": "sim:bars"}}, "models": {"none": {"path": "none"}}}


@dataclass(frozen=True, slots=True)
class Part:
    """What such programs need; of this, what they did not ask for has its default.

    ``settings`` is the whole, with stand-ins for what was not asked for; ``mqtt`` has the password that it lacks.
    """

    mqtt: Mqtt
    state_dir: Path
    settings: Settings

    @property
    def box(self) -> tuple[str, str, str]:
        """Site, line and edge."""
        return self.settings.site, self.settings.line, self.settings.edge


def stand_in(root: Node, wanted: Sequence[Loc]) -> Node:
    """Return the tree with what ``wanted`` names, and the least that validates for all the rest."""
    missing = {name: least for name, least in _REST.items() if (name,) not in wanted}
    rest = node_of(missing, DEFAULT, Shape(Kind.SECTION, model=Settings))
    return merge(_kept(root, [("version",), *wanted]), rest)


def _kept(node: Node, wanted: Sequence[Loc]) -> Node:
    """Return ``node`` without the entries that lead to nothing ``wanted``; what is no map is kept, for it is wrong."""
    if not isinstance(node.value, Mapping) or () in wanted:
        return node
    entries = {}
    for name, entry in node.value.items():
        inside = [loc[1:] for loc in wanted if loc[0] == name]
        if inside:
            entries[name] = Entry(entry.key, _kept(entry.node, inside))
    return replace(node, value=entries)
