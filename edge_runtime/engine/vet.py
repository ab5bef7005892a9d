"""What the `vet` child runs: one model, step by step, in a process that may die of it.

Steps, each announced before it begins, so that main knows of which one the process died:

    gate       the files are read, verified and looked at in pure Python (`package`, `onnxgate`, `irgate`)
    reference  ONNX only: ONNX Runtime loads and runs it first; it refuses what crashes OpenVINO's reader
    engine     the backend and device that were asked for compile it and answer for a grey picture
    golden     the package's golden frames, if it has some
    speed      milliseconds per frame and resident memory, against the gates of the package
    pace       the same frames by the model that works now, in turns, if there is one: how many times slower is this one

Messages out: ``begin`` per step, ``done`` per step, ``frame`` per picture when answers are to be recorded, and one
``verdict`` at the end. Nothing comes in: main ends the process when its time is up.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import math
import os
import resource
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from edge_runtime.core.acceptance import TOLERANCES, Gates
from edge_runtime.core.errors import DataError, EdgeError
from edge_runtime.core.golden import FOLDER
from edge_runtime.engine.base import EngineOptions, parse_device
from edge_runtime.engine.confinement import confine
from edge_runtime.engine.golden import Comparison, compare, read_golden, read_picture
from edge_runtime.engine.loader import (
    UNFORESEEN,
    all_in_words,
    backends_by_rank,
    installed_backends,
    load_engine,
    make_engine,
)
from edge_runtime.engine.package import open_package
from edge_runtime.engine.postprocess import InvalidOutputError
from edge_runtime.engine.preprocess import limit_cv2_threads
from edge_runtime.engine.protocol import Reply, leave_out_shapes, prediction_fields, text_field, whole_field
from edge_runtime.system.metrics import percentile
from edge_runtime.system.priority import Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.loader import LoadedModel
    from edge_runtime.engine.package import Package
    from edge_runtime.system.child import ChildContext

logger = logging.getLogger(__name__)

RUNS_MIN: Final = 20
RUNS_MAX: Final = 300
RUNS_S: Final = 3.0
"""So long, and between so many runs, the model is timed."""
BESIDE_S: Final = 1.0
"""So long when a line works beside it, which has the box for itself the sooner."""
SLOWER_MS: Final = 2.0
"""A model that is slower by less is not refused for it, however fast the other one is."""
_GREY: Final = 114
_NO_MEMORY: Final = ("bad_alloc", "allocate", "bad array new length", "out of memory")
PROBLEMS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class VetOrder:
    """What to try; `path`, `device`, `backend` and `threads` as for `loader.load_engine`.

    Attributes:
        record: pictures in the package's folder `golden` whose answers are wanted; ``None`` = compare instead.
        load_only: end after the model answered for a grey picture.
        against: the package of the model that works now, which it is timed against.
        slower_max: how many times slower than that one it may be.
    """

    path: Path
    device: str
    backend: str
    threads: int
    memory_bytes: int
    record: tuple[str, ...] | None
    load_only: bool
    against: Path | None = None
    slower_max: float = math.inf


def main(context: ChildContext) -> None:
    """Try the model that ``context.args`` names and send the verdict."""
    faulthandler.disable()  # a crash is one of the answers, told in words by main
    limit_cv2_threads()
    if context.args.get("low") is True:
        Priority().set(low=True)
    order = _order(context.args)
    with PeakMemory() as peak:
        confine(
            {"models": [str(one) for one in (order.path, order.against) if one], "memory_bytes": order.memory_bytes},
            file_size_bytes=order.memory_bytes,  # ONNX Runtime writes what it compiled into a memfd
            cpu_s=whole_field(context.args, "cpu_s"),
        )
        context.beat()
        context.socket.send(Vetting(order, context.socket.send, peak).run())


def _order(args: Mapping[str, object]) -> VetOrder:
    record, against, slower = (args.get(name) for name in ("record", "against", "slower_max"))
    return VetOrder(
        path=Path(text_field(args, "path")),
        device=text_field(args, "device", "auto"),
        backend=text_field(args, "backend", "auto"),
        threads=whole_field(args, "threads", 1),
        memory_bytes=whole_field(args, "memory_bytes"),
        record=tuple(map(str, record)) if isinstance(record, list) else None,
        load_only=args.get("load_only") is True,
        against=Path(against) if isinstance(against, str) else None,
        slower_max=float(slower) if isinstance(slower, int | float) else math.inf,
    )


class PeakMemory:
    """The most memory that this process had resident since `reset`; a block, to be entered before the sandbox."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._clear: int | None = None

    def __enter__(self) -> Self:
        """Open the kernel's counter; where it has none the peak is that of the process's whole life."""
        with contextlib.suppress(OSError):
            self._clear = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        if self._clear is not None:
            os.close(self._clear)
            self._clear = None

    def reset(self) -> None:
        """Begin anew (proc_pid_clear_refs(5), value 5)."""
        if self._clear is not None:
            with contextlib.suppress(OSError):
                os.write(self._clear, b"5")

    def mb(self) -> float:
        """Return the peak in MiB."""
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(slots=True)
class Vetting:
    """One run through the steps; ``send`` is called for each message but the verdict, which `run` returns."""

    order: VetOrder
    send: Callable[[Reply], None]
    peak: PeakMemory
    facts: Reply = field(default_factory=dict)
    step: str = ""

    def run(self) -> Reply:
        """Return the verdict."""
        error: EdgeError | None = None
        try:
            self._steps()
        except EdgeError as failure:
            error = self._out_of_memory(failure) if _is_memory(failure) else failure
            if failure.code == UNFORESEEN:
                logger.warning("vet: %s", failure, exc_info=failure)
        except MemoryError as failure:
            error = self._out_of_memory(failure)
        verdict: Reply = {"op": "verdict", "ok": error is None, "step": self.step, **self.facts}
        if error is not None:
            verdict["error"] = {
                "code": error.code,
                "message": _clean(error.message),
                "help": _clean(error.help or ""),
                "exit_code": error.exit_code,
            }
        return verdict

    def _steps(self) -> None:
        with self._during("gate", "reading and checking the files"):
            package = self._open()
        self._reference(package)
        with self._during("engine", f"{self._target(package)} on {parse_device(self.order.device).device}"):
            self.peak.reset()
            model = load_engine(
                self.order.path, device=self.order.device, backend=self.order.backend, threads=self.order.threads
            )
            self.facts["engine"] = {
                "backend": model.info.backend,
                "version": model.info.backend_version,
                "device": model.info.device,
                "precision": model.info.precision,
                "load_ms": round(model.load_ms, 1),
            }
        if self.order.load_only:
            return
        frames = self._record(model) if self.order.record is not None else self._golden(package, model)
        if self.order.record is None:
            with self._during("speed", "timing the model"):
                self._speed(package, model, frames)
            if self.order.against is not None:
                with self._during("pace", "timing it beside the model that works now"):
                    self._pace(self.order.against, model, frames)

    def _open(self) -> Package:
        choice = parse_device(self.order.device, self.order.backend)
        package = open_package(self.order.path, (choice.backend,) if choice.backend else backends_by_rank())
        self.facts["model"] = {
            "name": package.ref.name,
            "version": package.ref.version,
            "digest": package.ref.digest,
            "format": package.format,
            "size_bytes": package.size_bytes,
        }
        return package

    def _reference(self, package: Package) -> None:
        target = self._target(package)
        if package.format != "onnx" or target == "onnxruntime" or "onnxruntime" not in installed_backends():
            return
        with self._during("reference", "onnxruntime on CPU"), all_in_words(self.order.path.name):
            make_engine(package, "onnxruntime", EngineOptions(threads=self.order.threads)).close()

    def _target(self, package: Package) -> str:
        choice = parse_device(self.order.device, self.order.backend)
        return choice.backend or next((one for one in package.backends if one in installed_backends()), "no backend")

    def _record(self, model: LoadedModel) -> list[NDArray[np.uint8]]:
        root = self.order.path / FOLDER
        with self._during("golden", "judging the golden frames"):
            for name in self.order.record or ():
                rows = _predict(model, read_picture(root / name), name)
                leave_out_shapes(rows)  # the message has no room for them; what is not expected is not compared
                self.send({"op": "frame", "file": name, "predictions": rows})
        return []

    def _golden(self, package: Package, model: LoadedModel) -> list[NDArray[np.uint8]]:
        root = self.order.path if self.order.path.is_dir() else self.order.path.parent
        if package.manifest is None:
            return []
        with self._during("golden", "comparing the golden frames"):
            golden = read_golden(root)
            tolerances, gates = package.manifest.tolerances, package.manifest.gates
            found, pictures = Comparison(), []
            for frame in golden:
                pictures.append(read_picture(root / FOLDER / frame.file))
                rows = _predict(model, pictures[-1], frame.file)
                compare(frame, rows, tolerances, model.spec, found)
            self.facts["golden"] = {
                "frames": len(golden),
                "problems": [_clean(one) for one in found.problems[:PROBLEMS_SHOWN]],
                **{key: _finite(getattr(found, key)) for key in TOLERANCES},
                "tolerances": asdict(tolerances),
            }
            _judge(found, gates)
        return pictures

    def _speed(self, package: Package, model: LoadedModel, pictures: Sequence[NDArray[np.uint8]]) -> None:
        frames = pictures or [np.full((*model.spec.input.size, 3), _GREY, np.uint8)]
        lane, begin = model.lanes[0], time.monotonic()
        runs: list[float] = []
        while len(runs) < RUNS_MIN or (len(runs) < RUNS_MAX and time.monotonic() - begin < self._runs_s):
            answer = lane.predict(frames[len(runs) % len(frames)])
            runs.append(answer.preprocess_ms + answer.infer_ms + answer.postprocess_ms)
        runs.sort()
        p50, p99, memory = percentile(runs, 0.5) or 0.0, percentile(runs, 0.99) or 0.0, self.peak.mb()
        self.facts["latency_ms"] = {"p50": round(p50, 3), "p99": round(p99, 3), "frames": len(runs)}
        self.facts["memory_mb"] = round(memory, 1)
        gates = Gates() if package.manifest is None else package.manifest.gates
        self.facts["gates"] = {key: value for key, value in asdict(gates).items() if value is not None}
        limits = (("p50_ms", p50, gates.p50_ms), ("p99_ms", p99, gates.p99_ms), ("memory_mb", memory, gates.memory_mb))
        missed = [f"{name} is {is_:.1f}, at most {most:g}" for name, is_, most in limits if most and is_ > most]
        if missed:
            message = f"too slow or too large for this box: {'; '.join(missed)}"
            raise DataError("golden.gate", message, help="use a smaller model, another device, or a faster box")

    @property
    def _runs_s(self) -> float:
        return RUNS_S if self.order.against is None else min(BESIDE_S, RUNS_S)

    def _pace(self, against: Path, model: LoadedModel, pictures: Sequence[NDArray[np.uint8]]) -> None:
        """Time both in turns, so that whatever else the box does hits them alike, and compare the medians."""
        try:
            other = load_engine(
                against, device=self.order.device, backend=self.order.backend, threads=self.order.threads
            )
        except EdgeError as error:
            logger.warning("vet: the model that works now cannot be timed: %s", error)  # which says nothing of this one
            return
        frames = pictures or [np.full((*model.spec.input.size, 3), _GREY, np.uint8)]
        mine: list[float] = []
        others: list[float] = []
        begin = time.monotonic()
        while len(mine) < RUNS_MIN or (len(mine) < RUNS_MAX and time.monotonic() - begin < self._runs_s):
            picture = frames[len(mine) % len(frames)]
            for runs, one in ((others, other), (mine, model)):
                answer = one.lanes[0].predict(picture)
                runs.append(answer.preprocess_ms + answer.infer_ms + answer.postprocess_ms)
        p50, usual = median(mine), median(others)
        self.facts["pace"] = {"p50_ms": round(p50, 3), "usual_p50_ms": round(usual, 3), "ratio": round(p50 / usual, 3)}
        if p50 > self.order.slower_max * usual and p50 - usual > SLOWER_MS:
            message = (
                f"{p50:.1f} ms a frame, {p50 / usual:.1f} times the {usual:.1f} ms of the model that works now; "
                f"{self.order.slower_max:g} times is allowed"
            )
            raise DataError("model.slower", message, help="raise the gate latency_ratio_max if the line can wait")

    @contextlib.contextmanager
    def _during(self, step: str, what: str) -> Iterator[None]:
        self.step = step
        self.send({"op": "begin", "step": step, "what": what})
        begin = time.monotonic()
        yield
        self.send({"op": "done", "step": step, "seconds": round(time.monotonic() - begin, 3)})

    def _out_of_memory(self, error: Exception) -> DataError:
        """Return one error for what every library says in words of its own."""
        limit = self.order.memory_bytes >> 20
        said = error.message if isinstance(error, EdgeError) else str(error)
        message = f"step {self.step}: the model needs more than the {limit} MiB that it may have: {said}"
        return DataError("model.memory", message, help="use a smaller model, or a box with more memory")


def _predict(model: LoadedModel, picture: NDArray[np.uint8], name: str) -> list[Reply]:
    try:
        return [prediction_fields(one) for one in model.lanes[0].predict(picture).predictions]
    except InvalidOutputError as error:
        raise DataError("model.run_failed", f"golden frame {name}: {error.message}", help=error.help) from error


def _judge(found: Comparison, gates: Gates) -> None:
    """Raise if the golden frames were not judged as the trusted run judged them.

    Raises:
        DataError: code ``golden.differs`` or ``golden.gate``.
    """
    if found.problems:
        more = f" and {len(found.problems) - 3} more" if len(found.problems) > 3 else ""  # noqa: PLR2004 - a line
        message = f"this box sees other things than the trusted run: {'; '.join(found.problems[:3])}{more}"
        help_ = "do not use it here; try the other backend, or a model that was not quantized for another processor"
        raise DataError("golden.differs", message, help=help_)
    least = (("iou", found.iou, gates.iou), ("cosine", found.cosine, gates.cosine))
    missed = [
        f"{name} is {is_:.4f}, at least {to_be:g} is asked for" for name, is_, to_be in least if _below(is_, to_be)
    ]
    most = (
        ("scores", found.score, gates.score),
        ("keypoints", found.keypoint, gates.keypoint),
        ("values", found.value, gates.value),
    )
    missed += [f"{name} are {is_:.4f} apart, {to_be:g} is allowed" for name, is_, to_be in most if _below(to_be, is_)]
    if missed:
        message = f"this box is further from the trusted run than the package allows: {'; '.join(missed)}"
        raise DataError("golden.gate", message, help="do not use it here; try the other backend")


def _below(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one < other


def _finite(number: float | None) -> float | None:
    """Return what JSON can say; a distance is infinite where there is nothing to compare with."""
    return number if number is None or math.isfinite(number) else None


def _is_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            return True
        error = error.__cause__
    return False


def _clean(text: str) -> str:
    return text[:2000].encode("utf-8", "backslashreplace").decode()
