from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError, StorageError
from edge_runtime.publish.spool.floor import BLOCK, SeqFloor
from edge_runtime.system import files

if TYPE_CHECKING:
    from pathlib import Path


def reloaded(path: Path) -> SeqFloor:
    floor = SeqFloor(path)
    floor.load()
    return floor


def test_a_new_box_starts_every_stream_at_zero(tmp_path: Path) -> None:
    floor = reloaded(tmp_path / "seq")
    assert floor.resume("result/top", 0) == 0
    assert floor.names() == []


def test_a_floor_is_written_once_a_block_and_stays_ahead(tmp_path: Path) -> None:
    floor = reloaded(tmp_path / "seq")
    writes = 0
    for seq in range(1, 3 * BLOCK):
        writes += floor.cover({"result/top": seq})
        assert reloaded(tmp_path / "seq").resume("result/top", 0) > seq if seq % 1000 == 0 else True
    assert writes == 6


def test_the_spool_file_is_believed_when_it_is_near_the_floor(tmp_path: Path) -> None:
    reloaded(tmp_path / "seq").cover({"result/top": 100})
    assert reloaded(tmp_path / "seq").resume("result/top", 101) == 101
    assert reloaded(tmp_path / "seq").resume("result/top", 99) == 99


def test_a_lost_or_old_spool_file_goes_on_above_the_floor(tmp_path: Path) -> None:
    reloaded(tmp_path / "seq").cover({"result/top": 50_000, "event/system": 3})
    floor = reloaded(tmp_path / "seq")
    assert floor.resume("result/top", 0) == 50_000 + BLOCK
    assert floor.resume("result/top", 40_000) == 50_000 + BLOCK
    assert floor.resume("event/system", 0) == 3 + BLOCK
    assert sorted(floor.names()) == ["event/system", "result/top"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"reserved": 1}', '{"reserved": {"a": "x"}}'])
def test_a_file_that_is_not_ours_is_a_data_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "seq").write_text(text)
    with pytest.raises(DataError, match="not a file of sequence numbers"):
        SeqFloor(tmp_path / "seq").load()


def test_a_floor_that_could_not_be_written_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    floor = reloaded(tmp_path / "seq")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError):
            floor.cover({"result/top": 1})
    assert floor.cover({"result/top": 1})
    assert not floor.cover({"result/top": 1})


def test_after_a_power_cut_no_number_below_the_floor_is_used_again(tmp_path: Path) -> None:
    floor = SeqFloor(tmp_path / "seq", "boot-1")
    floor.load()
    assert floor.cover({"result/top": 100})
    for boot, expected in (("boot-1", 100), ("boot-2", 100 + BLOCK)):
        again = SeqFloor(tmp_path / "seq", boot)
        again.load()
        assert again.cut == (boot == "boot-2")
        assert again.resume("result/top", 100) == expected
        assert again.resume("event/new", 3) == 3
    assert again.resume("result/top", 200 + BLOCK) == 200 + BLOCK


def test_a_spool_in_use_is_marked_once_and_a_released_one_survives_a_power_cut(tmp_path: Path) -> None:
    floor = SeqFloor(tmp_path / "seq", "boot-1")
    floor.load()
    assert floor.cover({})
    assert not floor.cover({})
    floor.cover({"result/top": 100})
    floor.release()
    floor.release()
    again = SeqFloor(tmp_path / "seq", "boot-2")
    again.load()
    assert not again.cut
    assert again.resume("result/top", 100) == 100


def test_commits_that_are_synced_before_they_are_sent_need_no_mark(tmp_path: Path) -> None:
    SeqFloor(tmp_path / "seq", "boot-1").cover({"result/top": 100})
    floor = SeqFloor(tmp_path / "seq", "boot-2", synced=True)
    floor.load()
    assert floor.cut
    assert floor.cover({"result/top": 100})
    again = SeqFloor(tmp_path / "seq", "boot-3", synced=True)
    again.load()
    assert not again.cut


def test_a_floor_is_written_before_the_first_number_above_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "spool.db.seq"
    used = SeqFloor(path, "kernel-1")
    used.load()
    used.lead({"result/top": 1})
    written = path.read_bytes()
    used.lead({"result/top": BLOCK})  # still below: the flusher's affair
    assert path.read_bytes() == written
    after = SeqFloor(path, "kernel-2")
    after.load()
    assert after.resume("result/top", 0) == 1 + BLOCK
    monkeypatch.setattr(
        files, "write_atomic", lambda *_: (_ for _ in ()).throw(StorageError("storage.full", "no room"))
    )
    used.lead({"result/left": 1})  # the spool goes on
    assert "no room" in caplog.text
