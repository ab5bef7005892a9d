"""Releases, floors and rollouts as a publisher edits them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.registry.documents import Assignment, Match
from edge_runtime.registry.publisher import releases, rollouts
from edge_runtime.registry.publisher.explain import explain
from edge_runtime.registry.publisher.home import PROFILES
from tests.publishers import MODEL, SITE, Publisher, add, foreign_box, founded

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.registry.documents import Rollout

LINE = Match(line=("line-3",))


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    one = founded(tmp_path)
    one.do(lambda draft: [add(draft, number) for number in (1, 2, 3)])
    return one


def _assign(publisher: Publisher, release: int, match: Match | None = None, **more: Any) -> Rollout:
    publisher.do(lambda draft: rollouts.assign(draft, SITE, Assignment(MODEL, release, match or Match(), **more)))
    return publisher.state().rollout(SITE)


def _lines(rollout: Rollout) -> list[str]:
    return [f"{one.release} {','.join(one.match.line) or '*'} {one.percent:g}" for one in rollout.assignments]


def test_each_change_of_a_rollout_is_one_number_higher(publisher: Publisher) -> None:
    numbers = [_assign(publisher, 1).seq]
    publisher.do(lambda draft: rollouts.pause(draft, SITE, paused=True))
    publisher.do(lambda draft: rollouts.kill(draft, SITE, "sha256:" + "a" * 64))
    publisher.do(lambda draft: (rollouts.pause(draft, SITE, paused=False), rollouts.renew_rollout(draft, SITE)))
    assert [*numbers, publisher.state().rollout(SITE).seq] == [2, 5]
    assert publisher.do(lambda draft: rollouts.pause(draft, SITE, paused=False)).versions == {}


def test_a_part_of_the_boxes_goes_first_and_the_rest_stays(publisher: Publisher) -> None:
    _assign(publisher, 1)
    assert _lines(_assign(publisher, 2, percent=10.0)) == ["2 * 10", "1 * 100"]
    first = publisher.state().rollout(SITE).assignments[0].salt
    assert _lines(_assign(publisher, 2, percent=25.0)) == ["2 * 25", "1 * 100"]
    assert publisher.state().rollout(SITE).assignments[0].salt == first, (
        "with it, the first boxes stay among the chosen"
    )
    assert _lines(_assign(publisher, 3, percent=5.0)) == ["3 * 5", "2 * 25", "1 * 100"]
    assert publisher.state().rollout(SITE).assignments[0].salt != first
    assert _lines(_assign(publisher, 2)) == ["2 * 100"]


def test_going_back_is_one_command(publisher: Publisher) -> None:
    _assign(publisher, 1)
    _assign(publisher, 2, percent=50.0)
    assert _lines(_assign(publisher, 1)) == ["1 * 100"]


def test_a_line_that_was_set_apart_stays_when_the_site_goes_on(publisher: Publisher) -> None:
    _assign(publisher, 1)
    assert _lines(_assign(publisher, 2, LINE)) == ["2 line-3 100", "1 * 100"]
    assert _lines(_assign(publisher, 3)) == ["2 line-3 100", "3 * 100"]
    publisher.do(lambda draft: rollouts.unassign(draft, SITE, MODEL, LINE))
    assert _lines(publisher.state().rollout(SITE)) == ["3 * 100"]
    with pytest.raises(DataError, match="has no assignment of weld for line line-3"):
        publisher.do(lambda draft: rollouts.unassign(draft, SITE, MODEL, LINE))


def test_labels_and_all_other_parts_count_as_naming_more(publisher: Publisher) -> None:
    _assign(publisher, 1, Match(line=("a", "b")))
    both = Match(line=("a", "b"), labels={"ring": ("lab",)})
    assert rollouts.weight(both) == 2
    rollout = _assign(publisher, 2, both, ring="lab", mode="canary", window="02:00-04:00", approve="operator")
    assert [one.release for one in rollout.assignments] == [2, 1]
    assert rollouts.describe(rollout.assignments[0]) == (
        "weld 2 for line a or b, ring=lab (ring lab, mode canary, window 02:00-04:00, after an operator's approval)"
    )


def test_windows_and_gates_that_no_box_obeys_are_not_signed(publisher: Publisher) -> None:
    before = publisher.state().rollout(SITE)
    with pytest.raises(DataError, match="'Mo-Fr' is no weekday") as caught:
        _assign(publisher, 2, window="Mo-Fr,22:00-04:00")
    assert caught.value.code == "rollout.window"
    with pytest.raises(DataError, match="did you mean crashes_max") as caught:
        _assign(publisher, 2, gates={"crash_max": 1})
    assert caught.value.code == "rollout.gates"
    assert publisher.state().rollout(SITE) == before


def test_the_same_assignment_again_is_no_change(publisher: Publisher) -> None:
    _assign(publisher, 1, percent=10.0)
    assert publisher.do(lambda draft: rollouts.assign(draft, SITE, Assignment(MODEL, 1, percent=10.0))).versions == {}


def test_attack_20_a_rollout_of_an_unsigned_floored_or_revoked_release_is_not_signed(publisher: Publisher) -> None:
    with pytest.raises(DataError, match="there is no release 9 of 'weld'; it has 1, 2, 3"):
        _assign(publisher, 9)
    publisher.do(lambda draft: releases.raise_floor(draft, MODEL, 2))
    with pytest.raises(DataError, match="below the floor 2"):
        _assign(publisher, 1)
    publisher.do(lambda draft: releases.revoke(draft, MODEL, 3))
    with pytest.raises(DataError, match="was revoked"):
        _assign(publisher, 3)
    with pytest.raises(DataError, match="has no site 'elsewhere'; its sites: plant-a"):
        publisher.do(lambda draft: rollouts.assign(draft, "elsewhere", Assignment(MODEL, 2)))


def test_floors_only_rise_and_leave_something_to_run(publisher: Publisher) -> None:
    publisher.do(lambda draft: releases.raise_floor(draft, MODEL, 2))
    with pytest.raises(DataError, match="floors never fall"):
        publisher.do(lambda draft: releases.raise_floor(draft, MODEL, 1))
    with pytest.raises(DataError, match="the highest is 3"):
        publisher.do(lambda draft: releases.raise_floor(draft, MODEL, 4))
    with pytest.raises(DataError, match="the highest is none"):
        publisher.do(lambda draft: releases.raise_floor(draft, "other", 4))
    assert publisher.do(lambda draft: releases.raise_floor(draft, MODEL, 2)).versions == {}
    with pytest.raises(DataError, match="below the floor 2") as caught:
        publisher.do(lambda draft: add(draft, 0))
    assert caught.value.code == "release.floored"


def test_a_floor_that_only_a_revoked_release_reaches_is_refused(publisher: Publisher) -> None:
    publisher.do(lambda draft: releases.revoke(draft, MODEL, 3))
    with pytest.raises(DataError, match="the highest is 2"):
        publisher.do(lambda draft: releases.raise_floor(draft, MODEL, 3))


def test_a_revoked_release_is_banned_by_its_manifest(publisher: Publisher, tmp_path: Path) -> None:
    digest = publisher.state().releases()[MODEL, 2][1]
    publisher.do(lambda draft: releases.revoke(draft, MODEL, 2))
    floors = json.loads(foreign_box(publisher, tmp_path / "box").read("floors.json"))
    assert floors["models"][MODEL]["revoked"] == [digest]
    assert publisher.do(lambda draft: releases.revoke(draft, MODEL, 2)).versions == {}
    with pytest.raises(DataError, match="was revoked"):
        publisher.do(lambda draft: add(draft, 2))
    with pytest.raises(DataError, match="there is no release 1 of 'other'; models: weld"):
        publisher.do(lambda draft: releases.revoke(draft, "other", 1))


def test_everything_that_a_change_does_is_told(publisher: Publisher) -> None:
    told: list[str] = []
    _assign(publisher, 1)

    def edit(draft: Any) -> None:
        add(draft, 4)
        releases.revoke(draft, MODEL, 3)
        releases.raise_floor(draft, MODEL, 1)
        rollouts.assign(draft, SITE, Assignment(MODEL, 4))
        rollouts.kill(draft, SITE, "sha256:" + "b" * 64)
        rollouts.pause(draft, SITE, paused=True)
        told.extend(line.strip() for line in explain(draft, lambda keyid: keyid))

    publisher.do(edit)
    text = "\n".join(told)
    for words in (
        "+ release weld 4",
        "revoked for ever, on every site: weld sha256:",
        "floor of weld: 0 becomes 1",
        "- weld 1 for every slot",
        "+ weld 4 for every slot",
        "kill sha256:bbb",
        "pause: boxes begin nothing new",
    ):
        assert words in text


def test_what_no_verb_of_ours_does_is_told_too(publisher: Publisher) -> None:
    """A change from a file may hold anything that somebody has signed."""
    publisher.do(lambda draft: (releases.revoke(draft, MODEL, 3), rollouts.kill(draft, SITE, "sha256:" + "c" * 64)))
    told: list[str] = []

    def edit(draft: Any) -> None:
        targets = draft.edit_targets()
        del targets.targets[f"releases/{MODEL}/1.json"]
        targets.targets[f"releases/{MODEL}/2.json"].hashes["sha256"] = "0" * 64
        targets.targets["stranger.json"] = targets.targets["floors.json"]
        draft.put(targets, "floors.json", releases.dump_floors(releases.FloorsDocument()))
        rollouts.put(draft, replace(rollouts.rollout_of(draft, SITE), kill=()))
        targets.delegations.roles.pop(f"rollout-{SITE}")
        told.extend(line.strip() for line in explain(draft, lambda keyid: keyid))
        raise DataError("enough", "only told")

    with pytest.raises(DataError, match="only told"):
        publisher.do(edit)
    text = "\n".join(told)
    for words in (
        "- release weld 1",
        "CHANGED release weld 2",
        "NO LONGER revoked: weld sha256:",
        "NO LONGER killed: sha256:ccc",
        "something that is not known here: stranger.json",
        "- site plant-a",
    ):
        assert words in text


def test_a_renewal_says_that_it_changes_nothing(publisher: Publisher) -> None:
    publisher.do(lambda draft: (draft.renew("targets"), draft.renew(f"rollout-{SITE}"), draft.renew("root")))
    assert [line.rpartition(": ")[2] for line in publisher.asked[-1].changes] == ["the same again"] * 3


def test_signatures_live_as_long_as_the_profile_says() -> None:
    assert [
        PROFILES["production"].days(role) for role in ("root", "targets", "rollout-a", "snapshot", "timestamp")
    ] == [
        365,
        180,
        30,
        30,
        7,
    ]
    assert PROFILES["airgap"].days("timestamp") == 90
