"""What a model answers when all is well: the section `reference` of `edge-model.json`, as values. Pure.

It is made of pictures of a normal day, on purpose and by people; a running line never learns one by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.core.jsonfields import Section

SCORE_BINS: Final = 20  # of equal width, over 0..1
PICTURES_MIN: Final = 20
LABELS_MAX: Final = 256
LABEL_BYTES_MAX: Final = 256
_COUNT_MAX: Final = 2**31
_LEVEL_MAX: Final = 255.0


@dataclass(frozen=True, slots=True)
class Level:
    """Mean and standard deviation of a number of pictures."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class ModelReference:
    """What was seen in pictures of a normal day.

    Attributes:
        pictures: how many were judged, `PICTURES_MIN` or more.
        scores: predictions by score, `SCORE_BINS` bins; the best one of each label of a picture.
        labels: share of the pictures in which a label was predicted, 0 to 1.
        brightness: mean grey of the pictures, 0 to 255; ``None`` = not measured. ``sharpness``: 0 to 1, likewise.
    """

    pictures: int
    scores: tuple[int, ...]
    labels: Mapping[str, float]
    brightness: Level | None = None
    sharpness: Level | None = None


def read_reference(top: Section) -> ModelReference | None:
    """Read the section `reference` of ``top``, ``None`` without one; what is wrong is noted there."""
    if top.get("reference") is None:
        return None
    section = top.section("reference")
    pictures = section.integer("pictures", PICTURES_MIN, _COUNT_MAX)
    listed = section.get("scores")
    scores = tuple(one for one in listed if _is_count(one)) if isinstance(listed, list) else ()
    if len(scores) != SCORE_BINS or not isinstance(listed, list) or len(listed) != SCORE_BINS:
        section.wrong("scores", f"{SCORE_BINS} whole numbers", listed)
    shares = section.section("labels", open_ended=True)
    if len(shares.data) > LABELS_MAX:
        section.wrong("labels", f"at most {LABELS_MAX}", f"{len(shares.data)} of them")
    if any(len(label.encode()) > LABEL_BYTES_MAX for label in shares.data):
        section.wrong("labels", f"names of at most {LABEL_BYTES_MAX} bytes", "a longer one")
    labels = {label: shares.number(label, 0, 1) or 0.0 for label in list(shares.data)[:LABELS_MAX]}
    levels = [_level(section, name) for name in ("brightness", "sharpness")]
    section.close()
    return ModelReference(pictures or 0, scores, labels, *levels)


def reference_fields(reference: ModelReference) -> dict[str, object]:
    """Return the section as it is written."""
    fields: dict[str, object] = {
        "pictures": reference.pictures,
        "scores": list(reference.scores),
        "labels": {label: round(share, 4) for label, share in sorted(reference.labels.items())},
    }
    for name, level in (("brightness", reference.brightness), ("sharpness", reference.sharpness)):
        if level is not None:
            fields[name] = {"mean": round(level.mean, 4), "deviation": round(level.deviation, 4)}
    return fields


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _COUNT_MAX


def _level(section: Section, name: str) -> Level | None:
    if section.get(name) is None:
        return None
    inner = section.section(name)
    mean, deviation = (inner.number(key, 0, _LEVEL_MAX) for key in ("mean", "deviation"))
    inner.close()
    return Level(mean or 0.0, deviation or 0.0)
