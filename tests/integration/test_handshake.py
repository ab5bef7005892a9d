"""A controller and a real daemon: what it is told when the camera is gone, the line is paused, the box is killed."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.publish.mqtt.link import Outgoing
from tests.brokers import Broker
from tests.daemons import DaemonProcess, line_config, wait_until
from tests.fakes.mqtt_client import send
from tests.fakes.publishing import listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.publish.mqtt.link import Inbound

ROOT = "vision/plant/line/box"


class Controller:
    """Drives the signals and sees the box's document."""

    def __init__(self, broker: Broker, messages: list[Inbound]) -> None:
        self.broker = broker
        self.messages = messages

    def drive(self, signal: str, payload: bytes = b"true") -> None:
        send(self.broker.port, Outgoing(f"{ROOT}/cmd/plc/top/{signal}", payload))

    def documents(self, suffix: str) -> list[dict[str, Any]]:
        return [json.loads(one.payload) for one in list(self.messages) if one.topic == f"{ROOT}/{suffix}"]

    def told(self, kind: str) -> int:
        return sum(one["kind"] == kind for one in self.documents("event/system"))

    @property
    def seen(self) -> dict[str, Any]:
        return (self.documents("plc/top") or [{}])[-1]

    def wait(self, **wanted: object) -> dict[str, Any]:
        wait_until(lambda: wanted.items() <= self.seen.items(), 30, str(wanted))
        return self.seen


@contextmanager
def station(
    tmp_path: Path, source: str = "sim:conveyor?fps=30&size=448x256"
) -> Iterator[tuple[Controller, DaemonProcess]]:
    with Broker() as broker, listening(broker.port, f"{ROOT}/#") as messages:
        config = line_config(broker.port, tmp_path / "state", source)
        config["inspections"]["top"] |= {
            "trigger": "mqtt",
            "deadline_ms": 1500,
            "handshake": {"heartbeat_ms": 200, "ack_ms": 600},
        }
        with DaemonProcess(tmp_path, config) as daemon:
            controller = Controller(broker, messages)
            controller.wait(ready=True)
            yield controller, daemon


@pytest.mark.timeout(120)
def test_a_controller_goes_through_cycles_refusals_and_a_reload(tmp_path: Path) -> None:
    with station(tmp_path) as (controller, daemon):
        controller.drive("trigger", b'{"value": true, "id": 1, "partId": "P-1"}')
        seen = controller.wait(resultReady=True, partId="P-1")
        wait_until(lambda: controller.documents("result/top"), 10, "the result message")
        (result,) = controller.documents("result/top")
        assert result["id"] == seen["resultId"]
        assert (result["evaluation"], result["jobId"]) == (seen["evaluationText"], seen["jobId"])
        controller.wait(errorCode=11, resultReady=True)  # nobody acknowledges
        controller.drive("ack")
        controller.wait(resultReady=False, errorCode=0)
        os.kill(daemon.pid, signal.SIGHUP)
        wait_until(lambda: controller.told("model.ready") > 1, 30, "the line after the reload")
        controller.wait(errorCode=0, ready=False)
        controller.drive("trigger", b"false")
        controller.drive("ack", b"false")
        controller.wait(ready=True)  # the cycle went on over the reload
        controller.drive("trigger", b"perhaps")
        controller.wait(errorCode=14)
        controller.drive("trigger", b"false")  # the next level that can be read ends that
        send(controller.broker.port, Outgoing(f"{ROOT}/cmd/pause/top", b'{"correlationId": "p1"}'))
        controller.wait(ready=False, errorCode=4)
        controller.drive("trigger")
        controller.wait(errorCode=10)
        controller.drive("trigger", b"false")
        send(controller.broker.port, Outgoing(f"{ROOT}/cmd/resume/top", b'{"correlationId": "p2"}'))
        controller.wait(ready=True)
        kinds = {one["kind"] for one in controller.documents("event/top")}
        assert {"handshake.ack_timeout", "handshake.input", "handshake.not_ready"} <= kinds


@pytest.mark.timeout(120)
def test_a_killed_box_stops_beating_and_leaves_no_old_ready(tmp_path: Path) -> None:
    with station(tmp_path) as (controller, daemon):
        controller.drive("trigger", b'{"value": true, "partId": "P-1"}')
        controller.wait(resultReady=True)
        daemon.kill()
        with listening(controller.broker.port, f"{ROOT}/plc/top", client_id="late") as late:
            wait_until(lambda: late, 2, "the retained document")
        expired: list[Inbound] = []

        def gone() -> bool:
            with listening(controller.broker.port, f"{ROOT}/plc/top", f"{ROOT}/status", client_id="later") as later:
                wait_until(lambda: later, 5, "the status, which is retained")
                expired[:] = [one for one in later if one.topic.endswith("/plc/top")]
            return not expired

        wait_until(gone, 10, "the document expires at the broker")
        beats = [one["heartbeat"] for one in controller.documents("plc/top")]
        assert beats == sorted(beats)
        assert beats[-1] > 1
