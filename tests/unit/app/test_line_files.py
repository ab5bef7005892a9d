"""What commands leave on the disk: setups of inspections and pictures; and the arguments they came with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app import arguments
from edge_runtime.app.setups_file import LIMIT_BYTES, NAME, SetupsFile
from edge_runtime.app.snapshot_files import SnapshotFiles
from edge_runtime.core.command import Command
from edge_runtime.core.errors import DataError, StorageError
from edge_runtime.pipeline.setup import Setup
from edge_runtime.pipeline.snapshots import Shot

if TYPE_CHECKING:
    from pathlib import Path

SETUPS = {"top": Setup("part-b", "B", paused=True), "as-configured": Setup()}


def test_setups_are_read_back_as_they_were_saved(tmp_path: Path) -> None:
    SetupsFile(tmp_path).save(SETUPS)
    assert SetupsFile(tmp_path).load() == ({"top": SETUPS["top"]}, None)


def test_nothing_is_written_when_nothing_changed(tmp_path: Path) -> None:
    file = SetupsFile(tmp_path)
    assert file.load() == ({}, None)
    file.save({"as-configured": Setup()})
    assert not file.path.exists()
    file.save(SETUPS)
    before = file.path.stat().st_ino
    file.save(SETUPS)
    assert file.path.stat().st_ino == before


def test_a_save_that_failed_is_done_again_with_the_same_setups(tmp_path: Path) -> None:
    file = SetupsFile(tmp_path)
    file.load()
    file.path.mkdir()
    with pytest.raises(StorageError):
        file.save(SETUPS)
    file.path.rmdir()
    file.save(SETUPS)
    assert SetupsFile(tmp_path).load()[0] == {"top": SETUPS["top"]}


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        b"{}",
        b'{"schema": "edge.inspections/2", "inspections": {}}',
        b'{"schema": "edge.inspections/1", "inspections": {"top": {"recipe": 1, "product_id": null, "paused": true}}}',
        b" " * (LIMIT_BYTES + 1),
    ],
)
def test_a_file_that_is_damaged_is_kept_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    found, trouble = SetupsFile(tmp_path).load()
    assert found == {}
    assert trouble is not None
    assert trouble.endswith(f"it was moved to {tmp_path / NAME}.damaged")
    assert (tmp_path / f"{NAME}.damaged").read_bytes() == content


def test_a_damaged_file_that_cannot_be_moved_is_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("storage.read_only", "read-only")

    monkeypatch.setattr("edge_runtime.app.setups_file.move_aside", refuse)
    (tmp_path / NAME).write_text("{")
    _, trouble = SetupsFile(tmp_path).load()
    assert trouble is not None
    assert trouble.endswith("it cannot be moved aside: read-only")


def test_a_file_that_cannot_be_read_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    found, trouble = SetupsFile(tmp_path).load()
    assert (found, trouble is None) == ({}, False)
    assert (tmp_path / NAME).is_dir()


def _shot(number: int, size: int = 10) -> Shot:
    return Shot("top", number, 1_800_000_000_000_000_000 + number * 1000, 0, 4, 4, bytes(size))


def test_of_pictures_the_newest_are_kept_by_count_and_by_bytes(tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path, count_max=3, bytes_max=100)
    for number in range(5):
        files.keep(_shot(number))
    assert [path.name.rpartition("-")[2] for path in sorted(files.directory.iterdir())] == ["2.jpg", "3.jpg", "4.jpg"]
    files.keep(_shot(5, 85))
    assert [path.name.rpartition("-")[2] for path in sorted(files.directory.iterdir())] == ["4.jpg", "5.jpg"]


def _command(**given: Any) -> Command:
    return Command("trigger", "top", given, "1", "test", 0)


def test_arguments_have_bounds() -> None:
    assert arguments.text(_command(partId=4711), "partId") == "4711"
    assert arguments.text(_command(), "partId") is None
    assert arguments.whole(_command(n=5), "n", 1, 5) == 5
    assert arguments.whole(_command(), "n", 1, 5) is None
    assert (arguments.flag(_command(), "f"), arguments.flag(_command(f=True), "f")) == (False, True)


@pytest.mark.parametrize("value", ["", "x" * 257, True, 1.5, ["x"], "\ud800"])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="trigger: partId must be"):
        arguments.text(_command(partId=value), "partId")


def test_what_is_missing_or_no_number_or_no_flag_is_refused() -> None:
    with pytest.raises(DataError):
        arguments.text(_command(), "recipe", required=True)
    for value in (True, 0, 6, "5"):
        with pytest.raises(DataError):
            arguments.whole(_command(n=value), "n", 1, 5)
    with pytest.raises(DataError):
        arguments.flag(_command(f=1), "f")
