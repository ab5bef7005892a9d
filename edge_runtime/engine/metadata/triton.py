"""What Triton's `config.pbtxt` says of an input that is a picture: its layout and, where it is fixed, its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.core.layouts import REPOSITORY_NAME
from edge_runtime.engine.metadata.values import literal

if TYPE_CHECKING:
    from edge_runtime.engine.metadata.graph import Graph


def stated(graph: Graph) -> dict[str, object]:
    """Return what `engine.layouts.repository` read there."""
    size = literal(graph.metadata.get(f"{REPOSITORY_NAME}/size"))
    return {
        "input.layout": graph.metadata.get(f"{REPOSITORY_NAME}/layout"),
        "input.size": tuple(size) if isinstance(size, list) else None,
    }
