"""A look at the XML of an OpenVINO IR before any native code may parse it: inputs, outputs, metadata, what is wrong."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Final

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.gates.irrules import IrRules

SIZE_LIMIT_BYTES: Final = 64 << 20
_DTYPES: Final = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "u8": "uint8",
    "i8": "int8",
    "i32": "int32",
    "i64": "int64",
    "boolean": "bool",
}
_PORT_DTYPES: Final = {
    "FP32": "float32",
    "FP16": "float16",
    "U8": "uint8",
    "I32": "int32",
    "I64": "int64",
    "BOOL": "bool",
}
_DIGITS_MAX: Final = 18  # of a size
_OPSET: Final = re.compile(r"(opset\d+|ie_internal_opset|type_relaxed_opset)?")


@dataclass(slots=True)
class IrFacts:
    """What the XML says: inputs, outputs, and the `rt_info` section as ``section/key`` -> text."""

    inputs: list[TensorInfo] = field(default_factory=list)
    outputs: list[TensorInfo] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


def inspect_ir(data: bytes, where: str, weights_bytes: int) -> IrFacts:
    """Return what an IR's XML says about itself, or refuse it.

    Args:
        data: the whole `.xml`.
        where: its name, for messages.
        weights_bytes: size of the `.bin`.

    Raises:
        DataError: codes ``model.unreadable`` (not the XML of an IR, or its parts do not fit together),
            ``model.unknown_operator``, ``model.unsafe`` (see `irrules`).
    """
    head = data[:4096].lstrip()
    # UTF-16 has zeros in it, and other bytes for the words that are looked for
    is_plain = head.startswith(b"<") and b"\0" not in head and b"<!DOCTYPE" not in data and b"<!ENTITY" not in data
    if len(data) > SIZE_LIMIT_BYTES or not is_plain:
        raise DataError("model.unreadable", f"{where}: not the XML of an OpenVINO IR", help="copy the model again")
    try:
        root = ET.fromstring(data)  # noqa: S314 - documents with entities were refused above
    except (ET.ParseError, LookupError, ValueError) as error:  # the latter two: encodings that nobody has
        message = f"{where}: not whole XML: {error}"
        raise DataError("model.unreadable", message, help="the file was cut off; copy it again") from error
    facts = IrFacts()
    for layer in root.iter("layer"):
        _check_origin(layer, where)
    edges = root.iterfind("./edges/edge")
    sources = {edge.get("to-layer"): (edge.get("from-layer"), edge.get("from-port")) for edge in edges}
    names: dict[tuple[str | None, str | None], str] = {}
    for layer in root.iterfind("./layers/layer"):
        names |= {(layer.get("id"), port.get("id")): port.get("names", "") for port in layer.iterfind("./output/port")}
    for layer in root.iterfind("./layers/layer"):
        # until OpenVINO 2024 the names of an output stood at the operator before it only
        given = layer.get("output_names") or names.get(sources.get(layer.get("id"), (None, None)), "")
        _read_layer(layer, frozenset(one for one in given.split(",") if one), facts)
    if root.tag != "net" or not facts.outputs:
        raise DataError("model.unreadable", f"{where}: not the XML of an OpenVINO IR", help="export the model again")
    IrRules(where, weights_bytes).check(root)
    for section in root.iterfind("./rt_info/*"):
        for item in section.iter():
            value = item.get("value")
            if value is not None:
                facts.metadata[f"{section.tag}/{item.get('name', item.tag)}"] = value
    return facts


def _check_origin(layer: ET.Element, where: str) -> None:
    kind, version = layer.get("type", ""), layer.get("version", "")
    if not _OPSET.fullmatch(version):
        message = f"{where}: operator {kind} of {version!r} is not loaded"
        raise DataError("model.unknown_operator", message, help="export the model without custom operators")


def _read_layer(layer: ET.Element, called: frozenset[str], facts: IrFacts) -> None:
    kind, name = layer.get("type", ""), layer.get("name", "")
    if kind == "Parameter":
        body = layer.find("data")
        given = "" if body is None else body.get("shape", "")
        dims = tuple(map(_side, given.split(","))) if given else None
        dtype = "" if body is None else body.get("element_type", "")
        port = layer.find("./output/port")
        names = ("" if port is None else port.get("names", "")).split(",")[0]
        facts.inputs.append(TensorInfo(names or name, _DTYPES.get(dtype, dtype), dims))
    elif kind == "Result":
        port = layer.find("./input/port")
        sizes = [] if port is None else [dim.text or "" for dim in port.iterfind("dim")]
        shape = tuple(map(_side, sizes))
        precision = "" if port is None else port.get("precision", "")
        facts.outputs.append(
            TensorInfo(min(called, default=name), _PORT_DTYPES.get(precision, precision), shape, called)
        )


def _side(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= _DIGITS_MAX else None
