from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import BusyError, StorageError
from edge_runtime.publish.spool import store as module
from edge_runtime.publish.spool.store import LAYOUT, Changes, Row, Store, StreamState
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
    assert store.kept() == [(1, row(1).size)]
    assert store.oldest_utc_ns() == 102
    store.commit(Changes(removed=[1, 2]))
    assert store.kept() == []
    assert store.oldest_utc_ns() is None


def test_a_refused_row_moves_to_the_dead_letters_with_its_reason(path: Path, store: Store) -> None:
    store.commit(Changes(rows=[row(1), row(2)]))
    store.commit(Changes(dead=[(1, "not authorized (135)"), (99, "unknown rows are ignored")]))
    found = store.found()
    assert (found.dead, found.pending, found.last_id) == (1, 1, 2)
    assert store.kept() == []
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id, reason FROM dead").fetchall() == [(1, "not authorized (135)")]


def test_dead_letters_are_bounded_and_the_oldest_go(store: Store) -> None:
    store.commit(Changes(rows=[row(i) for i in range(1, 6)]))
    store.commit(Changes(dead=[(i, "no") for i in range(1, 6)]))
    assert store.trim_dead(2) == 3
    assert store.trim_dead(2) == 0
    assert store.found().dead == 2


def test_the_oldest_owed_rows_can_be_asked_for_by_kind(store: Store) -> None:
    store.commit(Changes(rows=[row(1, "event/system"), row(2), row(3)]))
    assert [owed.id for owed in store.oldest_pending(2, "%")] == [1, 2]
    assert [owed.id for owed in store.oldest_pending(9, "result/%")] == [2, 3]
    owed = store.oldest_pending(1, "result/%")[0]
    assert (owed.stream, owed.seq, owed.utc_ns, owed.mono_ns, owed.size) == ("result/top", 2, 102, 202, row(2).size)


def test_a_transaction_that_fails_at_any_statement_leaves_nothing(store: Store) -> None:
    store.commit(Changes(rows=[row(1), row(2), row(3)]))
    before = (store.found(), store.kept())
    changes = Changes(rows=[row(4)], streams={"result/top": StreamState(4)}, acked=[1], dead=[(2, "no")], removed=[3])
    faulty = FaultySql(store)
    for n in range(1, 9):  # BEGIN, rows, pending, streams, dead, two deletes, COMMIT
        faulty.arm(n)
        with pytest.raises(StorageError, match="disk I/O error") as caught:
            store.commit(changes)
        assert caught.value.code == "storage.io"
        assert (store.found(), store.kept()) == before
    faulty.arm(9)
    store.commit(changes)
    faulty.arm(None)
    assert store.found().pending == 1
    assert store.kept() == [(1, row(1).size)]


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
    monkeypatch.setattr(module, "CHECK_BYTES_MAX", path.stat().st_size - 1)
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
