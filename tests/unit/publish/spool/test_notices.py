from __future__ import annotations

from edge_runtime.publish.spool.losses import Losses
from edge_runtime.publish.spool.notices import (
    REFUSED_AT_ONCE,
    REFUSED_EVERY_NS,
    Declared,
    Gap,
    Refusals,
    evictions,
    gap_event,
)
from edge_runtime.publish.spool.store import Row
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
    first = refusals.due(0, 0, ending=False)
    assert (first.events[0].scope, first.events[0].fields["count"]) == ("top", 1)
    assert first.rows == [(row(1), "not authorized")]
    refusals.add([(row(2), "not authorized"), (row(3), "not authorized")])
    assert refusals.due(REFUSED_EVERY_NS - 1, 0, ending=False) == Declared([], [])
    second = refusals.due(REFUSED_EVERY_NS, 0, ending=False)
    (event,) = second.events
    assert (event.fields["from_seq"], event.fields["to_seq"], event.fields["count"]) == (2, 3, 2)
    assert second.rows == [(row(2), "not authorized"), (row(3), "not authorized")]
    assert refusals.due(10 * REFUSED_EVERY_NS, 0, ending=True) == Declared([], [])


def test_refused_rows_wait_for_their_event_neither_at_the_end_nor_without_bound() -> None:
    refusals = Refusals()
    refusals.add([(row(1), "no")])
    refusals.due(0, 0, ending=False)
    refusals.add([(row(2), "no")])
    assert refusals.due(1, 0, ending=True).events[0].fields["from_seq"] == 2
    refusals.add([(row(seq), "no") for seq in range(3, 3 + REFUSED_AT_ONCE)])
    assert refusals.due(2, 0, ending=False).events[0].fields["count"] == REFUSED_AT_ONCE


def test_a_refused_event_makes_no_event_and_does_not_wait() -> None:
    refusals = Refusals()
    for number in (1, 2):
        refused = [(row(number, "event/system"), "not authorized")]
        refusals.add(refused)
        assert refusals.due(0, 0, ending=False) == Declared(refused, [])


def test_losses_are_told_per_inspection_and_at_most_once_a_second() -> None:
    losses = Losses()
    assert losses.due(0, 0, ending=False) == []
    for item in (make_result(4), make_result(5), make_event()):
        losses.add(item)
    told = {event.scope: event.fields for event in losses.due(0, 0, ending=False)}
    assert told == {
        "top": {"count": 2, "firstFrame": 4, "lastFrame": 5},
        "system": {"count": 1, "firstFrame": None, "lastFrame": None},
    }
    losses.add(make_result(6))
    assert losses.due(999_999_999, 0, ending=False) == []
    (event,) = losses.due(1_000_000_000, 0, ending=False)
    assert event.fields == {"count": 1, "firstFrame": 6, "lastFrame": 6}
    assert (losses.total, losses.untold) == (4, 0)
    losses.add(make_result(7))
    assert losses.untold == 1
    (event,) = losses.due(1_000_000_001, 0, ending=True)
    assert event.fields["firstFrame"] == 7
