"""Whatever interrupts a look at the registry or the switch after it: A or B, whole, and the next look goes on there.

Every day a sample; ``-m soak`` does all of it (``python -m tests.fault.install_cuts --life pull``).
"""

from __future__ import annotations

import shutil

import pytest

from tests.fault.test_store_faults import LIMIT_S, cut, found
from tests.required import needs

pytestmark = pytest.mark.timeout(LIMIT_S + 20)


def test_a_look_that_is_killed_or_refused_at_a_system_call_leaves_old_or_new() -> None:
    needs(shutil.which("strace"), "strace: apt-get install strace")
    results = found("install_cuts", "--life", "pull", "--kinds", "kill,errors", "--every", "197", "--offset", "7")
    for result in results.values():
        assert (result["wrong"], result["missed"]) == ({}, 0)
        assert set(result["ran"]) <= {"A", "B"}


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_no_system_call_at_which_a_look_is_interrupted_leaves_half_of_it() -> None:
    cut("--life", "pull", timeout_s=2900)
