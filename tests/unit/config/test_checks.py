from __future__ import annotations

from typing import Any

import pytest

from edge_runtime.config.checks import cross_references, dotted, suggestion

GOOD: dict[str, Any] = {
    "cameras": {"top": {"source": "sim:x"}, "side": {"source": "sim:x", "capture": "every", "queue": 3}},
    "models": {"m": {"path": "m.onnx", "device": "openvino:GPU.1", "backend": "openvino", "threads": 3, "streams": 3}},
    "inspections": {
        "top": {"camera": "top", "model": "m", "trigger": {"interval_ms": 100}},
        "side": {
            "camera": "side",
            "model": "m",
            "trigger": {"kind": "mqtt", "interval_ms": None},
            "handshake": {"result_ms": 1000},
            "recipe": {
                "not_ok": [{"count_below": 2, "count_above": 2}, {"value_below": -1, "value_above": -1.0}],
                "region": [[0, 0], [1, 0], [1, 1.0]],
            },
        },
    },
    "mqtt": {"password": "x", "tls": {"cert_file": "a", "key_file": "b"}},
}


def test_what_fits_together_is_not_complained_about() -> None:
    assert cross_references(GOOD) == ()


@pytest.mark.parametrize(
    ("change", "where", "code"),
    [
        ({"mqtt": {"password": "x", "password_file": "y"}}, "mqtt.password", "config.conflict"),
        ({"mqtt": {"tls": {"key_file": "b"}}}, "mqtt.tls.key_file", "config.conflict"),
        ({"models": {"m": {}}}, "models.m.path", "config.missing"),
        ({"models": {"m": {"path": "a", "release": "b"}}}, "models.m.release", "config.conflict"),
        ({"models": {"m": {"path": "a", "threads": 2, "streams": 3}}}, "models.m.streams", "config.conflict"),
        (
            {"models": {"m": {"path": "a", "device": "openvino:CPU", "backend": "onnxruntime"}}},
            "models.m.device",
            "config.conflict",
        ),
        ({"inspections": {"top": {"camera": "tip", "model": "m"}}}, "inspections.top.camera", "config.unknown_camera"),
        ({"inspections": {"x": {"camera": "top", "model": "zzz"}}}, "inspections.x.model", "config.unknown_model"),
        ({"inspections": {"x": {"model": "m"}}}, "inspections.x.camera", "config.missing"),
        (
            {"inspections": {"x": {"camera": "top", "model": "m", "handshake": {}}}},
            "inspections.x.handshake",
            "config.conflict",
        ),
        (
            {"inspections": {"x": {"camera": "top", "model": "m", "trigger": {"interval_ms": 9}, "handshake": True}}},
            "inspections.x.handshake",
            "config.conflict",
        ),
        ({"inspections": {"system": {"camera": "top", "model": "m"}}}, "inspections.system", "config.reserved_name"),
        ({"inspections": {"side": {"camera": "top", "model": "m"}}}, "inspections.side", "config.ambiguous_name"),
        (
            {"inspections": {"x": {"camera": "top", "model": "m", "trigger": {}}}},
            "inspections.x.trigger",
            "config.missing",
        ),
        (
            {
                "inspections": {
                    "x": {"camera": "top", "model": "m", "trigger": {"kind": "continuous", "interval_ms": 5}}
                }
            },
            "inspections.x.trigger.interval_ms",
            "config.conflict",
        ),
        ({"mqtt": {"client_id": "a"}, "sparkplug": {"client_id": "a"}}, "sparkplug.client_id", "config.conflict"),
        ({"edge": "box", "sparkplug": {"client_id": "site-line-box"}}, "sparkplug.client_id", "config.conflict"),
        ({"inspections": {}, "models": {"m": {"path": "a"}, "n": {"path": "a"}}}, "models", "config.no_inspections"),
    ],
)
def test_what_does_not_fit_together_is_found(change: dict[str, Any], where: str, code: str) -> None:
    found = [(mistake.where, mistake.code) for mistake in cross_references({**GOOD, **change})]
    assert (where, code) in found


def test_a_camera_nobody_looks_at_is_only_worth_a_warning() -> None:
    data = {**GOOD, "inspections": {"top": {"camera": "top", "model": "m"}}}
    assert [(mistake.where, mistake.warning) for mistake in cross_references(data)] == [("cameras.side", True)]


@pytest.mark.parametrize(
    "more", [{"handshake": {"result_ms": 999}}, {"handshake": {"result_ms": 200}, "deadline_ms": 201}]
)
def test_a_controller_that_waits_for_less_than_a_verdict_may_take_is_worth_a_warning(more: dict[str, Any]) -> None:
    data = {**GOOD, "inspections": {**GOOD["inspections"], "side": {**GOOD["inspections"]["side"], **more}}}
    found = [(mistake.where, mistake.warning) for mistake in cross_references(data)]
    assert found == [("inspections.side.handshake.result_ms", True)]


def test_a_default_queue_may_meet_cameras_that_do_not_need_it() -> None:
    assert cross_references({**GOOD, "defaults": {"queue": 3}, "cameras": {"top": {"queue": 3}, "side": {}}}) == ()


@pytest.mark.parametrize(
    "wrong", [None, 5, "x", [], [1], {"a": 5}, {"a": {"camera": [], "model": {}, "recipe": 1, "trigger": 2}}]
)
@pytest.mark.parametrize("key", ["cameras", "models", "inspections", "mqtt", "defaults"])
def test_wrong_types_are_left_to_validation(key: str, wrong: object) -> None:
    cross_references({**GOOD, key: wrong})


@pytest.mark.parametrize(
    "recipe", [{"not_ok": [5, {"count_below": "a"}]}, {"region": [[0, 0], "x", [1, 1]]}, {"region": [[0], [1], [2]]}]
)
def test_wrong_recipes_are_left_to_validation(recipe: dict[str, object]) -> None:
    inspections = {**GOOD["inspections"], "top": {"camera": "top", "model": "m", "recipe": recipe}}
    assert cross_references({**GOOD, "inspections": inspections}) == ()


def test_paths_are_written_with_dots_and_brackets() -> None:
    assert dotted(("inspections", "top", "recipe", "not_ok", 0, "label")) == "inspections.top.recipe.not_ok[0].label"
    assert dotted(()) == ""


@pytest.mark.parametrize(("word", "meant"), [("prt", "port"), ("PORT", "port"), ("hst", "host"), ("qwertz", None)])
def test_the_likeliest_name_is_suggested(word: str, meant: str | None) -> None:
    assert suggestion(word, ["host", "port", "tls"]) == meant
