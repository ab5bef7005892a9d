"""What a model says about itself in this product's own words: keys `edge.task`, `edge.labels`, `edge.input.color` ...

They stand in an ONNX file's `metadata_props`, or in the section `edge` of an IR's `rt_info`. The names are those of
`edge-model.json`, the values what would stand there, as JSON; a word needs no quotation marks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from edge_runtime.core.description import read_description
from edge_runtime.core.jsonfields import Section
from edge_runtime.engine.metadata.values import UnusableMetadataError, dotted

if TYPE_CHECKING:
    from edge_runtime.engine.metadata.graph import Graph

_PREFIXES: Final = ("edge.", "edge/", "framework/edge.")  # the last: an IR made from its ONNX
_HELP: Final = "write the keys as they stand in edge-model.json, each value as JSON, or take them out"


def stated(graph: Graph) -> dict[str, object]:
    """Return what the model's keys say.

    Raises:
        UnusableMetadataError: a key is unknown, or a value wrong.
    """
    top: dict[str, object] = {}
    for key, text in graph.metadata.items():
        prefix = next((one for one in _PREFIXES if key.startswith(one)), None)
        if prefix is None:
            continue
        section, _, name = key.removeprefix(prefix).rpartition(".")
        into = top.setdefault(section, {}) if section else top
        if not isinstance(into, dict) or name in into:
            raise UnusableMetadataError(f"have {key!r} beside another key that says the same", _HELP)
        into[name] = _value(text)
    if not top:
        return {}
    problems: list[str] = []
    unknown: list[str] = []
    whole = Section(top, "", problems, unknown)
    description = read_description(whole)
    whole.close()
    if problems or unknown:
        told = [*problems, *(f"{name}: nobody knows this key" for name in unknown)]
        raise UnusableMetadataError(f"are wrong: {'; '.join(told)}", _HELP)
    return dotted(description)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
