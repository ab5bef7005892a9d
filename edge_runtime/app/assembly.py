"""Builds a running line from a plan: loop, rings, supervisor, links. The one place that names the children's code."""

from __future__ import annotations

import itertools
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime.app.plan import MAX_PIXELS, SIDE_MIN
from edge_runtime.core.command import Answer, Status
from edge_runtime.core.errors import BusyError
from edge_runtime.pipeline.actions import Actions
from edge_runtime.pipeline.camera_link import CameraLink
from edge_runtime.pipeline.drift_watch import DriftWatch
from edge_runtime.pipeline.engine_link import EngineLink
from edge_runtime.pipeline.inspection import Inspection
from edge_runtime.pipeline.line import Line, Station
from edge_runtime.pipeline.picture_health import PictureHealth
from edge_runtime.pipeline.pictures import Pictures
from edge_runtime.pipeline.results import ResultFactory
from edge_runtime.pipeline.setup import AS_CONFIGURED
from edge_runtime.pipeline.slot import SlotState
from edge_runtime.pipeline.snapshots import Snapshots
from edge_runtime.pipeline.switchover import Switchover
from edge_runtime.pipeline.vet_link import Stage, VetLink
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.loop import Loop
from edge_runtime.system.process import ChildSpec, Supervisor
from edge_runtime.system.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_runtime.app.plan import LinePlan
    from edge_runtime.core.command import Reply
    from edge_runtime.core.result import Counters, RecipeRef
    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.pipeline.flight import FlightRecorder
    from edge_runtime.pipeline.judged import Judging
    from edge_runtime.pipeline.line import Sink
    from edge_runtime.pipeline.setup import Setup
    from edge_runtime.pipeline.slot import SlotSpec
    from edge_runtime.pipeline.standby import StandbyListener
    from edge_runtime.pipeline.vet_link import VetReport, VetSpec
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

CAMERA_ENTRY = "edge_runtime.camera.reader:main"
ENGINE_ENTRY = "edge_runtime.engine.worker:main"
# the reader comes first: OpenCV reads its limits from the environment when it is loaded
PRELOAD = (
    "edge_runtime.camera.reader",
    "edge_runtime.engine.worker",
    "edge_runtime.engine.ov",
    "edge_runtime.engine.ort",
    "edge_runtime.engine.vet",  # or each vet would import it, before it has taken a low priority
)
VET_ENTRY = "edge_runtime.engine.vet:main"
BYTES_PER_PIXEL = 3
NO_LINE = "no line runs at this moment; ask again"
FINISH_S = 0.5  # at the end: for cameras to end and for the engine to answer what it has


class LineService:
    """The line as a service: makes everything when its thread starts, settles and ends everything when it stops.

    Threads: ``run`` belongs to the service's thread; ``counters``, ``reasons`` and ``loop`` may be used by any.
    """

    name = "line"

    def __init__(
        self,
        plan: LinePlan,
        sink: Sink,
        flight: FlightRecorder,
        *,
        cache_dir: Path | None,
        frames_begun: Mapping[str, int] | None = None,
        setups: Mapping[str, Setup] | None = None,
    ) -> None:
        """Make rings and state machines; nothing is started before ``run``. ``close`` gives everything back.

        ``frames_begun`` of an earlier line of the same boot keeps its frame ids from being used again. Inspections
        that commands have set up before begin with their ``setups``.
        """
        self.plan = plan
        self._sink = sink
        self._cache_dir = None if cache_dir is None else str(cache_dir)
        self._clock = SystemClock()
        self.loop = Loop(name=self.name, clock=self._clock)
        self._rings = {
            camera.id: Ring.create(
                camera.id,
                slots=camera.ring_slots,
                slot_bytes=MAX_PIXELS * BYTES_PER_PIXEL,
                frames_begun=(frames_begun or {}).get(camera.id, 0),
            )
            for camera in plan.cameras
        }
        self._reader_fds = {name: ring.reader_fd() for name, ring in self._rings.items()}
        stations = [
            Station(
                Inspection(item.spec, (setups or {}).get(item.spec.id, AS_CONFIGURED)),
                ResultFactory(
                    item.spec, item.recipe, item.ref, clock=self._clock, random=os.urandom, others=item.others
                ),
            )
            for item in plan.inspections
        ]
        self.line = Line(self.loop, stations, sink, flight)
        self.actions = Actions(self.line)
        self._snapshots = {camera.id: Snapshots(camera.id) for camera in plan.cameras}
        self.engine = EngineLink(plan.slots, self.line, cache_dir=self._cache_dir)
        self.cameras = {
            camera.id: CameraLink(
                camera.id,
                self._rings[camera.id],
                self.line,
                self._clock,
                simulated=camera.simulated,
                max_pixels=MAX_PIXELS,
                side_min=SIDE_MIN,
                snapshots=self._snapshots[camera.id],
            )
            for camera in plan.cameras
        }
        self._look_at_pictures()
        self.line.attach(self.cameras, self.engine)
        self._supervisor = Supervisor(self.loop, preload=PRELOAD)
        self._switchover = Switchover(self.line, _Engines(self._supervisor, self._reader_fds))
        self._vets: dict[str, VetLink] = {}  # by name
        self._numbers = itertools.count(1)
        self._over = False

    def run(self, stop: Stop) -> None:
        """Drive the line until stopped, then settle what is open and end the children."""
        self.loop.on_stop(self._end)
        self._supervisor.start()
        _Engines(self._supervisor, self._reader_fds).start(self.engine)
        for camera in self.plan.cameras:
            spec = ChildSpec(
                name=_camera_name(camera.id),
                entry=CAMERA_ENTRY,
                args=camera.arguments(),
                fds={"ring": self._rings[camera.id].fd, "snapshot": self._snapshots[camera.id].fd},
            )
            self._supervisor.spawn(spec, self.cameras[camera.id])
        DriftWatch(self.line).start()
        self.loop.run(stop)

    def act(self, run: Callable[[Actions], None], reply: Reply) -> None:
        """Have ``run`` called in the line's thread, or ``reply`` with why not; from any thread, does not block."""

        def turn() -> None:
            if self._over:
                reply(Answer(Status.UNAVAILABLE, NO_LINE))
            else:
                run(self.actions)

        try:
            taken = self.loop.post(turn)
        except BusyError as error:
            reply(Answer(Status.TOO_MANY, str(error)))
        else:
            if not taken:
                reply(Answer(Status.UNAVAILABLE, NO_LINE))

    # for deployments: from any thread, do not block, take effect in the line's thread (`pipeline.switchover`); answers
    # come through the listener in the line's thread, none once the line is over

    def stand_by(self, slot: str, spec: SlotSpec, listener: StandbyListener) -> None:
        """Load ``spec`` beside the model of ``slot`` in a process of its own, at low priority."""
        self._post(lambda: self._switchover.stand_by(slot, spec, listener))

    def shadow(self, slot: str, on: bool) -> None:  # noqa: FBT001 - a state
        """Compare what stands by on frames that were judged, or not any more."""
        self._post(lambda: self._switchover.shadow(slot, on=on))

    def switch(self, slot: str, inspections: tuple[str, ...] | None = None) -> None:
        """Let what stands by judge ``inspections``, or all of the slot, from the next frame on."""
        self._post(lambda: self._switchover.switch(slot, inspections))

    def switch_back(self, slot: str) -> None:
        """Let the engine of the slot judge all of it from the next frame on; what stood by stays loaded."""
        self._post(lambda: self._switchover.switch_back(slot))

    def settle(self, slot: str) -> None:
        """Make what stands by the engine of the slot, and unload what was."""
        self._post(lambda: self._switchover.settle(slot))

    def dismiss(self, slot: str) -> None:
        """End the process that stands by, and the vet of the name ``slot``."""

        def turn() -> None:
            self._switchover.dismiss(slot)
            self._end_vet(slot)

        self._post(turn)

    def empty(self, slot: str, message: str) -> None:
        """Let nothing judge for the slot any more; ``message`` says why, in every result."""
        self._post(lambda: self._switchover.empty(slot, message))

    def judged(self, slot: str) -> Judging | None:
        """What was counted of a slot and its standby engine at most 0.1 s ago; ``None`` without a standby engine."""
        return self.line.picture.judging.get(slot)

    def vet(self, spec: VetSpec, name: str, on_end: Callable[[VetReport], None]) -> None:
        """Try a model at low priority, in place of the vet of that name that runs.

        ``on_end`` is called once, or never when the line ends first: that is no verdict on the model.
        """

        def turn() -> None:
            self._end_vet(name)
            process = f"vet/{name}/{next(self._numbers)}"  # the one before may not be gone yet
            vet = self._vets[name] = VetLink(
                replace(spec, low=True), VET_ENTRY, Stage(self.loop, self._supervisor, process), on_end
            )
            vet.start()

        self._post(turn)

    def _end_vet(self, name: str) -> None:
        vet = self._vets.pop(name, None)
        if vet is not None:
            vet.stop()

    def _post(self, turn: Callable[[], None]) -> None:
        self.loop.post(lambda: None if self._over else turn())

    def close(self) -> None:
        """Give rings and loop back, after the service ended (or was never started); refuse triggers that came late."""
        self._over = True
        for ask in self.loop.close():
            ask()
        for fd in self._reader_fds.values():
            os.close(fd)
        self._reader_fds.clear()
        for ring in self._rings.values():
            ring.close()
        for snapshots in self._snapshots.values():
            snapshots.close()

    def frames_begun(self) -> dict[str, int]:
        """The last frame id by camera."""
        return {name: ring.frames_begun for name, ring in self._rings.items()}

    def counters(self) -> dict[str, Counters]:
        """Counters by inspection."""
        return {name: figures.counters for name, figures in self.line.picture.inspections.items()}

    def recipe(self, inspection: str) -> RecipeRef:
        """The recipe that judges the next frame of an inspection, as the line's picture has it."""
        setup = self.line.picture.inspections[inspection].setup
        return self.line.stations[inspection].factory.ref(setup.recipe)

    def engines(self) -> dict[str, object]:
        """Whether the processes that hold the models of the slots live, and how many ended before them."""
        links = set(self.line.engines.values())
        return {"restarts": sum(one.restarts for one in links), "alive": all(one.alive for one in links)}

    def models(self) -> dict[str, ModelFacts | None]:
        """What is loaded, by slot; ``None`` for a slot whose model was refused."""
        return {name: slot.facts for name, slot in self.line.picture.slots.items()}

    def reasons(self) -> tuple[str, ...]:
        """Why the line is not ready; empty when it is."""
        judged = [name for name, one in self.line.picture.standbys.items() if one.inspections]
        return (
            tuple(
                f"model {name} is {slot.state.value}" + (f" ({slot.message})" if slot.message else "")
                for name, slot in self.line.picture.slots.items()
                if slot.state is not SlotState.READY and name not in judged
            )
            + tuple(
                f"camera {name} is {state.state}" + (f" ({state.detail})" if state.detail else "")
                for name, state in ((name, link.state) for name, link in self.cameras.items())
                if state.state not in ("streaming", "ended")
            )
            + tuple(
                f"camera {name} is not judged, its picture is {view.finding.text}"
                for name, view in self.line.picture.cameras.items()
                if view.finding is not None and view.decides
            )
        )

    def _look_at_pictures(self) -> None:
        for camera in self.plan.cameras:
            if camera.pictures is not None:
                health = PictureHealth(camera.pictures, self._clock.mono_ns())
                self.cameras[camera.id].pictures = Pictures(camera.id, health, max_pixels=MAX_PIXELS)

    def _end(self) -> None:
        """End the cameras, let the engine answer what it has, settle the rest, end the engine."""
        for camera in self.plan.cameras:
            self._supervisor.retire(_camera_name(camera.id))
        deadline_ns = self._clock.mono_ns() + round(FINISH_S * 1e9)
        while self._clock.mono_ns() < deadline_ns and (self._cameras_alive() or self.line.busy):
            self.loop.turn(0.02)
        self.line.drain()
        for vet in self._vets.values():
            vet.forget()
        self._supervisor.stop()
        self.line.drain()  # what the processes still said while they ended

    def _cameras_alive(self) -> bool:
        return any(link.alive for link in self.cameras.values())


class _Engines:
    """Starts and ends engine processes; see `pipeline.switchover.EngineProcesses`."""

    def __init__(self, supervisor: Supervisor, reader_fds: Mapping[str, int]) -> None:
        self._supervisor = supervisor
        self._reader_fds = reader_fds

    def start(self, link: EngineLink) -> None:
        paths = [slot.spec.path for slot in link.slots.values() if slot.spec.path is not None]
        args: dict[str, object] = {"models": paths, "cache_dir": link.cache_dir}
        fds = {f"ring/{name}": fd for name, fd in self._reader_fds.items()}
        self._supervisor.spawn(ChildSpec(name=link.name, entry=ENGINE_ENTRY, args=args, fds=fds), link)

    def end(self, link: EngineLink) -> None:
        self._supervisor.retire(link.name)


def _camera_name(camera: str) -> str:
    return f"camera/{camera}"
