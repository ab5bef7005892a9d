from __future__ import annotations

from edge_runtime.publish.mqtt.latest import EVERY_NS, Latest
from edge_runtime.publish.spool.store import Row


def row(row_id: int, stream: str = "result/top") -> Row:
    return Row(row_id, stream, row_id, 0, 0, (), b"{}")


def taken(latest: Latest, now_ns: int, limit: int = 9, *, paced: bool = True) -> list[int]:
    return [found.id for found in latest.take(limit, now_ns, paced=paced)]


def test_only_the_newest_result_of_a_stream_counts_and_events_do_not() -> None:
    latest = Latest()
    latest.put([row(1), row(2, "event/top")])
    latest.put([row(3), row(4, "result/bottom")])
    assert taken(latest, 0) == [3, 4]
    assert taken(latest, EVERY_NS) == []


def test_each_stream_has_its_own_pace() -> None:
    latest = Latest()
    latest.put([row(1)])
    assert taken(latest, 1) == [1]
    latest.put([row(2), row(3, "result/bottom")])
    assert taken(latest, 2) == [3]
    assert latest.wait_ns(2, 10 * EVERY_NS) == EVERY_NS - 1
    assert latest.wait_ns(2, 5) == 5
    assert taken(latest, EVERY_NS + 1) == [2]
    assert latest.wait_ns(EVERY_NS + 1, 5) == 5


def test_at_the_end_nothing_waits_for_its_pace() -> None:
    latest = Latest()
    latest.put([row(1)])
    assert taken(latest, 1) == [1]
    latest.put([row(2)])
    assert taken(latest, 2, limit=0, paced=False) == []
    assert taken(latest, 2, paced=False) == [2]


def test_what_did_not_arrive_is_put_back_unless_something_newer_waits_or_was_taken() -> None:
    latest = Latest()
    latest.put([row(1)])
    (first,) = latest.take(9, 0)
    latest.restore(first)
    assert taken(latest, EVERY_NS) == [1]
    latest.put([row(2)])
    latest.restore(first)
    assert taken(latest, 2 * EVERY_NS) == [2]
    latest.restore(first)
    assert taken(latest, 3 * EVERY_NS) == []
