"""What a model file says about itself, before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_runtime.engine.base import TensorInfo


@dataclass(frozen=True, slots=True)
class Graph:
    """Facts of a model file.

    Attributes:
        metadata: ONNX `metadata_props`, or an IR's `rt_info` as ``section/key``; files beside it as ``file/key``.
        inputs: as the file declares them.
        outputs: likewise.
        operators: how many there are of each operator of an ONNX file.
        producer: the program that wrote an ONNX file, or what it called the graph.
        sha256: hex SHA-256 of the file, empty when unknown.
    """

    metadata: Mapping[str, str]
    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]
    operators: Mapping[str, int] = field(default_factory=dict)
    producer: str = ""
    sha256: str = ""
