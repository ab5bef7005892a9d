"""A look at an ONNX file's wire format in pure Python, before any native code may parse it.

A 66-byte model can crash a native reader, so what is plainly wrong is refused here: a file that is not ONNX, was cut
off, names files beside it, holds operators of vendors we do not load, or is nested or wired in ways that are known to
crash or hang the engines (`onnxrules`). Weights are skipped, never copied. This is a gate, not a proof: new models are
tried out in a process that may die (`vet`). Field numbers: onnx/onnx.proto3 (IR version 3 and later).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.gates.onnxgraph import Graph, Node
from edge_runtime.engine.gates.onnxrules import DEPTH_LIMIT, NODE_LIMIT, Rules
from edge_runtime.engine.gates.onnxtensor import check_dims, dtype_name, read_tensor, whole_numbers
from edge_runtime.engine.gates.refusal import refuse
from edge_runtime.engine.gates.wire import BrokenWireError, wire_fields, wire_int, wire_text

if TYPE_CHECKING:
    from edge_runtime.engine.gates.onnxtensor import Tensor

SIZE_LIMIT_BYTES: Final = 2 << 30  # protobuf's own limit
OPSET_LIMIT: Final = 100
"""ONNX has 28 after nine years; OpenVINO takes 9999 for its newest."""
DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
OWN_DOMAINS: Final = DOMAINS | {"com.microsoft.nchwc"}  # what ONNX Runtime writes about its own compiled graphs
_FOREIGN: Final = (
    (0, b"PK\x03\x04", "a zip archive (a PyTorch checkpoint, a Keras model or a packed folder)"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x80\x03", "a Python pickle"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"\x80\x05", "a Python pickle"),
    (0, b"\x89HDF", "an HDF5 file (Keras weights)"),
    (0, b"GGUF", "a GGUF file"),
    (0, b"\x7fELF", "a program or library"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (8, b'{"', "a safetensors file"),
)
"""Offset, bytes that stand there, and what that is: what people rename to .onnx."""


@dataclass(slots=True)
class OnnxFacts:
    """What the file says about itself: metadata, inputs that are not weights, outputs, operators by type."""

    ir_version: int = 0
    producer: str = ""
    graph_name: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    inputs: list[TensorInfo] = field(default_factory=list)
    outputs: list[TensorInfo] = field(default_factory=list)
    operators: Counter[str] = field(default_factory=Counter)
    weight_types: Counter[str] = field(default_factory=Counter)


def inspect_onnx(data: bytes | memoryview, where: str, domains: frozenset[str] = DOMAINS) -> OnnxFacts:
    """Return what an ONNX file says about itself, or refuse it.

    Args:
        data: the whole file.
        where: its name, for messages.
        domains: operator domains that may occur; with `OWN_DOMAINS` it is a graph that ONNX Runtime wrote, of which
            operands and wiring are not judged.

    Raises:
        DataError: codes ``model.unreadable`` (not a whole ONNX file), ``model.external_data``,
            ``model.unknown_operator``, ``model.unsafe`` (built in a way that is known to crash or hang an engine).
    """
    if not data:
        refuse("unreadable", f"{where}: the file is empty", "copy the model again")
    if len(data) > SIZE_LIMIT_BYTES:
        refuse("unreadable", f"{where}: {len(data)} bytes, the limit is {SIZE_LIMIT_BYTES}", "use a smaller model")
    _refuse_foreign(bytes(data[:64]), where)
    try:
        return _Walk(where, domains).model(memoryview(data))
    except (BrokenWireError, UnicodeDecodeError) as error:
        help_ = "the file was cut off or is something else; copy it again"
        refuse("unreadable", f"{where}: not a whole ONNX model: {error}", help_, error)


def _refuse_foreign(start: bytes, where: str) -> None:
    kind = next((kind for offset, magic, kind in _FOREIGN if start.startswith(magic, offset)), None)
    text = start.lstrip().lower()
    if text.startswith(b"<"):
        kind = "a web or XML page"
    elif text.startswith(b"{") or b"git-lfs" in text:
        kind = "text"
    if kind is not None:
        refuse("unreadable", f"{where}: expected an ONNX model, found {kind}", "download or export the model itself")


@dataclass(slots=True)
class _Walk:
    where: str
    domains: frozenset[str]
    facts: OnnxFacts = field(default_factory=OnnxFacts)
    nodes: int = 0

    def model(self, view: memoryview) -> OnnxFacts:
        graphs: list[Graph] = []
        opsets: dict[str, int] = {}
        for number, value in wire_fields(view):
            match number:
                case 1:
                    self.facts.ir_version = wire_int(value)
                case 2:
                    self.facts.producer = wire_text(value)
                case 7:
                    graphs.append(self.graph(value, 0))
                case 8:
                    self.opset(value, opsets)
                case 14:
                    pair = {n: wire_text(v) for n, v in wire_fields(value)}
                    self.facts.metadata[pair.get(1, "")] = pair.get(2, "")
                case 25:  # functions may call each other without end
                    refuse("unsafe", f"{self.where}: model-local functions", "export with the functions inlined")
                case _:
                    pass
        if len(graphs) != 1 or not self.facts.ir_version or not graphs[0].outputs:  # parsers join two in ways of theirs
            found = "two ONNX graphs" if len(graphs) > 1 else "no ONNX graph"
            refuse("unreadable", f"{self.where}: {found} inside", "export the model again")
        (graph,) = graphs
        self.facts.outputs = graph.outputs
        # before IR version 4 every weight is listed as an input too
        self.facts.inputs = [one for one in graph.inputs if one.name not in graph.weights]
        if self.domains is not OWN_DOMAINS:
            Rules(self.where, opsets.get("", 0)).check(graph)
        return self.facts

    def opset(self, value: int | memoryview, opsets: dict[str, int]) -> None:
        """Read which version of which operators the model was written for into ``opsets``; ONNX' own are ``""``."""
        domain, version = "", 0
        for number, part in wire_fields(value):
            if number == 1:
                domain = wire_text(part)
            elif number == 2:  # noqa: PLR2004 - version
                version = wire_int(part)
        domain = "" if domain == "ai.onnx" else domain
        if not 0 < version <= OPSET_LIMIT:
            message = f"{self.where}: operator set {domain or 'ai.onnx'} {version} does not exist"
            refuse("unknown_operator", message, "export the model for an operator set that the engines know")
        if domain in opsets:
            message = f"{self.where}: operator set {domain or 'ai.onnx'} is stated twice"
            refuse("unreadable", message, "export the model again")
        opsets[domain] = version

    def graph(self, view: int | memoryview, depth: int) -> Graph:
        if depth > DEPTH_LIMIT:
            refuse("unsafe", f"{self.where}: graphs nested deeper than {DEPTH_LIMIT}", "simplify the control flow")
        graph = Graph()
        for number, value in wire_fields(view):
            match number:
                case 1:
                    graph.nodes.append(self.node(value, depth))
                case 2 if depth == 0:
                    self.facts.graph_name = wire_text(value)
                case 5:
                    graph.add_weight(self.tensor(value))
                case 11:
                    graph.inputs.append(self.value_info(value))
                case 12:
                    graph.outputs.append(self.value_info(value))
                case 13:
                    self.value_info(value)
                case 15:
                    graph.weights.add(self.sparse(value))
                case _:
                    pass
        return graph

    def node(self, view: int | memoryview, depth: int) -> Node:
        node = Node()
        for number, value in wire_fields(view):
            match number:
                case 1:
                    node.inputs.append(self.name(value))
                case 2:
                    node.outputs.append(self.name(value))
                case 4:
                    node.operator = wire_text(value)
                case 5:
                    self.attribute(value, depth, node)
                case 7:
                    node.domain = wire_text(value)
                case _:
                    pass
        if node.domain not in self.domains:
            message = f"{self.where}: operator {node.domain}.{node.operator} is not loaded"
            refuse("unknown_operator", message, "export the model without custom operators")
        self.facts.operators[node.operator] += 1
        self.nodes += 1
        if self.nodes > NODE_LIMIT:
            refuse("unsafe", f"{self.where}: more than {NODE_LIMIT} operators", "use a smaller model")
        return node

    def name(self, value: int | memoryview) -> str:
        name = wire_text(value)
        if "\0" in name:
            message = f"{self.where}: the name {name[:40]!r} has a zero in it, at which some parsers cut it"
            refuse("unsafe", message, "export it again")
        return name

    def attribute(self, view: int | memoryview, depth: int, node: Node) -> None:
        name, numbers = "", []
        for number, value in wire_fields(view):
            match number:
                case 1:
                    name = wire_text(value)
                case 3:
                    numbers.append(wire_int(value))
                case 8:
                    numbers += whole_numbers(value)
                case 5 | 10:  # tensor, tensors
                    node.constant = self.tensor(value).values
                case 6 | 11:  # graph, graphs
                    node.bodies.append(self.graph(value, depth + 1))
                case 22 | 23:  # sparse tensor, sparse tensors
                    self.sparse(value)
                case _:
                    pass
        if numbers:
            node.numbers[name] = tuple(numbers)

    def sparse(self, view: int | memoryview) -> str:
        """Return the name of the sparse tensor, which is that of its values."""
        name = ""
        for number, value in wire_fields(view):
            if number == 1:  # values
                name = self.tensor(value).name
            elif number == 2:  # noqa: PLR2004 - indices
                self.tensor(value)
            elif number == 3:  # noqa: PLR2004 - dims
                check_dims(whole_numbers(value), self.where, f"sparse weight {name!r}")
        return name

    def tensor(self, view: int | memoryview) -> Tensor:
        tensor = read_tensor(view, self.where)
        self.facts.weight_types[dtype_name(tensor.dtype)] += 1
        return tensor

    def value_info(self, view: int | memoryview) -> TensorInfo:
        parts = dict(wire_fields(view))
        name = self.name(parts.get(1, memoryview(b"")))
        type_ = dict(wire_fields(parts[2])) if 2 in parts else {}  # noqa: PLR2004 - type
        tensor = dict(wire_fields(type_[1])) if 1 in type_ else {}
        dims = wire_fields(tensor[2]) if 2 in tensor else None  # noqa: PLR2004 - shape
        shape = None if dims is None else tuple(_dimension(value) for number, value in dims if number == 1)
        check_dims([size for size in shape or () if size is not None], self.where, f"tensor {name!r}")
        return TensorInfo(name, dtype_name(wire_int(tensor.get(1, 0))), shape)


def _dimension(dimension: int | memoryview) -> int | None:
    size = wire_int(dict(wire_fields(dimension)).get(1, 0))
    return size if size > 0 else None
