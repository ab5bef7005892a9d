from __future__ import annotations

from edge_runtime.publish.spool.backlog import Backlog
from edge_runtime.publish.spool.store import Row


def row(row_id: int) -> Row:
    return Row(row_id, "result/top", row_id, 0, 0, (), b"{}")


def test_ranges_are_read_one_after_the_other() -> None:
    backlog = Backlog()
    backlog.add(0, 2, 2)
    backlog.add(5, 7, 2)
    assert [backlog.unread(row_id) for row_id in (2, 3, 6)] == [True, False, True]
    for ids in ([1, 2], [6, 7]):
        wanted = backlog.wanted()
        assert wanted is not None
        backlog.supply(wanted, [row(i) for i in ids], limit=9)
    taken: list[Row] = []
    backlog.move(taken, 9)
    assert [r.id for r in taken] == [1, 2, 6, 7]
    assert (backlog.empty, backlog.remaining) == (True, 0)


def test_what_was_read_for_a_range_that_is_gone_is_ignored() -> None:
    backlog = Backlog()
    backlog.add(0, 2, 2)
    wanted = backlog.wanted()
    assert wanted is not None
    backlog.reset(3, 3, 0)
    backlog.supply(wanted, [row(1)], limit=9)
    assert backlog.empty
