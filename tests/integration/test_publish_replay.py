"""An acknowledgement is not durable at the broker: what it forgets, a replay brings back."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime.app.command_replay import spool_handlers
from edge_runtime.core.command import Answer, Command, Status
from edge_runtime.publish.mqtt.client import MqttDial
from edge_runtime.publish.mqtt.subscriber import Subscriber
from edge_runtime.publish.prover import Prover
from edge_runtime.system.service import ServiceGroup
from tests.brokers import Broker
from tests.daemons import wait_until
from tests.fakes.publishing import QUICK, running_box

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.publish.mqtt.link import Inbound

FORGETFUL = "persistence true\npersistence_location {dir}/\n"  # as installed: saved every half an hour


@contextmanager
def subscribed(port: int, prover: Prover) -> Iterator[None]:
    """A subscriber whose session the broker keeps while it is away."""

    def take(message: Inbound) -> None:
        prover.add(json.loads(message.payload))

    dial = MqttDial(replace(QUICK, port=port, client_id="scada", session_expiry_s=3600))
    with ServiceGroup() as group:
        subscriber = Subscriber(dial, ["vision/+/+/+/result/#", "vision/+/+/+/event/#"], take)
        group.start(subscriber)
        assert subscriber.wait_subscribed(10.0)
        yield


def test_a_broker_that_is_killed_after_it_acknowledged_a_thousand_results_loses_nothing_for_good(
    tmp_path: Path,
) -> None:
    prover = Prover()
    with Broker(persistent=False, config=FORGETFUL) as broker, running_box(tmp_path, broker.port) as box:
        with subscribed(broker.port, prover):
            box.put(10)
            wait_until(lambda: prover.proof().distinct == 10)
        box.put(1000)
        box.wait_acked(1010)
        broker.kill()
        broker.start()
        with subscribed(broker.port, prover):
            box.put(1)
            wait_until(lambda: prover.last("plant-a/line-3/box-17/result/top") == 1011, what="the newest result")
            assert prover.proof().missing == 1000, "the broker forgot nothing: this test shows nothing"
            answers: list[Answer] = []
            command = Command("replay", "top", {"fromSeq": 11, "toSeq": 1010}, "aa", "scada", 0)
            spool_handlers(box.spool)["replay"](command, answers.append)
            wait_until(lambda: prover.proof().distinct == 1011, what="the replay")
            (answer,) = answers
            assert (answer.status, answer.fields["willCome"]) == (Status.ACCEPTED, 1000)
            proof = prover.proof()
            assert proof.complete
            assert (proof.inversions, proof.declared) == (0, 0)
