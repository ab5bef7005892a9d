from __future__ import annotations

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.gates.irgate import inspect_ir
from edge_runtime.engine.gates.onnxrules import CONTROL_LIMIT, NODE_LIMIT

IR = b"""<?xml version="1.0"?>
<net name="m" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="?,3,32,32" element_type="f32"/>
 <output><port id="0" precision="FP32" names="images,x"><dim>-1</dim><dim>3</dim></port></output></layer>
<layer id="3" name="w" type="Const" version="opset1"><data element_type="f16" shape="2,3" offset="4" size="12"/>
 <output><port id="0" precision="FP16"><dim>2</dim><dim>3</dim></port></output></layer>
<layer id="1" name="sum" type="Add" version="opset1"><data auto_broadcast="numpy" strides="1,1" axis="-1"/>
 <input><port id="0"><dim>-1</dim><dim>3</dim></port><port id="1"><dim>2</dim><dim>3</dim></port></input>
 <output><port id="2"><dim>-1</dim><dim>3</dim></port></output></layer>
<layer id="2" name="y/sink" type="Result" version="opset1">
 <input><port id="0" precision="FP32"><dim>-1</dim><dim>3</dim></port></input></layer>
</layers><edges>
<edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
<edge from-layer="3" from-port="0" to-layer="1" to-port="1"/>
<edge from-layer="1" from-port="2" to-layer="2" to-port="0"/>
</edges>
<rt_info><model_info><labels value="a_b c"/><scale_values value="255.0"/></model_info>
<framework><info name="model_info labels" value="x"/></framework></rt_info></net>"""
BIN_BYTES = 16
LAST = b"</layers><edges>"


def test_an_ir_tells_its_input_output_and_metadata() -> None:
    facts = inspect_ir(IR, "m.xml", BIN_BYTES)

    assert facts.inputs == [TensorInfo("images", "float32", (None, 3, 32, 32))]
    assert facts.outputs == [TensorInfo("y/sink", "float32", (None, 3))]
    assert facts.metadata == {
        "model_info/labels": "a_b c",
        "model_info/scale_values": "255.0",
        "framework/model_info labels": "x",
    }


def test_an_output_is_called_as_its_tensor_is() -> None:
    written = IR.replace(b'type="Result" version="opset1"', b'type="Result" version="opset1" output_names="y,scores"')
    (output,) = inspect_ir(written, "m.xml", BIN_BYTES).outputs
    assert (output.name, output.aliases) == ("scores", {"scores", "y"})


def test_older_ir_names_the_tensor_at_the_operator_before_the_output() -> None:
    written = IR.replace(b'<port id="2">', b'<port id="2" names="scores">')
    assert [one.name for one in inspect_ir(written, "m.xml", BIN_BYTES).outputs] == ["scores"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "model.unreadable"),
        (b"\x08\x08", "model.unreadable"),
        (IR[:200], "model.unreadable"),
        (b"<html><body>404</body></html>", "model.unreadable"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + IR, "model.unreadable"),
        (IR.replace(b'type="Add" version="opset1"', b'type="Magic" version="extension"'), "model.unknown_operator"),
    ],
)
def test_what_is_no_ir_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(DataError, match=r"m\.xml") as caught:
        inspect_ir(data, "m.xml", BIN_BYTES)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "data",
    [
        IR.replace(b"?>", b' encoding="nobodys"?>', 1),
        IR.replace(b"?>", b' encoding="shift_jis"?>', 1),
        IR.decode().replace("<net", "<!DOCTYPE net [<!ENTITY a 'b'>]><net").encode("utf-16-le"),
        IR.decode().replace("<net", "<!DOCTYPE net [<!ENTITY a 'b'>]><net").encode("utf-16-be"),
    ],
)
def test_an_encoding_that_could_hide_something_is_refused(data: bytes) -> None:
    with pytest.raises(DataError) as caught:
        inspect_ir(data, "m.xml", BIN_BYTES)
    assert caught.value.code == "model.unreadable"


def test_an_input_of_a_size_of_thousands_of_digits_is_unknown() -> None:
    facts = inspect_ir(IR.replace(b"?,3,32,32", b"9" * 5000), "m.xml", BIN_BYTES)
    assert facts.inputs[0].shape == (None,)


def many(kind: bytes, count: int) -> bytes:
    """`IR` with more layers that nothing reads."""
    text = b'<layer id="%d" name="n" type="%s" version="opset1"><input><port id="0"/></input></layer>'
    layers = b"".join(text % (10 + at, kind) for at in range(count))
    edge = b'<edge from-layer="0" from-port="0" to-layer="%d" to-port="0"/>'
    edges = b"".join(edge % (10 + at) for at in range(count))
    return IR.replace(LAST, layers + LAST + edges)


def test_an_ir_of_too_many_operators_is_refused() -> None:
    inspect_ir(many(b"ReLU", NODE_LIMIT - 3), "m.xml", BIN_BYTES)
    with pytest.raises(DataError, match="more than 15000 operators") as caught:
        inspect_ir(many(b"ReLU", NODE_LIMIT - 2), "m.xml", BIN_BYTES)
    assert caught.value.code == "model.unsafe"


def test_an_ir_of_too_much_control_flow_is_refused() -> None:
    inspect_ir(many(b"If", CONTROL_LIMIT), "m.xml", BIN_BYTES)
    with pytest.raises(DataError, match="more than 100 If and Loop"):
        inspect_ir(many(b"Loop", CONTROL_LIMIT + 1), "m.xml", BIN_BYTES)


def nested(depth: int) -> bytes:
    body = b"<then_body><layers/><edges/></then_body>"
    for _ in range(depth - 1):
        given = b'<layer id="1" name="p" type="Parameter" version="opset1"><output><port id="0"/></output></layer>'
        inner = b'<layer id="0" name="i" type="If" version="opset8"><input><port id="0"/></input>' + body + b"</layer>"
        edge = b'<edge from-layer="1" from-port="0" to-layer="0" to-port="0"/>'
        body = b"<then_body><layers>" + given + inner + b"</layers><edges>" + edge + b"</edges></then_body>"
    layer = b'<layer id="9" name="i" type="If" version="opset8"><input><port id="0"/></input>' + body + b"</layer>"
    return IR.replace(LAST, layer + LAST + b'<edge from-layer="0" from-port="0" to-layer="9" to-port="0"/>')


def test_an_ir_nested_too_deep_is_refused() -> None:
    inspect_ir(nested(4), "m.xml", BIN_BYTES)
    with pytest.raises(DataError, match="nested deeper than 4") as caught:
        inspect_ir(nested(5), "m.xml", BIN_BYTES)
    assert caught.value.code == "model.unsafe"


EDGE = b'<edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>'


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        (b'size="12"', b'size="13"', "model.unreadable", "lies beyond the 16 bytes of the .bin"),
        (b'offset="4"', b'offset="-1"', "model.unreadable", "does not say where its numbers lie"),
        (b'offset="4"', b'offset="' + b"9" * 40 + b'"', "model.unreadable", "does not say where its numbers lie"),
        (b'shape="2,3" ', b'shape="2,2" ', "model.unreadable", "has 12 bytes, its shape needs 8"),
        (b'shape="2,3" ', b'shape="2,-3" ', "model.unsafe", "impossible shape 2x-3"),
        (b'element_type="f16"', b'element_type="string"', "model.unsafe", "is of the type 'string'"),
        (b"<dim>2</dim>", b"<dim>4611686018427387904</dim>", "model.unsafe", "impossible shape"),
        (b"<dim>2</dim>", b"<dim>two</dim>", "model.unsafe", "impossible shape two"),
        (
            b'type="Const" version="opset1"><data',
            b'type="MaxPool" version="opset1"><data',
            "model.unsafe",
            "has no input",
        ),
        (b'strides="1,1"', b'strides="1,0"', "model.unsafe", "strides of Add 'sum' is 0"),
        (b'axis="-1"', b'axis="-2147483648"', "model.unsafe", "axis of Add 'sum' is -2147483648"),
        (b'<layer id="3"', b'<layer id="1"', "model.unreadable", "two layers have the id '1'"),
        (b'<layer id="3"', b'<layer id="x"', "model.unreadable", "or it is none"),
        (b'<port id="1">', b'<port id="0">', "model.unreadable", "has port '0' twice"),
        (EDGE, b"", "model.unreadable", "layer 1 has an input that nothing feeds"),
        (EDGE, EDGE + EDGE, "model.unreadable", "no ends or a second source"),
        (EDGE, EDGE.replace(b'from-layer="0"', b'from-layer="77"'), "model.unreadable", "the edge from 77:0 to 1:0"),
        (
            EDGE,
            EDGE.replace(b'from-layer="0" from-port="0"', b'from-layer="1" from-port="2"'),
            "model.unsafe",
            "need their own answer",
        ),
    ],
)
def test_an_ir_whose_parts_do_not_fit_is_refused(old: bytes, new: bytes, code: str, words: str) -> None:
    assert old in IR
    with pytest.raises(DataError) as caught:
        inspect_ir(IR.replace(old, new, 1), "m.xml", BIN_BYTES)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.help


def test_an_ir_with_bare_layers_is_refused_without_a_crash() -> None:
    layers = b'<layer id="0" type="Parameter" name="p"/><layer id="1" type="Result" name="r"/>'
    with pytest.raises(DataError, match="Result 'r' has no input"):
        inspect_ir(b"<net><layers>" + layers + b"</layers></net>", "m.xml", 0)
