"""What is given up when there is too much, and that a subscriber can account for every number of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.result import Evaluation
from edge_runtime.publish.prover import Prover
from edge_runtime.publish.spool import eviction
from edge_runtime.publish.spool.alarm import Alarm
from edge_runtime.publish.spool.limits import Policy, SpoolLimits
from edge_runtime.publish.spool.throttle import Throttle
from tests.fakes.clock import ManualClock
from tests.fakes.results import make_event
from tests.unit.publish.spool.rig import Bench, documents, seqs

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.publish.spool.store import Row

ROOM = 40_000  # some 30 results


def bench_of(path: Path, policy: Policy, clock: ManualClock | None = None) -> Bench:
    return Bench(path, clock or ManualClock(), limits=SpoolLimits(max_bytes=ROOM, policy=policy))


def put_mixed(bench: Bench, count: int) -> None:
    """Every second result is OK."""
    for number in range(count):
        bench.put(1, evaluation=Evaluation.OK if number % 2 else Evaluation.NOT_OK)


def proved(rows: list[Row]) -> Prover:
    prover = Prover()
    for document in documents(rows):
        prover.add(document)
    return prover


@pytest.mark.parametrize("policy", [*Policy])
def test_with_every_policy_each_number_comes_or_is_declared(tmp_path: Path, policy: Policy) -> None:
    with bench_of(tmp_path, policy) as bench:
        for _ in range(10):
            put_mixed(bench, 10)
            bench.step(2)
            assert bench.spool.stats().bytes <= ROOM
        bench.step(3)
        rows = bench.take()
        proof = proved(rows).proof()
        gaps = documents(rows, "spool.gap")
        assert proof.missing == 0
        lowest, highest = min(seqs(rows)), max(seqs(rows))
        outside = lowest - 1 + 100 - highest
        assert proof.declared + outside == bench.spool.stats().evicted == sum(gap["count"] for gap in gaps)
        assert {gap["policy"] for gap in gaps} == {bench.spool._writer._limits.why}


def test_the_oldest_go_first_and_the_newest_stay(tmp_path: Path) -> None:
    with bench_of(tmp_path, Policy.OLDEST) as bench:
        bench.put(100)
        bench.step(3)
        found = seqs(bench.take())
        assert found == [*range(found[0], 101)]


def test_the_newest_go_first_and_the_oldest_stay(tmp_path: Path) -> None:
    with bench_of(tmp_path, Policy.NEWEST) as bench:
        bench.put(60)
        bench.step(3)
        bench.put(40)
        bench.step(3)
        found = seqs(bench.take())
        assert found == [*range(1, len(found) + 1)]
        assert len(found) > 20


def test_results_that_are_ok_go_before_others_and_the_count_covers_exactly_those(tmp_path: Path) -> None:
    """Every second number goes: the gap event names the span, and how many of it will not come."""
    with bench_of(tmp_path, Policy.OK_FIRST) as bench:
        put_mixed(bench, 40)
        bench.step(3)
        rows = bench.take()
        found = seqs(rows)
        assert {*range(1, 41, 2)} <= {*found}  # every NotOK is there
        (gap,) = documents(rows, "spool.gap")
        gone = [seq for seq in range(1, 41) if seq not in found]
        assert gone == [*range(2, 2 * len(gone) + 1, 2)]
        assert (gap["from_seq"], gap["to_seq"], gap["count"]) == (gone[0], gone[-1], len(gone))
        assert proved(rows).proof().missing == 0
        one_lost = [row for row in rows if (row.stream, row.seq) != ("result/top", 3)]
        assert proved(one_lost).proof().missing == 1


def test_when_nothing_is_ok_any_more_the_oldest_others_go(tmp_path: Path) -> None:
    with bench_of(tmp_path, Policy.OK_FIRST) as bench:
        put_mixed(bench, 30)
        bench.step(3)
        bench.put(40)
        bench.step(4)
        documents_left = [document for document in documents(bench.take()) if document["schema"] == "vision.result/1"]
        assert {document["evaluation"] for document in documents_left} == {"NotOK"}


def test_a_row_that_is_owed_once_more_is_found_by_the_policy_although_it_is_old(tmp_path: Path) -> None:
    """The search goes on where it ended, unless older rows came back."""
    with bench_of(tmp_path, Policy.OK_FIRST) as bench:
        bench.put(5, evaluation=Evaluation.OK)
        bench.deliver()
        put_mixed(bench, 60)
        bench.step(4)
        bench.spool.replay("result/top", 1, 5, lambda _: None)
        bench.step(2)
        put_mixed(bench, 20)
        bench.step(4)
        assert bench.spool.stats().bytes <= ROOM


def test_much_too_much_goes_in_transactions_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eviction, "ROWS_AT_ONCE", 5)
    with bench_of(tmp_path, Policy.OLDEST) as bench:
        bench.put(100)
        bench.step()
        assert bench.spool.stats().evicted == 5
        bench.step(30)
        assert bench.spool.stats().bytes <= ROOM


def test_kept_results_make_room_for_those_that_are_owed(tmp_path: Path) -> None:
    clock = ManualClock()
    with bench_of(tmp_path, Policy.OLDEST, clock) as bench:
        bench.put(25)
        bench.deliver()
        bench.put(20)
        clock.advance_ms(1000)
        bench.step(3)
        stats = bench.spool.stats()
        assert (stats.evicted, stats.depth) == (0, 20)
        assert 0 < stats.kept_bytes <= ROOM - stats.bytes
        assert [row.seq for row in bench.spool._ledger.store.kept(1)] > [1]


def test_kept_results_are_bounded_by_bytes_of_their_own(tmp_path: Path) -> None:
    clock = ManualClock()
    with Bench(tmp_path, clock, limits=SpoolLimits(keep_bytes=10_000)) as bench:
        bench.put(20)
        bench.deliver()
        clock.advance_ms(1000)
        bench.step(2)
        assert 5_000 < bench.spool.stats().kept_bytes <= 10_000


def test_what_somebody_asked_for_again_has_no_age(tmp_path: Path) -> None:
    clock = ManualClock()
    limits = SpoolLimits(max_age_s=100.0, keep_s=1000.0)
    with Bench(tmp_path, clock, limits=limits) as bench:
        bench.put(2)
        bench.deliver()
        clock.advance_ms(200_000)
        bench.spool.replay("result/top", 1, 2, lambda _: None)
        bench.put(1)
        bench.step(3)
        assert seqs(bench.take()) == [3, 1, 2]


def test_old_rows_are_evicted_until_the_first_that_is_not(tmp_path: Path) -> None:
    clock = ManualClock()
    with Bench(tmp_path, clock, limits=SpoolLimits(max_age_s=100.0)) as bench:
        bench.put(3)
        bench.spool.put(make_event())
        bench.step()
        clock.advance_ms(90_000)
        bench.put(2)
        bench.step()
        clock.advance_ms(20_000)
        bench.step(2)
        assert seqs(bench.take()) == [4, 5]


def test_a_spool_that_fills_up_says_so_once_and_once_when_that_is_over() -> None:
    alarm = Alarm(1000)
    assert alarm.check(800, 8, 5) == []
    (high,) = alarm.check(801, 8, 5)
    assert (high.kind, high.scope) == ("spool.high", "system")
    assert high.fields == {"bytes": 801, "maxBytes": 1000, "depth": 8}
    assert alarm.check(950, 9, 5) == []
    assert alarm.check(601, 6, 5) == []  # it does not flap
    (low,) = alarm.check(600, 6, 5)
    assert low.kind == "spool.low"
    assert alarm.check(700, 7, 5) == []


def test_the_alarm_is_an_event_before_anything_is_given_up(tmp_path: Path) -> None:
    clock = ManualClock()
    with bench_of(tmp_path, Policy.OLDEST, clock) as bench:
        bench.put(27)
        bench.step()
        clock.advance_ms(1000)
        bench.step(2)
        rows = bench.take()
        assert len(documents(rows, "spool.high")) == 1
        assert bench.spool.stats().evicted == 0
        bench.spool.acked(rows)
        bench.step()
        clock.advance_ms(1000)
        bench.step(2)
        assert len(documents(bench.take(), "spool.low")) == 1


def test_a_throttle_earns_with_time_up_to_half_a_second() -> None:
    clock = ManualClock()
    throttle = Throttle(clock, 10.0)
    assert throttle.allowed(9) == 0
    clock.advance_ms(250)
    assert throttle.allowed(9) == 2
    throttle.used(2)
    assert throttle.allowed(9) == 0
    clock.advance_ms(10_000)
    assert throttle.allowed(9) == 5
    assert throttle.allowed(3) == 3
    free = Throttle(clock, None)
    free.used(1)
    assert free.allowed(9) == 9


def test_a_large_backlog_and_a_replay_are_throttled_and_live_results_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_runtime.publish.spool import handout

    monkeypatch.setattr(handout, "ORDERED_BACKLOG", 10)
    clock = ManualClock()
    with Bench(tmp_path, clock) as first:
        first.put(30)
        first.step()
    with Bench(tmp_path, clock, limits=SpoolLimits(drain_per_s=10.0)) as bench:
        bench.frame = 30
        bench.step()
        clock.advance_ms(500)
        bench.put(20)
        bench.step(2)
        assert seqs(bench.spool.take(100)) == [*range(31, 51), 1, 2, 3, 4, 5]
        assert bench.spool.take(100) == []
        clock.advance_ms(200)
        bench.put(1)
        bench.step()
        assert seqs(bench.spool.take(100)) == [51, 6, 7]
