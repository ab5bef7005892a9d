"""The published JSON Schemas, one package file each; a subscriber may validate every message with them."""

from __future__ import annotations

import json
from importlib import resources

NAMES = ("result", "event", "status", "info", "metrics")


def load(name: str) -> dict[str, object]:
    """Return the JSON Schema (draft 2020-12) of one of ``NAMES``.

    Raises:
        KeyError: there is no such document.
    """
    if name not in NAMES:
        raise KeyError(name)
    text = resources.files("edge_runtime.publish").joinpath("schemas", f"{name}.json").read_text("utf-8")
    schema: dict[str, object] = json.loads(text)
    return schema
