"""Complete descriptions for tests of what runs by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge_runtime.core.description import DECODERS
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.metadata.defaults import CENTRED, FRACTIONS
from edge_runtime.engine.spec import InputSpec, ModelSpec, OutputSpec, ThresholdSpec


def input_spec(**changes: Any) -> InputSpec:
    """An RGB model of 32 x 32, numbers 0..1, that stretches frames."""
    usual = InputSpec(
        name="x",
        dtype="float32",
        layout="NCHW",
        color="RGB",
        size=(32, 32),
        resize="stretch",
        interpolation="linear",
        crop=1.0,
        mean=(0.0,),
        std=(1.0,),
        scale=255.0,
        pad=114,
    )
    return replace(usual, **changes)


_FIRST = ("detection", *DECODERS)  # of decoders that several tasks have, detection's is meant


def model_spec(
    decoder: str,
    labels: tuple[str, ...] = ("scratch", "dent"),
    *,
    task: str | None = None,
    thresholds: ThresholdSpec | None = None,
    output: OutputSpec | None = None,
    **input_changes: Any,
) -> ModelSpec:
    """A model for ``decoder`` with usual thresholds."""
    return ModelSpec(
        task=task or next(name for name in _FIRST if decoder in DECODERS[name]),
        decoder=decoder,
        input=input_spec(**input_changes),
        output=output or OutputSpec(None, "cxcywh" if decoder in CENTRED else "xyxy", normalized=decoder in FRACTIONS),
        labels=labels,
        thresholds=thresholds or ThresholdSpec(0.25, 0.5, 100),
    )


def outputs(*shapes: tuple[int, ...]) -> list[TensorInfo]:
    """Outputs `out0`, `out1` ... of these shapes."""
    return [TensorInfo(f"out{i}", "float32", shape) for i, shape in enumerate(shapes)]
