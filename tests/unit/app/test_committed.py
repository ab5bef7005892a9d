"""Results reach a controller when they are durable, and at once while nothing can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.app.committed import Committed
from tests.fakes.clock import ManualClock
from tests.fakes.results import make_result

if TYPE_CHECKING:
    from edge_runtime.core.result import Result

CLOCK = ManualClock()


def test_a_result_is_handed_on_when_it_is_committed() -> None:
    got: list[Result] = []
    relay = Committed(lambda: True)
    relay.listen(["top"], got.append)
    first, second = make_result(1, CLOCK), make_result(2, CLOCK)
    relay.put(first)
    relay.put(second)
    assert got == []
    relay.committed([("other", 1), ("top", 2)])
    assert got == [second]
    relay.committed([("top", 1), ("top", 1)])
    assert got == [second, first]


def test_while_the_disk_refuses_it_is_handed_on_at_once() -> None:
    got: list[Result] = []
    relay = Committed(lambda: False)
    relay.listen(["top"], got.append)
    relay.put(make_result(1, CLOCK))
    assert len(got) == 1
    relay.committed([("top", 1)])
    assert len(got) == 1


def test_results_of_other_inspections_and_after_the_end_go_nowhere() -> None:
    got: list[Result] = []
    relay = Committed(lambda: True)
    relay.put(make_result(1, CLOCK))
    relay.listen(["side"], got.append)
    relay.put(make_result(1, CLOCK))
    relay.committed([("top", 1)])
    relay.listen((), None)
    relay.put(make_result(2, CLOCK, inspection="side"))
    relay.committed([("side", 2)])
    assert got == []


def test_a_result_that_is_lost_is_never_handed_on() -> None:
    got: list[Result] = []
    relay = Committed(lambda: True)
    relay.listen(["top"], got.append)
    relay.put(make_result(1, CLOCK))
    relay.lost([("top", 1), ("other", 1)])
    relay.committed([("top", 1)])
    assert got == []
