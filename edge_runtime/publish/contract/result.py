"""``vision.result/1``: one evaluated frame or part. Names follow OPC 40100-1 and OPC 40001-101."""

from typing import Annotated, Literal, NotRequired, TypedDict

from edge_runtime.publish.contract.terms import (
    Box,
    CaptureTime,
    Count,
    Digest,
    Headers,
    Historical,
    Milliseconds,
    Seq,
    Term,
    UuidV7,
)

Text = str | None
StateText = Literal["completed", "failed", "aborted"]
EvaluationText = Literal["OK", "NotOK", "NotDecidable", "Undefined"]
ClockSource = Annotated[
    Literal["ptp", "ntp", "free"],
    Term("what the clock of ts followed: ptp, ntp, or free when the kernel does not hold it for synchronised"),
]
Pair = Annotated[list[float], Term(min_items=2, max_items=2)]


class Recipe(TypedDict):
    """The recipe that made the evaluation."""

    id: str
    version: str
    hash: Digest


class Model(TypedDict):
    """The model that judged; its digest is that of the package's manifest or of the bare weights."""

    name: str
    version: str
    digest: Digest
    release: NotRequired[Annotated[int, Term("number of the release, for models from a registry", minimum=0)]]


class Mask(TypedDict):
    """The exact mask: compressed COCO run-length encoding, size is height, width of the frame."""

    size: Annotated[list[Annotated[int, Term(minimum=1)]], Term(min_items=2, max_items=2)]
    counts: str


class Prediction(TypedDict):
    """One thing that the model saw."""

    label: str
    score: Annotated[float, Term(minimum=0, maximum=1)]
    box: Annotated[list[float], Term("x, y, w, h in pixels, origin top left", min_items=4, max_items=4)] | None
    id: NotRequired[Annotated[int, Term("index in the model's list of labels", minimum=0)]]
    polygon: NotRequired[
        Annotated[
            list[Pair],
            Term("x, y in pixels of the frame: corners of an oriented box or a text, or the outline of a mask"),
        ]
    ]
    rle: NotRequired[Mask]
    keypoints: NotRequired[
        Annotated[
            list[Annotated[list[float], Term(min_items=3, max_items=3)]],
            Term("x, y in pixels of the frame, score 0..1"),
        ]
    ]
    text: NotRequired[str]
    value: NotRequired[Annotated[float, Term("what was measured, in the model's own unit")]]


class Image(TypedDict):
    """The picture that was judged; 0 x 0 when there was none."""

    width: Count
    height: Count
    sha256: NotRequired[str]
    url: NotRequired[str]


class Timings(TypedDict):
    """Milliseconds by the monotonic clock; total is capture to evaluation."""

    capture: Milliseconds
    queue: Milliseconds
    preprocess: Milliseconds
    infer: Milliseconds
    postprocess: Milliseconds
    total: Milliseconds


class Counters(TypedDict):
    """Accounting since the line started: captured = inferred + dropped + failed + inFlight."""

    captured: Count
    inferred: Count
    dropped: Count
    failed: Count
    inFlight: Count


class Result(Box):
    """One evaluated frame."""

    schema: Literal["vision.result/1"]
    id: UuidV7
    seq: Seq
    ts: CaptureTime
    tsSource: ClockSource
    camera: str
    inspection: str
    frameId: Annotated[int, Term("number of the frame at its camera, 0 when a trigger got none", minimum=0)]
    origin: NotRequired[Annotated[Text, Term("file that the picture came from, for sources that have files")]]
    jobId: Text
    partId: Text
    measId: Text
    productId: Text
    recipe: Recipe | None
    resultState: StateText
    evaluation: EvaluationText
    reason: Annotated[str, Term("why this evaluation, for people; of NotDecidable its first word is a code")]
    score: float | None
    predictions: list[Prediction]
    image: Image
    model: Model | None
    rolloutSeq: NotRequired[Annotated[int, Term("of the rollout by which the model came", minimum=0)]]
    backend: Annotated[Text, Term("inference engine that really ran")]
    device: Annotated[Text, Term("device that really ran")]
    precision: Text
    timings_ms: Timings
    simulated: Annotated[bool, Term("the picture came from a simulated camera")]
    partial: Annotated[bool, Term("polygons, masks, keypoints or texts were left out: the message had no room for all")]
    correlationId: Annotated[Text, Term("of the command that asked for it")]
    counters: Counters
    historical: Historical


class ResultHeaders(Headers):
    """MQTT user properties of a result: for routing without parsing."""

    id: UuidV7
    evaluation: EvaluationText
    camera: str
    ts: CaptureTime
