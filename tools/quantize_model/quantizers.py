"""The two quantizers: ONNX Runtime's static quantization and NNCF's post-training quantization."""

# ruff: noqa: PLC0415
# each quantizer is imported by the recipe that wants it: NNCF takes seconds and need not be installed for `ort`

from __future__ import annotations

import logging
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnx

from edge_runtime.core.errors import DataError, EdgeError, UnavailableError
from quantize_model.graph import first_compute, name_nodes, tail, unbounded
from quantize_model.pictures import TensorMaker

# both libraries report their use to their makers unless they are kept from it before they are imported
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # None = "not to be imported"

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.engine.spec import InputSpec
    from quantize_model.recipe import Recipe

_PERCENTILE: Final = 99.99
_NO_GAIN: Final = ("Softmax", "Sigmoid", "ArgMax", "TopK", "Where", "CumSum")
"""Operators that ONNX Runtime could quantize, where rounding costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is quantized with what.

    Attributes:
        model: fp32, static shape.
        spec: how a picture becomes its input.
        frames: calibration pictures.
        reduce_range: whether weights spare a bit, see `cpu.needs_reduced_range`.
    """

    model: onnx.ModelProto
    spec: InputSpec
    frames: Sequence[Path]
    reduce_range: bool


def is_transformer(model: onnx.ModelProto) -> bool:
    """Whether products of two activations follow a softmax: attention."""
    constants = {one.name for one in model.graph.initializer}
    products = [n for n in model.graph.node if n.op_type == "MatMul" and not constants.intersection(n.input)]
    return len(products) > 1 and any(node.op_type == "Softmax" for node in model.graph.node)


def require(methods: Iterable[str]) -> None:
    """Raise when a method needs a package that is not installed.

    Raises:
        UnavailableError: code ``quantize.no_quantizer``.
    """
    for method in methods:
        missing = [one for one in (["nncf", "openvino"] if method.startswith("nncf") else []) if find_spec(one) is None]
        if missing:
            message = f"method {method} needs {' and '.join(missing)}, which is not installed"
            raise UnavailableError("quantize.no_quantizer", message, help='pip install "nncf>=3.4", or --method ort')


def quantize(job: Job, recipe: Recipe, target: Path) -> list[Path]:
    """Write the INT8 form of ``job.model``.

    Args:
        job: what to quantize.
        recipe: how.
        target: path without suffix.

    Returns:
        The files: the `.onnx`, or the `.xml` and its `.bin`.

    Raises:
        DataError: a calibration picture cannot be read, or the quantizer fails (code ``quantize.failed``).
    """
    model = onnx.ModelProto.FromString(job.model.SerializeToString())
    try:
        if recipe.method == "ort":
            return [_by_onnxruntime(model, job, recipe, target.with_suffix(".onnx"))]
        return _by_nncf(model, job, recipe, target)
    except EdgeError:
        raise
    except Exception as error:  # what quantizers raise about the graphs of strangers is not written down anywhere
        first = next(iter(str(error).strip().splitlines()), "")[:300]
        message = f"{recipe.method} failed: {type(error).__name__}: {first}"
        raise DataError("quantize.failed", message, help="try another --method") from error


def _in_float(model: onnx.ModelProto, recipe: Recipe) -> list[onnx.NodeProto]:
    nodes = tail(model, with_last=recipe.head_in_float) + unbounded(model)
    return nodes + (first_compute(model) if recipe.first_in_float else [])


def _by_onnxruntime(model: onnx.ModelProto, job: Job, recipe: Recipe, target: Path) -> Path:
    """QDQ with U8 activations and S8 weights: S8S8 is up to four times slower than fp32 without VNNI."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
    from onnxruntime.quantization.shape_inference import quant_pre_process

    options: dict[str, Any] = {"ActivationSymmetric": False, "WeightSymmetric": True}
    if recipe.ranges == "percentile":
        options["CalibPercentile"] = _PERCENTILE
    # a ReLU that is not quantized keeps its convolution's result from being fused with it: 1.2 times the time
    operators = sorted((QDQRegistry.keys() | QLinearOpsRegistry.keys()) - set(_NO_GAIN))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, prepared = Path(folder, "source.onnx"), Path(folder, "prepared.onnx")
        onnx.save(model, source)
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        ready = onnx.load(prepared)
        name_nodes(ready)
        onnx.save(ready, prepared)
        quantize_static(
            str(prepared),
            str(target),
            _reader(job),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=operators,
            per_channel=True,
            reduce_range=job.reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for node in _in_float(ready, recipe)],
            calibrate_method=getattr(CalibrationMethod, "Percentile" if recipe.ranges == "percentile" else "MinMax"),
            extra_options=options,
        )
    _finish(target, model)
    return target


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizer, which logs to the root, from advising to do what is done here."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


def _reader(job: Job) -> Any:  # noqa: ANN401 - onnxruntime ships no types
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        """Feeds the frames one at a time."""

        def __init__(self) -> None:
            self._tensors: Iterator[NDArray[np.generic]] = map(TensorMaker(job.spec), job.frames)

        def get_next(self) -> dict[str, NDArray[np.generic]] | None:
            """The next input, or None at the end."""
            tensor = next(self._tensors, None)
            return None if tensor is None else {job.spec.name: tensor}

    return Reader()


def _by_nncf(model: onnx.ModelProto, job: Job, recipe: Recipe, target: Path) -> list[Path]:
    """NNCF's post-training quantization, of the ONNX graph or of OpenVINO's reading of it."""
    import nncf
    import openvino as ov
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    name_nodes(model)
    kept = _in_float(model, recipe)
    ranges = RangeEstimatorParametersSet
    advanced = AdvancedQuantizationParameters(
        overflow_fix=OverflowFix.ENABLE if job.reduce_range else OverflowFix.DISABLE,
        activations_range_estimator_params=ranges.MEAN_QUANTILE if recipe.ranges == "percentile" else ranges.MINMAX,
        smooth_quant_alphas=AdvancedSmoothQuantParameters() if recipe.smooth else AdvancedSmoothQuantParameters(-1, -1),
    )
    make = TensorMaker(job.spec)
    is_ir = recipe.method == "nncf-ir"
    # the IR's nodes have the names of the ONNX nodes, or of their outputs where a node became several
    names = [one.name for one in kept] + ([name for one in kept for name in one.output] if is_ir else [])
    quantized = nncf.quantize(
        ov.Core().read_model(model.SerializeToString()) if is_ir else model,
        nncf.Dataset(job.frames, lambda path: {job.spec.name: make(path)}),
        # asymmetric U8 for activations below zero, too: S8 is slow without VNNI
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(job.frames),
        fast_bias_correction=not recipe.careful_bias,
        model_type=nncf.ModelType.TRANSFORMER if is_transformer(model) else None,
        ignored_scope=nncf.IgnoredScope(names=names, validate=False),
        advanced_parameters=advanced,
    )
    if is_ir:
        ov.save_model(quantized, target.with_suffix(".xml"), compress_to_fp16=False)
        return [target.with_suffix(".xml"), target.with_suffix(".bin")]
    onnx.save(quantized, target.with_suffix(".onnx"))
    _finish(target.with_suffix(".onnx"), model)
    return [target.with_suffix(".onnx")]


def _finish(target: Path, source: onnx.ModelProto) -> None:
    """Put back what the model said about itself, and check what was written."""
    made = onnx.load(target)
    known = {one.key for one in made.metadata_props}
    made.metadata_props.extend(one for one in source.metadata_props if one.key not in known)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, target)
