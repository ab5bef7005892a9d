"""The packets that a broker sends, as what they say. Pure.

Whatever a broker may not send to a client like ours (see ``packets``) is a ``MalformedError``; nothing else is raised,
whatever the bytes. Sections are those of the OASIS standard "MQTT Version 5.0" of 7 March 2019. With ``v5=False`` a
packet is one of version 3.1.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge_runtime.publish.mqtt.link import (
    FAILURE,
    UNLIMITED_RECEIVE,
    Accepted,
    Answered,
    Ended,
    Inbound,
    SubscribeAnswered,
    words,
)
from edge_runtime.publish.mqtt.packets import PACKET_MAX

_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _PINGRESP, _DISCONNECT = 2, 3, 4, 9, 13, 14
_PUBLISH_HEAD: Final = _PUBLISH << 4
_EXACT_HEADS = {kind << 4 for kind in (_CONNACK, _PUBACK, _SUBACK, _PINGRESP, _DISCONNECT)}  # 2.1.3: flags are 0
_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")


class MalformedError(ValueError):
    """Bytes that no MQTT 5.0 broker sends to us (1.2, "Malformed Packet" and "Protocol Error")."""


class Frame(NamedTuple):
    """Where a whole packet lies in a buffer: its first byte, and the body from ``start`` to ``end``."""

    head: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A PUBLISH that came in; ``mid`` is to be acknowledged, 0 when QoS is 0."""

    mid: int
    message: Inbound


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to PINGREQ."""


Packet = Accepted | Ended | Answered | SubscribeAnswered | Delivery | Pong


def cut(buffer: bytes | bytearray, at: int) -> Frame | None:
    """Find the packet that begins at ``at``; ``None`` while it is not whole.

    Raises:
        MalformedError: no packet can begin like that, or it is longer than we allow.
    """
    end = len(buffer)
    if at + 2 > end:
        return None
    head = buffer[at]
    if head & 0xF0 != _PUBLISH_HEAD and head not in _EXACT_HEADS:
        msg = f"unexpected packet (0x{head:02x})"
        raise MalformedError(msg)
    size, shift = 0, 0
    for start in range(at + 1, at + 5):
        if start >= end:
            return None
        byte = buffer[start]
        size |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
            if size > PACKET_MAX:
                msg = f"a packet of {size} bytes, more than the {PACKET_MAX} that we announced"
                raise MalformedError(msg)
            return Frame(head, start + 1, start + 1 + size) if start + 1 + size <= end else None
        shift += 7
    msg = "the length of a packet does not end"
    raise MalformedError(msg)


def read(head: int, body: bytes, *, v5: bool = True) -> Packet:
    """Return what a packet says; ``head`` and ``body`` as ``cut`` found them.

    Raises:
        MalformedError: it says nothing.
    """
    try:
        return _read(head, _Reader(body)) if v5 else _read_old(head, _Reader(body))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        msg = f"packet 0x{head:02x} of {len(body)} bytes is malformed"
        raise MalformedError(msg) from error


def _read(head: int, reader: _Reader) -> Packet:
    kind = head >> 4
    if kind == _PUBACK:
        return _read_puback(reader)
    if kind == _PUBLISH:
        return _read_publish(head, reader)
    if kind == _CONNACK:
        return _read_connack(reader)
    if kind == _SUBACK:
        return _read_suback(reader)
    if kind == _PINGRESP:
        return Pong()
    code = reader.byte() if reader.left else 0
    properties = reader.properties() if reader.left else {}
    return Ended(code, f"the broker ended the connection: {_explained(code, properties)}")


def _read_old(head: int, reader: _Reader) -> Packet:
    """Read a packet of MQTT 3.1.1."""
    kind = head >> 4
    if kind == _CONNACK:
        present, code = reader.flag(), reader.byte()
        return _refused_old(code) if code else Accepted(session_present=bool(present))
    if kind == _SUBACK:
        return _read_suback(reader, v5=False)
    if kind == _PUBLISH:
        return _read_publish(head, reader, v5=False)
    if kind == _PUBACK:
        return Answered(reader.two(), 0)
    if kind == _PINGRESP:
        return Pong()
    msg = f"unexpected packet (0x{head:02x})"
    raise MalformedError(msg)


_OLD_CODES = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}  # return codes of MQTT 3.1.1, 3.2.2.3


def _refused_old(code: int) -> Ended:
    known = _OLD_CODES.get(code, FAILURE)
    said = "the broker does not speak this version of MQTT" if code == 1 else words(known)
    return Ended(known, f"the broker refuses us: {said}", refused=True)


class _Reader:
    """Takes values off the front of a packet's body; raises ``struct.error`` or ``IndexError`` at its end."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def byte(self) -> int:
        self._at += 1
        return self._body[self._at - 1]

    def flag(self) -> int:
        value = self.byte()
        if value > 1:
            msg = f"{value} where only 0 and 1 may stand"
            raise MalformedError(msg)
        return value

    def two(self) -> int:
        self._at += 2
        return int(_U16.unpack_from(self._body, self._at - 2)[0])

    def four(self) -> int:
        self._at += 4
        return int(_U32.unpack_from(self._body, self._at - 4)[0])

    def length(self) -> int:
        size, shift = 0, 0
        while True:
            byte = self.byte()
            size |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
                return size
            shift += 7
            if shift > 21:  # noqa: PLR2004 - four bytes at most
                msg = "a length does not end"
                raise MalformedError(msg)

    def binary(self) -> bytes:
        return self.take(self.two())

    def text(self) -> str:
        value = self.binary().decode()
        if "\0" in value:
            msg = "a text with U+0000"
            raise MalformedError(msg)
        return value

    def pair(self) -> tuple[str, str]:
        return (self.text(), self.text())

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise IndexError
        self._at += size
        return self._body[self._at - size : self._at]

    def properties(self) -> dict[int, object]:
        """Return the properties by their identifier (2.2.2.2); User Properties as a list."""
        section = _Reader(self.take(self.length()))
        found: dict[int, object] = {}
        users: list[tuple[str, str]] = []
        while section.left:
            key = section.byte()
            if key == _USER:
                users.append(section.pair())
                continue
            read_value = _PROPERTIES.get(key)
            if read_value is None or (key in found and key != _SUBSCRIPTION_ID):
                msg = f"property 0x{key:02x} is unknown or comes twice"
                raise MalformedError(msg)
            found[key] = read_value(section)
        if users:
            found[_USER] = tuple(users)
        return found


_USER = 0x26
_SUBSCRIPTION_ID = 0x0B
_EXPIRY, _CONTENT_TYPE, _RESPONSE, _CORRELATION = 0x02, 0x03, 0x08, 0x09
_CLIENT_ID, _KEEP_ALIVE, _REFERENCE, _REASON = 0x12, 0x13, 0x1C, 0x1F
_RECEIVE_MAXIMUM, _TOPIC_ALIAS, _MAXIMUM_QOS, _RETAIN, _PACKET_SIZE = 0x21, 0x23, 0x24, 0x25, 0x27
_PROPERTIES = {
    0x01: _Reader.flag,
    _EXPIRY: _Reader.four,
    _CONTENT_TYPE: _Reader.text,
    _RESPONSE: _Reader.text,
    _CORRELATION: _Reader.binary,
    _SUBSCRIPTION_ID: _Reader.length,
    0x11: _Reader.four,  # Session Expiry Interval
    _CLIENT_ID: _Reader.text,
    _KEEP_ALIVE: _Reader.two,
    0x15: _Reader.text,  # Authentication Method
    0x16: _Reader.binary,  # Authentication Data
    0x1A: _Reader.text,  # Response Information
    _REFERENCE: _Reader.text,
    _REASON: _Reader.text,
    _RECEIVE_MAXIMUM: _Reader.two,
    0x22: _Reader.two,  # Topic Alias Maximum
    _TOPIC_ALIAS: _Reader.two,
    _MAXIMUM_QOS: _Reader.flag,
    _RETAIN: _Reader.flag,
    _PACKET_SIZE: _Reader.four,
    0x28: _Reader.flag,  # Wildcard Subscription Available
    0x29: _Reader.flag,  # Subscription Identifier Available
    0x2A: _Reader.flag,  # Shared Subscription Available
}


def _number(properties: dict[int, object], key: int, default: int) -> int:
    value = properties.get(key, default)
    assert isinstance(value, int)  # noqa: S101 - the table above says so
    return value


def _words(properties: dict[int, object], key: int) -> str | None:
    value = properties.get(key)
    assert value is None or isinstance(value, str)  # noqa: S101 - the table above says so
    return value


def _explained(code: int, properties: dict[int, object]) -> str:
    """Return a reason code with what the broker adds to it (3.2.2.3.9, 3.2.2.3.16)."""
    reason, reference = _words(properties, _REASON), _words(properties, _REFERENCE)
    said = "" if reason is None else f", it says: {reason[:200]}"
    return f"{words(code)}{said}{'' if reference is None else f', it names the server {reference[:200]}'}"


def _read_connack(reader: _Reader) -> Accepted | Ended:
    session_present, code = reader.flag(), reader.byte()
    if code and not reader.left:  # the answer of a broker that is older than MQTT 5.0
        return _refused_old(code)
    properties = reader.properties()
    if code >= FAILURE:
        return Ended(code, f"the broker refuses us: {_explained(code, properties)}", refused=True)
    receive_maximum = _number(properties, _RECEIVE_MAXIMUM, UNLIMITED_RECEIVE)
    packet_max = _number(properties, _PACKET_SIZE, PACKET_MAX)
    if not receive_maximum or not packet_max:  # 3.2.2.3.3, 3.2.2.3.6
        msg = "a CONNACK that allows nothing"
        raise MalformedError(msg)
    return Accepted(
        session_present=bool(session_present),
        receive_maximum=receive_maximum,
        packet_max=packet_max if _PACKET_SIZE in properties else None,
        keepalive_s=_number(properties, _KEEP_ALIVE, 0) if _KEEP_ALIVE in properties else None,
        qos_max=_number(properties, _MAXIMUM_QOS, 2),
        retains=bool(_number(properties, _RETAIN, 1)),
        client_id=_words(properties, _CLIENT_ID),
    )


def _read_puback(reader: _Reader) -> Answered:
    mid = reader.two()
    code = reader.byte() if reader.left else 0
    if reader.left:
        reader.properties()
    return Answered(mid, code)


def _read_suback(reader: _Reader, *, v5: bool = True) -> SubscribeAnswered:
    reader.two()
    if v5:
        reader.properties()
    codes = tuple(reader.take(reader.left))
    if not codes:
        msg = "a SUBACK without an answer"
        raise MalformedError(msg)
    return SubscribeAnswered(codes)


def _read_publish(head: int, reader: _Reader, *, v5: bool = True) -> Delivery:
    qos = head >> 1 & 3
    if qos > 1:  # 3.8.4: never more than we subscribed with
        msg = f"a message at QoS {qos}"
        raise MalformedError(msg)
    topic = reader.text()
    mid = reader.two() if qos else 0
    properties = reader.properties() if v5 else {}
    if not topic or _TOPIC_ALIAS in properties or (qos and not mid):  # 3.3.2.3.4: we announced no alias
        msg = "a message without a topic or packet identifier of its own"
        raise MalformedError(msg)
    correlation, headers = properties.get(_CORRELATION), properties.get(_USER, ())
    assert correlation is None or isinstance(correlation, bytes)  # noqa: S101 - the table above says so
    assert isinstance(headers, tuple)  # noqa: S101 - see ``properties``
    return Delivery(
        mid,
        Inbound(
            topic=topic,
            payload=reader.take(reader.left),
            qos=qos,
            retain=bool(head & 1),
            content_type=_words(properties, _CONTENT_TYPE),
            response_topic=_words(properties, _RESPONSE),
            correlation=correlation,
            expiry_s=_number(properties, _EXPIRY, 0) if _EXPIRY in properties else None,
            headers=headers,
        ),
    )
