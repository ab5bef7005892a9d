"""``vision.metrics/1``: figures of the moment. The status file of the box has the same."""

from typing import Annotated, Literal, NotRequired, TypedDict

from edge_runtime.publish.contract.info import ModelInfo
from edge_runtime.publish.contract.model import DeploymentInfo, RegistryState
from edge_runtime.publish.contract.result import Counters
from edge_runtime.publish.contract.terms import Box, Count, Term, Timestamp

Seconds = Annotated[float, Term(minimum=0)]


class PictureFigures(TypedDict):
    """Whether the pictures of a camera can be used, and what was measured on the latest of them."""

    state: Annotated[str, Term("unknown, ok, frozen, dark, bright, covered, blurred or moved")]
    seconds: Annotated[float, Term("since it is so", minimum=0)]
    why: Annotated[str | None, Term("what was measured and its limit; null unless something is wrong")]
    reference: Annotated[str, Term("none, used, or size when it is of pictures of another size")]
    brightness: Annotated[float | None, Term("mean grey, 0 to 255; null before the first picture")]
    contrast: Annotated[float | None, Term("standard deviation of grey")]
    white: Annotated[float | None, Term("share of white pixels, 0 to 1")]
    sharpness: Annotated[float | None, Term("share of an edge within two pixels, 0 to 1; null without edges")]
    detail: Annotated[float | None, Term("share of the picture on edges, 0 to 1")]
    shift: Annotated[float | None, Term("against the reference, as a fraction of width or height")]
    likeness: Annotated[float | None, Term("to the reference, -1 to 1")]


class CameraFigures(TypedDict):
    """How one camera is."""

    state: str
    reason: str | None
    detail: str | None
    restarts: Count
    picture: NotRequired[Annotated[PictureFigures | None, Term("null when its pictures are not looked at")]]


class EngineFigures(TypedDict):
    """How the engine process is."""

    alive: bool
    restarts: Count


class Latency(TypedDict):
    """Capture to evaluation of the newest results, milliseconds."""

    p50: float | None
    p99: float | None


class InspectionFigures(Counters):
    """Accounting of one inspection, with the reasons behind it."""

    droppedBy: Annotated[dict[str, Count], Term("dropped, by reason")]
    failedBy: Annotated[dict[str, Count], Term("failed, by reason")]
    latency_ms: Latency
    paused: NotRequired[Annotated[bool, Term("by a command: its frames are not judged")]]
    recipe: NotRequired[Annotated[str, Term("id of the recipe that judges its next frame")]]
    productId: NotRequired[Annotated[str | None, Term("chosen with the recipe, in results that name no other")]]


class SpoolFigures(TypedDict):
    """The durable queue: totals are those of this run."""

    depth: Annotated[int, Term("documents owed to the broker", minimum=0)]
    bytes: Annotated[int, Term("of them", minimum=0)]
    oldest_age_s: Seconds
    queued: Annotated[int, Term("put and not committed yet", minimum=0)]
    committed: Count
    acked: Count
    refused: Count
    evicted: Count
    lost: Annotated[int, Term("never reached the disk", minimum=0)]
    dead: Annotated[int, Term("refused documents that are kept", minimum=0)]
    kept_bytes: Annotated[int, Term("acknowledged documents kept for replay", minimum=0)]
    state: Literal["ok", "degraded"]
    reason: str | None
    detail: str | None


class BrokerFigures(TypedDict):
    """The broker connection."""

    state: Annotated[str, Term("connecting, online, refused (until a person mends it) or stopped")]
    reason: str | None
    broker: NotRequired[Annotated[str | None, Term("HOST:PORT of the broker that it is about: there may be several")]]
    commandsRefused: NotRequired[Annotated[str | None, Term("why the broker brings no commands")]]
    connects: Count
    acked: Count
    refused: Count
    noSubscribers: Count


class AuditFigures(TypedDict):
    """The record of what was asked."""

    seq: Count
    lost: Count
    trouble: str | None
    untold: Annotated[int, Term("entries without an event, because there were too many", minimum=0)]


class CommandFigures(TypedDict):
    """What was asked of the box, since its start."""

    received: Count
    executed: Annotated[dict[str, Count], Term("by verb")]
    refused: Annotated[dict[str, Count], Term("by reason")]
    repeated: Annotated[int, Term("answered from memory", minimum=0)]
    late: Count
    running: Count
    remembered: Annotated[int, Term("answers that a repeat would get", minimum=0)]
    unwritten: Count
    forgottenEarly: Count
    faults: Count
    trouble: str | None
    audit: AuditFigures


class SparkplugFigures(TypedDict):
    """The Sparkplug node; totals are those of this run."""

    state: str
    reason: str | None
    server: Annotated[str | None, Term("the broker in use, HOST:PORT")]
    bdSeq: Annotated[int | None, Term("of the newest connection")]
    connects: Count
    rebirths: Count
    sent: Annotated[dict[str, Count], Term("messages by kind")]
    live: Count
    historical: Count
    owed: Annotated[int, Term("results that are still to be sent", minimum=0)]
    held: Annotated[int, Term("results of dead devices that wait", minimum=0)]
    givenUp: Count
    evicted: Count
    foreign: Count
    tooLarge: Annotated[int, Term("results that the broker would not take and that were not sent", minimum=0)]
    commands: Count
    refused: Count


class SlotRelease(TypedDict):
    """A slot that has its model from the registry; the document of its own says more."""

    state: str
    reason: str | None
    wanted: Annotated[int | None, Term("release that the rollout names", minimum=0)]
    current: Annotated[int | None, Term("release", minimum=0)]
    staged: Annotated[int | None, Term("release that waits to be activated", minimum=0)]
    revoked: bool
    deployment: NotRequired[Annotated[DeploymentInfo | None, Term("the last one; null: there was none")]]


class RegistryFigures(RegistryState):
    """The registry that models come from."""

    looks: Count
    slots: Annotated[dict[str, SlotRelease], Term("empty until the first look ended")]
    deployments: NotRequired[Annotated[dict[str, Count], Term("that ended since the daemon started, by their end")]]


class MetricsFields(TypedDict):
    """Figures of the moment."""

    version: NotRequired[str]
    uptime_s: NotRequired[Seconds]
    live: NotRequired[Annotated[bool, Term("the line's loop turned lately")]]
    ready: NotRequired[Annotated[bool, Term("live, every model can judge and every camera streams")]]
    reasons: NotRequired[Annotated[list[str], Term("why it is not ready, for people")]]
    utc_ns: NotRequired[int]
    mono_ns: NotRequired[int]
    cameras: NotRequired[dict[str, CameraFigures]]
    engine: NotRequired[EngineFigures]
    models: NotRequired[dict[str, ModelInfo]]
    inspections: NotRequired[dict[str, InspectionFigures]]
    spool: NotRequired[SpoolFigures]
    broker: NotRequired[BrokerFigures]
    sparkplug: NotRequired[Annotated[SparkplugFigures | None, Term("null without one")]]
    commands: NotRequired[CommandFigures]
    registry: NotRequired[Annotated[RegistryFigures | None, Term("null without one")]]


class Metrics(Box, MetricsFields):
    """Figures of the moment."""

    schema: Literal["vision.metrics/1"]
    ts: Timestamp
