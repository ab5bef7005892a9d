"""Models made to do harm, one for each way: what the gate refuses, and what only a process that may die finds out.

GATE["conv_of_one_input"]          a function that makes the bytes, the code of the refusal, words of it
TRIAL["doubling_concat"]           the same for what passes the gate; several codes where engines may differ
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.assets.make_models import SIDE, colours

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

make = helper.make_node
SHAPE = [1, 3, SIDE, SIDE]


@dataclass(frozen=True)
class Evil:
    """What makes the file, and how it is refused: one of ``codes``, with ``words`` in the message."""

    content: Callable[[], bytes]
    codes: tuple[str, ...]
    words: str


def whole(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def with_nodes(*nodes: onnx.NodeProto, weights: dict[str, Any] | None = None) -> onnx.ModelProto:
    """`colours` with more operators."""
    model = colours(tuple(SHAPE))
    model.graph.node.extend(nodes)
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    model.graph.initializer.extend(held)
    return model


def changed(change: Callable[[onnx.ModelProto], object]) -> Callable[[], bytes]:
    """`colours` after ``change``."""

    def content() -> bytes:
        model = colours(tuple(SHAPE))
        change(model)
        return model.SerializeToString()

    return content


def operator(name: str, inputs: Sequence[str] = ("x",), weights: dict[str, Any] | None = None, **more: Any) -> Evil:
    """An operator that is refused as ``model.unsafe``; ``words`` among ``more`` are those of the refusal."""
    words = more.pop("words")
    return Evil(
        lambda: with_nodes(make(name, list(inputs), ["z"], **more), weights=weights).SerializeToString(),
        ("model.unsafe",),
        words,
    )


def unsafe(change: Callable[[onnx.ModelProto], object], words: str) -> Evil:
    return Evil(changed(change), ("model.unsafe",), words)


def unreadable(change: Callable[[onnx.ModelProto], object], words: str) -> Evil:
    return Evil(changed(change), ("model.unreadable",), words)


def foreign(start: bytes, words: str) -> Evil:
    return Evil(lambda: start + bytes(200), ("model.unreadable",), words)


def external(location: str) -> Evil:
    def change(model: onnx.ModelProto) -> None:
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)

    return Evil(changed(change), ("model.external_data",), "weights lie in another file")


def _weight(
    dims: Sequence[int], *, dtype: int = TensorProto.FLOAT, raw: bytes = b""
) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(TensorProto(name="w", data_type=dtype, dims=dims, raw_data=raw))

    return change


def _opset(version: int, *, again: int | None = None) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version
        if again is not None:
            model.opset_import.append(helper.make_opsetid("ai.onnx", again))

    return change


def _input_shape(size: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = size

    return change


def _functions_in_circles(model: onnx.ModelProto) -> None:
    body = [make("Twice", ["a"], ["h"], domain="local"), make("Twice", ["h"], ["b"], domain="local")]
    opsets = [helper.make_opsetid("local", 1)]
    model.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], body, opsets))


def _nodes(*nodes: onnx.NodeProto) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.node.extend(nodes)


def branches(count: int, *, depth: int = 1) -> Callable[[onnx.ModelProto], None]:
    answer = helper.make_tensor_value_info("t", TensorProto.FLOAT, [])

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.ones((), bool), "yes"))
        for at in range(count):
            body = helper.make_graph([make("Identity", ["ten"], ["t"])], "b", [], [answer])
            for _ in range(depth - 1):
                node = make("If", ["yes"], ["t"], then_branch=body, else_branch=body)
                body = helper.make_graph([node], "b", [], [answer])
            model.graph.node.append(make("If", ["yes"], [f"i{at}"], then_branch=body, else_branch=body))

    return change


def loop(turns: str, condition: str, still: Sequence[onnx.NodeProto]) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        flag = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go_on", "still")]
        number = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
        body = helper.make_graph(list(still), "body", [number, flag[0]], [flag[1]])
        model.graph.initializer.append(numpy_helper.from_array(np.ones((), bool), "yes"))
        model.graph.initializer.append(numpy_helper.from_array(np.array(2**63 - 1), "ever"))
        model.graph.initializer.append(numpy_helper.from_array(np.array(3), "three"))
        model.graph.node.append(make("Loop", [turns, condition], ["z"], body=body))

    return change


_PASSED_ON = [make("Identity", ["go_on"], ["same"]), make("Identity", ["same"], ["still"])]
_ALWAYS = [make("Constant", [], ["still"], value=numpy_helper.from_array(np.ones((), bool)))]


GATE: dict[str, Evil] = {
    "pickle": foreign(b"\x80\x04\x95", "found a Python pickle"),
    "torch_checkpoint": foreign(b"PK\x03\x04", "found a zip archive"),
    "keras_weights": foreign(b"\x89HDF\r\n", "found an HDF5 file"),
    "tensorflow_lite": foreign(b"\x1c\0\0\0TFL3", "found a TensorFlow Lite model"),
    "safetensors": foreign(b"\x40\0\0\0\0\0\0\0" + b'{"w":', "found a safetensors file"),
    "gguf": foreign(b"GGUF\x03", "found a GGUF file"),
    "library": foreign(b"\x7fELF\x02", "found a program or library"),
    "gzip": foreign(b"\x1f\x8b\x08", "found a gzip archive"),
    "absolute_external_data": external("/etc/passwd"),
    "climbing_external_data": external("../../secret.bin"),
    "external_data_with_a_zero": external("w.bin\0/../../x"),
    "external_data_device": external("/dev/zero"),
    "custom_operator": Evil(
        lambda: with_nodes(make("Magic", ["x"], ["z"], domain="vendor")).SerializeToString(),
        ("model.unknown_operator",),
        "operator vendor.Magic is not loaded",
    ),
    "openvino_extension": Evil(
        lambda: with_nodes(make("Swish", ["x"], ["z"], domain="org.openvinotoolkit")).SerializeToString(),
        ("model.unknown_operator",),
        "is not loaded",
    ),
    "opset_9999": Evil(changed(_opset(9999)), ("model.unknown_operator",), "operator set ai.onnx 9999 does not exist"),
    "opset_of_nothing": Evil(changed(_opset(-1)), ("model.unknown_operator",), "operator set ai.onnx -1"),
    "two_opsets": unreadable(_opset(10, again=17), "stated twice"),
    "functions_in_circles": unsafe(_functions_in_circles, "model-local functions"),
    "conv_of_one_input": operator("Conv", words="Conv has 1 input(s), it needs 2"),
    "conv_of_a_blank_input": operator("Conv", ["x", ""], words="Conv has 1 input(s), it needs 2"),
    "einsum_of_a_blank_input": operator("Einsum", ["x", ""], equation="ij,jk->ik", words="leaves an input out"),
    "pad_of_one_input": operator("Pad", words="Pad has 1 input(s), it needs 2"),
    "gathernd_of_one_input": operator("GatherND", words="GatherND has 1 input(s), it needs 2"),
    "sum_of_nothing": operator("Sum", [], words="Sum has 0 input(s), it needs 1"),
    "lstm_of_two_inputs": operator("LSTM", ["x", "x"], words="LSTM has 2 input(s), it needs 3"),
    "operator_without_answer": unsafe(_nodes(make("Relu", ["x"], [])), "a Relu makes nothing"),
    "batch_dims_below_zero": operator("GatherND", ["x", "x"], batch_dims=-(2**31), words="batch_dims of GatherND"),
    "batch_dims_beyond_all": operator("Gather", ["x", "x"], batch_dims=2**62, words="batch_dims of Gather"),
    "axis_beyond_all": operator("Softmax", axis=2**31, words="axis of Softmax"),
    "group_of_none": operator("Conv", ["x", "ten"], group=0, words="group of Conv"),
    "stride_of_zero": operator("MaxPool", kernel_shape=[2, 2], strides=[0, 1], words="strides of MaxPool"),
    "kernel_below_zero": operator("AveragePool", kernel_shape=[-3, 3], words="kernel_shape of AveragePool"),
    "pads_of_a_planet": operator("MaxPool", kernel_shape=[2, 2], pads=[0, 0, 2**40, 0], words="pads of MaxPool"),
    "blocks_of_zero": operator("DepthToSpace", blocksize=0, words="blocksize of DepthToSpace"),
    "fill_below_zero": operator("ConstantOfShape", ["s"], {"s": whole(-1, 4)}, words="asked for the shape -1x4"),
    "fill_of_a_planet": operator("ConstantOfShape", ["s"], {"s": whole(2**31, 2)}, words="asked for the shape"),
    "expand_to_a_planet": operator("Expand", ["x", "s"], {"s": whole(2**20, 2**20, 1, 1)}, words="asked for the shape"),
    "reshape_to_less_than_nothing": operator("Reshape", ["x", "s"], {"s": whole(-2)}, words="asked for the shape -2"),
    "tile_without_end": operator("Tile", ["x", "s"], {"s": whole(1, 1, 2**40, 1)}, words="asked for the shape"),
    "pad_to_a_planet": operator("Pad", ["x", "s"], {"s": whole(0, 0, 0, 2**40)}, words="adds"),
    "range_without_end": operator(
        "Range", ["a", "b", "c"], {"a": np.int64(0), "b": np.int64(2**62), "c": np.int64(1)}, words="counts from 0 to"
    ),
    "range_on_the_spot": operator(
        "Range",
        ["a", "b", "c"],
        {"a": np.int64(0), "b": np.int64(9), "c": np.int64(0)},
        words="counts from 0 to 9 by 0",
    ),
    "resize_to_a_planet": operator("Resize", ["x", "", "", "s"], {"s": whole(1, 3, 2**30, 9)}, words="asked for"),
    "resize_by_nan": operator("Resize", ["x", "", "s"], {"s": np.float32([1, 1, np.nan, 1])}, words="scales by"),
    "one_hot_of_a_planet": operator(
        "OneHot", ["x", "d", "v"], {"d": whole(2**40), "v": whole(0, 1)}, words="counts to"
    ),
    "topk_below_zero": operator("TopK", ["x", "k"], {"k": whole(-5)}, words="counts to -5"),
    "constant_fill_of_a_planet": unsafe(
        _nodes(make("Constant", [], ["s"], value_ints=[2**40]), make("ConstantOfShape", ["s"], ["z"])), "asked for"
    ),
    "weight_of_negative_size": unsafe(_weight([-1, 4]), "impossible shape -1x4"),
    "weight_of_a_planet": unsafe(_weight([2**62, 2]), "impossible shape"),
    "weight_that_is_cut": unreadable(_weight([4], raw=bytes(12)), "has 12 bytes, its shape needs 16"),
    "weight_that_is_gone": unreadable(_weight([4]), "has 0 bytes, its shape needs 16"),
    "weight_of_text": unsafe(_weight([1], dtype=TensorProto.STRING), "holds text"),
    "input_of_a_planet": unsafe(_input_shape(2**62), "impossible shape"),
    "two_outputs_of_one_name": unsafe(lambda model: model.graph.output.append(model.graph.output[0]), "one name"),
    "output_that_nobody_makes": unreadable(lambda model: setattr(model.graph.output[0], "name", "q"), "nothing makes"),
    "two_makers_of_one_name": unsafe(_nodes(make("Relu", ["x"], ["flat"])), "two operators make 'flat'"),
    "reads_what_nobody_makes": unreadable(_nodes(make("Relu", ["q"], ["z"])), "reads 'q', which nothing makes"),
    "circle": unsafe(_nodes(make("Relu", ["b"], ["a"]), make("Neg", ["a"], ["b"])), "needs its own answer"),
    "name_with_a_zero": unsafe(_nodes(make("Relu", ["x"], ["z\0y"])), "has a zero in it"),
    "graphs_in_graphs": unsafe(branches(1, depth=5), "nested deeper than 4"),
    "hundred_and_one_branches": unsafe(branches(101), "more than 100 If and Loop"),
    "loop_that_passes_its_condition_on": unsafe(loop("", "yes", _PASSED_ON), "never ends"),
    "loop_that_always_goes_on": unsafe(loop("ever", "", _ALWAYS), "never ends"),
    "twenty_thousand_operators": unsafe(
        _nodes(*(make("Relu", ["x" if not at else f"r{at - 1}"], [f"r{at}"]) for at in range(20_000))),
        "more than 15000 operators",
    ),
}


def _answering(nodes: Sequence[onnx.NodeProto], weights: dict[str, Any], last: str) -> Callable[[], bytes]:
    """A classifier whose answer depends on ``last``, a tensor of four axes that the nodes make of ``x``."""

    def content() -> bytes:
        ends = [
            make("GlobalAveragePool", [last], ["mean"]),
            make("Flatten", ["mean"], ["flat"]),
            make("Softmax", ["flat"], ["y"], axis=1),
        ]
        held = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
        graph = helper.make_graph(
            [*nodes, *ends],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
            held,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

    return content


def _chain(count: int) -> Callable[[], bytes]:
    return _answering(
        [make("Neg", ["x" if not at else f"r{at - 1}"], [f"r{at}"]) for at in range(count)], {}, f"r{count - 1}"
    )


def _doubling(count: int) -> Callable[[], bytes]:
    nodes = []
    for at in range(count):
        before = "x" if not at else f"c{at - 1}"
        nodes.append(make("Concat", [before, before], [f"c{at}"], axis=2))
    return _answering(nodes, {}, f"c{count - 1}")


def _scattered(far: float) -> Callable[[], bytes]:
    """An index that is computed from the picture, and lies far outside."""
    nodes = [
        make("ReduceMean", ["x"], ["level"], keepdims=0),
        make("Add", ["level", "far"], ["place"]),
        make("Reshape", ["place", "one"], ["place1"]),
        make("Cast", ["place1"], ["where"], to=TensorProto.INT64),
        make("Reshape", ["x", "flat1"], ["row"]),
        make("ScatterElements", ["row", "where", "place1"], ["spread"], axis=0),
        make("Reshape", ["spread", "shape"], ["back"]),
    ]
    weights = {"far": np.float32(far), "one": whole(1), "flat1": whole(-1), "shape": whole(*SHAPE)}
    return _answering(nodes, weights, "back")


def _scalar_gather() -> bytes:
    nodes = [
        make("ReduceMean", ["x"], ["level"], keepdims=0),
        make("GatherND", ["level", "place"], ["picked"]),
        make("Mul", ["x", "picked"], ["z"]),
    ]
    return _answering(nodes, {"place": whole(0)}, "z")()


TRIAL: dict[str, Evil] = {
    "doubling_concat": Evil(_doubling(40), ("model.memory", "model.not_compiled", "model.run_failed"), "step"),
    "chain_of_negations": Evil(_chain(14_000), ("model.hangs",), "did not end within"),
    "index_from_the_picture": Evil(_scattered(5e9), ("model.run_failed", "model.crashed"), ""),
    "gathernd_of_a_scalar": Evil(_scalar_gather, ("model.not_compiled", "model.crashed"), "onnxruntime"),
}
"""Passes the gate; tried with OpenVINO, after ONNX Runtime."""
