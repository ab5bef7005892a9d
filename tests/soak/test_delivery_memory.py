"""Delivering for months must not fill the box: memory and threads stay flat over results and reconnects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.soak.delivery_churn import AT_ONCE

ROOT = Path(__file__).resolve().parents[2]
BYTES_PER_RESULT = 16  # what is seen in ten minutes; at 30 results a second 40 MB in a day would be found


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_results_and_two_hundred_reconnects_leave_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.delivery_churn", "200"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=3500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    print(found)
    assert found["results"] >= 100_000
    assert found["connects"] >= 200
    assert (found["threads"], found["descriptors"]) == (0, 0), found
    assert found["slope_bytes"] <= BYTES_PER_RESULT * AT_ONCE, found
