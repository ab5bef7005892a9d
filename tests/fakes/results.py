"""Results and events with every field filled in, for tests of what happens to them after the verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_runtime.core.ids import uuid7
from edge_runtime.core.result import (
    Counters,
    Evaluation,
    Event,
    ModelRef,
    Prediction,
    RecipeRef,
    Result,
    ResultState,
    Timings,
)
from edge_runtime.publish.payload import Identity
from tests.fakes.clock import START_UTC_NS

if TYPE_CHECKING:
    from edge_runtime.system.clock import Clock

IDENTITY = Identity("plant-a", "line-3", "box-17")
BOOT = "boot-1"
DIGEST = "sha256:" + "ab" * 32


def make_result(frame_id: int, clock: Clock | None = None, *, inspection: str = "top", **fields: Any) -> Result:
    """A result with one prediction, captured now by ``clock``; any field can be given."""
    result = Result(
        id=uuid7(START_UTC_NS // 1_000_000, frame_id.to_bytes(10, "big")),
        camera="cam",
        inspection=inspection,
        frame_id=frame_id,
        captured_utc_ns=START_UTC_NS if clock is None else clock.utc_ns(),
        captured_mono_ns=0 if clock is None else clock.mono_ns(),
        width=640,
        height=480,
        evaluation=Evaluation.NOT_OK,
        state=ResultState.COMPLETED,
        reason="scratch 0.90 >= 0.5",
        score=0.9,
        recipe=RecipeRef("default", "1", DIGEST),
        model=ModelRef("surface-defects", "1.2.0", DIGEST),
        backend="openvino",
        device="CPU",
        precision="int8",
        timings=Timings(1.0, 2.0, 3.0, 4.0, 5.0, 15.0),
        counters=Counters(captured=frame_id, inferred=frame_id),
        predictions=(Prediction("scratch", 0.9, (1.0, 2.0, 3.0, 4.0), id=0),),
    )
    return replace(result, **fields)


def make_event(kind: str = "camera.lost", *, scope: str = "system", **fields: object) -> Event:
    return Event(scope, kind, "something happened", START_UTC_NS, dict(fields))
