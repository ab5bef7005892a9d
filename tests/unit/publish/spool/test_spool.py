"""The spool without threads: ``step`` is called by hand and the test plays the sender."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from edge_runtime.core.errors import BusyError, StorageError
from edge_runtime.publish.contract import catalogue
from edge_runtime.publish.spool import floor, handout, ledger, store
from edge_runtime.publish.spool.limits import Durability, SpoolLimits
from edge_runtime.publish.spool.spool import Spool
from edge_runtime.system.service import ServiceGroup
from tests.fakes.clock import ManualClock
from tests.fakes.faulty_sql import FaultySql
from tests.fakes.results import BOOT, IDENTITY, make_event, make_result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.publish.spool.store import Row

DAY_MS = 86_400_000.0


class Rig:
    """A spool with a clock, a record of what was committed, and helpers that play line and sender."""

    def __init__(self, directory: Path, clock: ManualClock, **options: Any) -> None:
        self.path = directory / "spool.db"
        self.clock = clock
        self.committed: list[tuple[str, int]] = []
        self.spool = Spool(self.path, IDENTITY, BOOT, clock, on_committed=self.committed.extend, **options)
        self.frame = 0

    def open(self) -> Rig:
        self.spool.open()
        return self

    def put(self, count: int = 1, inspection: str = "top", **fields: Any) -> None:
        for _ in range(count):
            self.frame += 1
            self.spool.put(make_result(self.frame, self.clock, inspection=inspection, **fields))

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.spool.step(0.0)

    def put_and_take(self, count: int = 1) -> list[Row]:
        self.put(count)
        self.step(2)
        return self.take()

    def take(self, limit: int = 1000) -> list[Row]:
        """Take everything there is, letting the writer read the backlog in between."""
        rows: list[Row] = []
        while found := self.spool.take(limit):
            rows += found
            self.step()
        return rows

    def events(self, rows: list[Row], kind: str = "") -> list[dict[str, Any]]:
        found = [document for row in rows if (document := self.document(row))["schema"] == "vision.event/1"]
        return [document for document in found if not kind or document["kind"] == kind]

    def document(self, row: Row) -> dict[str, Any]:
        document = json.loads(row.body)
        Draft202012Validator(catalogue.schema(document["schema"].split(".")[1].split("/")[0])).validate(document)
        return dict(document)

    def faulty(self, code: int = sqlite3.SQLITE_IOERR) -> FaultySql:
        found = self.spool._ledger._store
        assert found is not None
        return FaultySql(found, code)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def rig(tmp_path: Path, clock: ManualClock) -> Iterator[Rig]:
    found = Rig(tmp_path, clock).open()
    yield found
    found.spool.close()


def seqs(rows: list[Row], stream: str = "result/top") -> list[int]:
    return [row.seq for row in rows if row.stream == stream]


def test_what_is_put_is_handed_out_after_it_is_committed_with_its_number(rig: Rig) -> None:
    rig.put(3)
    assert rig.spool.take(10) == []
    rig.step()
    rows = rig.spool.take(10)
    assert seqs(rows) == [1, 2, 3]
    assert rig.committed == [("top", 1), ("top", 2), ("top", 3)]
    document = rig.document(rows[0])
    assert (document["seq"], document["bootId"], document["frameId"]) == (1, BOOT, 1)


def test_every_inspection_and_every_event_scope_has_its_own_numbers(rig: Rig) -> None:
    rig.put(2, "a")
    rig.put(1, "b")
    rig.spool.put(make_event(scope="a"))
    rig.step()
    assert [(row.stream, row.seq) for row in rig.take()] == [
        ("result/a", 1),
        ("result/a", 2),
        ("result/b", 1),
        ("event/a", 1),
    ]


def test_numbers_and_the_last_frame_survive_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    first = Rig(tmp_path, clock).open()
    assert first.spool.last_committed("top") is None
    first.put(3)
    first.spool.put(make_event(scope="top"))
    first.step()
    first.spool.close()
    second = Rig(tmp_path, clock).open()
    with closing(second.spool):
        assert second.spool.last_committed("top") == (3, 3)
        second.put(1)
        second.step(2)
        assert seqs(second.take()) == [1, 2, 3, 4]


def test_an_event_stream_has_no_last_frame(rig: Rig) -> None:
    rig.spool._ledger._streams = {"result/x": store.StreamState(1)}
    assert rig.spool.last_committed("x") is None


def test_an_unacknowledged_row_is_handed_out_again_by_the_next_run_and_marked_historical(
    tmp_path: Path, clock: ManualClock
) -> None:
    first = Rig(tmp_path, clock).open()
    rows = first.put_and_take(3)
    assert not first.spool.is_historical(rows[0], 10.0)
    first.spool.acked(rows[:1])
    first.step()
    first.spool.close()
    second = Rig(tmp_path, clock).open()
    with closing(second.spool):
        second.step()
        again = second.take()
        assert seqs(again) == [2, 3]
        assert second.spool.is_historical(again[0], 10.0)


def test_a_row_becomes_historical_by_age(rig: Rig) -> None:
    (row,) = rig.put_and_take()
    rig.clock.advance_ms(10_001)
    assert rig.spool.is_historical(row, 10.0)


def test_acknowledged_rows_are_kept_for_their_time_and_then_pruned(rig: Rig) -> None:
    rows = rig.put_and_take(2)
    rig.spool.acked(rows)
    rig.step()
    stats = rig.spool.stats()
    assert (stats.depth, stats.acked, stats.kept_bytes) == (0, 2, sum(row.size for row in rows))
    rig.clock.advance_ms(599_000)
    rig.step()
    assert rig.spool.stats().kept_bytes > 0
    rig.clock.advance_ms(2_000)
    rig.step()
    assert rig.spool.stats().kept_bytes == 0


def test_kept_rows_of_an_earlier_run_are_pruned_too(tmp_path: Path, clock: ManualClock) -> None:
    first = Rig(tmp_path, clock).open()
    first.spool.acked(first.put_and_take(2))
    first.step()
    first.spool.close()
    second = Rig(tmp_path, clock).open()
    with closing(second.spool):
        assert second.spool.stats().kept_bytes > 0
        clock.advance_ms(601_000)
        second.step()
        assert second.spool.stats().kept_bytes == 0


def test_a_refused_row_becomes_a_dead_letter_with_an_event(rig: Rig) -> None:
    row, other = rig.put_and_take(2)
    rig.spool.refused(row, "not authorized (135)")
    rig.step(2)
    (event,) = rig.events(rig.take())
    assert event["kind"] == "spool.refused"
    assert event["fields"] == {
        "topic": "result/top",
        "from_seq": 1,
        "to_seq": 1,
        "count": 1,
        "reason": "not authorized (135)",
    }
    stats = rig.spool.stats()
    assert (stats.dead, stats.refused) == (1, 1)
    rig.spool.release([other])


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_refused_result_is_declared_or_still_owed_whenever_the_process_ends(
    tmp_path: Path, clock: ManualClock, how: str
) -> None:
    first = Rig(tmp_path, clock).open()
    one, two = first.put_and_take(2)
    first.spool.refused(one, "no")
    first.step()
    first.spool.refused(two, "no")  # within ten seconds of the first event
    if how == "stop":
        first.spool.finish()
    first.step(2)
    first.spool.close()
    second = Rig(tmp_path, clock).open()
    with closing(second.spool):
        second.step()
        rows = second.take()
        fields = [event["fields"] for event in second.events(rows)]
        declared = [seq for found in fields for seq in range(found["from_seq"], found["to_seq"] + 1)]
        assert sorted(declared + seqs(rows)) == [1, 2]
        assert seqs(rows) == ([] if how == "stop" else [2])


def test_a_dead_letter_and_its_event_are_one_transaction(rig: Rig) -> None:
    (row,) = rig.put_and_take()
    rig.spool.refused(row, "no")
    faulty = rig.faulty()
    faulty.arm(5)  # BEGIN, the event in three tables, the dead letter
    rig.step()
    assert faulty.fired
    assert rig.spool.stats().dead == 0
    rig.step(2)
    assert [event["kind"] for event in rig.events(rig.take())] == ["spool.refused"]
    assert rig.spool.stats().dead == 1


def test_dead_letters_are_bounded(tmp_path: Path, clock: ManualClock) -> None:
    rig = Rig(tmp_path, clock, limits=SpoolLimits(dead_rows=2)).open()
    with closing(rig.spool):
        for row in rig.put_and_take(5):
            rig.spool.refused(row, "no")
        rig.step()
        assert rig.spool.stats().dead == 5
        clock.advance_ms(1000)
        rig.step()
        assert rig.spool.stats().dead == 2


def test_a_full_queue_loses_the_newest_counts_it_and_says_so(tmp_path: Path, clock: ManualClock) -> None:
    rig = Rig(tmp_path, clock, limits=SpoolLimits(queue=3)).open()
    with closing(rig.spool):
        rig.put(5)
        assert rig.spool.stats().lost == 2
        rig.step(2)
        rows = rig.take()
        assert seqs(rows) == [1, 2, 3]
        (event,) = rig.events(rows)
        assert (event["kind"], event["fields"]) == ("spool.lost", {"count": 2, "firstFrame": 4, "lastFrame": 5})
        assert rig.committed == [("top", 1), ("top", 2), ("top", 3), ("top", 4), ("top", 5)]  # its fate is declared


def test_a_lost_result_is_in_flight_until_its_loss_is_on_disk(tmp_path: Path, clock: ManualClock) -> None:
    rig = Rig(tmp_path, clock, limits=SpoolLimits(queue=1)).open()
    with closing(rig.spool):
        rig.put(2)
        faulty = rig.faulty()
        faulty.arm(2)
        rig.step()
        assert (faulty.fired, rig.committed) == (1, [])
        rig.step(2)
        assert rig.committed == [("top", 1), ("top", 2)]


@pytest.mark.parametrize("odd", [{"score": float("nan")}, {"part_id": "P-\ud800"}])
def test_a_result_that_is_not_json_is_counted_and_told_and_the_others_pass(rig: Rig, odd: dict[str, Any]) -> None:
    rig.put(1)
    rig.put(1, **odd)
    rig.put(1)
    rig.spool.put(make_event(odd=object()))
    rig.step()
    rows = rig.take()
    assert seqs(rows) == [1, 2]
    assert [event["kind"] for event in rig.events(rows)] == ["spool.unencodable"] * 2
    assert rig.spool.stats().lost == 2
    assert rig.committed == [("top", 1), ("top", 2), ("top", 3)]  # the event is the fate of the second


def test_beyond_its_bytes_the_oldest_results_are_evicted_with_a_declared_gap(
    tmp_path: Path, clock: ManualClock
) -> None:
    rig = Rig(tmp_path, clock, limits=SpoolLimits(max_bytes=20_000)).open()
    with closing(rig.spool):
        rig.put(100)
        rig.step(3)
        stats = rig.spool.stats()
        assert stats.bytes <= 20_000
        rows = rig.take()
        gaps = [event["fields"] for event in rig.events(rows, "spool.gap")]
        assert {gap["policy"] for gap in gaps} == {"max_bytes"}
        assert sum(gap["count"] for gap in gaps) == stats.evicted
        assert sorted(seqs(rows) + [n for g in gaps for n in range(g["from_seq"], g["to_seq"] + 1)]) == [*range(1, 101)]


def test_rows_in_the_senders_hands_are_never_evicted(tmp_path: Path, clock: ManualClock) -> None:
    rig = Rig(tmp_path, clock, limits=SpoolLimits(max_bytes=3_000)).open()
    with closing(rig.spool):
        rig.put(2)
        rig.step()
        held = rig.spool.take(2)
        rig.put(10)
        rig.step(3)
        assert seqs(held) == [1, 2]
        rig.spool.acked(held)
        rig.step()
        assert rig.spool.stats().acked == 2


def test_when_only_events_are_left_the_oldest_of_them_go(tmp_path: Path, clock: ManualClock) -> None:
    rig = Rig(tmp_path, clock, limits=SpoolLimits(max_bytes=10_000)).open()
    with closing(rig.spool):
        for number in range(50):
            rig.spool.put(make_event(number=number))
        rig.step(3)
        assert rig.spool.stats().bytes <= 10_000
        gaps = [event["fields"]["topic"] for event in rig.events(rig.take()) if event["kind"] == "spool.gap"]
        assert set(gaps) == {"event/system"}


def test_a_limit_below_one_event_does_not_spin(tmp_path: Path, clock: ManualClock) -> None:
    rig = Rig(tmp_path, clock, limits=SpoolLimits(max_bytes=1)).open()
    with closing(rig.spool):
        rig.put(3)
        rig.step(5)
        assert rig.spool.stats().evicted >= 3


def test_beyond_its_age_a_row_is_evicted_with_a_declared_gap(tmp_path: Path, clock: ManualClock) -> None:
    rig = Rig(tmp_path, clock, limits=SpoolLimits(max_age_s=3600.0)).open()
    with closing(rig.spool):
        rig.put(2)
        rig.step()
        clock.advance_ms(3_500_000)
        rig.put(1)
        rig.step()
        clock.advance_ms(200_000)
        rig.step(2)
        rows = rig.take()
        assert seqs(rows) == [3]
        (event,) = rig.events(rows)
        assert event["fields"] == {
            "topic": "result/top",
            "from_seq": 1,
            "to_seq": 2,
            "count": 2,
            "policy": "max_age",
        }


@pytest.mark.parametrize(("days", "evicted"), [(29.0, 0), (31.0, 1), (365.0 * 30, 0)])
def test_the_age_of_an_earlier_runs_row_is_by_utc_unless_that_is_absurd(
    tmp_path: Path, clock: ManualClock, days: float, evicted: int
) -> None:
    first = Rig(tmp_path, clock).open()
    first.put(1)
    first.step()
    first.spool.close()
    clock.advance_ms(days * DAY_MS)
    second = Rig(tmp_path, clock).open()
    with closing(second.spool):
        second.step()
        assert second.spool.stats().evicted == evicted


def test_stats_tell_depth_bytes_and_the_age_of_the_oldest(rig: Rig) -> None:
    rig.put(2)
    assert rig.spool.stats().queued == 2
    rig.step()
    rig.clock.advance_ms(5000)
    rig.step()
    stats = rig.spool.stats()
    assert (stats.depth, stats.queued, stats.committed, stats.state) == (2, 0, 2, "ok")
    assert stats.oldest_age_s == pytest.approx(5.0)
    rig.spool.acked(rig.take())
    rig.step()
    assert rig.spool.stats().oldest_age_s == 0.0


def test_the_listener_is_told_when_there_is_something_to_take(rig: Rig) -> None:
    calls: list[int] = []
    rig.spool.set_listener(lambda: calls.append(1))
    rig.put(1)
    rig.step()
    assert calls
    assert set(rig.spool.take_newest()) == {"result/top"}
    assert rig.spool.waiting


def test_a_large_backlog_is_read_back_in_order_while_it_is_taken(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handout, "FRESH_MAX", 10)
    rig = Rig(tmp_path, clock).open()
    with closing(rig.spool):
        rig.put(1000)
        rig.step(6)
        rows: list[Row] = []
        while len(rows) < 1000:
            rows += rig.spool.take(64)
            assert rig.spool._writer.intake.woken or not rig.spool._writer.handout.wanted()
            rig.step()
        assert seqs(rows) == [*range(1, 1001)]


def test_a_sender_that_takes_after_the_end_is_harmless(rig: Rig) -> None:
    rig.put(3)
    rig.step()
    rig.spool._writer.handout.rewind(3, 3)
    rig.spool.close()
    assert rig.spool.take(1) == []
    assert rig.spool.take(1) == []


# --- a disk that refuses


def test_a_transaction_that_fails_at_any_statement_is_repeated_until_it_succeeds(
    tmp_path: Path, clock: ManualClock
) -> None:
    expected = 0
    rig = Rig(tmp_path, clock).open()
    with closing(rig.spool):
        acked: list[Row] = []
        for n in range(1, 12):
            faulty = rig.faulty()
            faulty.arm(n)
            rig.put(2)
            expected += 2
            rig.spool.acked(acked)
            rig.step()
            if faulty.fired:
                stats = rig.spool.stats()
                assert (stats.state, stats.reason) == ("degraded", "storage.io")
                assert rig.spool.take(100) == []
                rig.step()
            faulty.arm(None)
            rig.step(2)
            assert rig.spool.stats().state == "ok"
            acked = rig.take()
            assert seqs(acked) == [expected - 1, expected]
        assert rig.spool.stats().committed == expected


@pytest.mark.parametrize("durability", Durability)
def test_a_commit_that_failed_and_is_there_all_the_same_is_not_repeated(
    tmp_path: Path, clock: ManualClock, durability: Durability
) -> None:
    """Only its sync failed: the log is whole when it is read again (in ``strict`` the same result had two numbers)."""
    rig = Rig(tmp_path, clock, durability=durability).open()
    with closing(rig.spool):
        first = rig.put_and_take(2)
        rig.spool.acked(first[:1])
        rig.spool.refused(first[1], "no")
        rig.put(1)
        rig.faulty().arm_late()
        rig.step()
        assert rig.spool.stats().state == "degraded"
        rig.step(2)
        rows = rig.take()
        assert [(row.seq, rig.document(row)["frameId"]) for row in rows if row.stream == "result/top"] == [(3, 3)]
        assert [event["kind"] for event in rig.events(rows)] == ["spool.refused"]
        stats = rig.spool.stats()
        assert (stats.state, stats.depth, stats.committed, stats.acked, stats.dead) == ("ok", 2, 4, 1, 1)
        assert stats.kept_bytes == first[0].size
        assert rig.committed == [("top", 1), ("top", 2), ("top", 3)]
        assert rig.spool._writer.handout.owned == 2


def test_answers_that_were_written_although_the_commit_failed_count_once(rig: Rig) -> None:
    rig.spool.acked(rig.put_and_take(3))
    rig.faulty().arm_late()
    rig.step(3)
    stats = rig.spool.stats()
    assert (stats.state, stats.depth, stats.bytes, stats.acked) == ("ok", 0, 0, 3)


def test_whether_a_failed_commit_is_there_is_asked_until_the_disk_answers(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.put(1)
    rig.faulty().arm_late()
    rig.step()
    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "owes", lambda *_: (_ for _ in ()).throw(StorageError("storage.io", "no")))
        rig.step(2)
        assert rig.spool.stats().state == "degraded"
    rig.step(2)
    assert seqs(rig.take()) == [1]


def test_a_disk_that_refuses_while_the_backlog_is_read_loses_nothing(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handout, "FRESH_MAX", 10)
    rig = Rig(tmp_path, clock).open()
    with closing(rig.spool):
        rig.put(100)
        rig.step()
        for n in range(1, 8):
            faulty = rig.faulty()
            clock.advance_ms(1000)  # tidying is due too
            faulty.arm(n)
            rig.step(3)
            faulty.arm(None)
        assert seqs(rig.take()) == [*range(1, 101)]


def test_an_idle_spool_heals_by_writing_something_small(rig: Rig) -> None:
    faulty = rig.faulty()
    rig.clock.advance_ms(1000)
    faulty.arm(1)
    rig.step()
    assert rig.spool.stats().state == "degraded"
    faulty.arm(None)
    rig.step()
    assert rig.spool.stats().state == "ok"


def test_a_full_disk_first_gives_up_what_is_only_kept(rig: Rig) -> None:
    rig.spool.acked(rig.put_and_take(3))
    rig.step()
    assert rig.spool.stats().kept_bytes > 0
    rig.faulty(sqlite3.SQLITE_FULL).arm(1)
    rig.put(1)
    rig.step()
    stats = rig.spool.stats()
    assert (stats.state, stats.kept_bytes, stats.committed) == ("ok", 0, 4)
    assert seqs(rig.take()) == [4]


def test_a_disk_that_stays_full_keeps_results_in_memory_and_recovers_alone(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, clock, limits=SpoolLimits(queue=5)).open()
    with closing(rig.spool), monkeypatch.context() as patch:
        real = store.Store.commit

        def full(_self: Any, _changes: Any) -> None:
            raise StorageError("storage.full", "disk full")

        patch.setattr(store.Store, "commit", full)
        rig.put(2)
        rig.step(3)
        rig.put(7)
        stats = rig.spool.stats()
        assert (stats.state, stats.reason, stats.lost, stats.queued) == ("degraded", "storage.full", 2, 7)
        assert rig.spool.take(10) == []
        patch.setattr(store.Store, "commit", real)
        rig.step(3)
        rows = rig.take()
        assert seqs(rows) == [*range(1, 8)]
        assert [event["kind"] for event in rig.events(rows)] == ["spool.lost"]


def test_a_flush_that_fails_stops_the_handing_out_until_everything_is_durable(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.put(1)
    rig.step()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda _fd: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        rig.spool._writer.syncer._flush()
        stats = rig.spool.stats()
        assert (stats.state, stats.reason) == ("degraded", "storage.io")
    with monkeypatch.context() as patch:
        patch.setattr(
            store.Store, "checkpoint", lambda _self: (_ for _ in ()).throw(StorageError("storage.io", "still broken"))
        )
        rig.put(1)
        rig.step()
        assert rig.spool.stats().committed == 1
    rig.step(2)
    stats = rig.spool.stats()
    assert (stats.state, stats.committed) == ("ok", 2)
    rig.spool._writer.syncer._flush()
    assert rig.spool.stats().state == "ok"


def test_a_floor_that_cannot_be_written_degrades_but_does_not_stop(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.put(1)
    rig.step()
    rig.spool._writer.syncer._flush()
    rig.spool.put(make_event())  # a new stream needs a floor
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _fd: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
        rig.step()
        rig.spool._writer.syncer._flush()
    assert rig.spool.stats().reason == "storage.read_only"
    assert seqs(rig.take()) == [1]
    rig.spool._writer.syncer._flush()
    assert rig.spool.stats().state == "ok"


def test_a_flush_that_succeeds_after_one_that_failed_proves_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.open().put()
    rig.step()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda _fd: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        rig.spool._writer.syncer._flush()
    rig.spool._writer.syncer._flush()  # the disk tells an error once
    assert rig.spool.stats().state == "degraded"
    rig.step()  # the checkpoint
    assert rig.spool.stats().state == "ok"


def test_a_strict_spool_leaves_the_flush_to_the_commit(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, clock, durability=Durability.STRICT).open()
    with closing(rig.spool):
        monkeypatch.setattr(os, "fdatasync", lambda _fd: pytest.fail("flushed twice"))
        rig.put(1)
        rig.step()
        rig.spool._writer.syncer._flush()


# --- opening


def test_a_second_spool_on_the_same_file_is_refused(tmp_path: Path, rig: Rig) -> None:
    with pytest.raises(BusyError, match="held by process"):
        Rig(tmp_path, rig.clock).open()


def test_a_spool_whose_directory_appears_later_starts_by_itself(tmp_path: Path, clock: ManualClock) -> None:
    rig = Rig(tmp_path / "later", clock).open()
    with closing(rig.spool):
        rig.put(2)
        rig.step()
        assert rig.spool.stats().state == "degraded"
        (tmp_path / "later").mkdir()
        rig.step(2)
        assert rig.spool.stats().state == "ok"
        assert seqs(rig.take()) == [1, 2]


def test_a_file_that_another_program_has_open_is_waited_for(tmp_path: Path, clock: ManualClock) -> None:
    Rig(tmp_path, clock).open().spool.close()
    intruder = sqlite3.connect(tmp_path / "spool.db")
    with closing(intruder):
        intruder.execute("PRAGMA locking_mode = EXCLUSIVE")
        intruder.execute("BEGIN EXCLUSIVE")
        rig = Rig(tmp_path, clock).open()
        assert rig.spool.stats().reason == "storage.locked"
    with closing(rig.spool):
        rig.put(1)
        rig.step(2)
        assert rig.spool.stats().state == "ok"


def test_a_damaged_file_is_moved_aside_told_and_the_numbers_go_on_above_the_floor(
    tmp_path: Path, clock: ManualClock
) -> None:
    first = Rig(tmp_path, clock).open()
    first.put(3)
    first.step()
    first.spool._writer.syncer._flush()
    first.spool.close()
    first.path.write_bytes(b"garbage" * 1000)
    second = Rig(tmp_path, clock).open()
    with closing(second.spool):
        assert second.spool.stats().state == "ok"
        second.put(1)
        second.step(2)
        rows = second.take()
        assert seqs(rows) == [3 + floor.BLOCK + 1]
        told = {event["kind"]: event["fields"] for event in second.events(rows)}
        assert told["spool.quarantined"]["file"] == "spool.db"
        kept_as = tmp_path / told["spool.quarantined"]["kept_as"]
        assert kept_as.read_bytes().startswith(b"garbage")
        assert told["spool.gap"] == {
            "topic": "result/top",
            "from_seq": 1,
            "to_seq": 3 + floor.BLOCK,
            "count": None,
            "policy": "spool_file_lost",
        }
    third = Rig(tmp_path, clock).open()
    with closing(third.spool):
        assert third.spool.last_committed("top") == (3 + floor.BLOCK + 1, 1)


def test_a_damaged_side_file_is_moved_aside_and_told(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "spool.db.seq").write_text("garbage")
    rig = Rig(tmp_path, clock).open()
    with closing(rig.spool):
        rig.step(2)
        (event,) = rig.events(rig.take())
        assert event["fields"]["file"] == "spool.db.seq"


def test_after_a_power_cut_the_numbers_go_on_above_those_that_may_have_been_sent(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A result is sent a few milliseconds before it is durable."""
    (tmp_path / "memory").mkdir()
    first = Rig(tmp_path / "memory", clock, kernel_boot="boot-1").open()
    first.put(3)
    first.step()
    first.spool._writer.syncer._flush()
    shutil.copytree(tmp_path / "memory", tmp_path / "disk")
    assert seqs(first.put_and_take(2)) == [1, 2, 3, 4, 5]
    first.spool.close()
    second = Rig(tmp_path / "disk", clock, kernel_boot="boot-2").open()
    with closing(second.spool):
        assert second.spool.last_committed("top") == (3 + floor.BLOCK, 3)
        second.put(1)
        second.step(2)
        rows = second.take()
        assert seqs(rows) == [1, 2, 3, 3 + floor.BLOCK + 1]
        (gap,) = [event["fields"] for event in second.events(rows)]
        assert gap == {
            "topic": "result/top",
            "from_seq": 4,
            "to_seq": 3 + floor.BLOCK,
            "count": None,
            "policy": "power_cut",
        }


def test_the_power_may_fail_before_the_first_flush_of_a_new_spool(tmp_path: Path, clock: ManualClock) -> None:
    """What was handed out by then is not on the disk, and its numbers stand for it all the same."""
    first = Rig(tmp_path, clock, kernel_boot="kernel-1").open()
    assert seqs(first.put_and_take(3)) == [1, 2, 3]
    first.spool._ledger.close()
    first.spool._writer.lock.release()
    first.path.unlink()
    second = Rig(tmp_path, clock, kernel_boot="kernel-2").open()
    with closing(second.spool):
        second.put(1)
        second.step(2)
        assert min(seqs(second.take())) > 3


def test_a_strict_spool_has_nothing_to_skip_after_a_power_cut(tmp_path: Path, clock: ManualClock) -> None:
    options: dict[str, Any] = {"durability": Durability.STRICT}
    (tmp_path / "memory").mkdir()
    first = Rig(tmp_path / "memory", clock, kernel_boot="boot-1", **options).open()
    first.put(3)
    first.step()
    first.spool._writer.syncer._flush()
    shutil.copytree(tmp_path / "memory", tmp_path / "disk")
    first.spool.close()
    second = Rig(tmp_path / "disk", clock, kernel_boot="boot-2", **options).open()
    with closing(second.spool):
        second.put(1)
        second.step(2)
        assert seqs(second.take()) == [1, 2, 3, 4]


@pytest.mark.parametrize(("end", "kernel_boot"), [("close", "boot-2"), ("kill", "boot-1")])
def test_neither_a_clean_stop_nor_a_killed_process_skips_numbers(
    tmp_path: Path, clock: ManualClock, end: str, kernel_boot: str
) -> None:
    first = Rig(tmp_path, clock, kernel_boot="boot-1").open()
    first.put(1)
    first.step()
    first.spool._writer.syncer._flush()
    if end == "kill":
        first.spool._writer.syncer.sync_failed = True  # the mark stays, as after a kill
    first.spool.close()
    second = Rig(tmp_path, clock, kernel_boot=kernel_boot).open()
    with closing(second.spool):
        second.put(1)
        second.step(2)
        assert seqs(second.take()) == [1, 2]


def test_a_disk_that_refuses_at_the_end_is_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig.put(1)
    rig.step()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda _fd: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        rig.spool.close()
    assert "without knowing what is on the disk" in caplog.text


def test_a_file_is_called_damaged_at_the_start_only_when_it_looks_so_twice(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Rig(tmp_path, clock).open()
    first.put(3)
    first.step()
    first.spool.close()
    real, looks = store.Store.found, []

    def unreadable_once(self: store.Store) -> store.Found:
        looks.append(self)
        if len(looks) == 1:
            raise StorageError("storage.corrupt", "database disk image is malformed")
        return real(self)

    monkeypatch.setattr(store.Store, "found", unreadable_once)
    second = Rig(tmp_path, clock).open()
    with closing(second.spool):
        second.step(2)
        assert seqs(second.take()) == [1, 2, 3]
        assert [path.name for path in tmp_path.glob("*.corrupt-*")] == []


def damage_twice(rig: Rig) -> None:
    """Have SQLite call the file damaged, which passes, and once more."""
    for _ in range(2):
        rig.faulty(sqlite3.SQLITE_CORRUPT).arm(1)
        rig.put(1)
        rig.step()
        assert rig.spool.stats().reason == "storage.corrupt"
        if rig.spool._writer._damages == 0:
            rig.step(2)
            assert rig.spool.stats().state == "ok"


def test_a_file_that_could_not_be_read_once_is_not_taken_for_a_damaged_one(rig: Rig) -> None:
    """SQLite says "malformed" of a page that the disk did not return (EIO), too."""
    held = rig.put_and_take(2)
    rig.faulty(sqlite3.SQLITE_CORRUPT).arm(1)
    rig.put(1)
    rig.step()
    assert rig.spool.stats().reason == "storage.corrupt"
    rig.spool.acked(held)
    rig.step(2)
    assert rig.spool.stats().state == "ok"
    assert seqs(rig.take()) == [3]
    assert [path.name for path in rig.path.parent.glob("*.corrupt-*")] == []


def test_damage_found_while_running_starts_a_fresh_file_with_the_same_numbers(rig: Rig) -> None:
    held = rig.put_and_take(2)
    rig.put(1)
    rig.step()
    damage_twice(rig)
    assert rig.spool.stats().reason == "storage.corrupt"
    rig.spool.acked(held)  # answers for rows of the old file change nothing in the new one
    rig.step(3)
    rows = rig.take()
    assert seqs(rows) == [5]
    told = {event["kind"]: event["fields"] for event in rig.events(rows)}
    assert told["spool.gap"]["to_seq"] == 4
    assert "spool.quarantined" in told
    assert rig.spool.stats().depth == len(rows)


def test_damage_with_nothing_owed_declares_no_gap(rig: Rig) -> None:
    rig.spool.acked(rig.put_and_take(2))
    rig.step()
    rig.faulty(sqlite3.SQLITE_CORRUPT).arm(1)
    rig.put(1)
    rig.step(2)
    rig.spool.acked(rig.take())
    rig.step()
    rig.faulty(sqlite3.SQLITE_CORRUPT).arm(1)
    rig.put(1)
    rig.step(3)
    rows = rig.take()
    assert seqs(rows) == [4]
    assert [event["kind"] for event in rig.events(rows)] == ["spool.quarantined"]


def test_a_damaged_file_that_cannot_be_moved_is_tried_again(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spool.db").write_bytes(b"garbage" * 1000)
    with monkeypatch.context() as patch:
        patch.setattr(ledger.files, "move_aside", lambda *_: (_ for _ in ()).throw(StorageError("storage.io", "no")))
        rig = Rig(tmp_path, clock).open()
        rig.step()
        assert rig.spool.stats().state == "degraded"
    with closing(rig.spool):
        rig.step(2)
        assert rig.spool.stats().state == "ok"


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path, clock: ManualClock) -> None:
    with closing(sqlite3.connect(tmp_path / "spool.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    rig = Rig(tmp_path, clock).open()
    with closing(rig.spool):
        assert rig.spool.stats().reason == "storage.newer"
        assert "run the newer version" in (rig.spool.stats().detail or "")


def test_a_file_that_opens_but_cannot_be_read_is_tried_again(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "found", lambda _self: (_ for _ in ()).throw(StorageError("storage.io", "no")))
        rig = Rig(tmp_path, clock).open()
        assert rig.spool.stats().reason == "storage.io"
    with closing(rig.spool):
        rig.step()
        assert rig.spool.stats().state == "ok"


def test_work_on_a_ledger_that_is_not_open_is_a_storage_error(rig: Rig) -> None:
    rig.spool._ledger.close()
    rig.spool._ledger.sync()
    with pytest.raises(StorageError, match="not open"):
        rig.spool._ledger.checkpoint()


# --- as a service


def test_a_stop_commits_everything_that_was_put_before(tmp_path: Path) -> None:
    clock = ManualClock()
    rig = Rig(tmp_path, clock)
    with ServiceGroup() as group:
        group.start(rig.spool)
        rig.put(1000)
        rig.spool.finish()
    assert rig.spool.drained
    again = Rig(tmp_path, clock).open()
    with closing(again.spool):
        assert again.spool.last_committed("top") == (1000, 1000)


def test_a_refusal_that_is_put_while_the_spool_ends_is_still_written(rig: Rig) -> None:
    with ServiceGroup() as group:
        group.start(rig.spool)
        rig.spool.finish()
        while not rig.spool.drained:
            group.wait(0.005)
        rig.spool.put(make_event("command.refused"))
    assert rig.spool.stats().lost == 0
    again = Rig(rig.path.parent, rig.clock).open()
    with closing(again.spool):
        again.step()
        assert [event["kind"] for event in again.events(again.take())] == ["command.refused"]


def test_what_is_lost_at_the_very_end_is_told_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A queue that was full within a second of the last event about it, and puts after the promise of no more."""
    clock = ManualClock()
    rig = Rig(tmp_path, clock, limits=SpoolLimits(queue=2)).open()
    rig.put(3)
    rig.step()
    rig.put(3)
    with ServiceGroup() as group:
        rig.spool.finish()
        rig.put(1)
        group.start(rig.spool)
    again = Rig(tmp_path, clock).open()
    with closing(again.spool):
        again.step()
        told = [event["fields"]["lastFrame"] for event in again.events(again.take())]
        assert told == [3, 7]
    assert caplog.text == ""
    rig.put(1)  # too late for a word: counted
    assert rig.spool.stats().lost == 4
    rig.spool.close()
    assert "1 documents that never reached the disk" in caplog.text


def test_the_writer_waits_for_the_answers_of_the_sender_at_the_end(rig: Rig) -> None:
    with ServiceGroup() as group:
        group.start(rig.spool)
        rig.put(1)
        rows: list[Row] = []
        while not rows:
            rows = rig.spool.take(1)
            group.wait(0.005)
        rig.spool.finish()
        group.stop.set()
        rig.spool.acked(rows)
    assert rig.spool.stats().acked == 1
    again = Rig(rig.path.parent, rig.clock).open()
    with closing(again.spool):
        assert again.spool.stats().depth == 0


def test_the_writer_waits_for_a_sender_that_has_yet_to_take_something(rig: Rig) -> None:
    rig.spool.set_listener(lambda: None)
    with ServiceGroup() as group:
        group.start(rig.spool)
        rig.put(1)
        rig.spool.finish()
        group.stop.set()
        while not rig.spool.drained:
            threading.Event().wait(0.005)
        rig.spool.acked(rig.spool.take(1))
        rig.spool.set_listener(None)
    assert (rig.spool.stats().depth, rig.spool.stats().acked) == (0, 1)


def test_a_line_that_never_says_it_is_done_cannot_hold_the_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses for good, nobody calls finish: the writer ends within its bound and says what is lost."""
    from edge_runtime.system.clock import SystemClock

    spool = Spool(tmp_path / "spool.db", IDENTITY, BOOT, SystemClock())
    spool.open()
    monkeypatch.setattr(
        store.Store, "commit", lambda *_: (_ for _ in ()).throw(StorageError("storage.io", "broken disk"))
    )
    with ServiceGroup() as group:
        group.start(spool)
        spool.put(make_result(1))
        group.wait(0.3)
    assert "1 documents that never reached the disk" in caplog.text
    assert "results wait in memory" in caplog.text


def test_a_failed_flusher_ends_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path, ManualClock()).open()
    monkeypatch.setattr(rig.spool._ledger, "sync", lambda: (_ for _ in ()).throw(RuntimeError("a bug")))
    group = ServiceGroup()
    group.start(rig.spool)
    rig.put(1)
    assert group.wait(10.0)
    with pytest.raises(ExceptionGroup) as caught, group:
        pass
    assert caught.group_contains(RuntimeError, match="a bug", depth=2)


def test_a_finished_spool_waits_quietly_for_the_stop(rig: Rig) -> None:
    with ServiceGroup() as group:
        group.start(rig.spool)
        rig.put(1)
        rig.spool.finish()
        while not rig.spool.drained:
            group.wait(0.005)
        assert not group.wait(0.1)
    assert rig.spool.stats().committed == 1
