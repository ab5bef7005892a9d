"""The packet-level fake broker answers as mosquitto does, wherever the two can be compared."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.publish.mqtt.client import MqttDial, MqttLink
from edge_runtime.publish.mqtt.link import Accepted, Answered, Ended, Happening, Outgoing, SubscribeAnswered
from edge_runtime.system.service import Stop
from tests.brokers import Broker
from tests.daemons import wait_until
from tests.fakes.broker_packets import PacketBroker
from tests.fakes.publishing import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator


class Talk:
    """One link, pumped by hand."""

    def __init__(self, port: int) -> None:
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.link: MqttLink = MqttDial(replace(QUICK, port=port))(None)
        self.link.open(Stop(), clean=True)
        self.seen: list[Happening] = []

    def close(self) -> None:
        self.link.close()
        os.close(self.wake)

    def next(self, kind: type[Happening]) -> Happening:
        def found() -> bool:
            self.link.pump(0.05, self.wake)
            self.seen += self.link.happened()
            return any(isinstance(h, kind) for h in self.seen)

        wait_until(found, what=kind.__name__)
        match = next(h for h in self.seen if isinstance(h, kind))
        self.seen.remove(match)
        return match


@contextmanager
def either(which: str, *, limit: int = 10, packet_max: int = 5000) -> Iterator[int]:
    if which == "fake":
        with PacketBroker(
            receive_maximum=limit,
            packet_max=packet_max,
            answer=lambda m: 0x87 if m.topic.startswith("denied") else 0x10,
        ) as fake:
            yield fake.port
    else:
        config = f"max_inflight_messages {limit}\nmax_packet_size {packet_max}\nacl_file {{dir}}/acl"
        with Broker(config=config, files={"acl": "topic readwrite allowed/#\n"}) as real:
            yield real.port


@pytest.mark.other_messages  # it is about packets
@pytest.mark.parametrize("which", ["fake", "mosquitto"])
def test_limits_answers_and_subscriptions_are_the_same(which: str) -> None:
    with either(which) as port, closing(Talk(port)) as talk:
        assert talk.next(Accepted) == Accepted(session_present=False, receive_maximum=10, packet_max=5000)
        mid = talk.link.publish(Outgoing("allowed/x", b"{}"))
        assert talk.next(Answered) == Answered(mid, 0x10)  # no matching subscribers
        talk.link.subscribe(["allowed/#"])
        assert talk.next(SubscribeAnswered) == SubscribeAnswered((1,))
        mid = talk.link.publish(Outgoing("denied/x", b"{}"))
        assert talk.next(Answered) == Answered(mid, 0x87)


@pytest.mark.other_messages  # it is about packets
@pytest.mark.parametrize("which", ["fake", "mosquitto"])
def test_a_packet_above_the_limit_costs_the_connection(which: str) -> None:
    with either(which) as port, closing(Talk(port)) as talk:
        talk.next(Accepted)
        talk.link.publish(Outgoing("allowed/x", b"x" * 6000))
        assert talk.next(Ended) == Ended(0x95, "the broker ended the connection: packet too large (149)")


@pytest.mark.parametrize("which", ["fake", "mosquitto"])
def test_a_refused_connection_looks_the_same(which: str) -> None:
    if which == "fake":
        with PacketBroker(connack=0x87) as fake, closing(Talk(fake.port)) as talk:
            ended = talk.next(Ended)
    else:
        with Broker(anonymous=False) as real, closing(Talk(real.port)) as talk:
            ended = talk.next(Ended)
    assert ended == Ended(0x87, "the broker refuses us: not authorized (135)", refused=True)
