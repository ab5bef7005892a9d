"""OpenVINO: the only module that imports it. Preferred on Intel CPUs, and the only way to their GPUs and NPUs.

Conversion of colour, type, mean and scale is compiled into the graph, so a request's input is the uint8 canvas itself.
Own requests instead of ``AsyncInferQueue``, which is slower and known to hang (ultralytics#25923). CPU pinning is off:
with it, two models or processes of one thread each share one core (openvino#31186). The CPU computes in float32 even
where it could do bfloat16, so that a model judges alike on every box; a package asks for ``bf16`` by its precision.
"""

from __future__ import annotations

import functools
import io
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

# openvino forks a process at import that posts to an analytics service; this is the documented way around it
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # None = "not to be imported"

# ruff: noqa: E402 - the line above has to come first
import numpy as np
import openvino as ov  # type: ignore[import-untyped]  # ships no types
from openvino.preprocess import ColorFormat, PrePostProcessor  # type: ignore[import-untyped]  # ships no types

from edge_runtime.core.errors import DataError, InvariantError, UnavailableError
from edge_runtime.engine.base import RUN_TIMEOUT_S, DeviceFacts, EngineInfo, EngineOptions, TensorInfo, refuse_endless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.spec import InputSpec

_COMPUTE: Final = ("Convolution", "FullyConnected", "MatMul", "Deconvolution", "GroupConvolution", "GroupDeconvolution")
_SLICES_MERGED: Final = 3
_AXES_AT: Final = 4  # the last input of a slice
_TRY_OTHER: Final = "backend onnxruntime may read it; else export it again with constant folding and static shapes"
_DOCTOR: Final = "edge-runtime doctor says what it lacks"
_CAPABILITIES: Final = {"FP32": "fp32", "BF16": "bf16", "FP16": "fp16", "INT8": "int8"}
_HINTS: Final = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_PRECISIONS: Final = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}


@functools.cache
def _core() -> Any:  # noqa: ANN401 - openvino ships no types
    """Return the one Core of this process, which lives as long as it does.

    Each Core gives the thread that first uses its CPU plugin an alternate signal stack, and unmaps it when it goes. Two
    that go in the order of their making leave the thread with an unmapped one, where the next signal is a SIGSEGV.
    """
    return ov.Core()


def available_devices() -> tuple[DeviceFacts, ...]:
    """Return the devices OpenVINO sees on this box, `CPU` first when it is there."""
    core = _core()
    return tuple(
        DeviceFacts(
            device=device,
            name=str(core.get_property(device, "FULL_DEVICE_NAME")),
            precisions=tuple(
                ours
                for theirs, ours in _CAPABILITIES.items()
                if theirs in core.get_property(device, "OPTIMIZATION_CAPABILITIES")
            ),
        )
        for device in core.available_devices
    )


class OpenVinoEngine:
    """A model compiled by OpenVINO; an `engine.base.Engine`."""

    def __init__(
        self, model: bytes, weights: bytes, spec: InputSpec, precision: str | None, options: EngineOptions
    ) -> None:
        """Compile ``model`` (ONNX, or the XML of an IR with its ``weights``), which takes up to minutes.

        Raises:
            UnavailableError: the device is not on this box, or another one would run it; code ``device.missing``.
            DataError: OpenVINO cannot read or compile the model, code ``model.unreadable`` or ``model.not_compiled``;
                or the model needs what the device cannot do, ``model.open_shape`` or ``device.streams``.
        """
        core = _core()
        if options.device not in core.available_devices and f"{options.device}.0" not in core.available_devices:
            found = ", ".join(core.available_devices)
            message = f"device {options.device} is not on this box, OpenVINO has: {found}"
            raise UnavailableError("device.missing", message, help=f"{_DOCTOR}; or use device: cpu")
        refuse_streams(options)
        try:
            network = core.read_model(io.BytesIO(model), io.BytesIO(weights)) if weights else core.read_model(model)
            names = [_name(port) for port in network.outputs]
            network = _with_preprocessing(network, spec)
            _gather_slices(network)
        except RuntimeError as error:
            raise DataError(
                "model.unreadable", f"openvino cannot read the model: {reason(error)}", help=_TRY_OTHER
            ) from error
        if _kind(options.device) == "NPU":
            refuse_open_shapes(network)
        try:
            self._compiled = core.compile_model(network, options.device, _properties(options, precision))
        except RuntimeError as error:
            message = f"openvino cannot compile the model for {options.device}: {reason(error)}"
            raise DataError("model.not_compiled", message, help=_TRY_OTHER) from error
        self._spec = spec
        self.info = _info(self._compiled, names, options)
        refuse_other_device(options.device, self.info.device)

    def open_request(self) -> OpenVinoRequest:
        """See `engine.base.Engine`."""
        return OpenVinoRequest(self._compiled, self._spec)

    def close(self) -> None:
        """See `engine.base.Engine`; requests that are still open keep the model alive."""
        self._compiled = None


class OpenVinoRequest:
    """One inference request with its tensors bound once, all but outputs of open shape; an `engine.base.Request`."""

    def __init__(self, compiled: Any, spec: InputSpec) -> None:  # noqa: ANN401 - openvino ships no types
        """Bind the canvas as the input."""
        self._request = compiled.create_infer_request()
        # OpenVINO answers for the previous frame when an input was not set: ours is set here and never replaced
        self._input = np.zeros((1, *spec.size, spec.channels), np.uint8)
        self._request.set_input_tensor(ov.Tensor(self._input, shared_memory=True))
        # what has one shape is bound once; the memory of the others moves when they grow, so they are asked for again
        is_open = [port.get_partial_shape().is_dynamic for port in compiled.outputs]
        self._outputs = [None if moves else self._output(i) for i, moves in enumerate(is_open)]
        self._fresh = False

    def canvas(self) -> NDArray[np.uint8]:
        """See `engine.base.Request`."""
        self._fresh = True
        canvas: NDArray[np.uint8] = self._input[0]
        return canvas

    def infer(self) -> Sequence[NDArray[np.float32]]:
        """See `engine.base.Request`."""
        if not self._fresh:
            raise InvariantError("engine.stale_input", "infer() without a new frame in canvas()")
        self._fresh = False
        self.infer_bare()
        return [self._output(i) if bound is None else bound for i, bound in enumerate(self._outputs)]

    def _output(self, index: int) -> NDArray[np.float32]:
        data: NDArray[np.float32] = self._request.get_output_tensor(index).data
        return data

    def infer_bare(self) -> None:
        """See `engine.base.Request`."""
        try:
            self._request.start_async()
            done = self._request.wait_for(round(RUN_TIMEOUT_S * 1000))
        except RuntimeError as error:
            raise DataError("model.run_failed", f"openvino: {reason(error)}", help="load the model again") from error
        if not done:
            self._request.cancel()
            refuse_endless("openvino")


def refuse_streams(options: EngineOptions) -> None:
    """Refuse several streams for the NPU, which has one and queues what it is given.

    Raises:
        DataError: code ``device.streams``.
    """
    if _kind(options.device) == "NPU" and options.streams > 1:
        message = f"the NPU runs one frame at a time, streams is {options.streams}"
        raise DataError("device.streams", message, help="write streams: 1")


def refuse_open_shapes(network: Any) -> None:  # noqa: ANN401 - openvino ships no types
    """Refuse a network of which a size is known only when it runs: the compiler of the NPU takes none.

    Raises:
        DataError: code ``model.open_shape``.
    """
    ports = [*network.inputs, *network.outputs]
    named = [f"{_name(port)} {port.get_partial_shape().to_string()}" for port in ports if port.partial_shape.is_dynamic]
    if not named and not network.is_dynamic():
        return
    message = f"the NPU takes no sizes that change: {', '.join(named) or 'inside the model'}"
    way_out = 'write "input": {"size": [height, width]} in edge-model.json, and export it with batch 1 and without NMS'
    raise DataError("model.open_shape", message, help=f"{way_out}; or use device: cpu")


def refuse_other_device(asked: str, executes: str) -> None:
    """Refuse a compiled model that executes elsewhere than was asked for: there is no silent fallback.

    Args:
        asked: `CPU`, `GPU` (any), `GPU.1`, `NPU`.
        executes: what the compiled model says, several joined by commas.

    Raises:
        UnavailableError: code ``device.missing``.
    """
    if all(one in (asked, f"{asked}.0") for one in executes.split(",")):
        return
    message = f"device {asked} was asked for, OpenVINO would run the model on {executes}"
    raise UnavailableError("device.missing", message, help=f"{_DOCTOR}; or ask for what is there")


def _kind(device: str) -> str:
    return device.partition(".")[0]


def _with_preprocessing(network: Any, spec: InputSpec) -> Any:  # noqa: ANN401 - openvino ships no types
    network.reshape({spec.name: list(spec.shape)})
    steps = PrePostProcessor(network)
    port = steps.input(spec.name)
    port.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    port.model().set_layout(ov.Layout(spec.layout))
    if spec.channels > 1:
        port.tensor().set_color_format(ColorFormat.BGR)
    if spec.color == "RGB":
        port.preprocess().convert_color(ColorFormat.RGB)
    if not spec.is_raw:
        port.preprocess().convert_element_type(ov.Type.f32)
    if any(spec.pixel_mean):
        port.preprocess().mean(list(spec.pixel_mean))
    if set(spec.pixel_std) != {1.0}:
        port.preprocess().scale(list(spec.pixel_std))
    for index, output in enumerate(network.outputs):
        if output.get_element_type() in (ov.Type.f16, ov.Type.bf16, ov.Type.f64):
            steps.output(index).tensor().set_element_type(ov.Type.f32)
    return steps.build()


def _gather_slices(network: Any) -> None:  # noqa: ANN401 - openvino ships no types
    """Replace slices of which one tensor has three or more by operators that pick the same elements.

    The compiler of OpenVINO 2026.4 merges such slices and takes one of them for the whole tensor, so that the finished
    heads of YOLO26 for keypoints, masks and turned boxes do not compile.
    """
    for node in network.get_ordered_ops():
        if node.get_type_name() != "Slice":
            continue
        source = node.input(0).get_source_output()
        siblings = [one for one in source.get_target_inputs() if one.get_node().get_type_name() == "Slice"]
        whole, part = source.get_partial_shape(), node.get_output_partial_shape(0)
        is_open = whole.is_dynamic or part.is_dynamic
        if is_open or len(siblings) < _SLICES_MERGED or len(node.inputs()) <= _AXES_AT:
            continue
        begin, end, axis = (_whole_number(node.input(i)) for i in (1, 2, _AXES_AT))
        if begin is None or end is None or axis is None:
            continue
        size, count = whole[axis].get_length(), part[axis].get_length()
        first = begin + size if begin < 0 else begin
        last = min(end + size if end < 0 else end, size)
        if count == last - first:  # every element between the two
            picked = ov.opset8.gather(source, ov.opset8.constant(np.arange(first, last)), ov.opset8.constant(axis))
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(picked.output(0))


def _whole_number(port: Any) -> int | None:  # noqa: ANN401 - openvino ships no types
    """Return the one number that an input is fixed to, or ``None``."""
    node = port.get_source_output().get_node()
    if node.get_type_name() != "Constant" or node.data.size != 1:
        return None
    return int(node.data.item())


def _properties(options: EngineOptions, precision: str | None) -> dict[str, object]:
    properties: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if options.device == "CPU":
        properties["INFERENCE_NUM_THREADS"] = options.threads
        properties["ENABLE_CPU_PINNING"] = False
        properties["INFERENCE_PRECISION_HINT"] = "bf16" if precision == "bf16" else "f32"
    if _kind(options.device) != "NPU":  # it has one, and no such property
        properties["NUM_STREAMS"] = options.streams
    if options.precision is not None:
        properties["INFERENCE_PRECISION_HINT"] = _HINTS[options.precision]
    if options.cache_dir is not None:
        properties["CACHE_DIR"] = options.cache_dir
    return properties


def _info(compiled: Any, names: list[str], options: EngineOptions) -> EngineInfo:  # noqa: ANN401 - openvino ships no types
    counts: Counter[str] = Counter()
    for operation in compiled.get_runtime_model().get_ops():
        facts = operation.get_rt_info()
        if "layerType" in facts and facts["layerType"].astype(str) in _COMPUTE:  # the NPU tells nothing of its layers
            counts[facts["runtimePrecision"].astype(str)] += 1
    hint = "INFERENCE_PRECISION_HINT"
    told = hint in compiled.get_property("SUPPORTED_PROPERTIES")
    stated = compiled.get_property(hint).get_type_name() if told else "unknown"
    used = counts.most_common(1)[0][0] if counts else stated
    notes: tuple[str, ...] = ()
    if not counts and options.device != "CPU":
        notes = (f"{options.device} does not tell what its layers compute in; {stated} is what it was told",)
    if len(counts) > 1:
        notes = (
            "compute layers by precision: "
            + ", ".join(f"{n} {_PRECISIONS.get(p, p)}" for p, n in counts.most_common()),
        )
    return EngineInfo(
        backend="openvino",
        backend_version=ov.get_version(),
        device=",".join(compiled.get_property("EXECUTION_DEVICES")),
        precision=_PRECISIONS.get(used, used),
        threads=int(compiled.get_property("INFERENCE_NUM_THREADS")) if options.device == "CPU" else 0,
        streams=1 if _kind(options.device) == "NPU" else int(compiled.get_property("NUM_STREAMS")),
        # names of the file: compiling gives a tensor those of operators that it removed, too
        outputs=tuple(
            TensorInfo(name, port.get_element_type().to_dtype().name, _shape(port), frozenset(port.get_names()))
            for name, port in zip(names, compiled.outputs, strict=True)
        ),
        notes=notes,
    )


def _shape(port: Any) -> tuple[int | None, ...] | None:  # noqa: ANN401 - openvino ships no types
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return None
    return tuple(axis.get_length() if axis.is_static else None for axis in shape)


def _name(port: Any) -> str:  # noqa: ANN401 - openvino ships no types
    return str(min(port.get_names(), default=port.get_node().get_friendly_name()))


def reason(error: Exception) -> str:
    """Return what OpenVINO's exception says about the model, without its own source files."""
    text = str(error)
    missing = re.search(r"No conversion rule found for operations: (.+)", text)
    if missing:
        return f"no conversion for the operators {missing[1]}"
    memory = re.search(r"Failed to allocate \d+ bytes|std::bad_alloc", text)
    if memory:
        return f"it needs more memory than there is: {memory[0]}"
    operator = re.search(r"-- (\w+)-\d+ with a message", text)
    check = re.search(r"Check '(?!false')(.+?)' failed", text)
    if check:
        return f"{operator[1]}: {check[1]} does not hold" if operator else f"{check[1]} does not hold"
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Exception from")]
    return (lines or [type(error).__name__])[0][:300]
