"""A broker at the level of packets: answers as a test says and counts what a client may not do.

MQTT 5.0 only, no routing: it takes CONNECT, PUBLISH, SUBSCRIBE, PINGREQ and DISCONNECT. ``tests/integration`` runs the
same script against it and against mosquitto.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = (1, 2, 3, 4, 8, 9, 12, 13, 14)


@dataclass(frozen=True)
class Publish:
    connection: int
    topic: str
    body: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int


@dataclass
class Peer:
    """One connection."""

    number: int
    sock: socket.socket
    buffer: bytearray = field(default_factory=bytearray)
    unacked: set[int] = field(default_factory=set)
    most_unacked: int = 0
    said_goodbye: bool = False


def accept(_message: Publish) -> int | None:
    return 0


class PacketBroker:
    """``answer`` returns the reason code of a PUBACK, or None to hold it back.

    A packet larger than ``packet_max`` ends its connection; ``announce_max`` false keeps that limit a secret.
    """

    def __init__(
        self,
        *,
        receive_maximum: int | None = None,
        packet_max: int | None = None,
        announce_max: bool = True,
        connack: int = 0,
        port: int = 0,
        answer: Callable[[Publish], int | None] = accept,
    ) -> None:
        self.receive_maximum = receive_maximum
        self.packet_max = packet_max
        self.announce_max = announce_max
        self.connack = connack
        self.answer = answer
        self.host = "127.0.0.1"
        self._server = socket.create_server((self.host, port))
        self.port = int(self._server.getsockname()[1])
        self._wake, self._waker = socket.socketpair()
        self._changed = threading.Condition()  # guards everything below
        self.peers: list[Peer] = []
        self.publishes: list[Publish] = []
        self.client_ids: list[str] = []
        self.filters: list[str] = []
        self.raw: bytes | None = None  # sent instead of the next answer
        self.refuse_subscriptions = False
        self.welcome = b""  # more properties of the next CONNACKs
        self.flaps = 0  # so many connections are cut as soon as they were welcomed
        self.pings = 0
        self.acks_from_us = 0  # PUBACKs that clients sent
        self._drop = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="packet broker")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._waker.send(b"x")
        self._thread.join()
        for sock in (self._server, self._wake, self._waker, *(peer.sock for peer in self.peers)):
            sock.close()

    def wait(self, predicate: Callable[[PacketBroker], bool], timeout_s: float = 10.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self), timeout_s), "the packets did not come"

    def drop(self) -> None:
        """Cut every connection without a word."""
        self._drop = True
        self._waker.send(b"x")

    def bodies(self, topic_end: str) -> list[bytes]:
        with self._changed:
            return [p.body for p in self.publishes if p.topic.endswith(topic_end)]

    def _run(self) -> None:
        while not self._stopping:
            live = [peer for peer in self.peers if peer.sock.fileno() >= 0]
            ready, _, _ = select.select([self._server, self._wake, *(peer.sock for peer in live)], [], [], 1.0)
            if self._wake in ready:
                self._wake.recv(100)
            with self._changed:
                if self._drop:
                    self._drop = False
                    for peer in live:
                        peer.sock.close()
                    continue
                if self._server in ready:
                    sock, _ = self._server.accept()
                    self.peers.append(Peer(len(self.peers), sock))
                for peer in live:
                    if peer.sock in ready:
                        self._read(peer)
                self._changed.notify_all()

    def _read(self, peer: Peer) -> None:
        with contextlib.suppress(OSError):
            data = peer.sock.recv(65536)
            if data:
                peer.buffer += data
                while (packet := _cut(peer.buffer)) is not None:
                    if self.packet_max is not None and packet.size > self.packet_max:
                        peer.sock.sendall(bytes([DISCONNECT << 4, 2, 0x95, 0]))
                        break
                    self._handle(peer, packet.head, packet.body)
                else:
                    return
        peer.sock.close()

    def _handle(self, peer: Peer, head: int, body: bytes) -> None:
        kind = head >> 4
        if self.raw is not None:
            raw, self.raw = self.raw, None
            peer.sock.sendall(raw)
        elif kind == CONNECT:
            self._connect(peer, body)
        elif kind == PUBLISH:
            self._publish(peer, head, body)
        elif kind == SUBSCRIBE:
            self._subscribe(peer, body)
        elif kind == PUBACK:
            self.acks_from_us += 1
        elif kind == PINGREQ:
            self.pings += 1
            peer.sock.sendall(bytes([PINGRESP << 4, 0]))
        elif kind == DISCONNECT:
            peer.said_goodbye = True

    def _connect(self, peer: Peer, body: bytes) -> None:
        _, at = _block(body, 10)
        self.client_ids.append(_text(body, at)[0])
        limits = b""
        if self.receive_maximum is not None:
            limits += b"\x21" + struct.pack("!H", self.receive_maximum)
        if self.packet_max is not None and self.announce_max:
            limits += b"\x27" + struct.pack("!I", self.packet_max)
        limits += self.welcome
        payload = bytes([0, self.connack, len(limits)]) + limits
        peer.sock.sendall(bytes([CONNACK << 4, len(payload)]) + payload)
        if self.flaps:
            self.flaps -= 1
            peer.sock.close()

    def _publish(self, peer: Peer, head: int, body: bytes) -> None:
        qos = head >> 1 & 3
        topic, at = _text(body, 0)
        mid = 0
        if qos:
            mid = struct.unpack_from("!H", body, at)[0]
            at += 2
        _, at = _block(body, at)
        message = Publish(peer.number, topic, body[at:], qos, bool(head & 1), bool(head & 8), mid)
        self.publishes.append(message)
        if qos:
            peer.unacked.add(mid)
            peer.most_unacked = max(peer.most_unacked, len(peer.unacked))
            code = self.answer(message)
            if code is not None:
                self.ack(peer, mid, code)

    def ack(self, peer: Peer, mid: int, code: int) -> None:
        peer.unacked.discard(mid)
        payload = struct.pack("!H", mid) + (bytes([code, 0]) if code else b"")
        peer.sock.sendall(bytes([PUBACK << 4, len(payload)]) + payload)

    def _subscribe(self, peer: Peer, body: bytes) -> None:
        mid = body[:2]
        _, at = _block(body, 2)
        codes = []
        while at < len(body):
            topic, at = _text(body, at)
            self.filters.append(topic)
            codes.append(0x87 if self.refuse_subscriptions else 1)
            at += 1
        peer.sock.sendall(bytes([SUBACK << 4, 3 + len(codes)]) + mid + b"\x00" + bytes(codes))


@dataclass(frozen=True)
class Packet:
    """First byte, what follows the length, and the size of it all."""

    head: int
    body: bytes
    size: int


def _cut(buffer: bytearray) -> Packet | None:
    """Take one whole packet from the front."""
    length, shift, at = 0, 0, 1
    while True:
        if at >= len(buffer):
            return None
        length |= (buffer[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not buffer[at - 1] & 0x80:
            break
    if len(buffer) < at + length:
        return None
    packet = Packet(buffer[0], bytes(buffer[at : at + length]), at + length)
    del buffer[: at + length]
    return packet


def _text(body: bytes, at: int) -> tuple[str, int]:
    size = struct.unpack_from("!H", body, at)[0]
    return body[at + 2 : at + 2 + size].decode(), at + 2 + size


def _block(body: bytes, at: int) -> tuple[bytes, int]:
    """A section with its length (a Variable Byte Integer) in front."""
    length, shift = 0, 0
    while True:
        byte = body[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return body[at : at + length], at + length
