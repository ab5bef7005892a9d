"""What the gate keeps of an ONNX graph: names, operators, small numbers. No weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.engine.base import TensorInfo
    from edge_runtime.engine.gates.onnxtensor import Numbers, Tensor


@dataclass(slots=True)
class Node:
    """One operator.

    Attributes:
        inputs: names in order; empty = left out.
        numbers: attributes that are whole numbers or lists of them.
        constant: the value of its tensor attribute, if that is small; what `Constant` answers.
        bodies: graphs inside it.
    """

    operator: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    numbers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constant: Numbers | None = None
    bodies: list[Graph] = field(default_factory=list)

    @property
    def title(self) -> str:
        """How to name it to people."""
        made = next((name for name in self.outputs if name), "")
        return f"{self.operator} that makes {made[:60]!r}"


@dataclass(slots=True)
class Graph:
    """One graph, the main one or the body of an operator.

    Attributes:
        weights: names of all of them.
        values: the numbers of those that are small.
    """

    nodes: list[Node] = field(default_factory=list)
    inputs: list[TensorInfo] = field(default_factory=list)
    outputs: list[TensorInfo] = field(default_factory=list)
    weights: set[str] = field(default_factory=set)
    values: dict[str, Numbers] = field(default_factory=dict)

    def add_weight(self, tensor: Tensor) -> None:
        """Take note of a weight."""
        self.weights.add(tensor.name)
        if tensor.values is not None:
            self.values[tensor.name] = tensor.values
