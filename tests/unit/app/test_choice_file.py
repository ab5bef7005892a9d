"""What was chosen is in force afterwards, or nothing was written and it is said why."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from edge_runtime.app.choice_file import model_named, settings_of, write_choice
from edge_runtime.app.choose import Candidate, forms_of
from edge_runtime.config.loader import load
from edge_runtime.core.errors import ConfigError, StorageError
from tests.assets.make_models import write_package

if TYPE_CHECKING:
    from pathlib import Path

WANTED = {"device": "cpu", "backend": "onnxruntime", "streams": 2, "threads": 4}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_package(tmp_path, "colours")
    path = tmp_path / "edge.yaml"
    path.write_text(
        "version: 1\ncameras: {top: {source: 'sim:bars'}}\n"
        "models:\n  # why: the old box\n  defects: {path: colours, device: 'openvino:CPU', threads: 1}\n"
    )
    return path


def test_the_choice_is_in_force_and_the_operators_file_is_as_it_was(config: Path) -> None:
    before = config.read_bytes()
    written = write_choice(config, "defects", WANTED, "measured", {})
    model = load(config, environ={}).settings.models["defects"]
    assert (model.device, model.backend, model.streams, model.threads) == ("cpu", "onnxruntime", 2, 4)
    assert config.read_bytes() == before
    assert written.parent == config.parent / "config.d"
    assert "# measured" in written.read_text()
    assert oct(written.stat().st_mode & 0o777) == "0o644"


def test_a_choice_replaces_the_one_before_it(config: Path) -> None:
    first = write_choice(config, "defects", WANTED, "measured", {})
    assert write_choice(config, "defects", {**WANTED, "streams": 1}, "again", {}) == first
    assert load(config, environ={}).settings.models["defects"].streams == 1


def test_a_later_file_that_says_otherwise_is_named_and_nothing_is_left_behind(config: Path) -> None:
    (config.parent / "config.d").mkdir()
    later = config.parent / "config.d" / "99-site.yaml"
    later.write_text("models: {defects: {streams: 3, threads: 4}}\n")
    with pytest.raises(ConfigError, match=r"models\.defects\.streams would still be 3: .*99-site\.yaml:1:29 wins"):
        write_choice(config, "defects", WANTED, "measured", {})
    assert list(later.parent.iterdir()) == [later]


def test_a_variable_that_says_otherwise_is_named_and_the_choice_before_is_kept(config: Path) -> None:
    written = write_choice(config, "defects", WANTED, "measured", {})
    before = written.read_bytes()
    with pytest.raises(ConfigError, match=r"\$EDGE__MODELS__DEFECTS__STREAMS wins"):
        write_choice(config, "defects", {**WANTED, "streams": 1}, "again", {"EDGE__MODELS__DEFECTS__STREAMS": "4"})
    assert written.read_bytes() == before


def test_a_directory_that_cannot_be_made_is_an_error(config: Path) -> None:
    (config.parent / "config.d").write_text("")
    with pytest.raises(StorageError):
        write_choice(config, "defects", WANTED, "measured", {})


def test_only_the_model_that_was_measured_may_be_chosen_for(config: Path, tmp_path: Path) -> None:
    loaded = load(config, environ={})
    assert model_named(loaded, config, None, tmp_path / "colours") == "defects"
    with pytest.raises(ConfigError, match="has no model other"):
        model_named(loaded, config, "other", tmp_path / "colours")
    with pytest.raises(ConfigError, match="measured was"):
        model_named(loaded, config, "defects", write_package(tmp_path, "yolo"))
    config.write_text(config.read_text() + "  b: {path: colours}\ninspections: {i: {camera: top, model: b}}\n")
    with pytest.raises(ConfigError, match="several models: defects, b"):
        model_named(load(config, environ={}), config, None, tmp_path / "colours")


def test_a_form_that_the_engine_would_not_take_by_itself_is_named(tmp_path: Path) -> None:
    root = write_package(tmp_path, "colours")
    (root / "small.onnx").write_bytes((root / "colours.onnx").read_bytes())
    manifest = json.loads((root / "edge-model.json").read_text())
    digest = hashlib.sha256((root / "small.onnx").read_bytes()).hexdigest()
    manifest["weights"] = [
        {**manifest["weights"], "backends": ["openvino", "onnxruntime"]},
        {"file": "small.onnx", "format": "onnx", "precision": "int8", "sha256": digest, "backends": ["openvino"]},
    ]
    (root / "edge-model.json").write_text(json.dumps(manifest))
    usual, small = forms_of(root)
    chosen = Candidate(usual, "openvino", "CPU", 4, 2)
    assert settings_of(chosen, root) == {"device": "cpu", "backend": "openvino", "streams": 2, "threads": 4}
    assert settings_of(Candidate(small, "openvino", "GPU.1", 1, 2), root) == {
        "device": "openvino:GPU.1",
        "backend": "openvino",
        "streams": 2,
        "path": str(root / "small.onnx"),
    }
    assert "path" not in settings_of(Candidate(small, "openvino", "NPU", 1, 1), root / "small.onnx")
