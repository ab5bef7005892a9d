from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.core.errors import StorageError
from edge_runtime.publish.spool.trouble import Trouble

if TYPE_CHECKING:
    import pytest


def test_the_pause_between_attempts_grows_and_is_reset_by_success() -> None:
    trouble = Trouble()
    pauses = []
    for _ in range(7):
        trouble.note(StorageError("storage.io", "x"))
        pauses.append(trouble.pause_s)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    trouble.over()
    assert (trouble.error, trouble.pause_s) == (None, 0.1)


def test_trouble_is_told_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Trouble()
    trouble.over()
    for _ in range(3):
        trouble.note(StorageError("storage.full", "disk full"))
    trouble.over()
    trouble.over()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
