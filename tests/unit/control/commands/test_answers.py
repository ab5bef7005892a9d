"""The memory of commands: bounds, and a disk that refuses at any statement or is damaged at any time."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, cast

import pytest

from edge_runtime.control.commands import answers as module
from edge_runtime.control.commands import journal as journals
from edge_runtime.control.commands.answers import Answers, answered
from edge_runtime.control.commands.journal import Journal, Record
from edge_runtime.core.errors import StorageError
from tests.fakes.clock import ManualClock
from tests.fakes.faulty_sql import FaultySql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.publish.spool.store import Store


def record(number: int = 1, **more: object) -> Record:
    return Record("claim:scada", f"{number}", b"d", "reset", None, **more)  # type: ignore[arg-type]  # a test's shorthand


def a_memory(directory: Path, clock: ManualClock | None = None) -> Answers:
    memory = Answers(directory / "commands.db", clock or ManualClock(), lambda _: None)
    memory.open(lambda one: answered(one, 500, b"interrupted"))
    return memory


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Answers]:
    memory = a_memory(tmp_path)
    yield memory
    memory.close()


def journal_of(memory: Answers) -> Journal:
    assert memory._journal is not None
    return memory._journal


def test_a_text_that_is_none_any_more_is_damage_and_the_file_goes_aside(tmp_path: Path) -> None:
    """No checksum of SQLite guards a page: one flipped bit, and the file opens and cannot be read."""
    memory = a_memory(tmp_path)
    for number in (1, 2):
        assert memory.begin(record(number), must_last=True) is None
    memory.close()
    with closing(sqlite3.connect(tmp_path / "commands.db")) as damaged, damaged:
        damaged.execute("UPDATE answer SET verb = CAST(x'f0ff' AS TEXT) WHERE id = '2'")
    again = a_memory(tmp_path)
    try:
        assert again.trouble is None
        assert again.begin(record(), must_last=True) is None
    finally:
        again.close()
    assert list(tmp_path.glob("commands.db.corrupt-*"))


def test_another_program_in_the_file_is_a_disk_that_refuses_for_a_while(tmp_path: Path, memory: Answers) -> None:
    with closing(sqlite3.connect(tmp_path / "commands.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="open in another process"):
            memory.begin(record(), must_last=True)
        other.execute("ROLLBACK")
    assert memory.begin(record(), must_last=True) is None
    assert memory.trouble is None


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT])
def test_whatever_statement_fails_nothing_is_begun_twice(tmp_path: Path, code: int) -> None:
    """Begin and finish with the n-th statement failing, then a new boot: known, or refused and new."""
    for n in range(1, 20):
        directory = tmp_path / str(n)
        directory.mkdir()
        memory = a_memory(directory)
        faulty = FaultySql(cast("Store", journal_of(memory)), code)
        faulty.arm(n)
        carried_out = False
        try:
            carried_out = memory.begin(record(), must_last=True) is None
        except StorageError:
            assert memory.find("claim:scada", "1") is None, "what was refused may be asked again"
        if carried_out:
            memory.finish(answered(record(), 200, b"done"))
            assert memory.find("claim:scada", "1") == answered(record(), 200, b"done")
        memory.close()
        again = a_memory(directory)
        found = again.find("claim:scada", "1")
        again.close()
        # a file that was damaged in use is put aside when the next write comes, and then with it what it held
        assert found is None or found.body in (b"done", b"interrupted")
        assert not carried_out or found is not None
        if not faulty.fired:
            assert n > 4
            return
    pytest.fail("there is always one more statement")


def test_what_is_remembered_is_not_begun_again(memory: Answers) -> None:
    assert memory.begin(record(), must_last=True) is None
    assert memory.begin(record(), must_last=True) == record()
    memory.abandon(record())
    memory.abandon(record())
    assert memory.begin(record(), must_last=True) is None


def test_what_could_not_be_written_is_written_when_the_file_can_be_opened(tmp_path: Path) -> None:
    clock = ManualClock()
    (tmp_path / "commands.db").mkdir()
    memory = a_memory(tmp_path, clock)
    assert memory.trouble is not None
    assert memory.begin(record(), must_last=False) is None
    memory.finish(answered(record(), 202, b"done"))
    for act in (memory.sync, lambda: memory.begin(record(2), must_last=True)):
        with pytest.raises(StorageError):
            act()
    (tmp_path / "commands.db").rmdir()
    memory.tick()
    assert memory.trouble is not None, "not at every tick"
    clock.advance_ms(2000)
    memory.tick()
    assert memory.trouble is None
    memory.close()
    again = a_memory(tmp_path)
    assert again.find("claim:scada", "1") == answered(record(), 202, b"done")
    again.close()


def test_a_file_that_is_damaged_in_use_is_put_aside_and_the_next_one_knows_it_all(tmp_path: Path) -> None:
    clock = ManualClock()
    memory = a_memory(tmp_path, clock)
    memory.begin(record(), must_last=True)
    memory.finish(answered(record(), 200, b"done"))
    journal_of(memory)._connection.execute("DROP TABLE answer")
    with pytest.raises(StorageError):
        memory.begin(record(2), must_last=True)
    clock.advance_ms(2000)
    memory.tick()
    assert memory.begin(record(2), must_last=True) is None
    memory.close()
    again = a_memory(tmp_path)
    assert again.find("claim:scada", "1") == answered(record(), 200, b"done")
    assert len(list(tmp_path.glob("commands.db.corrupt-*"))) == 1
    again.close()


def test_a_file_that_cannot_be_read_at_first_is_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = a_memory(tmp_path)
    first.begin(record(), must_last=True)
    first.finish(answered(record(), 200, b"done"))
    first.close()

    def eio(_: Journal) -> list[Record]:
        raise StorageError("storage.io", "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(Journal, "records", eio)
        memory = a_memory(tmp_path)
    assert memory.trouble is not None
    memory.begin(record(2), must_last=False)
    memory._retry_ns = 0
    memory.tick()
    assert [memory.find("claim:scada", n) is not None for n in ("1", "2")] == [True, True]
    memory.close()
    memory.tick()  # opens the file again, which knows nothing that memory does not
    assert (len(memory), memory.trouble) == (2, None)
    memory.close()


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    a_memory(tmp_path).close()
    with sqlite3.connect(tmp_path / "commands.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    memory = a_memory(tmp_path)
    assert "layout 99" in (memory.trouble or "")
    with pytest.raises(StorageError):
        memory.begin(record(), must_last=True)
    memory.close()


def test_a_file_whose_floor_is_gone_is_damaged(tmp_path: Path) -> None:
    a_memory(tmp_path).close()
    with sqlite3.connect(tmp_path / "commands.db") as connection:
        connection.execute("DELETE FROM floor")
    connection.close()
    memory = a_memory(tmp_path)
    assert memory.trouble is None
    assert len(list(tmp_path.glob("commands.db.corrupt-*"))) == 1
    memory.close()


@pytest.mark.parametrize("bound", ["COUNT_MAX", "BYTES_MAX"])
def test_too_many_are_forgotten_oldest_first_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    clock = ManualClock()
    memory = a_memory(tmp_path, clock)
    monkeypatch.setattr(module, bound, 3 if bound == "COUNT_MAX" else 3 * (module.ROW_BYTES + 4))
    for number in range(5):
        memory.begin(record(number), must_last=True)
        if number != 1:
            memory.finish(answered(record(number), 200, b"done"))
    memory.tick()
    left = [number for number in range(5) if memory.find("claim:scada", f"{number}")]
    assert 1 in left, "what still runs is not forgotten"
    assert (0 in left, 4 in left, len(left)) == (False, True, 3)
    assert memory.early == 2
    memory.close()


def test_a_nonce_is_forgotten_only_when_the_floor_is_on_disk(memory: Answers, tmp_path: Path) -> None:
    clock = cast("ManualClock", memory._clock)
    clock.advance_ms(1)
    signed = record(signed_ns=clock.utc_ns())
    memory.begin(signed, must_last=True)
    memory.finish(answered(signed, 200, b"done"))
    memory.begin(record(2), must_last=True)
    memory.finish(answered(record(2), 200, b"done"))
    clock.advance_ms(901_000)
    journal_of(memory)._connection.execute("PRAGMA query_only = 1")
    memory.tick()
    assert len(memory) == 2
    journal = memory._journal
    memory._journal = None
    memory._retry_ns = clock.mono_ns() + 1
    memory.tick()
    assert [memory.find("claim:scada", n) is not None for n in ("1", "2")] == [True, False]
    memory._journal = journal
    journal_of(memory)._connection.execute("PRAGMA query_only = 0")
    memory.tick()
    assert len(memory) == 0
    memory.close()
    with sqlite3.connect(tmp_path / "commands.db") as connection:
        assert connection.execute("SELECT signed_ns FROM floor").fetchone()[0] == signed.signed_ns
    connection.close()


def test_a_signed_command_is_remembered_while_its_signature_could_be_taken(memory: Answers) -> None:
    clock = cast("ManualClock", memory._clock)
    signed = record(signed_ns=clock.utc_ns() + 700_000_000_000)
    memory.begin(signed, must_last=True)
    memory.finish(answered(signed, 200, b"done"))
    clock.advance_ms(950_000)
    memory.tick()
    assert len(memory) == 1
    clock.advance_ms(100_000)
    memory.tick()
    assert len(memory) == 0


def test_the_log_is_copied_into_the_file_without_holding_anybody_up(
    memory: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_TIDY_COMMITS", 2)
    size = (tmp_path / "commands.db").stat().st_size
    for number in range(200):
        memory.begin(record(number), must_last=True)
    memory.tick()
    assert (tmp_path / "commands.db").stat().st_size > size
    memory.finish(record(99_999))
    assert len(memory) == 200, "an answer to what is not known changes nothing"


def test_a_checkpoint_that_fails_is_a_trouble(memory: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "_TIDY_COMMITS", 0)
    journal_of(memory)._tidier.close()
    memory.tick()
    assert memory.trouble is not None
    memory.begin(record(), must_last=True)
    assert memory.trouble is None


def test_a_closed_journal_does_nothing(memory: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "_TIDY_COMMITS", 0)
    journal = journal_of(memory)
    journal.close()
    journal.tidy()
    with pytest.raises(StorageError, match="closed"):
        journal.sync()


def test_a_flush_that_fails_leaves_no_descriptor(memory: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    def eio(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", eio)
        with pytest.raises(StorageError, match="sync"):
            memory.sync()
    memory.sync()
