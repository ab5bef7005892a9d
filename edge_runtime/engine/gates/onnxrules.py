"""What no honest ONNX graph has and an engine may crash, hang or choke on.

Operands: operators without an input that they need, in whatever operator set; axes, pads and counts beyond reason;
constant shapes of more elements than any picture. Wiring: names that nothing makes or two operators make, circles.
Control flow: more of it than a converter writes, loops that plainly do not end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.engine.gates.onnxtensor import ELEMENTS_LIMIT
from edge_runtime.engine.gates.refusal import refuse

if TYPE_CHECKING:
    from edge_runtime.engine.gates.onnxgraph import Graph, Node
    from edge_runtime.engine.gates.onnxtensor import Numbers

NODE_LIMIT: Final = 15_000
"""More is no model of a camera. A chain of less may still hang OpenVINO, whose time grows with its square (1000 `Relu`:
3 s, 2000: 14 s); `vet` and `engine.worker` have limits in time for that."""
DEPTH_LIMIT: Final = 4  # `If` in `If` doubles OpenVINO's compile time with each level
CONTROL_LIMIT: Final = 100
"""`If`, `Loop` and `Scan` in the whole file; 200 `If` in a row take OpenVINO 4 s."""
NUMBER_LIMIT: Final = 1 << 24
"""Of an axis, a pad, a stride ...: a picture has fewer pixels on a side."""
TURNS_LIMIT: Final = 1 << 31
"""From so many turns on a `Loop` has no count; converters write 2**63 - 1 for "until the condition says so"."""
AXES_LIMIT: Final = 64
_CONTROL: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_BOUNDED: Final = frozenset(
    {"axis", "axes", "group", "kernel_shape", "strides", "dilations", "pads", "paddings", "output_padding"}
    | {"output_shape", "blocksize", "perm", "num_outputs", "hidden_size", "num_heads", "split", "size", "repeats"}
)
_POSITIVE: Final = frozenset({"group", "kernel_shape", "strides", "dilations", "blocksize", "num_outputs", "num_heads"})

# operators by how many inputs they must have, the least over all their versions: the leading ones that are not optional
# in onnx.defs of onnx 1.23; every other operator needs one
_NEED_NONE = "Constant If Loop Scan Optional OptionalHasElement RandomNormal RandomUniform SequenceEmpty ImageDecoder"
_NEED_TWO = (
    "Add AffineGrid And ArrayFeatureExtractor BitShift BitwiseAnd BitwiseOr BitwiseXor CastLike CausalConvWithState "
    "CenterCropPad Compress Conv ConvInteger ConvTranspose CumProd CumSum DequantizeLinear Div Equal Expand FusedConv "
    "Gather GatherElements GatherND Gemm Greater GreaterOrEqual GridSample LayerNormalization Less LessOrEqual MatMul "
    "MatMulInteger MaxRoiPool MaxUnpool Mod Mul NegativeLogLikelihoodLoss NonMaxSuppression Or PRelu Pow "
    "QuantizeLinear RMSNormalization ReverseSequence STFT SequenceAt SequenceInsert SoftmaxCrossEntropyLoss "
    "StringConcat Sub SwiGLU TensorScatter Tile Xor"
)
_NEED_THREE = (
    "Attention Col2Im DeformConv GRU GroupNormalization InstanceNormalization LSTM LinearAttention OneHot RNN Range "
    "RoiAlign RotaryEmbedding Scatter ScatterElements ScatterND Where"
)
_NEEDED: Final = (
    dict.fromkeys(_NEED_NONE.split(), 0)
    | dict.fromkeys(_NEED_TWO.split(), 2)
    | dict.fromkeys(_NEED_THREE.split(), 3)
    | {"BatchNormalization": 5, "MelWeightMatrix": 5, "QLinearConv": 8, "QLinearMatMul": 8}
)
_EVERY_INPUT: Final = frozenset(
    {"Concat", "Einsum", "FeatureVectorizer", "Max", "Mean", "Min", "Scan", "SequenceConstruct", "SequenceMap", "Sum"}
)
"""Operators that take any number of inputs and none that is left out: ONNX Runtime crashes at `Einsum` with one."""
_INPUTS_SINCE: Final = {"Pad": (11, 2), "Slice": (10, 3), "Reshape": (5, 2), "TopK": (10, 2), "Upsample": (9, 2)}
"""Operator -> the operator set from which on what was an attribute is an input, and how many inputs it has then."""

# operator -> which input holds a shape, whose product is the size of the answer
_SHAPE_OPERAND: Final = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1, "Tile": 1, "Resize": 3, "CenterCropPad": 1}
_COUNT_OPERAND: Final = {"TopK": 1, "OneHot": 1}


@dataclass(slots=True)
class Rules:
    """Judges graphs of one file; ``opset`` is the version of ONNX' own operators that it states, 0 = not stated."""

    where: str
    opset: int
    control: int = 0
    _unsafe_help: str = field(default="export the model again with static shapes", init=False)

    def check(self, graph: Graph) -> None:
        """Refuse ``graph`` and the graphs inside it if they break a rule.

        Raises:
            DataError: codes ``model.unsafe``, ``model.unreadable``.
        """
        self._graph(graph, frozenset(), {})

    def _graph(self, graph: Graph, outer: frozenset[str], values: dict[str, Numbers]) -> None:
        values = {**values, **graph.values}
        for node in graph.nodes:
            if node.operator == "Constant" and node.constant is None:  # value_int, value_ints
                node.constant = next(iter(node.numbers.values()), None)
            if node.operator == "Constant" and node.constant is not None and node.outputs:
                values[node.outputs[0]] = node.constant
        for node in graph.nodes:
            self._inputs(node)
            self._attributes(node)
            self._operands(node, values)
        names = self._wiring(graph, outer)
        for node in graph.nodes:
            self.control += node.operator in _CONTROL
            if self.control > CONTROL_LIMIT:
                refuse("unsafe", f"{self.where}: more than {CONTROL_LIMIT} If and Loop", "simplify the control flow")
            if node.operator == "Loop":
                self._loop(node, values)
            for body in node.bodies:
                self._graph(body, names, values)

    # operands

    def _inputs(self, node: Node) -> None:
        since, count = _INPUTS_SINCE.get(node.operator, (0, 0))
        is_newer = since and (self.opset >= since or not self.opset or node.domain)
        needed = count if is_newer else _NEEDED.get(node.operator, 1)
        given = next((at for at, name in enumerate(node.inputs[:needed]) if not name), min(len(node.inputs), needed))
        if given < needed:
            message = f"{self.where}: {node.operator} has {given} input(s), it needs {needed}"
            refuse("unsafe", message, "export it again")
        if "" in node.inputs and node.operator in _EVERY_INPUT:
            refuse("unsafe", f"{self.where}: {node.title} leaves an input out", "export it again")
        if not any(node.outputs):
            refuse("unsafe", f"{self.where}: a {node.operator} makes nothing", "export it again")

    def _attributes(self, node: Node) -> None:
        for name, numbers in node.numbers.items():
            if name == "batch_dims" and not 0 <= numbers[-1] <= AXES_LIMIT:  # crashes ONNX Runtime, hangs OpenVINO
                refuse("unsafe", f"{self.where}: {name} of {node.title} is {numbers[-1]}", "export it again")
            if name not in _BOUNDED:
                continue
            least = 1 if name in _POSITIVE else -NUMBER_LIMIT
            wrong = next((one for one in numbers if not least <= one <= NUMBER_LIMIT), None)
            if wrong is not None:
                refuse("unsafe", f"{self.where}: {name} of {node.title} is {wrong}", "export it again")

    def _operands(self, node: Node, values: dict[str, Numbers]) -> None:
        place = _SHAPE_OPERAND.get(node.operator)
        shape = self._value(node, place, values)
        if shape is not None:
            self._shape(node, shape)
        count = self._value(node, _COUNT_OPERAND.get(node.operator), values)
        if count is not None and not all(0 <= one <= NUMBER_LIMIT for one in count):
            refuse("unsafe", f"{self.where}: {node.title} counts to {count[0]:g}", self._unsafe_help)
        if node.operator == "Pad":
            pads = self._value(node, 1, values) or ()
            if any(abs(one) > NUMBER_LIMIT for one in pads):
                refuse("unsafe", f"{self.where}: {node.title} adds {max(pads, key=abs):g} pixels", self._unsafe_help)
        if node.operator == "Range":
            self._range(node, values)
        if node.operator in ("Resize", "Upsample"):
            scales = self._value(node, 1 if node.operator == "Upsample" or self.opset < 11 else 2, values)  # noqa: PLR2004
            if scales is not None and not all(0 < one <= NUMBER_LIMIT for one in scales):  # false for NaN
                refuse("unsafe", f"{self.where}: {node.title} scales by {min(scales):g}", self._unsafe_help)

    def _value(self, node: Node, place: int | None, values: dict[str, Numbers]) -> Numbers | None:
        if place is None or place >= len(node.inputs):
            return None
        return values.get(node.inputs[place])

    def _shape(self, node: Node, shape: Numbers) -> None:
        least = -1 if node.operator in ("Reshape", "Expand", "CenterCropPad") else 0  # -1: as it was
        size = math.prod(max(one, 1) for one in shape)
        if min(shape) < least or not size <= ELEMENTS_LIMIT:
            text = "x".join(f"{one:g}" for one in shape[:8])
            refuse("unsafe", f"{self.where}: {node.title} is asked for the shape {text}", self._unsafe_help)

    def _range(self, node: Node, values: dict[str, Numbers]) -> None:
        parts = [self._value(node, place, values) for place in range(3)]
        if any(part is None for part in parts):
            return
        start, end, step = (part[0] for part in parts if part is not None)
        if not step or not (end - start) / step <= NUMBER_LIMIT:
            text = f"from {start:g} to {end:g} by {step:g}"
            refuse("unsafe", f"{self.where}: {node.title} counts {text}", self._unsafe_help)

    # wiring

    def _wiring(self, graph: Graph, outer: frozenset[str]) -> frozenset[str]:
        """Return the names that bodies inside ``graph`` may use."""
        makers: dict[str, int] = {}
        given = outer | graph.weights | {one.name for one in graph.inputs}
        late = False
        for at, node in enumerate(graph.nodes):
            late = late or any(name and name not in given and name not in makers for name in node.inputs)
            for name in filter(None, node.outputs):
                if name in makers:
                    refuse("unsafe", f"{self.where}: two operators make {name[:60]!r}", "export it again")
                makers[name] = at
        names = given | makers.keys()
        for node in graph.nodes if late else ():
            lost = next((name for name in node.inputs if name and name not in names), None)
            if lost is not None:
                refuse("unreadable", f"{self.where}: {node.title} reads {lost[:60]!r}, which nothing makes", _AGAIN)
        if late:
            self._circles(graph, makers)
        outputs = [one.name for one in graph.outputs]
        for name in outputs:
            if name not in names:
                refuse("unreadable", f"{self.where}: nothing makes the output {name[:60]!r}", _AGAIN)
        if len(set(outputs)) < len(outputs):
            refuse("unsafe", f"{self.where}: two outputs have one name", "export it again")
        return frozenset(names)

    def _circles(self, graph: Graph, makers: dict[str, int]) -> None:
        """Kahn's algorithm (CACM 5 (1962) 558): what is left when nothing is ready any more goes in circles."""
        waits = [{makers[name] for name in node.inputs if name in makers} for node in graph.nodes]
        readers: dict[int, list[int]] = {}
        for at, needs in enumerate(waits):
            for one in needs:
                readers.setdefault(one, []).append(at)
        ready = [at for at, needs in enumerate(waits) if not needs]
        done = 0
        while ready:
            one = ready.pop()
            done += 1
            for reader in readers.get(one, ()):
                waits[reader].discard(one)
                if not waits[reader]:
                    ready.append(reader)
        if done < len(graph.nodes):
            left = next(node for node, needs in zip(graph.nodes, waits, strict=True) if needs)
            refuse("unsafe", f"{self.where}: {left.title} needs its own answer", "export it again")

    # loops

    def _loop(self, node: Node, values: dict[str, Numbers]) -> None:
        """Refuse a `Loop` without a count whose condition is plainly true for ever."""
        turns = self._value(node, 0, values)
        has_count = bool(node.inputs and node.inputs[0]) and (turns is None or turns[0] < TURNS_LIMIT)
        asked = node.inputs[1] if len(node.inputs) > 1 else ""
        begins = not asked or values.get(asked, (0,))[0] != 0
        if has_count or not begins or len(node.bodies) != 1:
            return
        body = node.bodies[0]
        makers = {name: one for one in body.nodes for name in one.outputs}
        name, own = body.outputs[0].name if body.outputs else "", body.inputs[1].name if len(body.inputs) > 1 else None
        for _ in body.nodes:  # a chain of Identity is no longer than that
            maker = makers.get(name)
            if maker is None or maker.operator != "Identity" or not maker.inputs:
                break
            name = maker.inputs[0]
        maker = makers.get(name)
        constant = maker.constant if maker is not None and maker.operator == "Constant" else None
        fixed = constant or body.values.get(name) or values.get(name)
        if name == own or (fixed is not None and fixed[0] != 0):
            refuse("unsafe", f"{self.where}: {node.title} never ends", "give the loop a count")


_AGAIN: Final = "the file was damaged; copy or export it again"
