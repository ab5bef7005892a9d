"""What a power cut costs (see ``powercut``): a few cuts every day, two hundred of each durability as a soak."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fault import power
from tests.required import needs

ROOT = Path(__file__).resolve().parents[2]
DURABILITIES = pytest.mark.parametrize("durability", ["strict", "group"])


def cuts(durability: str, count: int, seed: int) -> dict[str, Any]:
    reason = power.missing()
    needs(reason is None, str(reason))
    options = ["--durability", durability, "--cuts", str(count), "--seed", str(seed)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.powercut", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30 + 10 * count,
        check=False,
    )
    assert done.stdout, done.stderr
    print(done.stdout)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def expect_kept(found: dict[str, Any]) -> None:
    assert found["committed"] > 0
    assert found["wrong"] == [], found
    assert found["flushed_and_lost"] == 0, found
    if found["durability"] == "strict":
        assert found["lost"] == 0, found


@DURABILITIES
def test_a_power_cut_takes_no_more_than_it_may(durability: str) -> None:
    expect_kept(cuts(durability, 3, 1))


@pytest.mark.soak
@pytest.mark.timeout(2400)
@DURABILITIES
def test_two_hundred_power_cuts_take_no_more_than_they_may(durability: str) -> None:
    expect_kept(cuts(durability, 200, 2))
