"""Small parts of the desk: lanes that survive a fault, rates of callers without number, tables that agree."""

from __future__ import annotations

from typing import get_args

import pytest

from edge_runtime.config.commands import EVERYTHING, CommandVerb
from edge_runtime.control.commands import tally
from edge_runtime.control.commands.lane import Lane
from edge_runtime.control.commands.policy import PRINCIPALS_MAX, Policy
from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.control.commands.tally import Tally
from edge_runtime.control.commands.verbs import _FIELDS, VERBS, check_arguments, takes_only_text
from edge_runtime.publish.contract import catalogue
from edge_runtime.publish.contract.topics import COMMANDS
from edge_runtime.system.service import ServiceGroup
from tests.daemons import wait_until


def test_everybody_knows_the_same_verbs() -> None:
    assert set(VERBS) == set(EVERYTHING) == set(get_args(CommandVerb)) == set(catalogue.COMMANDS)
    assert {topic.name for topic in COMMANDS} >= set(VERBS)


def test_every_field_of_a_command_is_of_a_kind_that_is_checked() -> None:
    kinds = ({str, int}, {str}, {int}, {bool})
    assert [
        (verb, name) for verb, fields in _FIELDS.items() for name, one in fields.items() if one.types not in kinds
    ] == []
    assert check_arguments("snapshot", {"publish": True, "maxWidth": None}) == {"publish": True}
    for wrong in (1, "true", [True]):
        with pytest.raises(RefusedError, match="publish must be true or false"):
            check_arguments("snapshot", {"publish": wrong})


def test_a_field_with_few_words_takes_no_other() -> None:
    assert check_arguments("lot", {"state": "between", "lotId": 17}) == {"state": "between", "lotId": "17"}
    for wrong in ("", "Between", "running "):
        with pytest.raises(RefusedError, match="state must be one of: running, between"):
            check_arguments("lot", {"state": wrong})
    for wrong in (True, None, 1):
        with pytest.raises(RefusedError):
            check_arguments("lot", {"state": wrong})


def test_what_is_always_text_is_known_by_verb_and_field() -> None:
    asked = [("recipe.select", "version"), ("trigger", "partId"), ("trigger", "nothing"), ("explode", "version")]
    assert [takes_only_text(*one) for one in asked] == [True, False, False, False]


def test_a_lane_goes_on_after_a_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        done.append(1 // number)

    lane: Lane[int] = Lane("commands/test", work, lambda: None, lambda: done.append(-1))
    with ServiceGroup() as group:
        group.start(lane)
        for number in (0, 1):
            assert lane.offer(number)
        wait_until(lambda: done == [1])
    lane.put(2)
    assert (done, lane.faults) == ([1, -1], 1)
    assert "could not be dealt with" in caplog.text


def test_the_rates_of_claimed_names_are_bounded() -> None:
    policy = Policy({"*": ("pause",)}, (), (), rate_per_s=1.0, rate_total_per_s=1.0, now_ns=0)
    for number in range(2 * PRINCIPALS_MAX):
        policy.admit("pause", f"caller-{number}", 0, proven=False)
    assert len(policy._buckets) == PRINCIPALS_MAX


def test_the_sums_of_claimed_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "NAMES_MAX", 2)
    sums = Tally(0)
    for name in ("a", "b", "c", "d", "a"):
        sums.add(name, "trigger", "202")
    assert {one.who: one.count for one in sums.sums(0, all_of_it=True)} == {"a": 2, "b": 1, "others": 2}
    assert sums.sums(0) == []
