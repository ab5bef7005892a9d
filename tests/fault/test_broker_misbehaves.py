"""A broker that breaks the rules of MQTT 5.0 costs time at most: every result is delivered, none is lost or muddled."""

from __future__ import annotations

import json
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from tests.daemons import wait_until
from tests.fakes.broker_packets import PUBACK, PacketBroker, Peer, Publish
from tests.fakes.publishing import running_box
from tests.fault.cables import Cable, Mode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COUNT = 300


def puback(mid: int, code: int = 0) -> bytes:
    return bytes([PUBACK << 4, 4]) + struct.pack("!H", mid) + bytes([code, 0])


def twice(peer: Peer, message: Publish) -> None:
    peer.sock.sendall(puback(message.mid) * 2)


def of_somebody_else(peer: Peer, message: Publish) -> None:
    """Ids that we did not use, and in between the right one."""
    peer.sock.sendall(puback((message.mid + 7777) % 65535 + 1) + puback(message.mid) + puback(65535))


def late(peer: Peer, message: Publish) -> None:
    threading.Event().wait(0.002)
    peer.sock.sendall(puback(message.mid))


def byte_by_byte(peer: Peer, message: Publish) -> None:
    for byte in puback(message.mid):
        peer.sock.sendall(bytes([byte]))


def in_the_middle_of_a_packet(peer: Peer, message: Publish) -> None:
    """Every 50th answer breaks off, and so does the connection."""
    if message.mid % 50:
        peer.sock.sendall(puback(message.mid))
    else:
        peer.sock.sendall(puback(message.mid)[:3])
        peer.sock.close()


def not_subscribed(peer: Peer, message: Publish) -> None:
    peer.sock.sendall(puback(message.mid, 0x10))


@pytest.mark.parametrize(
    "answer", [twice, of_somebody_else, late, byte_by_byte, in_the_middle_of_a_packet, not_subscribed]
)
def test_however_a_broker_acknowledges_every_result_comes_in_order(
    tmp_path: Path, answer: Callable[[Peer, Publish], None]
) -> None:
    broker = PacketBroker(receive_maximum=10)

    def respond(message: Publish) -> None:
        peer = broker.peers[message.connection]
        peer.unacked.discard(message.mid)
        answer(peer, message)

    broker.answer = respond
    with broker, running_box(tmp_path, broker.port) as box:
        box.put(COUNT)
        box.wait_acked(COUNT)
        box.put(COUNT)
        box.wait_acked(2 * COUNT)
        came = list(dict.fromkeys(json.loads(body)["seq"] for body in broker.bodies("/result/top")))
    assert came == [*range(1, 2 * COUNT + 1)]
    assert max(peer.most_unacked for peer in broker.peers) <= 10
    assert box.spool.stats().refused == 0


def test_a_network_that_drips_resets_and_swallows_loses_nothing(tmp_path: Path) -> None:
    with (
        PacketBroker(receive_maximum=10) as broker,
        Cable(broker.port) as cable,
        running_box(tmp_path, cable.port) as box,
    ):
        for mode in (Mode.DRIP, Mode.BLACKHOLE, Mode.REFUSE, Mode.PASS, Mode.BLACKHOLE, Mode.PASS):
            cable.set(mode)
            box.put(20)
            threading.Event().wait(0.3)
            cable.reset()
        wait_until(lambda: box.spool.stats().acked == box.frame, what="delivery")
        came = list(dict.fromkeys(json.loads(body)["seq"] for body in broker.bodies("/result/top")))
    assert came == [*range(1, box.frame + 1)]
