"""Ordinary models that mutants are made of: three small ones with most kinds of operators, and real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE = 32
_OPSET = 17


def _tensor(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def _model(
    nodes: Sequence[onnx.NodeProto], weights: dict[str, Any], output: tuple[str, Sequence[int | str]]
) -> onnx.ModelProto:
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "g", [_tensor("x", [1, 3, SIDE, SIDE])], [_tensor(*output)], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)


def convolutional() -> onnx.ModelProto:
    """A classifier as exporters write them: convolutions, a residual, an upsampling, a flattening by `Shape`."""
    rng = np.random.default_rng(1)

    def kernel(*shape: int) -> np.ndarray[Any, Any]:
        return rng.standard_normal(shape, np.float32) * 0.2

    weights = {
        "w1": kernel(8, 3, 3, 3),
        "w2": kernel(8, 1, 3, 3),
        "w3": kernel(8, 8, 1, 1),
        "w4": kernel(8, 4, 2, 2),
        "b": kernel(8),
        "one": np.ones(8, np.float32),
        "zero": np.zeros(8, np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "first": np.array([0], np.int64),
        "minus": np.array([-1], np.int64),
        "fc": kernel(12, 3),
        "fb": kernel(3),
        "low": np.float32(0),
        "high": np.float32(6),
    }
    make = helper.make_node
    nodes = [
        make("Pad", ["x", "pads"], ["padded"], mode="constant"),
        make("Conv", ["padded", "w1", "b"], ["c1"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 0, 0]),
        make("BatchNormalization", ["c1", "one", "zero", "zero", "one"], ["n1"], epsilon=1e-5),
        make("Clip", ["n1", "low", "high"], ["r1"]),
        make("Conv", ["r1", "w2"], ["c2"], group=8, pads=[1, 1, 1, 1], dilations=[1, 1]),
        make("Sigmoid", ["c2"], ["gate"]),
        make("Mul", ["c2", "gate"], ["swish"]),
        make("Conv", ["swish", "w3"], ["c3"], auto_pad="SAME_UPPER"),
        make("Add", ["r1", "c3"], ["sum"]),
        make("MaxPool", ["sum"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        make("ConvTranspose", ["pool", "w4"], ["up4"], strides=[2, 2], group=1),
        make("Resize", ["pool", "", "scales"], ["up8"], mode="linear", coordinate_transformation_mode="half_pixel"),
        make("Concat", ["up4", "up8"], ["both"], axis=1),
        make("GlobalAveragePool", ["both"], ["mean"]),
        make("Shape", ["mean"], ["shape"]),
        make("Gather", ["shape", "first"], ["batch"], axis=0),
        make("Concat", ["batch", "minus"], ["flatshape"], axis=0),
        make("Reshape", ["mean", "flatshape"], ["flat"]),
        make("Gemm", ["flat", "fc", "fb"], ["logits"], alpha=1.0, transB=0),
        make("Softmax", ["logits"], ["y"], axis=1),
    ]
    return _model(nodes, weights, ("y", [1, 3]))


def selecting() -> onnx.ModelProto:
    """A detector's end: boxes by arithmetic, best ones by `TopK`, suppression, gathering and scattering by index."""
    weights = {
        "axes": np.array([2, 3], np.int64),
        "boxes": np.array([[[0, 0, 8, 8], [1, 1, 9, 9], [10, 10, 20, 20], [4, 20, 9, 30]]], np.float32),
        "scores": np.array([[[0.9, 0.8, 0.7, 0.2], [0.1, 0.1, 0.3, 0.6]]], np.float32),
        "most": np.array([4], np.int64),
        "iou": np.array([0.5], np.float32),
        "floor": np.array([0.1], np.float32),
        "k": np.array([2], np.int64),
        "starts": np.array([0], np.int64),
        "ends": np.array([4], np.int64),
        "axis1": np.array([1], np.int64),
        "place": np.array([[[0], [2]]], np.int64),
        "zeros": np.zeros((1, 2, 4), np.float32),
        "index": np.array([[[0, 1, 2, 3], [0, 1, 2, 3]]], np.int64) % 2,
        "depth": np.array(3, np.int64),
        "values": np.array([0, 1], np.float32),
        "times": np.array([1, 1, 1], np.int64),
        "wide": np.array([1, 2, 6], np.int64),
        "split": np.array([2, 2], np.int64),
        "zero": np.float32(0),
    }
    make = helper.make_node
    nodes = [
        make("GlobalMaxPool", ["x"], ["most_of"]),
        make("ReduceMean", ["most_of"], ["mean"], axes=[1, 2, 3], keepdims=0),
        make("Mul", ["mean", "zero"], ["nothing"]),
        make("Add", ["scores", "nothing"], ["live"]),
        make("NonMaxSuppression", ["boxes", "live", "most", "iou", "floor"], ["kept"], center_point_box=0),
        make("Slice", ["kept", "starts", "ends", "axis1"], ["rows"]),
        make("Cast", ["rows"], ["rowsf"], to=TensorProto.FLOAT),
        make("ReduceSum", ["rowsf"], ["used"], keepdims=0),
        make("Mul", ["used", "zero"], ["unused"]),
        make("ReduceMax", ["live"], ["best"], axes=[1], keepdims=0),
        make("TopK", ["best", "k"], ["top", "at"], axis=1),
        make("ArgMax", ["live"], ["label"], axis=1, keepdims=0),
        make("GatherND", ["boxes", "place"], ["picked"], batch_dims=1),
        make("ScatterElements", ["zeros", "index", "picked"], ["spread"], axis=1),
        make("Split", ["spread", "split"], ["corner", "far"], axis=2),
        make("Concat", ["corner", "far"], ["box"], axis=2),
        make("Tile", ["box", "times"], ["tiled"]),
        make("Unsqueeze", ["top", "starts_two"], ["topc"]),
        make("OneHot", ["at", "depth", "values"], ["hot"], axis=-1),
        make("ReduceSum", ["hot", "minus"], ["ids"], keepdims=1),
        make("Concat", ["tiled", "topc", "ids"], ["found"], axis=2),
        make("Add", ["found", "unused"], ["shifted"]),
        make("Expand", ["shifted", "wide"], ["y"]),
    ]
    weights["starts_two"] = np.array([2], np.int64)
    weights["minus"] = np.array([-1], np.int64)
    return _model(nodes, weights, ("y", [1, 2, 6]))


def branching() -> onnx.ModelProto:
    """A classifier with attention, normalisation, a recurrent layer, an `If`, a `Loop` with a count, and indices."""
    rng = np.random.default_rng(2)
    weights = {
        "patch": rng.standard_normal((8, 3, 8, 8), np.float32) * 0.1,
        "shape": np.array([1, 8, 16], np.int64),
        "qkv": rng.standard_normal((8, 24), np.float32) * 0.3,
        "thirds": np.array([8, 8, 8], np.int64),
        "gain": np.ones(8, np.float32),
        "offset": np.zeros(8, np.float32),
        "lw": rng.standard_normal((1, 16, 8), np.float32) * 0.1,
        "lr": rng.standard_normal((1, 16, 4), np.float32) * 0.1,
        "half": np.float32(0.5),
        "turns": np.array(3, np.int64),
        "true": np.ones((), bool),
        "table": np.eye(3, 4, dtype=np.float32),
        "stop": np.array(4, np.int64),
        "zero": np.array(0, np.int64),
        "step": np.array(1, np.int64),
        "axis0": np.array([0], np.int64),
        "head": rng.standard_normal((4, 3), np.float32),
    }
    make = helper.make_node
    then = helper.make_graph([make("Relu", ["state"], ["t"])], "then", [], [_tensor("t", [1, 4])])
    other = helper.make_graph([make("Neg", ["state"], ["e"])], "else", [], [_tensor("e", [1, 4])])
    body = helper.make_graph(
        [
            make("Mul", ["before", "half"], ["after"]),
            make("Identity", ["go_on"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            _tensor("before", [1, 4]),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), _tensor("after", [1, 4])],
    )
    nodes = [
        make("Conv", ["x", "patch"], ["patches"], kernel_shape=[8, 8], strides=[8, 8]),
        make("Reshape", ["patches", "shape"], ["rows"]),
        make("Transpose", ["rows"], ["tokens"], perm=[0, 2, 1]),
        make("LayerNormalization", ["tokens", "gain", "offset"], ["normal"], axis=-1),
        make("MatMul", ["normal", "qkv"], ["all"]),
        make("Split", ["all", "thirds"], ["q", "k", "v"], axis=2),
        make("Einsum", ["q", "k"], ["raw"], equation="bij,bkj->bik"),
        make("Mul", ["raw", "half"], ["scaled"]),
        make("Softmax", ["scaled"], ["weight"], axis=-1),
        make("MatMul", ["weight", "v"], ["seen"]),
        make("Transpose", ["seen"], ["sequence"], perm=[1, 0, 2]),
        make("LSTM", ["sequence", "lw", "lr"], ["", "state3"], hidden_size=4),
        make("Squeeze", ["state3", "axis0"], ["state"]),
        make("ReduceMean", ["state"], ["mean"], keepdims=0),
        make("Greater", ["mean", "half"], ["large"]),
        make("If", ["large"], ["chosen"], then_branch=then, else_branch=other),
        make("Loop", ["turns", "true", "chosen"], ["looped"], body=body),
        make("Range", ["zero", "stop", "step"], ["places"]),
        make("Gather", ["looped", "places"], ["taken"], axis=1),
        make("Where", ["large", "taken", "looped"], ["mixed"]),
        make("MatMul", ["mixed", "head"], ["logits"]),
        make("Softmax", ["logits"], ["y"], axis=1),
    ]
    return _model(nodes, weights, ("y", [1, 3]))
