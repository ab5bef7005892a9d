"""`golden/expected.json` of a model package: pictures and what a trusted run saw in them.

    {"schema": "golden/1", "trusted": {"backend": ..., "version": ..., "device": ..., "precision": ...},
     "frames": [{"file": "frame-01.jpg", "predictions": [{"label": ..., "score": ..., "box": [x, y, w, h], ...}]}]}

Predictions have the fields of `core.result.Prediction`, best first; ``trusted`` says what ran and is for people.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import Section, load_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA: Final = "golden/1"
FOLDER: Final = "golden"
ANSWERS_NAME: Final = "expected.json"
ANSWERS_LIMIT_BYTES: Final = 16 << 20
FRAMES_LIMIT: Final = 200
PICTURE: Final = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]{0,99}\.(jpg|jpeg|png)", re.IGNORECASE)
"""Name of a picture in the folder."""
REMAKE: Final = "make it again with: edge-runtime models pack DIR --force"
_DIGITS = 7  # as many as a float32 has
_BOX_NUMBERS = 4
_OUTLINE_POINTS_MIN = 3

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class GoldenFrame:
    """A picture and what a trusted run saw in it, best first."""

    file: str
    predictions: tuple[Fields, ...]


def parse_golden(raw: bytes, where: str) -> tuple[GoldenFrame, ...]:
    """Return the golden frames in ``raw``, the bytes of the file ``where``.

    Raises:
        DataError: code ``manifest.unreadable`` (not one JSON object) or ``golden.invalid``.
    """
    data = load_object(raw, where, limit_bytes=ANSWERS_LIMIT_BYTES)
    problems: list[str] = []
    top = Section(data, "", problems, [])
    schema = top.text("schema", required=True)
    if schema not in (SCHEMA, None):
        problems.append(f"schema: expected {SCHEMA!r}, found {schema!r}")
    frames = tuple(_frame(section) for section in top.sections("frames"))
    if not 1 <= len(frames) <= FRAMES_LIMIT:
        problems.append(f"frames: expected 1 to {FRAMES_LIMIT}, found {len(frames)}")
    if problems:
        raise DataError("golden.invalid", f"{where}: {'; '.join(problems[:5])}", help=REMAKE)
    return frames


def _frame(section: Section) -> GoldenFrame:
    file = section.text("file", required=True, pattern=PICTURE) or ""
    rows = [] if section.get("predictions") == [] else section.sections("predictions")
    for row in rows:
        row.text("label", required=True)
        row.text("text")
        if row.get("score") is None or row.number("score", 0, 1) is None:
            row.wrong("score", "a number from 0 to 1", row.get("score"))
        box = row.get("box")
        if box is not None and not (isinstance(box, list) and len(box) == _BOX_NUMBERS and all(map(_is_number, box))):
            row.wrong("box", "x, y, width and height", box)
        if "polygon" in row.data and not _is_points(row.get("polygon"), 2, _OUTLINE_POINTS_MIN):
            row.wrong("polygon", "a list of at least three x, y", row.get("polygon"))
        if "keypoints" in row.data and not _is_points(row.get("keypoints"), 3, 0):
            row.wrong("keypoints", "a list of x, y, score", row.get("keypoints"))
        if "value" in row.data and not _is_number(row.get("value")):
            row.wrong("value", "a number", row.get("value"))
        row.text("rle")
    return GoldenFrame(file, tuple(dict(row.data) for row in rows))


def write_golden(frames: Mapping[str, Sequence[object]], trusted: Mapping[str, object]) -> bytes:
    """Return the content of the file: ``frames`` holds the predictions by picture, ``trusted`` what judged them."""
    rows = [{"file": file, "predictions": _rounded(list(predictions))} for file, predictions in sorted(frames.items())]
    document = {"schema": SCHEMA, "trusted": dict(trusted), "frames": rows}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return value


def _is_points(value: object, numbers: int, least: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= least
        and all(isinstance(one, list) and len(one) == numbers and all(map(_is_number, one)) for one in value)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
