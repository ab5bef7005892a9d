"""Two models at one slot of a running line: who judges which frame, and what a bad one costs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.result import Evaluation
from edge_runtime.pipeline.inspection import Capture
from edge_runtime.pipeline.slot import LOAD_DEATHS_LIMIT, SlotSpec, SlotState
from edge_runtime.system.process import ExitKind
from tests.fakes.plant import DEADLINE_MS, SCRATCH, Plant, make_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.pipeline.facts import ModelFacts
    from tests.fakes.plant import FakeEngine

OLD, NEW = "sha256:00", "sha256:01"
CANDIDATE = SlotSpec("defects", "/new", workers=2, hang_ms=50, release=12, rollout_seq=40)


class _Listener:
    """Writes down what a standby engine said."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def on_ready(self, facts: ModelFacts) -> None:
        self.said.append(("ready", facts.model.release, facts.model.rollout_seq))

    def on_refused(self, code: str, message: str) -> None:
        self.said.append(("refused", code, message))

    def on_lost(self, message: str) -> None:
        self.said.append(("lost", message))

    def on_switched(self, to_standby: bool, inspections: tuple[str, ...], first_frame: dict[str, int]) -> None:  # noqa: FBT001
        self.said.append(("switched", to_standby, inspections, first_frame))

    @property
    def words(self) -> list[object]:
        return [one[0] for one in self.said]


class _Update:
    """A plant with a candidate beside the model of its slot."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        plant.engine_starts()
        plant.engine_loads()
        self.listener = _Listener()
        self.stand_by()

    def stand_by(self) -> None:
        self.plant.switchover.stand_by("defects", CANDIDATE, self.listener)
        self.new.starts()

    @property
    def new(self) -> FakeEngine:
        return self.plant.engines.started[-1]

    def ready(self) -> None:
        self.new.loads()

    def switched(self) -> None:
        self.ready()
        self.plant.switchover.switch("defects")

    def judged_by(self, inspection: str = "top") -> list[str]:
        """Digest by frame, in the order of the results."""
        return [
            "none" if one.model is None else one.model.digest
            for one in self.plant.sink.results
            if one.inspection == inspection
        ]


@pytest.fixture
def update() -> Iterator[_Update]:
    """One camera, one inspection, a model, and a candidate that is being loaded."""
    plant = Plant()
    yield _Update(plant)
    plant.close()


def _ops(engine: FakeEngine) -> list[object]:
    return [message["op"] if message["op"] != "priority" else message["low"] for message in engine.process.sent]


def test_a_candidate_is_loaded_in_a_process_of_its_own_at_low_priority(update: _Update) -> None:
    assert update.new.link.name == "engine/defects"
    assert _ops(update.new) == [True, "load"]
    load = update.new.process.sent[1]
    assert (load["path"], load["cache_dir"]) == ("/new", None)
    update.ready()
    assert update.listener.said == [("ready", 12, 40)]
    update.plant.frame()
    update.plant.engine_answers()
    assert update.judged_by() == [OLD]


def test_a_switch_takes_effect_between_two_frames(update: _Update) -> None:
    plant = update.plant
    update.ready()
    plant.frame()
    plant.switchover.switch("defects")
    assert update.listener.said[-1] == ("switched", True, ("top",), {"top": 2})
    assert _ops(update.new)[-1] is False, "it has to be back at normal priority before its first frame"
    plant.frame()
    update.new.answers(SCRATCH)
    assert plant.sink.results == [], "the older frame is not judged yet"
    plant.engine_answers()
    assert update.judged_by() == [OLD, NEW]
    model = plant.sink.results[1].model
    assert model is not None
    assert (model.release, model.rollout_seq) == (12, 40)


def test_a_result_that_waits_for_its_turn_names_the_engine_that_judged_it(update: _Update) -> None:
    """Even if another one is the engine of the slot by then."""
    plant = update.plant
    update.ready()
    plant.frame()  # 1: old
    plant.frame()  # 2: old
    plant.engine_answers(index=1)
    plant.switchover.switch("defects")
    plant.switchover.settle("defects")
    plant.engine_answers()
    assert update.judged_by() == [OLD, OLD]
    assert not plant.sink.results[0].reason.startswith("no_model")


def test_going_back_is_the_same_switch(update: _Update) -> None:
    plant = update.plant
    update.switched()
    plant.frame()
    plant.switchover.switch_back("defects")
    assert update.listener.said[-1] == ("switched", False, ("top",), {"top": 2})
    plant.frame()
    plant.engine_answers()
    update.new.answers()
    assert update.judged_by() == [NEW, OLD]


def test_frames_that_wait_go_to_whoever_judges_when_there_is_room() -> None:
    plant = Plant(make_spec(), workers=1)
    try:
        update = _Update(plant)
        plant.frame()
        plant.frame()
        update.switched()
        assert update.listener.said[-1] == ("switched", True, ("top",), {"top": 2})
        assert len(update.new.asked) == 1, "the new one has room"
        update.new.answers()
        plant.engine_answers()
        assert update.judged_by() == [OLD, NEW]
    finally:
        plant.close()


def test_one_inspection_can_be_switched_alone() -> None:
    plant = Plant(make_spec("a"), make_spec("b"))
    try:
        update = _Update(plant)
        update.ready()
        plant.switchover.switch("defects", ("b", "unknown"))
        assert update.listener.said[-1] == ("switched", True, ("b",), {"b": 1})
        plant.frame()
        plant.engine_answers()
        update.new.answers()
        assert (update.judged_by("a"), update.judged_by("b")) == ([OLD], [NEW])
        plant.pass_ms(100)
        standing = plant.line.picture.standbys["defects"]
        assert (standing.inspections, standing.pid) == (frozenset({"b"}), update.new.process.pid)
        assert plant.line.picture.pids == {"defects": update.new.process.pid}
    finally:
        plant.close()


@pytest.mark.parametrize("failure", ["invalid_output", "invalid_frame", "no_model"])
def test_a_frame_that_the_candidate_refuses_is_judged_by_the_old_model(update: _Update, failure: str) -> None:
    plant = update.plant
    update.switched()
    plant.frame()
    update.new.refuses(failure=failure)
    assert plant.sink.results == []
    assert plant.rings["top"].held == 1, "its pixels are still needed"
    plant.engine_answers(SCRATCH)
    assert update.judged_by() == [OLD]
    assert plant.sink.fates() == [(1, "NotOK")]
    assert plant.rings["top"].held == 0
    plant.frame()
    update.new.answers()
    assert update.judged_by() == [OLD, NEW], "one refusal is not the end of it"


def test_a_candidate_that_dies_costs_no_verdict(update: _Update) -> None:
    plant = update.plant
    update.switched()
    for _ in range(4):
        plant.frame()  # two in it, two wait
    update.new.dies()
    assert update.listener.words[-1] == "lost"
    assert update.listener.words.count("lost") == 1
    while plant.asked:
        plant.engine_answers()
    assert plant.sink.fates() == [(number, "OK") for number in range(1, 5)]
    assert update.judged_by() == [OLD] * 4
    update.new.starts()
    assert _ops(update.new) == [True, "load"]
    update.ready()
    assert update.listener.words[-1] == "ready"
    plant.frame()
    plant.engine_answers()
    assert update.judged_by() == [OLD] * 5, "it judges again when it is switched to again, not before"


def test_a_candidate_that_hangs_costs_no_verdict(update: _Update) -> None:
    plant = update.plant
    update.switched()
    for _ in range(3):
        plant.frame()
    plant.pass_ms(DEADLINE_MS // 2)
    assert len(plant.asked) == 2, "with half of their time left, the old model has them"
    while plant.asked:
        plant.engine_answers()
    plant.frame()
    assert len(plant.asked) == 1, "as long as it owes answers, nothing more is given to it"
    plant.engine_answers()
    assert plant.sink.fates() == [(number, "OK") for number in range(1, 5)]
    plant.pass_ms(100)
    assert update.new.process.killed == ["model defects did not answer for 100 ms"]


def test_each_frame_is_given_back_by_the_deadline_of_its_own_inspection() -> None:
    plant = Plant(make_spec("slow"), replace(make_spec("fast"), deadline_ms=DEADLINE_MS // 5))
    try:
        update = _Update(plant)
        update.switched()
        plant.frame()
        plant.pass_ms(DEADLINE_MS // 10)
        assert [one["inspection"] for one in plant.asked] == ["fast"]
        plant.engine_answers()
        plant.pass_ms(DEADLINE_MS // 2)
        plant.engine_answers()
        assert (update.judged_by("slow"), update.judged_by("fast")) == ([OLD], [OLD])
    finally:
        plant.close()


def test_a_frame_is_given_back_once(update: _Update) -> None:
    plant = update.plant
    update.switched()
    plant.frame()
    plant.pass_ms(DEADLINE_MS // 2)
    plant.switchover.dismiss("defects")
    assert len(plant.asked) == 1
    plant.engine_answers()
    assert update.judged_by() == [OLD]
    assert plant.rings["top"].held == 0


def test_a_process_that_takes_no_comparison_is_ended(update: _Update) -> None:
    plant = update.plant
    update.ready()
    plant.switchover.shadow("defects", on=True)
    update.new.process.gone = True
    plant.frame()
    plant.engine_answers()
    assert update.judged_by() == [OLD]
    assert update.new.process.killed == ["it does not take messages"]


def test_a_process_that_takes_no_frame_costs_no_verdict(update: _Update) -> None:
    plant = update.plant
    update.switched()
    update.new.process.gone = True
    plant.frame()
    plant.engine_answers()
    assert update.judged_by() == [OLD]


def test_frames_that_pile_up_behind_a_candidate_are_judged_by_the_old_model_before_one_is_lost() -> None:
    spec = replace(make_spec("top", "top", Capture.EVERY), deadline_ms=2000)  # two may wait, two are in an engine
    plant = Plant(spec)
    update = _Update(plant)
    plant.switchover.stand_by("defects", replace(CANDIDATE, hang_ms=5000), update.listener)
    update.new.starts()
    update.switched()
    for _ in range(2):
        plant.frame()  # the candidate answers none of them
    plant.pass_ms(101)
    plant.frame()
    for _ in range(3):
        plant.engine_answers()
    assert update.judged_by() == [OLD] * 3
    plant.frame()
    plant.engine_answers()
    assert plant.sink.fates()[-1] == (4, "OK")
    update.new.answers()
    update.new.answers()
    plant.frame()
    update.new.answers()
    plant.close()
    assert update.judged_by() == [OLD] * 4 + ["sha256:02"]


def test_beside_an_old_model_that_is_quick_a_candidate_is_slow_sooner() -> None:
    """It answered each frame within 100 ms, and more and more piled up until the ring was full."""
    plant = Plant(replace(make_spec("top", "top", Capture.EVERY), deadline_ms=2000))
    update = _Update(plant)
    plant.frame()
    plant.base.answers(infer_ms=2)
    update.switched()
    for _ in range(2):
        plant.frame()
    plant.pass_ms(25)
    plant.frame()
    for _ in range(3):
        plant.engine_answers()
    plant.close()
    assert update.judged_by() == [OLD] * 4


def test_a_late_answer_of_the_candidate_counts_for_nothing(update: _Update) -> None:
    plant = update.plant
    update.switched()
    plant.frame()
    plant.pass_ms(DEADLINE_MS // 2)
    update.new.answers(SCRATCH)
    assert plant.sink.results == []
    assert plant.rings["top"].held == 1
    plant.engine_answers()
    assert update.judged_by() == [OLD]
    assert plant.rings["top"].held == 0
    plant.frame()
    update.new.answers()
    assert update.judged_by() == [OLD, NEW], "it answers again, so it judges again"


@pytest.mark.parametrize(("old_ms", "counted"), [(2, {"deadline": 1}), (DEADLINE_MS // 3, {})], ids=["quick", "slow"])
def test_a_late_frame_counts_against_the_candidate_unless_the_old_model_is_slow_with_it_too(
    update: _Update, old_ms: int, counted: dict[str, int]
) -> None:
    """A box that has too much to do for a while makes both slow; a good model was taken back for it."""
    plant = update.plant
    update.switched()
    plant.frame()
    plant.pass_ms(DEADLINE_MS // 2)
    plant.pass_ms(DEADLINE_MS // 3)  # it waited for its turn behind others, which says nothing
    plant.base.answers(infer_ms=old_ms)
    assert update.judged_by() == [OLD]
    assert plant.line.standbys["defects"].slot.tally("top").now().refused == counted


def test_a_candidate_that_compiles_for_a_new_size_gives_the_frame_away_at_once(update: _Update) -> None:
    plant = update.plant
    update.switched()
    plant.frame()
    update.new.says(op="preparing", request=update.new.asked[0]["request"])
    plant.engine_answers()
    assert update.judged_by() == [OLD]
    plant.pass_ms(500)
    assert update.new.process.killed == [], "it may compile for longer than a frame may take"


def test_when_the_old_engine_dies_in_probation_its_frames_are_lost_and_the_standby_goes_on(update: _Update) -> None:
    plant = update.plant
    update.ready()
    plant.frame()
    plant.switchover.switch("defects")
    plant.engine_dies()
    plant.frame()
    update.new.answers()
    assert plant.sink.fates() == [(1, "engine_lost"), (2, "OK")]
    assert update.listener.words == ["ready", "switched"]


def test_when_both_die_the_frame_fails_once(update: _Update) -> None:
    plant = update.plant
    update.switched()
    plant.frame()
    plant.engine_dies()
    update.new.dies()
    assert plant.sink.fates() == [(1, "engine_lost")]
    assert plant.rings["top"].held == 0


def test_a_settled_candidate_is_the_engine_of_the_slot(update: _Update) -> None:
    plant = update.plant
    update.switched()
    plant.switchover.settle("defects")
    assert plant.process.sent[-1] == {"op": "unload", "slot": "defects"}
    assert plant.engine.slots["defects"].state is SlotState.EMPTY
    plant.pass_ms(100)
    assert plant.engines.ended == ["engine"], "a process without a model is of no use"
    assert plant.line.picture.standbys == {}
    plant.frame()
    update.new.answers()
    assert update.judged_by() == [NEW]
    update.new.dies()
    assert plant.sink.events[-1] == "model.lost", "now it is told about like any engine"
    update.new.starts()
    assert _ops(update.new) == ["load"], "and loads at normal priority"
    first = update.new
    update.stand_by()
    assert (first.link.name, update.new.link.name) == ("engine/defects", "engine/defects/2")


def test_a_candidate_that_dies_while_it_is_settled_becomes_the_engine_when_it_is_back(update: _Update) -> None:
    plant = update.plant
    update.switched()
    update.new.dies()
    plant.switchover.settle("defects")
    plant.frame()
    plant.engine_answers()
    update.new.starts()
    assert plant.engines.ended == []
    update.ready()
    plant.frame()
    update.new.answers()
    assert update.judged_by() == [OLD, NEW]
    plant.pass_ms(100)
    assert plant.engines.ended == ["engine"]


def test_a_settled_candidate_keeps_the_frames_that_it_has(update: _Update) -> None:
    """Nobody else could judge them."""
    plant = update.plant
    update.switched()
    plant.frame()
    plant.switchover.settle("defects")
    plant.pass_ms(DEADLINE_MS // 2 + 10)
    assert len(update.new.asked) == 1
    update.new.answers()
    assert update.judged_by() == [NEW]
    assert plant.rings["top"].held == 0


def test_what_was_unloaded_answers_what_it_has(update: _Update) -> None:
    plant = update.plant
    update.ready()
    plant.frame()
    plant.switchover.switch("defects")
    plant.switchover.settle("defects")
    plant.pass_ms(50)
    assert plant.engines.ended == []
    plant.engine_answers()
    plant.pass_ms(100)
    assert plant.engines.ended == ["engine"]
    assert update.judged_by() == [OLD]


def test_a_dismissed_candidate_gives_its_frames_back(update: _Update) -> None:
    plant = update.plant
    update.switched()
    plant.frame()
    plant.switchover.dismiss("defects")
    assert update.listener.said[-1] == ("switched", False, ("top",), {"top": 2})
    assert update.new.ended
    plant.engine_answers()
    update.new.answers()  # it was under way
    update.new.dies(ExitKind.RETIRED)
    assert update.judged_by() == [OLD]
    assert plant.rings["top"].held == 0
    plant.switchover.dismiss("defects")
    plant.switchover.switch("defects")
    plant.switchover.switch_back("defects")
    plant.switchover.shadow("defects", on=True)
    plant.switchover.settle("defects")
    assert update.listener.words == ["ready", "switched", "switched"], "nobody is there any more"


def test_another_candidate_takes_the_place_of_one_that_stands_by(update: _Update) -> None:
    first = update.new
    update.stand_by()
    assert first.ended
    assert update.new is not first
    update.switched()
    update.plant.frame()
    update.new.answers()
    assert update.judged_by() == ["sha256:02"]


def test_a_candidate_that_cannot_be_loaded_is_refused(update: _Update) -> None:
    update.new.says(op="load_failed", slot="defects", code="model.unreadable", message="no: such op")
    assert update.listener.said == [("refused", "model.unreadable", "no: such op")]
    update.plant.switchover.switch("defects")
    assert update.listener.words == ["refused"]


def test_a_candidate_that_kills_each_process_that_loads_it_is_refused(update: _Update) -> None:
    for _ in range(LOAD_DEATHS_LIMIT):
        update.new.dies()
        update.new.starts()
    assert update.listener.words == ["lost"] * (LOAD_DEATHS_LIMIT - 1) + ["refused"]
    assert update.listener.said[-1][1] == "model.kills_engine"


def test_an_emptied_slot_says_why_nothing_is_decided(update: _Update) -> None:
    plant = update.plant
    update.switched()
    plant.frame()
    plant.switchover.empty("defects", "revoked: all of them")
    plant.engine_answers()
    plant.frame()
    plant.pass_ms(DEADLINE_MS)
    assert plant.sink.fates() == [(1, "OK"), (2, "no_model")]
    assert plant.sink.results[1].reason == "no_model: revoked: all of them"
    assert sorted(plant.engines.ended) == ["engine", "engine/defects"]


# shadow


def test_a_shadow_judges_a_frame_after_its_verdict_and_holds_no_picture(update: _Update) -> None:
    plant = update.plant
    update.ready()
    plant.switchover.shadow("defects", on=True)
    plant.frame()
    assert update.new.asked == []
    plant.engine_answers(SCRATCH)
    assert len(update.new.asked) == 1
    assert plant.rings["top"].held == 0
    plant.frame()
    plant.engine_answers()
    assert len(update.new.asked) == 1, "one at a time"
    update.new.answers()
    plant.frame()
    plant.engine_answers()
    assert len(update.new.asked) == 1
    update.new.refuses(failure="stale_slot")
    assert update.judged_by() == [OLD] * 3
    assert [message["low"] for message in update.new.process.sent if message["op"] == "priority"] == [True]


def test_a_shadow_waits_while_frames_wait(update: _Update) -> None:
    plant = update.plant
    update.ready()
    plant.switchover.shadow("defects", on=True)
    for _ in range(4):
        plant.frame()
    plant.engine_answers()
    assert len(plant.asked) == 2
    assert update.new.asked == [], "one frame waits still"
    plant.engine_answers()
    assert len(update.new.asked) == 1


def test_a_shadow_that_dies_or_is_switched_to_is_none_any_more(update: _Update) -> None:
    plant = update.plant
    update.ready()
    plant.switchover.shadow("defects", on=True)
    plant.frame()
    plant.engine_answers()
    plant.switchover.switch("defects")
    plant.frame()
    update.new.answers()  # the comparison
    assert update.judged_by() == [OLD]
    update.new.answers()
    assert update.judged_by() == [OLD, NEW]
    plant.switchover.shadow("defects", on=True)
    plant.frame()
    update.new.answers()
    assert update.new.asked == [], "who judges is not compared"


def test_a_shadow_is_given_more_time(update: _Update) -> None:
    plant = update.plant
    update.ready()
    plant.switchover.shadow("defects", on=True)
    plant.frame()
    plant.engine_answers()
    plant.pass_ms(200)
    assert update.new.process.killed == []
    plant.pass_ms(200)
    assert update.new.process.killed[0] == "model defects did not answer for 300 ms"


# whatever happens

EVENTS = st.sampled_from(
    (
        *("frame", "frame", "frame", "old answers", "old answers", "new answers", "new answers"),
        *("new answers last", "old refuses", "new refuses", "new prepares", "new nonsense", "old dies", "new dies"),
        *("processes", "new refuses to load", "stand by", "shadow", "switch", "switch", "switch one", "back", "settle"),
        *("dismiss", "empty", "time", "much time"),
    )
)


@given(events=st.lists(EVENTS, max_size=60), capture=st.sampled_from(Capture))
def test_whatever_happens_every_frame_has_one_fate_in_order(events: list[str], capture: Capture) -> None:
    plant = Plant(make_spec("a", capture=capture), make_spec("b"))
    try:
        running = _Random(plant)
        for event in events:
            running.happens(event)
            running.check()
        plant.line.drain()
        running.everything_ends()
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
        self.listener = _Listener()
        self.empty = False
        plant.engine_starts()
        plant.engine_loads()

    def _living(self) -> dict[str, FakeEngine]:
        """The processes, by what they are for: the engine of the slot, the one that stands by."""
        found = {}
        line = self.plant.line
        for engine in (self.plant.base, *self.plant.engines.started):
            if not engine.alive:
                continue
            if line.engines["defects"] is engine.link:
                found["old"] = engine
            elif "defects" in line.standbys and line.standbys["defects"].link is engine.link:
                found["new"] = engine
        return found

    def happens(self, event: str) -> None:  # noqa: C901, PLR0912 - a table of events
        plant, switchover = self.plant, self.plant.switchover
        who, _, what = event.partition(" ")
        engine = self._living().get(who)
        match event:
            case "frame":
                plant.frame()
            case "time":
                plant.pass_ms(10)
            case "much time":
                plant.pass_ms(60)
            case "processes":
                self._processes()
            case "stand by" if not self.empty:
                switchover.stand_by("defects", CANDIDATE, self.listener)
            case "shadow":
                switchover.shadow("defects", on=True)
            case "switch":
                switchover.switch("defects")
            case "switch one":
                switchover.switch("defects", ("a",))
            case "back":
                switchover.switch_back("defects")
            case "settle":
                switchover.settle("defects")
            case "dismiss":
                switchover.dismiss("defects")
            case "empty":
                self.empty = True
                switchover.empty("defects", "revoked")
            case _ if engine is not None and what == "dies":
                self._dies(engine)
            case _ if engine is not None and what == "refuses to load":
                engine.says(op="load_failed", slot="defects", code="model.unreadable", message="no")
            case _ if engine is not None and engine.asked:
                self._says(engine, what)
        for one in (plant.base, *plant.engines.started):
            if one.process.killed and one.alive:
                self._dies(one)

    def _says(self, engine: FakeEngine, what: str) -> None:
        match what:
            case "answers":
                engine.answers()
            case "answers last":
                engine.answers(SCRATCH, index=-1)
            case "refuses":
                engine.refuses()
            case "prepares":
                engine.says(op="preparing", request=engine.asked[0]["request"])
            case "nonsense":
                engine.says(op="inferred", request=engine.asked[0]["request"])
                assert engine.process.killed

    def _dies(self, engine: FakeEngine) -> None:
        engine.dies(ExitKind.RETIRED if engine.ended else ExitKind.SIGNALED)
        engine.process.sent.clear()

    def _processes(self) -> None:
        """The supervisor does its work: starts what is not there, and what was told to end has ended."""
        for engine in (self.plant.base, *self.plant.engines.started):
            gone = engine.ended or (engine.link.name in self.plant.engines.ended and engine is self.plant.base)
            if gone and engine.alive:
                self._dies(engine)
            elif not gone and not engine.alive:
                engine.starts()
                if engine.link.slots["defects"].state is SlotState.LOADING:
                    engine.loads()

    def everything_ends(self) -> None:
        for engine in (self.plant.base, *self.plant.engines.started):
            if engine.alive:
                engine.dies(ExitKind.RETIRED)

    def check(self) -> None:
        for name, station in self.plant.line.stations.items():
            counters = station.inspection.counters
            open_or_done = counters.inferred + counters.dropped + counters.failed + counters.in_flight
            assert counters.captured == open_or_done
            results = [one for one in self.plant.sink.results if one.inspection == name]
            ids = [one.frame_id for one in results]
            assert ids == sorted(set(ids)), "each at most once, in order"
            assert len(results) == counters.inferred + counters.failed
            for one in results:
                assert (one.model is None) == (one.evaluation is Evaluation.NOT_DECIDABLE)


@given(
    steps=st.lists(st.sampled_from(("frame", "old answers", "new answers")), max_size=40),
    at=st.integers(0, 40),
    back_at=st.integers(0, 40),
)
def test_the_digest_changes_once_with_each_switch(steps: list[str], at: int, back_at: int) -> None:
    plant = Plant(make_spec())
    try:
        update = _Update(plant)
        update.ready()
        switched_back = False
        for number, step in enumerate(steps):
            if number == at:
                plant.switchover.switch("defects")
            if number == at + back_at:
                plant.switchover.switch_back("defects")
                switched_back = at < len(steps)
            match step:
                case "frame":
                    plant.frame()
                case "old answers" if plant.asked:
                    plant.engine_answers()
                case "new answers" if update.new.asked:
                    update.new.answers()
        while plant.asked or update.new.asked:
            (plant.engine_answers if plant.asked else update.new.answers)()
        digests = [one for one in update.judged_by() if one != "none"]  # more frames than may wait are overrun
        changes = sum(a != b for a, b in pairwise(digests))
        assert changes <= (2 if switched_back else 1)
        assert set(digests) <= {OLD, NEW}
    finally:
        plant.close()
