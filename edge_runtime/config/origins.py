"""Where each setting in force was written, for ``config show``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edge_runtime.config.checks import dotted
from edge_runtime.config.explain import find
from edge_runtime.config.section import Section
from edge_runtime.config.tree import DEFAULT, Node, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.config.checks import Loc


def origins(settings: Section, root: Node) -> Iterator[tuple[str, Origin]]:
    """Go over the dotted paths of ``settings``, which ``root`` was validated to; a list counts as one setting."""
    yield from _origins(settings, root, ())


def _origins(value: object, root: Node, loc: Loc) -> Iterator[tuple[str, Origin]]:
    inside: Mapping[str, object] | None = None
    if isinstance(value, Section):
        inside = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, Mapping):
        inside = value
    if inside is None:
        yield dotted(loc), _origin(root, loc)
    else:
        for name, below in inside.items():
            yield from _origins(below, root, (*loc, name))


def _origin(root: Node, loc: Loc) -> Origin:
    spot = find(root, loc)
    if spot.node is not None:
        return spot.node.origin
    above = find(root, loc[:-1]).node  # a section written as one word, for example  trigger: mqtt
    written = above is not None and above.value is not None and not isinstance(above.value, (dict, tuple))
    return above.origin if above is not None and written else DEFAULT
