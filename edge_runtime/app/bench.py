"""How fast a model runs here: bare, and as the whole product, in turn within one run.

Lines are run one after the other, each against a real broker and a real spool:

- throughput: a simulated camera offers frames as fast as they are taken, losslessly. Bare engine and whole product
  take turns on the same loaded model, so the machine's own drift hits both; the median of the ratios is what counts.
  Once with a processor left to the rest of the product, which shows what the pipeline costs an engine that has its own,
  and once with every processor given to the engine, which the rest then has to take from it.
- steps: the bare engine and the engine with frames take turns, one frame at a time: what drawing a frame into the
  model's input and reading its answer cost beside the inference itself.
- latency: the camera runs at a fixed rate; each result is timed from capture to the broker's PUBACK. Subtracting its
  own inference leaves what the product adds.
"""

from __future__ import annotations

import os
import queue
import statistics
import tempfile
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edge_runtime.app.assembly import LineService
from edge_runtime.app.broker import LocalBroker
from edge_runtime.app.delivery import Delivery
from edge_runtime.app.plan import LATEST_SLOTS, CameraPlan, InspectionPlan, LinePlan, every_slots, recipe_ref
from edge_runtime.app.waiting import await_model
from edge_runtime.config.schema import Settings
from edge_runtime.core.errors import UnavailableError
from edge_runtime.core.result import Event, Result
from edge_runtime.core.source import parse_source
from edge_runtime.pipeline.flight import FlightRecorder
from edge_runtime.pipeline.inspection import Capture, InspectionSpec
from edge_runtime.pipeline.recipe import Recipe
from edge_runtime.pipeline.slot import SlotSpec
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.metrics import percentile
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.publish.spool.store import Row

SLOT = NAME = "bench"
ROUNDS = 9  # short turns, so that both get the same share of a neighbour's noise
PACED_FPS = 30
FRAME_SIZE = "1024x576"
WARM_UP_S = 0.5
SETTLE_S = 0.15
PENDING_MAX = 100_000
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure, and for how many seconds in all."""

    model: Path
    device: str = "auto"
    backend: str = "auto"
    seconds: float = 20.0
    in_flight: int = 3
    size: str = FRAME_SIZE


class _Probe:
    """A sink in front of delivery that knows, for each acknowledged result, how long it took and how long it inferred.

    ``put`` runs in the line's thread, ``acked`` in the publisher's; a row is known by (stream, seq) and seqs are
    given in the order of ``put``, so a queue is enough to join the two.
    """

    def __init__(self) -> None:
        self.delivery: Delivery | None = None
        self.acked_results = 0
        self.overheads_ms: list[float] = []
        self.totals_ms: list[float] = []
        self.failed = 0
        self._infer_ms: queue.SimpleQueue[tuple[int, float | None]] = queue.SimpleQueue()

    def put(self, item: Result | Event) -> None:
        if isinstance(item, Result):
            judged = item.model is not None
            self.failed += not judged
            self._infer_ms.put((item.captured_mono_ns, item.timings.infer if judged else None))
        if self.delivery is not None:
            self.delivery.put(item)

    def acked(self, rows: Sequence[Row]) -> None:
        now_ns = time.monotonic_ns()
        for row in rows:
            if not row.stream.startswith("result/"):
                continue
            self.acked_results += 1
            captured_ns, infer_ms = self._infer_ms.get_nowait()
            if captured_ns == row.mono_ns and infer_ms is not None and len(self.totals_ms) < PENDING_MAX:
                total_ms = (now_ns - row.mono_ns) / NS_PER_MS
                self.totals_ms.append(total_ms)
                self.overheads_ms.append(total_ms - infer_ms)

    def forget(self) -> None:
        """Start to count anew, for example after the warm-up."""
        self.overheads_ms.clear()
        self.totals_ms.clear()


class _Bench:
    """One line with delivery and broker, ready to be measured; a block."""

    def __init__(self, options: BenchOptions, fps: float, capture: Capture, threads: int) -> None:
        self.probe = _Probe()
        self._options = options
        self._plan = _plan(options, fps, capture, threads)
        self._stack = ExitStack()
        self._answers: queue.SimpleQueue[dict[str, object]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-runtime-bench-")))
            broker = stack.enter_context(LocalBroker(directory))
            settings = _settings(self._options, broker.port, directory)
            self.broker = broker.name
            flight = FlightRecorder()
            delivery = stack.enter_context(
                Delivery(settings, uuid.uuid4().hex, SystemClock(), flight, on_acked=self.probe.acked)
            )
            self.probe.delivery = delivery
            self.line = LineService(self._plan, self.probe, flight, cache_dir=directory)
            stack.callback(self.line.close)
            self.line.line.listen(self._answers.put)
            self._group = stack.enter_context(ServiceGroup())
            self._group.start(self.line)
            self.facts = await_model(self.line, SLOT, self._group)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def pause(self, *, paused: bool) -> None:
        """Stop or go on feeding the engine; frames wait in the ring meanwhile."""
        slot = self.line.engine.slots[SLOT]
        done = threading.Event()

        def switch() -> None:
            slot.paused = paused
            self.line.line.feed(SLOT)
            done.set()

        self.line.loop.post(switch)
        if not done.wait(5.0):
            raise UnavailableError("bench.loop", "the line does not answer")

    def bare(self, seconds: float, *, requests: int, frame: tuple[int, int] = (0, 0)) -> dict[str, object]:
        """Run the engine alone for ``seconds``, in its own process, with preset inputs or frames of this size."""
        message: dict[str, object] = {"op": "bench", "slot": SLOT, "seconds": seconds, "requests": requests, "id": 1}
        message |= {"width": frame[0], "height": frame[1]}
        self.line.loop.post(lambda: self.line.engine.send(dict(message)))
        try:
            answer = self._answers.get(timeout=seconds + 30.0)
        except queue.Empty as error:
            raise UnavailableError("bench.engine", "the engine does not answer") from error
        if answer.get("op") != "benched":
            raise UnavailableError("bench.engine", f"the engine cannot measure: {answer.get('message')}")
        return answer

    def pipeline_fps(self, seconds: float) -> float:
        """Results that the broker acknowledged per second, over ``seconds``."""
        self._group.wait(SETTLE_S)
        before, started = self.probe.acked_results, time.monotonic()
        self._group.wait(seconds)
        return (self.probe.acked_results - before) / (time.monotonic() - started)

    def wait(self, seconds: float) -> None:
        """Let it run."""
        self._group.wait(seconds)


def run_bench(options: BenchOptions) -> dict[str, object]:
    """Measure and return one JSON-able object; takes about ``options.seconds``.

    Raises:
        DataError: the model cannot be used.
        UnavailableError: device, broker or engine do not answer.
    """
    cpus = len(os.sched_getaffinity(0))
    shares = sorted({max(1, cpus - 1), cpus})
    part_s = options.seconds / (len(shares) + 2)
    throughput = [_throughput(options, threads, part_s) for threads in shares]
    steps = _steps(options, cpus, part_s)
    with _Bench(options, float(PACED_FPS), Capture.LATEST, cpus) as bench:
        bench.wait(2 * WARM_UP_S)
        bench.probe.forget()
        bench.wait(part_s)
        overheads, totals = sorted(bench.probe.overheads_ms), sorted(bench.probe.totals_ms)
        counters = bench.line.counters()[NAME]
        facts, broker = bench.facts, bench.broker
    return {
        "model": {"name": facts.model.name, "version": facts.model.version, "digest": facts.model.digest},
        "backend": facts.backend,
        "device": facts.device,
        "precision": facts.precision,
        "cpus": cpus,
        "broker": broker,
        "throughput": throughput,
        "steps": steps,
        "paced": {
            "fps": PACED_FPS,
            "frames": len(totals),
            "capture_to_puback_ms": _percentiles(totals),
            "capture_to_puback_minus_infer_ms": _percentiles(overheads),
            "captured": counters.captured,
            "inferred": counters.inferred,
            "dropped": counters.dropped,
            "failed": counters.failed,
        },
    }


def _throughput(options: BenchOptions, threads: int, seconds: float) -> dict[str, object]:
    """Let the bare engine and the product take turns, both with ``threads`` processors for inference."""
    turn_s = max(0.2, seconds / (2 * ROUNDS))
    bare, product = [], []
    with _Bench(options, 0.0, Capture.EVERY, threads) as bench:
        bench.wait(WARM_UP_S)
        for _ in range(ROUNDS):
            bench.pause(paused=True)
            bench.wait(SETTLE_S)
            bare.append(bench.bare(turn_s, requests=options.in_flight))
            bench.pause(paused=False)
            product.append(bench.pipeline_fps(turn_s))
    alone = [float(str(one["throughput_fps"])) for one in bare]
    ratios = [with_all / bare_fps for with_all, bare_fps in zip(product, alone, strict=True)]
    return {
        "engine_threads": threads,
        "in_flight": options.in_flight,
        "bare_fps": round(statistics.median(alone), 1),
        "product_fps": round(statistics.median(product), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "bare_latency_ms": bare[-1]["latency_ms"],
        "bare_cpu_ms_per_frame": round(statistics.median(float(str(one["cpu_ms_per_frame"])) for one in bare), 2),
    }


def _steps(options: BenchOptions, threads: int, seconds: float) -> dict[str, object]:
    """Let the bare engine and the engine with frames take turns in one lane; medians of the rounds."""
    turn_s = max(0.2, seconds / (2 * ROUNDS))
    width, height = map(int, options.size.split("x"))
    bare: list[float] = []
    steps: list[list[float]] = []
    with _Bench(options, 1.0, Capture.LATEST, threads) as bench:
        bench.pause(paused=True)
        bench.wait(SETTLE_S)
        for _ in range(ROUNDS):
            alone = bench.bare(turn_s, requests=1)["latency_ms"]
            bare.append(float(alone["p50"]) if isinstance(alone, dict) else 0.0)
            judged = bench.bare(turn_s, requests=1, frame=(width, height))["steps_p50_ms"]
            steps.append([float(one) for one in judged] if isinstance(judged, list) else [])
    before, infer, after = (statistics.median(one) for one in zip(*steps, strict=True))
    shares = [(one[0] + one[2]) / alone for one, alone in zip(steps, bare, strict=True)]
    return {
        "frame": options.size,
        "engine_threads": threads,
        "bare_p50_ms": round(statistics.median(bare), 3),
        "preprocess_p50_ms": round(before, 3),
        "infer_p50_ms": round(infer, 3),
        "postprocess_p50_ms": round(after, 3),
        "share_of_bare": round(statistics.median(shares), 4),
        "shares": [round(share, 4) for share in shares],
    }


def _percentiles(ordered: list[float]) -> dict[str, float | None]:
    found = {"p50": percentile(ordered, 0.5), "p99": percentile(ordered, 0.99), "max": percentile(ordered, 1.0)}
    return {key: None if value is None else round(value, 2) for key, value in found.items()}


def _plan(options: BenchOptions, fps: float, capture: Capture, threads: int) -> LinePlan:
    recipe = Recipe()
    slots = every_slots(options.in_flight, options.in_flight)
    camera = CameraPlan(
        id=NAME,
        source=parse_source(f"sim:conveyor?fps={fps:.1f}&size={options.size}"),
        capture=capture,
        fps=None,
        stall_s=60.0,
        ring_slots=slots if capture is Capture.EVERY else LATEST_SLOTS,
    )
    slot = SlotSpec(
        id=SLOT,
        path=str(options.model.absolute()),
        device=options.device,
        backend=options.backend,
        workers=options.in_flight,
        threads=threads,
        hang_ms=60_000,
    )
    spec = InspectionSpec(id=NAME, camera=NAME, slot=SLOT, capture=capture, deadline_ms=60_000, queue=slots)
    return LinePlan((camera,), (slot,), (InspectionPlan(spec, recipe, recipe_ref(recipe)),))


def _settings(options: BenchOptions, port: int, directory: Path) -> Settings:
    return Settings.model_validate(
        {
            "version": 1,
            "edge": "bench",
            "mqtt": {"host": "127.0.0.1", "port": port, "client_id": f"bench-{os.getpid()}"},
            "cameras": {NAME: {"source": "sim:conveyor"}},
            "models": {SLOT: {"path": options.model}},
            "state_dir": directory,
        }
    )
