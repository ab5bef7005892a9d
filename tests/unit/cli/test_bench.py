"""What ``edge-runtime bench`` makes of its figures; the figures themselves are taken in tests/integration."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_runtime.app import bench
from edge_runtime.cli import dispatch

GOOD: dict[str, Any] = {"throughput": [{"product_fps": 99.0}], "paced": {"frames": 30}}


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (GOOD, 0),
        ({**GOOD, "paced": {"frames": 0}}, 1),
        ({**GOOD, "throughput": [{"product_fps": 99.0}, {"product_fps": 0.0}]}, 1),
        ({}, 1),
    ],
)
def test_figures_that_rest_on_nothing_are_a_failure(
    found: dict[str, Any], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "run_bench", lambda _options: found)
    assert dispatch(["bench", "m.onnx", "--json"]) == code
    out, err = capsys.readouterr()
    assert json.loads(out) == found
    assert ("nothing was measured" in err) == (code == 1)


@pytest.mark.parametrize("option", ["--in-flight", "--streams"])
def test_frames_at_a_time_have_two_names(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def run(options: bench.BenchOptions) -> dict[str, Any]:
        asked.append(options.in_flight)
        return GOOD

    monkeypatch.setattr(bench, "run_bench", run)
    assert dispatch(["bench", "m.onnx", option, "5"]) == 0
    assert asked == [5]
