"""What a result is to a Sparkplug host: metrics of its device, made from the ``vision.result/1`` document.

Pure. The spool hands on bytes, so this reads JSON rather than a ``Result``: what earlier versions left on disk counts.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Evaluation
from edge_runtime.publish.sparkplug.payload import DataType, Quality
from edge_runtime.publish.sparkplug.points import Point

RESULT_JSON_MAX = 32 * 1024  # bytes; a longer document is null there: it would not fit beside anything
CAMERA_ONLINE = "Camera/Online"
SEQUENCE = "Inspection/Sequence"
_RESULT_JSON = "Inspection/ResultJson"
_EVALUATIONS: dict[str, Evaluation] = {evaluation.text: evaluation for evaluation in Evaluation}
_INT32_MAX = 2**31 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
# every metric that a result fills, in the order of the birth
_METRICS: tuple[tuple[str, DataType], ...] = (
    ("Inspection/Evaluation", DataType.INT32),
    ("Inspection/EvaluationText", DataType.STRING),
    ("Inspection/Reason", DataType.STRING),
    ("Inspection/Score", DataType.DOUBLE),
    (SEQUENCE, DataType.UINT64),
    ("Inspection/ResultId", DataType.STRING),
    ("Inspection/PartId", DataType.STRING),
    ("Inspection/JobId", DataType.STRING),
    ("Inspection/DefectCount", DataType.INT32),
    ("Inspection/DefectClasses", DataType.STRING),
    ("Inspection/LatencyMs", DataType.DOUBLE),
    ("Model/Name", DataType.STRING),
    ("Model/Version", DataType.STRING),
    ("Model/Digest", DataType.STRING),
    ("Recipe/Id", DataType.STRING),
)


def unborn(timestamp_ms: int, *, result_json: bool) -> tuple[Point, ...]:
    """Return the points of an inspection that has had no result yet: null and stale."""
    metrics = (*_METRICS, (_RESULT_JSON, DataType.STRING)) if result_json else _METRICS
    return tuple(Point(name, datatype, None, timestamp_ms, Quality.STALE) for name, datatype in metrics)


def points(body: bytes, *, result_json: bool) -> tuple[Point, ...]:
    """Return the points of one result, all with the time of its capture.

    What nobody decided has quality bad: the score and defects of a NotDecidable result.

    Raises:
        DataError: it is no ``vision.result/1`` document.
    """
    try:
        document = json.loads(body)
        timestamp_ms = (datetime.fromisoformat(document["ts"]) - _EPOCH) // _MS
        values = _values(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        message = f"not a vision.result/1 document: {type(error).__name__}: {error}"
        raise DataError("sparkplug.result", message) from error
    decided = values["Inspection/Evaluation"] in (Evaluation.OK, Evaluation.NOT_OK)
    found = [
        Point(name, datatype, values[name], timestamp_ms, _quality(name, values[name], decided=decided))
        for name, datatype in _METRICS
    ]
    if result_json:
        fits = len(body) <= RESULT_JSON_MAX
        text = body.decode() if fits else None
        found.append(Point(_RESULT_JSON, DataType.STRING, text, timestamp_ms, Quality.GOOD if fits else Quality.BAD))
    return tuple(found)


def _values(document: dict[str, object]) -> dict[str, bool | int | float | str | None]:
    evaluation = _EVALUATIONS[str(document["evaluation"])]
    labels = Counter(str(one["label"]) for one in _maps(document.get("predictions")))
    defects = {Evaluation.OK: 0, Evaluation.NOT_OK: min(labels.total(), _INT32_MAX)}.get(evaluation)
    classes = {Evaluation.OK: "", Evaluation.NOT_OK: ",".join(sorted(labels))}.get(evaluation)
    model, recipe, timings = (_map(document.get(name)) for name in ("model", "recipe", "timings_ms"))
    return {
        "Inspection/Evaluation": evaluation.value,
        "Inspection/EvaluationText": evaluation.text,
        "Inspection/Reason": _text(document.get("reason")),
        "Inspection/Score": _number(document.get("score")),
        SEQUENCE: _whole(document["seq"]),
        "Inspection/ResultId": _text(document["id"]),
        "Inspection/PartId": _text(document.get("partId")),
        "Inspection/JobId": _text(document.get("jobId")),
        "Inspection/DefectCount": defects,
        "Inspection/DefectClasses": classes,
        "Inspection/LatencyMs": _number(timings.get("total")),
        "Model/Name": _text(model.get("name")),
        "Model/Version": _text(model.get("version")),
        "Model/Digest": _text(model.get("digest")),
        "Recipe/Id": _text(recipe.get("id")),
    }


_DECIDED = frozenset({"Inspection/Score", "Inspection/DefectCount", "Inspection/DefectClasses"})


def _quality(name: str, value: object, *, decided: bool) -> Quality:
    """A value that the evaluation rests on is bad when nothing was decided and nothing was measured."""
    return Quality.BAD if name in _DECIDED and value is None and not decided else Quality.GOOD


def _maps(value: object) -> list[dict[str, object]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _map(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        msg = f"seq {value!r:.40} is no whole number of 64 bits"
        raise ValueError(msg)
    return value
