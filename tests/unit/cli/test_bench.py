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
