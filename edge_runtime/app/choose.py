"""Which device, engine, form of the model, threads and streams are fast enough here for the least of the processor.

Every candidate is loaded, judges made-up frames and is freed, then the next; several rounds of that, so that the noise
of a neighbour or a hot processor hits all of them. Medians of the rounds count. What fails in any is never chosen.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.app.devices import Device, list_devices
from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.core.manifest import MANIFEST_NAME, SIZE_LIMIT_BYTES, parse_manifest
from edge_runtime.system.files import read_limited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from edge_runtime.app.trials import Trials

ROUNDS: Final = 3
TURN_S: Final = (0.2, 5.0)
"""Least and most that a candidate judges in one round."""
PATIENCE: Final = 4
"""Rounds after the first are left out once this many times the wanted seconds are over, loading included."""
LOAD_TIMEOUT_S: Final = {"CPU": 180.0, "GPU": 600.0, "NPU": 600.0}
"""As long as the engine process may take (`engine.worker`)."""
_BACKENDS: Final = ("openvino", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Target:
    """What is needed: frames per second, the 99th percentile of a frame's time in the engine in ms, or both."""

    fps: float | None = None
    p99_ms: float | None = None

    def __str__(self) -> str:
        """``fps=30,p99=20ms``."""
        parts = (("fps", self.fps, ""), ("p99", self.p99_ms, "ms"))
        return ",".join(f"{name}={value:g}{unit}" for name, value, unit in parts if value is not None)


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the model's weights: the file to load, its precision if that is stated, engines it is meant for."""

    path: Path
    precision: str | None
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run the model."""

    form: Form
    backend: str
    device: str
    threads: int
    streams: int

    def __str__(self) -> str:
        """``openvino on CPU, 2 threads, 1 stream, model.onnx``."""
        cores = f"{self.threads} thread{'s' * (self.threads > 1)}, " if self.device == "CPU" else ""
        streams = f"{self.streams} stream{'s' * (self.streams > 1)}"
        return f"{self.backend} on {self.device}, {cores}{streams}, {self.form.path.name}"


@dataclass(slots=True)
class Trial:
    """What was measured of a candidate; ``failure`` says why it cannot be chosen.

    Attributes:
        precision: what its layers compute in, read back; empty before the first answer.
        rounds: per round: frames per second, median and 99th percentile in ms, ms of the processor per frame.
    """

    candidate: Candidate
    precision: str = ""
    failure: str = ""
    rounds: list[tuple[float, float, float, float]] = field(default_factory=list)

    @property
    def fps(self) -> float:
        """Frames per second, all streams together."""
        return statistics.median(one[0] for one in self.rounds)

    @property
    def p50_ms(self) -> float:
        """Median time of a frame."""
        return statistics.median(one[1] for one in self.rounds)

    @property
    def p99_ms(self) -> float:
        """99th percentile of the time of a frame."""
        return statistics.median(one[2] for one in self.rounds)

    @property
    def cpu_ms(self) -> float:
        """What a frame costs of the processor."""
        return statistics.median(one[3] for one in self.rounds)

    @property
    def usable(self) -> bool:
        """Whether it ran whenever it was asked to."""
        return bool(self.rounds) and not self.failure

    def meets(self, target: Target) -> bool:
        """Tell whether it is fast enough."""
        enough = target.fps is None or self.fps >= target.fps
        return self.usable and enough and (target.p99_ms is None or self.p99_ms <= target.p99_ms)


@dataclass(frozen=True, slots=True)
class Task:
    """What to choose for.

    Attributes:
        model: package directory or file.
        target: what is needed.
        device: `auto`: all that are here; else only this one.
        backend: likewise.
        cores: most threads that a candidate may have.
        seconds: how long to measure, without loading.
        size: width and height of the frames.
        cache_dir: where compiled models are kept from round to round.
    """

    model: Path
    target: Target
    device: str
    backend: str
    cores: int
    seconds: float
    size: tuple[int, int]
    cache_dir: Path


def forms_of(model: Path) -> list[Form]:
    """Return the forms that a model comes in; a bare file is one.

    Raises:
        DataError: the package cannot be read.
    """
    if not model.is_dir():
        return [Form(model, None, ("openvino",) if model.suffix.lower() == ".xml" else _BACKENDS)]
    try:
        content = read_limited(model / MANIFEST_NAME, SIZE_LIMIT_BYTES)
    except FileNotFoundError as error:
        message = f"{model} is a directory without {MANIFEST_NAME}"
        raise DataError("model.missing", message, help="name a package directory, a .onnx or a .xml file") from error
    manifest = parse_manifest(content, where=f"{model.name}/{MANIFEST_NAME}")
    return [Form(model / one.files[0].file, one.precision, one.backends) for one in manifest.weights]


def candidates(forms: Iterable[Form], devices: Sequence[Device], cores: int) -> list[Candidate]:
    """Return every way worth trying: one thread, half of the cores and all of them, in one stream or one stream each.

    A GPU is tried with one and two streams, an NPU has one.
    """
    shares = sorted({1, max(1, cores // 2), cores})
    on_cpu = [(threads, streams) for threads in shares for streams in sorted({1, threads})]
    ways = {"CPU": on_cpu, "GPU": [(1, 1), (1, 2)], "NPU": [(1, 1)]}
    return [
        Candidate(form, device.backend, device.device, threads, streams)
        for form in forms
        for device in devices
        if device.backend in form.backends
        for threads, streams in ways.get(device.device.partition(".")[0], [])
    ]


def try_all(task: Task, trials: Trials, tell: Callable[[str], None]) -> list[Trial]:
    """Measure every candidate in turn, round after round; ``tell`` is called with what is being done.

    Raises:
        DataError: the package cannot be read.
        UnavailableError: the engines cannot be asked, or there is no such device or backend here.
    """
    devices, unusable = list_devices(trials)
    wanted = [one for one in devices if _is_wanted(one, task)]
    if not wanted:
        here = ", ".join(f"{one.backend}:{one.device}" for one in devices) or "none"
        message = f"device {task.device} with backend {task.backend} is not on this box, it has: {here}"
        way_out = "; ".join(f"{backend}: {why}" for backend, why in unusable.items()) or "edge-runtime doctor says why"
        raise UnavailableError("device.missing", message, help=way_out)
    found = [Trial(one) for one in candidates(forms_of(task.model), wanted, task.cores)]
    if not found:
        raise DataError("model.no_form", f"{task.model} has no form for {task.backend}", help="use backend auto")
    turn_s = min(TURN_S[1], max(TURN_S[0], task.seconds / (ROUNDS * len(found))))
    started = time.monotonic()
    for number in range(1, ROUNDS + 1):
        for trial in found:
            if not trial.failure:
                tell(f"round {number} of {ROUNDS}: {trial.candidate}")
                _measure(trial, task, turn_s, trials)
        if time.monotonic() - started > PATIENCE * task.seconds:
            break
    return found


def cheapest(trials: Sequence[Trial], target: Target) -> Trial | None:
    """Return what meets ``target`` for the least of the processor; of equals the one that answers sooner."""
    return min((one for one in trials if one.meets(target)), key=lambda one: (one.cpu_ms, one.p99_ms), default=None)


def why_none(trials: Sequence[Trial], target: Target) -> UnavailableError:
    """Return the sentence about a target that nothing meets."""
    usable = [one for one in trials if one.usable]
    if not usable:
        return UnavailableError("bench.nothing_runs", f"nothing runs this model here: {trials[0].failure}")
    fastest, soonest = max(usable, key=lambda one: one.fps), min(usable, key=lambda one: one.p99_ms)
    found = f"most is {fastest.fps:.1f} frames per second ({fastest.candidate})"
    if target.p99_ms is not None:
        found += f", the shortest p99 {soonest.p99_ms:.1f} ms ({soonest.candidate})"
    way_out = "use a smaller model or input, INT8 weights, a GPU or NPU, or a lower target"
    return UnavailableError("bench.target", f"nothing here reaches {target}: {found}", help=way_out)


def _is_wanted(device: Device, task: Task) -> bool:
    named = task.device.upper()
    fits = named in ("AUTO", device.device, device.device.partition(".")[0])
    return fits and task.backend in ("auto", device.backend)


def _measure(trial: Trial, task: Task, turn_s: float, trials: Trials) -> None:
    one = trial.candidate
    order: dict[str, object] = {
        "op": "measure",
        "path": str(one.form.path.absolute()),
        "backend": one.backend,
        "device": one.device,
        "threads": one.threads,
        "streams": one.streams,
        "seconds": turn_s,
        "width": task.size[0],
        "height": task.size[1],
        "cache_dir": str(task.cache_dir),
    }
    try:
        answer = trials.ask(order, LOAD_TIMEOUT_S[one.device.partition(".")[0]] + turn_s)
    except UnavailableError as error:
        trial.failure = error.message
        return
    trial.precision = str(answer["precision"])
    figures = [float(str(answer[key])) for key in ("fps", "p50_ms", "p99_ms", "cpu_ms")]
    trial.rounds.append((figures[0], figures[1], figures[2], figures[3]))
