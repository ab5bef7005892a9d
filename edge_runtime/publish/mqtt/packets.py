"""The packets that we send, as bytes: CONNECT, PUBLISH at QoS 0 and 1, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT. Pure.

Sections are those of the OASIS standard "MQTT Version 5.0" of 7 March 2019. With ``v5=False`` a packet is one of
version 3.1.1 (29 October 2014): the same without properties and with fewer options.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.publish.mqtt.link import MqttSettings, Outgoing

INBOUND_MAX: Final = 20  # our Receive Maximum: commands in flight to us
PACKET_MAX: Final = 16 << 20  # our Maximum Packet Size
PINGREQ: Final = b"\xc0\x00"
DISCONNECT: Final = b"\xe0\x00"
DISCONNECT_WITH_WILL: Final = b"\xe0\x01\x04"  # 3.14.2.1

_STRING_MAX = 0xFFFF
_LENGTH_MAX = 268_435_455  # 1.5.5
# A retained command is known as one also live; subscribing again does not bring retained messages again (3.8.3.1):
# QoS 1, Retain As Published, Retain Handling 1.
_SUBSCRIPTION = bytes([0b0001_1001])

_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")


def connect(settings: MqttSettings, will: Outgoing | None, *, clean: bool) -> bytes:
    """Return CONNECT (3.1), of the version that ``settings`` say.

    Raises:
        ValueError: a text is longer than 65535 bytes.
    """
    v5 = settings.protocol == "5"
    flags = (0x02 if clean else 0) | (0x80 if settings.username is not None else 0)
    flags |= 0x40 if settings.password is not None else 0
    properties = b"\x11" + _U32.pack(settings.session_expiry_s)
    properties += b"\x21" + _U16.pack(INBOUND_MAX) + b"\x27" + _U32.pack(PACKET_MAX)
    payload = [text(settings.client_id)]
    if will is not None:
        flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
        delay = b"\x18" + _U32.pack(settings.will_delay_s) if settings.will_delay_s else b""
        payload += [_section(delay + _properties(will)) if v5 else b"", text(will.topic), _binary(will.body)]
    if settings.username is not None:
        payload.append(text(settings.username))
    if settings.password is not None:
        payload.append(text(settings.password))
    variable = text("MQTT") + bytes([5 if v5 else 4, flags]) + _U16.pack(settings.keepalive_s)
    return _packet(0x10, variable + (_section(properties) if v5 else b"") + b"".join(payload))


def publish(message: Outgoing, mid: int, *, retain: bool | None = None, v5: bool = True) -> bytes:
    """Return PUBLISH (3.3); ``mid`` is left out at QoS 0, ``retain`` overrules the message's own.

    Raises:
        ValueError: a text is longer than 65535 bytes, or the packet than 256 MB.
    """
    properties = _properties(message) if v5 else b""
    retained = message.retain if retain is None else retain
    parts = (
        _topic(message.topic),
        _U16.pack(mid) if message.qos else b"",
        length(len(properties)) if v5 else b"",
        properties,
        message.body,
    )
    return b"".join((bytes((0x30 | message.qos << 1 | retained,)), length(sum(map(len, parts))), *parts))


def publish_size(message: Outgoing) -> int:
    """Return the bytes of a PUBLISH, never too few."""
    return len(message.topic.encode()) + len(_properties(message)) + len(message.body) + 13


def puback(mid: int) -> bytes:
    """Return PUBACK with success (3.4)."""
    return b"\x40\x02" + _U16.pack(mid)


def subscribe(mid: int, filters: Sequence[str], *, v5: bool = True) -> bytes:
    """Return SUBSCRIBE at QoS 1 (3.8).

    Raises:
        ValueError: a filter is longer than 65535 bytes.
    """
    asked = b"".join(text(one) + (_SUBSCRIPTION if v5 else b"\x01") for one in filters)
    return _packet(0x82, _U16.pack(mid) + (b"\x00" if v5 else b"") + asked)


def text(value: str) -> bytes:
    """Return a UTF-8 Encoded String (1.5.4).

    Raises:
        ValueError: it is longer than 65535 bytes.
    """
    return _binary(value.encode())


def length(number: int) -> bytes:
    """Return a Variable Byte Integer (1.5.5).

    Raises:
        ValueError: it is larger than 268435455.
    """
    if number < 0x80:  # noqa: PLR2004 - what fits into seven bits
        return bytes((number,))
    if number > _LENGTH_MAX:
        msg = f"{number} is more than a packet can hold"
        raise ValueError(msg)
    out = bytearray()
    while number:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
    return bytes(out)


def _binary(data: bytes) -> bytes:
    if len(data) > _STRING_MAX:
        msg = f"a text of {len(data)} bytes is longer than MQTT allows ({_STRING_MAX})"
        raise ValueError(msg)
    return _U16.pack(len(data)) + data


@lru_cache(maxsize=1024)
def _topic(topic: str) -> bytes:
    return text(topic)


def _section(properties: bytes) -> bytes:
    return length(len(properties)) + properties


def _packet(head: int, body: bytes) -> bytes:
    return bytes((head,)) + length(len(body)) + body


def _properties(message: Outgoing) -> bytes:
    """Return the properties of a PUBLISH (3.3.2.3), or of a Will (3.1.3.2), without their length."""
    parts = []
    if message.content_type is not None:
        parts.append(_content(message.content_type))
    if message.expiry_s is not None:
        parts.append(b"\x02" + _U32.pack(message.expiry_s))
    if message.correlation is not None:
        parts.append(b"\x09" + _binary(message.correlation))
    for name, value in message.headers:
        data = value.encode()
        if len(data) > _STRING_MAX:
            msg = f"the user property {name} is longer than MQTT allows"
            raise ValueError(msg)
        parts += (_user(name), _U16.pack(len(data)), data)
    return b"".join(parts)


@lru_cache(maxsize=64)
def _content(content_type: str) -> bytes:
    return b"\x01\x01\x03" + text(content_type)  # Payload Format Indicator: UTF-8; Content Type


@lru_cache(maxsize=256)
def _user(name: str) -> bytes:
    return b"\x26" + text(name)
