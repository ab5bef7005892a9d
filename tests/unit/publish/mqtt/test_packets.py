"""What we send, read by a foreign implementation (paho) where it can read it."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from edge_runtime.publish.mqtt import packets
from edge_runtime.publish.mqtt.link import MqttSettings, Outgoing

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
BOX = MqttSettings("broker", client_id="box-17", keepalive_s=15, session_expiry_s=2, will_delay_s=3)


def body(packet: bytes) -> bytes:
    """What follows the length; checks that the length is right."""
    size, used = VariableByteIntegers.decode(packet[1:])
    assert len(packet) == 1 + used + size
    return packet[1 + used :]


def unpack(kind: int, data: bytes) -> tuple[Properties, bytes]:
    found = Properties(kind)
    _, used = found.unpack(data)
    return found, data[used:]


def string(data: bytes) -> tuple[bytes, bytes]:
    (size,) = struct.unpack_from("!H", data)
    return data[2 : 2 + size], data[2 + size :]


@given(
    headers=st.lists(st.tuples(TEXT, TEXT), max_size=6),
    expiry=st.none() | st.integers(min_value=0, max_value=2**32 - 1),
    correlation=st.none() | st.binary(max_size=16),
    content_type=st.none() | TEXT,
    payload=st.binary(max_size=300),
    qos=st.integers(min_value=0, max_value=1),
)
def test_a_publish_holds_what_paho_reads(
    headers: list[tuple[str, str]],
    expiry: int | None,
    correlation: bytes | None,
    content_type: str | None,
    payload: bytes,
    qos: int,
) -> None:
    message = Outgoing(
        "a/b",
        payload,
        tuple(headers),
        qos,
        expiry_s=expiry,
        content_type=content_type,
        correlation=correlation,
    )
    packet = packets.publish(message, 77)
    assert packet[0] == 0x30 | qos << 1
    topic, rest = string(body(packet))
    assert topic == b"a/b"
    if qos:
        assert rest[:2] == b"\x00\x4d"
        rest = rest[2:]
    found, rest = unpack(PacketTypes.PUBLISH, rest)
    assert rest == payload
    assert getattr(found, "PayloadFormatIndicator", 0) == (content_type is not None)
    assert getattr(found, "ContentType", None) == content_type
    assert getattr(found, "MessageExpiryInterval", None) == expiry
    assert getattr(found, "CorrelationData", None) == correlation
    assert [tuple(pair) for pair in getattr(found, "UserProperty", [])] == headers
    assert len(packet) <= packets.publish_size(message)


@given(st.integers(min_value=0, max_value=268_435_455))
def test_lengths_are_variable_byte_integers(number: int) -> None:
    assert packets.length(number) == VariableByteIntegers.encode(number)


def test_what_mqtt_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a packet can hold"):
        packets.length(268_435_456)
    for message in (
        Outgoing("t" * 70_000, b""),
        Outgoing("t", b"", (("k", "v" * 70_000),)),
        Outgoing("t", b"", correlation=b"c" * 70_000),
    ):
        with pytest.raises(ValueError, match="longer than MQTT allows"):
            packets.publish(message, 1)


def test_retain_can_be_left_out_for_a_broker_that_keeps_nothing() -> None:
    kept = Outgoing("t", b"", retain=True)
    assert [packets.publish(kept, 1)[0], packets.publish(kept, 1, retain=False)[0]] == [0x33, 0x32]


def test_a_connect_without_will_and_names_is_the_smallest() -> None:
    rest = body(packets.connect(BOX, None, clean=False))
    assert rest[:10] == b"\x00\x04MQTT\x05\x00\x00\x0f"
    found, rest = unpack(PacketTypes.CONNECT, rest[10:])
    assert (found.SessionExpiryInterval, found.ReceiveMaximum, found.MaximumPacketSize) == (2, 20, 16 << 20)
    assert not hasattr(found, "TopicAliasMaximum")
    assert string(rest) == (b"box-17", b"")


def test_a_connect_carries_names_and_a_will_with_its_properties() -> None:
    settings = replace(BOX, username="u", password="p")
    will = Outgoing("r/status", b"{}", (("schema", "vision.status/1"),), retain=True)
    rest = body(packets.connect(settings, will, clean=True))
    assert rest[7] == 0x80 | 0x40 | 0x20 | 0x08 | 0x04 | 0x02
    _, rest = unpack(PacketTypes.CONNECT, rest[10:])
    client_id, rest = string(rest)
    found, rest = unpack(PacketTypes.WILLMESSAGE, rest)
    assert (client_id, found.WillDelayInterval, found.ContentType) == (b"box-17", 3, "application/json")
    assert found.UserProperty == [("schema", "vision.status/1")]
    fields = []
    while rest:
        field, rest = string(rest)
        fields.append(field)
    assert fields == [b"r/status", b"{}", b"u", b"p"]


def test_a_sparkplug_connect_has_session_expiry_0_and_a_bare_binary_will_at_qos_1() -> None:
    """tck-id-principles-persistence-clean-session-50, tck-id-payloads-ndeath-will-message-*."""
    settings = MqttSettings("b", client_id="node", session_expiry_s=0, will_delay_s=0)
    will = Outgoing("spBv1.0/g/NDEATH/e", b"\xff\x00", qos=1, retain=False, content_type=None)
    rest = body(packets.connect(settings, will, clean=True))
    assert rest[7] == 0x08 | 0x04 | 0x02  # Will QoS 1, Will, Clean Start; no Will Retain
    found, rest = unpack(PacketTypes.CONNECT, rest[10:])
    assert found.SessionExpiryInterval == 0
    _, rest = string(rest)
    assert rest[:1] == b"\x00"  # no Will property, so no delay
    assert [string(rest[1:])[0], string(string(rest[1:])[1])[0]] == [b"spBv1.0/g/NDEATH/e", b"\xff\x00"]
    assert packets.DISCONNECT_WITH_WILL == b"\xe0\x01\x04"


def test_a_subscription_asks_for_qos_1_retain_as_published_and_retained_messages_once() -> None:
    rest = body(packets.subscribe(9, ["a/#", "b"]))
    assert rest == b"\x00\x09\x00" + b"\x00\x03a/#\x19" + b"\x00\x01b\x19"
    assert packets.subscribe(9, ["a"])[0] == 0x82


def test_an_acknowledgement_is_four_bytes() -> None:
    assert packets.puback(0x0102) == b"\x40\x02\x01\x02"


def test_in_3_1_1_nothing_has_properties() -> None:
    """MQTT 3.1.1, 3.1, 3.3, 3.8."""
    old = replace(BOX, protocol="3.1.1", username="u", password="p")
    will = Outgoing("t/w", b"gone", (("k", "v"),), expiry_s=3)
    assert body(packets.connect(old, will, clean=True)) == (
        b"\x00\x04MQTT\x04\xce\x00\x0f\x00\x06box-17\x00\x03t/w\x00\x04gone\x00\x01u\x00\x01p"
    )
    assert packets.publish(will, 7, v5=False) == b"\x32\x0b\x00\x03t/w\x00\x07gone"
    assert packets.subscribe(9, ["a", "b"], v5=False) == b"\x82\x0a\x00\x09\x00\x01a\x01\x00\x01b\x01"
