"""A model slot as main sees it: what is loaded, what is in flight, and whether it answers in time.

Legal order: loading -> ready | failed; loading, ready -> lost (engine died) -> loading -> ...; loading -> failed when
engines keep dying of the load. Failed is the end: a refused model is not loaded again until the configuration changes.
Empty, when the model has not arrived yet, is beginning and end: it comes with another line.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge_runtime.core.result import Failure
from edge_runtime.pipeline.attempt import NS_PER_MS
from edge_runtime.pipeline.judged import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.core.frame import Frame
    from edge_runtime.pipeline.facts import ModelFacts


LOAD_DEATHS_LIMIT: Final = 3
"""Engine processes in a row that may die while they load a model; then it is refused, so that the others are judged by
an engine that lives. One death may be anybody's, three in a row are its own; or those of another model, whose first
frame killed each engine that early, and then the line judges nothing either way."""

PREPARE_LIMIT_MS: Final = 200_000
"""An engine that compiles a model for a frame of a new size hangs after this; it gives up itself a little earlier
(``STUCK_CPU_LOAD_S`` of ``engine.pool``), and only when it does not is this needed."""


class SlotState(Enum):
    """Whether the slot can judge."""

    EMPTY = "empty"  # there is nothing to load
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"  # the model was refused; stays so until the configuration changes
    LOST = "lost"  # the engine process is gone and being restarted


NEVER_LOADED: Final = (SlotState.EMPTY, SlotState.FAILED)


@dataclass(frozen=True, slots=True)
class SlotSpec:
    """What to load where.

    Attributes:
        id: slot id in messages.
        path: absolute path of a package directory or a bare model file; ``None`` as long as there is none.
        digest: identity that the package must have, or it is refused; ``None`` for any.
        waits_for: why there is no path, for people.
        device: ``auto``, ``cpu``, ``gpu`` or ``npu``.
        backend: ``auto``, ``openvino`` or ``onnxruntime``.
        workers: frames in the engine at a time; one more than streams overlaps pre-processing with inference.
        threads: CPU threads for inference.
        streams: inferences at a time, which divide ``threads`` among them.
        hang_ms: an answer that takes longer than this means that the engine hangs.
        release: number of the release at ``path``, for results; ``None`` for a model that is none.
        rollout_seq: of the assignment by which it came, for results.
    """

    id: str
    path: str | None
    digest: str | None = None
    waits_for: str = ""
    device: str = "auto"
    backend: str = "auto"
    workers: int = 2
    threads: int = 1
    streams: int = 1
    hang_ms: int = 5000
    release: int | None = None
    rollout_seq: int | None = None


@dataclass(slots=True, eq=False)
class Request:
    """One frame in the engine.

    Attributes:
        inspection, frame: what is judged.
        sent_mono_ns: when, CLOCK_MONOTONIC.
        facts: the model that judges it, once it was sent.
        counts: the answer decides the fate of the frame, whose pixels are held for it until then. It does not for a
            comparison, nor once the frame was given to another engine.
        patience: times the usual limit until it says that the engine hangs.
        late_ns: how long a standby engine had had the frame before it was given to this one; 0 = none was late with it.
    """

    inspection: str
    frame: Frame
    sent_mono_ns: int
    facts: ModelFacts | None = None
    counts: bool = True
    patience: int = 1
    late_ns: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """A slot at one moment: whether it can judge, with which model, and why not."""

    state: SlotState
    facts: ModelFacts | None
    message: str


class ModelSlot:
    """See the module docstring. One thread owns it."""

    def __init__(self, spec: SlotSpec) -> None:
        """Begin in state LOADING, or EMPTY, with nothing in flight."""
        self.spec = spec
        self.state = SlotState.EMPTY if spec.path is None else SlotState.LOADING
        self.facts: ModelFacts | None = None
        self.message = spec.waits_for if spec.path is None else ""
        self.paused = False  # no new frames are sent, for example while the bare engine is measured
        self._requests: dict[int, Request] = {}
        self._preparing: set[int] = set()  # those of the requests for which the engine compiles the model first
        self._load_deaths = 0  # in a row
        self._tallies: dict[str, Tally] = {}

    def tally(self, inspection: str) -> Tally:
        """Return the count of what its model made of the frames of an inspection."""
        return self._tallies.setdefault(inspection, Tally())

    def tallies(self) -> Mapping[str, Tally]:
        """Return those of all inspections that it has judged for."""
        return self._tallies

    def count_anew(self) -> None:
        """Begin all counts at zero."""
        self._tallies = {}

    def standing(self) -> Standing:
        """Return what may be shown to other threads."""
        return Standing(self.state, self.facts, self.message)

    @property
    def has_room(self) -> bool:
        """Whether a further frame may be sent now."""
        return self.state is SlotState.READY and not self.paused and len(self._requests) < self.spec.workers

    @property
    def requests(self) -> tuple[Request, ...]:
        """What the engine has and did not answer."""
        return tuple(self._requests.values())

    @property
    def outage(self) -> tuple[Failure, str] | None:
        """Why the slot cannot judge now; ``None`` when it can."""
        if self.state is SlotState.READY:
            return None
        if self.state is SlotState.LOADING:
            return Failure.NO_MODEL, f"model {self.spec.id} is being loaded"
        return Failure.ENGINE_LOST if self.state is SlotState.LOST else Failure.NO_MODEL, self.message

    def on_loaded(self, facts: ModelFacts) -> None:
        """The engine compiled the model."""
        self.state, self.facts, self.message = SlotState.READY, facts, ""
        self._load_deaths = 0

    def on_load_failed(self, message: str) -> None:
        """The engine refused the model."""
        self.state, self.facts, self.message = SlotState.FAILED, None, message

    def empty(self, message: str) -> None:
        """Take the model out for good; what the engine has of it, it still answers."""
        self.state, self.facts, self.message = SlotState.EMPTY, None, message

    def on_engine_started(self, *, anew: bool = False) -> None:
        """An engine process was told to load the model; ``anew``: it gets another chance, whatever it did before."""
        self.state = SlotState.LOADING
        if anew:
            self._load_deaths = 0

    def on_engine_lost(self, message: str, *, of_load: bool = False) -> list[Request]:
        """The engine died, with ``of_load`` while it loaded this model; return what was in flight."""
        self._load_deaths += of_load
        if self._load_deaths >= LOAD_DEATHS_LIMIT:
            deaths = f"model.kills_engine: {LOAD_DEATHS_LIMIT} engines in a row died while they loaded this model"
            way_out = (
                "it is damaged or needs more memory than the box has: replace it or change its backend, then reload"
            )
            self.on_load_failed(f"{deaths}, last: {message}; {way_out}")
        elif self.state not in NEVER_LOADED:
            self.state, self.message = SlotState.LOST, message
        orphans = list(self._requests.values())
        self._requests.clear()
        self._preparing.clear()
        return orphans

    def send(self, number: int, request: Request) -> None:
        """Note a frame that was sent to the engine under ``number``."""
        self._requests[number] = request

    def request(self, number: int) -> Request | None:
        """Return what was sent under ``number``; ``None`` for a number nobody waits for."""
        return self._requests.get(number)

    def answer(self, number: int) -> None:
        """Forget a request, which was answered."""
        del self._requests[number]
        self._preparing.discard(number)

    def prepare(self, number: int) -> None:
        """Allow a request `PREPARE_LIMIT_MS`: the engine said that it compiles the model for it.

        The frame fails at its deadline all the same; killed for it, the engine would begin anew with the next one.
        """
        self._preparing.add(number)

    def hung_ms(self, now_ns: int) -> float | None:
        """Return the age of the oldest request that says that the engine hangs."""
        hang_ms = self.spec.hang_ms
        ages = [
            (age_ms, max(hang_ms, PREPARE_LIMIT_MS) if number in self._preparing else hang_ms * request.patience)
            for number, request in self._requests.items()
            if (age_ms := (now_ns - request.sent_mono_ns) / NS_PER_MS) > 0
        ]
        return max((age_ms for age_ms, limit_ms in ages if age_ms > limit_ms), default=None)
