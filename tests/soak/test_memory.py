"""Loading, judging and freeing models for months must not fill the box: memory, threads and descriptors stay flat.

The short runs are for every day; those marked ``soak`` take half an hour and see leaks of bytes (tools/test -m soak).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.assets.make_models import write_package
from tests.soak.churn import slope

CHURN = Path(__file__).with_name("churn.py")
ROOT = CHURN.parents[2]
REAL = ROOT / "models" / "surface-defects"
BACKENDS = ("openvino", "onnxruntime")
KB = 1024


def churn(what: str, model: Path, backend: str, runs: int, timeout_s: float) -> dict[str, float]:
    command = [sys.executable, CHURN, what, model, backend, str(runs)]
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    print(what, model.name, backend, found)
    return found


def expect_flat(found: dict[str, float], bytes_max: float) -> None:
    assert (found["threads"], found["descriptors"]) == (0, 0), found
    assert found["slope_bytes"] <= bytes_max, found


def test_the_trend_is_that_of_most_samples() -> None:
    assert slope([0, 1, 2, 3, 4], [10, 12, 14, 900, 18]) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_replacing_a_model_leaves_nothing_that_is_seen_at_once(tmp_path: Path, backend: str) -> None:
    expect_flat(churn("load", write_package(tmp_path, "colours"), backend, 30, 50), 100 * KB)


@pytest.mark.parametrize("backend", BACKENDS)
def test_judging_leaves_nothing_that_is_seen_at_once(tmp_path: Path, backend: str) -> None:
    expect_flat(churn("infer", write_package(tmp_path, "colours"), backend, 2000, 50), 1 * KB)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["colours", "surface-defects"])
def test_a_thousand_loads_leave_nothing(tmp_path: Path, backend: str, name: str) -> None:
    model = REAL if name == REAL.name else write_package(tmp_path, name)
    expect_flat(churn("load", model, backend, 1000, 7000), 2 * KB)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hundred_thousand_frames_leave_nothing(tmp_path: Path, backend: str) -> None:
    expect_flat(churn("infer", write_package(tmp_path, "colours"), backend, 100_000, 7000), 16)
