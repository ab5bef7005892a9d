"""Small models, good ones and one for each way of being wrong, made with the `onnx` package when a test asks.

    good = write_package(folder, "colours")          a package directory
    path = write_bare(folder, "html_page")           a bare file

`python tests/assets/make_models.py FOLDER` writes all of them, to look at.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COLOURS = ("red", "green", "blue")
YOLO_LABELS = ("scratch", "dent")
SIDE = 32
# cx cy w h, then the scores of the two labels: one good box, its weaker double, one of the other label, one too weak
YOLO_BOXES = np.array(
    [
        [8, 8, 8, 8, 0.9, 0.1],
        [8.5, 8, 8, 8, 0.7, 0.1],
        [24, 20, 6, 10, 0.2, 0.8],
        [16, 16, 4, 4, 0.1, 0.1],
        *[[0, 0, 0, 0, 0, 0]] * 12,
    ],
    np.float32,
)
FINISHED_BOXES = np.array([[4, 4, 12, 12, 0.9, 0], [21, 15, 27, 25, 0.8, 1], [0, 0, 0, 0, 0, 0]], np.float32)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray[Any, Any]] | None = None,
    **extra: object,
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), initializers)
    opsets = [helper.make_opsetid("", 17), *extra.pop("opsets", [])]  # type: ignore[misc]  # a list of opsets
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="tests")
    helper.set_model_props(model, extra.pop("metadata", {}))  # type: ignore[arg-type]  # text to text
    return model


def _tensor(name: str, shape: Sequence[int | str | None], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def colours(
    shape: Sequence[int | str] = (1, 3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
    metadata: dict[str, str] | None = None,
) -> onnx.ModelProto:
    """A classifier that tells which channel of an RGB picture is brightest; softmax inside."""
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["float"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Mul", ["flat", "ten"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    weights = {"ten": np.float32(10)}
    return _model(nodes, [_tensor("x", shape, kind)], [_tensor("y", [shape[0], 3])], weights, metadata=metadata or {})


def interleaved() -> onnx.ModelProto:
    """`colours` for [1, H, W, 3], numbers 0..255."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["mean", "ten"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    return _model(nodes, [_tensor("x", [1, SIDE, SIDE, 3])], [_tensor("y", [1, 3])], {"ten": np.float32(25.5)})


def brightness() -> onnx.ModelProto:
    """A grey model [1, 1, H, W] that says dark or bright."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["bright"]),
        helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Concat", ["dark", "bright"], ["y"], axis=1),
    ]
    return _model(
        nodes, [_tensor("x", [1, 1, SIDE, SIDE])], [_tensor("y", [1, 2])], {"one": np.ones((1, 1), np.float32)}
    )


def _constant(rows: np.ndarray[Any, Any], *, divide: bool = False, outputs: int = 1) -> onnx.ModelProto:
    """Answers ``rows`` whatever the picture; with ``divide`` 0 / 0 is added."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Div" if divide else "Mul", ["nothing", "zero"], ["offset"]),
        *(helper.make_node("Add", ["rows", "offset"], [f"output{i}"]) for i in range(outputs)),
    ]
    weights = {"zero": np.float32(0), "rows": rows[None]}
    answers = [_tensor(f"output{i}", [1, *rows.shape]) for i in range(outputs)]
    return _model(nodes, [_tensor("x", [1, 3, SIDE, SIDE])], answers, weights)


def yolo() -> onnx.ModelProto:
    """A raw head with `YOLO_BOXES`."""
    return _constant(np.ascontiguousarray(YOLO_BOXES.T))


def end2end() -> onnx.ModelProto:
    """A finished head with `FINISHED_BOXES`."""
    return _constant(FINISHED_BOXES)


def text_map() -> onnx.ModelProto:
    """A text detector of any size: what is bright in one of the channels is text, what is grey or black is none."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["bright"], axes=[1], keepdims=1),
        helper.make_node("Clip", ["bright", "zero", "one"], ["y"]),
    ]
    weights = {"zero": np.float32(0), "one": np.float32(1)}
    return _model(nodes, [_tensor("x", [1, 3, "h", "w"])], [_tensor("y", [1, 1, "h", "w"])], weights)


def text_line() -> onnx.ModelProto:
    """A recogniser of any width: each 8 columns read "a" when they are green, "b" when red, else nothing."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["mean"], kernel_shape=[48, 8], strides=[48, 8]),
        helper.make_node("Squeeze", ["mean", "two"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["steps"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["steps", "much"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=2),
    ]
    weights = {"two": np.array([2]), "much": np.float32(50)}
    shapes = [_tensor("x", [1, 3, 48, "w"])], [_tensor("y", [1, "t", 3])]
    return _model(nodes, *shapes, weights, metadata={"character": "a\nb"})


def text_turn() -> onnx.ModelProto:
    """A direction classifier: what begins with red stands on its head."""
    nodes = [
        helper.make_node("Slice", ["x", "from", "to", "axis"], ["start"]),
        helper.make_node("ReduceMean", ["start"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "pick"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    pick = np.array([[0, 0], [50, 0], [0, 50]], np.float32)  # B, G, R
    weights = {"from": np.array([0]), "to": np.array([24]), "axis": np.array([3]), "pick": pick}
    return _model(nodes, [_tensor("x", [1, 3, 48, 192])], [_tensor("y", [1, 2])], weights)


LARGE_BOXES = np.array(
    [[320, 320, 400, 400, 0.9, 0.1], [322, 321, 402, 398, 0.8, 0.1], [318, 322, 396, 404, 0.7, 0.1], *[[0] * 6] * 13]
)
"""cx cy w h and two scores: one thing three times, of more square pixels than float16 can count."""


def large_boxes(kind: int) -> onnx.ModelProto:
    """A raw head for 640 x 640 that answers `LARGE_BOXES` in the precision ``kind``."""
    array = np.ascontiguousarray(LARGE_BOXES.T)[None].astype(helper.tensor_dtype_to_np_dtype(kind))
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["offset"], to=kind),
        helper.make_node("Add", ["rows", "offset"], ["output0"]),
    ]
    weights = {"zero": np.float32(0), "rows": array}
    return _model(nodes, [_tensor("x", [1, 3, 640, 640])], [_tensor("output0", array.shape, kind)], weights)


def _fails_when_run() -> onnx.ModelProto:
    """It compiles, and asks for the sixth row of three when it is run."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["whole"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["whole"], ["most"], keepdims=0),
        helper.make_node("Add", ["most", "five"], ["place"]),
        helper.make_node("Gather", ["table", "place"], ["row"], axis=0),
        helper.make_node("Unsqueeze", ["row", "axis"], ["y"]),
    ]
    weights = {"five": np.int64(5), "table": np.eye(3, dtype=np.float32), "axis": np.array([0])}
    return _model(nodes, [_tensor("x", [1, 3, SIDE, SIDE])], [_tensor("y", [1, 3])], weights)


def _open_output() -> onnx.ModelProto:
    """As many rows as it found, like suppression inside the graph: nobody knows how many before it ran."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["scores", "nothing"], ["found"]),
        helper.make_node("NonZero", ["found"], ["where"]),
        helper.make_node("Cast", ["where"], ["place"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["place"], ["rows"], perm=[1, 0]),
        helper.make_node("Concat", ["rows", "rows"], ["wide"], axis=1),
        helper.make_node("Unsqueeze", ["wide", "axis"], ["y"]),
    ]
    scores = np.array([[[0.9, 0.1], [0.1, 0.8]]], np.float32)
    weights = {"zero": np.float32(0), "scores": scores, "axis": np.array([0])}
    return _model(nodes, [_tensor("x", [1, 3, SIDE, SIDE])], [_tensor("y", [1, "n", 6])], weights)


TURNED_BOXES = np.array(
    [
        [6, 6, 4, 4, 0.1, 0.8, 0.5],  # centre, sides, two scores, angle
        [16, 16, 12, 4, 0.9, 0.1, 0.25],
        *[[16, 16, 4, 4, 0.01, 0.02, 0]] * 10,
    ],
    np.float32,
)


def finished_turned() -> onnx.ModelProto:
    """The end of YOLO26 for turned boxes: three slices of one tensor, the best of which are gathered and joined."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["all"]),
        helper.make_node("Slice", ["all", "at0", "at4", "last"], ["boxes"]),
        helper.make_node("Slice", ["all", "at4", "at6", "last"], ["scores"]),
        helper.make_node("Slice", ["all", "at6", "at7", "last"], ["angles"]),
        helper.make_node("ReduceMax", ["scores"], ["best"], axes=[2], keepdims=0),
        helper.make_node("TopK", ["best", "three"], ["top", "place"], axis=1),
        helper.make_node("Unsqueeze", ["place", "last"], ["places"]),
        helper.make_node("Expand", ["places", "as_boxes"], ["box_places"]),
        helper.make_node("Expand", ["places", "as_scores"], ["score_places"]),
        helper.make_node("GatherElements", ["boxes", "box_places"], ["found_boxes"], axis=1),
        helper.make_node("GatherElements", ["scores", "score_places"], ["found_scores"], axis=1),
        helper.make_node("GatherElements", ["angles", "places"], ["found_angles"], axis=1),
        helper.make_node("ArgMax", ["found_scores"], ["number"], axis=2),
        helper.make_node("Cast", ["number"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["top", "last"], ["tops"]),
        helper.make_node("Concat", ["found_boxes", "tops", "numbers", "found_angles"], ["output0"], axis=2),
    ]
    weights = {
        "zero": np.float32(0),
        "rows": TURNED_BOXES[None],
        "last": np.array([2]),
        "three": np.array([3]),
        "as_boxes": np.array([1, 3, 4]),
        "as_scores": np.array([1, 3, 2]),
        **{f"at{i}": np.array([i]) for i in (0, 4, 6, 7)},
    }
    return _model(nodes, [_tensor("x", [1, 3, SIDE, SIDE])], [_tensor("output0", [1, 3, 7])], weights)


def suppressed() -> onnx.ModelProto:
    """As torchvision's detectors: lists as long as the picture has bright cells that do not overlap.

    A cell of 8 x 8 is one box of 12 x 12 around it, its score the mean of red, its label 1.
    """
    y, x = (axis.ravel() * 8 + 4 for axis in np.mgrid[: SIDE // 8, : SIDE // 8])
    boxes = np.stack((x - 6, y - 6, x + 6, y + 6), axis=1).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["x", "red"], ["reds"], axis=1),
        helper.make_node("AveragePool", ["reds"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Reshape", ["cells", "flat"], ["likely"]),
        helper.make_node("Unsqueeze", ["boxes_all", "first"], ["boxes_one"]),
        helper.make_node("NonMaxSuppression", ["boxes_one", "likely", "most", "iou", "floor"], ["chosen"]),
        helper.make_node("Gather", ["chosen", "last"], ["places"], axis=1),
        helper.make_node("Gather", ["boxes_all", "places"], ["boxes"], axis=0),
        helper.make_node("Reshape", ["likely", "all"], ["list"]),
        helper.make_node("Gather", ["list", "places"], ["scores"], axis=0),
        helper.make_node("Mul", ["places", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "one"], ["labels"]),
    ]
    weights = {
        "red": np.array([0]),
        "flat": np.array([1, 1, -1]),
        "all": np.array([-1]),
        "first": np.array([0]),
        "last": np.array(2),
        "boxes_all": boxes,
        "most": np.array([100]),
        "iou": np.array([0.1], np.float32),
        "floor": np.array([0.2], np.float32),
        "zero": np.array([0]),
        "one": np.array([1]),
    }
    answers = [_tensor("boxes", ["n", 4]), _tensor("labels", ["n"], TensorProto.INT64), _tensor("scores", ["n"])]
    return _model(nodes, [_tensor("x", [1, 3, SIDE, SIDE])], answers, weights)


def _endless_loop(*, plain: bool) -> onnx.ModelProto:
    """A `Loop` without a count whose condition stays true: ``plain``, or because of what it computes."""
    still = [helper.make_node("Identity", ["go_on"], ["still"])]
    if not plain:
        still = [
            helper.make_node("ReduceMin", ["before"], ["least"], keepdims=0),
            helper.make_node("Less", ["least", "far"], ["still"]),
        ]
    shape = [1, 3, SIDE, SIDE]
    flag = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go_on", "still")]
    body = helper.make_graph(
        [*still, helper.make_node("Relu", ["before"], ["after"])],
        "body",
        [helper.make_tensor_value_info("turn", TensorProto.INT64, []), flag[0], _tensor("before", shape)],
        [flag[1], _tensor("after", shape)],
    )
    nodes = [
        helper.make_node("Loop", ["", "true", "x"], ["looped"], body=body),
        helper.make_node("GlobalAveragePool", ["looped"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["y"], axis=1),
    ]
    weights = {"true": np.ones((), bool), "far": np.float32(1e9)}
    return _model(nodes, [_tensor("x", shape)], [_tensor("y", [1, 3])], weights)


def _greedy() -> onnx.ModelProto:
    """Twice as large with each of its forty operators."""
    nodes = []
    for at in range(40):
        before = "x" if not at else f"c{at - 1}"
        nodes.append(helper.make_node("Concat", [before, before], [f"c{at}"], axis=2))
    nodes += [
        helper.make_node("GlobalAveragePool", ["c39"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["y"], axis=1),
    ]
    return _model(nodes, [_tensor("x", [1, 3, SIDE, SIDE])], [_tensor("y", [1, 3])])


def _passed_on() -> onnx.ModelProto:
    """Two heads alike, of which OpenVINO knows the first under two names."""
    model = end2end()
    model.graph.node[-1].output[0] = "/model/Concat_output_0"
    model.graph.node.append(helper.make_node("Identity", ["/model/Concat_output_0"], ["output0"]))
    model.graph.node.append(helper.make_node("Relu", ["/model/Concat_output_0"], ["output1"]))
    model.graph.output.append(_tensor("output1", [1, *FINISHED_BOXES.shape]))
    return model


def _custom_domain() -> onnx.ModelProto:
    nodes = [helper.make_node("Magic", ["x"], ["y"], domain="vendor.custom")]
    opsets = [helper.make_opsetid("vendor.custom", 1)]
    return _model(nodes, [_tensor("x", [1, 3, SIDE, SIDE])], [_tensor("y", [1, 3])], opsets=opsets)


def _unknown_operator() -> onnx.ModelProto:
    nodes = [helper.make_node("NoSuchOperator", ["x"], ["y"])]
    return _model(nodes, [_tensor("x", [1, 3, SIDE, SIDE])], [_tensor("y", [1, 3])])


def _two_inputs() -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["x", "mask"], ["y"])]
    shape = [1, 3, SIDE, SIDE]
    return _model(nodes, [_tensor("x", shape), _tensor("mask", shape)], [_tensor("y", shape)])


def _flat_input() -> onnx.ModelProto:
    return _model([helper.make_node("Relu", ["x"], ["y"])], [_tensor("x", [1, 3])], [_tensor("y", [1, 3])])


def _conv_without_weights() -> onnx.ModelProto:
    """The 66-byte kind of file that is a segmentation fault in OpenVINO's reader."""
    return _model([helper.make_node("Conv", ["x"], ["y"])], [_tensor("x", [1, 3, 8, 8])], [_tensor("y", [1, 3, 8, 8])])


def _scatter_without_rank() -> onnx.ModelProto:
    """What the raw conversion of a real detector looked like: ONNX Runtime takes it, OpenVINO does not."""
    model = colours()
    nodes = [*model.graph.node[:-1], helper.make_node("ScatterND", ["d", "i", "u"], ["s"])]
    nodes += [helper.make_node("Add", ["logits", "s"], ["sum"]), helper.make_node("Softmax", ["sum"], ["y"], axis=1)]
    three = np.zeros(3, np.float32)
    weights = {"ten": np.float32(10), "d": three, "i": np.zeros((1, 0), np.int64), "u": three[None]}
    return _model(nodes, list(model.graph.input), list(model.graph.output), weights)


def _nested(depth: int) -> onnx.ModelProto:
    """`If` in `If` in `If` ..."""
    condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    body = [helper.make_node("Identity", ["x"], ["leaf"])]
    answer = "leaf"
    for level in range(depth):
        branch = helper.make_graph(body, f"b{level}", [], [_tensor(answer, [1, 3, SIDE, SIDE])])
        answer = f"a{level}"
        other = helper.make_graph(
            [helper.make_node("Identity", ["x"], [f"o{level}"])], "o", [], [_tensor(f"o{level}", [1, 3, SIDE, SIDE])]
        )
        test = helper.make_node("Constant", [], [f"c{level}"], value=condition)
        body = [test, helper.make_node("If", [f"c{level}"], [answer], then_branch=branch, else_branch=other)]
    return _model(body, [_tensor("x", [1, 3, SIDE, SIDE])], [_tensor(answer, [1, 3, SIDE, SIDE])])


def _external() -> onnx.ModelProto:
    model = colours()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../secret.bin")
    return model


def _endless_functions() -> onnx.ModelProto:
    model = colours()
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    return model


_PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>nothing here</body></html>\n"

FILES: dict[str, Callable[[], onnx.ModelProto | bytes]] = {
    "colours": colours,
    "colours_open_batch": lambda: colours(("batch", 3, SIDE, SIDE)),
    "colours_open_size": lambda: colours(("batch", 3, "height", "width")),
    "colours_bytes": lambda: colours((1, 3, SIDE, SIDE), TensorProto.UINT8),
    "colours_half": lambda: colours((1, 3, SIDE, SIDE), TensorProto.FLOAT16),
    "colours_labelled": lambda: colours(metadata={"character": "\n".join(COLOURS)}),
    "interleaved": interleaved,
    "brightness": brightness,
    "yolo": yolo,
    "end2end": end2end,
    "large_boxes": lambda: large_boxes(TensorProto.FLOAT),
    "large_boxes_half": lambda: large_boxes(TensorProto.FLOAT16),
    "large_boxes_double": lambda: large_boxes(TensorProto.DOUBLE),
    "eight_parts": lambda: _constant(np.full(8, 3, np.float32)),
    "two_heads": lambda: _constant(FINISHED_BOXES, outputs=2),
    "passed_on": _passed_on,
    "greedy": _greedy,
    "fails_when_run": _fails_when_run,
    "open_output": _open_output,
    "suppressed": suppressed,
    "finished_turned": finished_turned,
    "endless_loop": lambda: _endless_loop(plain=False),
    "plainly_endless_loop": lambda: _endless_loop(plain=True),
    "nan_scores": lambda: _constant(np.ascontiguousarray(YOLO_BOXES.T), divide=True),
    "unsigmoided": lambda: _constant(np.ascontiguousarray(YOLO_BOXES.T) * 3),
    "int_input": lambda: colours((1, 3, SIDE, SIDE), TensorProto.INT64),
    "two_pictures": lambda: colours((2, 3, SIDE, SIDE)),
    "two_inputs": _two_inputs,
    "flat_input": _flat_input,
    "custom_domain": _custom_domain,
    "unknown_operator": _unknown_operator,
    "scatter_without_rank": _scatter_without_rank,
    "conv_without_weights": _conv_without_weights,
    "nested_if": lambda: _nested(20),
    "external_data": _external,
    "local_functions": _endless_functions,
    "text_map": text_map,
    "text_line": text_line,
    "text_turn": text_turn,
    "empty": lambda: b"",
    "truncated": lambda: colours().SerializeToString()[:-40],
    "html_page": lambda: _PAGE,
    "lfs_pointer": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
    "random_bytes": lambda: np.random.default_rng(7).bytes(4096),
}
"""Name -> content of the `.onnx` file."""

_CLASSIFIER = {"task": "classification", "decoder": "probabilities", "labels": list(COLOURS)}
_DETECTOR = {"task": "detection", "labels": list(YOLO_LABELS)}
_OCR = {"color": "BGR", "scale": 255, "mean": [0.5], "std": [0.5]}
_RGB = {"color": "RGB", "resize": "stretch", "scale": 255}

MANIFESTS: dict[str, dict[str, object]] = {
    "interleaved": {**_CLASSIFIER, "input": {**_RGB, "scale": 1}},
    "brightness": {**_CLASSIFIER, "labels": ["dark", "bright"], "input": {"resize": "stretch", "scale": 255}},
    "colours_labelled": {**_CLASSIFIER, "labels": None, "input": _RGB},
    "colours_bytes": {**_CLASSIFIER, "decoder": "softmax", "input": {"color": "RGB", "resize": "stretch"}},
    "colours_open_size": {**_CLASSIFIER, "input": {**_RGB, "size": [SIDE, SIDE]}},
    "yolo": {**_DETECTOR, "decoder": "yolo", "input": {**_RGB, "resize": "letterbox"}},
    "nan_scores": {**_DETECTOR, "decoder": "yolo", "input": _RGB},
    "large_boxes": {**_DETECTOR, "decoder": "yolo", "input": _RGB},
    "large_boxes_half": {**_DETECTOR, "decoder": "yolo", "input": _RGB},
    "large_boxes_double": {**_DETECTOR, "decoder": "yolo", "input": _RGB},
    "passed_on": {**_DETECTOR, "decoder": "end2end", "input": _RGB, "output": {"name": "output0"}},
    "open_output": {**_DETECTOR, "decoder": "end2end", "input": _RGB, "output": {"boxes": "cxcywh"}},
    "finished_turned": {**_DETECTOR, "task": "oriented_detection", "decoder": "end2end", "input": _RGB},
    "suppressed": {**_DETECTOR, "input": _RGB, "output": {"background": "first"}, "task": None},
    "unsigmoided": {**_DETECTOR, "decoder": "yolo", "input": _RGB},
    "end2end": {**_DETECTOR, "decoder": "end2end", "input": _RGB},
    "two_heads": {**_DETECTOR, "decoder": "end2end", "input": _RGB},
    "text_map": {"task": "text_detection", "input": {**_OCR, "resize": "stretch"}},
    "text_line": {"task": "text_recognition"},
    "text_turn": {**_CLASSIFIER, "labels": ["0", "180"], "input": {**_OCR, "resize": "line"}},
}
"""Name -> what `edge-model.json` says beside the weights; a classifier of RGB pictures where nothing else stands."""


def write_bare(folder: Path, name: str) -> Path:
    """Write ``<name>.onnx`` into ``folder`` and return its path."""
    content = FILES[name]()
    path = folder / f"{name}.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def write_package(folder: Path, name: str, **changes: object) -> Path:
    """Write a package directory around ``FILES[name]``; ``changes`` replace top-level keys, ``None`` removes one."""
    root = folder / name
    root.mkdir(parents=True)
    weights = write_bare(root, name)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    manifest: dict[str, object] = {
        "schema": "edge-model/1",
        "name": name.replace("_", "-"),
        "version": "1.0.0",
        "weights": {"file": weights.name, "format": "onnx", "precision": "fp32", "sha256": digest},
        **MANIFESTS.get(name, {**_CLASSIFIER, "input": _RGB}),
        **changes,
    }
    kept = {key: value for key, value in manifest.items() if value is not None}
    (root / "edge-model.json").write_text(json.dumps(kept, indent=1))
    return root


def write_chain(folder: Path, *steps: tuple[Path, dict[str, object]], **changes: object) -> Path:
    """Write the manifest of a chain into ``folder``, of packages or files inside it; each with what it is shown."""
    listed = []
    for path, shown in steps:
        pinned = path / "edge-model.json" if path.is_dir() else path
        digest = "sha256:" + hashlib.sha256(pinned.read_bytes()).hexdigest()
        listed.append({"package": path.relative_to(folder).as_posix(), "digest": digest, **shown})
    fixed = {"schema": "edge-model/1", "name": "chain", "version": "1.0.0", "task": "chain"}
    (folder / "edge-model.json").write_text(json.dumps({**fixed, "steps": listed, **changes}))
    return folder


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for one in FILES:
        print(write_bare(target, one))
