from __future__ import annotations

from edge_runtime.publish.kept import Kept
from edge_runtime.publish.losses import Losses
from edge_runtime.publish.notices import REFUSED_EVERY_NS, Gap, Refusals, evictions, gap_event
from edge_runtime.publish.store import Row
from tests.fakes.results import make_event, make_result


def row(seq: int, stream: str = "result/top") -> Row:
    return Row(seq, stream, seq, 0, 0, (), b"{}")


def test_a_gap_event_goes_to_the_scope_of_the_stream_and_says_the_range() -> None:
    event = gap_event(Gap("result/top", 3, 9, 5, "max_bytes"), 1)
    assert (event.scope, event.kind) == ("top", "spool.gap")
    assert event.fields == {"topic": "result/top", "from_seq": 3, "to_seq": 9, "count": 5, "policy": "max_bytes"}
    assert "5 documents" in event.message
    assert "unknown number" in gap_event(Gap("result/top", 3, 9, None, "quarantine"), 1).message


def test_evicted_rows_make_one_gap_per_stream() -> None:
    gaps = evictions([("result/a", 4), ("result/b", 1), ("result/a", 6)], "max_age")
    assert gaps == [Gap("result/a", 4, 6, 2, "max_age"), Gap("result/b", 1, 1, 1, "max_age")]


def test_the_first_refusal_is_told_at_once_and_the_others_summed_up() -> None:
    refusals = Refusals()
    refusals.add([(row(1), "not authorized")])
    (first,) = refusals.due(0, 0)
    assert first.fields["count"] == 1
    assert first.scope == "top"
    refusals.add([(row(2), "not authorized"), (row(3), "not authorized")])
    assert refusals.due(REFUSED_EVERY_NS - 1, 0) == []
    (second,) = refusals.due(REFUSED_EVERY_NS, 0)
    assert (second.fields["from_seq"], second.fields["to_seq"], second.fields["count"]) == (2, 3, 2)
    assert refusals.due(10 * REFUSED_EVERY_NS, 0) == []


def test_a_refused_event_makes_no_event() -> None:
    refusals = Refusals()
    refusals.add([(row(1, "event/system"), "not authorized")])
    assert refusals.due(0, 0) == []


def test_losses_are_told_per_inspection_and_at_most_once_a_second() -> None:
    losses = Losses()
    assert losses.due(0, 0) == []
    for item in (make_result(4), make_result(5), make_event()):
        losses.add(item)
    told = {event.scope: event.fields for event in losses.due(0, 0)}
    assert told == {
        "top": {"count": 2, "firstFrame": 4, "lastFrame": 5},
        "system": {"count": 1, "firstFrame": None, "lastFrame": None},
    }
    losses.add(make_result(6))
    assert losses.due(999_999_999, 0) == []
    (event,) = losses.due(1_000_000_000, 0)
    assert event.fields == {"count": 1, "firstFrame": 6, "lastFrame": 6}
    assert losses.total == 4


def test_kept_rows_expire_by_age() -> None:
    kept = Kept(keep_ns=100, keep_bytes=1000)
    kept.add(0, [(1, 10), (2, 10)])
    kept.add(50, [(3, 10)])
    assert kept.expired(99) == []
    assert kept.expired(100) == [1, 2]
    kept.drop(2)
    assert (kept.size, kept.all()) == (10, [3])
    assert kept.expired(150) == [3]


def test_kept_rows_expire_by_bytes_oldest_first() -> None:
    kept = Kept(keep_ns=100, keep_bytes=25)
    for row_id in range(1, 5):
        kept.add(0, [(row_id, 10)])
    assert kept.expired(0) == [1, 2]
