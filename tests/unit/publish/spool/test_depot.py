from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import BusyError, UnavailableError
from edge_runtime.publish.spool import depot as module
from edge_runtime.publish.spool.depot import STATES, opened
from tests.fakes.clock import ManualClock
from tests.unit.publish.spool.rig import Bench

if TYPE_CHECKING:
    from pathlib import Path


def test_a_depot_reads_every_state_and_gives_dead_letters_another_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    with Bench(tmp_path, ManualClock()) as bench:
        bench.put(3)
        bench.deliver()
        bench.put(3)
        bench.step()
        for row in bench.take():
            bench.spool.refused(row, "no")
        bench.step(2)
        bench.spool.acked(bench.take())
        bench.put(1)
        bench.step()
        with pytest.raises(BusyError), opened(bench.path):
            pass
    with opened(bench.path) as depot:
        found = [(document.row.seq, document.state, document.reason) for document in depot.documents(STATES)]
        assert found[:3] == [(1, "kept", None), (2, "kept", None), (3, "kept", None)]
        assert (4, "dead", "no") in found
        assert [document.row.seq for document in depot.documents(["owed"])] == [7]
        assert depot.reasons() == {"no": 3}
        assert depot.requeue(stream="result/top", reason="no") == 3
        assert (depot.found().dead, depot.found().pending) == (0, 4)


def test_there_may_be_no_spool(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError), opened(tmp_path / "spool.db"):
        pass
