from __future__ import annotations

from typing import Any

import pytest

from edge_runtime.config.complete import complete


def test_defaults_are_spread_and_a_camera_may_say_otherwise() -> None:
    found = complete({"defaults": {"fps": 5, "stall_s": 2}, "cameras": {"a": {"fps": 7}, "b": {}, "c": None}})
    assert found["cameras"] == {"a": {"fps": 7, "stall_s": 2}, "b": {"fps": 5, "stall_s": 2}, "c": None}


def test_without_inspections_every_camera_gets_the_only_model() -> None:
    found = complete({"cameras": {"a": {}, "b": {}}, "models": {"m": {}}})
    assert found["inspections"] == {"a": {"camera": "a", "model": "m"}, "b": {"camera": "b", "model": "m"}}


def test_with_several_models_no_inspections_are_invented() -> None:
    assert "inspections" not in complete({"cameras": {"a": {}}, "models": {"m": {}, "n": {}}})


@pytest.mark.parametrize(
    ("cameras", "name", "camera"),
    [(["a", "b"], "b", "b"), (["a"], "x", "a"), (["a", "b"], "x", None)],
)
def test_an_inspection_finds_its_camera_by_name_or_because_there_is_one(
    cameras: list[str], name: str, camera: str | None
) -> None:
    found: Any = complete({"cameras": {c: {} for c in cameras}, "models": {"m": {}}, "inspections": {name: {}}})
    assert found["inspections"][name].get("camera") == camera
    assert found["inspections"][name]["model"] == "m"


def test_what_was_written_stays() -> None:
    written = {"camera": "b", "model": "n"}
    found: Any = complete({"cameras": {"a": {}}, "models": {"m": {}}, "inspections": {"a": written, "b": 5}})
    assert found["inspections"] == {"a": written, "b": 5}


@pytest.mark.parametrize(
    ("mqtt", "port"),
    [({"tls": True}, 8883), ({"tls": {}}, 8883), ({"tls": False}, None), ({}, None), ({"tls": True, "port": 1}, 1)],
)
def test_the_port_follows_tls(mqtt: dict[str, object], port: int | None) -> None:
    found: Any = complete({"mqtt": mqtt})
    assert found["mqtt"].get("port") == port


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"cameras": []},
        {"cameras": {"a": {}}, "models": 3},
        {"cameras": {"a": {}}, "inspections": []},
        {"mqtt": "x", "defaults": 1},
        {"defaults": {"fps": 1}, "cameras": {"a": {}}, "models": {"m": {}}, "mqtt": {"tls": True}},
    ],
)
def test_wrong_types_pass_untouched_and_twice_is_once(data: dict[str, object]) -> None:
    assert complete(complete(data)) == complete(data)
