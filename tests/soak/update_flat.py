"""A thousand updates leave nothing: memory, descriptors, threads, processes and disk stay as they are.

    python -m tests.soak.update_flat --count 1000

Two cameras with 10 pictures a second, two small releases, back and forth, by rollout. Every few updates, when one has
been committed and its predecessor's process is gone, what all processes of the box hold is added up: USS (what a
process alone has), resident size, descriptors, threads, and the bytes and files below the state directory, without the
spool and the audit trail, which are to grow up to limits of their own. The trend is Theil-Sen's slope after the first
fifth. Prints one JSON object; exit code 1 when something grows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from tests.bad_models import SOURCE, good
from tests.daemons import wait_until
from tests.soak.churn import slope
from tests.updates import Plant

GATES = {"probation_frames": 10, "not_ok_shift_max": 1.0, "latency_ratio_max": 100.0}
BAKE_S = 0.2
CAMERA = SOURCE.replace("fps=30", "fps=10")  # what an update leaves does not depend on it, how long this takes does
COMMITTED_MIN = 0.98  # on a machine that has something else to do, a good one may be taken back
SAMPLES = 60
WARM_UP = 5  # one part in so many
GROWTH_MAX: Final = {"uss_kb": 8.0, "rss_kb": 16.0, "descriptors": 0.02, "threads": 0.02, "disk_bytes": 200.0}
"""For each update."""
_GROWING = ("spool", "audit", "flight")


def usage(plant: Plant) -> dict[str, float]:
    """Return what the box holds."""
    found = dict.fromkeys(("processes", "uss_kb", "rss_kb", "descriptors", "threads"), 0.0)
    for pid in (plant.daemon.pid, *plant.daemon.family()):
        with contextlib.suppress(OSError):
            sizes = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
            found["uss_kb"] += sum(int(sizes[key].split()[0]) for key in ("Private_Clean", "Private_Dirty"))
            found["rss_kb"] += int(sizes["Rss"].split()[0])
            found["descriptors"] += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - the number of names
            found["threads"] += len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - the number of names
            found["processes"] += 1
    files = [
        path
        for path in (plant.folder / "state").rglob("*")
        if not path.relative_to(plant.folder / "state").parts[0].startswith(_GROWING) and path.is_file()
    ]
    found["files"] = len(files)
    with contextlib.suppress(FileNotFoundError):
        found["disk_bytes"] = sum(path.stat().st_size for path in files)
    return found


def quiet(plant: Plant) -> None:
    """Wait until one engine is left and nothing else is under way."""
    wait_until(lambda: len(plant.engines()) <= len(plant.slots), 30, "the process of the old model to end")
    threading.Event().wait(0.3)


def run(count: int) -> dict[str, Any]:
    """Update so many times; return the figures."""
    begin = time.monotonic()
    xs: list[float] = []
    samples: list[dict[str, float]] = []
    broken: list[str] = []
    ends: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory(prefix="update-flat-") as place,
        Plant(Path(place), source=CAMERA, judge=False) as plant,
    ):
        plant.first()
        releases, current = (1, plant.release("good", network=good(2))), 1
        for number in range(1, count + 1):
            wanted = releases[current == releases[0]]
            end = plant.wait_end(plant.roll_out(wanted, GATES, bake_s=BAKE_S), timeout_s=120)
            current = wanted if end.state == "committed" else current
            ends[end.state if end.state == "committed" else f"{end.state}: {end.reason}"] += 1
            if number % max(1, count // SAMPLES) == 0:
                quiet(plant)
                xs.append(number)
                samples.append(usage(plant))
                print(number, samples[-1], file=sys.stderr, flush=True)
            plant.forget()
        broken += plant.problems_found()
    if ends["committed"] < COMMITTED_MIN * count:
        broken.append(f"only {ends['committed']} of {count} were committed")
    kept = slice(len(xs) // WARM_UP, None)
    trend = {}
    for key in samples[0] if samples else ():
        values = [one[key] for one in samples]
        trend[key] = {
            "first": values[kept][0],
            "last": values[-1],
            "slope": round(slope(xs[kept], values[kept]), 4) if len(xs[kept]) > 1 else None,
        }
        most = GROWTH_MAX.get(key)
        if most is not None and (trend[key]["slope"] or 0.0) > most:
            broken.append(f"{key} grows by {trend[key]['slope']} an update")
    seconds = round(time.monotonic() - begin, 1)
    return {
        "updates": count,
        "ends": dict(ends),
        "samples": len(xs),
        **trend,
        "seconds": seconds,
        "broken": broken[:20],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    chosen = parser.parse_args()
    result = run(chosen.count)
    print(json.dumps(result))
    sys.exit(bool(result["broken"]))
