"""The line: cameras, slots and inspections joined by one thread, in which every frame's fate is decided.

Flow: camera link -> inspections of that camera -> slot with room -> engine link -> result factory -> sink. Control
reaches in only through ``ask``, ``change`` and ``abort`` (`pipeline.actions`).

Threads: everything runs in the loop's thread; commands are posted into it by callers. Others read ``picture``.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_runtime.core.result import Event, Failure
from edge_runtime.pipeline import news
from edge_runtime.pipeline.counting import count_comparison, count_late, count_result, judging
from edge_runtime.pipeline.moment import Picture
from edge_runtime.pipeline.slot import Request, SlotState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_runtime.core.frame import Frame
    from edge_runtime.core.result import Drop, Result
    from edge_runtime.pipeline.attempt import Refusal, Settled, TriggerIds, Verdict
    from edge_runtime.pipeline.camera_link import CameraLink, CameraState
    from edge_runtime.pipeline.engine_link import EngineLink
    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.pipeline.flight import FlightRecorder
    from edge_runtime.pipeline.inspection import Inspection
    from edge_runtime.pipeline.news import News
    from edge_runtime.pipeline.picture_health import Change
    from edge_runtime.pipeline.results import ResultFactory
    from edge_runtime.pipeline.setup import Setup
    from edge_runtime.pipeline.slot import ModelSlot
    from edge_runtime.pipeline.standby import Comparison, Standby
    from edge_runtime.system.loop import Loop, Timer

logger = logging.getLogger(__name__)

CHECK_S = 0.1


class Sink(Protocol):
    """Where results and events go; must not block."""

    def put(self, item: Result | Event) -> None:
        """Take one item."""


@dataclass(slots=True)
class Station:
    """One inspection with what makes its results."""

    inspection: Inspection
    factory: ResultFactory
    timer: Timer | None = None


class Line:
    """See the module docstring. Implements the listeners of its camera and engine links."""

    def __init__(self, loop: Loop, stations: Sequence[Station], sink: Sink, flight: FlightRecorder) -> None:
        """Join ``stations``; links are attached with ``attach`` before anything runs."""
        self.stations = {s.inspection.spec.id: s for s in stations}
        self.cameras: dict[str, CameraLink] = {}
        self.engines: dict[str, EngineLink] = {}  # by slot; several may be one
        self.standbys: dict[str, Standby] = {}  # by slot
        self.loop = loop
        self._sink = sink
        self._flight = flight
        self._by_camera: dict[str, list[Station]] = {}
        self._by_slot: dict[str, list[Station]] = {}
        for station in stations:
            self._by_camera.setdefault(station.inspection.spec.camera, []).append(station)
            self._by_slot.setdefault(station.inspection.spec.slot, []).append(station)
        self._on_other: Callable[[dict[str, object]], None] | None = None
        self._leaving: dict[EngineLink, Callable[[], None]] = {}
        self.picture = self._look()
        """At most ``CHECK_S`` old while the loop turns; replaced as a whole, so that any thread may read it."""

    def attach(self, cameras: Mapping[str, CameraLink], engine: EngineLink) -> None:
        """Name the links, once; from then on engines are watched for hanging, and the picture is kept fresh."""
        self.cameras = dict(cameras)
        self.engines = dict.fromkeys(engine.slots, engine)
        self._check()

    def engine_of(self, station: Station) -> tuple[EngineLink, ModelSlot] | None:
        """Who judges the next frame of an inspection."""
        slot_id = station.inspection.spec.slot
        standby = self.standbys.get(slot_id)
        if standby is not None and standby.judges(station.inspection.spec.id):
            return standby.link, standby.slot
        link = self.engines.get(slot_id)
        return None if link is None else (link, link.slots[slot_id])

    def first_frames(self, slot_id: str) -> dict[str, int]:
        """By inspection, the oldest frame that no engine has yet."""
        return {
            station.inspection.spec.id: station.inspection.waits_from
            or self.cameras[station.inspection.spec.camera].last_announced + 1
            for station in self._by_slot.get(slot_id, [])
        }

    def ask(self, station: Station, ids: TriggerIds, *, recipe: str | None, timeout_ms: int | None) -> Refusal | None:
        """Ask for the next frame of an inspection, or say why it takes no trigger; see ``Inspection.on_trigger``."""
        refusal = station.inspection.trigger_refusal
        if refusal is None:
            now_ns = self.loop.clock.mono_ns()
            station.inspection.on_trigger(ids, now_ns, recipe=recipe, timeout_ms=timeout_ms)
            self._rearm(station)
        return refusal

    def change(self, station: Station, setup: Setup) -> int:
        """Set an inspection up anew; return the id of the first frame that belongs to ``setup``."""
        first = self.cameras[station.inspection.spec.camera].last_begun + 1
        station.inspection.change(setup, first)
        self.look_again()
        return first

    def abort(self, station: Station, message: str) -> int:
        """Fail what triggers asked of an inspection and have not got yet; return how many results that made."""
        settled = station.inspection.abort_triggers(message)
        self._finish(station, settled)
        return len(settled)

    def facts(self, station: Station) -> ModelFacts | None:
        """The model that judges an inspection, ``None`` while there is none."""
        _, slot = self.engine_of(station) or (None, None)
        return None if slot is None else slot.facts

    def within(self, seconds: float, begin: Callable[[int], Callable[[], None]]) -> None:
        """Begin something that has to be over by the time it is told, and call what it returns at that time."""
        until_ns = self.loop.clock.mono_ns() + round(seconds * 1e9)
        self.loop.call_at(until_ns, begin(until_ns))

    def event(self, scope: str, kind: str, message: str, fields: dict[str, object]) -> None:
        """Tell everybody."""
        self._sink.put(Event(scope, kind, message, self.loop.clock.utc_ns(), fields))

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
        self._tell(news.of_camera(camera, state))

    def on_picture_changed(self, camera: str, change: Change) -> None:
        """Publish and log that the pictures of a camera got a fault, or have none any more."""
        for one in news.of_pictures(camera, change):
            self._tell(one)

    # engine listener

    def on_slot_changed(self, slot: ModelSlot) -> None:
        """Publish and log it; start feeding a slot that became ready."""
        self._tell(news.of_slot(slot))
        if slot.facts is not None and slot.state is SlotState.READY:
            for station in self._by_slot.get(slot.spec.id, []):
                name, recipe = station.inspection.spec.id, station.inspection.setup.recipe
                for one in news.of_recipe(name, station.factory, recipe, slot.spec.id, slot.facts):
                    self._tell(one)
        self.feed(slot.spec.id)

    def _tell(self, one: News) -> None:
        logger.log(one.level, "%s", one.message)
        self.event(one.scope, one.kind, one.message, one.fields)

    def on_verdict(self, slot: ModelSlot, request: Request, verdict: Verdict) -> None:
        """Settle the frame with its verdict and feed the next one."""
        if not request.counts:
            return
        station = self.stations[request.inspection]
        self.cameras[request.frame.camera].release(request.frame.slot)
        self._expire(station)  # messages are read before timers fire: main may have been held up past the deadline
        attempt = station.inspection.in_flight(request.frame.frame_id)
        count_late(self.standbys.get(slot.spec.id), request, verdict)
        self._finish(station, station.inspection.on_verdict(request.frame.frame_id, verdict))
        self.feed(slot.spec.id)
        self._arm(station)
        if attempt is not None:
            self._compare(station, request, attempt.setup, verdict)

    def on_failed(self, slot: ModelSlot, request: Request, failure: Failure, message: str) -> None:
        """Settle the frame as failed and feed the next one."""
        if not request.counts:
            return
        station = self.stations[request.inspection]
        self.cameras[request.frame.camera].release(request.frame.slot)
        self._finish(station, station.inspection.on_failed(request.frame.frame_id, failure, message))
        self.feed(slot.spec.id)
        self._arm(station)

    def on_preparing(self, slot: ModelSlot, request: Request) -> None:
        """Wait for it."""

    def on_other(self, message: dict[str, object]) -> None:
        """Hand an answer that is not about a frame to whoever asked (``bench``)."""
        if self._on_other is not None:
            self._on_other(message)

    def listen(self, receiver: Callable[[dict[str, object]], None]) -> None:
        """Name who gets the engine's answers that are not about frames; called in the loop thread."""
        self._on_other = receiver

    def feed(self, slot_id: str) -> None:
        """Send waiting frames to engines with room, one inspection after the other."""
        self._send_waiting(slot_id)
        standby = self.standbys.get(slot_id)
        if standby is not None and any(
            one.inspection.is_pressed and standby.judges(one.inspection.spec.id) for one in self._by_slot[slot_id]
        ):
            standby.make_way()
            self._send_waiting(slot_id)

    def _send_waiting(self, slot_id: str) -> None:
        stations = self._by_slot.get(slot_id, [])
        while found := next(filter(None, map(self._served, stations)), None):
            station, link, frame = found
            request = Request(station.inspection.spec.id, frame, self.loop.clock.mono_ns())
            if not self._send(link, request):
                self.cameras[frame.camera].release(frame.slot)
                message = "the engine process ended before it took the frame"
                self._finish(station, station.inspection.on_failed(frame.frame_id, Failure.ENGINE_LOST, message))
                return
            stations.remove(station)
            stations.append(station)  # round robin: whoever was served goes last

    def _served(self, station: Station) -> tuple[Station, EngineLink, Frame] | None:
        """Take the next frame of an inspection that has one and whose engine has room."""
        link, slot = self.engine_of(station) or (None, None)
        frame = station.inspection.take() if slot is not None and slot.has_room else None
        return None if link is None or frame is None else (station, link, frame)

    def _send(self, link: EngineLink, request: Request) -> bool:
        """Send a frame to the engine that judges, or to that of the slot if a standby turns out to be gone."""
        slot_id = self.stations[request.inspection].inspection.spec.slot
        if link.infer(link.slots[slot_id], request.inspection, request):
            standby = self.standbys.get(slot_id)
            if standby is not None and standby.link is link:
                standby.watch()
            return True
        usual = self.engines[slot_id]
        slot = usual.slots[slot_id]
        return usual is not link and slot.state is SlotState.READY and usual.infer(slot, request.inspection, request)

    # standby engines

    def take_over(self, request: Request, failure: Failure, message: str) -> None:
        """Give a frame that a standby engine has to the engine of the slot; it fails with ``failure`` if it is gone."""
        station, frame = self.stations[request.inspection], request.frame
        link = self.engines[station.inspection.spec.slot]
        slot = link.slots[station.inspection.spec.slot]
        if station.inspection.in_flight(frame.frame_id) is not None and slot.state is SlotState.READY:
            now_ns = self.loop.clock.mono_ns()
            late_ns = now_ns - request.sent_mono_ns if failure is Failure.DEADLINE else 0
            again = Request(request.inspection, frame, now_ns, late_ns=late_ns)
            if link.infer(slot, request.inspection, again):
                return
        self.cameras[frame.camera].release(frame.slot)
        self._finish(station, station.inspection.on_failed(frame.frame_id, failure, message))

    def on_compared(self, comparison: Comparison, answer: Verdict | Failure) -> None:
        """Count a comparison."""
        station = self.stations[comparison.request.inspection]
        standby = self.standbys.get(station.inspection.spec.slot)
        if standby is not None:
            count_comparison(standby.comparisons, station.factory, comparison, answer)

    def when_done(self, link: EngineLink, end: Callable[[], None]) -> None:
        """Call ``end`` once ``link`` has no model any more and has answered everything."""
        self._leaving[link] = end

    def due_ns(self, request: Request) -> int | None:
        """When it is too late for the answer to a request; ``None`` when its frame is settled."""
        inspection = self.stations[request.inspection].inspection
        attempt = inspection.in_flight(request.frame.frame_id)
        return None if attempt is None else attempt.due_ns(inspection.spec.deadline_ms)

    def _compare(self, station: Station, request: Request, setup: Setup, verdict: Verdict) -> None:
        """Have the standby engine judge a frame, too, that was judged, if nothing else is to be done."""
        standby = self.standbys.get(station.inspection.spec.slot)
        idle = not any(one.inspection.wants_engine for one in self.stations.values())
        if standby is not None and standby.wants_comparison and idle:
            again = Request(request.inspection, request.frame, self.loop.clock.mono_ns(), counts=False)
            standby.compare(again, setup, verdict, station.factory.judge(verdict, request.frame, setup))

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
            simulated = frame.simulated if frame else False
            result = station.factory.build(item, station.inspection.counters, simulated=simulated)
            count_result(self.engines, self.standbys, station.inspection.spec, item, result.evaluation)
            self._sink.put(result)

    def _arm(self, station: Station) -> None:
        """Make sure that a timer fires no later than the next deadline; an early one re-arms itself."""
        if station.timer is not None:
            return
        due_ns = station.inspection.next_deadline_ns()
        if due_ns is not None:
            station.timer = self.loop.call_at(due_ns, lambda: self._on_time(station))

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
        _, slot = self.engine_of(station) or (None, None)
        outage = None if slot is None else slot.outage
        self._finish(station, station.inspection.on_time(self.loop.clock.mono_ns(), outage))

    def _check(self) -> None:
        for link in {*self.engines.values(), *(one.link for one in self.standbys.values())}:
            link.check(self.loop.clock.mono_ns())
        for link in [one for one in self._leaving if one.is_done]:
            self._leaving.pop(link)()
        self.look_again()
        self.loop.call_later(CHECK_S, self._check)

    def look_again(self) -> None:
        """Make the picture show what was just done."""
        self.picture = self._look()

    def _look(self) -> Picture:
        return Picture(
            {name: station.inspection.figures() for name, station in self.stations.items()},
            {name: link.slots[name].standing() for name, link in self.engines.items()},
            {name: standby.standing() for name, standby in self.standbys.items()},
            {name: link.pid for name, link in self.engines.items()},
            {
                name: link.pictures.health.view(self.loop.clock.mono_ns())
                for name, link in self.cameras.items()
                if link.pictures is not None
            },
            {
                name: judging(self.engines[name].slots[name], standby.slot, standby.comparisons)
                for name, standby in self.standbys.items()
            },
        )
