"""From a trained network to ONNX, and from ONNX to INT8."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from surface_defects.dataset import INPUT_SIZE, Dataset
from surface_defects.engines import INPUT_NAME, OUTPUT_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from surface_defects.network import Detector

_OPSET: Final = 17
_HEAD_OUTPUTS: Final = ("box.1", "score.1")
_QUANTIZED_OPERATORS: Final = ("Conv", "Add", "Concat", "Resize")


def export_float(network: Detector, target: Path) -> None:
    """Write the network as fp32 ONNX with a static input of one image."""
    network.eval()
    example = torch.zeros(1, 3, *INPUT_SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (example,),
            str(target),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=_OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(str(target), full_check=True)


def to_tensor(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 RGB at the network's size to (1, 3, H, W) float32, pixel / 255."""
    return np.ascontiguousarray((image.astype(np.float32) * np.float32(1 / 255)).transpose(2, 0, 1)[None])


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
    """Feeds the calibration images to the quantizer, one at a time."""

    def __init__(self, data: Dataset) -> None:
        self._feeds: Iterator[dict[str, NDArray[np.float32]]] = iter({INPUT_NAME: to_tensor(i)} for i in data.images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input, or None at the end."""
        return next(self._feeds, None)


def _float_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the last convolutions and of everything behind them.

    Boxes reach 512 and scores stop at 1. One scale for both would round every score to 0 or to a multiple of 2, so
    nothing from the last convolution on is quantized.
    """
    behind: set[str] = set()
    names: list[str] = []
    for node in model.graph.node:
        is_last = node.op_type == "Conv" and any(part in node.name.replace("/", ".") for part in _HEAD_OUTPUTS)
        if is_last or behind.intersection(node.input):
            behind.update(node.output)
            names.append(node.name)
    return names


def quantize(source: Path, target: Path, data: Dataset, *, reduce_range: bool = True) -> list[str]:
    """Write the INT8 form of an fp32 model: QDQ, U8 activations, S8 weights per channel with one bit spared.

    The spared bit (`reduce_range`) is what makes the answer independent of the CPU. Without VNNI, kernels add two
    products of U8 and S8 in 16 bits with saturation: 2 x 255 x 127 = 64770 overflows 32767, 2 x 255 x 64 = 32640 does
    not.

    Args:
        source: The fp32 model.
        target: The file to write.
        data: Images that show the ranges of all tensors.
        reduce_range: Whether weights have 7 bits; False only for the control of the emulation.

    Returns:
        Names of the nodes that stay in float.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        kept = _float_nodes(onnx.load(str(prepared)))
        options: dict[str, Any] = {"ActivationSymmetric": False, "WeightSymmetric": True}
        quantize_static(
            str(prepared),
            str(target),
            _Calibration(data),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED_OPERATORS),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=options,
        )
    onnx.checker.check_model(str(target), full_check=True)
    return kept
