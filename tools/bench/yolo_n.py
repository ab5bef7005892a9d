"""Make a detector as large as a YOLO of size n at 640 x 640, in INT8: for measuring, it has learnt nothing.

    python tools/bench/yolo_n.py FOLDER [--fp32]

writes a package directory. Widths, depths and the output [1, 84, 8400] are those of the n-sized YOLO of 2023 (3 million
weights, 8.7 GFLOP): a stem, four stages of split blocks, pooling at the end, a pyramid down and up again, and for each
of three strides a box branch of 16 bins a side and a class branch of 80. Weights are random from a seed; what it says
about a picture means nothing, and thresholds.score is set so that it sees about twenty things on the picture of bench.
Quantized with ONNX Runtime (QDQ, unsigned activations, signed weights per channel), which OpenVINO reads too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edge_runtime.engine import bench
from edge_runtime.engine.loader import load_engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE, LABELS, BINS = 640, 80, 16
WIDTHS = (16, 32, 64, 128, 256)
STRIDES = (8, 16, 32)
THINGS = 24  # that it sees on the picture of bench
FRAME = (1920, 1080)
GAIN = 1.6  # of the weights: signals neither vanish nor grow from layer to layer (He initialisation: root of 2)
HEAD_NODES = 14  # behind the last convolutions
CALIBRATION = 4  # pictures
TILE = 40  # pixels


class Graph:
    """Nodes and weights, and names for what is between them."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._lot = np.random.default_rng(seed)

    def constant(self, array: NDArray[np.generic]) -> str:
        """Add a weight."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:  # noqa: ANN401 - one name or several
        """Add a node and return the name of its output, or the names."""
        names = [f"t{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, names[0], **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x: str, inside: int, out: int, *, side: int = 1, stride: int = 1, unit: bool = True) -> str:
        """Add a convolution and, with ``unit``, x * sigmoid(x) behind it."""
        spread = GAIN / np.sqrt(inside * side * side)
        kernel = self.constant(self._lot.normal(0, spread, (out, inside, side, side)).astype(np.float32))
        bias = self.constant(self._lot.normal(0, 0.1, out).astype(np.float32))
        edges = {"pads": [side // 2] * 4, "strides": [stride, stride], "kernel_shape": [side, side]}
        y: str = self.node("Conv", x, kernel, bias, **edges)
        return str(self.node("Mul", y, self.node("Sigmoid", y))) if unit else y

    def split_block(self, x: str, inside: int, out: int, depth: int, *, add: bool) -> str:
        """Half of the channels go through ``depth`` pairs of convolutions; everything on the way is joined."""
        half = out // 2
        first, last = self.node("Split", self.conv(x, inside, out), outputs=2, axis=1)
        parts = [first, last]
        for _ in range(depth):
            y = self.conv(self.conv(last, half, half, side=3), half, half, side=3)
            last = self.node("Add", last, y) if add else y
            parts.append(last)
        return self.conv(self.node("Concat", *parts, axis=1), half * len(parts), out)

    def pooling(self, x: str, width: int) -> str:
        """Join what three poolings in a row see."""
        parts = [self.conv(x, width, width // 2)]
        for _ in range(3):
            parts.append(self.node("MaxPool", parts[-1], kernel_shape=[5, 5], pads=[2] * 4))
        return self.conv(self.node("Concat", *parts, axis=1), 2 * width, width)

    def larger(self, x: str) -> str:
        """Twice the size."""
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return str(self.node("Resize", x, "", scales, mode="nearest", nearest_mode="floor"))


def build(seed: int = 0) -> onnx.ModelProto:
    """Return the model: `images` float32 [1,3,640,640] to `output0` float32 [1,84,8400]."""
    graph = Graph(seed)
    w0, w1, w2, w3, w4 = WIDTHS
    x = graph.conv(graph.conv("images", 3, w0, side=3, stride=2), w0, w1, side=3, stride=2)
    x = graph.conv(graph.split_block(x, w1, w1, 1, add=True), w1, w2, side=3, stride=2)
    small = graph.split_block(x, w2, w2, 2, add=True)
    middle = graph.split_block(graph.conv(small, w2, w3, side=3, stride=2), w3, w3, 2, add=True)
    x = graph.split_block(graph.conv(middle, w3, w4, side=3, stride=2), w4, w4, 1, add=True)
    large = graph.pooling(x, w4)
    down = graph.split_block(graph.node("Concat", graph.larger(large), middle, axis=1), w3 + w4, w3, 1, add=False)
    first = graph.split_block(graph.node("Concat", graph.larger(down), small, axis=1), w2 + w3, w2, 1, add=False)
    x = graph.node("Concat", graph.conv(first, w2, w2, side=3, stride=2), down, axis=1)
    second = graph.split_block(x, w2 + w3, w3, 1, add=False)
    x = graph.node("Concat", graph.conv(second, w3, w3, side=3, stride=2), large, axis=1)
    third = graph.split_block(x, w3 + w4, w4, 1, add=False)
    _head(graph, [(first, w2), (second, w3), (third, w4)])
    shape = [1, 4 + LABELS, sum((SIDE // stride) ** 2 for stride in STRIDES)]
    made = helper.make_graph(
        graph.nodes,
        "yolo_n",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
        graph.weights,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="yolo_n")


def _head(graph: Graph, levels: list[tuple[str, int]]) -> None:
    """Distances from each cell's centre as the mean of a softmax over bins, and a sigmoid per class."""
    boxes, classes, centres, sizes = [], [], [], []
    for (x, width), stride in zip(levels, STRIDES, strict=True):
        sides = graph.conv(graph.conv(x, width, 64, side=3), 64, 64, side=3)
        scores = graph.conv(graph.conv(x, width, LABELS, side=3), LABELS, LABELS, side=3)
        cells = SIDE // stride
        for found, branch, inside, out in ((boxes, sides, 64, 4 * BINS), (classes, scores, LABELS, LABELS)):
            flat = graph.constant(np.array([1, out, cells * cells], np.int64))
            found.append(graph.node("Reshape", graph.conv(branch, inside, out, unit=False), flat))
        rows, columns = np.mgrid[:cells, :cells].reshape(2, -1)
        centres.append((np.stack((columns, rows)) + 0.5) * stride)
        sizes.append(np.full(cells * cells, stride))
    flat = graph.constant(np.array([1, 4, BINS, -1], np.int64))
    bins = graph.node("Softmax", graph.node("Reshape", graph.node("Concat", *boxes, axis=2), flat), axis=2)
    mean = graph.node("Mul", bins, graph.constant(np.arange(BINS, dtype=np.float32).reshape(1, 1, BINS, 1)))
    distance = graph.node("ReduceSum", mean, graph.constant(np.array([2], np.int64)), keepdims=0)
    scaled = graph.node("Mul", distance, graph.constant(np.concatenate(sizes).astype(np.float32)[None, None]))
    before, behind = graph.node("Split", scaled, outputs=2, axis=1)
    centre = graph.constant(np.concatenate(centres, axis=1).astype(np.float32)[None])
    corner, other = graph.node("Sub", centre, before), graph.node("Add", centre, behind)
    half = graph.constant(np.float32(0.5))
    middle = graph.node("Mul", graph.node("Add", corner, other), half)
    extent = graph.node("Sub", other, corner)
    scores = graph.node("Sigmoid", graph.node("Concat", *classes, axis=2))
    graph.nodes.append(helper.make_node("Concat", [middle, extent, scores], ["output0"], "output0", axis=1))


class Pictures(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Made-up pictures for the calibration."""

    def __init__(self) -> None:
        self._left = [picture(seed) for seed in range(CALIBRATION)]

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next one."""
        return {"images": self._left.pop()} if self._left else None


def picture(seed: int) -> NDArray[np.float32]:
    """Return tiles with noise, [1,3,640,640], 0..1."""
    lot = np.random.default_rng(seed)
    tiles = lot.random((3, SIDE // TILE, SIDE // TILE)).repeat(TILE, axis=1).repeat(TILE, axis=2)
    return np.clip(tiles + lot.normal(0, 0.05, tiles.shape), 0, 1)[None].astype(np.float32)


def quantize(model: onnx.ModelProto, path: Path) -> None:
    """Write ``model`` with integer convolutions to ``path``."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "fp32.onnx"
        onnx.save(model, str(plain))
        quantize_static(
            str(plain),
            str(path),
            Pictures(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv", "Add", "Concat", "MaxPool", "Mul"],
            nodes_to_exclude=[node.name for node in model.graph.node[-HEAD_NODES:]],  # boxes in pixels need more digits
        )


def write_package(folder: Path, *, int8: bool) -> Path:
    """Write the package into ``folder`` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.onnx"
    if int8:
        quantize(build(), weights)
    else:
        onnx.save(build(), str(weights))
    manifest = {
        "schema": "edge-model/1",
        "name": "yolo-n-640",
        "version": "1",
        "task": "detection",
        "decoder": "yolo",
        "labels": [f"class-{number}" for number in range(LABELS)],
        "weights": {
            "file": weights.name,
            "format": "onnx",
            "precision": "int8" if int8 else "fp32",
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        },
        "input": {"layout": "NCHW", "color": "RGB", "size": [SIDE, SIDE], "resize": "letterbox", "scale": 255},
        "thresholds": {"score": 0.01, "iou": 0.5},
    }
    described = folder / "edge-model.json"
    described.write_text(json.dumps(manifest))
    model = load_engine(folder)
    seen = model.lanes[0].predict(bench.picture(*FRAME)).predictions
    model.close()
    manifest["thresholds"] = {"score": seen[min(THINGS, len(seen)) - 1].score, "iou": 0.5}
    described.write_text(json.dumps(manifest, indent=1))
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="make a detector of the size of a YOLO n, for measuring")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fp32", action="store_true", help="do not quantize")
    options = parser.parse_args()
    print(write_package(options.folder, int8=not options.fp32))
