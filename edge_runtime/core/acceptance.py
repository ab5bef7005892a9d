"""When a model answers well enough: how far it may be from its golden answers, and what it may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_runtime.core.jsonfields import Section

GATES: Final = ("p50_ms", "p99_ms", "memory_mb", "iou", "score", "cosine")
SCORE_TOLERANCE: Final = 0.02
IOU_TOLERANCE: Final = 0.9
COSINE_TOLERANCE: Final = 0.99


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far an engine may be from the golden answers.

    Attributes:
        score: largest absolute difference of a score.
        iou: least intersection over union of a box and the one it should be.
        cosine: least cosine between the scores of a frame's labels, for models that find no places.
    """

    score: float = SCORE_TOLERANCE
    iou: float = IOU_TOLERANCE
    cosine: float = COSINE_TOLERANCE


@dataclass(frozen=True, slots=True)
class Gates:
    """What a box must reach with this model before it may work there; ``None`` = not asked for.

    Attributes:
        p50_ms: milliseconds that a frame may take, from its pixels to its predictions, median.
        p99_ms: the same, 99th percentile.
        memory_mb: MiB that a process with nothing but this model may have resident at most.
        iou: least IoU over all golden frames; where `Tolerances` are wider this is what counts.
        score: largest difference of a score over all golden frames, likewise.
        cosine: least cosine over all golden frames, likewise.
    """

    p50_ms: float | None = None
    p99_ms: float | None = None
    memory_mb: float | None = None
    iou: float | None = None
    score: float | None = None
    cosine: float | None = None


def read_tolerances(golden: Section) -> Tolerances:
    """Read the section `tolerances` of ``golden``; what is wrong is noted there."""
    section, default = golden.section("tolerances"), Tolerances()
    score, iou, cosine = (section.number(key, 0, 1) for key in ("score", "iou", "cosine"))
    return Tolerances(
        default.score if score is None else score,
        default.iou if iou is None else iou,
        default.cosine if cosine is None else cosine,
    )


def read_gates(golden: Section) -> Gates:
    """Read the section `gates` of ``golden``; what is wrong, or not a gate, is noted there."""
    """Read what must be reached; a gate that nobody knows would stand open, so it is an error."""
    section = golden.section("gates")
    for key in section.data:
        if key not in GATES:
            section.problems.append(f"{section.path}{key}: unknown gate, known are {', '.join(GATES)}")
    limits = {"p50_ms": 1e6, "p99_ms": 1e6, "memory_mb": 1e6}
    return Gates(*(section.number(key, 0, limits.get(key, 1)) for key in GATES))
