"""Our own MQTT client, with a foreign one at the other side of a real broker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_runtime.publish.mqtt.link import Outgoing
from tests.brokers import Broker
from tests.daemons import wait_until
from tests.fakes.paho_peer import paho_peer
from tests.fakes.publishing import running_box

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.publish.mqtt.link import Inbound

ROOT = "vision/plant-a/line-3/box-17"


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(persistent=False) as found:
        yield found


def test_results_are_read_by_a_foreign_client_in_order_and_with_their_properties(
    tmp_path: Path, broker: Broker
) -> None:
    with paho_peer(broker.port, f"{ROOT}/result/#") as peer, running_box(tmp_path, broker.port) as box:
        box.put(500)
        box.wait_acked(500)
        wait_until(lambda: len(peer.messages) == 500)
    documents = [json.loads(message.payload) for message in peer.messages]
    assert [document["seq"] for document in documents] == [*range(1, 501)]
    properties, document = peer.messages[0].properties, documents[0]
    assert (properties.ContentType, properties.PayloadFormatIndicator) == ("application/json", 1)
    headers = dict(properties.UserProperty)
    assert headers == {name: document[name] for name in ("schema", "id", "evaluation", "camera", "ts")}


@pytest.mark.other_messages  # a reply without content
def test_a_command_of_a_foreign_client_and_our_reply_keep_every_property(tmp_path: Path, broker: Broker) -> None:
    commands: list[Inbound] = []
    with (
        paho_peer(broker.port, f"{ROOT}/reply/#") as peer,
        running_box(tmp_path, broker.port, on_command=commands.append, commands=("cmd/#",)) as box,
    ):
        box.put(1)
        box.wait_acked(1)  # the subscription was answered before that
        code = peer.publish(
            f"{ROOT}/cmd/recipe.select/top",
            b'{"recipe":"B"}',
            ContentType="application/json",
            ResponseTopic=f"{ROOT}/reply/scada",
            CorrelationData=b"\x7f\x00\xaa",
            MessageExpiryInterval=60,
            UserProperty=[("principal", "scada"), ("principal", "line-3")],
        )
        wait_until(lambda: bool(commands))
        (command,) = commands
        assert code == 0
        assert (command.topic, command.payload, command.qos, command.retain) == (
            f"{ROOT}/cmd/recipe.select/top",
            b'{"recipe":"B"}',
            1,
            False,
        )
        assert (command.content_type, command.response_topic) == ("application/json", f"{ROOT}/reply/scada")
        assert (command.correlation, command.expiry_s) == (b"\x7f\x00\xaa", 60)
        assert command.headers == (("principal", "scada"), ("principal", "line-3"))
        assert box.publisher.post(
            Outgoing(f"{ROOT}/reply/scada", b"{}", (("__stat", "200"),), expiry_s=30, correlation=command.correlation)
        )
        wait_until(lambda: bool(peer.messages))
        (reply,) = peer.messages
        assert reply.properties.CorrelationData == b"\x7f\x00\xaa"
        assert reply.properties.UserProperty == [("__stat", "200")]
        assert reply.properties.MessageExpiryInterval <= 30


def test_a_command_to_a_verb_that_nobody_subscribed_is_said_to_its_sender(tmp_path: Path, broker: Broker) -> None:
    with paho_peer(broker.port, "nothing") as peer, running_box(tmp_path, broker.port, commands=("cmd/#",)) as box:
        box.put(1)
        box.wait_acked(1)
        assert peer.publish(f"{ROOT}/cmd", b"") == 0
        assert peer.publish(f"{ROOT}/commands", b"") == 0x10
