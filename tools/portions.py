"""Run all tests in portions, two pytest processes at a time, for a machine with two cores; join what they covered.

Most tests with real parts wait for a clock, a broker or a camera, and most of the others calculate: one after the other
either leaves a core idle. So one worker begins with all that calculate while the other begins with the files that wait,
and whoever is done takes the next few files. (pytest-xdist is no way to get there: its workers do not get along with
the engines.)

The output of a portion comes when it has ended. What failed runs once more, alone and in plain sight: real cameras,
brokers and processes on a shared machine. What fails twice fails; what passes then is unsteady and named above, which
is a defect to mend, not to get used to.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
CALCULATING = ("tests/unit", "tests/contract", "tests/sparkplug")
WORKERS = 2
DEALT = 8  # portions of the tests that wait: small enough to end together, large enough to start few processes
FAILED = 1  # tests failed; any other status but 0 is a crash or an error of the run itself
NOTHING = 5  # every test of a portion has a marker that is left out
AGAIN = ("--last-failed", "--last-failed-no-failures", "none", "--cov-append")


def portions() -> dict[str, list[str]]:
    """Return what pytest is asked to collect, by name of the portion; together it is all of tests/."""
    apart = [ROOT / path for path in CALCULATING]
    files = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if not set(path.parents) & set(apart))
    names = [str(path.relative_to(ROOT)) for path in files]
    dealt = {f"waiting-{number + 1}": names[number::DEALT] for number in range(DEALT)}
    return {"calculating": list(CALCULATING)} | {name: some for name, some in dealt.items() if some}


def command(name: str, paths: list[str], *more: str) -> tuple[list[str], dict[str, str]]:
    """Return how a portion is run, and its environment: what failed and what it covered go to files of its own."""
    words = ["-m", "not soak and not parity", "-o", f"cache_dir=.pytest_cache/{name}"]
    cover = ["--cov=edge_runtime", "--cov-branch", "--cov-report="]
    environment = os.environ | {"COVERAGE_FILE": str(ROOT / f".coverage-{name}")}
    return [sys.executable, "-m", "pytest", *words, *cover, *more, *paths], environment


def run_portion(name: str, paths: list[str]) -> int:
    """Run a portion, show what it said, and return the status of pytest."""
    words, environment = command(name, paths)
    with tempfile.TemporaryFile() as kept:
        status = subprocess.run(words, cwd=ROOT, env=environment, stdout=kept, stderr=kept, check=False).returncode
        kept.seek(0)
        sys.stdout.buffer.write(f"== {name}\n".encode() + kept.read())
    sys.stdout.flush()
    return 0 if status == NOTHING else status


def run_again(name: str, paths: list[str]) -> int:
    """Run what failed in a portion once more; return the status of pytest."""
    print(f"== once more, only what failed in {name}", file=sys.stderr, flush=True)
    words, environment = command(name, paths, *AGAIN)
    return subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode


def statuses(wanted: dict[str, list[str]]) -> Iterator[int]:
    """Run all portions, then what failed in them; yield their statuses."""
    with ThreadPoolExecutor(WORKERS) as workers:
        found = dict(zip(wanted, workers.map(run_portion, wanted, wanted.values()), strict=True))
    for name, status in found.items():
        yield run_again(name, wanted[name]) if status == FAILED else status


def run() -> int:
    """Run everything, and join the coverage; return the first bad status of pytest."""
    wanted = portions()
    found = list(statuses(wanted))
    joined = [f".coverage-{name}" for name in wanted]
    for words in (["combine", "--quiet", *joined], ["report", "--skip-covered"]):
        subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False)
    return next((status for status in found if status), 0)


if __name__ == "__main__":
    sys.exit(abs(run()))
