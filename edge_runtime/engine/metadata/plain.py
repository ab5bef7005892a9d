"""Keys that converters of all kinds write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.engine.metadata.values import literal
from edge_runtime.engine.sidecars import LABELS_NAME

if TYPE_CHECKING:
    from edge_runtime.engine.metadata.graph import Graph


def stated(graph: Graph) -> dict[str, object]:
    """Return labels under the keys that converters use: one a line (`character` of PaddleOCR's), or a Python list."""
    for key in ("character", "labels", "classes"):
        text = graph.metadata.get(key)
        if text:
            listed = literal(text)
            lines = [str(one) for one in listed] if isinstance(listed, list) else text.split("\n")
            return {"labels": tuple(lines)}
    return {}


def stated_beside(graph: Graph) -> dict[str, object]:
    """Return the lines of a `labels.txt` beside the model."""
    text = graph.metadata.get(f"{LABELS_NAME}/labels")
    return {"labels": tuple(line.strip() for line in text.split("\n"))} if text else {}
