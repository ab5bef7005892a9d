from __future__ import annotations

import pytest

from edge_runtime.publish.spool import backlog as backlog_module
from edge_runtime.publish.spool import handout as module
from edge_runtime.publish.spool.backlog import Range
from edge_runtime.publish.spool.handout import Handout
from edge_runtime.publish.spool.store import Row


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test can reach with a few rows."""
    monkeypatch.setattr(module, "FRESH_MAX", 4)
    monkeypatch.setattr(backlog_module, "PREFETCH", 4)
    monkeypatch.setattr(module, "ORDERED_BACKLOG", 3)


def row(row_id: int, stream: str = "result/top") -> Row:
    return Row(row_id, stream, row_id, 0, 0, (), b"{}")


def ids(rows: list[Row]) -> list[int]:
    return [r.id for r in rows]


def read(handout: Handout, on_disk: list[int], limit: int = 4) -> list[int]:
    """Play the writer: read the wanted backlog of what is on disk."""
    wanted = handout.wanted()
    if wanted is None:
        return []
    found = [row(i) for i in on_disk if wanted.after < i <= wanted.through][:limit]
    handout.supply(wanted, found, limit=limit)
    return ids(found)


def test_rows_are_taken_in_order_and_only_once() -> None:
    handout = Handout()
    handout.offer([row(1), row(2), row(3)])
    assert ids(handout.take(2)) == [1, 2]
    assert ids(handout.take(2)) == [3]
    assert handout.take(2) == []
    assert handout.owned == 3
    assert not handout.waiting


def test_rows_beyond_the_memory_bound_are_left_to_the_disk_and_read_back_in_order() -> None:
    handout = Handout()
    handout.offer([row(i) for i in range(1, 7)])
    assert handout.wanted() == Range(0, 2)
    assert handout.take(9) == []  # the older ones come first
    assert read(handout, list(range(1, 7))) == [1, 2]
    assert ids(handout.take(9)) == [1, 2, 3, 4, 5, 6]
    assert handout.wanted() is None


def test_rows_that_the_sender_holds_are_not_handed_out_again_when_the_backlog_is_read() -> None:
    handout = Handout()
    handout.offer([row(i) for i in range(1, 5)])
    handout.take(2)
    handout.offer([row(i) for i in range(5, 8)])  # 3 is left to the disk; 1 and 2 still count as owed there
    assert read(handout, list(range(1, 8))) == [1, 2, 3]
    assert ids(handout.take(9)) == [3, 4, 5, 6, 7]


def test_a_small_backlog_is_sent_before_newer_rows() -> None:
    handout = Handout()
    handout.rewind(3, 3)
    handout.offer([row(4)])
    assert handout.take(9) == []
    read(handout, [1, 2, 3, 4])
    assert ids(handout.take(2)) == [1, 2]
    assert ids(handout.take(9)) == [3, 4]


def test_a_large_backlog_lets_newer_rows_pass_until_it_is_empty() -> None:
    handout = Handout()
    handout.rewind(8, 8)
    read(handout, list(range(1, 9)))
    handout.offer([row(9)])
    assert ids(handout.take(3)) == [9, 1, 2]
    assert read(handout, list(range(1, 9))) == []  # enough is prefetched
    assert ids(handout.take(1)) == [3]
    assert read(handout, list(range(1, 9))) == [5, 6, 7, 8]
    assert ids(handout.take(9)) == [4, 5, 6, 7, 8]
    assert read(handout, list(range(1, 9))) == []  # a full read at the end asks once more
    handout.offer([row(10)])
    assert ids(handout.take(9)) == [10]
    handout.rewind(10, 0)
    assert not handout.wanted() or read(handout, []) == []
    assert handout.take(9) == []


def test_a_backlog_that_grows_while_sending_lets_newer_rows_pass_too() -> None:
    handout = Handout()
    handout.offer([row(i) for i in range(1, 10)])  # 5 are left to the disk
    assert ids(handout.take(9)) == [6, 7, 8, 9]
    read(handout, list(range(1, 10)))
    assert ids(handout.take(9)) == [1, 2, 3, 4]


def test_an_exhausted_range_is_not_asked_for_again() -> None:
    handout = Handout()
    handout.rewind(100, 2)
    assert read(handout, [50]) == [50]
    assert handout.wanted() is None
    assert ids(handout.take(9)) == [50]
    assert not handout.waiting


def test_answers_are_collected_once_and_settled_after_they_are_on_disk() -> None:
    handout = Handout()
    handout.offer([row(1), row(2), row(3)])
    first, second, third = handout.take(3)
    handout.acked([first])
    handout.refused(second, "no")
    handout.release([third])
    assert handout.collect() == ([first], [(second, "no")])
    assert handout.collect() == ([], [])
    assert handout.owned == 2
    handout.settled([1, 2])
    assert handout.owned == 0


def test_rows_to_evict_are_withdrawn_unless_the_sender_holds_them() -> None:
    handout = Handout()
    handout.rewind(2, 2)
    read(handout, [1, 2])
    handout.offer([row(3), row(4)])
    assert ids(handout.take(1)) == [1]
    assert handout.withdraw([1, 2, 3]) == [2, 3]
    assert ids(handout.take(9)) == [4]


def test_the_newest_row_of_each_stream_is_kept_until_asked_for() -> None:
    handout = Handout()
    handout.offer([row(1), row(2), row(3, "event/system")])
    assert {stream: r.id for stream, r in handout.take_newest().items()} == {"result/top": 2, "event/system": 3}
    assert handout.take_newest() == {}


def test_after_a_rewind_everything_that_waits_is_read_from_disk_again() -> None:
    handout = Handout()
    handout.offer([row(1), row(2), row(3)])
    handout.take(1)
    handout.rewind(3, 3)
    read(handout, [1, 2, 3])
    assert ids(handout.take(9)) == [2, 3]


def test_rows_in_memory_are_bounded_by_their_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH_MAX", 1000)
    monkeypatch.setattr(module, "FRESH_BYTES", 200)
    handout = Handout()
    handout.offer([row(number) for number in range(1, 131)])
    assert len(handout._fresh) == 100
    assert handout.wanted() == Range(0, 30, again=False, generation=0)
    assert read(handout, [*range(1, 131)], 30) == [*range(1, 31)]
    assert sorted(ids(handout.take(200))) == [*range(1, 131)]


def test_what_a_kill_makes_come_twice_is_bounded() -> None:
    handout = Handout(owned_max=4)
    handout.offer([row(i) for i in range(1, 5)])
    assert handout.spare() == 4
    first, second, third, fourth = handout.take(4)
    assert handout.spare() == 0
    assert not handout.acked([first])
    assert handout.acked([second])  # half of them: the sender may soon have to wait
    assert handout.spare() == 0  # the answers are not on disk yet
    handout.collect()
    assert handout.settled([1, 2])
    assert handout.spare() == 2
    handout.refused(third, "no")  # the broker has not taken it: it cannot come twice
    assert handout.spare() == 3
    assert not handout.settled([3])  # the sender did not wait
    handout.release([fourth])
    assert handout.spare() == 4


def test_an_answer_after_which_nothing_is_on_its_way_is_to_be_on_the_disk_soon() -> None:
    handout = Handout()
    handout.eager = True
    handout.offer([row(1), row(2), row(3)])
    first, second, third = handout.take(3)
    assert not handout.acked([first])
    assert not handout.acked([second])
    assert handout.acked([third])
    lazy = Handout()
    lazy.offer([row(1)])
    assert not lazy.acked(lazy.take(1))
