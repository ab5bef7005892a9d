"""Nothing is missing after chaos (see ``chaos``): eight seconds every day, two minutes of twenty seeds as a soak."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import EXECUTABLE
from tests.required import needs
from tests.soak.chaos import BROKER_FAULTS, calm, plan

ROOT = Path(__file__).resolve().parents[2]


def chaos(seed: int, seconds: float) -> dict[str, Any]:
    needs(EXECUTABLE, "mosquitto: apt-get install mosquitto")
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.chaos", "--seed", str(seed), "--seconds", str(seconds)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    assert done.stdout, done.stderr
    print(done.stdout)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_seed_is_a_schedule_with_every_kind_of_fault() -> None:
    assert plan(7, 120.0) == plan(7, 120.0)
    assert plan(7, 120.0) != plan(8, 120.0)
    for seed in range(20):
        acts = plan(seed, 120.0)
        assert {act.kind for act in acts} == {*BROKER_FAULTS, "kill"}
        assert sum(act.kind == "kill" for act in acts) == 23


def test_lag_counts_from_two_seconds_after_a_return_to_the_next_fault() -> None:
    log = [(10.0, "stop"), (13.0, "kill"), (14.0, "back"), (20.0, "unstop"), (30.0, "reset"), (30.0, "back")]
    assert calm(log, 40.0) == [(22.0, 29.9), (32.0, 39.9)]


@pytest.mark.timeout(150)
def test_eight_seconds_of_chaos_lose_nothing() -> None:
    found = chaos(1, 8.0)
    assert found["committed"] > 300
    assert set(found["broken"]) <= {"lag", "duplicates"}, found  # figures of time are for the long runs


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(1, 21))
def test_two_minutes_of_chaos_lose_nothing(seed: int) -> None:
    found = chaos(seed, 120.0)
    assert found["broken"] == [], found
