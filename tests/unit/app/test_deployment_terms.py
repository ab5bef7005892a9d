"""What a deployment is told of the world: policies, conditions, what is wanted and what is not any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.app.deployment_terms import (
    by_hand,
    conditions_of,
    factory_spec,
    is_paused,
    policy_of,
    spec_of,
    wanted_by,
    withdrawn,
)
from edge_runtime.config.updates import Updates
from edge_runtime.control.deployment.deployment import Conditions, Deployment, Policy, State
from edge_runtime.pipeline.slot import SlotSpec
from edge_runtime.registry.box.report import Held, SlotReport, Standing, Terms

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
OLD, NEW = (Held(number, f"{number}.0.0", f"sha256:{number:064}", f"sha256:{number + 8:064}") for number in (1, 2))
TERMS = Terms(7, "canary", "00:00-24:00 UTC", 60.0, {"canary_frames": 50}, "auto", "hold")


def report(standing: Standing, **fields: Any) -> SlotReport:
    return SlotReport("defects", "weld", "stable", standing, **fields)


def deployment(**fields: Any) -> Deployment:
    return Deployment("01", "defects", "weld", NEW, OLD, Policy(), State.VETTING, NOON, **fields)


def test_the_configuration_makes_what_an_assignment_says_only_stricter() -> None:
    policy = policy_of(TERMS, Updates())
    assert (policy.mode, policy.bake_s, policy.gates.canary_frames, policy.approve) == ("canary", 60.0, 50, "auto")
    assert (policy.on_regression, policy.seq, policy.origin, policy.between_lots) == ("hold", 7, "rollout", False)
    stricter = policy_of(TERMS, Updates(approve="operator", between_lots=True))
    assert (stricter.approve, stricter.between_lots) == ("operator", True)
    assert policy_of(replace(TERMS, approve="operator"), Updates()).approve == "operator"


def test_what_somebody_asks_for_waits_for_nobody_and_reaches_what_it_has_to() -> None:
    policy = by_hand(7, "command", replace(TERMS, approve="operator"))
    assert (policy.window, policy.approve, policy.origin, policy.gates.canary_frames) == (None, "auto", "command", 50)
    assert by_hand(3, "box", None) == Policy(seq=3, origin="box")


def test_the_way_back_is_not_closed_by_the_release_that_somebody_leaves() -> None:
    gates = by_hand(3, "box", TERMS, back=True).gates
    assert (gates.latency_ratio_max, gates.undecided_max, gates.not_ok_shift_max) == (100, 0.5, 1)
    assert (gates.score_shift_max, gates.crashes_max, gates.memory_growth_mb) == (100, 2, 64)


def test_what_is_wanted_is_staged_with_its_terms() -> None:
    staged = report(Standing.STAGED, staged=NEW, terms=TERMS)
    wanted = wanted_by(staged, Updates())
    assert wanted is not None
    assert (wanted.candidate, wanted.policy.seq) == (NEW, 7)
    for other in (replace(staged, terms=None), replace(staged, staged=None), report(Standing.CURRENT, terms=TERMS)):
        assert wanted_by(other, Updates()) is None


@pytest.mark.parametrize(
    ("said", "is_withdrawn"),
    [
        (report(Standing.CURRENT, current=OLD), True),
        (report(Standing.CURRENT, current=NEW), False),
        (report(Standing.CURRENT), False),
        (report(Standing.KEPT, reason="rollout.no_match", message="for others"), True),
        (report(Standing.KEPT, reason="rollout.none"), True),
        (report(Standing.KEPT, reason="rollout.paused"), False),
        (report(Standing.KEPT), False),
        (report(Standing.REFUSED, reason="rollout.expired"), False),
        (report(Standing.STAGED, staged=NEW), False),
        (report(Standing.RETRY), False),
    ],
)
def test_only_a_rollout_that_is_believed_withdraws(said: SlotReport, *, is_withdrawn: bool) -> None:
    found = withdrawn(said, deployment())
    assert (found is not None) is is_withdrawn
    if found is not None:
        assert found[0] == "rollout.withdrawn"
        assert found[1]


@pytest.mark.parametrize(
    ("said", "paused"),
    [
        (report(Standing.KEPT, reason="rollout.paused"), True),
        (report(Standing.KEPT, reason="rollout.none"), False),
        (report(Standing.REFUSED, reason="rollout.expired"), True),
        (report(Standing.REFUSED, reason="trust.frozen"), True),
        (report(Standing.REFUSED, reason="release.hardware"), False),
        (report(Standing.REFUSED), False),
        (report(Standing.STAGED), False),
    ],
)
def test_nothing_begins_because_of_what_is_paused_or_not_believed(said: SlotReport, *, paused: bool) -> None:
    assert is_paused(said) is paused


def conditions(policy: Policy, updates: Updates | None = None, **more: Any) -> Conditions:
    known = {"lot": None, "approved": False, "held": False, "paused": False, **more}
    return conditions_of(policy, updates or Updates(), NOON, **known)


def test_all_windows_have_to_be_open_for_what_a_rollout_wants() -> None:
    assert conditions(Policy()).window_open
    assert conditions(Policy(window="11:00-13:00 UTC")).window_open
    assert not conditions(Policy(window="13:00-14:00 UTC")).window_open
    assert not conditions(Policy(window="11:00-13:00 UTC"), Updates(window="13:00-14:00 UTC")).window_open
    assert conditions(Policy(window="13:00-14:00 UTC", origin="command")).window_open


def test_holds_and_pauses_are_about_rollouts_and_lots_about_all() -> None:
    rollout, command = Policy(between_lots=True), Policy(between_lots=True, origin="command")
    assert conditions(rollout, Updates(hold=True)).held
    usual = Conditions(window_open=True, between_lots=False, held=True, paused=True)
    assert conditions(rollout, held=True, paused=True) == usual
    assert conditions(command, held=True, paused=True) == replace(usual, approved=True, held=False, paused=False)
    assert [conditions(rollout, lot=lot).between_lots for lot in (None, True, False)] == [False, False, True]
    assert conditions(Policy()).between_lots
    assert conditions(Policy(), approved=True).approved


def test_what_the_line_loads_is_the_release_in_the_place_of_what_was_planned() -> None:
    base = SlotSpec("defects", "/old", digest="sha256:old", threads=3, release=1, rollout_seq=5)
    spec = spec_of(base, NEW, Path("/new"), 7)
    assert (spec.path, spec.digest, spec.release, spec.rollout_seq, spec.threads) == ("/new", NEW.digest, 2, 7, 3)
    spec = factory_spec(base, Path("/factory"))
    assert (spec.path, spec.digest, spec.release, spec.rollout_seq) == ("/factory", None, None, None)
