"""Which release a slot runs: first match, percent, and the last word of the box."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.core.errors import DataError
from edge_runtime.registry.documents import Assignment, FloorsDocument, Match, ModelFloor, Rollout
from edge_runtime.registry.trust.decide import (
    BoxFacts,
    Decision,
    Keep,
    Refused,
    SlotFacts,
    Take,
    ban,
    decide,
    is_chosen,
    matches,
    reaches,
    unfit,
)
from edge_runtime.registry.trust.floors import Floors
from edge_runtime.registry.trust.refresh import refresh
from tests.fakes.tuf_repository import START, TufRepository

if TYPE_CHECKING:
    from edge_runtime.registry.trust.trusted import Trusted

BOX = BoxFacts("plant-a", "line-1", "edge-3", {"hall": "north"}, frozenset({"n100"}), {"openvino": "2026.1.0"})
SLOT = SlotFacts("seams", "weld", cameras=frozenset({"top", "side"}))


def _repository() -> TufRepository:
    made = TufRepository()
    for number in (6, 7, 8):
        made.add_release("weld", number, b"manifest %d" % number)
    made.add_release("weld", 9, b"manifest 9", hardware=("jetson", "i7"))
    made.add_release("weld", 10, b"manifest 10", requires={"openvino": "2026.1", "edge-runtime": "2"})
    return made


REPOSITORY = _repository()


def _trusted(*assignments: Assignment, **other: Any) -> Trusted:
    seq = other.pop("seq", 5)
    REPOSITORY.set_rollout("plant-a", seq, *assignments, **other)
    REPOSITORY.publish("targets", "rollout-plant-a")
    fetch, pinned = REPOSITORY.fetch, REPOSITORY.pinned
    return refresh({}, fetch, pinned, Floors(), now=START, site="plant-a").believed()


def _decision(*assignments: Assignment, slot: SlotFacts = SLOT, **other: Any) -> Decision:
    return decide(_trusted(*assignments, **other), BOX, slot, START)


def _refusal(*assignments: Assignment, **other: Any) -> str:
    decision = _decision(*assignments, **other)
    assert isinstance(decision, Refused)
    return decision.error.code


def test_the_first_assignment_that_matches_counts() -> None:
    lab = Assignment("weld", 8, Match(line=("lab",)))
    mine = Assignment("weld", 7, Match(line=("line-1",)), ring="site", window="02:00-04:00")
    decision = _decision(lab, mine, Assignment("weld", 6))

    assert isinstance(decision, Take)
    assert decision.release.release.release == 7
    assert decision.assignment == mine
    assert decision.seq == 5


def test_a_window_or_gates_that_the_box_does_not_understand_are_not_ignored() -> None:
    assert _refusal(Assignment("weld", 7, window="at night")) == "rollout.window"
    assert _refusal(Assignment("weld", 7, gates={"p99_ms": 40})) == "rollout.gates"
    others = Assignment("weld", 8, Match(line=("lab",)), window="at night")
    assert isinstance(_decision(others, Assignment("weld", 7)), Take)


def test_a_box_outside_the_percentage_looks_at_the_next() -> None:
    decision = _decision(Assignment("weld", 8, percent=0), Assignment("weld", 7))

    assert isinstance(decision, Take)
    assert decision.release.release.release == 7


def test_an_assignment_of_another_model_is_none_of_ours() -> None:
    assert _decision(Assignment("paint", 1)) == Keep("rollout.no_match")


def test_a_paused_rollout_begins_nothing() -> None:
    assert _decision(Assignment("weld", 8), pause=True) == Keep("rollout.paused")


def test_a_site_without_rollout_keeps_what_it_has() -> None:
    trusted = replace(_trusted(), rollout=None)

    assert decide(trusted, BOX, SLOT, START) == Keep("rollout.none")


def test_a_rollout_that_is_not_believed_is_refused_with_its_reason() -> None:
    problem = DataError("rollout.replayed", "old")
    trusted = replace(_trusted(), rollout=None, rollout_problem=problem)

    assert decide(trusted, BOX, SLOT, START) == Refused(problem)


def test_an_expired_rollout_begins_nothing_whatever_the_clock_says() -> None:
    trusted = _trusted(Assignment("weld", 8), expires=START + timedelta(hours=1))

    late = decide(trusted, BOX, SLOT, START + timedelta(hours=1))
    assert isinstance(late, Refused)
    assert late.error.code == "rollout.expired"
    ahead = replace(trusted, checked=START + timedelta(hours=2))
    assert isinstance(decide(ahead, BOX, SLOT, datetime(1970, 1, 1, tzinfo=UTC)), Refused)


def test_attack_20_rollout_naming_an_unsigned_release() -> None:
    assert _refusal(Assignment("weld", 99)) == "release.unsigned"


def test_attack_20_rollout_naming_a_floored_or_revoked_release() -> None:
    seven = _trusted().release("weld", 7).manifest.digest
    trusted = _trusted(Assignment("weld", 7))
    for floor, code in ((ModelFloor(8), "release.floored"), (ModelFloor(0, frozenset({seven})), "release.revoked")):
        banned = replace(trusted, floors=replace(trusted.floors, models=FloorsDocument({"weld": floor})))
        decision = decide(banned, BOX, SLOT, START)
        assert isinstance(decision, Refused)
        assert decision.error.code == code


def test_the_lowest_release_that_is_allowed_is_allowed() -> None:
    trusted = _trusted(Assignment("weld", 7))
    floored = replace(trusted, floors=replace(trusted.floors, models=FloorsDocument({"weld": ModelFloor(7)})))

    assert isinstance(decide(floored, BOX, SLOT, START), Take)


def test_attack_20_rollout_naming_a_release_that_it_kills() -> None:
    seven = _trusted().release("weld", 7).manifest.digest

    assert _refusal(Assignment("weld", 7), kill=(seven,)) == "release.killed"


def test_attack_22_release_for_other_hardware() -> None:
    assert _refusal(Assignment("weld", 9)) == "release.hardware"


def test_attack_22_release_for_another_runtime() -> None:
    decision = _decision(Assignment("weld", 10))

    assert isinstance(decision, Refused)
    assert str(decision.error).startswith("release 10 of weld needs edge-runtime 2 or later, found none; ")
    assert decision.error.code == "release.requires"


def test_attack_22_a_box_that_does_not_know_what_it_is_takes_nothing_particular() -> None:
    nine = _trusted().release("weld", 9).release

    problem = unfit(nine, replace(BOX, hardware=frozenset()))
    assert problem is not None
    assert "this box is no name" in problem.message
    assert unfit(nine, replace(BOX, hardware=frozenset({"i7", "n100"}))) is None


def test_what_runs_can_be_asked_about_too() -> None:
    assert ban(Floors(), None, 7, "weld", "sha256:" + "0" * 64) is None


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match(), True),
        (Match(line=("line-1", "line-2"), edge=("edge-3",), slot=("seams",), channel=("stable",)), True),
        (Match(camera=("top",)), True),
        (Match(camera=("bottom",)), False),
        (Match(line=("line-2",)), False),
        (Match(edge=("edge-4",)), False),
        (Match(slot=("paint",)), False),
        (Match(channel=("beta",)), False),
        (Match(labels={"hall": ("south", "north")}), True),
        (Match(labels={"hall": ("south",)}), False),
        (Match(labels={"hall": ("north",), "shift": ("1",)}), False),
        (Match(line=("line-1",), labels={"shift": ("1",)}), False),
    ],
)
def test_match(match: Match, *, expected: bool) -> None:
    assert matches(match, BOX, SLOT) is expected


def test_a_slot_on_another_channel_is_matched_by_its_name() -> None:
    beta = replace(SLOT, channel="beta")
    decision = _decision(Assignment("weld", 8, Match(channel=("beta",))), Assignment("weld", 7), slot=beta)

    assert isinstance(decision, Take)
    assert decision.assignment.release == 8


def test_a_slot_without_cameras_matches_no_camera() -> None:
    assert not matches(Match(camera=("top",)), BOX, SlotFacts("seams", "weld"))


def test_ten_percent_of_a_fleet_are_ten_percent() -> None:
    fleet = [f"plant-a/line-{number % 20}/edge-{number}" for number in range(1000)]
    ten = {box for box in fleet if is_chosen(Assignment("weld", 8, percent=10, salt="s"), box)}
    more = {box for box in fleet if is_chosen(Assignment("weld", 8, percent=25, salt="s"), box)}
    other = {box for box in fleet if is_chosen(Assignment("weld", 8, percent=10, salt="t"), box)}

    assert 80 <= len(ten) <= 120
    assert ten < more
    assert other != ten


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=9), st.text(max_size=9), st.integers(0, 10_000), st.integers(0, 10_000))
def test_raising_the_percentage_only_adds_boxes(salt: str, box: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    small, large = (Assignment("weld", 8, percent=steps / 100, salt=salt) for steps in (low, high))

    assert is_chosen(large, box) or not is_chosen(small, box)
    assert is_chosen(replace(large, percent=100), box)
    assert not is_chosen(replace(large, percent=0), box)


@pytest.mark.parametrize(
    ("version", "least", "expected"),
    [
        ("1.24.1+cpu", "1.24", True),
        ("1.24", "1.24.0", True),
        ("1.9", "1.10", False),
        ("2026.1.0-19000-abc", "2026.1", True),
        ("2", "1.99", True),
        ("1.24.0", "1.24.1", False),
        ("unknown", "0", False),
        (None, "0", False),
    ],
)
def test_versions_compare_by_their_numbers(version: str | None, least: str, *, expected: bool) -> None:
    assert reaches(version, least) is expected


def test_a_rollout_value_can_be_used_without_a_repository() -> None:
    assert Rollout("plant-a", 1, START, START + timedelta(days=1)).kill == ()
