"""What is left of a damaged file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError, StorageError
from edge_runtime.publish.spool import salvage as module
from edge_runtime.publish.spool.salvage import salvage
from edge_runtime.publish.spool.store import Changes, Store
from tests.unit.publish.spool.test_store import row

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.publish.spool.depot import Document


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "spool.db"
    with closing(Store.open(found, strict=False, check=True)) as store:
        store.commit(Changes(rows=[row(i) for i in range(1, 1001)]))
        store.commit(Changes(acked=[1, 2], dead=[(3, "no")]))
    with closing(sqlite3.connect(found)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return found


def break_page(path: Path, of: str, which: int) -> None:
    """Overwrite one page of the table ``of``."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY pageno"
        try:
            pages = [number for (number,) in connection.execute(query, (of,))]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite has no dbstat")
    with path.open("r+b") as file:
        file.seek((pages[which] - 1) * 4096)
        file.write(b"\xff" * 4096)


def test_everything_is_read_from_a_sound_file(path: Path) -> None:
    found: list[Document] = []
    told = salvage(path, found.append)
    assert (told.read, told.unreadable) == (1000, 0)
    assert [document.row for document in found] == [row(i) for i in range(1, 1001)]
    assert [document.state for document in found[:4]] == ["kept", "kept", "dead", "owed"]
    assert found[2].reason == "no"


def test_only_what_is_on_the_broken_page_is_missing(path: Path) -> None:
    break_page(path, "row", 3)
    found: list[Document] = []
    told = salvage(path, found.append)
    assert 0 < told.unreadable < 100
    assert told.read == 1000 - told.unreadable
    ids = [document.row.id for document in found]
    assert ids == sorted(ids)


def test_a_broken_page_of_a_state_costs_no_document(path: Path) -> None:
    break_page(path, "pending", 0)
    found: list[Document] = []
    assert salvage(path, found.append).read == 1000


def test_it_gives_up_after_very_many_attempts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS_MAX", 1)
    break_page(path, "row", 3)
    assert salvage(path, lambda _: None).unreadable > 100


def test_an_empty_file_has_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "spool.db"
    Store.open(empty, strict=False, check=True).close()
    with pytest.raises(DataError, match="nothing can be read"):
        salvage(empty, lambda _: None)


def test_a_file_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot copy"):
        salvage(tmp_path / "absent", lambda _: None)
