"""The line: cameras, slots and inspections joined by one thread, in which every frame's fate is decided.

Flow: camera link -> inspections of that camera -> slot with room -> engine link -> result factory -> sink. Control
reaches in only through ``ask``, ``change`` and ``abort`` (`pipeline.actions`).

Threads: everything runs in the loop's thread; commands are posted into it by callers. Others read ``picture``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from edge_runtime.core.result import Event, Failure
from edge_runtime.pipeline.picture_health import UNKNOWN
from edge_runtime.pipeline.slot import Request, SlotState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_runtime.core.frame import Frame
    from edge_runtime.core.result import Drop, Result
    from edge_runtime.pipeline.attempt import Refusal, Settled, TriggerIds, Verdict
    from edge_runtime.pipeline.camera_link import CameraLink, CameraState
    from edge_runtime.pipeline.engine_link import EngineLink
    from edge_runtime.pipeline.flight import FlightRecorder
    from edge_runtime.pipeline.inspection import Figures, Inspection
    from edge_runtime.pipeline.picture_health import Change, PictureView
    from edge_runtime.pipeline.results import ModelFacts, ResultFactory
    from edge_runtime.pipeline.setup import Setup
    from edge_runtime.pipeline.slot import ModelSlot, Standing
    from edge_runtime.system.loop import Loop, Timer

logger = logging.getLogger(__name__)

CHECK_S = 0.1
LABELS_TOLD = 50  # of a model, in an event: it may have a hundred thousand


class Sink(Protocol):
    """Where results and events go; must not block."""

    def put(self, item: Result | Event) -> None:
        """Take one item."""
        ...


@dataclass(slots=True)
class Station:
    """One inspection with what makes its results."""

    inspection: Inspection
    factory: ResultFactory
    timer: Timer | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """The line at one moment. It was taken in the line's thread, so what it shows belongs together."""

    inspections: Mapping[str, Figures]
    slots: Mapping[str, Standing]
    cameras: Mapping[str, PictureView] = field(default_factory=dict)
    """How the pictures of each camera are that is looked at."""


class Line:
    """See the module docstring. Implements the listeners of its camera and engine links."""

    def __init__(self, loop: Loop, stations: Sequence[Station], sink: Sink, flight: FlightRecorder) -> None:
        """Join ``stations``; links are attached with ``attach`` before anything runs."""
        self.stations = {s.inspection.spec.id: s for s in stations}
        self.cameras: dict[str, CameraLink] = {}
        self.engine: EngineLink | None = None
        self._loop = loop
        self._sink = sink
        self._flight = flight
        self._by_camera: dict[str, list[Station]] = {}
        self._by_slot: dict[str, list[Station]] = {}
        for station in stations:
            self._by_camera.setdefault(station.inspection.spec.camera, []).append(station)
            self._by_slot.setdefault(station.inspection.spec.slot, []).append(station)
        self._on_other: Callable[[dict[str, object]], None] | None = None
        self.picture = self._look()
        """At most ``CHECK_S`` old while the loop turns; replaced as a whole, so that any thread may read it."""

    def attach(self, cameras: Mapping[str, CameraLink], engine: EngineLink) -> None:
        """Name the links, once; from then on the engine is watched for hanging, and the picture is kept fresh."""
        self.cameras = dict(cameras)
        self.engine = engine
        self._check()

    def ask(self, station: Station, ids: TriggerIds, *, recipe: str | None, timeout_ms: int | None) -> Refusal | None:
        """Ask for the next frame of an inspection, or say why it takes no trigger; see ``Inspection.on_trigger``."""
        refusal = station.inspection.trigger_refusal
        if refusal is None:
            now_ns = self._loop.clock.mono_ns()
            station.inspection.on_trigger(ids, now_ns, recipe=recipe, timeout_ms=timeout_ms)
            self._rearm(station)
        return refusal

    def change(self, station: Station, setup: Setup) -> int:
        """Set an inspection up anew; return the id of the first frame that belongs to ``setup``."""
        first = self.cameras[station.inspection.spec.camera].last_begun + 1
        station.inspection.change(setup, first)
        self.picture = self._look()
        return first

    def abort(self, station: Station, message: str) -> int:
        """Fail what triggers asked of an inspection and have not got yet; return how many results that made."""
        settled = station.inspection.abort_triggers(message)
        self._finish(station, settled)
        return len(settled)

    def facts(self, station: Station) -> ModelFacts | None:
        """The model of an inspection, ``None`` while there is none."""
        return self.engine.slots[station.inspection.spec.slot].facts if self.engine else None

    def within(self, seconds: float, begin: Callable[[int], Callable[[], None]]) -> None:
        """Begin something that has to be over by the time it is told, and call what it returns at that time."""
        until_ns = self._loop.clock.mono_ns() + round(seconds * 1e9)
        self._loop.call_at(until_ns, begin(until_ns))

    def event(self, scope: str, kind: str, message: str, fields: dict[str, object]) -> None:
        """Tell everybody."""
        self._sink.put(Event(scope, kind, message, self._loop.clock.utc_ns(), fields))

    @property
    def busy(self) -> bool:
        """Whether a frame's fate is open."""
        return any(station.inspection.counters.in_flight for station in self.stations.values())

    def drain(self) -> None:
        """Settle every open frame as shut down; no result is left undecided."""
        for station in self.stations.values():
            self._finish(station, station.inspection.drain())
        self.picture = self._look()

    # camera listener

    def on_frame(self, frame: Frame) -> None:
        """Offer a frame to every inspection of its camera."""
        stations = self._by_camera.get(frame.camera, [])
        for station in stations:
            self._flight.enter(station.inspection.spec.id, frame.frame_id)
            settled = station.inspection.on_frame(frame)
            if station.inspection.keeps(frame):
                self.cameras[frame.camera].hold(frame.slot)
            self._finish(station, settled)
        for station in stations:
            self.feed(station.inspection.spec.slot)
            self._arm(station)

    def on_bad_frame(self, frame: Frame, failure: Failure, message: str) -> None:
        """Give every inspection of the camera a NotDecidable result for it."""
        for station in self._by_camera.get(frame.camera, []):
            self._flight.enter(station.inspection.spec.id, frame.frame_id)
            self._finish(station, station.inspection.on_bad_frame(frame, failure, message))

    def on_dropped(self, frame: Frame, drop: Drop) -> None:
        """Count a frame that the camera discarded, or give those inspections a result that miss it."""
        for station in self._by_camera.get(frame.camera, []):
            self._flight.enter(station.inspection.spec.id, frame.frame_id)
            self._finish(station, station.inspection.on_dropped(frame, drop))

    def on_camera_state(self, camera: str, state: CameraState) -> None:
        """Publish and log a change of state, once."""
        text = f"camera {camera} is {state.state}" + (f": {state.detail or state.reason}" if state.reason else "")
        good = state.state in ("streaming", "connecting") and state.reason != "bad_picture"
        level = logging.INFO if good else logging.WARNING
        logger.log(level, "%s", text)
        self.event(camera, f"camera.{state.state}", text, {"reason": state.reason, "detail": state.detail})

    def on_picture_changed(self, camera: str, change: Change) -> None:
        """Publish and log that the pictures of a camera got a fault, or have none any more."""
        if change.finding is None:
            if change.before != UNKNOWN:
                text = f"the picture of camera {camera} is good again, it was {change.before}"
                logger.info("%s", text)
                self.event(camera, "camera.picture_ok", text, {"before": change.before})
            return
        found = change.finding
        text = f"the picture of camera {camera} is {found.text}"
        logger.warning("%s", text)
        fields: dict[str, object] = {
            "before": change.before,
            "quantity": found.quantity,
            "measured": round(found.measured, 4),
            "limit": round(found.limit, 4),
        }
        self.event(camera, f"camera.{change.after}", text, fields)

    # engine listener

    def on_slot_changed(self, slot: ModelSlot) -> None:
        """Publish and log it; start feeding a slot that became ready."""
        facts = slot.facts
        if facts is not None and slot.state is SlotState.READY:
            name = f"{facts.model.name} {facts.model.version}"
            text = f"model {slot.spec.id} ({name}) runs on {facts.backend} {facts.device}"
            logger.info("%s", text)
            fields: dict[str, object] = {
                "model": facts.model.name,
                "version": facts.model.version,
                "digest": facts.model.digest,
                "backend": facts.backend,
                "device": facts.device,
                "precision": facts.precision,
            }
            self.event("system", "model.ready", text, fields)
            self._check_recipes(slot.spec.id, facts)
        else:
            text = f"model {slot.spec.id} cannot judge: {slot.message}"
            logger.error("%s", text)
            self.event("system", f"model.{slot.state.value}", text, {"slot": slot.spec.id})
        self.feed(slot.spec.id)

    def _check_recipes(self, slot_id: str, facts: ModelFacts) -> None:
        for station in self._by_slot.get(slot_id, []):
            name = station.inspection.spec.id
            recipe = station.inspection.setup.recipe
            unknown = station.factory.unknown_labels(facts, recipe)
            if unknown:
                text = f"recipe of {name} names labels that model {slot_id} does not have: {', '.join(unknown)}"
                logger.error("%s", text)
                has = list(facts.labels[:LABELS_TOLD])
                self.event(name, "recipe.unknown_label", text, {"labels": list(unknown), "has": has})
            if station.factory.reads_in_vain(facts, recipe):
                text = f"recipe of {name} asks for texts, but model {slot_id} reads none"
                logger.error("%s", text)
                self.event(name, "recipe.no_text", text, {"task": facts.task})
            for rule in station.factory.rules_below_threshold(facts, recipe):
                threshold = facts.threshold(rule.label)
                text = (
                    f"recipe of {name} counts {rule.label} from score_min {rule.score_min:g} on, "
                    f"but model {slot_id} reports it from {threshold:g} on only"
                )
                logger.warning("%s", text)
                told = {"label": rule.label, "score_min": rule.score_min, "threshold": threshold}
                self.event(name, "recipe.score_below_threshold", text, told)

    def on_verdict(self, slot: ModelSlot, request: Request, verdict: Verdict) -> None:
        """Settle the frame with its verdict and feed the next one."""
        station = self.stations[request.inspection]
        self.cameras[request.frame.camera].release(request.frame.slot)
        self._expire(station)  # messages are read before timers fire: main may have been held up past the deadline
        self._finish(station, station.inspection.on_verdict(request.frame.frame_id, verdict))
        self.feed(slot.spec.id)
        self._arm(station)

    def on_failed(self, slot: ModelSlot, request: Request, failure: Failure, message: str) -> None:
        """Settle the frame as failed and feed the next one."""
        station = self.stations[request.inspection]
        self.cameras[request.frame.camera].release(request.frame.slot)
        self._finish(station, station.inspection.on_failed(request.frame.frame_id, failure, message))
        self.feed(slot.spec.id)
        self._arm(station)

    def on_other(self, message: dict[str, object]) -> None:
        """Hand an answer that is not about a frame to whoever asked (``bench``)."""
        if self._on_other is not None:
            self._on_other(message)

    def listen(self, receiver: Callable[[dict[str, object]], None]) -> None:
        """Name who gets the engine's answers that are not about frames; called in the loop thread."""
        self._on_other = receiver

    def feed(self, slot_id: str) -> None:
        """Send waiting frames to a slot with room, one inspection after the other."""
        engine = self.engine
        if engine is None:
            return
        slot = engine.slots[slot_id]
        stations = self._by_slot.get(slot_id, [])
        while slot.has_room and (ready := next((s for s in stations if s.inspection.wants_engine), None)):
            frame = ready.inspection.take()
            if frame is None:
                return
            request = Request(ready.inspection.spec.id, frame, self._loop.clock.mono_ns())
            if not engine.infer(slot, ready.inspection.spec.id, request):
                self.cameras[frame.camera].release(frame.slot)
                message = "the engine process ended before it took the frame"
                self._finish(ready, ready.inspection.on_failed(frame.frame_id, Failure.ENGINE_LOST, message))
                return
            stations.remove(ready)
            stations.append(ready)  # round robin: whoever was served goes last

    def _finish(self, station: Station, settled: Sequence[Settled]) -> None:
        """Free the pixels of settled frames and put results of those that have one."""
        for item in settled:
            frame = item.frame
            if frame is not None and item.waited:
                self.cameras[frame.camera].release(frame.slot)
            if item.drop is not None:
                if frame is not None:
                    self._flight.leave(station.inspection.spec.id, frame.frame_id)
                continue
            facts = self.facts(station)
            simulated = frame.simulated if frame else False
            self._sink.put(station.factory.build(item, facts, station.inspection.counters, simulated=simulated))

    def _arm(self, station: Station) -> None:
        """Make sure that a timer fires no later than the next deadline; an early one re-arms itself."""
        if station.timer is not None:
            return
        due_ns = station.inspection.next_deadline_ns()
        if due_ns is not None:
            station.timer = self._loop.call_at(due_ns, lambda: self._on_time(station))

    def _rearm(self, station: Station) -> None:
        """Arm again where the next deadline may have come nearer: a trigger may have a shorter one than those open."""
        if station.timer is not None:
            station.timer.cancel()
            station.timer = None
        self._arm(station)

    def _on_time(self, station: Station) -> None:
        station.timer = None
        self._expire(station)
        self._arm(station)

    def _expire(self, station: Station) -> None:
        """Fail what is past its deadline."""
        slot = self.engine.slots[station.inspection.spec.slot] if self.engine else None
        outage = slot.outage if slot else None
        self._finish(station, station.inspection.on_time(self._loop.clock.mono_ns(), outage))

    def _check(self) -> None:
        if self.engine is not None:
            self.engine.check(self._loop.clock.mono_ns())
        self.picture = self._look()
        self._loop.call_later(CHECK_S, self._check)

    def _look(self) -> Picture:
        return Picture(
            {name: station.inspection.figures() for name, station in self.stations.items()},
            {name: slot.standing() for name, slot in self.engine.slots.items()} if self.engine else {},
            {
                name: link.pictures.health.view(self._loop.clock.mono_ns())
                for name, link in self.cameras.items()
                if link.pictures is not None
            },
        )
