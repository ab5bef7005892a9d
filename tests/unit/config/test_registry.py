from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from edge_runtime.config.loader import load, load_part
from edge_runtime.config.report import InvalidConfigError
from edge_runtime.config.schema import Model, Settings
from edge_runtime.control.commands.ed25519 import generate
from edge_runtime.registry.publisher.sigstore import make_bundle_key

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
version: 1
cameras: {top: {source: "sim:conveyor"}}
models: {defects: {release: defects@line-3}}
registry:
  url: oci-layout:stick/models
  root: root.json
  mirrors: ["https://models.plant/dir", "oci://127.0.0.1:5000/vision/models", "http://[::1]:8000/"]
  username: robot
  password_file: pw
  proxy: http://robot:hunter3@proxy.plant:3128
  realm_hosts: [auth.plant, "auth.plant:5001"]
  labels: {hall: north}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A good configuration, with all that it names."""
    (tmp_path / "root.json").write_text('{"signed": {"_type": "root"}, "signatures": []}')
    (tmp_path / "pw").write_text("hunter2\n")
    (tmp_path / "stick" / "models").mkdir(parents=True)
    path = tmp_path / "edge.yaml"
    path.write_text(GOOD)
    return path


def test_a_registry_is_taken_with_its_password_and_paths_from_the_file(config: Path) -> None:
    loaded = load(config, environ={})
    registry = loaded.settings.registry
    assert registry is not None
    assert registry.url == f"oci-layout:{config.parent}/stick/models"
    assert registry.root == config.parent / "root.json"
    assert registry.password is not None
    assert registry.password.get_secret_value() == "hunter2"
    assert str(loaded.origins["registry.password"]) == str(config.parent / "pw")
    assert loaded.secrets == {"hunter2", "hunter3"}
    assert loaded.warnings == ()
    assert registry.labels == {"hall": "north"}
    assert (registry.poll_s, registry.quota_mb) == (60, 4096)


def test_the_environment_wins(config: Path) -> None:
    environ = {"EDGE__REGISTRY__URL": "https://models.plant", "EDGE__MODELS__DEFECTS__RELEASE": "screws"}
    settings = load(config, environ=environ).settings
    assert settings.registry is not None
    assert settings.registry.url == "https://models.plant"
    assert settings.models["defects"].wanted == ("screws", "stable")


def test_a_part_for_the_verbs_has_the_password(config: Path) -> None:
    part = load_part(config, environ={}, wanted=[("registry",), ("models",), ("site",)])
    assert part.settings.registry is not None
    assert part.settings.registry.password is not None
    assert part.settings.registry.password.get_secret_value() == "hunter2"


def test_model_and_channel_of_a_release() -> None:
    assert Model(release="defects@line-3").wanted == ("defects", "line-3")
    assert Model(release="defects").wanted == ("defects", "stable")
    assert Settings.model_fields["models"].is_required()


@pytest.mark.parametrize(
    "url",
    [
        "oci://registry.plant:5000",  # no repository
        "oci://registry.plant/Vision",
        "oci://u:p@registry.plant/vision",
        "https://u@models.plant/",
        "https://models.plant/dir?token=x",
        "https://models.plant:99999/",
        "file:///models",
        "oci-layout:",
        "oci-layout:a\nb",
        "registry.plant/vision",
    ],
)
def test_what_names_no_registry_is_refused(config: Path, url: str) -> None:
    with pytest.raises(InvalidConfigError, match="url must be"):
        load(config, environ={"EDGE__REGISTRY__URL": url})


@pytest.mark.parametrize("release", ["A", "a@", "a/b", "@x", "a@b@c", "", "../x"])
def test_what_names_no_release_is_refused(release: str) -> None:
    with pytest.raises(ValidationError):
        Model(release=release)


def test_http_without_tls_may_be_allowed(config: Path) -> None:
    environ = {"EDGE__REGISTRY__URL": "http://models.plant/dir"}
    with pytest.raises(InvalidConfigError, match="HTTP without TLS"):
        load(config, environ=environ)
    assert load(config, environ=environ | {"EDGE__REGISTRY__ALLOW_HTTP": "true"}).settings.registry is not None


@pytest.mark.parametrize("text", ["[]", "{", '{"signed": []}', '{"signed": {"_type": "targets"}}'])
def test_a_root_that_is_none_is_refused(config: Path, text: str) -> None:
    (config.parent / "root.json").write_text(text)
    with pytest.raises(InvalidConfigError, match="is no root of trust"):
        load(config, environ={})


def test_a_key_of_a_publisher_is_of_the_kind_that_signs_bundles(config: Path) -> None:
    ed25519, ecdsa = generate()[1], config.parent / "board.pub"
    make_bundle_key(config.parent / "board.pem", None)
    config.write_text(GOOD + "  publisher_keys: [board.pub]\n")
    assert load(config, environ={}).settings.registry is not None
    ecdsa.write_bytes(ed25519)
    with pytest.raises(InvalidConfigError, match=r"board\.pub is no public ECDSA key on P-256"):
        load(config, environ={})
