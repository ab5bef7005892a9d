"""What no honest OpenVINO IR has and its reader or compiler may crash, hang or choke on.

Weights inside the `.bin` and as large as their shapes; ports and edges that fit together, no circles; numbers and sizes
within reason; little control flow, barely nested. The format: docs.openvino.ai, "Operation sets" and IR v11.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final

from edge_runtime.engine.gates.onnxrules import CONTROL_LIMIT, DEPTH_LIMIT, NODE_LIMIT, NUMBER_LIMIT
from edge_runtime.engine.gates.onnxtensor import ELEMENTS_LIMIT
from edge_runtime.engine.gates.refusal import refuse

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

_CONTROL: Final = frozenset({"If", "Loop", "TensorIterator"})
_SOURCES: Final = frozenset({"Const", "Parameter", "ReadValue"})
_BODIES: Final = ("body", "then_body", "else_body")
_BITS: Final = {
    "f64": 64,
    "f32": 32,
    "f16": 16,
    "bf16": 16,
    "i64": 64,
    "i32": 32,
    "i16": 16,
    "i8": 8,
    "i4": 4,
    "boolean": 8,
} | {"u64": 64, "u32": 32, "u16": 16, "u8": 8, "u4": 4, "u1": 1, "f8e4m3": 8, "f8e5m2": 8, "nf4": 4}
_BOUNDED: Final = frozenset(
    {"axis", "axes", "batch_axis", "batch_dims", "block_size", "dilations", "group", "hidden_size", "kernel", "levels"}
    | {"num_splits", "output_padding", "pads_begin", "pads_end", "seq_axis", "size", "strides", "pooled_h", "pooled_w"}
)
_POSITIVE: Final = frozenset(
    {"block_size", "dilations", "group", "hidden_size", "kernel", "num_splits", "strides", "pooled_h", "pooled_w"}
)
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")
_AGAIN: Final = "the file was damaged or made by hand; convert the model again"


@dataclass(slots=True)
class IrRules:
    """Judges one file; ``weights_bytes`` is the size of its `.bin`."""

    where: str
    weights_bytes: int
    control: int = 0
    layers: int = 0

    def check(self, root: ET.Element) -> None:
        """Refuse the IR if it breaks a rule.

        Raises:
            DataError: codes ``model.unsafe``, ``model.unreadable``.
        """
        self._graph(root, 0)

    def _graph(self, net: ET.Element, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            refuse("unsafe", f"{self.where}: graphs nested deeper than {DEPTH_LIMIT}", "simplify the control flow")
        ports: dict[str, tuple[set[str], set[str]]] = {}
        for layer in net.iterfind("./layers/layer"):
            number = layer.get("id", "")
            if not number.isdecimal() or number in ports:
                refuse("unreadable", f"{self.where}: two layers have the id {number[:20]!r}, or it is none", _AGAIN)
            ports[number] = (self._ports(layer, "input"), self._ports(layer, "output"))
            self._layer(layer)
            for name in _BODIES:
                for body in layer.iterfind(name):
                    self._graph(body, depth + 1)
        self._edges(net, ports)

    def _layer(self, layer: ET.Element) -> None:
        kind = layer.get("type", "")
        self.layers += kind != "Const"
        if self.layers > NODE_LIMIT:
            refuse("unsafe", f"{self.where}: more than {NODE_LIMIT} operators", "use a smaller model")
        self.control += kind in _CONTROL
        if self.control > CONTROL_LIMIT:
            refuse("unsafe", f"{self.where}: more than {CONTROL_LIMIT} If and Loop", "simplify the control flow")
        if kind not in _SOURCES and layer.find("./input/port") is None:  # OpenVINO's reader crashes for some of them
            refuse("unsafe", f"{self.where}: {_title(layer)} has no input", _AGAIN)
        data = layer.find("data")
        if kind == "Const":
            self._constant(layer, {} if data is None else data.attrib)
        elif data is not None:
            self._numbers(layer, data.attrib)

    def _ports(self, layer: ET.Element, side: str) -> set[str]:
        """Return the ids of the ports of one side."""
        found: set[str] = set()
        for port in layer.iterfind(f"./{side}/port"):
            number = port.get("id", "")
            if number in found:
                refuse("unreadable", f"{self.where}: {_title(layer)} has port {number[:20]!r} twice", _AGAIN)
            found.add(number)
            self._size([dim.text or "" for dim in port.iterfind("dim")], layer)
        return found

    def _size(self, dims: list[str], layer: ET.Element) -> int:
        """Return how many elements a shape has at least; -1 is a side that is not fixed."""
        sides = [int(one) if _WHOLE.fullmatch(one.strip()) else -2 for one in dims]
        count = math.prod(max(one, 1) for one in sides) if 0 not in sides else 0
        if min(sides, default=0) < -1 or max(count, *sides, 0) > ELEMENTS_LIMIT:
            shape = "x".join(one[:24] for one in dims[:8])
            refuse("unsafe", f"{self.where}: {_title(layer)} has the impossible shape {shape}", _AGAIN)
        return count

    def _constant(self, layer: ET.Element, data: dict[str, str]) -> None:
        shape = [one for one in data.get("shape", "").split(",") if one.strip()]
        count = self._size(shape, layer)
        offset, size = data.get("offset", ""), data.get("size", "")
        if not (offset.isdecimal() and size.isdecimal() and len(offset) < 18 and len(size) < 18):  # noqa: PLR2004
            refuse("unreadable", f"{self.where}: {_title(layer)} does not say where its numbers lie", _AGAIN)
        if int(offset) + int(size) > self.weights_bytes:
            message = f"{self.where}: {_title(layer)} lies beyond the {self.weights_bytes} bytes of the .bin"
            refuse("unreadable", message, "the .bin was cut off or belongs to another model; copy both files again")
        bits = _BITS.get(data.get("element_type", ""))
        if bits is None:
            kind = data.get("element_type", "")[:20]
            refuse("unsafe", f"{self.where}: {_title(layer)} is of the type {kind!r}", "export it with numbers only")
        needed = (count * bits + 7) // 8
        if int(size) != needed:
            message = f"{self.where}: {_title(layer)} has {size} bytes, its shape needs {needed}"
            refuse("unreadable", message, _AGAIN)

    def _numbers(self, layer: ET.Element, data: dict[str, str]) -> None:
        for name, text in data.items():
            if name not in _BOUNDED:
                continue
            least = 1 if name in _POSITIVE else -NUMBER_LIMIT
            for one in filter(None, (part.strip() for part in text.split(","))):
                if not _WHOLE.fullmatch(one) or not least <= int(one) <= NUMBER_LIMIT:
                    refuse("unsafe", f"{self.where}: {name} of {_title(layer)} is {one[:24]}", _AGAIN)

    def _edges(self, net: ET.Element, ports: dict[str, tuple[set[str], set[str]]]) -> None:
        sorter: TopologicalSorter[str] = TopologicalSorter()
        fed: set[tuple[str, str]] = set()
        for edge in net.iterfind("./edges/edge"):
            source, target = edge.get("from-layer", ""), edge.get("to-layer", "")
            out, into = edge.get("from-port", ""), edge.get("to-port", "")
            fits = source in ports and target in ports and out in ports[source][1] and into in ports[target][0]
            if not fits or (target, into) in fed:
                text = f"from {source}:{out} to {target}:{into}"[:100]
                refuse("unreadable", f"{self.where}: the edge {text} has no ends or a second source", _AGAIN)
            fed.add((target, into))
            sorter.add(target, source)
        for number, (inputs, _) in ports.items():
            if any((number, one) not in fed for one in inputs):
                refuse("unreadable", f"{self.where}: layer {number} has an input that nothing feeds", _AGAIN)
        try:
            sorter.prepare()
        except CycleError:
            refuse("unsafe", f"{self.where}: layers that need their own answer", _AGAIN)


def _title(layer: ET.Element) -> str:
    return f"{layer.get('type', '')[:40]} {layer.get('name', '')[:60]!r}"
