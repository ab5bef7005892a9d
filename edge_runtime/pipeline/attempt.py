"""One attempt to judge a frame while its fate is open: who asked for it, what judges it, until when. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_runtime.pipeline.setup import AS_CONFIGURED, Setup

if TYPE_CHECKING:
    from edge_runtime.core.frame import Frame
    from edge_runtime.core.result import Drop, Failure, Prediction
    from edge_runtime.pipeline.facts import ModelFacts

NS_PER_MS: Final = 1_000_000


class Refusal(Enum):
    """Why an inspection takes no trigger; there is no attempt then, and no result."""

    NOT_TRIGGERED = "it is not triggered: its configuration says when it judges"
    PAUSED = "it is paused"
    TOO_MANY = "as many triggers as it takes are waiting for a frame"


@dataclass(frozen=True, slots=True)
class TriggerIds:
    """Who asked for a triggered frame; copied into its result."""

    job_id: str | None = None
    part_id: str | None = None
    meas_id: str | None = None
    product_id: str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the engine answered for one frame; milliseconds of its stages, and the device that really ran.

    ``partial``: shapes were left out, see `core.result.SHAPES_BYTES_LIMIT`. ``facts``: the model that judged; a result
    may wait for its turn while its inspection is given to another one.
    """

    predictions: tuple[Prediction, ...]
    preprocess_ms: float
    infer_ms: float
    postprocess_ms: float
    queue_ms: float
    device: str
    partial: bool = False
    facts: ModelFacts | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """The one and only fate of a frame: exactly one of ``verdict``, ``failure`` and ``drop`` is set.

    ``waited`` frames were kept by this inspection (see ``Inspection.keeps``) until now, so their pixels are free now.
    Those of a dispatched frame are free when the engine answers or dies, which may be before or after this. A
    triggered attempt for which no frame came has ``frame`` None. ``setup`` is what the frame is judged by.
    """

    frame: Frame | None
    verdict: Verdict | None = None
    failure: Failure | None = None
    drop: Drop | None = None
    message: str = ""
    waited: bool = False
    trigger: TriggerIds | None = None
    setup: Setup = AS_CONFIGURED


@dataclass(frozen=True, slots=True)
class Asked:
    """A trigger; with a timeout of its own, the whole attempt has to be over ``timeout_ms`` after it."""

    ids: TriggerIds
    asked_ns: int
    setup: Setup
    timeout_ms: int | None

    def due_ns(self, deadline_ms: int) -> int:
        """Until when a frame may come for it."""
        return self.asked_ns + (self.timeout_ms or deadline_ms) * NS_PER_MS


@dataclass(slots=True, eq=False)
class Attempt:
    """A frame that is waiting, in flight, or settled with its turn still to come.

    ``waits_since_ns``: capture of the first frame that stood in its place and was superseded.
    """

    frame: Frame
    setup: Setup
    asked: Asked | None
    waits_since_ns: int
    dispatched: bool = False
    settled: Settled | None = None

    @property
    def ids(self) -> TriggerIds | None:
        """Who asked for it."""
        return None if self.asked is None else self.asked.ids

    def due_ns(self, deadline_ms: int) -> int:
        """When it is too late for a verdict."""
        if self.asked is not None and self.asked.timeout_ms is not None:
            return self.asked.due_ns(deadline_ms)
        return (self.frame.captured_mono_ns if self.dispatched else self.waits_since_ns) + deadline_ms * NS_PER_MS


def allowed(asked: Asked | None, deadline_ms: int) -> str:
    """Say how long an attempt may take."""
    if asked is None or asked.timeout_ms is None:
        return f"{deadline_ms} ms"
    return f"{asked.timeout_ms} ms of the trigger"
