from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app.demo_packages import Kind, release_files
from edge_runtime.app.demo_show import UpdateShow
from edge_runtime.app.demo_trial import Judge, Seen, Trial, seen
from edge_runtime.core.manifest import MANIFEST_NAME, parse_manifest
from edge_runtime.core.result import Event
from edge_runtime.publish.payload import Stamp, encode_event, encode_result
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import ServiceGroup, Stop
from tests.daemons import wait_until
from tests.fakes.results import IDENTITY, make_result
from tests.unit.app.test_demo_packages import SHIPPED

if TYPE_CHECKING:
    from edge_runtime.core.manifest import Manifest

OLD, NEW = Judge("1.0.0", "old", 1), Judge("1.1.0", "new", 2)


class Line:
    """Tells a trial of pictures 1/30 s apart."""

    def __init__(self, kind: Kind = Kind.GOOD) -> None:
        self._numbers = itertools.count(1)
        self.trial = Trial(kind, 2, "1.1.0", "new", self.picture(OLD), began_s=100.0)

    def picture(self, judge: Judge | None, *, skipped: int = 0) -> Seen:
        number = next(itertools.islice(self._numbers, skipped, None))
        return Seen(number, number, number / 30, judge)

    def judged(self, judge: Judge | None, times: int = 1, now_s: float = 101.0) -> None:
        for _ in range(times):
            self.trial.on_result(self.picture(judge), now_s)

    def told(self, state: str, now_s: float = 101.0, digest: str = "new", **fields: Any) -> bool:
        event = {"kind": f"deployment.{state}", "message": f"it {state}", "fields": {"digest": digest, **fields}}
        return self.trial.on_event(event, now_s)


def test_a_good_update_is_one_switch_that_costs_nothing() -> None:
    line = Line()
    line.told("vetting")
    line.judged(OLD, 10)
    line.told("probation")
    line.judged(NEW, 10)
    assert line.trial.outcome == "unfinished"
    assert not line.trial.worked
    line.told("committed", 104.0)
    line.judged(NEW, 1, now_s=104.5)
    assert line.trial.worked
    said = line.trial.fields()
    assert json.loads(json.dumps(said)) == said
    assert said["from"] == {"release": 1, "version": "1.0.0", "digest": "old"}
    assert said["to"] == {"release": 2, "version": "1.1.0", "digest": "new"}
    assert (said["frames"], said["frames_lost"], said["frames_by_release"]) == (21, 0, 11)
    assert (said["outcome"], said["stage"], said["seconds"]) == ("committed", "probation", 4.5)
    assert (said["switches"], said["switch_ms"]) == (1, [33.3])
    line.judged(None, 3)  # not a part of it any more
    assert line.trial.lost == 0


def test_a_bad_update_goes_back_and_says_where_and_why() -> None:
    line = Line(Kind.BLIND)
    line.told("vetting")
    line.told("probation")
    line.told("probation")  # comes twice
    line.judged(NEW, 5)
    line.told("rolled_back", 103.0, reason="gate.not_ok_shift")
    line.judged(NEW)  # was in flight
    assert line.trial.ended_s is None
    line.judged(OLD, now_s=103.5)
    said = line.trial.fields()
    assert line.trial.worked
    assert (said["outcome"], said["stage"], said["reason"]) == ("rolled_back", "probation", "gate.not_ok_shift")
    assert (said["message"], said["switches"], said["frames_by_release"]) == ("it rolled_back", 2, 6)
    assert list(line.trial.fields()["stages"]) == ["vetting", "probation", "rolled_back"]  # type: ignore[call-overload]


def test_one_that_is_refused_before_it_judges_switches_nothing() -> None:
    line = Line(Kind.BLIND)
    line.told("shadow")
    line.told("rejected", reason="gate.disagreement")
    line.judged(OLD)
    assert line.trial.worked
    assert line.trial.stage == "shadow"


def test_what_goes_wrong_is_noticed() -> None:
    line = Line()
    line.trial.on_result(line.picture(OLD, skipped=2), 101.0)  # two pictures that nobody heard of
    line.judged(None)
    assert line.trial.lost == 3
    line.told("committed")
    line.judged(NEW)
    assert not line.trial.worked  # for the loss alone
    back = Line()
    back.judged(NEW)
    back.judged(OLD)
    back.judged(NEW)
    back.told("committed")
    back.judged(NEW)
    assert (len(back.trial.switches), back.trial.handed_back) == (3, 1)  # late once, and no picture paid for it
    assert back.trial.worked
    stays = Line(Kind.BLIND)
    stays.told("committed")
    stays.judged(NEW)
    assert not stays.trial.worked  # nobody stopped it
    kept = Line()
    kept.told("rejected")
    kept.judged(OLD)
    assert not kept.trial.worked  # a good one was refused


def test_a_result_that_comes_twice_counts_once() -> None:
    line = Line()
    again = line.picture(OLD)
    line.trial.on_result(again, 101.0)
    line.trial.on_result(again, 101.0)
    assert (line.trial.results, line.trial.lost, line.trial.switches) == (1, 0, [])


def test_events_about_something_else_change_nothing() -> None:
    line = Line()
    assert not line.told("committed", digest="another")
    assert not line.trial.on_event({"kind": "model.staged", "fields": {"digest": "new"}}, 101.0)
    assert not line.trial.on_event({"kind": "deployment.vetting", "fields": None}, 101.0)
    assert (line.trial.outcome, line.trial.stage, line.trial.fields()["seconds"]) == ("unfinished", None, None)


def document(number: int, **changes: Any) -> dict[str, Any]:
    raw = json.loads(encode_result(make_result(number, SystemClock()), IDENTITY, Stamp(number, "b")).body)
    return {**raw, **changes}


def test_a_result_of_the_wire_is_read() -> None:
    said = document(7, model={"name": "m", "version": "2", "digest": "d", "release": 3})
    found = seen(said)
    assert (found.seq, found.frame, found.judge) == (7, said["frameId"], Judge("2", "d", 3))
    assert found.taken_s == pytest.approx(SystemClock().utc_ns() / 1e9, abs=30)
    assert seen({**said, "evaluation": "NotDecidable"}).judge is None
    assert seen({**said, "model": None}).judge is None
    with pytest.raises(TypeError, match="whole number"):
        seen({**said, "seq": "7"})


class Rig:
    """A show whose registry is a list."""

    def __init__(self, seconds: float | None = None, *, by_itself: bool = False) -> None:
        self.made: list[Kind] = []
        self.lines: list[str] = []
        self.ended = 0
        self.show = UpdateShow(
            self._roll_out, seconds=seconds, by_itself=by_itself, say=self.lines.append, on_end=self._end
        )
        self._numbers = itertools.count(1)

    def _roll_out(self, kind: Kind) -> Manifest:
        self.made.append(kind)
        number = len(self.made) + 1
        return parse_manifest(release_files(SHIPPED, kind, number)[MANIFEST_NAME], where="x")

    def _end(self) -> None:
        self.ended += 1

    def judged(self, release: int = 1, times: int = 1) -> None:
        for number in itertools.islice(self._numbers, times):
            model = {"name": "m", "version": f"1.{release - 1}.0", "digest": self.digest(release), "release": release}
            self.show.on_result(document(number, frameId=number, evaluation="OK", model=model))

    def digest(self, release: int) -> str:
        trial = next((one for one in self.show.trials if one.release == release), None)
        return "first" if trial is None else trial.digest

    def told(self, state: str, release: int) -> None:
        fields: dict[str, object] = {"digest": self.digest(release)}
        event = Event("system", f"deployment.{state}", f"release {release}: {state}", 10**18, fields)
        self.show.on_event(json.loads(encode_event(event, IDENTITY, Stamp(1, "b"), "id").body))


def test_two_updates_are_shown_one_after_the_other_and_then_it_ends() -> None:
    rig = Rig(12.0, by_itself=True)
    rig.show._end_s = 0.0  # time is up, but they go on
    with ServiceGroup() as group:
        group.start(rig.show)
        rig.judged(times=20)
        wait_until(lambda: bool(rig.show.trials), 5, "the good one is rolled out")
        rig.judged(2)
        rig.told("committed", 2)
        rig.judged(2)
        wait_until(lambda: len(rig.show.trials) == 2, 5, "the bad one is rolled out")
        assert rig.ended == 0
        rig.told("rejected", 3)
        rig.judged(2)
        wait_until(lambda: rig.ended > 0, 5, "it ends")
    assert rig.made == [Kind.GOOD, Kind.BLIND]
    good, bad = rig.show.of(Kind.GOOD), rig.show.of(Kind.BLIND)
    assert good is not None
    assert bad is not None
    assert good.worked
    assert bad.worked
    assert [line for line in rig.lines if "is committed" in line or "is rejected" in line]
    assert ">> release 3: rejected" in rig.lines


def test_in_too_short_a_time_nothing_is_begun() -> None:
    rig = Rig(11.0, by_itself=True)
    assert rig.lines == ["11 s are too short to show updates: they take 12 s at least"]
    rig.judged(times=20)
    rig.show._turn()
    assert rig.made == []
    assert rig.show.of(Kind.GOOD) is None


def test_one_update_at_a_time_and_none_before_a_verdict() -> None:
    rig = Rig()
    rig.show.ask(Kind.GOOD)
    rig.show._turn()
    assert rig.lines == [">> nothing is judged yet"]
    rig.judged()
    rig.show.ask(Kind.BLIND)
    rig.show._turn()
    rig.show.ask(Kind.GOOD)
    rig.show._turn()
    assert rig.made == [Kind.BLIND]
    assert rig.lines[-1] == ">> release 2 is still on its way"
    assert rig.ended == 0


def test_a_show_that_fails_ends_the_demo() -> None:
    rig = Rig()

    def refuse(_: Kind) -> Manifest:
        raise OSError("full")

    rig.show._roll_out = refuse
    rig.judged()
    rig.show.ask(Kind.GOOD)
    with pytest.raises(OSError, match="full"):
        rig.show.run(Stop())
    assert rig.ended == 1
