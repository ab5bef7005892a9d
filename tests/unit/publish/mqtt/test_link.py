"""One connection, pumped by hand, against a broker that a test scripts packet by packet."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt import client
from edge_runtime.publish.mqtt.client import MqttDial, MqttLink
from edge_runtime.publish.mqtt.link import Accepted, Address, Answered, Ended, Inbound, Outgoing, SubscribeAnswered
from edge_runtime.system.service import Stop
from tests.daemons import wait_until
from tests.fakes.broker_packets import PacketBroker
from tests.fakes.publishing import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.publish.mqtt.link import Happening

pytestmark = pytest.mark.other_messages  # it is about packets

HELLO = b"\x20\x03\x00\x00\x00"  # CONNACK


class Talk:
    """A link and what happened on it."""

    def __init__(self, port: int, **changes: Any) -> None:
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.link: MqttLink = MqttDial(replace(QUICK, port=port, **changes))(None)
        self.seen: list[Happening] = []
        try:
            self.link.open(Stop(), clean=True)
        except UnavailableError:
            self.close()
            raise

    def close(self) -> None:
        self.link.close()
        os.close(self.wake)

    def until(self, condition: Callable[[Talk], bool]) -> None:
        def met() -> bool:
            self.link.pump(0.01, self.wake)
            self.seen += self.link.happened()
            return condition(self)

        wait_until(met, what="a happening")

    def next(self, kind: type[Happening]) -> Any:
        self.until(lambda talk: any(isinstance(one, kind) for one in talk.seen))
        found = next(one for one in self.seen if isinstance(one, kind))
        self.seen.remove(found)
        return found


def test_a_broker_that_takes_qos_0_only_is_left_alone_until_a_person_comes() -> None:
    with PacketBroker() as broker:
        broker.welcome = b"\x24\x00"
        with closing(Talk(broker.port)) as talk:
            ended = talk.next(Ended)
    assert ended.lasting
    assert "QoS 0" in ended.words


def test_a_broker_that_keeps_nothing_is_sent_nothing_to_keep(caplog: pytest.LogCaptureFixture) -> None:
    with PacketBroker() as broker:
        broker.welcome = b"\x25\x00"
        with closing(Talk(broker.port)) as talk:
            assert not talk.next(Accepted).retains
            mid = talk.link.publish(Outgoing("t", b"", retain=True))
            assert talk.next(Answered) == Answered(mid, 0)
        assert not broker.publishes[0].retain
    assert "keeps no messages" in caplog.text


def test_the_brokers_keep_alive_replaces_ours_and_a_quiet_connection_is_pinged() -> None:
    with PacketBroker() as broker:
        broker.welcome = b"\x13\x00\x01"
        with closing(Talk(broker.port, keepalive_s=600)) as talk:
            assert talk.next(Accepted).keepalive_s == 1
            talk.until(lambda _: broker.pings == 2)


def test_a_ping_without_an_answer_ends_the_connection() -> None:
    with PacketBroker() as broker, closing(Talk(broker.port, keepalive_s=1, ack_timeout_s=0.2)) as talk:
        talk.next(Accepted)
        broker.raw = b"\xd0"  # half an answer
        assert talk.next(Ended).words == "the broker does not answer"


@pytest.mark.parametrize(("ours", "pings"), [(60, 1), (0, 0)])
def test_a_broker_without_a_keep_alive_does_not_take_ours_away(ours: int, pings: int) -> None:
    with PacketBroker() as broker:
        broker.welcome = b"\x13\x00\x00"
        with closing(Talk(broker.port, keepalive_s=ours)) as talk:
            assert talk.next(Accepted).keepalive_s == 0
            talk.link._wrote_s -= 100
            talk.link.pump(0.0, talk.wake)
            mid = talk.link.publish(Outgoing("t", b""))
            assert talk.next(Answered).mid == mid
        assert broker.pings == pings


def test_a_message_comes_with_everything_and_is_acknowledged() -> None:
    properties = b"\x01\x01\x02\x00\x00\x00\x09\x03\x00\x01j\x08\x00\x01r\x09\x00\x01c\x26\x00\x01k\x00\x01v"
    body = b"\x00\x01t\x00\x05" + bytes([len(properties)]) + properties + b"{}"
    with PacketBroker() as broker, closing(Talk(broker.port)) as talk:
        talk.next(Accepted)
        broker.raw = bytes([0x32, len(body)]) + body
        talk.link.subscribe(["t"])
        assert talk.next(Inbound) == Inbound(
            "t",
            b"{}",
            1,
            retain=False,
            content_type="j",
            response_topic="r",
            correlation=b"c",
            expiry_s=9,
            headers=(("k", "v"),),
        )
        talk.until(lambda _: broker.acks_from_us == 1)
        talk.link.subscribe(["t"])
        assert talk.next(SubscribeAnswered) == SubscribeAnswered((1,))


def test_packet_identifiers_in_flight_are_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_MID_MAX", 3)
    with PacketBroker(answer=lambda _: None) as broker, closing(Talk(broker.port)) as talk:
        talk.next(Accepted)
        first = talk.link.publish(Outgoing("t", b""))
        others = [talk.link.publish(Outgoing("t", b"")) for _ in range(2)]
        broker.wait(lambda b: talk.link.pump(0.0, talk.wake) is None and len(b.publishes) == 3, 5.0)
        broker.ack(broker.peers[0], others[1], 0)
        talk.next(Answered)
        assert (first, others) == (1, [2, 3])
        assert talk.link.publish(Outgoing("t", b"")) == 3
        assert talk.link.publish(Outgoing("t", b"", qos=0)) == 0


@pytest.mark.parametrize(
    "raw", [b"\xd0\x00", b"\x40\x02\x00\x01\x90\x04\x00\x01\x00\x01", HELLO + HELLO, b"SSH-2.0-OpenSSH\r\n"]
)
def test_what_does_not_begin_with_one_welcome_is_no_broker(raw: bytes) -> None:
    with PacketBroker() as broker:
        broker.raw = raw
        with closing(Talk(broker.port)) as talk:
            if raw == b"\xd0\x00":  # an answer to a ping that nobody sent is harmless, and no welcome
                talk.link.pump(0.2, talk.wake)
                assert talk.link.happened() == []
            else:
                assert "not MQTT 5.0" in talk.next(Ended).words


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=400), welcomed=st.booleans(), cut=st.booleans())
def test_any_bytes_end_the_connection_cleanly_or_mean_something(noise: bytes, welcomed: bool, cut: bool) -> None:  # noqa: FBT001
    ours, theirs = socket.socketpair()
    with closing(theirs), closing(ours), closing(socket.create_server(("127.0.0.1", 0))) as server:
        link = MqttDial(replace(QUICK, port=server.getsockname()[1]))(None)
        ours.settimeout(0)
        link._sock = _NoTcp(ours)  # type: ignore[assignment]
        theirs.sendall((HELLO if welcomed else b"") + noise)
        if cut:
            theirs.close()
        wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        for _ in range(3):
            link.pump(0.0, wake)
        ended = [one for one in link.happened() if isinstance(one, Ended)]
        assert len(ended) <= 1
        assert ended or not cut
        link.close()
        os.close(wake)


class _NoTcp:
    """A socket of a pair, which has no options of TCP."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def setsockopt(self, *_arguments: int) -> None:
        return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_an_answer_that_came_before_the_cut_is_not_lost() -> None:
    """The write fails first, with the answer still unread."""
    with socket.create_server(("127.0.0.1", 0)) as server, closing(Talk(server.getsockname()[1])) as talk:
        peer, _ = server.accept()
        peer.sendall(HELLO)
        talk.next(Accepted)
        mid = talk.link.publish(Outgoing("t", b"x"))
        talk.link.pump(0.0, talk.wake)
        peer.recv(10_000)
        peer.sendall(b"\x40\x02\x00" + bytes([mid]))
        peer.close()
        talk.link.publish(Outgoing("t", b"x" * 10_000_000))
        assert talk.next(Answered) == Answered(mid, 0)
        assert talk.next(Ended).words == "the connection was cut"


def test_more_than_the_network_takes_at_once_arrives_whole() -> None:
    with PacketBroker() as broker, closing(Talk(broker.port)) as talk:
        talk.next(Accepted)
        mid = talk.link.publish(Outgoing("t", b"x" * 5_000_000))
        assert talk.next(Answered).mid == mid
        assert broker.publishes[0].body == b"x" * 5_000_000


def test_brokers_are_tried_in_their_order_and_from_the_first_again_after_one_that_stood(
    monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setattr(client, "_STOOD_S", 0.0)
    with PacketBroker() as broker:
        others = (Address("127.0.0.1", broker.port), Address("::1", 1))
        dial = MqttDial(replace(QUICK, port=free_port, fallback=others))
        links = [dial(None) for _ in range(4)]
        assert [link.where for link in links] == [
            f"127.0.0.1:{free_port}",
            f"127.0.0.1:{broker.port}",
            "[::1]:1",
            f"127.0.0.1:{free_port}",
        ]
        assert dial.more
        assert not dial.renewed()
        second = links[1]
        second.open(Stop(), clean=True)
        wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        wait_until(lambda: second.pump(0.01, wake) is None and bool(second.happened()))
        second.close()
        assert not dial.more
        assert dial(None).where == f"127.0.0.1:{free_port}"
        os.close(wake)


def test_an_address_is_read_as_it_is_written() -> None:
    for text in ("broker.plant:8883", "[fe80::1]:1883"):
        assert str(Address.parse(text)) == text
    assert Address.parse("[::1]:1") == Address("::1", 1)


def test_a_closed_link_says_so_and_can_be_closed_again() -> None:
    with PacketBroker() as broker:
        talk = Talk(broker.port)
        talk.link.close()
        talk.link.pump(0.0, talk.wake)
        assert talk.link.happened() == [Ended(None, "the connection is closed")]
        talk.close()


def test_nobody_is_left_behind_by_a_dial_that_fails(free_port: int) -> None:
    with pytest.raises(UnavailableError, match="cannot connect to the broker at"):
        Talk(free_port)
    assert not any(thread.name == "publish/dial" and thread.is_alive() for thread in threading.enumerate())
