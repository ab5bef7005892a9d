"""Detectors that answer with lists called `boxes`, `labels` and `scores`, as torchvision's exports do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_runtime.engine.metadata.graph import Graph

_LISTS: Final = frozenset({"boxes", "labels", "scores"})


def stated(graph: Graph) -> dict[str, object]:
    """Return what three outputs of these names are, when there is nothing else; colours and scale stay to be stated.

    Numbers of classes count the background as 0 or do not, which is not to be seen here.
    """
    names = {name for one in graph.outputs for name in (one.name, *one.aliases)}
    if len(graph.outputs) != len(_LISTS) or not names >= _LISTS:
        return {}
    return {"task": "detection", "decoder": "boxes"}
