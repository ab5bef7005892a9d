from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, ValidationError

from edge_runtime.config.schema import Model, Settings
from edge_runtime.config.section import Section
from edge_runtime.config.shape import Kind, Shape, at, shape_of
from edge_runtime.core.source import parse_source

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALLEST: dict[str, Any] = {
    "version": 1,
    "cameras": {"top": {"source": "rtsp://10.0.0.5/stream"}},
    "models": {"defects": {"path": "m.onnx"}},
}


def sections(shape: Shape) -> Iterator[type[BaseModel]]:
    if shape.model is not None:
        yield shape.model
    for name in shape.fields:
        inside = shape.child(name)
        assert inside is not None
        while inside.item is not None:
            inside = inside.item
        yield from sections(inside)


ALL = sorted(set(sections(Shape(Kind.SECTION, model=Settings))), key=lambda section: section.__name__)


def test_all_sections_are_found() -> None:
    assert {section.__name__ for section in ALL} == {
        "Camera", "CameraDefaults", "Commands", "Engine", "Handshake", "Http", "Inspection", "Log", "Model", "Mqtt",
        "MqttTls", "Picture", "Recipe", "Registry", "Rule", "Settings", "Sparkplug", "Spool", "Trigger", "Updates",
    }  # fmt: skip


def test_every_setting_has_help_and_every_number_two_bounds() -> None:
    for section in ALL:
        for name, field in section.model_fields.items():
            where = f"{section.__name__}.{name}"
            assert field.description, where
            assert not field.description.endswith("."), where
            shape = shape_of(field.annotation, field.metadata)
            if shape.kind in (Kind.WHOLE, Kind.NUMBER):
                assert shape.low is not None, where
                assert shape.high is not None, where
                assert shape.low < shape.high, where


def test_every_section_is_frozen_and_refuses_unknown_keys() -> None:
    for section in ALL:
        assert issubclass(section, Section)
        assert section.model_config["frozen"]
        assert section.model_config["extra"] == "forbid"


@pytest.mark.parametrize(
    "section", [section for section in ALL if all(not f.is_required() for f in section.model_fields.values())]
)
def test_defaults_obey_their_own_bounds(section: type[BaseModel]) -> None:
    section.model_validate({name: field.default for name, field in section.model_fields.items()})


def test_settings_cannot_be_changed() -> None:
    settings = Settings.model_validate(SMALLEST)
    with pytest.raises(ValidationError):
        settings.site = "other"


def test_what_does_not_fit_together_is_refused_without_files_too() -> None:
    with pytest.raises(ValidationError, match=r"inspections\.top\.camera: there is no camera named"):
        Settings.model_validate({**SMALLEST, "inspections": {"top": {"camera": "tip", "model": "defects"}}})


def test_a_camera_nobody_looks_at_is_allowed() -> None:
    cameras = {"top": {"source": "sim:x"}, "side": {"source": "sim:x"}}
    found = Settings.model_validate({**SMALLEST, "cameras": cameras, "inspections": {"top": {}}})
    assert list(found.inspections) == ["top"]


def test_validated_settings_validate_again() -> None:
    once = Settings.model_validate({**SMALLEST, "inspections": {"top": {"trigger": {"interval_ms": 50}}}})
    assert Settings.model_validate(once.model_dump(exclude={"cameras"}) | {"cameras": SMALLEST["cameras"]}) == once


def test_something_else_than_a_map_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate([1])


@pytest.mark.parametrize(
    ("written", "kind", "interval_ms"),
    [("continuous", "continuous", None), ("mqtt", "mqtt", None), ({"interval_ms": 200}, "interval", 200)],
)
def test_a_trigger_is_a_word_or_an_interval(written: object, kind: str, interval_ms: int | None) -> None:
    found = Settings.model_validate({**SMALLEST, "inspections": {"top": {"trigger": written}}})
    trigger = found.inspections["top"].trigger
    assert (trigger.kind, trigger.interval_ms) == (kind, interval_ms)


@pytest.mark.parametrize(
    ("written", "backend", "device"),
    [
        ({}, "auto", "auto"),
        ({"device": "gpu", "backend": "onnxruntime"}, "onnxruntime", "gpu"),
        ({"device": "openvino:GPU.1"}, "openvino", "GPU.1"),
        ({"device": "onnxruntime:cpu"}, "onnxruntime", "cpu"),
    ],
)
def test_a_device_may_name_its_backend(written: dict[str, str], backend: str, device: str) -> None:
    model = Model.model_validate({"path": "m.onnx", **written})
    assert (model.backend_name, model.device_name) == (backend, device)


@pytest.mark.parametrize("host", ["10.0.0.1", "broker", "broker.plant.example", "fe80::1", "[fe80::1]", "a_b"])
def test_hosts_are_names_or_addresses(host: str) -> None:
    assert Settings.model_validate({**SMALLEST, "mqtt": {"host": host}}).mqtt.host == host


def test_tls_is_off_on_or_detailed() -> None:
    def tls(*, written: object) -> object:
        return Settings.model_validate({**SMALLEST, "mqtt": {"tls": written}}).mqtt.tls

    assert tls(written=False) is None
    assert tls(written=True) == tls(written={})


def test_values_that_are_parsed_already_are_taken_as_they_are() -> None:
    source = parse_source("sim:x")
    data = {**SMALLEST, "cameras": {"top": {"source": source}}, "models": {"m": {"path": Path("m.onnx")}}}
    found = Settings.model_validate(data)
    assert found.cameras["top"].source is source
    assert found.models["m"].path == Path("m.onnx")


@pytest.mark.parametrize("host", ["", "a b", "mqtt://a", "a:1883", "-a", "a/b", "a\n"])
def test_hosts_have_neither_scheme_nor_port(host: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({**SMALLEST, "mqtt": {"host": host}})


@pytest.mark.parametrize("topic", ["", "/a", "a/", "a//b", "a/+", "#", "$SYS", "a\0b", "a\n"])
def test_the_first_level_of_topics_has_no_wildcards(topic: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({**SMALLEST, "mqtt": {"topic_root": topic}})


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a b", "a+", "a#", "x" * 65, "a\n", "ä"])
def test_names_fit_into_topics_and_file_names(name: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({**SMALLEST, "site": name})


def test_client_ids_follow_the_place_unless_they_are_given() -> None:
    place = {"site": "a", "line": "b", "edge": "c"}
    assert Settings.model_validate({**SMALLEST, **place}).client_id == "a-b-c"
    assert Settings.model_validate({**SMALLEST, **place, "mqtt": {"client_id": "x"}}).client_id == "x"


@pytest.mark.parametrize(
    ("loc", "words"),
    [
        (("mqtt", "port"), "a whole number from 1 to 65535"),
        (("cameras", "x", "fps"), "a number from 0.1 to 240"),
        (("log", "level"), "one of debug, info, warning, error"),
        (("version",), "1"),
        (("engine", "cache"), "true or false"),
        (("cameras",), "a map of names"),
        (("inspections", "x", "recipe", "not_ok"), "a list"),
        (("log",), "a map with format, level"),
        (("mqtt", "tls"), "true, false or a map with ca_file, cert_file, key_file"),
        (("mqtt", "password"), "text"),
    ],
)
def test_what_a_setting_accepts_can_be_said_in_words(loc: tuple[str, ...], words: str) -> None:
    shape = at(Settings, loc)
    assert shape is not None
    assert shape.words == words


def test_one_bound_alone_is_said_too() -> None:
    assert Shape(Kind.WHOLE, low=3).words == "a whole number of at least 3"
    assert Shape(Kind.NUMBER).words == "a number"


@pytest.mark.parametrize("loc", [("nope",), ("nope", "deeper"), ("site", "x"), ("site", 0), ("cameras", "x", "nope")])
def test_there_is_no_shape_of_what_is_not_in_the_schema(loc: tuple[str | int, ...]) -> None:
    assert at(Settings, loc) is None
