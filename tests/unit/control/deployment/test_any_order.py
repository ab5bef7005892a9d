"""Whatever happens in whatever order: production never runs what it must not, and everything comes to an end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_runtime.control.deployment.deployment import Outcome, Policy, Standby, State, Verdict
from edge_runtime.control.deployment.events import (
    Banned,
    Compared,
    ConditionsChanged,
    Judged,
    StandbyReady,
    StandbyRefused,
    Switched,
    Tick,
    Vetted,
    Withdrawn,
)
from edge_runtime.control.deployment.going import IDLE_S, WAITING_S
from edge_runtime.registry.conditions import Gates
from tests.deployments import GO, OLD, TWO, Box, held, offer

if TYPE_CHECKING:
    from edge_runtime.control.deployment.deployment import Deployment

CRASHES_MAX = 1
PASS = Verdict(Outcome.PASSED, frames=9, progress=1.0)
policies = st.builds(
    Policy,
    mode=st.sampled_from(["shadow", "canary", "active"]),
    gates=st.just(Gates(crashes_max=CRASHES_MAX)),
    between_lots=st.booleans(),
    approve=st.sampled_from(["auto", "operator"]),
    bake_s=st.just(5.0),
    on_regression=st.sampled_from(["rollback", "hold"]),
    origin=st.sampled_from(["rollout", "rollout", "command"]),
)
conditions = st.builds(
    replace,
    st.just(GO),
    window_open=st.booleans(),
    between_lots=st.booleans(),
    approved=st.booleans(),
    held=st.booleans(),
    paused=st.booleans(),
)
verdicts = st.builds(Verdict, st.sampled_from(Outcome), st.integers(0, 9), st.floats(0, 1))


class Deployments(RuleBasedStateMachine):
    """Kills between any two writes and commands, a disk that refuses, a standby that dies, and all the wishes."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Box()
        self.number = 1
        self.seq = 1

    # --- wishes

    @rule(policy=policies, again=st.booleans(), newer=st.booleans())
    def offered(self, policy: Policy, *, again: bool, newer: bool) -> None:
        box, before = self.box, self.box.deployment
        self.seq += newer
        if not again or self.number == 1:
            self.number += 1
        candidate = held(self.number)
        runs = next(one for one in (OLD, *map(held, range(2, 99))) if one.manifest == box.disk.current)
        refused = policy.origin == "rollout" and self.box.disk.quarantine.get(candidate.manifest, 0) >= self.seq
        if candidate.manifest in box.banned or candidate == runs or refused:
            return
        box.put(
            offer(
                candidate,
                replace(policy, seq=self.seq),
                id=f"{self.number}/{self.seq}/{len(box.told)}",
                previous=runs,
                line=box.line is not None,
                inspections=TWO,
                conditions=replace(box.conditions, approved=False),
            )
        )
        after = box.deployment
        if before is None or after is None or after.id == before.id:
            return
        assert before.state not in (State.ACTIVATING, State.PROBATION) or not before.begun

    @rule(now=conditions)
    def conditions_change(self, now: object) -> None:
        self.box.conditions = now  # type: ignore[assignment] # hypothesis builds it with replace
        self.box.put(ConditionsChanged(self.box.conditions))

    @rule()
    def all_is_well(self) -> None:
        self.box.disk.good_writes = None
        self.box.conditions = replace(GO, approved=True)
        self.box.put(ConditionsChanged(self.box.conditions))

    @rule(quarantine=st.booleans())
    def withdrawn(self, *, quarantine: bool) -> None:
        self.box.put(Withdrawn("operator.rollback", "somebody said so", quarantine=quarantine))

    @precondition(lambda self: self.box.deployment is not None and not self.box.deployment.state.is_over)
    @rule()
    def banned(self) -> None:
        one = self._deployment
        if one.state is State.PROBATION and one.passed:
            return  # what was given to the disk as current is banned as a current release is, by the driver
        self.box.banned.add(one.candidate.manifest)
        self.box.put(Banned("release.revoked", "revoked"))
        now = self.box.deployment
        assert now is None or now.state.is_over or now.candidate != one.candidate

    # --- the line and the vet

    @precondition(lambda self: self.box.line is not None and self.box.line.vetting)
    @rule(fails=st.integers(0, 4))
    def vetted(self, fails: int) -> None:
        self._line_ends_vet()
        self.box.put(Vetted() if fails else Vetted("golden.wrong", "wrong"))

    @precondition(lambda self: self.box.line is not None and self.box.line.standby is not None)
    @rule(fails=st.integers(0, 9))
    def loaded(self, fails: int) -> None:
        line = self.box.line
        assert line is not None
        if line.ready:
            return
        line.ready = bool(fails)
        self.box.put(StandbyReady() if fails else StandbyRefused("model.memory", "too large"))

    @precondition(lambda self: self.box.line is not None and self.box.line.standby is not None)
    @rule()
    def standby_dies(self) -> None:
        self.box.lose_standby()

    @precondition(lambda self: self.box.line is not None and self.box.line.judging is None)
    @rule()
    def switched(self) -> None:
        self.box.put(Switched(to_standby=True, inspections=TWO))

    @rule(early=st.booleans())
    def reload(self, *, early: bool) -> None:
        self.box.reload(early=early)

    @rule(times=st.integers(1, 8))
    def goes_well(self, times: int) -> None:
        """What is waited for comes: without this, chance hardly ever commits anything."""
        for _ in range(times):
            line, one = self.box.line, self.box.deployment
            if line is None or one is None or one.state.is_over:
                return
            if line.vetting:
                self.vetted(fails=1)
            elif line.standby is not None and not line.ready:
                self.loaded(fails=1)
            elif line.shadow:
                self.box.put(Compared(PASS))
            elif one.state is State.ACTIVATING and line.judging is None:
                self.switched()
            elif line.judging != ():
                self.judged(verdict=PASS, seconds=5.0)
            else:
                self.all_is_well()

    # --- evidence

    @precondition(lambda self: self.box.line is not None and self.box.line.shadow)
    @rule(verdict=verdicts)
    def compared(self, verdict: Verdict) -> None:
        self.box.put(Compared(verdict))

    @precondition(lambda self: self.box.line is not None and self.box.line.judging != ())
    @rule(verdict=verdicts | st.just(PASS), seconds=st.sampled_from([0.0, 5.0]))
    def judged(self, verdict: Verdict, seconds: float) -> None:
        box, before = self.box, self._deployment
        box.seconds += seconds
        enough = verdict.outcome is Outcome.PASSED and before.state is State.PROBATION
        if enough and before.elapsed_s + seconds >= before.policy.probation_s - 0.001:
            box.passed.add(before.id)
        box.put(Judged(verdict))

    # --- faults

    @rule(seconds=st.sampled_from([1.0, 90.0, 700.0, 2000.0, IDLE_S, WAITING_S]))
    def time_passes(self, seconds: float) -> None:
        self.box.seconds += seconds
        self.box.put(Tick())

    @rule(writes=st.integers(0, 4))
    def disk_refuses(self, writes: int) -> None:
        self.box.disk.good_writes = writes

    @rule(steps=st.integers(0, 9))
    def will_be_killed(self, steps: int) -> None:
        self.box.steps_left = steps

    @rule()
    def killed(self) -> None:
        self.box.start()

    # --- what always holds

    @invariant()
    def holds(self) -> None:
        self._current_is_old_or_new_and_new_has_passed()
        self._what_is_over_is_gone_or_settled()
        self._tries_never_rise()

    def teardown(self) -> None:
        """Nothing answers any more but the disk: the clock alone has to end it."""
        box = self.box
        box.disk.good_writes, box.steps_left, box.line = None, None, box.line
        for _ in range(12):
            box.put(Tick())
            box.seconds += WAITING_S
        one = box.deployment
        assert one is None or one.is_done
        assert box.disk.trial is None
        found = box.slot.deployment
        assert one is None or (found is not None and (found.id, found.state) == (one.id, one.state))

    def _current_is_old_or_new_and_new_has_passed(self) -> None:
        box, one = self.box, self.box.deployment
        if one is None or one.previous is None:
            assert box.disk.current == OLD.manifest
            return
        assert box.disk.current in (one.previous.manifest, one.candidate.manifest)
        if box.disk.current == one.candidate.manifest:
            assert one.id in box.passed

    def _what_is_over_is_gone_or_settled(self) -> None:
        line, one = self.box.line, self.box.deployment
        if line is not None and (one is None or one.state.is_over):
            assert (line.standby, line.judging, line.vetting) == (None, (), False)
        elif line is not None and one is not None:
            assert line.standby is not None or one.standby is Standby.NONE
            assert line.judging == () or one.candidate.manifest not in self.box.banned

    def _tries_never_rise(self) -> None:
        one = self.box.deployment
        if one is not None and not one.state.is_over:
            assert 0 < one.tries_left <= CRASHES_MAX + 1 - self.box.strikes.get(one.id, 0)

    @property
    def _deployment(self) -> Deployment:
        assert self.box.deployment is not None
        return self.box.deployment

    def _line_ends_vet(self) -> None:
        assert self.box.line is not None
        self.box.line.vetting = False


TestDeployments = Deployments.TestCase
TestDeployments.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
