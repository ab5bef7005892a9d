"""The line as a whole: real loop, rings, links and inspections; only processes and time are the test's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.command import Status
from edge_runtime.core.result import Counters, Evaluation, Event, RecipeRef
from edge_runtime.pipeline.actions import Actions
from edge_runtime.pipeline.attempt import TriggerIds
from edge_runtime.pipeline.flight import FlightRecorder
from edge_runtime.pipeline.inspection import Capture, Inspection, InspectionSpec
from edge_runtime.pipeline.line import CHECK_S, Line, Station
from edge_runtime.pipeline.picture_health import Change, Fault, Finding, PictureHealth, PictureRules
from edge_runtime.pipeline.pictures import Pictures
from edge_runtime.pipeline.recipe import Recipe, Rule
from edge_runtime.pipeline.results import ResultFactory
from edge_runtime.pipeline.slot import SlotState
from edge_runtime.system.loop import Loop
from edge_runtime.system.process import ExitKind
from tests.fakes.clock import ManualClock
from tests.fakes.plant import DEADLINE_MS, SCRATCH, Plant, Sink, make_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.system.process import Child


@pytest.fixture
def plant() -> Iterator[Plant]:
    """One camera, one inspection, a loaded engine."""
    plant = Plant()
    plant.engine_starts()
    plant.engine_loads()
    yield plant
    plant.close()


def _custom(plants: list[Plant], *specs: InspectionSpec, workers: int = 2, loaded: bool = True) -> Plant:
    plant = Plant(*specs, workers=workers)
    plants.append(plant)
    if loaded:
        plant.engine_starts()
        plant.engine_loads()
    return plant


@pytest.fixture
def plants() -> Iterator[list[Plant]]:
    """A list whose plants are closed after the test."""
    made: list[Plant] = []
    yield made
    for plant in made:
        plant.close()


def test_a_frame_is_judged_and_its_slot_is_free_again(plant: Plant) -> None:
    plant.frame()
    assert plant.rings["top"].held == 1
    plant.engine_answers(SCRATCH)
    assert plant.sink.fates() == [(1, "NotOK")]
    assert plant.sink.results[0].model is not None
    assert plant.rings["top"].held == 0


def test_the_flight_recorder_names_a_frame_until_its_fate_is_durable(plant: Plant) -> None:
    plant.frame()
    assert plant.left_over() == {"top": (1,)}
    plant.engine_answers()
    assert plant.left_over() == {"top": (1,)}  # whoever commits the result takes it out


def test_a_dropped_frame_leaves_the_flight_recorder_at_once(plants: list[Plant]) -> None:
    plant = _custom(plants, make_spec(capture=Capture.LATEST), loaded=False)
    for _ in range(3):
        plant.frame()
    assert plant.left_over() == {"top": (3,)}
    assert plant.rings["top"].held == 1
    assert plant.line.stations["top"].inspection.figures().dropped_by == {"superseded": 2}


def test_the_engine_gets_no_more_frames_than_it_has_workers(plant: Plant) -> None:
    for _ in range(4):
        plant.frame()
    assert len(plant.asked) == 2
    plant.engine_answers()
    assert len(plant.asked) == 2
    for _ in range(3):
        plant.engine_answers()
    assert plant.sink.fates() == [(1, "OK"), (2, "OK"), (3, "OK"), (4, "OK")]
    assert not plant.line.busy


def test_frames_above_the_bound_say_overrun_in_their_turn_and_free_their_slot_at_once(plant: Plant) -> None:
    for _ in range(5):
        plant.frame()
    assert plant.rings["top"].held == 4
    assert plant.line.busy
    for _ in range(4):
        plant.engine_answers()
    assert plant.sink.fates() == [(1, "OK"), (2, "OK"), (3, "OK"), (4, "OK"), (5, "overrun")]
    assert plant.rings["top"].held == 0


def test_a_bad_frame_is_not_decidable(plant: Plant) -> None:
    plant.bad_frame()
    assert plant.sink.fates() == [(1, "invalid_frame")]
    assert plant.sink.results[0].reason == "invalid_frame: not a JPEG"


def test_two_inspections_of_one_camera_each_judge_every_frame(plants: list[Plant]) -> None:
    plant = _custom(plants, make_spec("a"), make_spec("b"), workers=4)
    plant.frame()
    assert plant.rings["top"].held == 1
    plant.engine_answers()
    assert plant.rings["top"].held == 1  # the other one still reads it
    plant.engine_answers()
    assert plant.rings["top"].held == 0
    assert (plant.sink.fates("a"), plant.sink.fates("b")) == ([(1, "OK")], [(1, "OK")])


def test_inspections_that_share_a_model_take_turns(plants: list[Plant]) -> None:
    plant = _custom(plants, make_spec("a", "left"), make_spec("b", "right"), workers=1)
    for _ in range(2):
        plant.frame("left")
        plant.frame("right")
    served = []
    while plant.asked:
        served.append(plant.asked[0]["inspection"])
        plant.engine_answers()
    assert served == ["a", "b", "a", "b"]


def test_without_a_verdict_in_time_the_result_says_so(plant: Plant) -> None:
    plant.frame()
    plant.pass_ms(DEADLINE_MS - 10)
    assert plant.sink.results == []
    plant.pass_ms(10)
    assert plant.sink.fates() == [(1, "deadline")]
    assert plant.rings["top"].held == 1  # the engine may still be reading it
    plant.engine_answers(SCRATCH)
    assert plant.sink.fates() == [(1, "deadline")]
    assert plant.rings["top"].held == 0


def test_a_verdict_after_the_deadline_is_too_late_even_when_main_was_held_up(plant: Plant) -> None:
    plant.frame()
    plant.frame()
    plant.clock.advance_ms(DEADLINE_MS)
    plant.engine_answers()  # read before the timers of the same turn
    plant.loop.turn(0)
    assert plant.sink.fates() == [(1, "deadline"), (2, "deadline")]
    plant.engine_answers()
    assert plant.rings["top"].held == 0
    assert len(plant.sink.results) == 2


def test_each_deadline_is_kept_after_an_earlier_one_was_met(plant: Plant) -> None:
    plant.frame()
    plant.pass_ms(60)
    plant.frame()
    plant.engine_answers()  # the timer of the first frame is now early for the second
    plant.pass_ms(90)
    assert plant.sink.fates() == [(1, "OK")]
    plant.pass_ms(10)
    assert plant.sink.fates() == [(1, "OK"), (2, "deadline")]


def test_a_model_that_is_still_loading_is_the_reason_for_silence(plants: list[Plant]) -> None:
    plant = _custom(plants, loaded=False)
    plant.engine_starts()
    plant.frame()
    plant.pass_ms(DEADLINE_MS)
    assert plant.sink.results[0].reason == "no_model: model defects is being loaded"
    assert plant.rings["top"].held == 0


def test_frames_that_wait_for_a_model_are_judged_when_it_is_ready(plants: list[Plant]) -> None:
    plant = _custom(plants, loaded=False)
    plant.frame()
    plant.engine_starts()
    plant.engine_loads()
    plant.engine_answers()
    assert plant.sink.fates() == [(1, "OK")]
    assert plant.sink.events == ["model.ready"]


def test_a_recipe_that_names_a_label_the_model_lacks_is_an_event_and_an_error(
    plants: list[Plant], caplog: pytest.LogCaptureFixture
) -> None:
    plant = _custom(plants, loaded=False)
    station = next(iter(plant.line.stations.values()))
    recipe, ref = Recipe(not_ok=(Rule("scartch"),)), RecipeRef("default", "1", "sha256:00")
    station.factory = ResultFactory(station.inspection.spec, recipe, ref, clock=plant.clock, random=bytes)
    plant.engine_starts()
    plant.engine_loads()
    assert plant.sink.events == ["model.ready", "recipe.unknown_label"]
    assert "scartch" in caplog.text


def test_a_recipe_that_asks_a_model_for_texts_it_does_not_read_is_an_event_and_an_error(
    plants: list[Plant], caplog: pytest.LogCaptureFixture
) -> None:
    plant = _custom(plants, loaded=False)
    station = next(iter(plant.line.stations.values()))
    recipe = Recipe(not_ok=(Rule("scratch", text_is="LOT", count_below=1),))
    ref = RecipeRef("default", "1", "sha256:00")
    station.factory = ResultFactory(station.inspection.spec, recipe, ref, clock=plant.clock, random=bytes)
    plant.engine_starts()
    plant.engine_loads()
    assert plant.sink.events == ["model.ready", "recipe.no_text"]
    assert "reads none" in caplog.text


def test_a_rule_below_the_threshold_of_the_model_is_an_event_and_a_warning(
    plants: list[Plant], caplog: pytest.LogCaptureFixture
) -> None:
    plant = _custom(plants, loaded=False)
    station = next(iter(plant.line.stations.values()))
    rules = (Rule("scratch", score_min=0.2), Rule("scratch", score_min=0.3), Rule("scartch", score_min=0.1))
    recipe, ref = Recipe(not_ok=rules), RecipeRef("default", "1", "sha256:00")
    station.factory = ResultFactory(station.inspection.spec, recipe, ref, clock=plant.clock, random=bytes)
    plant.engine_starts()
    plant.engine_loads()
    assert plant.sink.events == ["model.ready", "recipe.unknown_label", "recipe.score_below_threshold"]
    event = plant.sink.items[-1]
    assert isinstance(event, Event)
    assert event.fields == {"label": "scratch", "score_min": 0.2, "threshold": 0.25}
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [event.message]


def test_a_refused_model_is_an_event_and_an_error(plants: list[Plant], caplog: pytest.LogCaptureFixture) -> None:
    plant = _custom(plants, loaded=False)
    plant.engine_starts()
    plant.engine_says(op="load_failed", slot="defects", code="model.unreadable", message="not an ONNX file")
    assert plant.sink.events == ["model.failed"]
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.ERROR, "model defects cannot judge: model.unreadable: not an ONNX file")
    ]


def test_an_engine_that_dies_fails_what_it_had_and_judges_the_rest_after_its_restart(plant: Plant) -> None:
    for _ in range(3):
        plant.frame()
    plant.engine_dies()
    assert plant.sink.fates() == [(1, "engine_lost"), (2, "engine_lost")]
    assert plant.rings["top"].held == 1
    plant.engine_starts()
    plant.engine_loads()
    plant.engine_answers()
    assert plant.sink.fates()[2:] == [(3, "OK")]
    assert plant.sink.events == ["model.ready", "model.lost", "model.ready"]


def test_an_engine_that_takes_no_frame_loses_only_that_one(plant: Plant) -> None:
    plant.process.gone = True
    plant.frame()
    assert plant.sink.fates() == [(1, "engine_lost")]
    assert plant.rings["top"].held == 0
    assert plant.process.killed == ["it does not take messages"]


def test_an_engine_that_hangs_is_killed(plant: Plant) -> None:
    plant.frame()
    plant.pass_ms(200)
    assert plant.process.killed
    assert "did not answer" in plant.process.killed[0]


def test_a_frame_the_engine_refuses_is_not_decidable_and_the_next_one_is_sent(plant: Plant) -> None:
    for _ in range(3):
        plant.frame()
    plant.engine_refuses()
    assert plant.sink.fates() == [(1, "invalid_output")]
    assert len(plant.asked) == 2
    assert plant.rings["top"].held == 2


def test_what_the_camera_discarded_is_counted_by_every_inspection_of_it(plants: list[Plant]) -> None:
    plant = _custom(plants, make_spec("a"), make_spec("b"), make_spec("c", "other"))
    plant.camera_says(op="dropped", drop="rate", frames=[plant.rings["top"].next_frame_id()])
    counted = {name: s.inspection.counters.dropped for name, s in plant.line.stations.items()}
    assert counted == {"a": 1, "b": 1, "c": 0}


@pytest.mark.parametrize(
    ("state", "reason", "detail", "level", "text"),
    [
        ("streaming", "", "", logging.INFO, "camera top is streaming"),
        ("lost", "refused", "connection refused", logging.WARNING, "camera top is lost: connection refused"),
        ("stalled", "no_frame", "", logging.WARNING, "camera top is stalled: no_frame"),
    ],
)
def test_a_change_of_a_camera_is_an_event_and_one_line(
    plant: Plant, state: str, reason: str, detail: str, level: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    plant.camera_says(op="state", state=state, reason=reason, detail=detail)
    [event] = [item for item in plant.sink.items if isinstance(item, Event) and item.scope == "top"]
    assert (event.kind, event.message, event.fields) == (f"camera.{state}", text, {"reason": reason, "detail": detail})
    assert event.utc_ns == plant.clock.utc_ns()
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(level, text)]


def test_a_trigger_gets_the_next_frame_with_its_ids(plants: list[Plant]) -> None:
    plant = _custom(plants, make_spec(on_trigger=True))
    plant.frame()
    assert plant.actions.trigger("top", TriggerIds(part_id="p1")).status is Status.ACCEPTED
    plant.frame()
    plant.frame()
    plant.engine_answers()
    assert [(r.frame_id, r.part_id) for r in plant.sink.results] == [(2, "p1")]
    assert plant.rings["top"].held == 0


def test_a_trigger_without_a_frame_gets_a_result_by_its_deadline(plants: list[Plant]) -> None:
    plant = _custom(plants, make_spec(on_trigger=True))
    plant.actions.trigger("top", TriggerIds(part_id="p1"))
    plant.pass_ms(DEADLINE_MS)
    assert [(r.frame_id, r.part_id, r.reason.partition(":")[0]) for r in plant.sink.results] == [
        (0, "p1", "camera_lost")
    ]


def test_triggers_above_the_bound_are_refused(plants: list[Plant]) -> None:
    plant = _custom(plants, make_spec(on_trigger=True))
    answers = [plant.actions.trigger("top", TriggerIds(part_id=f"p{i}")) for i in range(3)]
    assert [answer.status for answer in answers] == [Status.ACCEPTED, Status.ACCEPTED, Status.TOO_MANY]
    assert plant.sink.results == []


def test_a_trigger_that_has_less_time_than_those_before_it_is_answered_in_its_own_time(plants: list[Plant]) -> None:
    plant = _custom(plants, make_spec(on_trigger=True))
    plant.actions.trigger("top", TriggerIds(part_id="p1"))
    plant.actions.trigger("top", TriggerIds(part_id="p2"), timeout_ms=10)
    plant.pass_ms(10)
    assert [r.part_id for r in plant.sink.results] == ["p2"]


def test_only_a_triggered_inspection_can_be_triggered(plant: Plant) -> None:
    assert plant.actions.trigger("top", TriggerIds()).status is Status.CONFLICT
    assert plant.actions.trigger("nobody", TriggerIds()).status is Status.UNKNOWN
    assert plant.sink.results == []


def test_drain_leaves_nothing_undecided(plant: Plant) -> None:
    for _ in range(4):
        plant.frame()
    plant.line.drain()
    assert plant.sink.fates() == [(number, "shutdown") for number in (1, 2, 3, 4)]
    assert not plant.line.busy
    assert plant.left_over() == {"top": (1, 2, 3, 4)}
    plant.engine_dies(ExitKind.RETIRED)
    assert plant.rings["top"].held == 0
    assert len(plant.sink.results) == 4


def test_a_frame_that_a_dead_camera_left_torn_has_a_result_where_every_part_has_one(plants: list[Plant]) -> None:
    plant = _custom(plants, make_spec("a"), make_spec("b", capture=Capture.LATEST))
    for _ in range(2):
        plant.rings["top"].next_frame_id()
    plant.camera_dies()
    assert plant.sink.fates("a") == [(1, "camera_lost"), (2, "camera_lost")]
    assert plant.sink.fates("b") == []
    assert plant.line.stations["b"].inspection.figures().dropped_by == {"torn": 2}
    assert plant.left_over() == {"a": (1, 2)}


def test_the_picture_for_other_threads_is_replaced_as_a_whole_and_soon(plant: Plant) -> None:
    before = plant.line.picture
    plant.frame()
    plant.engine_answers()
    assert plant.line.picture is before
    assert before.inspections["top"].counters == Counters()
    plant.pass_ms(round(1000 * CHECK_S))
    after = plant.line.picture
    assert after.inspections["top"].counters == Counters(captured=1, inferred=1)
    assert after.slots["defects"].state is SlotState.READY
    assert after.slots["defects"].facts is not None


def test_a_paused_model_gets_its_frames_when_it_is_fed_again(plant: Plant) -> None:
    slot = plant.engine.slots["defects"]
    slot.paused = True
    plant.frame()
    assert plant.asked == []
    slot.paused = False
    plant.line.feed("defects")
    assert len(plant.asked) == 1


def test_answers_that_are_not_about_frames_go_to_who_listens(plant: Plant) -> None:
    plant.engine_says(op="benched", fps=1)  # nobody listens: nothing happens
    heard: list[dict[str, object]] = []
    plant.line.listen(heard.append)
    plant.engine_says(op="benched", fps=50)
    assert heard == [{"op": "benched", "fps": 50}]
    assert plant.process.killed == []


def test_before_it_is_attached_a_line_keeps_frames_and_gives_results_without_a_model() -> None:
    """Nothing runs in that time; what is called all the same does no harm."""
    loop = Loop(clock=(clock := ManualClock()))
    sink = Sink()
    spec = make_spec(on_trigger=True)
    factory = ResultFactory(spec, Recipe(), RecipeRef("default", "1", ""), clock=clock, random=bytes)
    line = Line(loop, [Station(Inspection(spec), factory)], sink, FlightRecorder())
    Actions(line).trigger("top", TriggerIds(part_id="p1"))
    line.feed("defects")
    clock.advance_ms(DEADLINE_MS)
    loop.turn(0)
    assert [r.part_id for r in sink.results] == ["p1"]
    loop.close()


EVENTS = st.sampled_from(
    [
        "frame",
        "frame",
        "bad",
        "drop",
        "answer",
        "answer last",
        "refuse",
        "nonsense",
        "engine dies",
        "engine starts",
        "engine loads",
        "camera dies",
        "wait",
        "wait long",
        "trigger",
        "pause",
        "resume",
        "select",
        "reset",
    ]
)


@given(events=st.lists(EVENTS, max_size=50), capture=st.sampled_from(Capture), on_trigger=st.booleans())
def test_whatever_happens_no_frame_and_no_slot_is_lost(
    events: list[str], capture: Capture, *, on_trigger: bool
) -> None:
    plant = Plant(make_spec("a", capture=capture, on_trigger=on_trigger), make_spec("b"))
    try:
        running = _Random(plant)
        for event in events:
            running.happens(event)
            running.check()
        plant.line.drain()
        if running.up:
            plant.engine_dies(ExitKind.RETIRED)
        running.check()
        assert not plant.line.busy
        for ring in plant.rings.values():
            assert ring.held == 0, "a slot leaked"
    finally:
        plant.close()


class _Random:
    """Plays named events into a plant, as far as they make sense now."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.up = False
        self.triggers = 0

    def happens(self, event: str) -> None:  # noqa: C901, PLR0912 - a table of events
        plant = self.plant
        match event:
            case "frame":
                plant.frame()
            case "bad":
                plant.bad_frame()
            case "drop":
                plant.camera_says(op="dropped", drop="rate", frames=[plant.rings["top"].next_frame_id()])
            case "answer" if plant.asked and self.up:
                plant.engine_answers()
            case "answer last" if plant.asked and self.up:
                plant.engine_answers(SCRATCH, index=-1)
            case "refuse" if plant.asked and self.up:
                plant.engine_refuses()
            case "nonsense" if plant.asked and self.up:
                plant.engine_says(op="inferred", request=plant.asked[0]["request"])
                assert plant.process.killed
                self.happens("engine dies")
            case "engine dies" if self.up:
                plant.engine_dies()
                plant.process.sent.clear()
                self.up = False
            case "engine starts" if not self.up:
                plant.engine_starts()
                self.up = True
            case "engine loads" if self.up:
                plant.engine_loads()
            case "camera dies":
                plant.rings["top"].acquire(plant.rings["top"].next_frame_id())
                plant.camera_dies()
                plant.links["top"].on_started(cast("Child", plant.cameras["top"]))
            case "wait":
                plant.pass_ms(20)
            case "wait long":
                plant.pass_ms(DEADLINE_MS)
            case "trigger":
                answer = plant.actions.trigger("a", TriggerIds(part_id=str(self.triggers)))
                self.triggers += answer.status is Status.ACCEPTED
            case "pause":
                plant.actions.pause(None)
            case "resume":
                plant.actions.resume("a")
            case "select":
                plant.actions.select("b", "other", None)
            case "reset":
                plant.actions.reset("a")

    def check(self) -> None:
        plant = self.plant
        begun = plant.rings["top"].frames_begun
        for name, station in plant.line.stations.items():
            counters = station.inspection.counters
            assert counters.captured == counters.inferred + counters.dropped + counters.failed + counters.in_flight
            results = [r for r in plant.sink.results if r.inspection == name]
            assert len(results) == counters.inferred + counters.failed
            ids = [r.frame_id for r in results if r.frame_id]
            assert ids == sorted(set(ids)), "a result left twice or out of order"
            for result in results:
                assert (result.model is not None) == (result.evaluation is not Evaluation.NOT_DECIDABLE)
        assert plant.line.stations["b"].inspection.counters.captured == begun
        assert not plant.cameras["top"].killed


def test_a_fault_of_the_picture_and_its_end_are_told_and_that_all_is_well_from_the_start_is_not(plant: Plant) -> None:
    found = Finding(Fault.COVERED, "share of edges", 0.012345, 0.05)
    plant.sink.items.clear()
    plant.line.on_picture_changed("top", Change("unknown", "ok", None))
    plant.line.on_picture_changed("top", Change("ok", "covered", found))
    plant.line.on_picture_changed("top", Change("covered", "ok", None))
    begun, ended = (item for item in plant.sink.items if isinstance(item, Event))
    assert (begun.scope, begun.kind) == ("top", "camera.covered")
    assert begun.message == "the picture of camera top is covered: share of edges is 0.0123, the limit is 0.05"
    assert begun.fields == {"before": "ok", "quantity": "share of edges", "measured": 0.0123, "limit": 0.05}
    assert (ended.kind, ended.fields) == ("camera.picture_ok", {"before": "covered"})


def test_the_picture_of_the_line_shows_the_cameras_that_are_looked_at(plant: Plant) -> None:
    assert plant.line.picture.cameras == {}
    plant.links["top"].pictures = Pictures("top", PictureHealth(PictureRules()), max_pixels=1 << 20)
    plant.pass_ms(round(CHECK_S * 2000))
    assert plant.line.picture.cameras["top"].state == "unknown"
