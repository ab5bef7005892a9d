"""Do two models on one box share its cores, or fight for them? Throughput of each alone and of both together.

    python tools/bench/two_models.py MODEL [OTHER] [--backend B] [--seconds N] [--rounds N]

Alone, a model has all cores (`threads` = cores); together each has `threads_per_model(cores, 2)`. The ratio

    together_a / alone_a + together_b / alone_b

is 1 when the cores are shared without loss; less is what the two cost each other. On a machine that is busy with
something else it means little; `cpu_ratio` is then the better witness: CPU time that the frames would have cost
alone, divided by what they cost together. Alone and together take turns; medians of the rounds are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edge_runtime.engine.base import threads_per_model
from edge_runtime.engine.bench import bench
from edge_runtime.engine.loader import load_engine

WORKERS = 2


def measure(paths: list[Path], backend: str, seconds: float, rounds: int) -> dict[str, object]:
    """Return throughput alone and together in frames per second, and the ratio."""
    cores = len(os.sched_getaffinity(0))
    shared = threads_per_model(cores, 2)
    alone_models = [load_engine(path, backend=backend, threads=cores) for path in paths]
    shared_models = [load_engine(path, backend=backend, threads=shared) for path in paths]
    alone: list[list[float]] = [[], []]
    together: list[list[float]] = [[], []]
    cpu_ratios = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(rounds):
            singles = [bench(model, seconds=seconds, requests=WORKERS) for model in alone_models]
            begin_ns = time.process_time_ns()
            both = list(pool.map(lambda model: bench(model, seconds=seconds, requests=WORKERS), shared_models))
            spent_ms = (time.process_time_ns() - begin_ns) / 1e6
            worth_ms = sum(b.frames * a.cpu_ms_per_frame for a, b in zip(singles, both, strict=True))
            cpu_ratios.append(worth_ms / spent_ms)
            for number in (0, 1):
                alone[number].append(singles[number].throughput_fps)
                together[number].append(both[number].throughput_fps)
    ratios = [
        sum(both[index] / single[index] for single, both in zip(alone, together, strict=True))
        for index in range(rounds)
    ]
    return {
        "models": [model.ref.name for model in alone_models],
        "backend": alone_models[0].info.backend,
        "cores": cores,
        "threads_alone": cores,
        "threads_together": shared,
        "alone_fps": [round(statistics.median(one), 2) for one in alone],
        "together_fps": [round(statistics.median(one), 2) for one in together],
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(one, 3) for one in ratios],
        "cpu_ratio": round(statistics.median(cpu_ratios), 3),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("other", type=Path, nargs="?")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(json.dumps(measure([args.model, args.other or args.model], args.backend, args.seconds, args.rounds)))
