"""What the runtime says about a frame: predictions, the evaluation and the result that carries them.

Vocabulary: OPC 40001-101 (ResultEvaluationEnum, ResultState) and OPC 40100-1 ResultDataType.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final, Literal

PREDICTIONS_LIMIT: Final = 1000
"""Predictions about one frame; the message that brings them and the result that keeps them are bounded."""
SHAPES_BYTES_LIMIT: Final = 320 << 10
"""Polygons, masks, keypoints and texts about one frame, as JSON; what is beyond is left out, the result partial."""


EvaluationText = Literal["Undefined", "OK", "NotOK", "NotDecidable"]


class Evaluation(IntEnum):
    """OPC 40001-101 10.3 ResultEvaluationEnum."""

    UNDEFINED = 0
    OK = 1
    NOT_OK = 2
    NOT_DECIDABLE = 3

    @property
    def text(self) -> EvaluationText:
        """The name in payloads: ``Undefined``, ``OK``, ``NotOK``, ``NotDecidable``."""
        return _EVALUATION_TEXT[self]


_EVALUATION_TEXT: dict[Evaluation, EvaluationText] = {
    Evaluation.UNDEFINED: "Undefined",
    Evaluation.OK: "OK",
    Evaluation.NOT_OK: "NotOK",
    Evaluation.NOT_DECIDABLE: "NotDecidable",
}


class ResultState(Enum):
    """State of the job behind a result (OPC 40001-101 ResultState, the three that can be published)."""

    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"


class Failure(Enum):
    """Why a captured frame got no verdict from a model; the ``reason`` of a NotDecidable result starts with it."""

    DEADLINE = "deadline"  # no verdict by deadline_ms
    OVERRUN = "overrun"  # bounded queue of an `every` inspection was full
    ENGINE_LOST = "engine_lost"  # engine process died or hung with this frame in flight
    CAMERA_LOST = "camera_lost"  # camera process died before the frame was whole, or no frame came for the trigger
    INVALID_FRAME = "invalid_frame"  # undecodable, wrong dtype, too large ...
    BAD_PICTURE = "bad_picture"  # the camera is covered, moved, blurred ... and its settings say not to judge then
    INVALID_OUTPUT = "invalid_output"  # model answered NaN, boxes outside, unknown class
    NO_MODEL = "no_model"  # the slot has no loaded engine
    SHUTDOWN = "shutdown"  # daemon was told to stop before the verdict
    ABORTED = "aborted"  # a reset ended the attempt; the state of its result is `ABORTED`, too


class Drop(Enum):
    """Why a captured frame was never offered to a model: counted, without a result unless every part has one."""

    SUPERSEDED = "superseded"  # a newer frame arrived first (policy `latest`)
    STALE = "stale"  # picture from before a stall
    RATE = "rate"  # above the configured fps
    UNTRIGGERED = "untriggered"  # no trigger asked for it
    PAUSED = "paused"  # its inspection was paused by a command: explicitly not judged
    NO_SLOT = "no_slot"  # every ring slot was in use
    TORN = "torn"  # camera process died before it announced the frame
    STOPPED = "stopped"  # daemon stopped before it was dispatched


@dataclass(frozen=True, slots=True)
class Prediction:
    """One thing a model saw.

    Attributes:
        label: human name from the model's label list.
        score: 0..1.
        box: x, y, w, h in pixels of the camera frame (top-left origin), or ``None`` for classification.
        polygon: x, y pairs in frame pixels: the corners of an oriented box or of a text, the outline of a mask (of its
            largest part, when it has several).
        rle: the exact mask in frame pixels: the ``counts`` of a compressed COCO run-length encoding whose size is that
            of the frame.
        keypoints: x, y in frame pixels and a score of 0..1 each, in the order of the model's keypoints.
        text: recognised text, for OCR families.
        value: what was measured, in the model's own unit; for regression and raw families, whose score is 1.
        id: label index in the model's label list.
        alternative: a model that decides for one label thought of this one, too, and decided for another; a recipe
            counts it only where it states a score.
    """

    label: str
    score: float
    box: tuple[float, float, float, float] | None = None
    polygon: tuple[tuple[float, float], ...] | None = None
    rle: str | None = None
    keypoints: tuple[tuple[float, float, float], ...] | None = None
    text: str | None = None
    value: float | None = None
    id: int | None = None
    alternative: bool = False


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model judged.

    Attributes:
        name: of the package.
        version: of the package, for people.
        digest: ``sha256:<hex>`` of the package manifest (or of the bare weights file).
        release: number of the release, where the model came from a registry.
        rollout_seq: of the assignment by which it came.
    """

    name: str
    version: str
    digest: str
    release: int | None = None
    rollout_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds, all from CLOCK_MONOTONIC; ``total`` is capture to evaluation."""

    capture: float = 0.0
    queue: float = 0.0
    preprocess: float = 0.0
    infer: float = 0.0
    postprocess: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Counters:
    """Fate of every frame of an inspection since boot: captured = inferred + dropped + failed + in_flight."""

    captured: int = 0
    inferred: int = 0
    dropped: int = 0
    failed: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class RecipeRef:
    """Identity of the recipe that made the evaluation; ``hash`` is ``sha256:<hex>`` of its canonical JSON."""

    id: str
    version: str
    hash: str


@dataclass(frozen=True, slots=True)
class Result:
    """One evaluated frame. ``seq`` and ``bootId`` are added by the spool when it is committed."""

    id: str  # UUIDv7 text, RFC 9562 5.7
    camera: str
    inspection: str
    frame_id: int
    captured_utc_ns: int
    captured_mono_ns: int
    width: int
    height: int
    evaluation: Evaluation
    state: ResultState
    reason: str
    score: float | None
    recipe: RecipeRef | None
    model: ModelRef | None
    backend: str | None
    device: str | None
    precision: str | None
    timings: Timings
    counters: Counters
    predictions: tuple[Prediction, ...] = ()
    simulated: bool = False
    partial: bool = False  # shapes beyond `SHAPES_BYTES_LIMIT` were left out
    origin: str | None = None
    job_id: str | None = None
    part_id: str | None = None
    meas_id: str | None = None
    product_id: str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A change that somebody may have to act on; goes to ``event/{scope}`` through the spool.

    Attributes:
        scope: an inspection or camera id, or ``system``.
        kind: dotted name, for example ``camera.lost`` or ``engine.restarted``.
        message: one sentence for people.
        utc_ns: when, UTC.
        fields: JSON-able details.
    """

    scope: str
    kind: str
    message: str
    utc_ns: int
    fields: dict[str, object] = field(default_factory=dict)
