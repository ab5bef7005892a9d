"""The number of a connection, over restarts and on a disk that refuses."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import StorageError
from edge_runtime.publish.sparkplug import bdseq
from edge_runtime.publish.sparkplug.bdseq import BdSeq

if TYPE_CHECKING:
    from pathlib import Path


def test_it_begins_with_0_and_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    """tck-id-topics-nbirth-bdseq-increment."""
    numbers = BdSeq(tmp_path / "bdseq.json")
    for wanted in range(3):
        assert numbers.take() == wanted
        assert json.loads((tmp_path / "bdseq.json").read_text()) == {"bdSeq": wanted}


def test_after_a_restart_it_goes_on_and_after_255_comes_0(tmp_path: Path) -> None:
    (tmp_path / "bdseq.json").write_text('{"bdSeq": 254}')
    assert BdSeq(tmp_path / "bdseq.json").take() == 255
    assert BdSeq(tmp_path / "bdseq.json").take() == 0


def test_a_number_with_which_nothing_was_sent_is_used_for_the_next_attempt(tmp_path: Path) -> None:
    numbers = BdSeq(tmp_path / "bdseq.json")
    numbers.take()
    numbers.give_back()
    assert numbers.take() == 0
    assert numbers.take() == 1


@pytest.mark.parametrize(
    "damaged", ["", "{", "[]", "{}", '{"bdSeq": -1}', '{"bdSeq": 256}', '{"bdSeq": true}', '{"bdSeq": "1"}', "9" * 300]
)
def test_a_damaged_file_is_kept_aside_and_told_and_the_numbers_begin_anew(
    tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bdseq.json").write_text(damaged)
    assert BdSeq(tmp_path / "bdseq.json").take() == 0
    assert (tmp_path / "bdseq.json.damaged").read_text() == damaged
    assert "starting with 0" in caplog.text


def test_a_file_that_cannot_be_put_aside_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("storage.io", "the disk is broken")

    (tmp_path / "bdseq.json").write_text("{")
    monkeypatch.setattr(bdseq, "move_aside", refuse)
    assert BdSeq(tmp_path / "bdseq.json").take() == 0
    assert "stays where it is" in caplog.text


def test_a_file_that_cannot_be_read_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "bdseq.json")
    assert BdSeq(tmp_path / "bdseq.json").take() == 0
    assert "bdSeq 0" in caplog.text


def test_a_disk_that_refuses_is_told_once_and_the_numbers_go_on_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = BdSeq(tmp_path / "away" / "bdseq.json")
    with caplog.at_level(logging.ERROR):
        assert [numbers.take() for _ in range(3)] == [0, 1, 2]
    assert caplog.text.count("not on disk") == 1
    (tmp_path / "away").mkdir()
    numbers.take()
    assert json.loads((tmp_path / "away" / "bdseq.json").read_text()) == {"bdSeq": 3}
