from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.app.doctor import _configuration, _state_dir
from edge_runtime.app.finding import Finding

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
