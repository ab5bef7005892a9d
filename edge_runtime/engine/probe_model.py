"""The smallest model that tells whether a device computes, and computes right: written byte by byte, no package needed.

One convolution whose answer is the mean of the colours around a pixel, so that on an even picture every number of the
answer is that of the picture. Its quantized form has QuantizeLinear and DequantizeLinear around the same convolution,
which engines fuse into one of integers. Field numbers: onnx/onnx.proto3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.engine.spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SIDE: Final = 32
CHANNELS: Final = 8
GREY: Final = 100
"""The picture to show it: every answer is then GREY / 255."""
TOLERANCE: Final = 0.02
"""Of the answer: bfloat16 has 8 bits, and integers a scale of 1/255."""
_TAPS: Final = 27  # of the kernel: 3 colours, 3 x 3
_OPSET, _IR_VERSION = 13, 8
_TYPES: Final = {"float32": 1, "uint8": 2, "int8": 3}
_ATTRIBUTE_INTS = 7

SPEC: Final = InputSpec(
    name="x",
    dtype="float32",
    layout="NCHW",
    color="RGB",
    size=(SIDE, SIDE),
    resize="stretch",
    interpolation="linear",
    crop=1.0,
    mean=(0.0,),
    std=(1.0,),
    scale=255.0,
    pad=114,
)


def probe_model(*, quantized: bool) -> bytes:
    """Return the ONNX file: `x` float32 [1,3,32,32] to `y` float32 [1,8,30,30]."""
    kernel = np.full((CHANNELS, 3, 3, 3), 1 / _TAPS, np.float32)
    shape = _varint_field(8, 3) + _varint_field(8, 3)
    convolution = _bytes(5, _bytes(1, b"kernel_shape") + shape + _varint_field(20, _ATTRIBUTE_INTS))
    if not quantized:
        nodes = [_node("Conv", ("x", "kernel"), "y", convolution)]
        tensors = {"kernel": kernel}
    else:
        nodes = [
            _node("QuantizeLinear", ("x", "scale", "zero"), "xq"),
            _node("DequantizeLinear", ("xq", "scale", "zero"), "xd"),
            _node("DequantizeLinear", ("kernel", "kernel_scale", "kernel_zero"), "kd"),
            _node("Conv", ("xd", "kd"), "c", convolution),
            _node("QuantizeLinear", ("c", "scale", "zero"), "yq"),
            _node("DequantizeLinear", ("yq", "scale", "zero"), "y"),
        ]
        tensors = {
            "scale": np.array(1 / 255, np.float32),
            "zero": np.array(0, np.uint8),
            "kernel": np.full(kernel.shape, 60, np.int8),  # of 127: room for engines that add pairs in 16 bits
            "kernel_scale": np.array(1 / (60 * _TAPS), np.float32),
            "kernel_zero": np.array(0, np.int8),
        }
    graph = b"".join(
        (
            *(_bytes(1, node) for node in nodes),
            _bytes(2, b"g"),
            *(_bytes(5, _tensor(name, array)) for name, array in tensors.items()),
            _bytes(11, _value("x", (1, 3, SIDE, SIDE))),
            _bytes(12, _value("y", (1, CHANNELS, SIDE - 2, SIDE - 2))),
        )
    )
    return _varint_field(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _varint_field(2, _OPSET))


def is_right(answer: NDArray[np.float32]) -> bool:
    """Tell whether ``answer`` is that to an even picture of `GREY`."""
    expected = GREY / 255
    return answer.shape == (1, CHANNELS, SIDE - 2, SIDE - 2) and bool(
        (np.abs(answer - expected) <= TOLERANCE * expected).all()
    )


def _node(operator: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
    names = b"".join(_bytes(1, one.encode()) for one in inputs)
    return names + _bytes(2, output.encode()) + _bytes(4, operator.encode()) + attributes


def _tensor(name: str, array: NDArray[np.generic]) -> bytes:
    sides = b"".join(_varint_field(1, side) for side in array.shape)
    kind = _varint_field(2, _TYPES[array.dtype.name])
    return sides + kind + _bytes(8, name.encode()) + _bytes(9, array.tobytes())


def _value(name: str, shape: Sequence[int]) -> bytes:
    sides = b"".join(_bytes(1, _varint_field(1, side)) for side in shape)
    kind = _bytes(1, _varint_field(1, _TYPES["float32"]) + _bytes(2, sides))
    return _bytes(1, name.encode()) + _bytes(2, kind)


def _bytes(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
