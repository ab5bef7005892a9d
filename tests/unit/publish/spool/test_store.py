from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import BusyError, StorageError
from edge_runtime.publish.spool import layout
from edge_runtime.publish.spool.layout import LAYOUT
from edge_runtime.publish.spool.store import Changes, Row, Store, StreamState
from tests.fakes.faulty_sql import FaultySql

if TYPE_CHECKING:
    from collections.abc import Iterator


def row(row_id: int, stream: str = "result/top") -> Row:
    return Row(row_id, stream, row_id, 100 + row_id, 200 + row_id, (("id", "x"), ("ts", "y")), b'{"a":1}')


def opened(path: Path, *, strict: bool = False) -> Store:
    return Store.open(path, strict=strict, check=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(opened(path)) as found:
        yield found


def test_what_is_committed_is_found_again(path: Path) -> None:
    with closing(opened(path)) as store:
        store.commit(Changes(rows=[row(1), row(2)], streams={"result/top": StreamState(2, 7)}))
    with closing(opened(path)) as store:
        found = store.found()
        assert (found.last_id, found.pending, found.pending_bytes) == (2, 2, 2 * row(1).size)
        assert found.streams == {"result/top": StreamState(2, 7)}
        assert found.oldest_utc_ns == 101
        assert store.read_pending(0, 2, 10) == [row(1), row(2)]


def test_the_backlog_is_read_in_ranges(store: Store) -> None:
    store.commit(Changes(rows=[row(i) for i in range(1, 6)]))
    assert [r.id for r in store.read_pending(1, 4, 10)] == [2, 3, 4]
    assert [r.id for r in store.read_pending(0, 5, 2)] == [1, 2]


def test_an_acknowledged_row_is_kept_and_no_longer_owed(store: Store) -> None:
    store.commit(Changes(rows=[row(1), row(2)]))
    store.commit(Changes(acked=[1]))
    assert [r.id for r in store.read_pending(0, 9, 9)] == [2]
    assert [(r.id, r.size) for r in store.kept(9)] == [(1, row(1).size)]
    assert store.oldest_utc_ns() == 102
    store.commit(Changes(removed=[1, 2]))
    assert store.kept(9) == []
    assert store.oldest_utc_ns() is None


def test_a_refused_row_moves_to_the_dead_letters_with_its_reason(path: Path, store: Store) -> None:
    store.commit(Changes(rows=[row(1), row(2)]))
    store.commit(Changes(dead=[(1, "not authorized (135)"), (99, "unknown rows are ignored")]))
    found = store.found()
    assert (found.dead, found.pending, found.last_id) == (1, 1, 2)
    assert store.kept(9) == []
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id, reason FROM dead").fetchall() == [(1, "not authorized (135)")]


def test_the_oldest_dead_letters_beyond_a_number_are_found(store: Store) -> None:
    store.commit(Changes(rows=[row(i) for i in range(1, 6)]))
    store.commit(Changes(dead=[(i, "no") for i in range(1, 6)]))
    assert [r.id for r in store.dead_beyond(2, 9)] == [1, 2, 3]
    assert [r.id for r in store.dead_beyond(2, 2)] == [1, 2]
    assert store.dead_beyond(5, 9) == []


def test_the_oldest_owed_rows_can_be_asked_for_by_kind(store: Store) -> None:
    store.commit(Changes(rows=[row(1, "event/system"), row(2), row(3)]))
    assert [owed.id for owed in store.owed((0, 2), 2)] == [1, 2]
    assert [owed.id for owed in store.owed((0, 1), 9)] == [2, 3]
    assert [owed.id for owed in store.owed((0, 1), 9, newest=True)] == [3, 2]
    assert [owed.id for owed in store.owed((0, 2), 9, after=2)] == [3]
    owed = store.owed((0, 1), 1)[0]
    assert (owed.stream, owed.seq, owed.utc_ns, owed.mono_ns, owed.size) == ("result/top", 2, 102, 202, row(2).size)


def test_a_transaction_that_fails_at_any_statement_leaves_nothing(store: Store) -> None:
    store.commit(Changes(rows=[row(1), row(2), row(3)]))
    before = (store.found(), store.kept(9))
    changes = Changes(
        rows=[row(4)],
        streams={"result/top": StreamState(4)},
        acked=[1],
        dead=[(2, "no")],
        removed=[3],
        positions={"f": 3},
    )
    faulty = FaultySql(store)
    for n in range(1, 13):  # BEGIN, rows, pending, streams, kept, dead, four deletes, a position, COMMIT
        faulty.arm(n)
        with pytest.raises(StorageError, match="disk I/O error") as caught:
            store.commit(changes)
        assert caught.value.code == "storage.io"
        assert (store.found(), store.kept(9)) == before
    faulty.arm(13)
    store.commit(changes)
    faulty.arm(None)
    assert store.found().pending == 1
    assert [(r.id, r.size) for r in store.kept(9)] == [(1, row(1).size)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_FULL, "storage.full"),
        (sqlite3.SQLITE_IOERR_FSYNC, "storage.io"),
        (sqlite3.SQLITE_READONLY, "storage.read_only"),
        (sqlite3.SQLITE_CORRUPT, "storage.corrupt"),
        (sqlite3.SQLITE_NOTADB, "storage.corrupt"),
        (sqlite3.SQLITE_LOCKED, "storage.locked"),
    ],
)
def test_every_error_of_sqlite_has_a_code_and_a_way_out(store: Store, code: int, expected: str) -> None:
    FaultySql(store, code).arm(1)
    with pytest.raises((StorageError, BusyError)) as caught:
        store.commit(Changes())
    error = caught.value
    assert isinstance(error, (StorageError, BusyError))
    assert error.code == expected
    assert error.help


def test_an_error_without_a_code_is_an_error_of_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_oldest", lambda: (_ for _ in ()).throw(sqlite3.ProgrammingError("closed")))
    with pytest.raises(StorageError, match="closed"):
        store.oldest_utc_ns()


def test_a_second_process_is_kept_out(path: Path, store: Store) -> None:
    store.commit(Changes(rows=[row(1)]))
    with pytest.raises(BusyError, match="open in another process"):
        opened(path)


def test_a_newer_layout_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {LAYOUT + 1}")
    with pytest.raises(StorageError, match="run the newer version") as caught:
        opened(path)
    assert caught.value.code == "storage.newer"


def garbage(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 1000)


def torn_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)


def missing_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE stream")


@pytest.mark.parametrize("damage", [garbage, torn_page, missing_table])
def test_a_damaged_file_is_recognised(path: Path, damage: Any) -> None:
    with closing(opened(path)) as store:
        store.commit(Changes(rows=[row(i) for i in range(1, 500)]))
    damage(path)
    with pytest.raises(StorageError) as caught, closing(opened(path)) as store:
        store.found()
    assert caught.value.code == "storage.corrupt"


def test_a_large_file_is_opened_without_a_check(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check reads the whole file and cannot be interrupted; damage is found when it is read."""
    with closing(opened(path)) as store:
        store.commit(Changes(rows=[row(i) for i in range(1, 500)]))
    with path.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xff" * 4096)
    with pytest.raises(StorageError):
        opened(path).close()
    monkeypatch.setattr(layout, "CHECK_BYTES_MAX", path.stat().st_size - 1)
    with closing(opened(path)) as store, pytest.raises(StorageError, match="malformed"):
        store.read_pending(0, 500, 500)


def test_a_sync_flushes_the_log_until_the_store_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    with closing(opened(path)) as store:
        store.commit(Changes(rows=[row(1)]))
        store.sync()
        store.sync()
        assert synced == [f"{path}-wal"] * 2
        store.close()
        store.sync()
        assert len(synced) == 2


def test_a_sync_that_fails_is_a_storage_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    store.commit(Changes(rows=[row(1)]))
    with pytest.raises(StorageError, match="cannot sync"):
        store.sync()


@pytest.mark.parametrize(("strict", "level"), [(False, 1), (True, 2)])
def test_a_strict_store_syncs_in_every_commit(path: Path, *, strict: bool, level: int) -> None:
    with closing(opened(path, strict=strict)) as store:
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_pages_that_are_no_longer_used_go_back_to_the_file_system(path: Path) -> None:
    with closing(opened(path)) as store:
        store.commit(Changes(rows=[row(i) for i in range(1, 5000)]))
        store.checkpoint()
        large = path.stat().st_size
        store.commit(Changes(removed=list(range(1, 5000))))
        store.shrink(10_000)
        store.checkpoint()
        assert path.stat().st_size < large / 2


def test_a_probe_writes_without_changing_anything(store: Store) -> None:
    store.commit(Changes(rows=[row(1)]))
    before = store.found()
    store.probe()
    assert store.found() == before


def test_a_store_in_a_missing_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="give the daemon's user") as caught:
        opened(tmp_path / "absent" / "spool.db")
    assert caught.value.code == "storage.io"


LAYOUT_1 = Path(__file__).parents[3] / "assets" / "spool" / "layout-1.db"


def test_a_file_of_layout_1_becomes_one_of_this_layout_with_everything_in_it(path: Path) -> None:
    """It was written by the version before: 12 results and 3 events, 4 acknowledged, 2 refused."""
    shutil.copy(LAYOUT_1, path)
    with closing(opened(path)) as store:
        found = store.found()
        assert (found.last_id, found.pending, found.kept, found.dead, found.again) == (15, 9, 4, 2, 0)
        assert (found.pending_bytes, found.positions) == (9482, {})
        assert found.streams["result/top"] == StreamState(12, 12)
        assert [r.id for r in store.read_pending(0, 99, 99)] == [*range(7, 16)]
        assert [r.id for r in store.kept(9)] == [1, 2, 3, 4]
        assert [r.seq for r in store.refused(0, 9, stream=None, reason="not authorized (135)")] == [5]
        assert [r.id for r in store.owed((0, 0), 9)] == [7, 9, 11]  # OK
        assert [r.id for r in store.owed((2, 2), 9)] == [13, 14, 15]  # events
        assert [p.state for p in store.places("result/top", 1, 12)] == ["kept"] * 4 + ["dead"] * 2 + ["owed"] * 6
    with closing(opened(path)) as store:
        assert store.found().pending == 9


def test_an_upgrade_that_fails_anywhere_leaves_the_old_file(path: Path) -> None:
    """The process is killed, or the disk refuses, at each statement of it."""
    shutil.copy(LAYOUT_1, path)
    before = contents(path)
    statements = [part for part in layout._FROM_1.split(";") if part.strip()]
    for n in range(1, len(statements) + 1):
        broken = ";".join([*statements[:n], "INSERT INTO nowhere VALUES(1);"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layout, "_FROM_1", broken)
            with pytest.raises(StorageError):
                opened(path)
        assert contents(path) == before
    with closing(opened(path)) as store:
        assert store.found().pending == 9


def contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump(), str(connection.execute("PRAGMA user_version").fetchone())]


def test_rows_that_are_kept_or_refused_can_be_made_owed_again(store: Store) -> None:
    store.commit(Changes(rows=[row(i) for i in range(1, 5)]))
    store.commit(Changes(acked=[1, 2], dead=[(3, "no")], at_s=7))
    assert [(p.id, p.state, p.size) for p in store.places("result/top", 2, 9)] == [
        (2, "kept", row(2).size),
        (3, "dead", row(3).size),
        (4, "owed", 0),
    ]
    store.revive([1, 2], "kept")
    store.revive([3, 99], "dead")
    assert [(r.id, r.again) for r in store.read_pending(0, 9, 9, again=True)] == [(1, True), (2, True), (3, True)]
    assert [r.id for r in store.read_pending(0, 9, 9)] == [4]
    found = store.found()
    assert (found.pending, found.again, found.kept, found.dead) == (4, 3, 0, 0)
    assert [r.id for r in store.owed((0, 2), 9, again=False)] == [4]


def test_dead_letters_are_found_by_stream_and_reason(store: Store) -> None:
    store.commit(Changes(rows=[row(1), row(2), row(3, "result/b")]))
    store.commit(Changes(dead=[(1, "no"), (2, "too large"), (3, "no")]))
    assert [r.id for r in store.refused(0, 9, stream=None, reason=None)] == [1, 2, 3]
    assert [r.id for r in store.refused(1, 1, stream=None, reason="no")] == [3]
    assert [r.id for r in store.refused(0, 9, stream="result/top", reason="no")] == [1]
    assert store.reasons() == {"no": 2, "too large": 1}


def test_results_are_read_in_any_state_and_events_are_not(store: Store) -> None:
    store.commit(Changes(rows=[row(1), row(2, "event/system"), row(3), row(4)]))
    store.commit(Changes(acked=[1], dead=[(3, "no")]))
    assert [r.id for r in store.read_results(0, 9, 9)] == [1, 3, 4]
    assert [r.id for r in store.read_results(1, 4, 1)] == [3]
    assert store.count(1, 9) == 3


def test_a_position_counts_as_an_id(path: Path) -> None:
    with closing(opened(path)) as store:
        store.commit(Changes(rows=[row(1)], positions={"plant": 77, "old": 3}))
        store.commit(Changes(positions={"old": None}))
        found = store.found()
        assert (found.last_id, found.positions) == (77, {"plant": 77})
