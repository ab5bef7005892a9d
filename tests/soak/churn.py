"""Does memory stay flat? Repeats one thing in a process of its own and prints what it cost, as one JSON object.

    python tests/soak/churn.py load|infer MODEL BACKEND COUNT

``load``: load a model, judge one frame, free it, as the engine does when a model is replaced. ``infer``: judge frames,
with everything from the frame to predictions. Memory is what this process alone has (Private_* of smaps_rollup) after
garbage collection and malloc_trim. Its trend is the Theil-Sen slope, the median of the slopes between all pairs of
samples, which a few wild ones do not bend; ``noise_kb`` is how far a sample typically lies from that line (median
absolute deviation). The first fifth warms up and is not counted.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import statistics
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.engine.loader import load_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SAMPLES = 60
WARM_UP = 5  # one part in so many of all runs
FRAME = (480, 640, 3)  # height, width, channels


def private_kb() -> int:
    """Memory that only this process has, in KiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def count(kind: str) -> int:
    """Entries of /proc/self/``kind``: `fd` or `task`."""
    return len(os.listdir(f"/proc/self/{kind}"))  # noqa: PTH208 - the number of names


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Theil-Sen: the median of the slopes between all pairs of points."""
    pairs = combinations(zip(xs, ys, strict=True), 2)
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs)


def churn(once: Callable[[], None], runs: int) -> dict[str, float]:
    """Do it ``runs`` times and return the trend."""
    for _ in range(max(1, runs // WARM_UP)):
        once()
    descriptors, threads = count("fd"), count("task")
    xs, ys = [0.0], [float(private_kb())]
    started = time.monotonic()
    step = max(1, runs // SAMPLES)
    for done in range(1, runs + 1):
        once()
        if done % step == 0:
            xs.append(float(done))
            ys.append(float(private_kb()))
    trend = slope(xs, ys)
    offset = statistics.median(y - trend * x for x, y in zip(xs, ys, strict=True))
    return {
        "runs": runs,
        "seconds": round(time.monotonic() - started, 1),
        "slope_bytes": round(trend * 1024, 2),
        "noise_kb": round(statistics.median(abs(y - trend * x - offset) for x, y in zip(xs, ys, strict=True)), 1),
        "first_kb": ys[0],
        "last_kb": ys[-1],
        "descriptors": count("fd") - descriptors,
        "threads": count("task") - threads,
    }


def main(what: str, path: str, backend: str, runs: int) -> dict[str, float]:
    """Run the churn that the command line names."""
    frame = np.random.default_rng(1).integers(0, 255, FRAME).astype(np.uint8)

    def load() -> None:
        model = load_engine(path, backend=backend, threads=2, streams=2, workers=2)
        model.lanes[0].predict(frame)
        model.close()

    if what == "load":
        return churn(load, runs)
    lane = load_engine(path, backend=backend, threads=1).lanes[0]

    def infer() -> None:
        lane.predict(frame)

    return churn(infer, runs)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))))
