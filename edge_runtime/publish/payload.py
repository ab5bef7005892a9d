"""The wire form: the only place that knows topics and JSON field names; its forms are the types of ``contract``.

Pure: bytes out of values, no clock, no files. Every document is one JSON object, UTF-8, without NaN.
``historical`` is always the last field of a result or event, so that ``mark_historical`` costs one slice.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import ConfigError
from edge_runtime.core.result import ResultState
from edge_runtime.publish.contract import topics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.core.result import Counters, Event, ModelRef, Prediction, RecipeRef, Result, Timings
    from edge_runtime.publish.contract import event as event_form
    from edge_runtime.publish.contract import model as model_form
    from edge_runtime.publish.contract import plc as plc_form
    from edge_runtime.publish.contract import result as result_form
    from edge_runtime.publish.contract import status as status_form

RESULT_SCHEMA: Final = "vision.result/1"
EVENT_SCHEMA: Final = "vision.event/1"
STATUS_SCHEMA: Final = "vision.status/1"
INFO_SCHEMA: Final = "vision.info/1"
METRICS_SCHEMA: Final = "vision.metrics/1"
PLC_SCHEMA: Final = "vision.plc/1"
MODEL_SCHEMA: Final = "vision.model/1"

STATUS_TOPIC: Final = topics.STATUS.address
INFO_TOPIC: Final = topics.INFO.address
METRICS_TOPIC: Final = topics.METRICS.address
_RESULT: Final = topics.RESULT.fixed
_LATEST: Final = topics.LATEST.fixed
_EVENT: Final = topics.EVENT.fixed
_PLC: Final = topics.PLC.fixed
_MODEL: Final = topics.MODEL.fixed
_MODEL_END: Final = topics.MODEL.address.partition("}")[2]

_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))  # dumps() makes one a call
_LEVEL = re.compile(r"[A-Za-z0-9_.-]+")
_NO_LEVEL = re.compile(r"[^A-Za-z0-9_.-]")
_NS = 1_000_000_000
_STATES: Final[dict[ResultState, result_form.StateText]] = {
    ResultState.COMPLETED: "completed",
    ResultState.FAILED: "failed",
    ResultState.ABORTED: "aborted",
}
_LIVE_END = b'"historical":false}'
_HISTORICAL_END = b'"historical":true}'


@dataclass(frozen=True, slots=True)
class Identity:
    """Which box speaks; the levels of every topic are ``{topic_root}/{site}/{line}/{edge}``."""

    site: str
    line: str
    edge: str
    topic_root: str = "vision"

    def __post_init__(self) -> None:
        """Refuse names that are not one topic level.

        Raises:
            ConfigError: a level has characters outside ``A-Za-z0-9_.-`` (the root may also have ``/``).
        """
        for name, level in (("site", self.site), ("line", self.line), ("edge", self.edge)):
            _check_level(name, level)
        for level in self.topic_root.split("/"):
            _check_level("topic_root", level)

    def topic(self, suffix: str) -> str:
        """Return the whole topic of ``suffix``, for example ``vision/plant-a/line-3/box-17/result/top``."""
        return f"{self.topic_root}/{self.site}/{self.line}/{self.edge}/{suffix}"

    def suffix(self, topic: str) -> str | None:
        """Return what follows our root in ``topic``, or ``None`` when it is not ours."""
        prefix = self.topic("")
        return topic[len(prefix) :] if topic.startswith(prefix) else None


def _check_level(name: str, level: str) -> None:
    if _LEVEL.fullmatch(level) is None:
        code, msg = "config.topic_level", f"{name} {level!r} is not a topic level"
        raise ConfigError(code, msg, help="use letters, digits, '_', '.' and '-' only")


@lru_cache(maxsize=1024)
def _level(name: str) -> str:
    """Return ``name`` as one topic level: a name from elsewhere must not become a wildcard or two levels."""
    return name if _LEVEL.fullmatch(name) else _NO_LEVEL.sub("_", name) or "_"


def result_topic(inspection: str) -> str:
    """Return the topic suffix of an inspection's results; also the name of its ``seq`` stream."""
    return _RESULT + _level(inspection)


def latest_topic(inspection: str) -> str:
    """Return the topic suffix of an inspection's newest result (retained)."""
    return _LATEST + _level(inspection)


def event_topic(scope: str) -> str:
    """Return the topic suffix of events about ``scope``; also the name of their ``seq`` stream."""
    return _EVENT + _level(scope)


@dataclass(frozen=True, slots=True)
class Message:
    """One encoded document: ``headers`` become MQTT v5 user properties."""

    topic: str
    body: bytes
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the spool adds at commit: the place in the stream, the boot that made it, what its clock followed."""

    seq: int
    boot_id: str
    ts_source: result_form.ClockSource = "free"


def timestamp(utc_ns: int) -> str:
    """Return RFC 3339 UTC with microseconds (cut, not rounded), for example ``2026-11-22T10:11:12.345678Z``."""
    return f"{_second(utc_ns // _NS)}.{utc_ns % _NS // 1000:06d}Z"


@lru_cache(maxsize=16)
def _second(utc_s: int) -> str:
    return f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%dT%H:%M:%S}"


def dumps(document: Mapping[str, object]) -> bytes:
    """Return compact JSON.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value has no JSON form.
    """
    return _ENCODER.encode(document).encode()


def encode_result(result: Result, identity: Identity, stamp: Stamp) -> Message:
    """Return the ``vision.result/1`` document of ``result`` for ``result/{inspection}``.

    Raises:
        ValueError: a number is NaN or infinite, or the capture time is not a date.
        TypeError: a value has no JSON form, for example a numpy scalar.
    """
    ts = timestamp(result.captured_utc_ns)
    document: result_form.Result = {
        "schema": RESULT_SCHEMA,
        "id": result.id,
        "seq": stamp.seq,
        "bootId": stamp.boot_id,
        "ts": ts,
        "tsSource": stamp.ts_source,
        "site": identity.site,
        "line": identity.line,
        "edge": identity.edge,
        "camera": result.camera,
        "inspection": result.inspection,
        "frameId": result.frame_id,
        "origin": result.origin,
        "jobId": result.job_id,
        "partId": result.part_id,
        "measId": result.meas_id,
        "productId": result.product_id,
        "recipe": _recipe(result.recipe),
        "resultState": _STATES[result.state],
        "evaluation": result.evaluation.text,
        "reason": result.reason,
        "score": result.score,
        "predictions": [_prediction(one, result.width, result.height) for one in result.predictions],
        "image": {"width": result.width, "height": result.height},
        "model": _model(result.model),
        "backend": result.backend,
        "device": result.device,
        "precision": result.precision,
        "timings_ms": _timings(result.timings),
        "simulated": result.simulated,
        "partial": result.partial,
        "correlationId": result.correlation_id,
        "counters": encode_counters(result.counters),
        "historical": False,
    }
    if result.model is not None and result.model.rollout_seq is not None:
        document["rolloutSeq"] = result.model.rollout_seq
    headers = (
        ("schema", RESULT_SCHEMA),
        ("id", result.id),
        ("evaluation", result.evaluation.text),
        ("camera", result.camera),
        ("ts", ts),
    )
    return Message(result_topic(result.inspection), dumps(document), headers)


def encode_event(event: Event, identity: Identity, stamp: Stamp, event_id: str) -> Message:
    """Return the ``vision.event/1`` document of ``event`` for ``event/{scope}``; ``event_id`` is a UUIDv7.

    Raises:
        ValueError: a number is NaN or infinite, or the time is not a date.
        TypeError: a field has no JSON form.
    """
    ts = timestamp(event.utc_ns)
    document: event_form.Event = {
        "schema": EVENT_SCHEMA,
        "id": event_id,
        "seq": stamp.seq,
        "bootId": stamp.boot_id,
        "ts": ts,
        "site": identity.site,
        "line": identity.line,
        "edge": identity.edge,
        "scope": event.scope,
        "kind": event.kind,
        "message": event.message,
        "fields": event.fields,
        "historical": False,
    }
    headers = (("schema", EVENT_SCHEMA), ("id", event_id), ("kind", event.kind), ("ts", ts))
    return Message(event_topic(event.scope), dumps(document), headers)


def mark_historical(body: bytes) -> bytes:
    """Return the document with ``historical`` true; other documents and marked ones come back as they are."""
    if body.endswith(_LIVE_END):
        return body[: -len(_LIVE_END)] + _HISTORICAL_END
    return body


def encode_counters(counters: Counters) -> result_form.Counters:
    """Return the accounting of one inspection: captured = inferred + dropped + failed + inFlight."""
    return {
        "captured": counters.captured,
        "inferred": counters.inferred,
        "dropped": counters.dropped,
        "failed": counters.failed,
        "inFlight": counters.in_flight,
    }


def encode_status(
    identity: Identity,
    boot_id: str,
    utc_ns: int | None,
    *,
    online: bool,
    reason: str | None,
    fields: status_form.StatusFields,
) -> Message:
    """Return the retained ``status`` document; a Will has no time (``utc_ns`` None): the broker sends it, not we.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a field has no JSON form.
    """
    ts = None if utc_ns is None else timestamp(utc_ns)
    document: status_form.Status = {
        **fields,
        "schema": STATUS_SCHEMA,
        "bootId": boot_id,
        "ts": ts,
        "site": identity.site,
        "line": identity.line,
        "edge": identity.edge,
        "state": "online" if online else "offline",
        "reason": reason,
    }
    headers = (("schema", STATUS_SCHEMA),) if ts is None else (("schema", STATUS_SCHEMA), ("ts", ts))
    return Message(STATUS_TOPIC, dumps(document), headers)


def encode_info(identity: Identity, boot_id: str, utc_ns: int, fields: Mapping[str, object]) -> Message:
    """Return the retained ``info`` document: what does not change while the daemon runs.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a field has no JSON form.
    """
    return _document(INFO_TOPIC, INFO_SCHEMA, identity, boot_id, utc_ns, fields)


def encode_metrics(identity: Identity, boot_id: str, utc_ns: int, fields: Mapping[str, object]) -> Message:
    """Return the ``metrics`` document.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a field has no JSON form.
    """
    return _document(METRICS_TOPIC, METRICS_SCHEMA, identity, boot_id, utc_ns, fields)


def encode_plc(identity: Identity, boot_id: str, utc_ns: int, fields: plc_form.Signals) -> Message:
    """Return the retained ``plc`` document: the signals of one hand-shake.

    Raises:
        ValueError: the time is not a date.
    """
    topic = _PLC + _level(fields["inspection"])
    return _document(topic, PLC_SCHEMA, identity, boot_id, utc_ns, {**fields})


def encode_model(identity: Identity, boot_id: str, utc_ns: int, fields: model_form.ModelFields) -> Message:
    """Return the retained ``model`` document of one slot.

    Raises:
        ValueError: the time is not a date.
    """
    topic = _MODEL + _level(fields["slot"]) + _MODEL_END
    return _document(topic, MODEL_SCHEMA, identity, boot_id, utc_ns, {**fields})


def _document(
    topic: str, schema: str, identity: Identity, boot_id: str, utc_ns: int, fields: Mapping[str, object]
) -> Message:
    ts = timestamp(utc_ns)
    fixed: dict[str, object] = {
        "schema": schema,
        "bootId": boot_id,
        "ts": ts,
        "site": identity.site,
        "line": identity.line,
        "edge": identity.edge,
    }
    return Message(topic, dumps({**fixed, **fields, **fixed}), (("schema", schema), ("ts", ts)))


# Written out field by field: dataclasses.asdict copies deeply and would cost more than the rest of the encoding.
def _recipe(recipe: RecipeRef | None) -> result_form.Recipe | None:
    return None if recipe is None else {"id": recipe.id, "version": recipe.version, "hash": recipe.hash}


def _model(model: ModelRef | None) -> result_form.Model | None:
    if model is None:
        return None
    fields: result_form.Model = {"name": model.name, "version": model.version, "digest": model.digest}
    if model.release is not None:
        fields["release"] = model.release
    return fields


def _timings(timings: Timings) -> result_form.Timings:
    return {
        "capture": round(timings.capture, 3),
        "queue": round(timings.queue, 3),
        "preprocess": round(timings.preprocess, 3),
        "infer": round(timings.infer, 3),
        "postprocess": round(timings.postprocess, 3),
        "total": round(timings.total, 3),
    }


def _prediction(prediction: Prediction, width: int, height: int) -> result_form.Prediction:
    document: result_form.Prediction = {
        "label": prediction.label,
        "score": prediction.score,
        "box": None if prediction.box is None else list(prediction.box),
    }
    if prediction.id is not None:
        document["id"] = prediction.id
    if prediction.polygon is not None:
        document["polygon"] = [list(point) for point in prediction.polygon]
    if prediction.rle is not None:
        document["rle"] = {"size": [height, width], "counts": prediction.rle}
    if prediction.keypoints is not None:
        document["keypoints"] = [list(point) for point in prediction.keypoints]
    if prediction.text is not None:
        document["text"] = prediction.text
    if prediction.value is not None:
        document["value"] = prediction.value
    return document
