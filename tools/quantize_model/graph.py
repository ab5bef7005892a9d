"""What has to be known of and done to an ONNX graph before and after it is quantized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
from onnx import numpy_helper, version_converter

from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPUTE: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
QUANTIZED: Final = ("QuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger")
_PER_CHANNEL_OPSET: Final = 13
"""From here on DequantizeLinear has an axis, https://github.com/onnx/onnx/blob/main/docs/Changelog.md."""


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether integers are computed with already."""
    return any(node.op_type in QUANTIZED for node in model.graph.node)


def make_static(model: onnx.ModelProto, name: str, shape: Sequence[int]) -> onnx.ModelProto:
    """Return the model for input ``name`` of exactly ``shape`` and an opset that can quantize per channel.

    Raises:
        DataError: the graph does not allow it, code ``quantize.unsupported``.
    """
    fixed = onnx.ModelProto.FromString(model.SerializeToString())
    (image,) = [one for one in fixed.graph.input if one.name == name]
    for axis, size in zip(image.type.tensor_type.shape.dim, shape, strict=True):
        axis.ClearField("dim_param")
        axis.dim_value = size
    del fixed.graph.value_info[:]
    version = next(one.version for one in fixed.opset_import if one.domain in ("", "ai.onnx"))
    if version < _PER_CHANNEL_OPSET:
        try:
            fixed = version_converter.convert_version(fixed, _PER_CHANNEL_OPSET)
        except RuntimeError as error:
            message = f"opset {version} cannot be raised to {_PER_CHANNEL_OPSET}: {str(error).splitlines()[0]}"
            help_ = "export the model with opset 13 or newer"
            raise DataError("quantize.unsupported", message, help=help_) from error
    return fixed


def tail(model: onnx.ModelProto, *, with_last: bool) -> list[onnx.NodeProto]:
    """Return the nodes behind the last convolutions and matrix products, ``with_last`` those themselves, too.

    What lies behind is the decoding of boxes and the softmax: nothing there gains by integers, and one scale for boxes
    up to 512 and scores up to 1 rounds every score to 0 or to a multiple of 2.
    """
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    leads_to_compute: dict[str, bool] = {}  # by first output; graphs are sorted, so what follows is known already
    for node in reversed(model.graph.node):
        following = [other for name in node.output for other in consumers.get(name, [])]
        leads_to_compute[node.output[0]] = any(
            other.op_type in COMPUTE or leads_to_compute[other.output[0]] for other in following
        )
    behind: set[str] = set()
    found = []
    for node in model.graph.node:
        is_last = node.op_type in COMPUTE and not leads_to_compute[node.output[0]]
        if is_last or behind.intersection(node.input):
            behind.update(node.output)
            if not is_last or with_last:
                found.append(node)
    return found


def first_compute(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the first convolution or matrix product: it sees the picture itself."""
    return [node for node in model.graph.node if node.op_type in COMPUTE][:1]


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own: quantizers are told by name what to leave alone."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)


def unquantize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a QDQ model as fp32: weights dequantized once and for all, activations no longer rounded.

    Raises:
        DataError: integers are computed with in another way than QuantizeLinear and DequantizeLinear, code
            ``quantize.unsupported``.
    """
    plain = onnx.ModelProto.FromString(model.SerializeToString())
    graph = plain.graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    renamed: dict[str, str] = {}  # output of a DequantizeLinear -> the float tensor it stands for
    rounded: dict[str, str] = {}  # output of a QuantizeLinear -> its input
    kept = []
    for node in graph.node:
        inputs = [renamed.get(name, name) for name in node.input]
        if node.op_type == "QuantizeLinear":
            rounded[node.output[0]] = inputs[0]
        elif node.op_type == "DequantizeLinear" and node.input[0] in constants:
            graph.initializer.append(_dequantized(node, constants))
        elif node.op_type == "DequantizeLinear":
            renamed[node.output[0]] = rounded[node.input[0]]
        elif node.op_type in QUANTIZED:
            help_ = "start from the fp32 model"
            raise DataError("quantize.unsupported", f"{node.op_type} cannot be made fp32 again", help=help_)
        else:
            node.input[:] = inputs
            kept.append(node)
    if outputs := {one.name for one in graph.output} & renamed.keys():
        kept += [onnx.helper.make_node("Identity", [renamed[name]], [name]) for name in sorted(outputs)]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    used = {name for node in kept for name in node.input}
    weights = [one for one in graph.initializer if one.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(weights)
    return plain


def _dequantized(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> onnx.TensorProto:
    """``(integers - zero point) * scale``, per tensor or along the node's axis; 1 is ONNX's default axis."""
    integers, scale = constants[node.input[0]].astype(np.float32), constants[node.input[1]]
    has_zero = len(node.input) > 2 and node.input[2]  # noqa: PLR2004 - integers, scale, zero point
    zero = constants[node.input[2]].astype(np.float32) if has_zero else np.zeros_like(scale)
    if scale.ndim:
        axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
        shape = [1] * integers.ndim
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return numpy_helper.from_array(((integers - zero) * scale).astype(np.float32), node.output[0])
