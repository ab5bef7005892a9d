"""Whatever interrupts a look at the registry or the switch after it: A or B, whole, and the next look goes on there.

Every day a sample; ``-m soak`` does all of it (``python -m tests.fault.install_cuts --life pull``).
"""

from __future__ import annotations

import shutil

import pytest

from tests.fault.test_store_faults import cut, cut_power, found
from tests.required import needs


@pytest.mark.parametrize("kind", ["kill", "errors"])
def test_a_look_that_is_interrupted_at_a_system_call_leaves_old_or_new(kind: str) -> None:
    needs(shutil.which("strace"), "strace: apt-get install strace")
    every = "60" if kind == "kill" else "200"
    result = found("install_cuts", "--life", "pull", "--kinds", kind, "--every", every, "--offset", "7")[kind]
    assert (result["wrong"], result["missed"]) == ({}, 0)
    assert set(result["ran"]) <= {"A", "B"}


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", ["kill", "errors"])
def test_no_interrupted_system_call_of_a_look_leaves_half_of_it(kind: str) -> None:
    cut(kind, "--life", "pull", timeout_s=2900)


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_a_look_that_loses_its_power_leaves_old_or_new() -> None:
    cut_power("--life", "pull", timeout_s=2900)
