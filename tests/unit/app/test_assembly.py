"""What of a line needs no processes: it is built here and never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_runtime.app.assembly import LineService
from edge_runtime.app.plan import plan_line
from edge_runtime.core.command import Answer, Status
from edge_runtime.pipeline.attempt import TriggerIds
from edge_runtime.pipeline.flight import FlightRecorder
from edge_runtime.system import loop
from tests.fakes.settings import make_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.core.result import Event, Result

TRIGGERED = {"top": {"camera": "top", "model": "defects", "trigger": "mqtt"}}


class _Sink:
    def __init__(self) -> None:
        self.items: list[Result | Event] = []

    def put(self, item: Result | Event) -> None:
        self.items.append(item)


@pytest.fixture
def sink() -> _Sink:
    return _Sink()


@pytest.fixture
def line(sink: _Sink) -> Iterator[LineService]:
    line = LineService(plan_line(make_settings(inspections=TRIGGERED), cpus=1), sink, FlightRecorder(), cache_dir=None)
    yield line
    line.close()


def trigger(answers: list[Answer], line: LineService, target: str = "top") -> None:
    line.act(lambda actions: answers.append(actions.trigger(target, TriggerIds("J"))), answers.append)


def test_a_trigger_after_the_last_turn_of_the_line_is_refused(line: LineService) -> None:
    answers: list[Answer] = []
    trigger(answers, line)
    assert answers == []
    line.close()
    trigger(answers, line)
    assert answers == [Answer(Status.UNAVAILABLE, "no line runs at this moment; ask again")] * 2


def test_a_trigger_that_a_line_which_hangs_cannot_take_is_refused(
    line: LineService, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Answer] = []
    monkeypatch.setattr(loop, "POSTS_MAX", 0)
    trigger(answers, line)
    assert [answer.status for answer in answers] == [Status.TOO_MANY]
    assert "0 calls waiting" in answers[0].message


def test_a_trigger_is_accepted_with_a_job_or_refused_without_one(line: LineService) -> None:
    answers: list[Answer] = []
    trigger(answers, line)
    trigger(answers, line, "nobody")
    line.loop.turn(0.0)
    assert [answer.status for answer in answers] == [Status.ACCEPTED, Status.UNKNOWN]
    assert answers[0].fields["jobId"] == "J"
