from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.config.loader import load_part
from edge_runtime.config.report import InvalidConfigError

if TYPE_CHECKING:
    from pathlib import Path

ELSEWHERE = """\
version: 1
mqtt: {host: 10.0.0.1, port: 1884, password: !secret mqtt}
cameras:
  left: {source: "rtsp://viewer:${CAMERA_PASSWORD}@10.0.0.5/stream"}
  right: {source: "images:nowhere"}
  wrong: {fps: fast}
models:
  defects: {path: nowhere/model.onnx}
state_dir: state
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edge.yaml"
    path.write_text(ELSEWHERE)
    return path


def test_the_state_directory_is_known_without_secrets_variables_models_and_pictures(config: Path) -> None:
    assert load_part(config, environ={}, wanted=[("state_dir",)]).state_dir == config.parent / "state"


def test_the_brokers_address_is_known_without_its_password(config: Path) -> None:
    part = load_part(config, environ={}, wanted=[("mqtt", "host"), ("mqtt", "port")])
    assert (part.mqtt.host, part.mqtt.port, part.mqtt.password) == ("10.0.0.1", 1884, None)


def test_a_secret_that_is_wanted_is_looked_up(config: Path) -> None:
    with pytest.raises(InvalidConfigError, match='there is no secret "mqtt"'):
        load_part(config, environ={}, wanted=[("mqtt",)])
    secrets = config.with_name("secrets.yaml")
    secrets.write_text("mqtt: hunter2\n")
    secrets.chmod(0o600)
    password = load_part(config, environ={}, wanted=[("mqtt",)]).mqtt.password
    assert password is not None
    assert password.get_secret_value() == "hunter2"


def test_a_password_file_that_is_wanted_is_read(config: Path) -> None:
    config.write_text(ELSEWHERE.replace("password: !secret mqtt", "password_file: pw"))
    (config.parent / "pw").write_text("hunter2\n")
    password = load_part(config, environ={}, wanted=[("mqtt",)]).mqtt.password
    assert password is not None
    assert password.get_secret_value() == "hunter2"


def test_variables_and_fragments_count_as_always(config: Path) -> None:
    (config.parent / "config.d").mkdir()
    (config.parent / "config.d" / "a.yaml").write_text("mqtt: {port: 1885}\nstate_dir: other\n")
    part = load_part(config, environ={"EDGE__MQTT__HOST": "b"}, wanted=[("mqtt", "host"), ("mqtt", "port")])
    assert (part.mqtt.host, part.mqtt.port) == ("b", 1885)


@pytest.mark.parametrize(
    ("text", "wanted", "words"),
    [
        ("version: 1\nmqtt: [1]\n", ("mqtt",), "mqtt must be a map"),
        ("version: 1\nmqtt: [1]\n", ("mqtt", "host"), "mqtt must be a map"),
        ("version: 1\nmqtt: {port: x}\n", ("mqtt", "port"), "port must be a whole number"),
        ("version: 2\n", ("state_dir",), "version must be 1"),
        ("a: b: c\n", ("state_dir",), "a second"),
        ("version: 1\nmqtt: {tls: {cert_file: a}}\n", ("mqtt",), "cert_file needs key_file"),
    ],
)
def test_what_is_wrong_with_the_part_is_told(
    config: Path, text: str, wanted: tuple[str | int, ...], words: str
) -> None:
    config.write_text(text)
    with pytest.raises(InvalidConfigError, match=words):
        load_part(config, environ={}, wanted=[wanted])


def test_what_was_not_asked_for_has_its_default(config: Path) -> None:
    part = load_part(config, environ={"STATE_DIRECTORY": "/var/lib/x"}, wanted=[("mqtt", "port")])
    assert (part.mqtt.host, str(part.state_dir)) == ("127.0.0.1", "/var/lib/x")
