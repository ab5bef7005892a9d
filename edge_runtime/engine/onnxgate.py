"""A look at an ONNX file's wire format in pure Python, before any native code may parse it.

A 66-byte model can crash a native reader, so what is plainly wrong is refused here: a file that is not ONNX, was cut
off, names files beside it, holds operators of vendors we do not load, or is nested or wired in ways that are known to
crash or hang the engines. Weights are skipped, never copied. This is a gate, not a proof: new models are tried out in
a process that may die. Field numbers: onnx/onnx.proto3 (IR version 3 and later).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NoReturn

from edge_runtime.core.errors import DataError
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.wire import BrokenWireError, wire_fields, wire_int, wire_text

SIZE_LIMIT_BYTES: Final = 2 << 30  # protobuf's own limit
NODE_LIMIT: Final = 15_000
"""More is no model of a camera. A chain of less may still hang OpenVINO, whose time grows with its square (1000 `Relu`:
3 s, 2000: 14 s); `engine.worker` has a limit in time for that."""
DEPTH_LIMIT: Final = 4  # `If` in `If` doubles OpenVINO's compile time with each level
TEXT_LIMIT_BYTES: Final = 4 << 20
DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
OWN_DOMAINS: Final = DOMAINS | {"com.microsoft.nchwc"}  # what ONNX Runtime writes about its own compiled graphs
# operators that crash OpenVINO's reader when an input is missing, whatever their domain; all of ONNX and com.microsoft
# were tried with 0 to 4 inputs
_MIN_INPUTS: Final = (
    {"Conv": 2, "Pad": 2, "GatherND": 2, "Gather": 2, "MatMul": 2, "ScatterND": 3, "QLinearConv": 8}
    | {"FusedConv": 2, "Attention": 3}
    | dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "LogSoftmax", "Max", "Mean", "Min", "Sum"), 1)
)
AXES_LIMIT: Final = 64
_DTYPE_NAMES: Final = ("float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16")
_DTYPES: Final = dict(enumerate((*_DTYPE_NAMES, "float64", "uint32", "uint64"), start=1)) | {16: "bfloat16"}


@dataclass(slots=True)
class OnnxFacts:
    """What the file says about itself: metadata, inputs that are not weights, outputs, operators by type."""

    ir_version: int = 0
    producer: str = ""
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
        domains: operator domains that may occur.

    Raises:
        DataError: codes ``model.unreadable`` (not a whole ONNX file), ``model.external_data``,
            ``model.unknown_operator``, ``model.unsafe`` (built in a way that is known to crash or hang an engine).
    """
    if not data:
        _refuse("unreadable", f"{where}: the file is empty", "copy the model again")
    if len(data) > SIZE_LIMIT_BYTES:
        _refuse("unreadable", f"{where}: {len(data)} bytes, the limit is {SIZE_LIMIT_BYTES}", "use a smaller model")
    start = bytes(data[:64]).lstrip().lower()
    if start.startswith((b"<", b"{")) or b"git-lfs" in start:
        kind = "a web or XML page" if start.startswith(b"<") else "text"
        _refuse("unreadable", f"{where}: expected an ONNX model, found {kind}", "download the model itself")
    try:
        facts = _Walk(where, domains).model(memoryview(data))
    except (BrokenWireError, UnicodeDecodeError) as error:
        message = f"{where}: not a whole ONNX model: {error}"
        raise DataError(
            "model.unreadable", message, help="the file was cut off or is something else; copy it again"
        ) from error
    if not facts.ir_version or not facts.outputs:
        _refuse("unreadable", f"{where}: no ONNX graph inside", "export the model again")
    return facts


def _refuse(code: str, message: str, help_: str) -> NoReturn:
    raise DataError(f"model.{code}", message, help=help_)


@dataclass(slots=True)
class _Walk:
    where: str
    domains: frozenset[str]
    facts: OnnxFacts = field(default_factory=OnnxFacts)
    nodes: int = 0

    def model(self, view: memoryview) -> OnnxFacts:
        for number, value in wire_fields(view):
            match number:
                case 1:
                    self.facts.ir_version = wire_int(value)
                case 2:
                    self.facts.producer = wire_text(value)
                case 7:
                    self.graph(value, 0)
                case 14:
                    pair = {n: wire_text(v) for n, v in wire_fields(value)}
                    self.facts.metadata[pair.get(1, "")] = pair.get(2, "")
                case 25:  # functions may call each other without end
                    _refuse("unsafe", f"{self.where}: model-local functions", "export with the functions inlined")
                case _:
                    pass
        return self.facts

    def graph(self, graph: int | memoryview, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            _refuse("unsafe", f"{self.where}: graphs nested deeper than {DEPTH_LIMIT}", "simplify the control flow")
        weights, inputs = set(), []
        for number, value in wire_fields(graph):
            match number:
                case 1:
                    self.node(value, depth)
                case 5:
                    weights.add(self.tensor(value))
                case 11:
                    inputs.append(_value_info(value))
                case 12 if depth == 0:
                    self.facts.outputs.append(_value_info(value))
                case 15:
                    self.sparse(value)
                case _:
                    pass
        if depth == 0:  # before IR version 4 every weight is listed as an input too
            self.facts.inputs = [one for one in inputs if one.name not in weights]

    def node(self, node: int | memoryview, depth: int) -> None:
        inputs, operator, domain = 0, "", ""
        for number, value in wire_fields(node):
            match number:
                case 1:
                    wire_text(value)
                    inputs += 1
                case 4:
                    operator = wire_text(value)
                case 5:
                    self.attribute(value, depth)
                case 7:
                    domain = wire_text(value)
                case _:
                    pass
        needed = _MIN_INPUTS.get(operator, 0)
        if domain not in self.domains:
            message = f"{self.where}: operator {domain}.{operator} is not loaded"
            _refuse("unknown_operator", message, "export the model without custom operators")
        if inputs < needed:
            _refuse("unsafe", f"{self.where}: {operator} has {inputs} input(s), it needs {needed}", "export it again")
        self.facts.operators[operator] += 1
        self.nodes += 1
        if self.nodes > NODE_LIMIT:
            _refuse("unsafe", f"{self.where}: more than {NODE_LIMIT} operators", "use a smaller model")

    def attribute(self, attribute: int | memoryview, depth: int) -> None:
        name, whole = "", 0
        for number, value in wire_fields(attribute):
            match number:
                case 1:
                    name = wire_text(value)
                case 3:
                    whole = wire_int(value)
                case 5 | 10:  # tensor, tensors
                    self.tensor(value)
                case 6 | 11:  # graph, graphs
                    self.graph(value, depth + 1)
                case 22 | 23:  # sparse tensor, sparse tensors
                    self.sparse(value)
                case _:
                    pass
        if name == "batch_dims" and not 0 <= whole <= AXES_LIMIT:  # crashes ONNX Runtime, hangs OpenVINO
            _refuse("unsafe", f"{self.where}: {name} is {whole}", "export it again")

    def sparse(self, tensor: int | memoryview) -> None:
        for number, value in wire_fields(tensor):
            if number in (1, 2):  # values, indices
                self.tensor(value)

    def tensor(self, tensor: int | memoryview) -> str:
        name, dtype = "", 0
        for number, value in wire_fields(tensor):
            match number:
                case 2:
                    dtype = wire_int(value)
                case 8:
                    name = wire_text(value)
                case 13 | 14 if value:  # external_data, data_location
                    _refuse("external_data", f"{self.where}: weights lie in another file", "save the model as one file")
        self.facts.weight_types[_dtype(dtype)] += 1
        return name


def _value_info(info: int | memoryview) -> TensorInfo:
    parts = dict(wire_fields(info))
    type_ = dict(wire_fields(parts[2])) if 2 in parts else {}  # noqa: PLR2004 - type
    tensor = dict(wire_fields(type_[1])) if 1 in type_ else {}
    dims = wire_fields(tensor[2]) if 2 in tensor else None  # noqa: PLR2004 - shape
    shape = None if dims is None else tuple(_dimension(value) for number, value in dims if number == 1)
    return TensorInfo(wire_text(parts.get(1, memoryview(b""))), _dtype(wire_int(tensor.get(1, 0))), shape)


def _dtype(number: int) -> str:
    return _DTYPES.get(number) or f"type {number}"


def _dimension(dimension: int | memoryview) -> int | None:
    size = wire_int(dict(wire_fields(dimension)).get(1, 0))
    return size if size > 0 else None
