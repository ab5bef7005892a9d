"""From a path and a wish to a model that runs: choose backend and device, compile, check that it answers.

This module names the two backends, and imports each only when it is used: either may be missing from an installation.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, EdgeError, UnavailableError
from edge_runtime.engine.base import BACKENDS, INSTALL, EngineOptions, parse_device
from edge_runtime.engine.chain import ChainModel
from edge_runtime.engine.fitted import FittedModel
from edge_runtime.engine.lane import FixedModel
from edge_runtime.engine.package import Package, open_package
from edge_runtime.engine.preprocess import limit_cv2_threads
from edge_runtime.engine.sizes import CPU_ONLY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.core.result import ModelRef
    from edge_runtime.engine.base import Engine, EngineInfo
    from edge_runtime.engine.lane import Judge, Model
    from edge_runtime.engine.spec import InputSpec, ModelSpec

UNFORESEEN: Final = "model.unforeseen"
"""Code of a load that failed in a way nobody wrote down: the log has the traceback."""


class LoadedModel:
    """A compiled model with its lanes.

    Attributes:
        ref: what results state.
        spec: the complete description.
        info: what really runs, where.
        reads_text: predictions may carry text.
        reference: what it answers when all is well, ``None`` when nobody wrote it down.
        lanes: one per worker.
        load_ms: milliseconds from the first byte read to the first answer.
        notes: what a reader of the log should know.
    """

    def __init__(self, package: Package, model: Model, workers: int, started_ns: int) -> None:
        """Open ``workers`` lanes into ``model``, which is owned from now on, and warm them up with a grey picture.

        Raises:
            DataError: the model does not do what its description says.
        """
        self.ref: ModelRef = package.ref
        self.spec: ModelSpec = package.spec
        self.info: EngineInfo = model.info
        self.reads_text = package.reads_text
        self.reference = None if package.manifest is None else package.manifest.reference
        self._model = model
        self.lanes: list[Judge] = [model.open_lane() for _ in range(workers)]
        for lane in self.lanes:
            lane.prove()
        self.load_ms = (time.perf_counter_ns() - started_ns) / 1e6
        self.notes: tuple[str, ...] = (*package.notes, *model.info.notes, *self._differences(package))

    def _differences(self, package: Package) -> tuple[str, ...]:
        if package.precision in (None, self.info.precision):
            return ()
        return (f"the package says {package.precision}, the engine runs {self.info.precision}",)

    def open_lane(self) -> Judge:
        """Make a lane beside those of the workers."""
        return self._model.open_lane()

    def close(self) -> None:
        """Free the engine; no lane may be running."""
        self.lanes.clear()
        self._model.close()


def load_engine(
    path: str | Path,
    *,
    device: str = "auto",
    backend: str = "auto",
    threads: int = 1,
    streams: int = 1,
    workers: int = 1,
    cache_dir: str | None = None,
    digest: str | None = None,
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
        digest: identity that the package must have; ``None`` = any. Compiled are the bytes that were hashed for it.

    Raises:
        DataError: the model, or the wish, is wrong; code `UNFORESEEN` when a library failed in a way of its own.
        UnavailableError: backend or device are not on this box; codes ``backend.missing``, ``device.missing``.
    """
    with all_in_words(Path(path).name):
        choice = parse_device(device, backend)
        options = EngineOptions(choice.device, threads, streams, cache_dir)
        return _load(path, choice.backend, options, workers, digest)


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


def _load(
    path: str | Path, backend: str | None, options: EngineOptions, workers: int, digest: str | None
) -> LoadedModel:
    started_ns = time.perf_counter_ns()
    _check(options, workers)
    limit_cv2_threads()
    package = open_package(path, (backend,) if backend else backends_by_rank())
    if digest is not None and package.ref.digest != digest:
        message = f"{path} is the model {package.ref.digest}, released was {digest}"
        help_ = "its files changed after they were verified: edge-runtime models pull fetches them anew"
        raise DataError("model.changed", message, help=help_)
    return LoadedModel(package, _compile(package, _choose(backend, package.backends), options), workers, started_ns)


def _check(options: EngineOptions, workers: int) -> None:
    if min(options.threads, options.streams, workers) < 1:
        found = f"{options.threads}, {options.streams} and {workers}"
        message = f"threads, streams and workers must be at least 1, got {found}"
        raise DataError("device.unknown", message, help="write whole numbers from 1")
    if options.device == "CPU" and options.streams > options.threads:
        message = f"{options.streams} streams cannot divide {options.threads} threads among them"
        raise DataError("device.streams", message, help="write at most as many streams as threads")


def _compile(package: Package, backend: str, options: EngineOptions) -> Model:
    """Return ``package``, or each step of it, compiled with ``backend``; see `load_engine`."""
    if package.chain:
        models = [_compile(one, backend, options) for one in package.chain]
        return ChainModel(models, package.steps, package.spec)
    spec = package.spec

    def make(input_: InputSpec) -> Engine:
        return make_engine(replace(package, spec=replace(spec, input=input_)), backend, options)

    if spec.input.fit == "fixed":
        return FixedModel(make(spec.input), spec)
    if spec.input.fit in CPU_ONLY and options.device != "CPU":
        message = f"{package.ref.name}: its input size is not stated, and {options.device} is too slow to change it"
        raise DataError("model.ambiguous", message, help='write "input": {"size": [736, 1312]} in edge-model.json')
    return FittedModel(make, spec)


def make_engine(package: Package, backend: str, options: EngineOptions) -> Engine:
    """Compile ``package``, which is no chain, for the input size of its spec; see `load_engine`."""
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
