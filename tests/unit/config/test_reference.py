from __future__ import annotations

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edge_runtime.config.reference import json_schema

SCHEMA = json_schema()
GOOD: dict[str, Any] = {
    "version": 1,
    "mqtt": {"host": "a", "tls": True},
    "cameras": {"top": {"source": "rtsp://h/", "fps": "${FPS}"}},
    "models": {"m": {"path": "m.onnx", "device": "openvino:GPU.1"}},
    "inspections": {"top": {"trigger": {"interval_ms": 100}}, "b": {"trigger": "mqtt", "camera": "top"}},
}


def test_the_schema_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_a_good_file_passes() -> None:
    Draft202012Validator(SCHEMA).validate(GOOD)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("nope",), 1),
        (("mqtt", "port"), 0),
        (("mqtt", "tls"), "yes"),
        (("mqtt", "host"), "mqtt://a"),
        (("cameras", "top", "fps"), "fast"),
        (("cameras", "top", "nope"), 1),
        (("inspections", "top", "trigger"), "on"),
        (("inspections", "top", "trigger"), {"kind": "mqtt"}),
        (("models", "m", "device"), "cuda"),
        (("models",), {}),
    ],
)
def test_a_bad_value_does_not(path: tuple[str, ...], value: object) -> None:
    data = copy.deepcopy(GOOD)
    inside = data
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    assert list(Draft202012Validator(SCHEMA).iter_errors(data))


def test_what_is_not_available_is_marked_for_editors() -> None:
    assert SCHEMA["$defs"]["Engine"]["properties"]["pinning"]["deprecated"] is True
    assert "not available in this version" in SCHEMA["$defs"]["Http"]["properties"]["listen"]["description"]
