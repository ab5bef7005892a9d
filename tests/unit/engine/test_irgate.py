from __future__ import annotations

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.irgate import inspect_ir
from edge_runtime.engine.onnxgate import NODE_LIMIT

IR = b"""<?xml version="1.0"?>
<net name="m" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="?,3,32,32" element_type="f32"/>
 <output><port id="0" precision="FP32" names="images,x"><dim>-1</dim><dim>3</dim></port></output></layer>
<layer id="1" name="relu" type="ReLU" version="opset1"/>
<layer id="2" name="y/sink" type="Result" version="opset1">
 <input><port id="0" precision="FP32"><dim>-1</dim><dim>3</dim></port></input></layer>
</layers><edges/>
<rt_info><model_info><labels value="a_b c"/><scale_values value="255.0"/></model_info>
<framework><info name="model_info labels" value="x"/></framework></rt_info></net>"""


def test_an_ir_tells_its_input_output_and_metadata() -> None:
    facts = inspect_ir(IR, "m.xml")

    assert facts.inputs == [TensorInfo("images", "float32", (None, 3, 32, 32))]
    assert facts.outputs == [TensorInfo("y/sink", "float32", (None, 3))]
    assert facts.metadata == {
        "model_info/labels": "a_b c",
        "model_info/scale_values": "255.0",
        "framework/model_info labels": "x",
    }


def test_an_output_is_called_as_its_tensor_is() -> None:
    written = IR.replace(b'type="Result" version="opset1"', b'type="Result" version="opset1" output_names="y,scores"')
    (output,) = inspect_ir(written, "m.xml").outputs
    assert (output.name, output.aliases) == ("scores", {"scores", "y"})


def test_older_ir_names_the_tensor_at_the_operator_before_the_output() -> None:
    relu = b'<layer id="1" name="relu" type="ReLU" version="opset1"'
    written = IR.replace(relu + b"/>", relu + b'><output><port id="1" names="scores"/></output></layer>').replace(
        b"<edges/>", b'<edges><edge from-layer="1" from-port="1" to-layer="2" to-port="0"/></edges>'
    )
    assert [one.name for one in inspect_ir(written, "m.xml").outputs] == ["scores"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "model.unreadable"),
        (b"\x08\x08", "model.unreadable"),
        (IR[:200], "model.unreadable"),
        (b"<html><body>404</body></html>", "model.unreadable"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + IR, "model.unreadable"),
        (IR.replace(b'type="ReLU" version="opset1"', b'type="Magic" version="extension"'), "model.unknown_operator"),
    ],
)
def test_what_is_no_ir_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(DataError, match=r"m\.xml") as caught:
        inspect_ir(data, "m.xml")
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
        inspect_ir(data, "m.xml")
    assert caught.value.code == "model.unreadable"


def test_a_size_of_thousands_of_digits_is_unknown() -> None:
    digits = b"9" * 5000
    facts = inspect_ir(IR.replace(b"?,3,32,32", digits).replace(b"<dim>3<", b"<dim>" + digits + b"<"), "m.xml")
    assert (facts.inputs[0].shape, facts.outputs[0].shape) == ((None,), (None, None))


def test_an_ir_of_too_many_operators_is_refused() -> None:
    layer = b'<layer id="1" name="relu" type="ReLU" version="opset1"/>'
    constant = layer.replace(b"ReLU", b"Const")
    inspect_ir(IR.replace(layer, constant * (NODE_LIMIT + 1)), "m.xml")
    with pytest.raises(DataError, match="more than 15000 operators") as caught:
        inspect_ir(IR.replace(layer, layer * NODE_LIMIT), "m.xml")
    assert caught.value.code == "model.unsafe"


def test_an_ir_with_bare_layers_is_read_without_a_crash() -> None:
    bare = b'<net><layers><layer type="Parameter" name="p"/><layer type="Result" name="r"/></layers></net>'
    facts = inspect_ir(bare, "m.xml")
    assert facts.inputs == [TensorInfo("p", "", None)]
    assert facts.outputs == [TensorInfo("r", "", ())]
