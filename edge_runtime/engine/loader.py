"""From a path and a wish to a model that runs: choose backend and device, compile, check that it answers.

This module names the two backends, and imports each only when it is used: either may be missing from an installation.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.core.errors import DataError, EdgeError, UnavailableError
from edge_runtime.engine.base import BACKENDS, INSTALL, Engine, EngineOptions, parse_device
from edge_runtime.engine.package import Package, open_package
from edge_runtime.engine.postprocess import InvalidOutputError
from edge_runtime.engine.preprocess import Preprocessor, limit_cv2_threads
from edge_runtime.engine.tasks import OPEN_ANSWERS, make_decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from edge_runtime.core.result import ModelRef, Prediction
    from edge_runtime.engine.base import EngineInfo
    from edge_runtime.engine.spec import ModelSpec


UNFORESEEN: Final = "model.unforeseen"
"""Code of a load that failed in a way nobody wrote down: the log has the traceback."""


class StaleFrameError(Exception):
    """The pixels were replaced while they were being read; there is no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model saw in one frame, and how long each step took in milliseconds."""

    predictions: tuple[Prediction, ...]
    preprocess_ms: float
    infer_ms: float
    postprocess_ms: float


class Lane:
    """One worker's way through a model: canvas, request and decoder of its own; used by one thread at a time."""

    def __init__(self, engine: Engine, spec: ModelSpec) -> None:
        """Open a request.

        Raises:
            DataError: the decoder does not fit the model's outputs.
        """
        self._preprocessor = Preprocessor(spec.input)
        self._decoder = make_decoder(spec, engine.info.outputs)
        self._request = engine.open_request()
        self._expected = [(info.dtype, info.shape) for info in engine.info.outputs]
        self._may_change_shape = (spec.task, spec.decoder) in OPEN_ANSWERS

    def predict(self, frame: NDArray[np.uint8], is_current: Callable[[], bool] | None = None) -> Answer:
        """Return what the model sees in ``frame``: (H, W), (H, W, 1) or (H, W, 3), uint8, grey or BGR.

        Args:
            frame: only read, and not after the canvas was drawn.
            is_current: asked once the canvas was drawn; false means that ``frame`` changed meanwhile.

        Raises:
            DataError: code ``frame.invalid`` or ``model.run_failed``.
            InvalidOutputError: the answer makes no sense.
            StaleFrameError: ``is_current`` said so.
        """
        begin = time.perf_counter_ns()
        transform = self._preprocessor.fill(frame, self._request.canvas())
        if is_current is not None and not is_current():
            raise StaleFrameError
        drawn = time.perf_counter_ns()
        outputs = self._request.infer()
        inferred = time.perf_counter_ns()
        for array, (dtype, shape) in zip(outputs, self._expected, strict=True):
            if array.dtype.name != dtype or (array.shape != shape and not self._may_change_shape):
                message = f"an output of {array.dtype.name} {array.shape}, it was {dtype} {shape} at first"
                raise InvalidOutputError(message, help="export the model with static shapes")
        with np.errstate(all="ignore"):  # a model may answer anything; decoders look at what came of it
            predictions = self._decoder.decode(outputs, transform)
        end = time.perf_counter_ns()
        return Answer(predictions, (drawn - begin) / 1e6, (inferred - drawn) / 1e6, (end - inferred) / 1e6)

    def run_bare(self) -> None:
        """Run the model on what its input holds, nothing else."""
        self._request.infer_bare()


class LoadedModel:
    """A compiled model with its lanes.

    Attributes:
        ref: what results state.
        spec: the complete description.
        info: what really runs, where.
        lanes: one per worker.
        load_ms: milliseconds from the first byte read to the first answer.
        notes: what a reader of the log should know.
    """

    def __init__(self, package: Package, engine: Engine, workers: int, started_ns: int) -> None:
        """Open ``workers`` lanes and warm them up with a grey picture.

        Raises:
            DataError: the model does not do what its description says.
        """
        self.ref: ModelRef = package.ref
        self.spec: ModelSpec = package.spec
        self.info: EngineInfo = engine.info
        self._engine = engine
        self.lanes = [Lane(engine, package.spec) for _ in range(workers)]
        grey = np.full((*package.spec.input.size, 3), 114, np.uint8)
        for lane in self.lanes:
            lane.predict(grey)
        self.load_ms = (time.perf_counter_ns() - started_ns) / 1e6
        self.notes: tuple[str, ...] = (*package.notes, *engine.info.notes, *self._differences(package))

    def _differences(self, package: Package) -> tuple[str, ...]:
        if package.precision in (None, self.info.precision):
            return ()
        return (f"the package says {package.precision}, the engine runs {self.info.precision}",)

    def open_lane(self) -> Lane:
        """Make a lane beside those of the workers."""
        return Lane(self._engine, self.spec)

    def close(self) -> None:
        """Free the engine; no lane may be running."""
        self.lanes.clear()
        self._engine.close()


def load_engine(
    path: str | Path,
    *,
    device: str = "auto",
    backend: str = "auto",
    threads: int = 1,
    streams: int = 1,
    workers: int = 1,
    cache_dir: str | None = None,
) -> LoadedModel:
    """Return the model at ``path``, compiled and proved to answer; takes up to minutes.

    Args:
        path: package directory, `.onnx` or `.xml`.
        device: see `engine.base.parse_device`.
        backend: `auto` takes OpenVINO when it is installed and the package is meant for it, else ONNX Runtime. The
            choice is made before the model is compiled; when the chosen one cannot load it that is an error, not a
            reason to try the other.
        threads: cores that inference of this model may use, >= 1.
        streams: runs at a time, which divide ``threads`` among them; >= 1, on the CPU at most ``threads``.
        workers: lanes, >= 1.
        cache_dir: where OpenVINO keeps compiled models; ``None`` = nowhere.

    Raises:
        DataError: the model, or the wish, is wrong; code `UNFORESEEN` when a library failed in a way of its own.
        UnavailableError: backend or device are not on this box; codes ``backend.missing``, ``device.missing``.
    """
    with all_in_words(Path(path).name):
        choice = parse_device(device, backend)
        options = EngineOptions(choice.device, threads, streams, cache_dir)
        return _load(path, choice.backend, options, workers)


@contextlib.contextmanager
def all_in_words(name: str) -> Iterator[None]:
    """Turn whatever a native library raises in this block about the model ``name`` into an error of ours.

    Raises:
        DataError: code `UNFORESEEN`, in place of what is no `EdgeError`.
    """
    try:
        yield
    except EdgeError:
        raise
    except Exception as error:  # what native libraries raise about the files of strangers is not written down anywhere
        first = next(iter(str(error).strip().splitlines()), "")[:300]
        message = f"{name}: loading it failed in an unforeseen way: {type(error).__name__}: {first}"
        help_ = "try the other backend, or export the model again with static shapes; the log has the traceback"
        raise DataError(UNFORESEEN, message, help=help_) from error


def _load(path: str | Path, backend: str | None, options: EngineOptions, workers: int) -> LoadedModel:
    started_ns = time.perf_counter_ns()
    _check(options, workers)
    limit_cv2_threads()
    package = open_package(path, (backend,) if backend else backends_by_rank())
    engine = make_engine(package, _choose(backend, package.backends), options)
    return LoadedModel(package, engine, workers, started_ns)


def _check(options: EngineOptions, workers: int) -> None:
    if min(options.threads, options.streams, workers) < 1:
        found = f"{options.threads}, {options.streams} and {workers}"
        message = f"threads, streams and workers must be at least 1, got {found}"
        raise DataError("device.unknown", message, help="write whole numbers from 1")
    if options.device == "CPU" and options.streams > options.threads:
        message = f"{options.streams} streams cannot divide {options.threads} threads among them"
        raise DataError("device.streams", message, help="write at most as many streams as threads")


def make_engine(package: Package, backend: str, options: EngineOptions) -> Engine:
    """Compile ``package`` with ``backend``; see `load_engine`."""
    if backend == "openvino":
        from edge_runtime.engine import ov  # noqa: PLC0415 - only when it is used

        return ov.OpenVinoEngine(package.model, package.parts, package.spec.input, package.precision, options)
    from edge_runtime.engine import ort  # noqa: PLC0415 - only when it is used

    return ort.OrtEngine(package.model, package.spec.input, options)


def installed_backends() -> tuple[str, ...]:
    """Return the backends that are installed, best first, without importing them."""
    return tuple(one for one in BACKENDS if find_spec(one) is not None)


def backends_by_rank() -> tuple[str, ...]:
    """Return all backends: one that is not installed may be the only one a package is meant for, and is named then."""
    installed = installed_backends()
    return (*installed, *(one for one in BACKENDS if one not in installed))


def _choose(backend: str | None, wanted: tuple[str, ...]) -> str:
    """Return ``backend`` if it is installed, or when it is ``None`` the first of ``wanted`` that is."""
    installed = installed_backends()
    for one in wanted if backend is None else (backend,):
        if one in installed:
            return one
    missing = backend or wanted[0]
    message = f"backend {missing} is not installed, this installation has: {', '.join(installed) or 'none'}"
    raise UnavailableError("backend.missing", message, help=f"run: {INSTALL[missing]}")
