from __future__ import annotations

from edge_runtime.publish.mqtt.unheard import PROBE_NS, Unheard
from edge_runtime.publish.spool.store import Row


def row(row_id: int, stream: str = "result/top") -> Row:
    return Row(row_id, stream, row_id, 0, 0, (), b"{}")


def test_the_first_unheard_row_is_kept_and_the_others_go_back() -> None:
    unheard = Unheard()
    assert not unheard.deaf("result/top")
    assert unheard.unheard(row(1), 0)
    assert not unheard.unheard(row(2), 0)
    assert unheard.unheard(row(3, "result/bottom"), 0)
    assert unheard.deaf("result/top")
    assert unheard.is_probe(row(1))
    assert not unheard.is_probe(row(2))
    assert unheard.probes == [row(1), row(3, "result/bottom")]


def test_a_probe_is_tried_at_a_bounded_rate_and_once_at_a_time() -> None:
    unheard = Unheard()
    unheard.unheard(row(1), 0)
    assert unheard.take(5, PROBE_NS - 1) == []
    assert unheard.take(0, PROBE_NS) == []
    assert unheard.take(5, PROBE_NS) == [row(1)]
    assert unheard.take(5, 10 * PROBE_NS) == []
    assert unheard.unheard(row(1), PROBE_NS)
    assert unheard.take(5, 2 * PROBE_NS - 1) == []
    assert unheard.take(5, 2 * PROBE_NS) == [row(1)]


def test_a_probe_that_is_heard_has_the_disk_read_again_and_its_stream_waits_for_that() -> None:
    unheard = Unheard()
    assert not unheard.heard(row(9))
    unheard.unheard(row(1), 0)
    assert unheard.heard(row(1))
    assert unheard.deaf("result/top")
    assert not unheard.unheard(row(2), 0)
    unheard.returning.clear()
    assert not unheard.deaf("result/top")
    assert unheard.probes == []


def test_a_row_that_is_heard_beside_the_probe_makes_it_due() -> None:
    unheard = Unheard()
    unheard.unheard(row(1), 0)
    assert not unheard.heard(row(2))
    assert unheard.take(5, 1) == [row(1)]
    assert not unheard.heard(row(3))  # it is in flight: nothing to hurry
    assert unheard.take(5, 1) == []


def test_a_probe_in_flight_on_a_connection_that_ended_is_due_again() -> None:
    unheard = Unheard()
    unheard.unheard(row(1), 0)
    unheard.unheard(row(3, "result/bottom"), 0)
    unheard._due_ns["result/bottom"] = 5 * PROBE_NS
    assert unheard.take(5, PROBE_NS) == [row(1)]
    unheard.lost()
    assert unheard.take(5, PROBE_NS) == [row(1)]


def test_a_probe_that_becomes_a_dead_letter_is_forgotten() -> None:
    unheard = Unheard()
    unheard.unheard(row(1), 0)
    unheard.forget(row(1))
    assert not unheard.deaf("result/top")
