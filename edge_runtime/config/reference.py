"""The schema for others: a JSON Schema that editors use for completion, with what may be left out or abbreviated."""

from __future__ import annotations

import copy
from typing import Any, Final

from edge_runtime.config.schema import Settings
from edge_runtime.config.section import NOT_YET

_REFERENCE: Final = {"type": "string", "pattern": r"\$\{[^{}]+\}"}  # ${VAR} may stand for any value
_NARROW: Final = ("pattern", "enum", "const", "minimum", "maximum")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a configuration file as it may be written."""
    schema = copy.deepcopy(Settings.model_json_schema())
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "edge_runtime configuration"
    parts = schema["$defs"]
    parts["Inspection"].pop("required")  # camera and model follow from the rest where they are unambiguous
    trigger = parts["Trigger"]
    trigger["properties"].pop("kind")
    trigger["required"] = ["interval_ms"]
    words = {"enum": ["continuous", "mqtt"]}
    parts["Inspection"]["properties"]["trigger"]["anyOf"] = [words, {"$ref": "#/$defs/Trigger"}]
    parts["Inspection"]["properties"]["trigger"].pop("$ref")
    parts["Inspection"]["properties"]["trigger"]["default"] = "continuous"
    recipe = parts["Inspection"]["properties"]["recipe"]
    recipe["anyOf"] = [{"type": "string", "minLength": 1, "maxLength": 64}, {"$ref": recipe.pop("$ref")}]
    parts["Mqtt"]["properties"]["tls"]["anyOf"].append({"type": "boolean"})
    for part in (schema, *parts.values()):
        for name, value in part.get("properties", {}).items():
            part["properties"][name] = _relaxed(value)
    return schema


def _relaxed(value: dict[str, Any]) -> dict[str, Any]:
    """Allow ``${VAR}`` where a value is narrower than text, and mark what this version refuses."""
    about: dict[str, Any] = {key: value[key] for key in ("description", "default", "title") if key in value}
    rest = {key: inside for key, inside in value.items() if key not in about}
    missing = rest.pop(NOT_YET, None)
    if missing is not None:
        about["description"] = f"{about['description']} (not available in this version)"
        about["deprecated"] = True
    options = rest.get("anyOf", [rest])
    narrow = any(
        option.get("type") in ("integer", "number", "boolean") or any(key in option for key in _NARROW)
        for option in options
    )
    return {**about, "anyOf": [*options, _REFERENCE]} if narrow else {**about, **rest}
