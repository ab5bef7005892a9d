"""When a model answers well enough: how far it may be from its golden answers, and what it may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edge_runtime.core.jsonfields import Section

TOLERANCES: Final = ("score", "iou", "cosine", "keypoint", "value")
GATES: Final = ("p50_ms", "p99_ms", "memory_mb", *TOLERANCES)
SCORE_TOLERANCE: Final = 0.02
IOU_TOLERANCE: Final = 0.9
COSINE_TOLERANCE: Final = 0.99
KEYPOINT_TOLERANCE: Final = 0.03
VALUE_TOLERANCE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far an engine may be from the golden answers; labels and texts must be equal.

    Attributes:
        score: largest absolute difference of a score, that of a keypoint too.
        iou: least intersection over union of a box, and of its polygon or mask, with the one it should be.
        cosine: least cosine between the scores of a frame's labels, or the values of a raw model, without places.
        keypoint: furthest that a keypoint may be off, as a part of the longer side of its box.
        value: largest difference of a value, as a part of the expected one.
    """

    score: float = SCORE_TOLERANCE
    iou: float = IOU_TOLERANCE
    cosine: float = COSINE_TOLERANCE
    keypoint: float = KEYPOINT_TOLERANCE
    value: float = VALUE_TOLERANCE


@dataclass(frozen=True, slots=True)
class Gates:
    """What a box must reach with this model before it may work there; ``None`` = not asked for.

    Attributes:
        p50_ms: milliseconds that a frame may take, from its pixels to its predictions, median.
        p99_ms: the same, 99th percentile.
        memory_mb: MiB that a process with nothing but this model may have resident at most.
        score: largest difference of a score over all golden frames; where `Tolerances` are wider this is what counts.
        iou: least IoU over all golden frames, likewise.
        cosine: least cosine over all golden frames, likewise.
        keypoint: furthest keypoint over all golden frames, likewise.
        value: largest difference of a value over all golden frames, likewise.
    """

    p50_ms: float | None = None
    p99_ms: float | None = None
    memory_mb: float | None = None
    score: float | None = None
    iou: float | None = None
    cosine: float | None = None
    keypoint: float | None = None
    value: float | None = None


def read_tolerances(golden: Section) -> Tolerances:
    """Read the section `tolerances` of ``golden``; what is wrong, or no tolerance, is noted there."""
    section = golden.section("tolerances")
    _refuse_unknown(section, "tolerance", TOLERANCES)
    found = {key: section.number(key, 0, 1) for key in TOLERANCES}
    return Tolerances(**{key: value for key, value in found.items() if value is not None})


def read_gates(golden: Section) -> Gates:
    """Read the section `gates` of ``golden``; what is wrong, or not a gate, is noted there."""
    section = golden.section("gates")
    _refuse_unknown(section, "gate", GATES)
    return Gates(**{key: section.number(key, 0, 1 if key in TOLERANCES else 1e6) for key in GATES})


def _refuse_unknown(section: Section, kind: str, known: tuple[str, ...]) -> None:
    """Note every key that is not ``known``: one that nobody reads would stand open."""
    for key in section.data:
        if key not in known:
            section.problems.append(f"{section.path}{key}: unknown {kind}, known are {', '.join(known)}")
