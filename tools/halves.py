"""Run all tests as two pytest processes side by side, for a machine with two cores; join what they covered.

Most tests with real parts wait for a clock, a broker or a camera, and most of the others calculate: one after the other
either leaves a core idle. (pytest-xdist is no way to get there: its workers do not get along with the engines.)

The output of one half comes as it runs, that of the other one when both have ended. What failed runs once more, alone
and in plain sight: real cameras, brokers and processes on a shared machine. What fails twice fails; what passes then is
unsteady and named above, which is a defect to mend, not to get used to.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
CALCULATING = ("tests/unit", "tests/contract", "tests/sparkplug")
HALVES = {  # name -> what pytest is asked to collect; together it is all of tests/
    "calculating": list(CALCULATING),
    "waiting": ["tests", *(f"--ignore={path}" for path in CALCULATING)],
}
FAILED = 1  # tests failed; any other status but 0 is a crash or an error of the run itself
AGAIN = ("--last-failed", "--last-failed-no-failures", "none", "--cov-append")


def started(name: str, *more: str, output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start a half; it keeps what failed and what it covered in files of its own."""
    words = ["-m", "not soak and not parity", "-o", f"cache_dir=.pytest_cache/{name}"]
    cover = ["--cov=edge_runtime", "--cov-branch", "--cov-report="]
    environment = os.environ | {"COVERAGE_FILE": str(ROOT / f".coverage-{name}")}
    command = [sys.executable, "-m", "pytest", *words, *cover, *more, *HALVES[name]]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)


def run() -> int:
    """Run both halves, what failed again, and join the coverage; return the status of pytest."""
    with tempfile.TemporaryFile() as kept:
        running = {"calculating": started("calculating", output=kept), "waiting": started("waiting")}
        statuses = {name: half.wait() for name, half in running.items()}
        kept.seek(0)
        print("== the half that calculates", flush=True)
        sys.stdout.buffer.write(kept.read())
        sys.stdout.flush()
    for name, status in statuses.items():
        if status == FAILED:
            print(f"== once more, only what failed in the half that is {name}", file=sys.stderr, flush=True)
            statuses[name] = started(name, *AGAIN).wait()
    joined = [f".coverage-{name}" for name in HALVES]
    for words in (["combine", "--quiet", *joined], ["report", "--skip-covered"]):
        subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False)
    return next((status for status in statuses.values() if status), 0)


if __name__ == "__main__":
    sys.exit(abs(run()))
