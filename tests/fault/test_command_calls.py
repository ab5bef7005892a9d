"""Commands are carried out once and on record whatever system call failed or was the last (see ``command_calls``).

Every day a sample; ``-m soak`` makes every call fail, some 730 runs in two minutes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.required import needs

ROOT = Path(__file__).resolve().parents[2]


def broken(*options: str, timeout_s: float) -> object:
    needs(shutil.which("strace"), "strace: apt-get install strace")
    command = [sys.executable, "-m", "tests.fault.command_calls", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["runs"], "no fault was injected"
    return found["wrong"]


def test_a_sample_of_failing_calls_breaks_no_command() -> None:
    assert broken("--every", "41", timeout_s=50) == {}


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_failing_call_breaks_a_command() -> None:
    assert broken(timeout_s=800) == {}
