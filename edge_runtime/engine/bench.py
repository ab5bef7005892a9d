"""The engine's figures: the model alone, or with all that the engine does with a frame, and nothing around it.

The pipeline is judged against these, so they are taken in the same process, on the same compiled model.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_runtime.engine.lane import Judge
    from edge_runtime.engine.loader import LoadedModel

SECONDS_LIMIT: Final = 120.0
REQUESTS_LIMIT: Final = 16
SIDE_LIMIT: Final = 16_384
"""Pixels of a side of a frame."""
_TILE: Final = 64  # pixels


@dataclass(frozen=True, slots=True)
class BenchFigures:
    """Latency of a run in milliseconds, runs per second over all requests, CPU of this process per run in ms.

    ``steps_p50_ms``: medians of pre-processing, inference and post-processing; ``None`` when the model ran alone.
    """

    p50_ms: float
    p99_ms: float
    max_ms: float
    min_ms: float
    throughput_fps: float
    cpu_ms_per_frame: float
    requests: int
    frames: int
    steps_p50_ms: tuple[float, float, float] | None = None


def bench(model: LoadedModel, *, seconds: float, requests: int, size: tuple[int, int] | None = None) -> BenchFigures:
    """Run ``model`` in ``requests`` lanes of its own at once for ``seconds``; frames may be judged meanwhile.

    Without ``size`` the model runs alone; with the width and height of a frame each run is everything from the frame to
    its predictions. CPU is that of the whole process: it means the model only while nothing else is going on in here.

    Raises:
        DataError: the model cannot be run.
        InvalidOutputError: it answers what makes no sense.
    """
    lanes = [model.open_lane() for _ in range(requests)]
    frame = None if size is None else picture(*size)
    for lane in lanes:
        _once(lane, frame)()
    with ThreadPoolExecutor(requests, thread_name_prefix="bench") as threads:
        cpu_ns, begin_ns = time.process_time_ns(), time.perf_counter_ns()
        end_ns = begin_ns + int(seconds * 1e9)
        found = [one for many in threads.map(lambda lane: _repeat(_once(lane, frame), end_ns), lanes) for one in many]
        wall_ns, cpu_ns = time.perf_counter_ns() - begin_ns, time.process_time_ns() - cpu_ns
    runs = sorted(ns for ns, _ in found)
    steps = zip(*(some for _, some in found if some is not None), strict=True)
    medians = [_at(sorted(round(ms * 1e6) for ms in one), 0.5) for one in steps]
    return BenchFigures(
        p50_ms=_at(runs, 0.5),
        p99_ms=_at(runs, 0.99),
        max_ms=runs[-1] / 1e6,
        min_ms=runs[0] / 1e6,
        throughput_fps=len(runs) / wall_ns * 1e9,
        cpu_ms_per_frame=cpu_ns / len(runs) / 1e6,
        requests=requests,
        frames=len(runs),
        steps_p50_ms=(medians[0], medians[1], medians[2]) if medians else None,
    )


Steps = tuple[float, float, float]


def _once(lane: Judge, frame: NDArray[np.uint8] | None) -> Callable[[], Steps | None]:
    """Return what one run is: the model alone, or a frame, of which it returns the milliseconds of the three steps."""
    if frame is None:
        return lane.run_bare

    def judge() -> Steps:
        answer = lane.predict(frame)
        return answer.preprocess_ms, answer.infer_ms, answer.postprocess_ms

    return judge


def _repeat(once: Callable[[], Steps | None], end_ns: int) -> list[tuple[int, Steps | None]]:
    """Nanoseconds and steps of each run until ``end_ns``, at least one."""
    runs: list[tuple[int, Steps | None]] = []
    now = time.perf_counter_ns()
    while now < end_ns or not runs:
        steps = once()
        then, now = now, time.perf_counter_ns()
        runs.append((now - then, steps))
    return runs


def picture(width: int, height: int) -> NDArray[np.uint8]:
    """Return tiles of different colours with noise, (height, width, 3): neither even nor all noise, as pictures are."""
    lot = np.random.default_rng(7)
    shape = height, width, 3
    tiles = lot.integers(32, 224, (height // _TILE + 1, width // _TILE + 1, 3))
    even = tiles.repeat(_TILE, axis=0).repeat(_TILE, axis=1)[:height, :width]
    return (even + lot.integers(-16, 16, shape)).astype(np.uint8)


def _at(runs: list[int], fraction: float) -> float:
    return runs[min(len(runs) - 1, int(len(runs) * fraction))] / 1e6
