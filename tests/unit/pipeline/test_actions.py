"""Every answer that a line gives to a command, without processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import pytest

from edge_runtime.core.command import Answer, Status
from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Event, RecipeRef, Result
from edge_runtime.pipeline.actions import NAMES_TOLD, Actions
from edge_runtime.pipeline.attempt import TriggerIds
from edge_runtime.pipeline.camera_link import TORN_MAX, CameraLink
from edge_runtime.pipeline.engine_link import EngineLink
from edge_runtime.pipeline.flight import FlightRecorder
from edge_runtime.pipeline.inspection import Inspection, InspectionSpec
from edge_runtime.pipeline.line import Line, Station
from edge_runtime.pipeline.recipe import Recipe, Rule
from edge_runtime.pipeline.results import ResultFactory
from edge_runtime.pipeline.setup import CHANGES_KEPT, Setup, SetupHistory
from edge_runtime.pipeline.slot import SlotSpec, SlotState
from edge_runtime.pipeline.snapshots import JPEG_BYTES_MAX, Shot, Snapshots
from edge_runtime.system.loop import Loop
from edge_runtime.system.process import ExitCause, ExitKind
from edge_runtime.system.ring import Ring
from tests.fakes.child import FakeChild
from tests.fakes.clock import ManualClock
from tests.fakes.values import FACTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.system.process import Child

PIXELS = 100
JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"


def _recipe(name: str, *rules: Rule) -> tuple[Recipe, RecipeRef]:
    return Recipe(name, "2", rules), RecipeRef(name, "2", f"sha256:{name}")


OTHERS = (
    _recipe("b", Rule("dent")),
    _recipe("no-such-label", Rule("rust")),
    _recipe("texts", Rule("scratch", text_is="VOID", count_above=0)),
)


class _Rig:
    """Inspections ``i0``, ``i1`` ... of one camera each, the odd ones triggered."""

    def __init__(self, inspections: int) -> None:
        self.clock = ManualClock()
        self.loop = Loop(clock=self.clock)
        self.items: list[Result | Event] = []
        self.shots: list[Shot | Answer] = []
        stations = []
        for number in range(inspections):
            spec = InspectionSpec(f"i{number}", f"c{number}", "defects", on_trigger=number % 2 == 1, queue=2)
            recipe, ref = _recipe("a", Rule("scratch"))
            factory = ResultFactory(spec, recipe, ref, clock=self.clock, random=bytes, others=OTHERS)
            stations.append(Station(Inspection(spec), factory))
        self.line = Line(self.loop, stations, self, FlightRecorder())
        self.actions = Actions(self.line)
        names = [f"c{number}" for number in range(inspections)]
        self.rings = {name: Ring.create(name, slots=2, slot_bytes=PIXELS * 3) for name in names}
        self.snapshots = {name: Snapshots(name) for name in names}
        self.links = {
            name: CameraLink(
                name,
                ring,
                self.line,
                self.clock,
                simulated=False,
                max_pixels=PIXELS,
                snapshots=self.snapshots[name],
            )
            for name, ring in self.rings.items()
        }
        self.children = {name: FakeChild(name=f"camera/{name}") for name in names}
        for name, link in self.links.items():
            link.on_started(cast("Child", self.children[name]))
        self.engine = EngineLink([SlotSpec("defects", "/m")], self.line, cache_dir=None)

    def attach(self) -> None:
        self.line.attach(self.links, self.engine)

    def put(self, item: Result | Event) -> None:
        self.items.append(item)

    def says(self, camera: str, **message: object) -> None:
        self.links[camera].on_message(cast("Child", self.children[camera]), message)

    def picture(self, number: int, **more: object) -> dict[str, object]:
        facts: dict[str, object] = {"op": "snapshot", "request": number, "bytes": len(JPEG), "frame": 7}
        return facts | {"utc_ns": 1, "mono_ns": 2, "width": 10, "height": 5} | more

    def close(self) -> None:
        self.loop.close()
        for ring in self.rings.values():
            ring.close()
        for snapshots in self.snapshots.values():
            snapshots.close()


@pytest.fixture
def rig() -> Iterator[_Rig]:
    rig = _Rig(2)
    rig.attach()
    yield rig
    rig.close()


@pytest.fixture
def single() -> Iterator[_Rig]:
    rig = _Rig(1)
    rig.attach()
    for state in ("connecting", "streaming"):
        rig.says("c0", op="state", state=state)
    yield rig
    rig.close()


def test_a_command_without_a_target_needs_an_only_inspection(rig: _Rig, single: _Rig) -> None:
    answer = rig.actions.trigger(None, TriggerIds())
    assert (answer.status, answer.message) == (Status.MALFORMED, "name one inspection in the topic: i0, i1")
    assert rig.actions.select(None, "b", None).status is Status.MALFORMED
    assert single.actions.select(None, "b", None).status is Status.DONE


def test_of_many_names_some_are_told() -> None:
    rig = _Rig(NAMES_TOLD + 2)
    try:
        assert rig.actions.reset("x").message.endswith(f"i{NAMES_TOLD - 1} and 2 more")
    finally:
        rig.close()


def test_a_recipe_is_chosen_by_its_id_and_version_if_the_model_can_meet_it(rig: _Rig) -> None:
    assert rig.actions.select("i0", "texts", None).status is Status.DONE, "no model yet: nobody knows"
    rig.engine.slots["defects"].on_loaded(FACTS)
    refused = [
        rig.actions.select("i0", "no-such-label", None),
        rig.actions.select("i0", "texts", None),
        rig.actions.select("i0", "b", None, version="1"),
        rig.actions.select("i0", "c", None),
        rig.actions.trigger("i1", TriggerIds(), recipe="no-such-label"),
    ]
    assert [answer.status.value for answer in refused] == [409, 409, 409, 404, 409]
    assert refused[0].message == (
        "recipe no-such-label cannot judge i0: the recipe names labels that the model does not have: rust"
    )
    assert refused[1].message.endswith("the recipe asks for texts, the model reads none")
    assert rig.actions.trigger("i1", TriggerIds("J"), recipe="b").fields == {"inspection": "i1", "jobId": "J"}
    answer = rig.actions.select("i0", "b", "B", version="2", reason="order 12")
    assert answer.fields == {
        "inspection": "i0",
        "recipe": {"id": "b", "version": "2", "hash": "sha256:b"},
        "productId": "B",
        "fromFrame": 1,
    }
    event = rig.items[-1]
    assert isinstance(event, Event)
    assert (event.kind, event.fields["reason"]) == ("recipe.selected", "order 12")
    assert rig.actions.setups() == {"i0": Setup("b", "B"), "i1": Setup()}
    assert "fromFrame" not in rig.actions.select("i0", "b", "B").fields
    assert rig.actions.select("i0", "a", "B").status is Status.DONE


def test_all_are_paused_but_those_that_are(rig: _Rig) -> None:
    rig.rings["c0"].next_frame_id()
    first = rig.actions.pause("i0", "shift")
    assert first.fields == {"paused": True, "changed": ["i0"], "fromFrame": {"i0": 2}}
    rest = rig.actions.pause(None)
    assert (rest.message, rest.fields["changed"]) == ("every inspection is paused", ["i1"])
    assert rig.actions.pause(None).message == "every inspection is paused already"
    assert rig.actions.trigger("i1", TriggerIds()).message == "inspection i1 takes no trigger now: it is paused"
    assert rig.actions.resume("i1").message == "inspection i1 is running"
    assert rig.actions.pause("x").status is Status.UNKNOWN
    assert [item.kind for item in rig.items if isinstance(item, Event)] == [
        "inspection.paused",
        "inspection.paused",
        "inspection.resumed",
    ]


def test_a_reset_loads_a_refused_model_again_now_or_with_the_next_engine(rig: _Rig) -> None:
    engine, slot = FakeChild(name="engine"), rig.engine.slots["defects"]
    rig.engine.on_started(cast("Child", engine))
    assert rig.actions.reset("i0").fields["modelReloaded"] is False
    slot.on_load_failed("damaged")
    engine.sent.clear()
    assert rig.actions.reset("i0", "mended").fields["modelReloaded"] is True
    assert [message["op"] for message in engine.sent] == ["load"]
    slot.on_load_failed("damaged")
    rig.engine.on_exited(cast("Child", engine), ExitCause(ExitKind.SIGNALED, "engine: died"))
    assert rig.actions.reset("i0").fields["modelReloaded"] is True
    assert slot.state is SlotState.LOADING


def test_before_a_line_is_attached_a_reset_has_no_model_to_load() -> None:
    rig = _Rig(1)
    try:
        assert rig.actions.reset("i0").fields == {"inspection": "i0", "aborted": 0, "modelReloaded": False}
    finally:
        rig.close()


def test_a_counter_that_tells_nonsense_does_not_put_a_change_off_for_ever(single: _Rig) -> None:
    words = memoryview(single.rings["c0"]._words)
    words[8] = 1 << 60
    assert single.actions.select("i0", "b", None).fields["fromFrame"] == TORN_MAX + 1
    words[8] = 0


def test_frames_know_their_setup_however_many_changes_there_were() -> None:
    history = SetupHistory(Setup())
    for number in range(2 * CHANGES_KEPT):
        history.change(Setup(recipe=str(number)), number + 1)
    history.change(Setup(recipe="last"), 3)  # a camera that counts backwards
    assert history.of(2 * CHANGES_KEPT - 1).recipe == str(2 * CHANGES_KEPT - 2)
    assert history.of(2 * CHANGES_KEPT).recipe == "last"
    assert history.current.recipe == "last"


# pictures


def test_a_picture_is_asked_of_the_only_camera_or_that_of_an_inspection(rig: _Rig, single: _Rig) -> None:
    single.actions.snapshot(None, 640, single.shots.append)
    until_ns = single.clock.mono_ns() + 2_000_000_000
    assert single.children["c0"].sent == [{"op": "snapshot", "request": 1, "until_mono_ns": until_ns, "max_width": 640}]
    os.pwrite(single.snapshots["c0"].fd, JPEG, 0)
    single.says("c0", **single.picture(1))
    assert single.shots == [Shot("c0", 7, 1, 2, 10, 5, JPEG)]
    assert os.fstat(single.snapshots["c0"].fd).st_size == 0
    single.actions.snapshot("i0", None, single.shots.append)
    assert len(single.children["c0"].sent) == 2
    for target in (None, "x", "c1"):
        rig.actions.snapshot(target, None, rig.shots.append)
    assert [cast("Answer", one).status.value for one in rig.shots] == [400, 404, 503]
    rig.says("c1", op="state", state="connecting")
    rig.says("c1", op="state", state="lost", reason="closed", detail="it is off")
    rig.actions.snapshot("c1", None, rig.shots.append)
    assert cast("Answer", rig.shots[-1]).message == "camera c1 is lost: it is off"


def test_a_picture_is_made_at_a_time_and_ends_in_one_answer(single: _Rig) -> None:
    ask = lambda: single.actions.snapshot("c0", None, single.shots.append)  # noqa: E731
    ask()
    ask()
    assert [cast("Answer", one).status for one in single.shots] == [Status.TOO_MANY]
    single.clock.advance_ms(2000)
    single.loop.turn(0.0)
    assert cast("Answer", single.shots[-1]).status is Status.LATE
    single.says("c0", op="snapshot", request=1, error="too late")
    ask()
    single.says("c0", op="snapshot", request=1, error="later still")
    assert len(single.shots) == 2
    single.says("c0", op="snapshot", request=2, error="busy")
    ask()
    single.says("c0", op="snapshot", request=3, error="no memory")
    ask()
    single.children["c0"].gone = True
    single.links["c0"].on_exited(cast("Child", single.children["c0"]), ExitCause(ExitKind.SIGNALED, "died"))
    ask_again = single.links["c0"].snapshot(0, None, single.shots.append)
    ask_again()
    single.snapshots["c0"].close()
    assert [cast("Answer", one).status.value for one in single.shots[2:]] == [429, 503, 503, 503]


def test_a_camera_that_does_not_take_the_message_has_no_picture(single: _Rig) -> None:
    single.children["c0"].gone = True
    single.actions.snapshot("c0", None, single.shots.append)
    assert cast("Answer", single.shots[0]).message == "the process of camera c0 is not there"


@pytest.mark.parametrize(
    "more",
    [
        {"bytes": JPEG_BYTES_MAX + 1},
        {"bytes": len(JPEG) + 1},
        {"bytes": len(JPEG) - 1},
        {"bytes": 0},
        {"width": 0},
        {"width": PIXELS, "height": 2},
        {"request": 2},
        {"frame": -1},
    ],
)
def test_what_is_no_picture_is_a_fault_of_the_camera_process(single: _Rig, more: dict[str, object]) -> None:
    single.actions.snapshot("c0", None, single.shots.append)
    os.pwrite(single.snapshots["c0"].fd, JPEG, 0)
    with pytest.raises(DataError):
        single.snapshots["c0"].on_message(single.picture(1, **more), max_pixels=PIXELS)
    single.says("c0", **single.picture(1, **more))
    assert single.children["c0"].killed == ["protocol fault"]


def test_a_camera_without_memory_for_pictures_makes_none() -> None:
    rig = _Rig(1)
    try:
        link = CameraLink("c0", rig.rings["c0"], rig.line, rig.clock, simulated=False, max_pixels=PIXELS)
        link.snapshot(0, None, rig.shots.append)()
        assert cast("Answer", rig.shots[0]).status is Status.UNAVAILABLE
        child = FakeChild()
        link.on_message(cast("Child", child), rig.picture(1))
        assert child.killed
        link.on_exited(cast("Child", child), ExitCause(ExitKind.SIGNALED, "died"))
    finally:
        rig.close()
