"""Whatever interrupts an install, the slot runs the old release or the new one, whole (`install_cuts`, `store_fuzz`).

And whatever interrupts a refresh of what is trusted, no older registry is believed afterwards.

Every day a sample; ``-m soak`` does all of it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.required import needs

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 200.0  # a sample takes seconds; a machine that is shared by many may take many times that
pytestmark = pytest.mark.timeout(LIMIT_S + 20)


def found(module: str, *options: str, timeout_s: float = LIMIT_S) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.fault.{module}", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.stdout, done.stderr
    print(done.stdout)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def cut(*options: str, timeout_s: float = LIMIT_S) -> None:
    needs(shutil.which("strace"), "strace: apt-get install strace")
    results = found("install_cuts", *options, timeout_s=timeout_s)
    assert {kind: result["wrong"] for kind, result in results.items() if result["wrong"]} == {}
    for result in results.values():  # without root there is no power to cut, and that is said
        assert "skipped" in result or (set(result["ran"]), result["missed"]) == ({"A", "B"}, 0)


def test_an_install_that_is_killed_or_refused_or_loses_its_power_leaves_old_or_new() -> None:
    cut("--every", "101")


def test_a_refresh_of_what_is_trusted_that_is_killed_lets_no_rollback_through() -> None:
    cut("--life", "trust", "--kinds", "kill", "--every", "9")


def test_a_registry_that_is_published_to_is_old_or_new_when_the_publisher_is_killed() -> None:
    cut("--life", "publish", "--kinds", "kill", "--every", "17")


def test_kills_and_cut_files_leave_no_bad_state() -> None:
    assert found("store_fuzz", "--runs", "8")["wrong"] == []


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_system_call_at_which_an_install_is_interrupted_leaves_half_of_it() -> None:
    cut(timeout_s=1700)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_no_system_call_at_which_a_refresh_is_interrupted_lets_a_rollback_through() -> None:
    cut("--life", "trust", timeout_s=550)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_no_system_call_at_which_a_publisher_is_interrupted_leaves_half_a_registry() -> None:
    cut("--life", "publish", timeout_s=550)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_thousand_kills_and_cut_files_leave_no_bad_state() -> None:
    result = found("store_fuzz", "--runs", "1000", timeout_s=1700)
    assert result["wrong"] == []
    assert result["installed"] > 0
