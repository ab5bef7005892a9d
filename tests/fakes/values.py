"""Frames, verdicts and model facts with every field filled in, for tests that care about one or two of them."""

from __future__ import annotations

from edge_runtime.core.frame import Frame, SlotRef
from edge_runtime.core.result import ModelRef, Prediction
from edge_runtime.pipeline.attempt import Verdict
from edge_runtime.pipeline.facts import ModelFacts

FACTS = ModelFacts(
    model=ModelRef("surface-defects", "1.2.0", "sha256:" + "ab" * 32),
    backend="openvino",
    device="CPU",
    precision="int8",
    task="detection",
    labels=("scratch", "dent"),
    score_min=0.25,
    by_label={"dent": 0.5},
)


def make_frame(
    frame_id: int, captured_mono_ns: int, *, camera: str = "top", slot: SlotRef | None = None, simulated: bool = False
) -> Frame:
    return Frame(
        camera=camera,
        frame_id=frame_id,
        captured_utc_ns=1_800_000_000_000_000_000 + captured_mono_ns,
        captured_mono_ns=captured_mono_ns,
        width=640,
        height=480,
        channels=3,
        slot=slot or SlotRef(frame_id % 6, 2 * frame_id),
        read_ms=1.5,
        simulated=simulated,
        origin=f"{frame_id:04}.png",
    )


def make_prediction(
    label: str = "scratch", score: float = 0.9, box: tuple[float, float, float, float] | None = (10, 20, 30, 40)
) -> Prediction:
    return Prediction(label, score, box, id=0)


def make_verdict(*predictions: Prediction) -> Verdict:
    return Verdict(
        predictions=predictions, preprocess_ms=1.0, infer_ms=8.0, postprocess_ms=0.5, queue_ms=2.0, device="CPU"
    )
