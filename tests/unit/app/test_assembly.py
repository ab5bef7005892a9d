"""What of a line needs no processes: it is built here and never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.app.assembly import LineService
from edge_runtime.app.plan import plan_line
from edge_runtime.core.result import Event
from edge_runtime.pipeline.attempt import TriggerIds
from edge_runtime.pipeline.flight import FlightRecorder
from edge_runtime.system import loop
from tests.fakes.settings import make_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.core.result import Result

TRIGGERED = {"top": {"camera": "top", "model": "defects", "trigger": "mqtt"}}


class _Sink:
    def __init__(self) -> None:
        self.items: list[Result | Event] = []

    def put(self, item: Result | Event) -> None:
        self.items.append(item)

    @property
    def refusals(self) -> list[str]:
        return [i.message for i in self.items if isinstance(i, Event) and i.kind == "command.refused"]


@pytest.fixture
def sink() -> _Sink:
    return _Sink()


@pytest.fixture
def line(sink: _Sink) -> Iterator[LineService]:
    line = LineService(plan_line(make_settings(inspections=TRIGGERED), cpus=1), sink, FlightRecorder(), cache_dir=None)
    yield line
    line.close()


def test_a_trigger_after_the_last_turn_of_the_line_is_refused(line: LineService, sink: _Sink) -> None:
    line.trigger("top", TriggerIds(part_id="too late to be looked at"))
    assert sink.refusals == []
    line.close()
    line.trigger("top", TriggerIds(part_id="later still"))
    assert sink.refusals == ["trigger for top: no line runs at this moment; ask again"] * 2


def test_a_trigger_that_a_line_which_hangs_cannot_take_is_refused(
    line: LineService, sink: _Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "POSTS_MAX", 0)
    line.trigger("top", TriggerIds())
    assert len(sink.refusals) == 1
    assert "0 calls waiting" in sink.refusals[0]
