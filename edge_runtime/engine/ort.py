"""ONNX Runtime on the CPU: the only module that imports it. The fallback where OpenVINO is not installed.

Its workers spin for 100 ms after a run unless told not to, which slows every other model of the box (1.8 times
measured). At most ``streams`` runs of a model go on at a time, each on its part of the cores: more would take cores
that belong to others.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, Self

# version 1.29 and later write a device id and resolve names of a telemetry service unless told not to before import
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]  # ships no types
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # type: ignore[import-untyped]  # ships no types

from edge_runtime.core.errors import DataError, InvariantError, UnavailableError
from edge_runtime.engine.base import RUN_TIMEOUT_S, DeviceFacts, EngineInfo, EngineOptions, TensorInfo, refuse_endless
from edge_runtime.engine.gates.onnxgate import OWN_DOMAINS, inspect_onnx
from edge_runtime.engine.preprocess import TensorWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.spec import InputSpec

_FLOAT: Final = ("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")
_INTEGER: Final = (
    *("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat"),
    *("DynamicQuantizeMatMul", "QAttention"),
)
_ERRORS: Final = (
    *(ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.InvalidGraph, ort_errors.InvalidProtobuf),
    *(ort_errors.NotImplemented, ort_errors.RuntimeException, ort_errors.NoModel, ort_errors.EngineError),
)
_OTHER_FLOATS: Final = (np.float16, np.float64)
_FATAL = 4


def available_devices() -> tuple[DeviceFacts, ...]:
    """Return the devices we run ONNX Runtime on."""
    return (DeviceFacts("CPU", "", ("fp32", "int8")),)


class OrtEngine:
    """A session of ONNX Runtime; an `engine.base.Engine`."""

    def __init__(self, model: bytes, spec: InputSpec, options: EngineOptions) -> None:
        """Make a session from the bytes of an ONNX file.

        Raises:
            UnavailableError: another device than the CPU was asked for, code ``device.missing``.
            DataError: ONNX Runtime cannot load the model, code ``model.not_compiled``, or run it, ``model.run_failed``.
        """
        if options.device != "CPU":
            message = f"device {options.device} is not available with onnxruntime, it has: CPU"
            raise UnavailableError("device.missing", message, help="use backend openvino for GPU and NPU")
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = max(1, options.threads // options.streams)
        settings.inter_op_num_threads = 1
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.log_severity_level = _FATAL  # what matters is raised
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            with _Capture() as capture:
                settings.optimized_model_filepath = capture.path
                self._session = ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
                optimized = capture.read()
        except _ERRORS as error:
            message = f"onnxruntime cannot load the model: {reason(error)}"
            raise DataError(
                "model.not_compiled", message, help="export the model again, or use backend openvino"
            ) from error
        self._spec = spec
        self._running = threading.BoundedSemaphore(options.streams)  # guards the cores this model was given
        self.info = self._facts(optimized, options)

    def open_request(self) -> OrtRequest:
        """See `engine.base.Engine`."""
        return OrtRequest(self._session, self._running, self._spec)

    def close(self) -> None:
        """See `engine.base.Engine`; requests that are still open keep the session alive."""
        del self._session

    def _facts(self, optimized: bytes, options: EngineOptions) -> EngineInfo:
        graph = inspect_onnx(optimized, "optimized graph", OWN_DOMAINS)
        integer = sum(graph.operators[one] for one in _INTEGER)
        floating = sum(graph.operators[one] for one in _FLOAT)
        wide = "fp16" if graph.weight_types["float16"] > graph.weight_types["float32"] else "fp32"
        notes = (f"compute layers by precision: {integer} int8, {floating} {wide}",) if integer and floating else ()
        probe = _run_bounded(self._session, {self._spec.name: np.zeros(self._spec.shape, self._spec.dtype)})
        return EngineInfo(
            backend="onnxruntime",
            backend_version=ort.__version__,
            device=self._session.get_providers()[0].removesuffix("ExecutionProvider"),
            precision="int8" if integer > floating else wide,
            threads=self._session.get_session_options().intra_op_num_threads * options.streams,
            streams=options.streams,
            # shapes of a real answer: the file may leave them open
            outputs=tuple(
                TensorInfo(output.name, array.dtype.name, array.shape)
                for output, array in zip(self._session.get_outputs(), probe, strict=True)
            ),
            notes=notes,
        )


class OrtRequest:
    """A canvas, a tensor and the session shared with the other requests; an `engine.base.Request`."""

    def __init__(self, session: ort.InferenceSession, running: threading.Semaphore, spec: InputSpec) -> None:
        """Allocate the canvas and the tensor."""
        self._session = session
        self._running = running
        self._canvas = np.zeros((*spec.size, spec.channels), np.uint8)
        self._writer = TensorWriter(spec)
        self._feed = {spec.name: self._writer.tensor}
        self._fresh = False

    def canvas(self) -> NDArray[np.uint8]:
        """See `engine.base.Request`."""
        self._fresh = True
        return self._canvas

    def infer(self) -> Sequence[NDArray[np.float32]]:
        """See `engine.base.Request`."""
        if not self._fresh:
            raise InvariantError("engine.stale_input", "infer() without a new frame in canvas()")
        self._fresh = False
        self._writer.write(self._canvas)
        return self._run()

    def infer_bare(self) -> None:
        """See `engine.base.Request`."""
        self._run()

    def _run(self) -> Sequence[NDArray[np.float32]]:
        with self._running:
            return _run(self._session, self._feed)


def _run(
    session: ort.InferenceSession, feed: Mapping[str, NDArray[np.generic]], options: ort.RunOptions | None = None
) -> list[NDArray[np.float32]]:
    """Run the model; what it answers in another precision becomes float32, as in OpenVINO.

    numpy counts in the type it is given: the area of a box of 256 x 256 pixels is infinite in float16.

    Raises:
        DataError: code ``model.run_failed``.
    """
    try:
        outputs: list[NDArray[np.float32]] = session.run(None, feed, options)
    except _ERRORS as error:
        raise DataError("model.run_failed", f"onnxruntime: {reason(error)}", help="load the model again") from error
    return [one.astype(np.float32, copy=False) if one.dtype in _OTHER_FLOATS else one for one in outputs]


def _run_bounded(session: ort.InferenceSession, feed: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
    """Run the model for the first time: one that never ends would hold the loader up until the process is replaced.

    Raises:
        DataError: code ``model.run_failed``, also when it takes longer than `RUN_TIMEOUT_S`.
    """
    options = ort.RunOptions()
    timer = threading.Timer(RUN_TIMEOUT_S, setattr, (options, "terminate", True))
    timer.name = "engine/first-run"
    timer.start()
    try:
        return _run(session, feed, options)
    except DataError as error:
        if options.terminate:
            refuse_endless("onnxruntime", error)
        raise
    finally:
        timer.cancel()
        timer.join()


class _Capture:
    """A file without a name that ONNX Runtime writes the graph to which it really runs."""

    def __enter__(self) -> Self:
        self._fd = os.memfd_create("optimized-graph", os.MFD_CLOEXEC)
        self.path = f"/proc/self/fd/{self._fd}"
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read(self) -> bytes:
        return os.pread(self._fd, os.fstat(self._fd).st_size, 0)


def reason(error: Exception) -> str:
    """Return what ONNX Runtime's exception says, without its error code and source files."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text.rpartition("] : ")[2][:300]
