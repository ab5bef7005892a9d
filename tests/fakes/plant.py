"""A line with everything around it that is no process: real loop, rings, links and inspections; time is the test's."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, cast

from edge_runtime.core.result import Evaluation, Event, RecipeRef, Result
from edge_runtime.pipeline.actions import Actions
from edge_runtime.pipeline.camera_link import CameraLink
from edge_runtime.pipeline.engine_link import EngineLink
from edge_runtime.pipeline.flight import FlightRecorder, leftovers, words_needed
from edge_runtime.pipeline.inspection import Capture, Inspection, InspectionSpec
from edge_runtime.pipeline.line import Line, Station
from edge_runtime.pipeline.recipe import Recipe, Rule
from edge_runtime.pipeline.results import ResultFactory
from edge_runtime.pipeline.slot import SlotSpec
from edge_runtime.pipeline.switchover import Switchover
from edge_runtime.system.loop import Loop
from edge_runtime.system.process import ExitCause, ExitKind
from edge_runtime.system.ring import Ring
from tests.fakes.child import FakeChild
from tests.fakes.clock import ManualClock

if TYPE_CHECKING:
    from edge_runtime.system.process import Child

WIDTH, HEIGHT = 8, 4
SCRATCH = {"label": "scratch", "score": 0.9, "id": 0, "box": [1, 1, 2, 2]}
DEADLINE_MS = 100


def make_spec(
    name: str = "top", camera: str = "top", capture: Capture = Capture.EVERY, *, on_trigger: bool = False
) -> InspectionSpec:
    return InspectionSpec(name, camera, "defects", capture, deadline_ms=DEADLINE_MS, queue=2, on_trigger=on_trigger)


class Sink:
    def __init__(self) -> None:
        self.items: list[Result | Event] = []

    def put(self, item: Result | Event) -> None:
        self.items.append(item)

    @property
    def results(self) -> list[Result]:
        return [item for item in self.items if isinstance(item, Result)]

    @property
    def events(self) -> list[str]:
        return [item.kind for item in self.items if isinstance(item, Event)]

    def fates(self, inspection: str = "top") -> list[tuple[int, str]]:
        """Return frame id and the first word of what became of it."""
        return [
            (r.frame_id, r.reason.partition(":")[0] if r.evaluation is Evaluation.NOT_DECIDABLE else r.evaluation.text)
            for r in self.results
            if r.inspection == inspection
        ]


class FakeEngine:
    """An engine process as main sees it through one link."""

    def __init__(self, link: EngineLink, clock: ManualClock, digest: str = "sha256:00") -> None:
        self.link = link
        self.clock = clock
        self.digest = digest
        self.process = FakeChild(name=link.name)
        self.alive = False
        self.ended = False

    def starts(self) -> None:
        self.process = FakeChild(name=self.link.name, restarts=self.process.restarts + 1)
        self.alive = True
        self.link.on_started(cast("Child", self.process))

    def says(self, **message: object) -> None:
        self.link.on_message(cast("Child", self.process), message)

    def loads(self) -> None:
        self.says(
            op="loaded",
            slot="defects",
            model={"name": "surface-defects", "version": "1", "digest": self.digest},
            backend="openvino",
            device="CPU",
            precision="int8",
            task="detection",
            labels=["scratch"],
            thresholds={"score": 0.25, "by_label": {}},
        )

    def dies(self, kind: ExitKind = ExitKind.SIGNALED) -> None:
        self.alive = False
        self.link.on_exited(cast("Child", self.process), ExitCause(kind, "engine (pid 7): died of SIGSEGV"))

    @property
    def asked(self) -> list[dict[str, object]]:
        """Requests the engine got and did not answer."""
        return [m for m in self.process.sent if m["op"] == "infer"]

    def answers(self, *predictions: dict[str, object], index: int = 0, infer_ms: float = 2) -> None:
        request = self.asked[index]
        self.process.sent.remove(request)
        self.says(
            op="inferred",
            request=request["request"],
            predictions=list(predictions),
            timings_ms={"preprocess": 1, "infer": infer_ms, "postprocess": 3},
            started_mono_ns=self.clock.mono_ns(),
            device="CPU",
        )

    def refuses(self, index: int = 0, failure: str = "invalid_output") -> None:
        request = self.asked[index]
        self.process.sent.remove(request)
        self.says(op="failed", request=request["request"], failure=failure, message="NaN")


class FakeEngines:
    """Starts and ends engine processes; see `pipeline.switchover.EngineProcesses`."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.started: list[FakeEngine] = []
        self.ended: list[str] = []

    def start(self, link: EngineLink) -> None:
        self.started.append(FakeEngine(link, self.clock, f"sha256:{len(self.started) + 1:02d}"))

    def end(self, link: EngineLink) -> None:
        self.ended.append(link.name)
        for engine in self.started:
            if engine.link is link:
                engine.ended = True


OTHERS = ((Recipe(id="other", not_ok=(Rule("scratch", score_min=0.99),)), RecipeRef("other", "2", "sha256:01")),)


class Plant:
    """A line with everything around it that is no process."""

    def __init__(self, *specs: InspectionSpec, workers: int = 2) -> None:
        self.specs = specs or (make_spec(),)
        self.clock = ManualClock()
        self.loop = Loop(clock=self.clock)
        self.sink = Sink()
        self.names = [spec.id for spec in self.specs]
        self.words = memoryview(array("Q", bytes(8 * words_needed(len(self.specs)))))
        recipe, ref = Recipe(not_ok=(Rule("scratch"),)), RecipeRef("default", "1", "sha256:00")
        stations = [
            Station(Inspection(s), ResultFactory(s, recipe, ref, clock=self.clock, random=bytes, others=OTHERS))
            for s in self.specs
        ]
        flight = FlightRecorder()
        flight.extend(self.words, self.names)
        self.line = Line(self.loop, stations, self.sink, flight)
        self.actions = Actions(self.line)
        cameras = sorted({spec.camera for spec in self.specs})
        self.rings = {name: Ring.create(name, slots=6, slot_bytes=WIDTH * HEIGHT * 3) for name in cameras}
        self.links = {
            name: CameraLink(name, ring, self.line, self.clock, simulated=False, max_pixels=WIDTH * HEIGHT)
            for name, ring in self.rings.items()
        }
        self.engine = EngineLink([SlotSpec("defects", "/m", workers=workers, hang_ms=50)], self.line, cache_dir=None)
        self.line.attach(self.links, self.engine)
        self.cameras = {name: FakeChild(name=f"camera/{name}") for name in cameras}
        for name, link in self.links.items():
            link.on_started(cast("Child", self.cameras[name]))
        self.base = FakeEngine(self.engine, self.clock)
        self.engines = FakeEngines(self.clock)
        self.switchover = Switchover(self.line, self.engines)

    def close(self) -> None:
        self.loop.close()
        for ring in self.rings.values():
            ring.close()

    # the engine

    def engine_starts(self) -> None:
        self.base.starts()

    def engine_says(self, **message: object) -> None:
        self.base.says(**message)

    def engine_loads(self) -> None:
        self.base.loads()

    def engine_dies(self, kind: ExitKind = ExitKind.SIGNALED) -> None:
        self.base.dies(kind)

    @property
    def process(self) -> FakeChild:
        return self.base.process

    @property
    def asked(self) -> list[dict[str, object]]:
        return self.base.asked

    def engine_answers(self, *predictions: dict[str, object], index: int = 0) -> None:
        self.base.answers(*predictions, index=index)

    def engine_refuses(self, index: int = 0) -> None:
        self.base.refuses(index)

    # cameras and time

    def camera_says(self, camera: str = "top", **message: object) -> None:
        self.links[camera].on_message(cast("Child", self.cameras[camera]), message)

    def camera_dies(self, camera: str = "top") -> None:
        child = cast("Child", self.cameras[camera])
        self.links[camera].on_exited(child, ExitCause(ExitKind.SIGNALED, "died"))

    def frame(self, camera: str = "top") -> None:
        """Capture a frame as a camera process would: a full ring makes it a bad one."""
        ring = self.rings[camera]
        frame_id = ring.next_frame_id()
        times = {"utc_ns": self.clock.utc_ns(), "mono_ns": self.clock.mono_ns(), "origin": None}
        slot = ring.acquire(frame_id)
        if slot is None:
            self.camera_says(camera, op="bad_frame", frame=frame_id, reason="overrun", **times)
            return
        ref = slot.publish()
        size = {"width": WIDTH, "height": HEIGHT, "channels": 3, "read_ms": 1}
        self.camera_says(camera, op="frame", frame=frame_id, slot=ref.index, generation=ref.generation, **times, **size)

    def bad_frame(self, camera: str = "top") -> None:
        self.camera_says(
            camera,
            op="bad_frame",
            frame=self.rings[camera].next_frame_id(),
            utc_ns=self.clock.utc_ns(),
            mono_ns=self.clock.mono_ns(),
            reason="not a JPEG",
        )

    def pass_ms(self, milliseconds: int) -> None:
        """Let time pass in steps of 10 ms, with a turn of the loop after each."""
        for _ in range(0, milliseconds, 10):
            self.clock.advance_ms(10)
            self.loop.turn(0)

    def left_over(self) -> dict[str, tuple[int, ...]]:
        return {name: found.frame_ids for name, found in leftovers(self.words, self.names, {}).items()}
