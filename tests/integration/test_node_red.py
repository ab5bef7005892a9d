"""A controller made of Node-RED has parts judged by a real daemon: the flow that ships in deploy/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.publish.mqtt.link import Outgoing
from tests.brokers import Broker
from tests.daemons import DaemonProcess, line_config, wait_until
from tests.fakes.mqtt_client import send
from tests.fakes.publishing import listening
from tests.node_red import NodeRed

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.publish.mqtt.link import Inbound

FLOW = Path(__file__).resolve().parents[2] / "deploy" / "node-red" / "controller.json"
ROOT = "vision/plant/line/box"
HEARTBEAT_MS = 200
PARTS = 12


def config(port: int, state_dir: Path) -> dict[str, Any]:
    made = line_config(port, state_dir)
    made["inspections"]["top"] |= {"trigger": "mqtt", "handshake": {"heartbeat_ms": HEARTBEAT_MS, "ack_ms": 2000}}
    return made


def documents(messages: list[Inbound], suffix: str) -> list[dict[str, Any]]:
    return [json.loads(one.payload) for one in list(messages) if one.topic.endswith(suffix) and one.payload]


def part(broker: Broker, number: str) -> None:
    send(broker.port, Outgoing("station/top/part", number.encode()))


def alive(messages: list[Inbound]) -> Callable[[], object]:
    return lambda: documents(messages, "/alive")[-1:] == [True]


@pytest.mark.timeout(120)
def test_each_part_of_the_controller_has_the_verdict_that_its_result_has(tmp_path: Path) -> None:
    with Broker() as broker, listening(broker.port, "#") as messages:
        environment = {
            "MQTT_HOST": broker.host,
            "MQTT_PORT": str(broker.port),
            "EDGE_TOPIC": ROOT,
            "EDGE_INSPECTION": "top",
        }
        with NodeRed(FLOW, tmp_path / "node-red", environment):
            with DaemonProcess(tmp_path, config(broker.port, tmp_path / "state"), strangers=("station/",)) as daemon:
                wait_until(lambda: any(one["ready"] for one in documents(messages, "/plc/top")), 40, "ready")
                wait_until(alive(messages), 10, "the controller sees that the box is alive")
                for number in range(PARTS):
                    part(broker, f"P-{number}")
                wait_until(lambda: len(documents(messages, "/verdict")) >= PARTS, 40, "verdicts")
                verdicts = documents(messages, "/verdict")
                wait_until(lambda: len(documents(messages, "/result/top")) >= PARTS, 10, "results")
                daemon.kill()
            wait_until(lambda: not alive(messages)(), 10, "the controller sees that the box is dead")
    results = {one["partId"]: one for one in documents(messages, "/result/top")}
    assert [one["partId"] for one in verdicts] == [f"P-{number}" for number in range(PARTS)]
    for one in verdicts:
        result = results[one["partId"]]
        assert (one["evaluation"], one["resultId"]) == (result["evaluation"], result["id"])
        assert one["eject"] is (result["evaluation"] != "OK")
    assert len(results) == PARTS
