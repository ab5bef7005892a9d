from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import SparseTensorProto, TensorProto, helper

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.gates.onnxgate import NODE_LIMIT, inspect_onnx
from edge_runtime.engine.gates.wire import BrokenWireError, wire_fields, wire_int, wire_text
from tests.assets.make_models import FILES, SIDE, _model, _tensor, colours

if TYPE_CHECKING:
    from collections.abc import Callable


def content(name: str) -> bytes:
    made = FILES[name]()
    return made if isinstance(made, bytes) else made.SerializeToString()


GOOD = content("colours_labelled")


def test_a_good_model_tells_its_inputs_outputs_metadata_and_operators() -> None:
    facts = inspect_onnx(GOOD, "m.onnx")

    assert facts.inputs == [TensorInfo("x", "float32", (1, 3, SIDE, SIDE))]
    assert facts.outputs == [TensorInfo("y", "float32", (1, 3))]
    assert facts.metadata == {"character": "red\ngreen\nblue"}
    assert facts.operators == {"Cast": 1, "GlobalAveragePool": 1, "Flatten": 1, "Mul": 1, "Softmax": 1}
    assert (facts.producer, facts.ir_version) == ("tests", 8)
    assert facts.weight_types == {"float32": 1}


def test_open_axes_are_unknown() -> None:
    (image,) = inspect_onnx(content("colours_open_size"), "m.onnx").inputs
    assert image.shape == (None, 3, None, None)
    assert str(image) == "x float32 [?,3,?,?]"


def test_weights_listed_as_inputs_are_no_inputs() -> None:
    model = colours()
    model.graph.input.append(_tensor("ten", []))
    assert [one.name for one in inspect_onnx(model.SerializeToString(), "m.onnx").inputs] == ["x"]


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        ("empty", "model.unreadable", "the file is empty"),
        ("truncated", "model.unreadable", "bytes are missing at the end"),
        ("html_page", "model.unreadable", "found a web or XML page"),
        ("lfs_pointer", "model.unreadable", "found text"),
        ("random_bytes", "model.unreadable", "not a whole ONNX model"),
        ("external_data", "model.external_data", "weights lie in another file"),
        ("custom_domain", "model.unknown_operator", "operator vendor.custom.Magic is not loaded"),
        ("conv_without_weights", "model.unsafe", "Conv has 1 input(s), it needs 2"),
        ("nested_if", "model.unsafe", "graphs nested deeper than 4"),
        ("local_functions", "model.unsafe", "model-local functions"),
    ],
)
def test_what_is_no_safe_model_is_refused_before_native_code_sees_it(name: str, code: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        inspect_onnx(content(name), "m.onnx")
    assert caught.value.code == code
    assert "m.onnx" in caught.value.message
    assert expected in caught.value.message
    assert caught.value.help is not None


def test_a_model_of_too_many_operators_is_refused() -> None:
    model = colours()
    nodes = [model.graph.node[0]] * (NODE_LIMIT + 1)
    large = _model(nodes, list(model.graph.input), list(model.graph.output))
    with pytest.raises(DataError, match="more than 15000 operators"):
        inspect_onnx(large.SerializeToString(), "m.onnx")


def test_something_that_parses_but_holds_no_graph_is_refused() -> None:
    with pytest.raises(DataError, match="no ONNX graph inside"):
        inspect_onnx(b"\x08\x08", "m.onnx")


def test_a_file_beyond_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.engine.gates.onnxgate.SIZE_LIMIT_BYTES", len(GOOD) - 1)
    with pytest.raises(DataError, match="the limit is"):
        inspect_onnx(GOOD, "m.onnx")


def code_of(data: bytes) -> str | None:
    """The code of our error, ``None`` when the bytes are accepted; any other exception is not caught."""
    try:
        inspect_onnx(data, "m.onnx")
    except DataError as error:
        return error.code
    return None


CODES = {None, "model.unreadable", "model.external_data", "model.unknown_operator", "model.unsafe"}


@given(st.integers(0, len(GOOD) - 1))
def test_every_cut_of_a_model_is_refused_or_still_whole(end: int) -> None:
    assert code_of(GOOD[:end]) in (None, "model.unreadable")


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_never_raises_anything_but_our_error(position: int, value: int) -> None:
    changed = bytearray(GOOD)
    changed[position] = value
    assert code_of(bytes(changed)) in CODES


@given(st.binary(max_size=64))
def test_arbitrary_bytes_never_raise_anything_but_our_error(data: bytes) -> None:
    assert code_of(data) in CODES


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (lambda: list(wire_fields(7)), "a message was expected"),
        (lambda: list(wire_fields(memoryview(b"\x03"))), "no field"),
        (lambda: list(wire_fields(memoryview(b"\x02\x00"))), "byte 1 is no field"),
        (lambda: list(wire_fields(memoryview(b"\x00\x00"))), "1 is no field"),
        (lambda: list(wire_fields(memoryview(b"\x80"))), "does not end"),
        (lambda: wire_text(7), "a text was expected"),
        (lambda: wire_int(memoryview(b"")), "a number was expected"),
    ],
)
def test_what_is_no_message_says_so(broken: Callable[[], object], expected: str) -> None:
    with pytest.raises(BrokenWireError, match=expected):
        broken()


def test_wire_numbers_are_signed_and_fixed_fields_are_skipped() -> None:
    minus_one = b"\x08" + b"\xff" * 9 + b"\x01"
    fixed = b"\x15abcd" + b"\x19abcdefgh"
    ((number, value), text) = list(wire_fields(memoryview(minus_one + fixed + b"\x22\x01z")))
    assert (number, wire_int(value)) == (1, -1)
    assert text == (4, b"z")


def varint(number: int) -> bytes:
    written = b""
    while number > 127:
        written += bytes([number & 127 | 128])
        number >>= 7
    return written + bytes([number])


def field(key: int, content: bytes) -> bytes:
    return varint(key) + varint(len(content)) + content


def with_node(node: bytes, key: int = 1 << 3 | 2) -> bytes:
    """`colours` with one more node in front of its graph, written under the wire key ``key``."""
    model = colours((1, 3, 8, 8))
    graph = field(key, node) + model.graph.SerializeToString()
    model.ClearField("graph")
    return model.SerializeToString() + field(7 << 3 | 2, graph)


CONV = helper.make_node("Conv", ["x"], ["z"]).SerializeToString()


def test_a_node_under_a_key_of_more_than_32_bits_is_not_overlooked() -> None:
    with pytest.raises(DataError, match="is no field of a protobuf message"):
        inspect_onnx(with_node(CONV, (1 << 3 | 2) + (1 << 32)), "m.onnx")


@pytest.mark.parametrize(
    "disguise",
    [
        b"\x25Relu",  # the name of another operator, as a number of 32 bits: native parsers skip it
        b"\x0dzzzz",  # one more input, the same way
        b"\x08\x01",  # one more input, as a number
    ],
)
def test_what_native_parsers_skip_disguises_no_operator(disguise: bytes) -> None:
    with pytest.raises(DataError) as caught:
        inspect_onnx(with_node(CONV + disguise), "m.onnx")
    assert caught.value.code in ("model.unsafe", "model.unreadable")


@pytest.mark.parametrize(
    ("operator", "domain", "inputs"),
    [("FusedConv", "com.microsoft", 1), ("Attention", "com.microsoft", 2), ("Pad", "com.microsoft", 1), ("Sum", "", 0)],
)
def test_operators_that_crash_a_reader_without_their_inputs_are_refused(
    operator: str, domain: str, inputs: int
) -> None:
    node = helper.make_node(operator, ["x"] * inputs, ["y"], domain=domain)
    with pytest.raises(DataError, match=rf"{operator} has {inputs} input") as caught:
        inspect_onnx(with_node(node.SerializeToString()), "m.onnx")
    assert caught.value.code == "model.unsafe"


@pytest.mark.parametrize("dims", [-(2**31), 2**62])
def test_impossible_batch_dims_are_refused(dims: int) -> None:
    node = helper.make_node("GatherND", ["x", "i"], ["y"], batch_dims=dims)
    with pytest.raises(DataError, match="batch_dims of GatherND that makes 'y' is") as caught:
        inspect_onnx(with_node(node.SerializeToString()), "m.onnx")
    assert caught.value.code == "model.unsafe"


def sparse_elsewhere() -> SparseTensorProto:
    sparse = SparseTensorProto()
    sparse.dims.append(3)
    sparse.values.name = "s"
    sparse.values.data_location = TensorProto.EXTERNAL
    sparse.values.external_data.add(key="location", value="secret.bin")
    return sparse


def test_sparse_weights_in_another_file_are_refused() -> None:
    listed = colours((1, 3, 8, 8))
    listed.graph.sparse_initializer.append(sparse_elsewhere())
    constant = colours((1, 3, 8, 8))
    constant.graph.node.append(helper.make_node("Constant", [], ["k"], sparse_value=sparse_elsewhere()))
    for model in (listed, constant):
        with pytest.raises(DataError) as caught:
            inspect_onnx(model.SerializeToString(), "m.onnx")
        assert caught.value.code == "model.external_data"
