"""The bare engine's figures: the model alone, with the same requests in flight, and nothing before or after it.

The pipeline is judged against these, so they are taken in the same process, on the same compiled model.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_runtime.engine.loader import Lane, LoadedModel

SECONDS_LIMIT: Final = 120.0
REQUESTS_LIMIT: Final = 16


@dataclass(frozen=True, slots=True)
class BenchFigures:
    """Latency of a run in milliseconds, runs per second over all requests, CPU of this process per run in ms."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    min_ms: float
    throughput_fps: float
    cpu_ms_per_frame: float
    requests: int
    frames: int


def bench(model: LoadedModel, *, seconds: float, requests: int) -> BenchFigures:
    """Run ``model`` in ``requests`` lanes of its own at once for ``seconds``; frames may be judged meanwhile.

    CPU is that of the whole process: it means the model only while nothing else is going on in here.
    """
    lanes = [model.open_lane() for _ in range(requests)]
    for lane in lanes:
        lane.run_bare()
    with ThreadPoolExecutor(requests, thread_name_prefix="bench") as threads:
        cpu_ns, begin_ns = time.process_time_ns(), time.perf_counter_ns()
        end_ns = begin_ns + int(seconds * 1e9)
        runs = [one for many in threads.map(lambda lane: _repeat(lane, end_ns), lanes) for one in many]
        wall_ns, cpu_ns = time.perf_counter_ns() - begin_ns, time.process_time_ns() - cpu_ns
    runs.sort()
    return BenchFigures(
        p50_ms=_at(runs, 0.5),
        p99_ms=_at(runs, 0.99),
        max_ms=runs[-1] / 1e6,
        min_ms=runs[0] / 1e6,
        throughput_fps=len(runs) / wall_ns * 1e9,
        cpu_ms_per_frame=cpu_ns / len(runs) / 1e6,
        requests=requests,
        frames=len(runs),
    )


def _repeat(lane: Lane, end_ns: int) -> list[int]:
    """Nanoseconds of each run until ``end_ns``, at least one."""
    runs: list[int] = []
    now = time.perf_counter_ns()
    while now < end_ns or not runs:
        lane.run_bare()
        then, now = now, time.perf_counter_ns()
        runs.append(now - then)
    return runs


def _at(runs: list[int], fraction: float) -> float:
    return runs[min(len(runs) - 1, int(len(runs) * fraction))] / 1e6
