from __future__ import annotations

from edge_runtime.cli.models_validate import as_fields, as_text
from edge_runtime.core.errors import DataError
from edge_runtime.pipeline.vet_link import Step, VetReport

MODEL = {"name": "m", "version": "1", "digest": "sha256:00", "format": "onnx", "size_bytes": 3 << 20}
GOLDEN = {"frames": 2, "problems": [], "iou": 0.98, "score": None, "cosine": None, "tolerances": {"iou": 0.9}}


def report(**facts: object) -> VetReport:
    steps = [Step("gate", "reading", 0.1), Step("golden", "comparing", 0.2), Step("speed", "timing", 3.0)]
    speed = {"latency_ms": {"p50": 2.0, "p99": 4.0}, "memory_mb": 150, "gates": {"p99_ms": 5}}
    return VetReport(steps=steps, facts={"model": MODEL, "golden": GOLDEN, **speed, **facts})


def test_each_step_has_a_line_with_its_figures() -> None:
    assert as_text(report()).splitlines() == [
        "m 1",
        "  digest  sha256:00",
        "  ok    gate         0.10 s  onnx, 3.0 MiB",
        "  ok    golden       0.20 s  2 frames, least IoU 0.9800 (from 0.9)",
        "  ok    speed        3.00 s  p50 2.0 ms, p99 4.0 ms (at most 5), memory 150.0 MiB",
        "passed",
    ]


def test_a_model_without_golden_frames_passes_with_a_word_about_it() -> None:
    text = as_text(report(golden={"frames": 0}))
    assert "the package has no golden frames" in text
    assert text.endswith("passed; no golden frames, so nothing says whether it sees what it should")


def test_problems_stand_below_their_step_and_nothing_moves_the_cursor() -> None:
    failed = report(golden={**GOLDEN, "problems": ["a.jpg: \x1b[2Jdent was not found"]})
    failed.steps[-1].seconds = None
    failed.error = DataError("golden.differs", "it differs", help="do not use it")
    text = as_text(failed)
    assert "\n            a.jpg: ?[2Jdent was not found\n" in text
    assert "  FAIL  speed           -    p50" in text
    assert "passed" not in text
    fields = as_fields(failed)
    assert fields["ok"] is False
    assert fields["error"] == {"code": "golden.differs", "message": "it differs", "help": "do not use it"}
