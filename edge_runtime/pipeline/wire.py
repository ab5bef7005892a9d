"""Reads what children send to main.

Children hold native code and untrusted bytes, so nothing in a message is believed before its type and range were
checked here; a message that does not fit is a protocol fault of the child.
"""

from __future__ import annotations

import math
import reprlib
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.core.frame import Frame, SlotRef
from edge_runtime.core.jsonfields import Section
from edge_runtime.core.picture import GREY_MAX, SHARPNESS_MAX, PictureNumbers
from edge_runtime.core.reference import read_reference
from edge_runtime.core.result import PREDICTIONS_LIMIT, SHAPES_BYTES_LIMIT, ModelRef, Prediction
from edge_runtime.pipeline.attempt import NS_PER_MS, Verdict
from edge_runtime.pipeline.facts import ModelFacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_runtime.core.reference import ModelReference

MAX_TEXT = 4096
_INT_MAX = 1 << 63
_SECONDS_MAX = 1e9

Message = dict[str, object]


def text(message: Mapping[str, object], key: str, default: str | None = None) -> str:
    """Return a string field, at most ``MAX_TEXT`` characters of it.

    Raises:
        DataError: the field is missing without default, or is no string.
    """
    value = message.get(key, default)
    if not isinstance(value, str):
        raise _misfit(key, "text", value)
    return value[:MAX_TEXT]


def integer(message: Mapping[str, object], key: str) -> int:
    """Return a field that is an integer of 0 .. 2**63 - 1.

    Raises:
        DataError: it is not.
    """
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _INT_MAX:
        raise _misfit(key, "an integer >= 0", value)
    return value


def number(message: Mapping[str, object], key: str) -> float:
    """Return a finite number.

    Raises:
        DataError: it is not.
    """
    return _finite(message.get(key), key)


def frame(message: Mapping[str, object], camera: str, *, simulated: bool, max_pixels: int) -> Frame:
    """Read a ``frame`` message of camera ``camera``.

    Raises:
        DataError: a field is missing or out of range.
    """
    width, height, channels = (integer(message, key) for key in ("width", "height", "channels"))
    if not 0 < width * height <= max_pixels or channels not in (1, 3):
        raise _misfit(
            "width x height x channels", f"1..{max_pixels} pixels of 1 or 3 channels", (width, height, channels)
        )
    return Frame(
        camera=camera,
        frame_id=integer(message, "frame"),
        captured_utc_ns=integer(message, "utc_ns"),
        captured_mono_ns=integer(message, "mono_ns"),
        width=width,
        height=height,
        channels=channels,
        slot=SlotRef(integer(message, "slot"), integer(message, "generation")),
        read_ms=number(message, "read_ms"),
        simulated=simulated,
        origin=_origin(message),
    )


def bad_frame(message: Mapping[str, object], camera: str, *, simulated: bool) -> Frame:
    """Read a ``bad_frame`` message.

    Raises:
        DataError: a field is missing or out of range.
    """
    return Frame.without_pixels(
        camera,
        integer(message, "frame"),
        utc_ns=integer(message, "utc_ns"),
        mono_ns=integer(message, "mono_ns"),
        simulated=simulated,
        origin=_origin(message),
    )


def picture(message: Mapping[str, object], *, max_pixels: int) -> PictureNumbers:
    """Read a ``picture`` message: what was measured on one picture.

    Raises:
        DataError: a field is missing or out of range.
    """
    width, height = integer(message, "width"), integer(message, "height")
    if not 0 < width * height <= max_pixels:
        raise _misfit("width x height", f"1..{max_pixels} pixels", (width, height))
    shift = message.get("shift")
    if shift is not None and not (isinstance(shift, list) and len(shift) == 2):  # noqa: PLR2004 - right, down
        raise _misfit("shift", "[right, down]", shift)
    return PictureNumbers(
        frame_id=integer(message, "frame"),
        width=width,
        height=height,
        brightness=_within(message.get("brightness"), "brightness", 0.0, GREY_MAX),
        contrast=_within(message.get("contrast"), "contrast", 0.0, GREY_MAX),
        black=_within(message.get("black"), "black", 0.0, 1.0),
        white=_within(message.get("white"), "white", 0.0, 1.0),
        sharpness=_perhaps(message, "sharpness", 0.0, SHARPNESS_MAX),
        detail=_within(message.get("detail"), "detail", 0.0, 1.0),
        unchanged=integer(message, "unchanged"),
        unchanged_keys=integer(message, "unchanged_keys"),
        unchanged_s=_within(message.get("unchanged_s"), "unchanged_s", 0.0, _SECONDS_MAX),
        shift=None if shift is None else (_within(shift[0], "shift", -1.0, 1.0), _within(shift[1], "shift", -1.0, 1.0)),
        likeness=_perhaps(message, "likeness", -1.0, 1.0),
    )


def frame_ids(message: Mapping[str, object]) -> list[int]:
    """Read the ids of a ``dropped`` message.

    Raises:
        DataError: they are no list of integers.
    """
    values = message.get("frames")
    if not isinstance(values, list) or not all(type(v) is int and 0 <= v < _INT_MAX for v in values):
        raise _misfit("frames", "a list of frame ids", values)
    return values


def model_facts(message: Mapping[str, object]) -> ModelFacts:
    """Read a ``loaded`` message.

    Raises:
        DataError: a field is missing or of the wrong type.
    """
    model, labels = message.get("model"), message.get("labels")
    if not isinstance(model, dict):
        raise _misfit("model", "an object", model)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise _misfit("labels", "a list of text", labels)
    thresholds = message.get("thresholds")
    by_label = thresholds.get("by_label") if isinstance(thresholds, dict) else None
    if not isinstance(thresholds, dict) or not isinstance(by_label, dict):
        raise _misfit("thresholds", "an object with by_label", thresholds)
    return ModelFacts(
        model=ModelRef(text(model, "name"), text(model, "version"), text(model, "digest")),
        backend=text(message, "backend"),
        device=text(message, "device"),
        precision=text(message, "precision"),
        task=text(message, "task"),
        reads_text=_flag(message, "reads_text"),
        labels=tuple(labels),
        score_min=_score(thresholds, "score"),
        by_label={label: _score(by_label, label) for label in by_label},
        reference=_reference(message, labels),
    )


def _reference(message: Mapping[str, object], labels: Sequence[str]) -> ModelReference | None:
    problems: list[str] = []
    found = read_reference(Section(dict(message), "", problems, []))
    if problems:
        raise DataError("child.message", f"reference: {problems[0]}")
    if found is None:
        return None
    names = {str(place): label for place, label in enumerate(labels)}
    if not set(found.labels) <= set(names):
        raise _misfit("reference", "places of labels", list(found.labels)[:3])
    return replace(found, labels={names[place]: share for place, share in found.labels.items()})


def verdict(message: Mapping[str, object], captured_mono_ns: int, facts: ModelFacts | None = None) -> Verdict:
    """Read an ``inferred`` message for a frame captured at ``captured_mono_ns``, judged by the model of ``facts``.

    Raises:
        DataError: a field is missing or out of range.
    """
    timings, predictions = message.get("timings_ms"), message.get("predictions")
    if not isinstance(timings, dict):
        raise _misfit("timings_ms", "an object", timings)
    if not isinstance(predictions, list) or len(predictions) > PREDICTIONS_LIMIT:
        raise _misfit("predictions", f"a list of at most {PREDICTIONS_LIMIT}", type(predictions).__name__)
    return Verdict(
        predictions=tuple(_prediction(item) for item in predictions),
        preprocess_ms=number(timings, "preprocess"),
        infer_ms=number(timings, "infer"),
        postprocess_ms=number(timings, "postprocess"),
        queue_ms=max(0.0, (integer(message, "started_mono_ns") - captured_mono_ns) / NS_PER_MS),
        device=text(message, "device"),
        partial=_flag(message, "partial"),
        facts=facts,
    )


def _prediction(item: object) -> Prediction:
    if not isinstance(item, dict):
        raise _misfit("prediction", "an object", item)
    box = item.get("box")
    if box is not None and not (isinstance(box, list) and len(box) == 4):  # noqa: PLR2004 - x, y, w, h
        raise _misfit("box", "[x, y, w, h]", box)
    label_id = item.get("id")
    return Prediction(
        label=text(item, "label"),
        score=_score(item, "score"),
        box=None
        if box is None
        else (_finite(box[0], "box"), _finite(box[1], "box"), _finite(box[2], "box"), _finite(box[3], "box")),
        polygon=_polygon(item.get("polygon")),
        rle=None if item.get("rle") is None else _run_lengths(item["rle"]),
        keypoints=_keypoints(item.get("keypoints")),
        text=None if item.get("text") is None else text(item, "text"),
        value=None if item.get("value") is None else number(item, "value"),
        id=None if label_id is None else integer(item, "id"),
        alternative=_flag(item, "alternative"),
    )


def _flag(message: Mapping[str, object], key: str) -> bool:
    value = message.get(key, False)
    if not isinstance(value, bool):
        raise _misfit(key, "true or false", value)
    return value


def _run_lengths(value: object) -> str:
    if not isinstance(value, str) or len(value) > SHAPES_BYTES_LIMIT or not all("0" <= c <= "o" for c in value):
        raise _misfit("rle", "the counts of a compressed COCO run-length encoding", value)
    return value


def _polygon(value: object) -> tuple[tuple[float, float], ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(point, list) and len(point) == 2 for point in value):  # noqa: PLR2004 - x, y
        raise _misfit("polygon", "a list of [x, y]", value)
    return tuple((_finite(x, "polygon"), _finite(y, "polygon")) for x, y in value)


def _keypoints(value: object) -> tuple[tuple[float, float, float], ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(point, list) and len(point) == 3 for point in value):  # noqa: PLR2004 - x, y, score
        raise _misfit("keypoints", "a list of [x, y, score]", value)
    return tuple(
        (_finite(x, "keypoints"), _finite(y, "keypoints"), _score({"score": score}, "score")) for x, y, score in value
    )


def _score(item: Mapping[str, object], key: str) -> float:
    score = number(item, key)
    if not 0.0 <= score <= 1.0:
        raise _misfit(key, "0..1", score)
    return score


def _within(value: object, key: str, low: float, top: float) -> float:
    found = _finite(value, key)
    if not low <= found <= top:
        raise _misfit(key, f"a number from {low:g} to {top:g}", found)
    return found


def _perhaps(message: Mapping[str, object], key: str, low: float, top: float) -> float | None:
    value = message.get(key)
    return None if value is None else _within(value, key, low, top)


def _origin(message: Mapping[str, object]) -> str | None:
    return None if message.get("origin") is None else text(message, "origin")


def _finite(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _misfit(key, "a finite number", value)
    try:
        found = float(value)
    except OverflowError as error:
        raise _misfit(key, "a finite number", "an integer beyond all floats") from error
    if not math.isfinite(found):
        raise _misfit(key, "a finite number", value)
    return found


def _misfit(key: str, expected: str, found: object) -> DataError:
    # reprlib: str() of what nests deeply or is very long is itself a way to hurt us
    return DataError("child.message", f"field {key!r} must be {expected}, found {reprlib.repr(found)}")
