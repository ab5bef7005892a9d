"""Every system call of a spool's life fails or is its last: python -m tests.fault.spool_calls [--every K] [--strict].

For each kind of call and n = 1, 2, 3 ... until it no longer comes: the process is killed at it, or it fails once with
EIO, ENOSPC, EROFS and such. Prints one JSON object; exit code 1 when the judge found something wrong.

``failed_syncs``: runs in which a flush of commits failed; the life checks that the spool is ``degraded`` from then
until a checkpoint has succeeded.
``silent_syncs``: failed syncs after which the spool was never ``degraded``. They are those on which no claim rests: the
floor at the opening (the flusher writes it again), the end (which is logged, and leaves the mark of a spool in use),
SQLite's own syncs of the directory, and its checkpoints, after whose failure the log is kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fault.nth_call import Diary, Fault, count, run
from tests.fault.spool_life import Life, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

KILL = "signal=KILL"
FULL = ("error=EIO", "error=ENOSPC")
READ_ONLY = "error=EROFS"
CALLS = {  # every call with which a spool changes or reads something on a disk, and the ways in which it fails
    "openat": (KILL, *FULL, READ_ONLY, "error=EMFILE"),
    "write": (KILL, *FULL),
    "pwrite64": (KILL, *FULL),
    "fsync": (KILL, *FULL),
    "fdatasync": (KILL, *FULL),
    "rename": (KILL, *FULL, READ_ONLY),
    "unlink": (KILL, "error=EIO", READ_ONLY),
    "ftruncate": (KILL, *FULL),
    "fallocate": (KILL, *FULL),
    "mkdir": (KILL, *FULL),
    "sync_file_range": (KILL, "error=EIO"),
    "pread64": (KILL, "error=EIO"),
    "read": (KILL, "error=EIO"),
    "flock": (KILL, "error=EIO", "error=ENOLCK"),
    "fcntl": (KILL, "error=EIO", "error=ENOLCK"),
    "close": (KILL,),
}
SYNCS = ("fsync", "fdatasync")


def faults(counts: dict[str, int], every: int, offset: int) -> Iterator[Fault]:
    """All faults, or every ``every``-th of them."""
    number = offset
    for call, ways in CALLS.items():
        for n in range(1, counts.get(call, 0) + 1):
            for how in ways:
                number += 1
                if number % every == 0:
                    yield Fault(call, how, n)


def main(directory: Path, *, every: int, offset: int, strict: bool, only: str | None) -> dict[str, Any]:
    """Run them all in ``directory``; return what was found."""
    logging.disable(logging.CRITICAL)  # a line of a log is a write, too
    log = directory / "strace.txt"
    life = directory / "life"

    def work(diary: Diary) -> None:
        Life(life, diary, strict=strict).live()

    life.mkdir()
    started = time.monotonic()
    counts = count(work, log)
    summary: dict[str, Any] = {"strict": strict, "counts": {call: counts[call] for call in CALLS if call in counts}}
    runs: dict[str, int] = {}
    wrong: dict[str, list[str]] = {}
    missed = 0
    silent: list[str] = []
    unsure = 0
    for fault in faults(counts, every, offset):
        if only is not None and only not in str(fault):
            continue
        shutil.rmtree(life)
        life.mkdir()
        ran = run(work, fault, log)
        finding = judge(life, ran.diary, ended=ran.code == 0)
        kind = fault.how.partition("=")[2]
        runs[kind] = runs.get(kind, 0) + 1
        missed += not ran.fired
        if ran.code != (-9 if fault.how == KILL and ran.fired else 0):
            finding.wrong.append(f"the process ended with {ran.code}")
        if fault.call in SYNCS and fault.how != KILL and not any("state" in line for line in ran.diary):
            silent.append(str(fault))
        unsure += any("unsure" in line for line in ran.diary)
        if finding.wrong:
            wrong[str(fault)] = finding.wrong
    summary |= {"runs": runs, "missed": missed, "failed_syncs": unsure, "silent_syncs": silent, "broken": len(wrong)}
    return summary | {"seconds": round(time.monotonic() - started, 1), "wrong": wrong}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="run only every K-th fault")
    parser.add_argument("--offset", type=int, default=0, help="and begin with another one")
    parser.add_argument("--strict", action="store_true", help="durability strict instead of group")
    parser.add_argument("--only", help="only faults whose name contains this, for example fsync:error=EIO")
    chosen = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="spool-calls-"))
    try:
        result = main(place, every=chosen.every, offset=chosen.offset, strict=chosen.strict, only=chosen.only)
    finally:
        shutil.rmtree(place)
    print(json.dumps(result))
    sys.exit(1 if result["broken"] else 0)
