"""Second readers of the spool."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from edge_runtime.core.errors import InvariantError
from edge_runtime.publish.spool import backlog, following
from edge_runtime.publish.spool.limits import SpoolLimits
from tests.fakes.clock import ManualClock
from tests.fakes.faulty_sql import FaultySql
from tests.fakes.results import make_event
from tests.unit.publish.spool.rig import Bench, documents, seqs

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.publish.spool.store import Row


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bench(tmp_path: Path, clock: ManualClock) -> Bench:
    return Bench(tmp_path, clock, followers=("plant",))


def positions(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, position FROM follower").fetchall())


def test_a_follower_gets_every_result_and_no_event_as_soon_as_it_is_committed(bench: Bench) -> None:
    with bench:
        told: list[int] = []
        plant = bench.followers["plant"]
        plant.set_listener(lambda: told.append(1))
        bench.put(3)
        bench.spool.put(make_event())
        assert plant.take_live(9) == []
        bench.step()
        assert told
        assert seqs([*plant.take_live(2)]) == [1, 2]
        assert [row.stream for row in plant.take_live(9)] == ["result/top"]
        assert plant.take_live(9) == []
        bench.spool.put(make_event())
        told.clear()
        bench.step()
        assert not told


def test_a_follower_that_comes_later_finds_everything_that_is_still_there_as_its_backlog(
    tmp_path: Path, clock: ManualClock
) -> None:
    with Bench(tmp_path, clock) as first:
        first.put(700)
        first.deliver()
        first.put(3)
        first.step(2)
    with Bench(tmp_path, clock, followers=("plant",)) as second:
        second.step()
        plant = second.followers["plant"]
        assert plant.position == 0
        assert 0 < plant.backlog <= 703
        assert seqs(second.backlog("plant")) == [*range(1, 704)]
        assert plant.take_live(9) == []
        assert plant.backlog == 0


def test_after_a_restart_it_goes_on_after_its_position(tmp_path: Path, clock: ManualClock) -> None:
    with Bench(tmp_path, clock, followers=("plant",)) as first:
        first.put(5)
        first.step()
        rows = first.followers["plant"].take_live(5)
        first.followers["plant"].settle(rows[2].id)
        first.put(1)
        first.step()
    with Bench(tmp_path, clock, followers=("plant",)) as second:
        second.step()
        assert second.followers["plant"].position == rows[2].id
        assert seqs(second.backlog("plant")) == [4, 5, 6]


def test_a_position_is_written_with_the_next_transaction_or_after_a_second(bench: Bench) -> None:
    with bench:
        bench.put(2)
        bench.step(2)
        (one, two) = bench.followers["plant"].take_live(2)
        bench.followers["plant"].settle(one.id)
        bench.step()
        assert bench.spool._ledger.followers.durable == {"plant": 0}  # no transaction of its own
        bench.put(1)
        bench.step()
        assert bench.spool._ledger.followers.durable == {"plant": one.id}
        bench.followers["plant"].settle(two.id)
        bench.followers["plant"].settle(one.id)  # never back
        bench.clock.advance_ms(1000)
        bench.step()
        assert bench.spool._ledger.followers.durable == {"plant": two.id}


def test_a_position_cannot_be_beyond_what_was_committed(bench: Bench) -> None:
    with bench:
        bench.put(1)
        bench.step()
        bench.followers["plant"].settle(99)
        assert bench.followers["plant"].position == 1


def test_numbers_of_rows_go_on_above_the_position_when_nothing_else_is_left(tmp_path: Path, clock: ManualClock) -> None:
    """A row with a lower id than the position would never reach the follower."""
    limits = SpoolLimits(keep_s=1.0)
    with Bench(tmp_path, clock, followers=("plant",), limits=limits) as first:
        first.put(5)
        first.deliver()
        first.followers["plant"].settle(5)
        clock.advance_ms(5000)
        first.step(2)
        clock.advance_ms(5000)
        first.step(2)
        assert first.spool.stats().kept_bytes == 0
    with Bench(tmp_path, clock, followers=("plant",), limits=limits) as second:
        second.put(1)
        second.step(2)
        assert seqs([*second.followers["plant"].take_live(9)]) == [6]


def test_a_follower_that_does_not_keep_up_finds_the_oldest_in_its_backlog_each_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LIVE_MAX", 8)
    with bench:
        plant = bench.followers["plant"]
        bench.put(6)
        bench.step()
        live = [*plant.take_live(4)]
        bench.put(10)
        bench.step()
        bench.put(10)
        bench.step()
        live += plant.take_live(2)
        bench.put(20)
        bench.step()
        live += plant.take_live(99)
        missed = bench.backlog("plant", 5)
        assert seqs(missed) == sorted(seqs(missed))
        assert seqs(live) == sorted(seqs(live))
        assert sorted(seqs(live) + seqs(missed)) == [*range(1, 47)]


def test_a_rewind_gives_everything_after_a_row_again(bench: Bench) -> None:
    with bench:
        plant = bench.followers["plant"]
        bench.put(6)
        bench.step()
        plant.settle(plant.take_live(6)[1].id)
        plant.rewind()
        bench.put(1)
        bench.step()
        assert seqs([*plant.take_live(9)]) == [7]
        assert seqs(bench.backlog("plant")) == [3, 4, 5, 6]
        plant.rewind(4)
        assert seqs(bench.backlog("plant")) == [5, 6, 7]
        plant.rewind(7)
        assert plant.backlog == 0
        assert plant.take_backlog(9) == []


def test_a_rewind_while_the_backlog_is_read_wins(bench: Bench) -> None:
    with bench:
        bench.put(6)
        bench.step()
        plant = bench.followers["plant"]
        assert isinstance(plant, following.Following)
        plant.rewind(0)
        wanted = plant._backlog.wanted()
        assert wanted is not None
        plant.rewind(4)
        plant._supply(wanted, [], 1)
        assert seqs(bench.backlog("plant")) == [5, 6]


def test_what_a_follower_has_not_taken_is_kept_beyond_its_retention(tmp_path: Path, clock: ManualClock) -> None:
    limits = SpoolLimits(keep_s=10.0, max_age_s=1000.0)
    with Bench(tmp_path, clock, followers=("plant", "other"), limits=limits) as bench:
        bench.put(4)
        bench.deliver()
        bench.followers["other"].settle(4)
        bench.followers["plant"].settle(1)
        clock.advance_ms(20_000)
        bench.step(3)
        assert [row.seq for row in bench.spool._ledger.store.kept(9)] == [2, 3, 4]
        bench.followers["plant"].rewind()
        assert seqs(bench.backlog("plant")) == [2, 3, 4]
        bench.followers["plant"].settle(3)
        clock.advance_ms(20_000)
        bench.step(3)
        assert [row.seq for row in bench.spool._ledger.store.kept(9)] == [4]


@pytest.mark.parametrize("bound", ["max_age", "max_bytes"])
def test_beyond_the_limits_it_is_given_up_counted_and_told(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(backlog, "PREFETCH", 2)
    monkeypatch.setattr(following, "PREFETCH", 2)
    limits = SpoolLimits(keep_s=10.0, max_age_s=1000.0, max_bytes=20_000)
    with Bench(tmp_path, clock, followers=("plant",), limits=limits) as bench:
        plant = bench.followers["plant"]
        bench.put(10)
        bench.deliver()
        plant.rewind(0)
        if bound == "max_age":
            clock.advance_ms(1_001_000)
        else:
            clock.advance_ms(1_000)
            bench.put(10)
        bench.step(3)
        skipped = plant.skipped()
        assert skipped > 0
        assert plant.skipped() == 0
        rows = bench.take()
        told = documents(rows, "spool.follower_gap")
        assert sum(fields["count"] for fields in told) == skipped + 2  # two were in memory
        (fields, *_) = told
        assert (fields["follower"], fields["from_id"], fields["streams"][0]["topic"]) == ("plant", 1, "result/top")
        assert seqs(bench.backlog("plant"))[:10] == [1, 2, *range(skipped + 3, 11)]
        assert documents(rows, "spool.gap") == []  # the broker has them


def test_an_eviction_of_what_the_broker_has_not_got_counts_for_the_follower_too(
    tmp_path: Path, clock: ManualClock
) -> None:
    with Bench(tmp_path, clock, followers=("plant",), limits=SpoolLimits(max_bytes=20_000)) as bench:
        bench.put(10)
        bench.step()
        bench.followers["plant"].settle(3)
        bench.put(20)
        bench.step(3)
        rows = bench.take()
        gone = sum(fields["count"] for fields in documents(rows, "spool.gap"))
        assert sum(fields["count"] for fields in documents(rows, "spool.follower_gap")) == gone - 3
        assert bench.followers["plant"].skipped() == 0  # it has them in memory
        assert seqs([*bench.followers["plant"].take_live(99)]) == [*range(1, 31)]


def test_a_follower_gets_what_the_broker_refused(bench: Bench) -> None:
    with bench:
        bench.put(3)
        bench.step()
        for row in bench.take():
            bench.spool.refused(row, "not authorized (135)")
        bench.step(2)
        assert bench.spool.stats().dead == 3
        bench.followers["plant"].rewind(0)
        assert seqs(bench.backlog("plant")) == [1, 2, 3]


def test_a_position_of_a_follower_that_is_no_longer_configured_is_given_up(tmp_path: Path, clock: ManualClock) -> None:
    limits = SpoolLimits(keep_s=10.0)
    with Bench(tmp_path, clock, followers=("plant", "old"), limits=limits) as first:
        first.put(2)
        first.deliver()
        first.followers["plant"].settle(2)
        first.put(1)
        first.step()
    assert positions(tmp_path / "spool.db") == {"plant": 2, "old": 0}
    with Bench(tmp_path, clock, followers=("plant",), limits=limits) as second:
        assert second.spool._ledger.followers.durable == {"plant": 2, "old": 0}  # nobody said yet who follows
        second.step(2)
        clock.advance_ms(20_000)
        second.step(2)
        assert second.spool.stats().kept_bytes == 0
    assert positions(tmp_path / "spool.db") == {"plant": 2}


def test_followers_are_known_before_the_spool_runs_and_have_a_name_each(bench: Bench) -> None:
    with pytest.raises(InvariantError):
        bench.spool.follow("plant")
    with bench:
        bench.spool.follow("late")
        bench.step()
        with pytest.raises(InvariantError):
            bench.spool.follow("too late")


def test_a_follower_of_a_spool_that_cannot_be_opened_yet_gets_what_is_there_when_it_is(
    tmp_path: Path, clock: ManualClock
) -> None:
    with Bench(tmp_path, clock) as first:
        first.put(2)
        first.step()
    (tmp_path / "spool.db").rename(tmp_path / "away")
    (tmp_path / "spool.db").mkdir()
    with Bench(tmp_path, clock, followers=("plant",)) as second:
        second.followers["plant"].rewind()
        second.step()
        assert second.spool.stats().state == "degraded"
        (tmp_path / "spool.db").rmdir()
        (tmp_path / "away").rename(tmp_path / "spool.db")
        second.step(2)
        assert seqs(second.backlog("plant")) == [1, 2]


@pytest.mark.parametrize("late", [False, True])
def test_a_commit_that_fails_loses_nothing_for_the_follower(bench: Bench, *, late: bool) -> None:
    """Also one that is there all the same, because only its sync failed."""
    with bench:
        bench.put(2)
        bench.step()
        faulty = FaultySql(bench.spool._ledger.store)
        if late:
            faulty.arm_late()
        else:
            faulty.arm(1)
        bench.put(2)
        bench.step()
        assert bench.spool.stats().state == "degraded"
        bench.put(1)
        bench.step(3)
        assert seqs([*bench.followers["plant"].take_live(9)]) == [1, 2, 3, 4, 5]


class Model(RuleBasedStateMachine):
    """A follower against a list of all results: whatever happens, it gets each after its position, or a count."""

    directory: Path

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        for path in self.directory.iterdir():
            path.unlink()
        self.bench = Bench(self.directory, self.clock, followers=("plant",))
        self.bench.__enter__()
        self.bench.step()
        self.got: dict[int, int] = {}  # id -> seq since the last rewind
        self.start = 0
        self.settled = 0

    def _note(self, rows: list[Row]) -> None:
        assert [row.id for row in rows] == sorted(row.id for row in rows)
        for row in rows:
            assert row.id not in self.got, "twice"
            self.got[row.id] = row.seq

    @rule(count=st.integers(1, 9), event=st.booleans())
    def put(self, *, count: int, event: bool) -> None:
        self.bench.put(count)
        if event:
            self.bench.spool.put(make_event())
        self.bench.step()

    @rule()
    def deliver(self) -> None:
        self.bench.deliver()

    @rule(limit=st.integers(1, 9))
    def live(self, limit: int) -> None:
        self._note([*self.bench.followers["plant"].take_live(limit)])

    @rule(limit=st.integers(1, 9))
    def backlog(self, limit: int) -> None:
        self._note([*self.bench.followers["plant"].take_backlog(limit)])
        self.bench.step()

    @rule()
    def settle(self) -> None:
        done = self.start
        for row_id in sorted(self._all()):
            if row_id > self.start and row_id not in self.got:
                break
            done = max(done, row_id)
        self.bench.followers["plant"].settle(done)
        self.settled = max(self.settled, done)

    @rule(back=st.integers(0, 9))
    def rewind(self, back: int) -> None:
        self.start = max(0, self.settled - back)
        self.bench.followers["plant"].rewind(self.start)
        self.got = {}

    @rule(killed=st.booleans(), seconds=st.integers(0, 2))
    def restart(self, *, killed: bool, seconds: int) -> None:
        self.clock.advance_ms(seconds * 1000)
        if not killed:
            self.bench.spool.finish()
        self.bench.step()
        durable = self.bench.spool._ledger.followers.durable["plant"]
        assert killed or durable == self.settled
        self.bench.spool.close()
        frame = self.bench.frame
        self.bench = Bench(self.directory, self.clock, followers=("plant",))
        self.bench.frame = frame
        self.bench.__enter__()
        self.bench.step()
        assert self.bench.followers["plant"].position == durable
        self.start = self.settled = durable
        self.got = {}

    def _all(self) -> dict[int, int]:
        rows = self.bench.spool._ledger.store.read_results(0, 1 << 40, 1 << 20)
        return {row.id: row.seq for row in rows}

    @invariant()
    def what_is_left_comes(self) -> None:
        everything = self._all()
        assert len(everything) == self.bench.frame
        assert set(self.got) <= {row_id for row_id in everything if row_id > self.start}

    def teardown(self) -> None:
        plant = self.bench.followers["plant"]
        for _ in range(1000):
            self._note([*plant.take_live(9)])
            self._note([*plant.take_backlog(9)])
            self.bench.step()
            if not plant.backlog and set(self.got) == {i for i in self._all() if i > self.start}:
                break
        assert set(self.got) == {row_id for row_id in self._all() if row_id > self.start}
        self.bench.spool.close()


def test_whatever_happens_a_follower_gets_each_result_once_since_its_rewind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LIVE_MAX", 6)
    monkeypatch.setattr(backlog, "PREFETCH", 4)
    monkeypatch.setattr(following, "PREFETCH", 4)
    monkeypatch.setattr(os, "fdatasync", lambda _fd: None)
    Model.directory = tmp_path
    run_state_machine_as_test(Model, settings=settings(max_examples=20, stateful_step_count=25, deadline=None))


def test_the_writer_does_not_sleep_while_a_follower_waits_for_its_backlog(bench: Bench) -> None:
    with bench:
        bench.put(1)
        bench.step(2)
        assert bench.spool._writer.patience() > 0
        bench.followers["plant"].rewind(0)
        assert bench.spool._writer.patience() == 0
        bench.step()
        assert bench.spool._writer.patience() > 0


def test_before_the_first_round_no_position_is_written() -> None:
    followers = following.Followers()
    followers.opened({"old": 3}, 9)
    assert followers.changes() == {}
    followers.complete()
    assert followers.changes() == {"old": None}
