"""What is left in float, and what becomes of a QDQ graph that is made fp32 again."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.core.errors import DataError
from edge_runtime.engine.spec import InputSpec

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

from quantize_model.graph import first_compute, is_quantized, make_static, name_nodes, tail, unbounded, unquantize
from quantize_model.quantizers import Job, quantize
from quantize_model.recipe import Recipe

DRAW = np.random.default_rng(3)
STEM = DRAW.standard_normal((4, 3, 3, 3)).astype(np.float32)
BOXES = DRAW.standard_normal((4, 4, 1, 1)).astype(np.float32)
SCORES = DRAW.standard_normal((2, 4, 1, 1)).astype(np.float32)


def model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], opset: int = 17) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def detector() -> onnx.ModelProto:
    """A stem, and two heads whose answers are decoded and joined."""
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["c"], name="stem"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "boxes"], ["b"], name="boxes"),
        helper.make_node("Conv", ["r", "scores"], ["s"], name="scores"),
        helper.make_node("Exp", ["b"], ["e"], name="decode"),
        helper.make_node("Sigmoid", ["s"], ["p"], name="sigmoid"),
        helper.make_node("Concat", ["e", "p"], ["y"], name="join", axis=1),
    ]
    return model(nodes, {"stem": STEM, "boxes": BOXES, "scores": SCORES})


def names(nodes: list[onnx.NodeProto]) -> set[str]:
    return {node.name for node in nodes}


def test_what_decodes_stays_in_float_and_the_last_convolutions_when_asked_for() -> None:
    assert names(tail(detector(), with_last=False)) == {"decode", "sigmoid", "join"}
    assert names(tail(detector(), with_last=True)) == {"boxes", "scores", "decode", "sigmoid", "join"}
    assert names(first_compute(detector())) == {"stem"}


def test_a_border_of_minus_infinity_is_not_quantized_nor_what_pools_over_it() -> None:
    """NanoDet has one: every answer was not a number."""
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["c"], name="stem"),
        helper.make_node("Pad", ["c", "pads", "border"], ["p"], name="pad"),
        helper.make_node("MaxPool", ["p"], ["m"], name="pool", kernel_shape=[2, 2]),
        helper.make_node("Conv", ["m", "boxes"], ["y"], name="last"),
    ]
    weights = {"stem": STEM, "boxes": BOXES, "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    assert names(unbounded(model(nodes, weights | {"border": np.float32(-np.inf)}))) == {"pad", "pool"}
    assert names(unbounded(model(nodes, weights | {"border": np.float32(0)}))) == set()
    constant = helper.make_node("Constant", [], ["border"], value=numpy_helper.from_array(np.float32(-np.inf)))
    assert names(unbounded(model([constant, *nodes], weights))) == {"pad", "pool"}


def test_the_input_becomes_static_and_an_old_opset_is_raised() -> None:
    old = model([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": STEM}, opset=11)
    fixed = make_static(old, "x", (1, 3, 8, 9))
    assert [axis.dim_value for axis in fixed.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 8, 9]
    assert fixed.opset_import[0].version == 13
    assert [axis.dim_param for axis in old.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        "",
        "height",
        "width",
    ]


def test_nodes_without_a_name_or_with_the_same_one_get_their_own() -> None:
    pairs = (("x", "a", "same"), ("a", "b", "same"), ("b", "y", ""))
    one = model([helper.make_node("Relu", [inner], [outer], name=name) for inner, outer, name in pairs], {})
    name_nodes(one)
    assert len(names(list(one.graph.node))) == 3
    assert "" not in names(list(one.graph.node))


@pytest.mark.parametrize("scale", [np.float32(0.02), np.float32([0.01, 0.02, 0.03, 0.04])], ids=["tensor", "channel"])
def test_a_qdq_model_made_fp32_again_computes_with_the_dequantized_weights(scale: np.ndarray) -> None:
    integers = DRAW.integers(-64, 65, STEM.shape).astype(np.int8)
    axis = {"axis": 0} if scale.ndim else {}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "step", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["integers", "scale", "none"], ["w"], **axis),
        helper.make_node("Conv", ["xd", "w"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "step", "zero"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "step", "zero"], ["y"]),
    ]
    weights = {"step": np.float32(0.5), "zero": np.uint8(3), "integers": integers, "scale": scale}
    quantized = model(nodes, weights | {"none": np.zeros(scale.shape, np.int8)})
    plain = unquantize(quantized)
    assert is_quantized(quantized)
    assert not is_quantized(plain)
    assert {node.op_type for node in plain.graph.node} == {"Conv", "Identity"}
    onnx.checker.check_model(plain, full_check=True)
    x = DRAW.standard_normal((1, 3, 5, 5)).astype(np.float32)
    expected = model(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        {"w": integers.astype(np.float32) * (scale.reshape(-1, 1, 1, 1) if scale.ndim else scale)},
    )
    found, wanted = (
        ort.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for one in (plain, expected)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_integers_in_operators_of_their_own_cannot_be_made_fp32_again() -> None:
    names_ = ["x", "s", "z", "w", "s", "z", "s", "z"]
    with pytest.raises(DataError, match="QLinearConv cannot be made fp32 again"):
        unquantize(model([helper.make_node("QLinearConv", names_, ["y"])], {}))


def test_what_a_quantizer_cannot_do_is_a_refusal_with_its_name(tmp_path: Path) -> None:
    foreign = model([helper.make_node("Turn", ["x"], ["y"], domain="foreign")], {})
    foreign.opset_import.append(helper.make_opsetid("foreign", 1))
    spec = InputSpec("x", "float32", "NCHW", "RGB", (8, 8), "stretch", "linear", 1.0, (0.0,), (1.0,), 255.0, 114)
    level = logging.getLogger().level
    with pytest.raises(DataError, match=r"ort failed: \w+: .*foreign") as caught:
        quantize(Job(foreign, spec, [], reduce_range=False), Recipe("ort"), tmp_path / "model")
    assert caught.value.code == "quantize.failed"
    assert logging.getLogger().level == level
