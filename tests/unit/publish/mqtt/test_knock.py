from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt.client import MqttDial, MqttSettings
from edge_runtime.publish.mqtt.knock import knock
from tests.fakes.broker_packets import PacketBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = MqttSettings(host="127.0.0.1", client_id="box-check-1", session_expiry_s=0)


def dial(port: int) -> MqttDial:
    return MqttDial(replace(SETTINGS, port=port))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_broker_that_takes_us_in_is_said_goodbye() -> None:
    with PacketBroker() as broker:
        knock(dial(broker.port))
        broker.wait(lambda b: b.peers[0].said_goodbye)
        assert broker.client_ids == ["box-check-1"]


def test_a_broker_that_refuses_us_is_told_from_one_that_is_not_there(free_port: int) -> None:
    with PacketBroker(connack=0x86) as broker, pytest.raises(UnavailableError, match="bad user name or password"):
        knock(dial(broker.port))
    with pytest.raises(UnavailableError, match="cannot connect"):
        knock(dial(free_port))


def test_something_that_listens_and_says_nothing_is_no_broker(silent_port: int) -> None:
    with pytest.raises(UnavailableError, match="says nothing within"):
        knock(dial(silent_port), answer_s=0.2)


def test_a_broker_that_hangs_up_instead_of_answering_is_told_so() -> None:
    with PacketBroker() as broker:
        broker.raw = b"\xe0\x00"  # DISCONNECT
        with pytest.raises(UnavailableError, match="ended the connection without an answer"):
            knock(dial(broker.port))
