"""Main's end of the engine process: which models it holds, which frames it has, and when it is too slow to be alive."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.core.result import Failure
from edge_runtime.pipeline import wire
from edge_runtime.pipeline.slot import NEVER_LOADED, ModelSlot, Request, SlotState
from edge_runtime.system.priority import lift
from edge_runtime.system.process import ExitKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_runtime.pipeline.attempt import Verdict
    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.pipeline.slot import SlotSpec
    from edge_runtime.system.process import Child, ExitCause

logger = logging.getLogger(__name__)

ENGINE_NAME: Final = "engine"
_DEATHS = (ExitKind.SIGNALED, ExitKind.HEARTBEAT)
"""Ends that a load may be to blame for: one that we made has a reason of its own, and an exit is our own code's."""
_FAILURES = {
    "invalid_frame": Failure.INVALID_FRAME,
    "stale_slot": Failure.INVALID_FRAME,
    "invalid_output": Failure.INVALID_OUTPUT,
    "no_model": Failure.NO_MODEL,
    "overrun": Failure.OVERRUN,
}


class EngineListener(Protocol):
    """Who wants to know what the engine does; called in the loop thread."""

    def on_slot_changed(self, slot: ModelSlot) -> None:
        """A slot became ready, failed or lost."""
        ...

    def on_verdict(self, slot: ModelSlot, request: Request, verdict: Verdict) -> None:
        """A frame was judged; its pixels are free."""
        ...

    def on_failed(self, slot: ModelSlot, request: Request, failure: Failure, message: str) -> None:
        """A frame got no verdict; its pixels are free."""
        ...

    def on_preparing(self, slot: ModelSlot, request: Request) -> None:
        """A frame is judged later: its model is compiled first for frames of that size."""
        ...

    def on_other(self, message: dict[str, object]) -> None:
        """An answer to something that is not a frame (``benched``)."""
        ...


class EngineLink:
    """Owner of an engine child (``system.process.ChildOwner``). One thread owns it.

    Attributes:
        name: of the child.
        slots: by id; those that were taken out stay, empty.
        listener: who is told; may be replaced between two messages.
        restarts: processes before this one.
    """

    def __init__(
        self,
        specs: Iterable[SlotSpec],
        listener: EngineListener,
        *,
        cache_dir: str | None,
        name: str = ENGINE_NAME,
        low: bool = False,
    ) -> None:
        """Keep one slot per spec; compiled models are cached in ``cache_dir``. ``low``: see ``set_low``."""
        self.name = name
        self.slots = {spec.id: ModelSlot(spec) for spec in specs}
        self.listener = listener
        self.restarts = 0
        self._low = low
        self.cache_dir = cache_dir
        self._child: Child | None = None
        self._numbers = 0

    @property
    def alive(self) -> bool:
        """Whether there is a process to send to."""
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """Of the process, ``None`` between two of them."""
        return None if self._child is None else self._child.pid

    @property
    def is_done(self) -> bool:
        """Whether every model was taken out and everything answered."""
        return all(slot.state is SlotState.EMPTY and not slot.requests for slot in self.slots.values())

    def set_low(self, low: bool) -> None:  # noqa: FBT001 - a state, not a choice
        """Let the process, and each that follows it, work at low priority, as long as it does nothing that counts."""
        if low is not self._low:
            self._low = low
            if self._child is not None:
                self._prioritise(self._child)

    def unload(self, slot_id: str, message: str) -> None:
        """Take a model out, for good; frames that the engine has are answered first."""
        self.slots[slot_id].empty(message)
        if self._child is not None:
            self._deliver(self._child, {"op": "unload", "slot": slot_id})

    def infer(self, slot: ModelSlot, inspection: str, frame_request: Request) -> bool:
        """Send a frame to the engine; ``False`` when it turned out to be gone or deaf (``on_exited`` follows)."""
        child = self._child
        if child is None:
            return False
        self._numbers += 1
        frame = frame_request.frame
        message = {
            "op": "infer",
            "request": self._numbers,
            "slot": slot.spec.id,
            "inspection": inspection,
            "ring": frame.camera,
            "index": frame.slot.index,
            "generation": frame.slot.generation,
            "width": frame.width,
            "height": frame.height,
            "channels": frame.channels,
        }
        if not self._deliver(child, message):
            return False
        frame_request.facts = slot.facts
        slot.send(self._numbers, frame_request)
        return True

    def send(self, message: dict[str, object]) -> None:
        """Send a message that is not about a frame.

        Raises:
            UnavailableError: there is no engine process.
        """
        if self._child is None or not self._deliver(self._child, message):
            raise UnavailableError("engine.absent", "the engine process is not running")

    def retry(self, slot: ModelSlot) -> None:
        """Load a model again that was refused: now, or when there is an engine process."""
        slot.on_engine_started(anew=True)
        if self._child is not None:
            self._load(self._child, slot)

    def check(self, now_ns: int) -> None:
        """Kill the process when a frame has been in it for too long; ``on_exited`` settles its frames."""
        for slot in self.slots.values():
            age_ms = slot.hung_ms(now_ns)
            if age_ms is not None and self._child is not None:
                self._child.kill(f"model {slot.spec.id} did not answer for {age_ms:.0f} ms")
                return

    def on_started(self, child: Child) -> None:
        """Tell a new process to load every model that is there and was not refused."""
        self._child = child
        self.restarts = child.restarts
        if self._low and not self._prioritise(child):
            return
        for slot in self.slots.values():
            if slot.state in NEVER_LOADED:
                continue
            if not self._load(child, slot):
                return

    def on_message(self, child: Child, message: dict[str, object]) -> None:
        """Handle one message; a message that does not fit kills the child, which is then restarted."""
        try:
            self._handle(message)
        except DataError as error:
            logger.error("the engine sent a message that does not fit: %s", error)  # noqa: TRY400
            child.kill("protocol fault")

    def on_exited(self, child: Child, cause: ExitCause) -> None:
        """Every frame that was in the dead process fails with the cause."""
        del child
        self._child = None
        message = f"the engine process ended: {cause.text}"
        loading = self._loading() if cause.kind in _DEATHS else None
        for slot in self.slots.values():
            before = slot.state
            if before is SlotState.LOST:
                continue
            orphans = slot.on_engine_lost(message, of_load=slot is loading)
            for request in orphans:
                self.listener.on_failed(slot, request, Failure.ENGINE_LOST, message)
            if cause.kind is not ExitKind.RETIRED and slot.state is not before:
                self.listener.on_slot_changed(slot)

    def _load(self, child: Child, slot: ModelSlot) -> bool:
        spec = slot.spec
        slot.on_engine_started()
        load: dict[str, object] = {
            "op": "load",
            "slot": spec.id,
            "path": spec.path,
            "digest": spec.digest,
            "device": spec.device,
            "backend": spec.backend,
            "workers": spec.workers,
            "threads": spec.threads,
            "streams": spec.streams,
            "cache_dir": self.cache_dir,
        }
        return self._deliver(child, load)

    def _prioritise(self, child: Child) -> bool:
        if not self._low:
            lift(child.pid)
        return self._deliver(child, {"op": "priority", "low": self._low})

    def _loading(self) -> ModelSlot | None:
        """Return what the process was loading: models are loaded one after the other, in the order of the messages."""
        return next((slot for slot in self.slots.values() if slot.state is SlotState.LOADING), None)

    def _deliver(self, child: Child, message: dict[str, object]) -> bool:
        """Send, and end a process that does not take it: it is dead already, or alive and of no use."""
        if child.send(message):
            return True
        child.kill("it does not take messages")
        return False

    def _handle(self, message: dict[str, object]) -> None:
        op = message.get("op")
        if op in ("inferred", "failed"):
            self._answer(message, judged=op == "inferred")
        elif op == "preparing":
            self._prepare(message)
        elif op == "loaded":
            slot = self._slot(message)
            slot.on_loaded(_of_release(wire.model_facts(message), slot.spec))
            self.listener.on_slot_changed(slot)
        elif op == "load_failed":
            slot = self._slot(message)
            slot.on_load_failed(f"{wire.text(message, 'code')}: {wire.text(message, 'message')}")
            self.listener.on_slot_changed(slot)
        else:
            self.listener.on_other(message)

    def _answer(self, message: dict[str, object], *, judged: bool) -> None:
        number = wire.integer(message, "request")
        for slot in self.slots.values():
            request = slot.request(number)
            if request is None:
                continue
            # everything is read before the request is taken: one that stays is settled by on_exited
            if judged:
                verdict = wire.verdict(message, request.frame.captured_mono_ns, request.facts)
                slot.answer(number)
                self.listener.on_verdict(slot, request, verdict)
            else:
                failure = _FAILURES.get(wire.text(message, "failure"), Failure.INVALID_OUTPUT)
                reason = wire.text(message, "message")
                slot.answer(number)
                self.listener.on_failed(slot, request, failure, reason)
            return
        raise DataError("child.message", f"answer to request {number}, which nobody waits for")

    def _prepare(self, message: dict[str, object]) -> None:
        number = wire.integer(message, "request")
        found = ((one, one.request(number)) for one in self.slots.values())
        slot, request = next((pair for pair in found if pair[1] is not None), (None, None))
        if slot is None or request is None:
            raise DataError("child.message", f"request {number} is prepared, which nobody waits for")
        slot.prepare(number)
        self.listener.on_preparing(slot, request)
        logger.info("model %s is compiled for frames of a new size; they are late until it is done", slot.spec.id)

    def _slot(self, message: dict[str, object]) -> ModelSlot:
        slot = self.slots.get(wire.text(message, "slot"))
        if slot is None:
            raise DataError("child.message", f"unknown slot {message.get('slot')!r}")
        return slot


def _of_release(facts: ModelFacts, spec: SlotSpec) -> ModelFacts:
    """Add what the engine is not told: as which release the model came."""
    return replace(facts, model=replace(facts.model, release=spec.release, rollout_seq=spec.rollout_seq))
