"""What a broker sends, written by a foreign implementation (paho) where it can write it; and anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from edge_runtime.publish.mqtt import packets, parser
from edge_runtime.publish.mqtt.link import Accepted, Answered, Ended, Inbound, Outgoing, SubscribeAnswered

HEADS = (0x20, 0x30, 0x31, 0x32, 0x34, 0x40, 0x90, 0xD0, 0xE0)


def props(kind: int, **values: Any) -> bytes:
    found = Properties(kind)
    for name, value in values.items():
        setattr(found, name, value)
    return bytes(found.pack())


def read(packet: bytes) -> parser.Packet:
    frame = parser.cut(packet, 0)
    assert frame is not None
    assert frame.end == len(packet)
    return parser.read(frame.head, packet[frame.start : frame.end])


def outgoing(payload: bytes, qos: int) -> Outgoing:
    return Outgoing(
        "t/x",
        payload,
        (("a", "b"),),
        qos,
        retain=True,
        expiry_s=5,
        content_type="text/plain",
        correlation=b"c",
    )


def packet(head: int, body: bytes) -> bytes:
    return bytes([head]) + bytes(VariableByteIntegers.encode(len(body))) + body


def test_a_welcome_tells_every_limit() -> None:
    limits = props(
        PacketTypes.CONNACK,
        ReceiveMaximum=10,
        MaximumPacketSize=5000,
        ServerKeepAlive=7,
        MaximumQoS=1,
        RetainAvailable=0,
        AssignedClientIdentifier="mine",
        TopicAliasMaximum=10,
        SessionExpiryInterval=1,
        ReasonString="hello",
        UserProperty=[("a", "b"), ("a", "c")],
        WildcardSubscriptionAvailable=1,
        SubscriptionIdentifierAvailable=1,
        SharedSubscriptionAvailable=0,
        ResponseInformation="r",
        AuthenticationMethod="m",
        AuthenticationData=b"d",
    )
    assert read(packet(0x20, b"\x01\x00" + limits)) == Accepted(
        session_present=True,
        receive_maximum=10,
        packet_max=5000,
        keepalive_s=7,
        qos_max=1,
        retains=False,
        client_id="mine",
    )
    assert read(b"\x20\x03\x00\x00\x00") == Accepted(session_present=False)


def test_a_refusal_says_what_the_broker_adds() -> None:
    said = props(PacketTypes.CONNACK, ReasonString="go away", ServerReference="other:1883")
    assert read(packet(0x20, b"\x00\x9c" + said)) == Ended(
        0x9C,
        "the broker refuses us: use another server (156), it says: go away, it names the server other:1883",
        refused=True,
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"\x00\x07", 0), (b"\x00\x07\x10", 0x10), (b"\x00\x07\x87\x00", 0x87), (b"\x00\x07\x87\x04\x1f\x00\x01x", 0x87)],
)
def test_an_answer_to_a_publish_has_three_lengths(body: bytes, code: int) -> None:
    assert read(packet(0x40, body)) == Answered(7, code)


def test_the_other_answers() -> None:
    assert read(packet(0x90, b"\x00\x01\x00\x01\x87")) == SubscribeAnswered((1, 0x87))
    assert read(b"\xd0\x00") == parser.Pong()
    assert read(b"\xe0\x00") == Ended(0, "the broker ended the connection: reason (0)")
    assert read(b"\xe0\x01\x8e") == Ended(
        0x8E, "the broker ended the connection: another client with our client id took the session over (142)"
    )
    assert read(b"\xe0\x02\x8b\x00") == Ended(0x8B, "the broker ended the connection: server shutting down (139)")


def test_a_message_carries_everything_that_came_with_it() -> None:
    extra = props(
        PacketTypes.PUBLISH,
        PayloadFormatIndicator=1,
        MessageExpiryInterval=9,
        ContentType="application/json",
        ResponseTopic="r/reply/x",
        CorrelationData=b"\x00\xff",
        SubscriptionIdentifier=300,
        UserProperty=[("k", "v"), ("k", "w")],
    )
    assert read(packet(0x33, b"\x00\x01t\x00\x05" + extra + b"{}")) == parser.Delivery(
        5,
        Inbound(
            "t",
            b"{}",
            1,
            retain=True,
            content_type="application/json",
            response_topic="r/reply/x",
            correlation=b"\x00\xff",
            expiry_s=9,
            headers=(("k", "v"), ("k", "w")),
        ),
    )
    assert read(packet(0x30, b"\x00\x01t\x00")) == parser.Delivery(0, Inbound("t", b"", 0, retain=False))


@given(st.binary(max_size=60), st.integers(min_value=0, max_value=1))
def test_what_we_write_is_what_we_read(payload: bytes, qos: int) -> None:
    written = packets.publish(outgoing(payload, qos), 3)
    assert read(written) == parser.Delivery(
        3 if qos else 0,
        Inbound(
            "t/x",
            payload,
            qos,
            retain=True,
            content_type="text/plain",
            correlation=b"c",
            expiry_s=5,
            headers=(("a", "b"),),
        ),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x10\x00",  # CONNECT to a client
        b"\x21\x03\x00\x00\x00",  # flags that must be 0
        b"\x62\x02\x00\x01",  # PUBREL
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x30\xff\xff\xff\x7f",  # 256 MB
        b"\x20\x02\x00\x00",  # no properties
        b"\x20\x03\x02\x00\x00",  # acknowledge flags
        b"\x20\x06\x00\x00\x03\x21\x00\x00",  # Receive Maximum 0
        b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x00",  # Maximum Packet Size 0
        b"\x20\x09\x00\x00\x06\x21\x00\x01\x21\x00\x01",  # a property twice
        b"\x20\x05\x00\x00\x02\x7f\x00",  # an unknown property
        b"\x20\x05\x00\x00\x02\x24\x02",  # Maximum QoS 2 is said by saying nothing
        b"\x20\x04\x00\x00\x7f\x21",  # properties longer than the packet
        b"\x20\x07\x00\x00\xff\xff\xff\xff\x01",  # a length that does not end
        b"\x40\x01\x00",  # half a packet identifier
        b"\x90\x03\x00\x01\x00",  # no code
        b"\x34\x06\x00\x01t\x00\x05\x00",  # QoS 2
        b"\x30\x03\x00\x00\x00",  # no topic
        b"\x32\x06\x00\x01t\x00\x00\x00",  # packet identifier 0
        b"\x30\x07\x00\x01t\x03\x23\x00\x01",  # a topic alias
        b"\x30\x05\x00\x02\xff\xfe\x00",  # no UTF-8
        b"\x30\x04\x00\x01\x00\x00",  # U+0000
        b"\x30\x04\x00\x09t\x00",  # a topic longer than the packet
    ],
)
def test_what_no_broker_may_send_is_malformed(wrong: bytes) -> None:
    with pytest.raises(parser.MalformedError):
        read(wrong)


def test_a_packet_that_is_not_whole_is_waited_for() -> None:
    whole = packet(0x30, b"\x00\x01t\x00" + b"x" * 200)
    for end in range(len(whole)):
        assert parser.cut(whole[:end], 0) is None
    frame = parser.cut(b"\xd0\x00" + whole, 2)
    assert frame is not None
    assert (frame.start, frame.end) == (5, 2 + len(whole))


@given(st.sampled_from(HEADS), st.binary(max_size=200))
def test_any_body_is_a_packet_or_malformed(head: int, body: bytes) -> None:
    try:
        parser.read(head, body)
    except parser.MalformedError:
        return


@given(st.binary(max_size=300))
def test_any_bytes_are_packets_or_malformed(data: bytes) -> None:
    at = 0
    try:
        while (frame := parser.cut(data, at)) is not None:
            parser.read(frame.head, data[frame.start : frame.end])
            assert frame.end > at
            at = frame.end
    except parser.MalformedError:
        return


@given(st.data())
def test_a_packet_with_one_byte_changed_is_a_packet_or_malformed(data: st.DataObject) -> None:
    whole = bytearray(packets.publish(outgoing(b"{}", 1), 3))
    place = data.draw(st.integers(min_value=0, max_value=len(whole) - 1))
    whole[place] = data.draw(st.integers(min_value=0, max_value=255))
    try:
        frame = parser.cut(whole, 0)
        if frame is not None:
            parser.read(frame.head, bytes(whole[frame.start : frame.end]))
    except parser.MalformedError:
        return


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        (0x20, b"\x00\x00", Accepted(session_present=False)),
        (0x40, b"\x00\x07", Answered(7, 0)),
        (0x90, b"\x00\x07\x01\x80", SubscribeAnswered((1, 0x80))),
        (0x33, b"\x00\x01t\x00\x05{}", parser.Delivery(5, Inbound("t", b"{}", 1, retain=True))),
        (0xD0, b"", parser.Pong()),
    ],
)
def test_a_packet_of_3_1_1_has_no_properties(head: int, body: bytes, expected: parser.Packet) -> None:
    assert parser.read(head, body, v5=False) == expected


@pytest.mark.parametrize(("code", "means"), [(1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87), (9, 0x80)])
@pytest.mark.parametrize("v5", [True, False])
def test_a_refusal_of_3_1_1_is_understood_in_both_versions(code: int, means: int, v5: bool) -> None:  # noqa: FBT001
    found = parser.read(0x20, bytes([0, code]), v5=v5)
    assert isinstance(found, Ended)
    assert (found.code, found.refused) == (means, True)


@pytest.mark.parametrize(
    ("head", "body"), [(0xE0, b""), (0x20, b"\x00"), (0x90, b"\x00\x01"), (0x35, b"\x00\x01t\x00\x05")]
)
def test_what_no_broker_of_3_1_1_sends_is_malformed(head: int, body: bytes) -> None:
    with pytest.raises(parser.MalformedError):
        parser.read(head, body, v5=False)
