"""kill -9, a power cut or an error at every system call of one install that changes something on the disk.

python -m tests.fault.install_cuts [--life install|trust|publish|pull] [--kinds kill,power,errors] [--every K]

Prints one JSON object: for each kind how often the old (A) and the new release (B) ran afterwards, and what the judge
found wrong (see ``install_life``); exit code 1 when that is anything. A power cut needs root and loop devices. Other
lives: ``trust``, a refresh of what is trusted, with the floors of A or of B afterwards; ``publish``, a new release into
a registry in a directory, which lists A or B afterwards; ``pull``, all that a box does with a release that it may have.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fault.nth_call import Diary, Fault, count, run
from tests.fault.power import PoweredDisk, missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL = ("EIO", "ENOSPC")
NAMES = ("EIO", "ENOSPC", "EROFS")
CALLS = {  # each call that changes something on a disk, and the ways in which it fails
    "openat": ("EIO", "EMFILE", "ENOSPC"),
    "write": FULL,
    "pwrite64": FULL,
    "fsync": FULL,
    "rename": NAMES,
    "link": NAMES,
    "linkat": NAMES,
    "symlink": NAMES,
    "unlink": ("EIO", "EROFS"),
    "unlinkat": ("EIO", "EROFS"),
    "rmdir": ("EIO", "EROFS"),
    "mkdir": NAMES,
    "ftruncate": ("EIO",),
    "fchmod": ("EIO", "EROFS"),
    "chmod": ("EIO", "EROFS"),
    "close": (),
}
KINDS = ("kill", "power", "errors")
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # what survives kill -9 does so there too, and sooner


def faults(counts: dict[str, int], kind: str) -> Iterator[Fault]:
    """All faults of a kind."""
    for call, ways in CALLS.items():
        for n in range(1, counts.get(call, 0) + 1):
            if kind == "kill":
                yield Fault(call, "signal=KILL", n)
            elif kind == "power":
                yield Fault(call, "signal=STOP", n)
            else:
                yield from (Fault(call, f"error={way}", n) for way in ways)


def sync(directory: Path) -> None:
    """Make all of the file system durable: what the install finds was there for long."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        assert ctypes.CDLL(None).syncfs(descriptor) == 0
    finally:
        os.close(descriptor)


def main(place: Path, life: Any, kind: str, every: int, offset: int) -> dict[str, Any]:
    """Run all faults of a kind; return what was found."""
    log, started = place / "strace.txt", time.monotonic()
    with ExitStack() as stack:
        disk = stack.enter_context(PoweredDisk(place, size_mb=16)) if kind == "power" else None
        root = (place if disk is None else disk.path) / "models"
        life.reset(root)

        def work(diary: Diary) -> None:
            life.live(root, diary)

        counts = count(work, log)
        runs: Counter[str] = Counter()
        wrong: dict[str, list[str]] = {}
        missed = 0
        for number, fault in enumerate(faults(counts, kind), offset):
            if number % every:
                continue
            shutil.rmtree(root, ignore_errors=True)
            life.reset(root)
            sync(root)
            ran = run(work, fault, log, when_stopped=None if disk is None else _cutting(disk))
            if disk is not None:
                disk.off()
                disk.on()
            found = life.judge(root, whole=disk is None)
            runs[found.runs] += 1
            missed += not ran.fired
            if any("crash" in line for line in ran.diary):
                found.wrong.append(str(ran.diary))
            if found.runs != "B" and any("activated" in line for line in ran.diary):
                found.wrong.append("it was activated, and is not any more")
            if found.wrong:
                wrong[str(fault)] = found.wrong
    changing = {call: counts[call] for call in CALLS if call in counts}
    seconds = round(time.monotonic() - started, 1)
    return {"calls": changing, "ran": dict(runs), "missed": missed, "seconds": seconds, "wrong": wrong}


def _cutting(disk: PoweredDisk) -> Callable[[], None]:
    return disk.cut


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--life", choices=("install", "trust", "publish", "pull"), default="install")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--every", type=int, default=1, help="run only every K-th fault")
    parser.add_argument("--offset", type=int, default=0, help="and begin with another one")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)  # a line of a log is a write, too
    lived = importlib.import_module(f"tests.fault.{chosen.life}_life")
    summary: dict[str, Any] = {}
    for one in chosen.kinds.split(","):
        if one == "power" and (reason := missing()):
            summary[one] = {"skipped": reason, "wrong": {}}
            continue
        with tempfile.TemporaryDirectory(prefix="install-cuts-", dir=MEMORY) as directory:
            summary[one] = main(Path(directory), lived, one, chosen.every, chosen.offset)
    print(json.dumps(summary))
    sys.exit(1 if any(one["wrong"] for one in summary.values()) else 0)
