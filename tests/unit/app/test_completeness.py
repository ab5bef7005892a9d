from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_runtime.app.completeness import load_marks, save_marks
from edge_runtime.core.errors import DataError
from edge_runtime.publish.prover import Mark

if TYPE_CHECKING:
    from pathlib import Path


def test_marks_come_back_as_they_were_saved(tmp_path: Path) -> None:
    marks = {"p/l/b/result/top": Mark(7, ((2, 3), (5, 5))), "p/l/b/event/system": Mark(1)}
    assert load_marks(tmp_path / "marks") == {}
    save_marks(tmp_path / "marks", marks)
    assert load_marks(tmp_path / "marks") == marks


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"schema":"other/1","streams":{}}',
        '{"schema":[],"streams":{}}',
        '{"schema":"edge-runtime.marks/1"}',
        '{"schema":"edge-runtime.marks/1","streams":[]}',
        '{"schema":"edge-runtime.marks/1","streams":{"x":{"last":"many","missing":[]}}}',
        '{"schema":"edge-runtime.marks/1","streams":{"x":{"last":1,"missing":[[1]]}}}',
        "[" * 100_000,
    ],
)
def test_a_file_that_holds_something_else_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "marks"
    path.write_text(text)
    with pytest.raises(DataError, match="does not hold how far"):
        load_marks(path)
    assert path.read_text() == text


def test_the_file_is_for_people_too(tmp_path: Path) -> None:
    save_marks(tmp_path / "marks", {"s": Mark(4, ((1, 2),))})
    expected = {"schema": "edge-runtime.marks/1", "streams": {"s": {"last": 4, "missing": [[1, 2]]}}}
    assert json.loads((tmp_path / "marks").read_text()) == expected
