"""What does an update cost the frames that are judged meanwhile? Latency of verdicts: steady, update, steady ...

    python tools/bench/swap.py MODEL [--rounds N] [--steady S] [--shadow S] [--fps N] [--cpus N]

A real line: one simulated camera, two inspections of one model, which judge every frame. An update is everything that
a deployment does to it: another version of MODEL is tried (vet), loaded beside, compared (shadow, for ``--shadow``
seconds), switched to, judges for a while, is switched back from and dismissed. Printed as JSON: milliseconds from
capture to result of all steady frames and of all frames of updates, the ratio of their p99, the same for each step, how
long a switch took from the call until it was in force, and how many frames that were captured after it the other model
still judged. On a machine that is busy with something else only ratios mean something.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.app.assembly import LineService
from edge_runtime.app.plan import plan_line
from edge_runtime.config.schema import Settings
from edge_runtime.core.result import Event, Result
from edge_runtime.pipeline.flight import FlightRecorder
from edge_runtime.pipeline.slot import SlotSpec
from edge_runtime.pipeline.vet_link import VetSpec
from edge_runtime.system.metrics import percentile
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.pipeline.vet_link import VetReport

SLOT = "model"
WAIT_S = 120.0
INSPECTIONS = ("left", "right")


@dataclass
class Watch:
    """Everything that the line and its standby engine said; the listener and the sink."""

    results: list[Result] = field(default_factory=list)
    said: queue.SimpleQueue[tuple[str, int, object]] = field(default_factory=queue.SimpleQueue)

    def put(self, item: Result | Event) -> None:
        """Take a result."""
        if isinstance(item, Result):
            self.results.append(item)

    def on_ready(self, facts: ModelFacts) -> None:
        """Note it."""
        self._note("ready", facts)

    def on_refused(self, code: str, message: str) -> None:
        """Note it."""
        self._note("refused", f"{code}: {message}")

    def on_lost(self, message: str) -> None:
        """Note it."""
        self._note("lost", message)

    def on_switched(self, to_standby: bool, inspections: tuple[str, ...], first_frame: dict[str, int]) -> None:  # noqa: ARG002, FBT001
        """Note when."""
        self._note("switched")

    def vetted(self, report: VetReport) -> None:
        """Note it."""
        self._note("vetted" if report.error is None else f"vet: {report.error}")

    def hears(self, word: str) -> int:
        """Wait for what comes next, which must be ``word``; return when it came, CLOCK_MONOTONIC ns."""
        said, when_ns, what = self.said.get(timeout=WAIT_S)
        if said != word:
            raise SystemExit(f"expected {word}, found {said}: {what}")
        return when_ns

    def _note(self, word: str, what: object = None) -> None:
        self.said.put((word, time.monotonic_ns(), what))


@dataclass
class Bench:
    """A running line with its intervals by name: begin and end, CLOCK_MONOTONIC ns."""

    line: LineService
    watch: Watch
    intervals: list[tuple[str, int, int]] = field(default_factory=list)
    switches: list[tuple[int, bool]] = field(default_factory=list)  # when it was called, to the new one
    switch_ms: list[float] = field(default_factory=list)

    def step(self, name: str) -> _Step:
        """Measure what happens in a block as ``name``."""
        return _Step(self, name)

    def update(self, other: Path, shadow_s: float, judge_s: float) -> None:
        """Do one update, forth and back."""
        line, watch = self.line, self.watch
        spec = next(slot for slot in line.plan.slots if slot.id == SLOT)
        with self.step("vet"):
            line.vet(VetSpec(path=other, threads=spec.threads), SLOT, watch.vetted)
            watch.hears("vetted")
        with self.step("load"):
            line.stand_by(SLOT, SlotSpec(SLOT, str(other), threads=spec.threads, workers=spec.workers), watch)
            watch.hears("ready")
        with self.step("shadow"):
            line.shadow(SLOT, True)  # noqa: FBT003 - a state
            time.sleep(shadow_s)
        with self.step("judges"):
            self._switch(to_new=True)
            time.sleep(judge_s)
        with self.step("back"):
            self._switch(to_new=False)
            time.sleep(judge_s)
        with self.step("dismiss"):
            line.dismiss(SLOT)
            watch.hears("switched")
            time.sleep(0.5)

    def _switch(self, *, to_new: bool) -> None:
        called_ns = time.monotonic_ns()
        (self.line.switch if to_new else self.line.switch_back)(SLOT)
        self.switch_ms.append((self.watch.hears("switched") - called_ns) / 1e6)
        self.switches.append((called_ns, to_new))

    def latencies(self, *names: str) -> list[float]:
        """Milliseconds of the frames that were captured in intervals of these names."""
        spans = [(begin, end) for name, begin, end in self.intervals if name in names]
        return [
            one.timings.total
            for one in self.watch.results
            if any(begin <= one.captured_mono_ns < end for begin, end in spans)
        ]

    def late(self, digest: str) -> int:
        """Frames captured after a switch to the model ``digest`` (or back) that the other one still judged."""
        count = 0
        for number, (called_ns, to_new) in enumerate(self.switches):
            until_ns = self.switches[number + 1][0] if number + 1 < len(self.switches) else time.monotonic_ns()
            until_ns = min(until_ns, called_ns + 1_000_000_000)
            after = [one for one in self.watch.results if called_ns <= one.captured_mono_ns < until_ns and one.model]
            count += sum((one.model is not None and one.model.digest == digest) is not to_new for one in after)
        return count


class _Step:
    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.name, self.begin_ns = bench, name, 0

    def __enter__(self) -> None:
        self.begin_ns = time.monotonic_ns()

    def __exit__(self, *exc: object) -> None:
        self.bench.intervals.append((self.name, self.begin_ns, time.monotonic_ns()))


def settings(model: Path, fps: int, state_dir: Path) -> Settings:
    """One camera, two inspections that judge every frame of it."""
    check = {"camera": "camera", "model": SLOT, "deadline_ms": 2000}
    return Settings.model_validate(
        {
            "version": 1,
            "cameras": {"camera": {"source": f"sim:conveyor?fps={fps}&size=448x256", "capture": "every", "queue": 16}},
            "models": {SLOT: {"path": str(model)}},
            "inspections": dict.fromkeys(INSPECTIONS, check),
            "state_dir": str(state_dir),
        }
    )


def other_version(model: Path, folder: Path) -> Path:
    """Return a copy of the package under another version, and thus another digest."""
    package = Path(shutil.copytree(model, folder / "other"))
    about = package / "edge-model.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"version": "0.0.0-swap"}))
    return package


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Return the figures."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, watch = Path(name), Watch()
        other = other_version(options.model.absolute(), folder)
        plan = plan_line(settings(options.model.absolute(), options.fps, folder / "state"), cpus=options.cpus)
        line = LineService(plan, watch, FlightRecorder(), cache_dir=None)
        stack.callback(line.close)
        stack.enter_context(ServiceGroup()).start(line)
        deadline = time.monotonic() + WAIT_S
        while line.reasons() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2.0)
        bench = Bench(line, watch)
        began_ns = time.monotonic_ns()
        for _ in range(options.rounds):
            with bench.step("steady"):
                time.sleep(options.steady)
            bench.update(other, options.shadow, options.steady / 3)
        with bench.step("steady"):
            time.sleep(options.steady)
        facts = line.models()[SLOT]
        return _figures(bench, began_ns, "" if facts is None else facts.model.digest)


def _figures(bench: Bench, began_ns: int, old: str) -> dict[str, object]:
    results = [one for one in bench.watch.results if one.captured_mono_ns >= began_ns]
    new = {one.model.digest for one in results if one.model is not None} - {old}
    steps = list(dict.fromkeys(name for name, _, _ in bench.intervals if name != "steady"))
    steady, update = bench.latencies("steady"), bench.latencies(*steps)
    return {
        "frames": len(results),
        "not_judged": sum(one.model is None for one in results),
        "twice": sum(
            len(ids) - len(set(ids))
            for ids in ([one.frame_id for one in results if one.inspection == name] for name in INSPECTIONS)
        ),
        "steady_ms": _percentiles(steady),
        "update_ms": _percentiles(update),
        "p99_ratio": round(percentile(sorted(update), 0.99) / percentile(sorted(steady), 0.99), 3),
        "steps": {
            name: _percentiles(bench.latencies(name))
            | {"seconds": [round((end - begin) / 1e9, 2) for one, begin, end in bench.intervals if one == name]}
            for name in steps
        },
        "switch_ms": [round(one, 2) for one in bench.switch_ms],
        "frames_after_a_switch_by_the_other": bench.late(next(iter(new), "")),
    }


def _percentiles(values: list[float]) -> dict[str, object]:
    ordered = sorted(values)
    return {"frames": len(ordered)} | {
        f"p{round(100 * q)}": round(percentile(ordered, q), 2) for q in (0.5, 0.9, 0.99, 1.0) if ordered
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steady", type=float, default=9.0)
    parser.add_argument("--shadow", type=float, default=5.0)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--cpus", type=int, default=2)
    print(json.dumps(measure(parser.parse_args()), indent=1))
