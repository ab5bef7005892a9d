"""What passes between an edge node and its brokers, packet by packet, as a passive observer sees it.

``Recorder`` is a TCP proxy before a real broker. It changes nothing; it reads MQTT 5.0 by itself, with none of our
client's code, and puts every packet on a ``Tape`` together with what the test did (``Mark``).
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_CONNECT, _CONNACK, _PUBLISH, _SUBSCRIBE, _DISCONNECT = 1, 2, 3, 8, 14
_SESSION_EXPIRY = 0x11
# Length of the value of each property (MQTT 5.0, 2.2.2.2); negative: text or bytes with a length, doubled for a pair.
_PROPERTY = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4),
    **dict.fromkeys((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F), -1),
    0x26: -2,
}


@dataclass(frozen=True)
class Will:
    topic: str
    body: bytes
    qos: int
    retain: bool


@dataclass(frozen=True)
class Connect:
    version: int
    client_id: str
    clean_start: bool
    session_expiry_s: int
    will: Will | None


@dataclass(frozen=True)
class Accepted:
    reason: int


@dataclass(frozen=True)
class Publish:
    topic: str
    body: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True)
class Subscribe:
    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Disconnect:
    reason: int = 0


@dataclass(frozen=True)
class Closed:
    """The connection is gone, with or without a goodbye before."""


Packet = Connect | Accepted | Publish | Subscribe | Disconnect | Closed


@dataclass(frozen=True)
class Seen:
    """A packet on ``connection`` (numbered over all servers) with ``server``; ``up`` is from the edge node."""

    connection: int
    server: int
    up: bool
    packet: Packet
    at_ms: int


@dataclass(frozen=True)
class Mark:
    """What the test did, which no packet tells.

    ``lost`` and ``back``: a device (its camera). ``changed``: the metric ``what`` of ``place`` (empty: the node).
    ``stop``: the test asked the node to end. ``end``: what was expected had time to come.
    """

    kind: str
    place: str = ""
    what: str = ""


Event = Seen | Mark


@dataclass
class Tape:
    """Events in the order in which they were seen; safe for threads."""

    events: list[Event] = field(default_factory=list)
    connections: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, event: Event) -> None:
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def mark(self, kind: str, place: str = "", what: str = "") -> None:
        self.add(Mark(kind, place, what))

    def new_connection(self) -> int:
        with self.changed:
            self.connections += 1
            return self.connections

    def published(self, kind: str) -> list[Seen]:
        """Return what the node published of a kind, for example NBIRTH."""
        with self.changed:
            return [
                event
                for event in self.events
                if isinstance(event, Seen)
                and event.up
                and isinstance(event.packet, Publish)
                and event.packet.topic.split("/")[2:3] == [kind]
            ]

    def wait(self, predicate: Callable[[Tape], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not predicate(self):
            left = deadline - time.monotonic()
            assert left > 0, f"it was not seen; the last packets: {self.events[-8:]}"
            with self.changed:
                self.changed.wait(min(left, 0.1))


class Recorder:
    """A proxy on ``port`` of loopback before the broker on ``broker_port``."""

    def __init__(self, tape: Tape, broker_port: int, server: int = 0) -> None:
        self.tape = tape
        self.server = server
        self.broker_port = broker_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._wake, self._waker = socket.socketpair()
        self._cut = False
        self._stopping = False
        self._pairs: list[_Pair] = []
        self._thread = threading.Thread(target=self._run, name="recorder")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._waker.send(b"x")
        self._thread.join()
        for sock in (self._listener, self._wake, self._waker):
            sock.close()

    def cut(self) -> None:
        """End every connection without a word, on both sides."""
        self._cut = True
        self._waker.send(b"x")

    def _run(self) -> None:
        while not self._stopping:
            ends = {sock: pair for pair in self._pairs for sock in (pair.client, pair.broker)}
            ready, _, _ = select.select([self._listener, self._wake, *ends], [], [], 1.0)
            if self._wake in ready:
                self._wake.recv(100)
            if self._listener in ready:
                self._accept()
            for sock in ready:
                pair = ends.get(sock)
                if pair is not None and pair in self._pairs and not pair.relay(sock):
                    self._end(pair)
            if self._cut:
                self._cut = False
                for pair in list(self._pairs):
                    self._end(pair)
        for pair in list(self._pairs):
            self._end(pair)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            broker = socket.create_connection(("127.0.0.1", self.broker_port), 5.0)
        except OSError:  # the broker is down: so are we
            client.close()
            return
        self._pairs.append(_Pair(self.tape, self.tape.new_connection(), self.server, client, broker))

    def _end(self, pair: _Pair) -> None:
        self._pairs.remove(pair)
        pair.client.close()
        pair.broker.close()
        pair.note(Closed(), up=True)


class _Pair:
    """One connection: both sockets and what was not yet a whole packet."""

    def __init__(self, tape: Tape, number: int, server: int, client: socket.socket, broker: socket.socket) -> None:
        self.tape = tape
        self.number = number
        self.server = server
        self.client = client
        self.broker = broker
        self._rest = {client: bytearray(), broker: bytearray()}

    def note(self, packet: Packet, *, up: bool) -> None:
        self.tape.add(Seen(self.number, self.server, up, packet, time.time_ns() // 1_000_000))

    def relay(self, source: socket.socket) -> bool:
        """Read, note, pass on; False when the connection has ended."""
        up = source is self.client
        with contextlib.suppress(OSError):
            data = source.recv(65536)
            if data:
                rest = self._rest[source]
                rest += data
                while (packet := cut(rest)) is not None:
                    parsed = parse(*packet)
                    if parsed is not None:
                        self.note(parsed, up=up)
                (self.broker if up else self.client).sendall(data)
                return True
        return False


def cut(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take one whole packet off the front: its first byte and its body."""
    length = shift = 0
    for at in range(1, min(len(buffer), 5)):
        length |= (buffer[at] & 0x7F) << shift
        shift += 7
        if not buffer[at] & 0x80:
            end = at + 1 + length
            if len(buffer) < end:
                return None
            head, body = buffer[0], bytes(buffer[at + 1 : end])
            del buffer[:end]
            return head, body
    return None


def parse(head: int, body: bytes) -> Packet | None:
    """Return what an MQTT 5.0 packet says, ``None`` for kinds that no rule looks at."""
    kind = head >> 4
    reader = _Reader(body)
    if kind == _CONNECT:
        return _connect(reader)
    if kind == _CONNACK:
        reader.number(1)
        return Accepted(reader.number(1))
    if kind == _PUBLISH:
        qos = head >> 1 & 3
        topic = reader.text()
        if qos:
            reader.number(2)
        reader.properties()
        return Publish(topic, reader.rest(), qos, bool(head & 1))
    if kind == _SUBSCRIBE:
        reader.number(2)
        reader.properties()
        filters = []
        while reader.more():
            name = reader.text()
            filters.append((name, reader.number(1) & 3))
        return Subscribe(tuple(filters))
    if kind == _DISCONNECT:
        return Disconnect(reader.number(1) if reader.more() else 0)
    return None


def _connect(reader: _Reader) -> Connect:
    reader.text()
    version = reader.number(1)
    flags = reader.number(1)
    reader.number(2)
    expiry = reader.properties().get(_SESSION_EXPIRY, 0) if version == 5 else 0
    client_id = reader.text()
    will = None
    if flags & 4:
        if version == 5:
            reader.properties()
        topic = reader.text()
        will = Will(topic, reader.binary(), flags >> 3 & 3, bool(flags & 0x20))
    return Connect(version, client_id, bool(flags & 2), expiry, will)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._data)

    def rest(self) -> bytes:
        return self._take(len(self._data) - self._at)

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def binary(self) -> bytes:
        return self._take(self.number(2))

    def text(self) -> str:
        return self.binary().decode()

    def properties(self) -> dict[int, int]:
        """Return the numbers among the properties."""
        end = self._length() + self._at
        numbers = {}
        while self._at < end:
            kind = self.number(1)
            size = 0 if kind == 0x0B else _PROPERTY[kind]
            if kind == 0x0B:
                self._length()
            elif size > 0:
                numbers[kind] = self.number(size)
            for _ in range(-size):
                self.binary()
        return numbers

    def _length(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            message = "a packet that ends too early"
            raise struct.error(message)
        self._at += size
        return taken
