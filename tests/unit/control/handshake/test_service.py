"""The thread around the hand-shakes: what is shown at the broker, how often, and what becomes of an odd signal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.control.handshake.machine import Code, Timing, Trouble
from edge_runtime.control.handshake.service import Handshakes, HandshakeSpec
from edge_runtime.core.result import Evaluation
from edge_runtime.system.service import Stop
from tests.fakes.clock import ManualClock
from tests.fakes.results import BOOT, IDENTITY, make_result

if TYPE_CHECKING:
    from edge_runtime.control.handshake.machine import Job
    from edge_runtime.core.result import Event
    from edge_runtime.publish.mqtt.link import Outgoing


class Box:
    """Stands in for line, broker and spool."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.shown: list[Outgoing] = []
        self.events: list[Event] = []
        self.jobs: list[Job] = []
        self.trouble: Trouble | None = None
        self.line_ns: int | None = None
        self.service = Handshakes(
            [HandshakeSpec("top", 500, Timing(result_ms=1000, ack_ms=5000))], self, IDENTITY, BOOT, self.clock
        )

    def start_job(self, inspection: str, job: Job) -> None:
        assert inspection == "top"
        self.jobs.append(job)

    def unavailable(self, inspection: str) -> Trouble | None:
        assert inspection == "top"
        return self.trouble

    def line_turned_ns(self) -> int:
        return self.clock.mono_ns() if self.line_ns is None else self.line_ns

    def show(self, document: Outgoing) -> None:
        self.shown.append(document)

    def tell(self, event: Event) -> None:
        self.events.append(event)

    def signal(self, name: str, payload: bytes = b"true", inspection: str = "top") -> None:
        self.service.on_signal(inspection, name, payload, retained=False)

    def step(self, forward_s: float = 0.0) -> dict[str, Any]:
        self.clock.advance_ms(forward_s * 1000)
        self.service.step(0.0)
        return self.last

    @property
    def last(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.shown[-1].body)
        return document


@pytest.fixture
def box() -> Box:
    made = Box()
    made.clock.advance_ms(10_000)
    return made


def test_a_part_from_trigger_to_ready_again(box: Box) -> None:
    assert box.step()["ready"]
    box.signal("trigger", b'{"value": true, "partId": "P-1"}')
    shown = box.step()
    assert (shown["busy"], shown["ready"], shown["partId"]) == (True, False, "P-1")
    result = make_result(1, box.clock, job_id=box.jobs[0].job_id, evaluation=Evaluation.NOT_OK, reason="scratch")
    box.service.on_result(result)
    shown = box.step()
    assert (shown["resultReady"], shown["notOk"], shown["ok"], shown["evaluation"]) == (True, True, False, 2)
    assert (shown["resultId"], shown["reason"]) == (result.id, "scratch")
    box.signal("ack")
    assert box.step()["evaluationText"] == "Undefined"
    box.signal("trigger", b"false")
    box.signal("ack", b"false")
    shown = box.step()
    assert (shown["ready"], shown["partId"], shown["errorCode"]) == (True, None, 0)
    assert box.events == []


def test_it_beats_without_parts_and_stops_beating_when_the_line_hangs(box: Box) -> None:
    first = box.step()["heartbeat"]
    assert box.step(0.5)["heartbeat"] == first + 1
    shown = len(box.shown)
    box.step(0.1)
    assert len(box.shown) == shown
    box.line_ns = box.clock.mono_ns()
    assert box.step(0.5)["heartbeat"] == first + 2
    box.step(2.0)
    assert box.step(0.5)["heartbeat"] == first + 2


def test_the_document_is_kept_by_the_broker_for_three_heartbeats(box: Box) -> None:
    box.step()
    assert box.shown[-1].retain
    assert box.shown[-1].expiry_s == 2
    assert box.shown[-1].topic.endswith("/plc/top")


def test_no_result_is_not_decidable_and_an_event(box: Box) -> None:
    box.step()
    box.signal("trigger")
    box.step()
    shown = box.step(1.0)
    assert (shown["resultReady"], shown["evaluation"], shown["errorCode"]) == (True, 3, int(Code.DEADLINE))
    assert [event.kind for event in box.events] == ["handshake.deadline"]
    box.service.on_result(make_result(1, box.clock, job_id=box.jobs[0].job_id))
    assert box.step()["evaluation"] == 3


def test_a_refused_job_is_not_decidable(box: Box) -> None:
    box.step()
    box.signal("trigger")
    box.step()
    box.service.on_refused("top", box.jobs[0].job_id, "the inspection is paused")
    shown = box.step()
    assert (shown["resultReady"], shown["evaluation"], shown["errorCode"]) == (True, 3, int(Code.REFUSED))


def test_the_camera_is_asked_for_at_the_trigger_and_ten_times_a_second(box: Box) -> None:
    box.step()
    box.trouble = Trouble(Code.CAMERA, "camera top is lost")
    box.signal("trigger")
    shown = box.step()
    assert (shown["ready"], shown["errorCode"]) == (False, int(Code.NOT_READY))
    assert box.jobs == []
    box.signal("trigger", b"false")
    assert box.step(0.1)["errorCode"] == int(Code.CAMERA)
    box.trouble = None
    assert box.step(0.1)["ready"]


@pytest.mark.parametrize(("name", "payload"), [("start", b"true"), ("trigger", b"maybe")])
def test_a_signal_that_cannot_be_read_is_shown_and_told(box: Box, name: str, payload: bytes) -> None:
    box.step()
    box.signal(name, payload)
    assert box.step()["errorCode"] == int(Code.INPUT)
    assert [event.kind for event in box.events] == ["handshake.input"]


def test_a_signal_for_an_inspection_without_hand_shake_is_told(box: Box) -> None:
    box.signal("trigger", inspection="side")
    box.step()
    assert [event.kind for event in box.events] == ["handshake.refused"]


def test_results_that_no_controller_asked_for_are_none_of_its_business(box: Box) -> None:
    box.step()
    box.service.on_result(make_result(1, box.clock))
    box.service.on_result(make_result(1, box.clock, job_id="somebody else's"))
    assert box.step()["ready"]


def test_reset_makes_it_ready_again(box: Box) -> None:
    box.step()
    box.signal("trigger")
    box.step()
    box.signal("reset", b"false")
    assert box.step()["busy"]
    box.signal("reset")
    box.signal("trigger", b"false")
    assert box.step()["ready"]


def test_more_signals_than_the_queue_takes_are_counted(box: Box) -> None:
    for _ in range(1030):
        box.signal("ack")
    assert box.service.overflows == 6


def test_at_the_end_nothing_is_ready(box: Box) -> None:
    box.step()
    stop = Stop()
    stop.set()
    box.service.run(stop)
    assert (box.last["ready"], box.last["errorCode"]) == (False, int(Code.NO_LINE))
    box.signal("ack")  # nobody takes it, and nothing fails


def test_a_flood_of_nonsense_becomes_some_events_and_is_not_kept(box: Box) -> None:
    for number in range(200):
        box.signal(f"x{number}", b"?" * 100_000, inspection="nobody")
        box.service.on_signal("top", f"x{number}", b"", retained=False)
        box.step()
    assert len(box.events) == 50
    assert box.service.untold > 300
    box.signal("ack", b" " * (1 << 20))
    (act,) = box.service._inbox.get_batch(9, 0.0)
    assert (
        max(len(cell.cell_contents) for cell in act.__closure__ or () if isinstance(cell.cell_contents, bytes)) < 5000
    )
