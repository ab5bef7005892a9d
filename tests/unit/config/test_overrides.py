from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.config.overrides import from_environment, from_options
from edge_runtime.config.yaml12 import parse

if TYPE_CHECKING:
    from edge_runtime.config.tree import Node


def tree(text: str) -> Node:
    root = parse(text, "edge.yaml").root
    assert root is not None
    return root


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {name: plain(entry.node) for name, entry in node.value.items()}
    if isinstance(node.value, tuple):
        return [plain(inside) for inside in node.value]
    return node.value


CAMERAS = "cameras: {cam-1: {}, cam_1: {}, Cam-1: {}, side: {}}"


def test_of_names_that_look_alike_in_a_variable_the_one_spelled_like_it_is_meant() -> None:
    for variable in ("EDGE__CAMERAS__CAM_1__FPS", "edge__cameras__cam_1__fps"):
        root, problems = from_environment(tree(CAMERAS), {variable: "5"})
        assert problems == []
        assert plain(root) == {"cameras": {"cam-1": {}, "cam_1": {"fps": 5}, "Cam-1": {}, "side": {}}}


def test_upper_and_lower_case_tell_names_apart_where_nothing_else_does() -> None:
    root, problems = from_environment(tree("cameras: {CAM: {}, cam: {}}"), {"EDGE__CAMERAS__CAM__FPS": "5"})
    assert problems == []
    assert plain(root) == {"cameras": {"CAM": {"fps": 5}, "cam": {}}}


def test_a_variable_that_may_mean_either_of_two_names_is_refused() -> None:
    text = CAMERAS.replace("cam_1: {}, ", "")
    root, problems = from_environment(tree(text), {"EDGE__CAMERAS__CAM_1__FPS": "5"})
    assert [problem.message for problem in problems] == ["EDGE__CAMERAS__CAM_1__FPS may mean cam-1 and Cam-1"]
    assert plain(root) == plain(tree(text))


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("mqtt: [1]", "EDGE__MQTT__HOST"),
        ("mqtt: broker", "EDGE__MQTT__HOST"),
        ("cameras: {top: 'rtsp://h/'}", "EDGE__CAMERAS__TOP__FPS"),
        ("mqtt: {tls: sure}", "EDGE__MQTT__TLS__CA_FILE"),
        ("mqtt: {tls: [1]}", "EDGE__MQTT__TLS__CA_FILE"),
    ],
)
def test_a_variable_does_not_hide_that_its_section_is_none(text: str, variable: str) -> None:
    for apply, name in (
        (from_environment, variable),
        (from_options, variable.removeprefix("EDGE__").lower().replace("__", ".")),
    ):
        root, problems = apply(tree(text), {name: "x"})
        assert problems == []  # validation says what is wrong with the file
        assert plain(root) == plain(tree(text))


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("mqtt: {port: 1}", "mqtt.host", {"mqtt": {"port": 1, "host": "x"}}),
        ("mqtt:", "mqtt.host", {"mqtt": {"host": "x"}}),
        ("site: a", "mqtt.host", {"site": "a", "mqtt": {"host": "x"}}),
        ("mqtt: {tls: true}", "mqtt.tls.ca_file", {"mqtt": {"tls": {"ca_file": "x"}}}),
        (
            "inspections: {top: {trigger: mqtt}}",
            "inspections.top.trigger.interval_ms",
            {"inspections": {"top": {"trigger": {"interval_ms": "x"}}}},
        ),
    ],
)
def test_a_section_that_is_missing_empty_or_one_word_makes_room(text: str, path: str, expected: object) -> None:
    root, problems = from_options(tree(text), {path: "x"})
    assert problems == []
    assert plain(root) == expected


@pytest.mark.parametrize(("value", "expected"), [("", ""), ("null", "null"), ("~", "~"), ("007", "007")])
def test_text_from_outside_stays_text(value: str, expected: str) -> None:
    root, _ = from_environment(tree("site: a"), {"EDGE__MQTT__PASSWORD": value})
    assert plain(root) == {"site": "a", "mqtt": {"password": expected}}


def test_an_empty_variable_unsets_nothing() -> None:
    root, _ = from_environment(tree("site: a"), {"EDGE__MQTT__PORT": "", "EDGE__MQTT__KEEPALIVE_S": "null"})
    assert plain(root) == {"site": "a", "mqtt": {"port": "", "keepalive_s": None}}


def test_values_inside_a_map_from_outside_get_the_types_of_their_settings() -> None:
    root, _ = from_options(tree("site: a"), {"mqtt": {"host": "1.10", "port": "1884"}, "cameras": {"x": {"fps": "5"}}})
    assert plain(root) == {"site": "a", "mqtt": {"host": "1.10", "port": 1884}, "cameras": {"x": {"fps": 5}}}


def test_what_was_refused_inside_a_map_is_remembered_when_a_variable_adds_to_it() -> None:
    root, _ = from_environment(tree("mqtt: {<<: {port: 1}}"), {"EDGE__MQTT__HOST": "x"})
    assert isinstance(root.value, dict)
    assert root.value["mqtt"].node.partial
