from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.app.doctor import _configuration, _references, _state_dir
from edge_runtime.app.finding import Finding
from edge_runtime.app.picture_references import ReferenceFiles
from edge_runtime.core.picture import PictureReference
from edge_runtime.core.picture_reference import PNG
from tests.fakes.settings import make_settings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_finding_reads_like_a_line_of_a_checklist() -> None:
    assert str(Finding("ok", "four cores")) == "ok    four cores"
    assert str(Finding("fail", "no clock", "set it")) == "fail  no clock  -> set it"


def test_a_state_directory_that_cannot_be_looked_at_ends_no_examination(tmp_path: Path) -> None:
    (finding,) = _state_dir(tmp_path / ("x" * 300) / "state")
    assert "state" in finding.what


def test_a_configuration_of_which_nothing_can_be_read_is_one_finding(tmp_path: Path) -> None:
    (finding,) = _configuration(tmp_path / "edge.yaml", {})
    assert (finding.level, finding.mend) == ("fail", f"edge-runtime check --config {tmp_path}/edge.yaml")


def test_a_right_configuration_is_said_to_be_right_before_its_parts_are_looked_at(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").touch()
    (tmp_path / "edge.yaml").write_text(
        f"version: 1\ncameras: {{top: {{source: 'sim:bars'}}}}\nmodels: {{m: {{path: m.onnx}}}}\n"
        f"mqtt: {{port: {free_port}}}\nstate_dir: state\n"
    )
    findings = list(_configuration(tmp_path / "edge.yaml", {}))
    assert [finding.level for finding in findings] == ["ok", "ok", "fail"]
    assert findings[-1].what == f"the broker 127.0.0.1:{free_port} does not answer (Connection refused)"


def test_a_model_that_wants_what_the_box_lacks_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").touch()
    (tmp_path / "edge.yaml").write_text(
        "version: 1\ncameras: {top: {source: 'sim:bars'}}\nstate_dir: state\ninspections: {i: {model: m}}\n"
        "models: {m: {path: m.onnx}, n: {path: m.onnx, device: 'openvino:GPU.7'}, o: {path: m.onnx, device: cpu}}\n"
    )
    failures = [one for one in _configuration(tmp_path / "edge.yaml", {}) if "models." in one.what]
    assert [one.level for one in failures] == ["fail"]
    assert failures[0].what.startswith("models.n wants device GPU.7, which cannot be used here")


def test_cameras_without_a_reference_picture_are_named(tmp_path: Path) -> None:
    state = tmp_path / "state"
    cameras = {name: {"source": f"rtsp://10.0.0.5/{name}"} for name in ("a", "b", "c")}
    cameras |= {"off": {"source": "rtsp://10.0.0.5/d", "picture": False}, "clip": {"source": "sim:bars"}}
    settings = make_settings(cameras=cameras, inspections={}, state_dir=str(state))
    files = ReferenceFiles(state)
    files.save("b", PictureReference(1, 640, 480, 40, 90.0, 0.05, 0.5, 0.2, None, PNG, PNG))
    files.save("c", PictureReference(1, 640, 480, 40, 90.0, 0.05, 0.5, 0.2, None, PNG, PNG))
    (state / "pictures" / "c" / "reference.json").write_text("{")
    findings = list(_references(settings))
    assert [(one.level, one.mend) for one in findings] == [
        ("warn", "edge-runtime cameras reference a"),
        ("ok", ""),
        ("fail", "edge-runtime cameras reference c"),
    ]
    assert findings[1].what == "camera b has a reference picture, which cannot tell moved"
