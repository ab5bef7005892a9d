"""The words between main and the engine child: messages read into orders, answers written as JSON fields."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.reference import reference_fields
from edge_runtime.core.result import SHAPES_BYTES_LIMIT
from edge_runtime.engine.bench import REQUESTS_LIMIT, SECONDS_LIMIT, SIDE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_runtime.core.errors import EdgeError
    from edge_runtime.core.reference import ModelReference
    from edge_runtime.core.result import Prediction
    from edge_runtime.engine.bench import BenchFigures
    from edge_runtime.engine.lane import Answer
    from edge_runtime.engine.loader import LoadedModel

Reply = dict[str, object]
_SHAPES: Final = ("text", "keypoints", "polygon", "rle")  # the first are kept first
TEXT_LIMIT: Final = 2000
"""Characters of a sentence for people; with the limits of `core.manifest` every message fits `system.messages`."""


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """Load the model at ``path`` into ``slot``; the rest as for `loader.load_engine`."""

    slot: str
    path: str
    device: str
    backend: str
    workers: int
    threads: int
    streams: int
    cache_dir: str | None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class BenchOrder:
    """Measure the engine of ``slot``, bare or with frames of ``size``; ``id`` is repeated in the answer."""

    slot: str
    id: int
    seconds: float
    requests: int
    size: tuple[int, int] | None


class BadFieldError(Exception):
    """A message lacks a field or has it wrong; the text says which."""


def text_field(message: Mapping[str, object], key: str, default: str | None = None) -> str:
    """Return a text.

    Raises:
        BadFieldError: it is something else, or missing without a ``default``.
    """
    value = message.get(key, default)
    if not isinstance(value, str):
        text = f"{key}: expected a text"
        raise BadFieldError(text)
    return value


def whole_field(message: Mapping[str, object], key: str, default: int | None = None) -> int:
    """Return a whole number from 0 to 2**63 - 1.

    Raises:
        BadFieldError: it is something else, or missing without a ``default``.
    """
    value = message.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        text = f"{key}: expected a whole number"
        raise BadFieldError(text)
    return value


def flag_field(message: Mapping[str, object], key: str, *, default: bool | None = None) -> bool:
    """Return true or false.

    Raises:
        BadFieldError: it is something else, or missing without a ``default``.
    """
    value = message.get(key, default)
    if not isinstance(value, bool):
        text = f"{key}: expected true or false"
        raise BadFieldError(text)
    return value


def parse_load(message: Mapping[str, object]) -> LoadOrder:
    """Return the order in a ``load`` message.

    Raises:
        BadFieldError: a field is missing or wrong.
    """
    cache_dir, digest = message.get("cache_dir"), message.get("digest")
    return LoadOrder(
        slot=text_field(message, "slot"),
        path=text_field(message, "path"),
        device=text_field(message, "device", "auto"),
        backend=text_field(message, "backend", "auto"),
        workers=whole_field(message, "workers", 2),
        threads=whole_field(message, "threads", 1),
        streams=whole_field(message, "streams", 1),
        cache_dir=None if cache_dir is None else text_field(message, "cache_dir"),
        digest=None if digest is None else text_field(message, "digest"),
    )


def parse_bench(message: Mapping[str, object]) -> BenchOrder:
    """Return the order in a ``bench`` message.

    Raises:
        BadFieldError: a field is missing, wrong or too large.
    """
    seconds, requests = message.get("seconds"), whole_field(message, "requests", 1)
    if not isinstance(seconds, int | float) or not 0 < seconds <= SECONDS_LIMIT or not 1 <= requests <= REQUESTS_LIMIT:
        text = f"expected seconds up to {SECONDS_LIMIT:g} and 1..{REQUESTS_LIMIT} requests"
        raise BadFieldError(text)
    width, height = whole_field(message, "width", 0), whole_field(message, "height", 0)
    if max(width, height) > SIDE_LIMIT:
        text = f"expected sides of up to {SIDE_LIMIT} pixels"
        raise BadFieldError(text)
    size = (width, height) if width and height else None
    return BenchOrder(text_field(message, "slot"), whole_field(message, "id"), float(seconds), requests, size)


def loaded(slot: str, model: LoadedModel) -> Reply:
    """Return the message about a model that is ready."""
    thresholds, labels = model.spec.thresholds, model.spec.labels
    return {
        "op": "loaded",
        "slot": slot,
        "model": {"name": model.ref.name, "version": model.ref.version, "digest": model.ref.digest},
        "backend": model.info.backend,
        "backend_version": model.info.backend_version,
        "device": model.info.device,
        "precision": model.info.precision,
        "threads": model.info.threads,
        "task": model.spec.task,
        "reads_text": model.reads_text,
        "reference": None if model.reference is None else _reference(model.reference, labels),
        "labels": list(labels),
        "thresholds": {
            "score": thresholds.score,
            "by_label": {one: thresholds.by_label[one] for one in set(labels) & thresholds.by_label.keys()},
        },
        "input": list(model.spec.input.size),
        "load_ms": round(model.load_ms, 1),
        "notes": [_short(note) for note in model.notes],
    }


def _reference(reference: ModelReference, labels: Sequence[str]) -> Reply:
    """Return its fields with places in ``labels`` for names, which stand in the message once already."""
    places = {label: str(place) for place, label in enumerate(labels)}
    shares = {places[label]: share for label, share in reference.labels.items() if label in places}
    return {**reference_fields(reference), "labels": shares}


def load_failed(slot: str, error: EdgeError) -> Reply:
    """Return the message about a model that was refused; what strangers made long or unwritable is cut."""
    return {"op": "load_failed", "slot": slot, "code": error.code, "message": _short(str(error))}


def _short(text: str) -> str:
    return text[:TEXT_LIMIT].encode("utf-8", "backslashreplace").decode()


def preparing(request: int) -> Reply:
    """Return the message that the model is compiled first for the size of this frame; its answer comes later."""
    return {"op": "preparing", "request": request}


def failed(request: int, failure: str, message: str) -> Reply:
    """Return the message for a frame without a verdict; ``failure``: a `core.result.Failure` or `stale_slot`."""
    return {"op": "failed", "request": request, "failure": failure, "message": _short(message)}


def inferred(request: int, answer: Answer, started_mono_ns: int, device: str) -> Reply:
    """Return the message for a judged frame."""
    predictions = [prediction_fields(one) for one in answer.predictions]
    return {
        "op": "inferred",
        "request": request,
        "partial": leave_out_shapes(predictions),
        "predictions": predictions,
        "timings_ms": {
            "preprocess": round(answer.preprocess_ms, 3),
            "infer": round(answer.infer_ms, 3),
            "postprocess": round(answer.postprocess_ms, 3),
        },
        "started_mono_ns": started_mono_ns,
        "device": device,
    }


def prediction_fields(prediction: Prediction) -> Reply:
    """Return a prediction as JSON fields; what it does not have has no field."""
    fields: Reply = {"label": prediction.label, "score": prediction.score, "id": prediction.id}
    others = {name: getattr(prediction, name) for name in ("box", *_SHAPES, "value")}
    fields |= {name: _lists(value) for name, value in others.items() if value is not None}
    if prediction.alternative:
        fields["alternative"] = True
    return fields


def _lists(value: object) -> object:
    return [_lists(one) for one in value] if isinstance(value, tuple) else value


def leave_out_shapes(predictions: list[Reply]) -> bool:
    """Take the shapes out of ``predictions`` that a message has no room for, and return whether there were such.

    The best predictions keep theirs; of one that cannot keep both, the outline says more than the mask costs.
    """
    left, partial = SHAPES_BYTES_LIMIT, False
    for fields in predictions:
        for name in _SHAPES:
            if name not in fields:
                continue
            size = len(json.dumps(fields[name]))
            if size > left:
                del fields[name]
                partial = True
            else:
                left -= size
    return partial


def benched(order: BenchOrder, figures: BenchFigures) -> Reply:
    """Return the message about a finished measurement."""
    latency = {"p50": figures.p50_ms, "p99": figures.p99_ms, "max": figures.max_ms, "min": figures.min_ms}
    return {
        "op": "benched",
        "id": order.id,
        "slot": order.slot,
        "latency_ms": {key: round(value, 3) for key, value in latency.items()},
        "throughput_fps": round(figures.throughput_fps, 2),
        "cpu_ms_per_frame": round(figures.cpu_ms_per_frame, 3),
        "requests": figures.requests,
        "frames": figures.frames,
    } | ({} if figures.steps_p50_ms is None else {"steps_p50_ms": [round(ms, 3) for ms in figures.steps_p50_ms]})


def bench_failed(order: BenchOrder, message: str) -> Reply:
    """Return the message about a measurement that is not made."""
    return {"op": "bench_failed", "id": order.id, "slot": order.slot, "message": message}
