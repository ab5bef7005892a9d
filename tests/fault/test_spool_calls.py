"""The spool is whole after any of its system calls failed or was the process's last (see ``spool_calls``).

Every day a sample of them; ``-m soak`` makes all of them fail: some 2100 runs in four minutes for each durability.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fault.nth_call import Diary, Fault, run
from tests.required import needs

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
DURABILITIES = pytest.mark.parametrize("durability", [[], ["--strict"]], ids=["group", "strict"])


def broken(options: Sequence[str], timeout_s: float) -> dict[str, list[str]]:
    needs(shutil.which("strace"), "strace: apt-get install strace")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.spool_calls", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    print(found)
    assert found["runs"], "no fault was injected"
    wrong: dict[str, list[str]] = found["wrong"]
    return wrong


@DURABILITIES
def test_a_sample_of_failing_system_calls_breaks_nothing(durability: list[str]) -> None:
    assert broken([*durability, "--every", "97"], 50) == {}


@pytest.mark.soak
@pytest.mark.timeout(1800)
@DURABILITIES
def test_no_failing_system_call_breaks_anything(durability: list[str]) -> None:
    assert broken(durability, 1700) == {}


@pytest.mark.parametrize(("how", "code"), [("signal=KILL", -9), ("error=EIO", 0)])
def test_the_nth_call_is_the_one_that_fails(tmp_path: Path, how: str, code: int) -> None:
    needs(shutil.which("strace"), "strace: apt-get install strace")

    def work(diary: Diary) -> None:
        for name in ("one", "two", "three"):
            try:
                (tmp_path / name).mkdir()
            except OSError as error:
                diary.note(failed=name, why=error.strerror)
            else:
                diary.note(made=name)

    ran = run(work, Fault("mkdir", how, 2), tmp_path / "strace.txt")
    assert ran.code == code
    assert ran.fired
    told = [{"made": "one"}, {"failed": "two", "why": "Input/output error"}, {"made": "three"}]
    assert ran.diary == told[: 1 if code else 3]
    assert not (tmp_path / "two").exists()
