"""The way of a deployment, state by state: what is commanded, when, and where each fault leads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.control.deployment.commands import (
    Dismiss,
    Settle,
    Shadow,
    StandBy,
    Store,
    SwitchBack,
    SwitchTo,
    Tell,
    Vet,
)
from edge_runtime.control.deployment.deployment import (
    Conditions,
    Deployment,
    Links,
    Outcome,
    Policy,
    Standby,
    State,
    Verdict,
)
from edge_runtime.control.deployment.events import (
    Banned,
    Compared,
    ConditionsChanged,
    Judged,
    LineEnded,
    LineStarted,
    StandbyLost,
    StandbyReady,
    StandbyRefused,
    Stored,
    StoreRefused,
    Switched,
    Tick,
    Vetted,
    Withdrawn,
)
from edge_runtime.control.deployment.going import (
    ACTIVATING_S,
    IDLE_S,
    LOADING_S,
    VETTING_S,
    WAITING_S,
    sentence,
)
from edge_runtime.control.deployment.machine import resume, step
from edge_runtime.control.deployment.turn import ANSWER_S, RETRY_MAX_S, SAVE_EVERY_S
from edge_runtime.registry.conditions import Gates
from edge_runtime.registry.store.slots import SlotLinks
from tests.deployments import GO, NEW, NEWER, OLD, TWO, at, held, moment, offer

if TYPE_CHECKING:
    from edge_runtime.control.deployment.commands import Command
    from edge_runtime.control.deployment.events import Event

READY = {"standby": Standby.READY, "line": True, "slot_inspections": TWO, "conditions": GO}
UNDER_WAY = [one for one in State if not one.is_over]
BEGUN = [one for one in UNDER_WAY if one is not State.WAITING]
TRIED = SlotLinks(OLD.manifest, None, NEW.manifest)
PASSED = Verdict(Outcome.PASSED, frames=1000, progress=1.0, numbers={"frames": 1000})


def _open(frames: int, progress: float = 0.5) -> Verdict:
    return Verdict(Outcome.OPEN, frames, progress)


def _breach(reason: str | None = "gate.latency") -> Verdict:
    return Verdict(Outcome.BREACHED, 500, 0.5, reason, None if reason is None else "p99 of 80 ms, 40 ms are allowed")


class Story:
    """A deployment and what it commanded."""

    def __init__(self, start: Deployment | None = None, seconds: float = 0) -> None:
        self.one = start
        self.seconds = seconds
        self.commands: tuple[Command, ...] = ()

    def tell(self, event: Event, seconds: float = 0) -> tuple[Command, ...]:
        self.seconds += seconds
        self.one, self.commands = step(self.one, event, moment(self.seconds))
        return self.commands

    def stored(self) -> tuple[Command, ...]:
        """Let the disk answer for what is awaited."""
        assert self.now.awaited is not None
        return self.tell(Stored(self.now.awaited))

    @property
    def now(self) -> Deployment:
        assert self.one is not None
        return self.one

    @property
    def state(self) -> State:
        return self.now.state


def _acts(commands: tuple[Command, ...]) -> list[object]:
    """Return what is done in the line, and whether something is stored."""
    return [Store if isinstance(one, Store) else one for one in commands if not isinstance(one, Tell)]


def _told(commands: tuple[Command, ...]) -> list[str]:
    return [one.kind for one in commands if isinstance(one, Tell)]


def _story(state: State, **fields: object) -> Story:
    return Story(at(state, **{**READY, "at_ns": 0, **fields}))


# --- the way through


def test_active_goes_through_vet_loading_switch_and_probation() -> None:
    story = Story()
    assert _acts(story.tell(offer())) == [Store]
    assert _acts(story.stored()) == [Vet()]
    assert _acts(story.tell(Vetted(numbers={"p50": 3.0}))) == [Store]
    assert (story.state, story.now.numbers) == (State.LOADING, {"p50": 3.0})
    assert _acts(story.stored()) == [StandBy()]
    assert _acts(story.tell(StandbyReady())) == [Store]
    assert story.state is State.ACTIVATING
    assert not story.now.judged
    assert _acts(story.stored()) == [SwitchTo(None)]
    assert story.now.judged
    assert _acts(story.tell(Switched(to_standby=True, inspections=TWO))) == [Store]
    assert story.state is State.PROBATION
    story.stored()
    assert _acts(story.tell(Judged(PASSED), 599)) == []
    assert story.now.links is Links.TRIAL
    assert _acts(story.tell(Judged(PASSED), 1)) == [Store]
    assert (story.state, story.now.links) == (State.PROBATION, Links.COMMIT)
    assert _acts(story.tell(Judged(PASSED), 1)) == []
    assert _acts(story.stored()) == [Settle(), Store]
    assert (story.state, story.now.progress, story.now.is_done) == (State.COMMITTED, 1.0, False)
    assert story.stored() == ()
    assert story.now.is_done


def test_shadow_compares_before_anybody_is_asked() -> None:
    story = Story()
    closed = replace(GO, window_open=False)
    story.tell(offer(policy=Policy(mode="shadow", window="02:00-04:00"), conditions=closed))
    story.stored()
    story.tell(Vetted())
    story.stored()
    commands = story.tell(StandbyReady())
    assert _acts(commands) == [Store, Shadow(on=True)]
    assert _acts(story.tell(Compared(_open(10, 0.05)))) == []
    assert (story.now.frames, story.now.progress) == (10, 0.05)
    commands = story.tell(Compared(PASSED))
    assert _acts(commands) == [Shadow(on=False), Dismiss(), Store]
    assert (story.state, story.now.reason) == (State.WAITING, "wait.window")
    assert "02:00-04:00" in sentence(story.now)
    story.tell(ConditionsChanged(GO))
    assert (story.state, story.now.shadowed) == (State.LOADING, True)


def test_shadow_goes_on_with_the_standby_that_it_has() -> None:
    story = _story(State.SHADOW, policy=Policy(mode="shadow"))
    assert _acts(story.tell(Compared(PASSED))) == [Shadow(on=False), Store]
    assert story.state is State.ACTIVATING


def test_canary_judges_the_first_inspection_before_all() -> None:
    story = _story(State.LOADING, policy=Policy(mode="canary"), standby=Standby.LOADING)
    story.tell(StandbyReady())
    assert story.state is State.CANARY
    assert _acts(story.stored()) == [SwitchTo(("left",))]
    assert _acts(story.tell(Judged(PASSED))) == [Store]
    assert (story.state, story.now.canaried) == (State.ACTIVATING, True)
    assert _acts(story.stored()) == [SwitchTo(None)]


def test_a_slot_with_one_inspection_has_no_canary() -> None:
    story = _story(State.LOADING, policy=Policy(mode="canary"), standby=Standby.LOADING, slot_inspections=("left",))
    story.tell(StandbyReady())
    assert story.state is State.ACTIVATING


def test_a_canary_that_passed_stays_until_it_may_be_activated() -> None:
    story = _story(State.CANARY, policy=Policy(mode="canary", between_lots=True), inspections=("left",))
    story.tell(ConditionsChanged(replace(GO, between_lots=False)))
    assert _acts(story.tell(Judged(PASSED))) == []
    assert (story.state, story.now.reason) == (State.CANARY, "wait.lot")
    assert _acts(story.tell(Judged(_breach()))) == [SwitchBack(), Dismiss(), Store]
    story = _story(State.CANARY, canaried=True, reason="wait.lot")
    assert _acts(story.tell(ConditionsChanged(GO))) == [Store]
    assert story.state is State.ACTIVATING


def test_probation_is_as_long_as_the_assignment_says() -> None:
    story = _story(State.PROBATION, policy=Policy(bake_s=5))
    story.tell(Judged(_open(10, 0.9)), 1)
    assert story.now.progress == pytest.approx(0.2)
    story.tell(Judged(PASSED), 3.9)
    assert not story.now.passed
    story.tell(Judged(PASSED), 0.1)
    assert story.now.passed


# --- waiting


@pytest.mark.parametrize(
    ("missing", "policy", "reason"),
    [
        ({"held": True}, Policy(), "wait.hold"),
        ({"paused": True}, Policy(), "wait.pause"),
        ({}, Policy(approve="operator"), "wait.approval"),
        ({"window_open": False}, Policy(), "wait.window"),
        ({"between_lots": False}, Policy(between_lots=True), "wait.lot"),
    ],
)
def test_each_condition_is_waited_for_before_the_switch(missing: dict[str, bool], policy: Policy, reason: str) -> None:
    story = _story(State.LOADING, standby=Standby.LOADING, policy=policy, conditions=replace(GO, **missing))
    commands = story.tell(StandbyReady())
    assert (story.state, story.now.reason) == (State.WAITING, reason)
    stays = reason == "wait.lot"  # between two lots there may be no time to load it
    assert (Dismiss() in commands, story.now.standby is Standby.READY) == (not stays, stays)
    assert _acts(story.tell(Tick())) == []
    story.tell(ConditionsChanged(replace(GO, approved=True)))
    assert story.state is (State.ACTIVATING if stays else State.LOADING)


@pytest.mark.parametrize(("missing", "reason"), [({"held": True}, "wait.hold"), ({"paused": True}, "wait.pause")])
def test_nothing_is_begun_while_the_slot_is_held_or_the_rollout_paused(missing: dict[str, bool], reason: str) -> None:
    story = Story()
    commands = story.tell(offer(conditions=replace(GO, **missing)))
    assert (story.state, story.now.reason) == (State.WAITING, reason)
    assert (_acts(commands), _told(commands)) == ([Store], ["deployment.waiting"])
    story.tell(ConditionsChanged(GO))
    assert story.state is State.VETTING


def test_what_is_waited_for_may_change_without_another_word() -> None:
    story = _story(State.WAITING, standby=Standby.NONE, reason="wait.window", conditions=GO)
    assert story.tell(ConditionsChanged(replace(GO, held=True))) == ()
    assert (story.now.reason, story.now.message) == ("wait.hold", "until the hold of the slot is lifted")


def test_what_waited_for_a_lot_is_dismissed_when_it_has_to_wait_for_longer() -> None:
    story = _story(State.WAITING, policy=Policy(between_lots=True))
    assert _acts(story.tell(ConditionsChanged(replace(GO, between_lots=False, held=True)))) == [Dismiss()]
    assert story.now.standby is Standby.NONE


def test_loading_begins_in_a_lot_and_the_switch_comes_after_it() -> None:
    story = _story(State.VETTING, policy=Policy(between_lots=True), standby=Standby.NONE, vetted=False)
    story.tell(ConditionsChanged(replace(GO, between_lots=False)))
    story.tell(Vetted())
    assert story.state is State.LOADING


def test_an_approval_is_remembered_on_the_disk() -> None:
    no = replace(GO, held=True)
    story = _story(State.WAITING, policy=Policy(approve="operator"), conditions=no, standby=Standby.NONE)
    assert _acts(story.tell(ConditionsChanged(replace(no, approved=True)))) == [Store]
    assert story.now.approved
    story.tell(ConditionsChanged(GO))
    assert story.state is State.LOADING


def test_conditions_are_the_worst_until_they_are_told() -> None:
    story = Story(at(State.WAITING, conditions=Conditions()))
    story.tell(LineStarted(TWO, OLD.manifest))
    assert (story.state, story.now.reason) == (State.WAITING, "wait.hold")


# --- offers


def test_nothing_comes_of_offers_that_mean_nothing() -> None:
    assert step(None, offer(OLD), moment(0)) == (None, ())
    assert step(None, Tick(), moment(0)) == (None, ())
    for state in (State.ACTIVATING, State.PROBATION):
        busy = at(state)
        assert step(busy, offer(NEWER), moment(0)) == (busy, ())
    failed = at(State.REJECTED, quarantined=True)
    assert step(failed, offer(), moment(0)) == (failed, ())
    unwritten = at(State.REJECTED, awaited=9)
    assert step(unwritten, offer(NEWER), moment(0)) == (unwritten, ())
    commanded = at(State.WAITING, policy=Policy(origin="command", seq=7))
    assert step(commanded, offer(NEWER), moment(0)) == (commanded, ())


def test_what_failed_is_tried_again_under_a_newer_seq_and_when_somebody_says_so() -> None:
    failed = at(State.REJECTED, quarantined=True, revision=9)
    for policy in (Policy(seq=8), Policy(seq=7, origin="command")):
        found, _ = step(failed, offer(policy=policy, id="again"), moment(0))
        assert found is not None
        assert (found.id, found.state, found.revision) == ("again", State.VETTING, 10)


@pytest.mark.parametrize("state", [one for one in UNDER_WAY if one not in (State.ACTIVATING, State.PROBATION)])
def test_something_newer_supersedes_until_it_is_activating(state: State) -> None:
    story = _story(state)
    commands = story.tell(offer(NEWER))
    assert (story.now.id, story.state) == ("deploy-3", State.VETTING)
    first = next(one for one in commands if isinstance(one, Tell))
    assert (first.kind, first.deployment.id, first.deployment.is_done) == ("deployment.superseded", "deploy-2", True)
    judging = [SwitchBack()] if state is State.CANARY else []
    assert _acts(commands) == [*judging, Dismiss(), Store]


def test_a_switch_that_the_disk_has_not_allowed_yet_is_superseded_too() -> None:
    story = _story(State.ACTIVATING, begun=False, awaited=3)
    story.tell(offer(NEWER))
    assert story.now.id == "deploy-3"


def test_the_same_release_again_brings_its_new_policy() -> None:
    story = _story(State.WAITING, policy=Policy(approve="operator", seq=7), standby=Standby.NONE)
    assert story.tell(offer(policy=Policy(approve="operator", seq=7))) == ()
    assert _acts(story.tell(offer(policy=Policy(seq=8)))) == [Store]
    assert (story.now.id, story.now.policy.seq, story.state) == ("deploy-2", 8, State.LOADING)


@pytest.mark.parametrize("state", UNDER_WAY)
def test_what_is_banned_ends_at_once(state: State) -> None:
    story = _story(state)
    commands = story.tell(Banned("release.revoked", "it was revoked"))
    assert story.state is (State.ROLLED_BACK if state.is_judging else State.REJECTED)
    assert (story.now.reason, story.now.quarantined, story.now.holds) == ("release.revoked", True, False)
    assert _acts(commands)[-2:] == [Dismiss(), Store]
    assert (SwitchBack() in commands) is state.is_judging


@pytest.mark.parametrize("state", UNDER_WAY)
def test_what_is_withdrawn_goes_and_may_come_back(state: State) -> None:
    story = _story(state)
    story.tell(Withdrawn("rollout.withdrawn", "it is not wanted any more"))
    assert story.state is (State.ROLLED_BACK if state.is_judging else State.SUPERSEDED)
    assert not story.now.quarantined
    story = _story(state)
    story.tell(Withdrawn("operator.rollback", "somebody said so", quarantine=True))
    assert story.state is (State.ROLLED_BACK if state.is_judging else State.REJECTED)
    assert story.now.quarantined


# --- what fails


def test_a_vet_that_refuses_ends_it() -> None:
    story = _story(State.VETTING, vetted=False)
    story.tell(Vetted("golden.wrong", "label 3 instead of 1"))
    assert (story.state, story.now.reason) == (State.REJECTED, "golden.wrong")
    assert "label 3" in sentence(story.now)
    story = _story(State.VETTING, vetted=False)
    story.tell(Vetted("golden.wrong"))
    assert story.now.message == "golden.wrong"


def test_a_standby_that_cannot_load_ends_it() -> None:
    story = _story(State.LOADING, standby=Standby.LOADING)
    story.tell(StandbyRefused("model.memory", "it needs 3 GB"))
    assert (story.state, story.now.reason, story.now.quarantined) == (State.REJECTED, "model.memory", True)


@pytest.mark.parametrize("on_regression", ["rollback", "hold"])
def test_a_regression_goes_back_and_holds_if_it_has_to(on_regression: str) -> None:
    for state in (State.CANARY, State.PROBATION):
        story = _story(state, policy=Policy(on_regression=on_regression))  # type: ignore[arg-type]
        assert _acts(story.tell(Judged(_breach()))) == [SwitchBack(), Dismiss(), Store]
        assert (story.state, story.now.links) == (State.ROLLED_BACK, Links.OLD)
        assert (story.now.quarantined, story.now.holds) == (True, on_regression == "hold")
    story = _story(State.SHADOW, policy=Policy(on_regression=on_regression))  # type: ignore[arg-type]
    story.tell(Compared(_breach(None)))
    assert (story.state, story.now.reason, story.now.holds) == (State.REJECTED, "gate", False)


@pytest.mark.parametrize("state", [State.LOADING, State.SHADOW, State.CANARY, State.ACTIVATING, State.PROBATION])
def test_a_standby_that_dies_costs_a_try_and_the_last_one_ends_it(state: State) -> None:
    story = _story(state, tries_left=2)
    commands = story.tell(StandbyLost("it died"))
    assert (story.state, story.now.tries_left, story.now.standby) == (State.LOADING, 1, Standby.NONE)
    assert _acts(commands) == [*([SwitchBack()] if state.is_judging else []), Dismiss(), Store]
    assert _told(commands) == ["deployment.strike", "deployment.loading"]
    assert _acts(story.stored()) == [StandBy()]
    story.tell(StandbyReady())
    assert story.state is State.ACTIVATING
    story.tell(StandbyLost("it died again"))
    assert story.state is (State.ROLLED_BACK if state.is_judging else State.REJECTED)
    assert (story.now.reason, story.now.tries_left) == ("standby.lost", 0)


def test_what_a_dismissed_standby_says_comes_too_late() -> None:
    for event in (StandbyReady(), StandbyLost("x"), StandbyRefused("x", "x"), Switched(to_standby=True)):
        story = _story(State.WAITING, standby=Standby.NONE, conditions=replace(GO, held=True))
        assert _acts(story.tell(event)) == []
        assert story.state is State.WAITING
        assert story.now.tries_left == at(State.WAITING).tries_left


def test_evidence_counts_only_where_it_was_asked_for() -> None:
    evidence = (Vetted("golden.wrong"), Compared(_breach()), Judged(_breach()), Switched(to_standby=False))
    for state in (State.LOADING, State.ACTIVATING):
        for event in (*evidence, StandbyReady()):
            story = _story(state, begun=state is State.ACTIVATING, standby=Standby.NONE)
            story.tell(event)
            assert story.state is state
    for event in evidence:
        over = at(State.COMMITTED)
        assert step(over, event, moment(0))[1] == ()
    story = _story(State.ACTIVATING)
    for event in (*evidence, StandbyReady()):
        story.tell(event)
        assert story.state is State.ACTIVATING
    story = _story(State.ACTIVATING, begun=False, awaited=3)
    story.tell(Switched(to_standby=True))
    assert story.state is State.ACTIVATING
    story = _story(State.VETTING, begun=False, awaited=3)
    story.tell(Vetted())
    assert story.state is State.VETTING


# --- the disk


@pytest.mark.parametrize("state", [State.VETTING, State.LOADING, State.CANARY, State.ACTIVATING])
def test_nothing_is_done_before_the_disk_knows_and_it_is_asked_again(state: State) -> None:
    story = _story(state, begun=False, awaited=3, revision=3, standby=Standby.NONE)
    assert story.tell(Stored(2)) == ()
    commands = story.tell(StoreRefused(3, "no space left"))
    assert _told(commands) == ["wait.disk"]
    waits, revision = [], 3
    for _ in range(9):
        assert _acts(story.tell(Tick())) == []
        assert story.now.retry_in_s is not None
        waits.append(story.now.retry_in_s)
        assert _acts(story.tell(Tick(), story.now.retry_in_s)) == [Store]
        revision += 1
        assert story.now.revision == revision
        assert _told(story.tell(StoreRefused(revision, "no space left"))) == []
    assert waits == [1, 2, 4, 8, 16, 32, RETRY_MAX_S, RETRY_MAX_S, RETRY_MAX_S]
    story.tell(Tick(), IDLE_S)
    assert story.state is state  # it is not late: it has not begun
    assert story.stored() != ()
    assert (story.now.begun, story.now.retries, story.now.elapsed_s) == (True, 0, 0)


def test_a_disk_may_refuse_for_weeks() -> None:
    story = _story(State.VETTING, begun=False, awaited=3, revision=3, retries=100_000)
    story.tell(StoreRefused(3, "no space left"))
    assert story.now.retry_in_s == RETRY_MAX_S


def test_a_store_without_an_answer_is_commanded_again() -> None:
    story = _story(State.VETTING, begun=False, awaited=3, revision=3)
    assert _acts(story.tell(Tick(), ANSWER_S - 1)) == []
    assert _acts(story.tell(Tick(), 1)) == [Store]


def test_a_commit_that_the_disk_refuses_stays_in_probation() -> None:
    story = _story(State.PROBATION, policy=Policy(bake_s=1))
    story.tell(Judged(PASSED), 1)
    assert story.now.awaited is not None
    story.tell(StoreRefused(story.now.awaited, "read-only"))
    story.tell(Tick(), IDLE_S)
    assert (story.state, story.now.passed) == (State.PROBATION, True)
    commands = story.tell(Judged(_breach()))
    assert _acts(commands) == [SwitchBack(), Dismiss(), Store]
    assert (story.state, story.now.links) == (State.ROLLED_BACK, Links.OLD)


def test_a_rollback_does_not_wait_for_the_disk() -> None:
    story = _story(State.PROBATION)
    assert _acts(story.tell(Judged(_breach())))[0] == SwitchBack()
    assert story.now.awaited is not None
    story.tell(StoreRefused(story.now.awaited, "read-only"))
    assert (story.state, story.now.is_done) == (State.ROLLED_BACK, False)
    assert _acts(story.tell(Tick(), 1)) == [Store]
    story.stored()
    assert story.now.is_done


def test_a_long_wait_is_written_now_and_then() -> None:
    story = _story(State.WAITING, standby=Standby.NONE, conditions=replace(GO, held=True))
    assert _acts(story.tell(Tick(), SAVE_EVERY_S - 1)) == []
    assert _acts(story.tell(Tick(), 1)) == [Store]
    assert story.now.elapsed_s == SAVE_EVERY_S


# --- time


@pytest.mark.parametrize(
    ("state", "limit_s", "reason", "quarantined"),
    [
        (State.VETTING, VETTING_S, "vet.deadline", True),
        (State.LOADING, LOADING_S, "standby.deadline", True),
        (State.SHADOW, IDLE_S, "deployment.idle", False),
        (State.CANARY, IDLE_S, "deployment.idle", False),
        (State.ACTIVATING, ACTIVATING_S, "switch.deadline", True),
        (State.PROBATION, IDLE_S, "deployment.idle", False),
        (State.WAITING, WAITING_S, "deployment.waited", False),
    ],
)
def test_every_state_has_a_deadline(state: State, limit_s: float, reason: str, *, quarantined: bool) -> None:
    story = _story(state, conditions=replace(GO, held=True), vetted=state is not State.VETTING)
    story.tell(Tick(), limit_s - 1)
    assert story.state is state
    story.tell(Tick(), 1)
    assert story.now.state.is_over
    assert (story.now.reason, story.now.quarantined) == (reason, quarantined)


def test_shadow_has_its_own_time_once_frames_come() -> None:
    story = _story(State.SHADOW, policy=Policy(gates=Gates(shadow_s=60)))
    story.tell(Tick(), 100)
    assert story.state is State.SHADOW
    story.tell(Compared(_open(37)))
    assert (story.state, story.now.reason, story.now.quarantined) == (State.REJECTED, "shadow.deadline", True)
    assert "37 of 200 frames" in sentence(story.now)
    story = _story(State.SHADOW)
    story.tell(Compared(_open(37)), 599)
    assert story.state is State.SHADOW


def test_a_clock_that_goes_back_stops_nothing() -> None:
    story = _story(State.WAITING, at_ns=10**12, conditions=replace(GO, held=True))
    story.tell(Tick())
    assert story.now.elapsed_s == 0


# --- the line


@pytest.mark.parametrize("state", BEGUN)
def test_a_line_that_ends_costs_no_try(state: State) -> None:
    story = _story(state, vetted=state is not State.VETTING)
    tries = story.now.tries_left
    commands = story.tell(LineEnded())
    assert _acts(commands) == [Store]
    assert (story.state, story.now.reason, story.now.standby) == (State.WAITING, "wait.line", Standby.NONE)
    assert story.tell(LineEnded()) == ()
    story.tell(LineStarted(TWO, OLD.manifest))
    assert story.state is (State.VETTING if state is State.VETTING else State.LOADING)
    assert story.now.tries_left == tries


def test_a_line_that_is_replaced_begins_anew() -> None:
    story = _story(State.PROBATION)
    story.tell(LineStarted(("left",), OLD.manifest))
    assert (story.state, story.now.slot_inspections) == (State.LOADING, ("left",))


def test_a_line_that_judges_with_the_candidate_has_committed_it() -> None:
    story = _story(State.PROBATION, passed=True)
    story.tell(LineEnded())
    assert story.now.links is Links.TRIAL
    story.tell(LineStarted(TWO, NEW.manifest))
    assert (story.state, story.now.links) == (State.COMMITTED, Links.COMMIT)


def test_a_slot_that_was_given_another_release_is_left_alone() -> None:
    story = _story(State.WAITING)
    story.tell(LineStarted(TWO, NEWER.manifest))
    assert (story.state, story.now.reason) == (State.SUPERSEDED, "slot.changed")


def test_what_is_over_follows_the_line_and_nothing_else() -> None:
    story = Story(at(State.COMMITTED, at_ns=0))
    story.tell(LineStarted(TWO, NEW.manifest))
    assert story.now.line
    story.tell(LineEnded())
    assert not story.now.line
    for event in (Tick(), ConditionsChanged(GO), Withdrawn("x", "x"), Banned("x", "x"), StandbyLost("x")):
        assert story.tell(event, IDLE_S) == ()
        assert story.state is State.COMMITTED


def test_an_end_without_a_line_commands_nothing_in_it() -> None:
    story = Story(replace(at(State.WAITING), line=False))
    assert _acts(story.tell(Banned("release.killed", "killed"))) == [Store]


# --- a new process


def _resumed(state: State, links: SlotLinks = TRIED, **fields: object) -> tuple[Deployment, tuple[Command, ...]]:
    kept = at(state, line=False, standby=Standby.NONE, judged=False, at_ns=None, **fields)
    found, commands = resume(kept, links, moment(5))
    assert found is not None
    return found, commands


@pytest.mark.parametrize("state", BEGUN)
def test_a_daemon_that_died_costs_a_try_and_the_last_one_ends_it(state: State) -> None:
    found, commands = _resumed(state, tries_left=2)
    assert (found.state, found.reason, found.tries_left) == (State.WAITING, "wait.line", 1)
    assert (_acts(commands), _told(commands)) == ([Store], ["deployment.strike", "deployment.waiting"])
    found, commands = _resumed(state, tries_left=1, policy=Policy(on_regression="hold"))
    assert found.state is (State.ROLLED_BACK if state.is_judging else State.REJECTED)
    assert (found.reason, found.quarantined, found.holds) == ("deployment.crashes", True, state.is_judging)
    assert _acts(commands) == [Store]


def test_what_waited_goes_on_waiting() -> None:
    found, commands = _resumed(State.WAITING, elapsed_s=100.0)
    assert (found.state, found.elapsed_s, commands) == (State.WAITING, 100.0, ())


@pytest.mark.parametrize("state", [one for one in State if one.is_over])
def test_what_is_over_stays_so_whatever_the_links_say(state: State) -> None:
    for current in (OLD, NEW, NEWER):
        found, commands = _resumed(state, SlotLinks(current.manifest))
        assert (found.state, commands) == (state, ())


def test_links_that_moved_before_the_record_are_a_commit() -> None:
    found, commands = _resumed(State.PROBATION, SlotLinks(NEW.manifest, OLD.manifest))
    assert (found.state, _acts(commands)) == (State.COMMITTED, [Store])
    found, _ = _resumed(State.WAITING, SlotLinks(NEW.manifest, OLD.manifest))
    assert (found.state, found.reason) == (State.SUPERSEDED, "slot.changed")
    found, _ = _resumed(State.WAITING, SlotLinks(held(9).manifest, None, NEW.manifest))
    assert found.state is State.SUPERSEDED
    found, _ = _resumed(State.WAITING, SlotLinks(None, None, NEW.manifest), previous=None)
    assert found.state is State.WAITING


def test_a_trial_that_is_gone_was_an_end() -> None:
    found, _ = _resumed(State.PROBATION, SlotLinks(OLD.manifest))
    assert (found.state, found.reason, found.quarantined) == (State.ROLLED_BACK, "deployment.ended", False)
    found, _ = _resumed(State.WAITING, SlotLinks(OLD.manifest, None, NEWER.manifest))
    assert found.state is State.REJECTED
