"""Rows that are owed once more."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_runtime.publish.prover import Prover
from edge_runtime.publish.spool import revival
from edge_runtime.publish.spool.limits import SpoolLimits
from edge_runtime.publish.spool.revival import Revived
from tests.fakes.clock import ManualClock
from tests.fakes.faulty_sql import FaultySql
from tests.unit.publish.spool.rig import Bench, documents, seqs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path, ManualClock()) as found:
        yield found


def test_a_replayed_row_has_its_old_number_and_id_and_its_retention_starts_anew(tmp_path: Path) -> None:
    clock = ManualClock()
    with Bench(tmp_path, clock, limits=SpoolLimits(keep_s=100.0)) as bench:
        bench.put(3)
        first = bench.deliver()
        clock.advance_ms(90_000)
        found: list[Revived] = []
        bench.spool.replay("result/top", 1, 3, found.append)
        bench.step()
        assert found == [Revived(revived=3)]
        again = bench.deliver()
        assert [row.body for row in again if row.stream == "result/top"] == [row.body for row in first]
        clock.advance_ms(90_000)
        bench.step(2)
        assert bench.spool.stats().kept_bytes >= sum(row.size for row in first)
        clock.advance_ms(20_000)
        bench.step(2)
        assert bench.spool.stats().kept_bytes == 0


def test_live_results_come_before_replayed_ones(bench: Bench) -> None:
    bench.put(3)
    bench.deliver()
    bench.spool.replay("result/top", 1, 3, lambda _: None)
    bench.step(3)
    bench.put(2)
    bench.step(2)
    assert seqs(bench.take(4)) == [4, 5, 1, 2, 3]


def test_what_is_not_there_any_more_is_told_in_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revival, "_AT_ONCE", 4)
    clock = ManualClock()
    with Bench(tmp_path, clock, limits=SpoolLimits(keep_s=10.0)) as bench:
        bench.put(6)
        bench.deliver()
        clock.advance_ms(20_000)
        bench.step(2)
        bench.put(3)
        rows = bench.deliver()
        bench.put(1)
        bench.step(2)
        (last,) = bench.take()
        bench.spool.refused(last, "no")
        bench.step()
        bench.put(2)
        bench.step()
        found: list[Revived] = []
        bench.spool.replay("result/top", 2, 99, found.append)
        bench.step(6)
        assert seqs(rows) == [7, 8, 9]
        assert found == [Revived(revived=3, owed=2, refused=1, missing=((2, 6),), missing_count=5)]


def test_many_holes_are_counted_and_the_first_of_them_are_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revival, "RANGES_MAX", 2)
    bench.put(9)
    rows = bench.deliver()
    bench.spool._ledger.remove([row for row in bench.spool._ledger.store.kept(9) if row.seq % 2], ())
    assert len(rows) == 9
    found: list[Revived] = []
    bench.spool.replay("result/top", 1, 9, found.append)
    bench.step(2)
    assert (found[0].revived, found[0].missing, found[0].missing_count) == (4, ((1, 1), (3, 3)), 5)


def test_overlapping_replays_of_streams_that_alternate_send_each_row_once(bench: Bench) -> None:
    for _ in range(10):
        bench.put(1, "a")
        bench.put(1, "b")
    bench.deliver()
    for stream in ("result/a", "result/b", "result/a"):
        bench.spool.replay(stream, 1, 10, lambda _: None)
        bench.step(2)
    rows = bench.take(3)
    assert (seqs(rows, "result/a"), seqs(rows, "result/b")) == ([*range(1, 11)], [*range(1, 11)])
    bench.spool.acked(rows)
    bench.step()
    assert bench.spool.stats().depth == 0


@pytest.mark.parametrize("late", [False, True])
def test_a_disk_that_refuses_a_piece_gets_it_again(bench: Bench, *, late: bool) -> None:
    bench.put(3)
    bench.deliver()
    faulty = FaultySql(bench.spool._ledger.store)
    found: list[Revived] = []
    bench.spool.replay("result/top", 1, 3, found.append)
    if late:
        faulty.arm_late()
    else:
        faulty.arm(2)
    bench.step()
    assert bench.spool.stats().state == "degraded"
    bench.step(3)
    assert found[0].revived + found[0].owed == 3
    assert seqs(bench.take()) == [1, 2, 3]
    assert bench.spool.stats().depth == 4  # with the event


def test_after_a_restart_what_is_owed_once_more_still_comes_behind_and_historical(tmp_path: Path) -> None:
    clock = ManualClock()
    with Bench(tmp_path, clock) as first:
        first.put(5)
        first.deliver()
        first.spool.replay("result/top", 2, 3, lambda _: None)
        first.step(2)
        first.put(1)
        first.step()
    with Bench(tmp_path, clock) as second:
        second.step(2)
        rows = second.take()
        assert seqs(rows) == [6, 2, 3]
        assert [row.again for row in rows if row.stream == "result/top"] == [False, True, True]
        second.spool.acked(rows)
        second.step()
        assert second.spool._ledger.tally.again == 0


def test_a_subscriber_that_lost_everything_is_complete_after_a_replay(bench: Bench) -> None:
    prover = Prover()
    bench.put(5)
    for row in bench.deliver()[:2]:
        prover.add(documents([row])[0])
    bench.put(1)
    for row in bench.deliver():
        prover.add(documents([row])[0])
    assert prover.proof().missing == 3
    bench.spool.replay("result/top", 1, 5, lambda _: None)
    bench.step()
    for row in bench.deliver():
        prover.add({**documents([row])[0], "historical": bench.spool.is_historical(row, 10.0)})
    proof = prover.proof()
    assert (proof.missing, proof.conflicts, proof.inversions) == (0, 0, 0)


def test_a_requeue_is_done_in_pieces(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revival, "_AT_ONCE", 2)
    bench.put(5)
    bench.step()
    for row in bench.take():
        bench.spool.refused(row, "no")
    bench.step(2)
    bench.spool.acked(bench.take())
    bench.step()
    found: list[Revived] = []
    bench.spool.requeue(None, None, found.append)
    bench.step()
    assert (found, bench.spool.stats().dead) == ([], 3)
    bench.step(3)
    assert found == [Revived(revived=5)]
    rows = bench.deliver()
    assert seqs(rows) == [1, 2, 3, 4, 5]
    assert documents(rows, "spool.requeued")[0]["count"] == 5
    assert bench.spool.stats().depth == 0


def test_a_closed_spool_says_that_it_did_not_finish(tmp_path: Path) -> None:
    found: list[Revived] = []
    bench = Bench(tmp_path, ManualClock())
    with closing(bench.spool):
        bench.spool.open()
        bench.put(1)
        bench.step()
        bench.spool.replay("result/top", 1, 1, found.append)
    assert found == [Revived(finished=False)]
