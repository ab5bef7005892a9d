from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.core.errors import InvariantError
from edge_runtime.system.messages import (
    INLINE_BYTES,
    LIMIT_BYTES,
    MalformedMessage,
    MessageSocket,
    PeerBusy,
    PeerGone,
    close_all,
    pair,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S = 10.0

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def ends() -> Iterator[tuple[MessageSocket, MessageSocket]]:
    ours, theirs = pair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def raw() -> Iterator[tuple[socket.socket, MessageSocket]]:
    """A hostile peer's socket, and our end of it."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end = MessageSocket(ours)
    yield theirs, end
    theirs.close()
    end.close()


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_whatever_is_json_arrives_as_it_was_sent(message: dict[str, object]) -> None:
    ours, theirs = pair()
    try:
        ours.send(message)
        assert theirs.receive(DEADLINE_S) == message
    finally:
        ours.close()
        theirs.close()


def test_messages_arrive_one_by_one_and_in_order(ends: tuple[MessageSocket, MessageSocket]) -> None:
    for number in range(50):
        ends[0].send({"number": number})
    assert [ends[1].receive(DEADLINE_S) for _ in range(50)] == [{"number": number} for number in range(50)]
    assert ends[1].receive_nowait() is None


@pytest.mark.parametrize("size", [INLINE_BYTES - 20, INLINE_BYTES - 8, INLINE_BYTES, 500_000, LIMIT_BYTES - 10])
def test_a_message_of_any_size_up_to_the_limit_arrives(ends: tuple[MessageSocket, MessageSocket], size: int) -> None:
    message = {"t": "x" * size}
    ends[0].send(message)
    assert ends[1].receive(DEADLINE_S) == message


def test_a_message_over_the_limit_is_refused_before_it_is_sent(ends: tuple[MessageSocket, MessageSocket]) -> None:
    with pytest.raises(MalformedMessage, match="1048576 are allowed"):
        ends[0].send({"t": "x" * LIMIT_BYTES})
    assert ends[1].receive_nowait() is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", b"bytes", {1, 2}])
def test_what_json_cannot_say_is_refused_before_it_is_sent(
    ends: tuple[MessageSocket, MessageSocket], value: object
) -> None:
    with pytest.raises(MalformedMessage) as caught:
        ends[0].send({"value": value})
    assert caught.value.code == "system.malformed_message"


def test_a_silent_peer_is_waited_for_no_longer_than_asked(ends: tuple[MessageSocket, MessageSocket]) -> None:
    assert ends[1].receive(0.01) is None


def test_a_waiting_receiver_gets_a_message_that_comes_later(ends: tuple[MessageSocket, MessageSocket]) -> None:
    sender = threading.Timer(0.02, lambda: ends[0].send({"late": True}))
    sender.start()
    assert ends[1].receive(None) == {"late": True}
    sender.join()


def test_a_closed_peer_is_gone_after_its_last_message(ends: tuple[MessageSocket, MessageSocket]) -> None:
    ends[0].send({"last": 1})
    ends[0].close()
    assert ends[1].receive(DEADLINE_S) == {"last": 1}
    with pytest.raises(PeerGone) as received:
        ends[1].receive(DEADLINE_S)
    assert received.value.code == "system.peer_gone"
    with pytest.raises(PeerGone):
        ends[1].send({"to": "nobody"})


def test_a_peer_that_dies_with_unread_messages_is_gone(ends: tuple[MessageSocket, MessageSocket]) -> None:
    ends[1].send({"never": "read"})
    ends[0].close()
    with pytest.raises(PeerGone):
        ends[1].receive(DEADLINE_S)


def test_our_own_closed_end_says_so_instead_of_hanging(ends: tuple[MessageSocket, MessageSocket]) -> None:
    ends[0].close()
    ends[0].close()
    with pytest.raises(PeerGone):
        ends[0].send({})
    with pytest.raises(PeerGone):
        ends[0].receive(0)


def fill(end: MessageSocket) -> int:
    for count in range(100_000):
        try:
            end.send({"n": count}, timeout_s=0)
        except PeerBusy:
            return count
    pytest.fail("the kernel has no bound")


def test_a_peer_that_does_not_read_is_busy_after_the_deadline_and_loses_nothing(
    ends: tuple[MessageSocket, MessageSocket],
) -> None:
    count = fill(ends[0])
    assert count > 100
    with pytest.raises(PeerBusy) as caught:
        ends[0].send({"n": -1}, timeout_s=0.02)
    assert caught.value.code == "system.peer_busy"
    assert [ends[1].receive_nowait() for _ in range(count)] == [{"n": number} for number in range(count)]
    assert ends[1].receive_nowait() is None


def test_a_sender_that_waits_gets_through_when_the_peer_reads(ends: tuple[MessageSocket, MessageSocket]) -> None:
    count = fill(ends[0])
    reader = threading.Timer(0.02, lambda: [ends[1].receive(DEADLINE_S) for _ in range(count)])
    reader.start()
    ends[0].send({"patient": True}, timeout_s=DEADLINE_S)
    reader.join()
    assert ends[1].receive(DEADLINE_S) == {"patient": True}


def test_descriptors_travel_with_a_message_small_or_large(ends: tuple[MessageSocket, MessageSocket]) -> None:
    for size in (10, INLINE_BYTES * 2):
        reading, writing = os.pipe()
        ends[0].send({"t": "x" * size}, fds=[reading, writing])
        close_all([reading, writing])
        parcel = ends[1].receive_parcel(DEADLINE_S)
        assert parcel is not None
        os.write(parcel.fds[1], b"through")
        assert os.read(parcel.fds[0], 10) == b"through"
        assert not any(os.get_inheritable(fd) for fd in parcel.fds)
        close_all(parcel.fds)


def test_a_closed_descriptor_cannot_be_sent(ends: tuple[MessageSocket, MessageSocket]) -> None:
    reading, writing = os.pipe()
    close_all([reading, writing])
    with pytest.raises(InvariantError, match="is not open"):
        ends[0].send({}, fds=[reading])


def test_uninvited_descriptors_are_closed_and_refused(ends: tuple[MessageSocket, MessageSocket]) -> None:
    reading, writing = os.pipe()
    ends[0].send({}, fds=[reading, writing])
    close_all([reading, writing])
    with pytest.raises(MalformedMessage, match="2 descriptors"):
        ends[1].receive(DEADLINE_S)  # the fixture for leaks sees whether they were closed


@pytest.mark.parametrize(
    "packet",
    [
        b"not json",
        b"[1,2]",
        b'"text"',
        b"\xff\xfe",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\uD800x"}',
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"a":' + b"[" * 40_000,
        b"x" * (INLINE_BYTES + 1),
        b"@",
        b"@60000",
    ],
    ids=lambda packet: packet[:12].decode("latin-1"),
)
def test_a_hostile_packet_is_refused_and_the_next_message_still_arrives(
    raw: tuple[socket.socket, MessageSocket], packet: bytes
) -> None:
    theirs, ours = raw
    theirs.send(packet)
    theirs.send(b'{"next":1}')
    with pytest.raises(MalformedMessage):
        ours.receive(DEADLINE_S)
    assert ours.receive(DEADLINE_S) == {"next": 1}


def test_valid_surrogate_pairs_are_welcome(raw: tuple[socket.socket, MessageSocket]) -> None:
    raw[0].send(b'{"a":"\\ud83d\\ude00"}')
    assert raw[1].receive(DEADLINE_S) == {"a": "\U0001f600"}


def test_an_empty_packet_counts_as_the_end(raw: tuple[socket.socket, MessageSocket]) -> None:
    raw[0].send(b"")
    with pytest.raises(PeerGone):
        raw[1].receive(DEADLINE_S)


def send_overflow(sock: socket.socket, header: bytes, content: bytes, *, seals: int) -> None:
    fd = os.memfd_create("hostile", os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    socket.send_fds(sock, [header], [fd])
    os.close(fd)


ALL_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
BIG = json.dumps({"t": "x" * 60_000}).encode()


@pytest.mark.parametrize(
    ("header", "content", "seals"),
    [
        (b"@%d" % len(BIG), BIG, 0),  # could shrink while it is read
        (b"@%d" % (len(BIG) + 1), BIG, ALL_SEALS),  # shorter than announced
        (b"@%d" % (LIMIT_BYTES + 1), BIG, ALL_SEALS),
        (b"@" + b"9" * 5000, BIG, ALL_SEALS),
        (b"@-1", BIG, ALL_SEALS),
        (b"@10", b'{"a":1}   ', ALL_SEALS),  # would have fitted a packet
        (b"@60000", b"x" * 60_000, ALL_SEALS),
    ],
)
def test_a_hostile_large_message_is_refused_and_its_descriptor_closed(
    raw: tuple[socket.socket, MessageSocket], header: bytes, content: bytes, seals: int
) -> None:
    send_overflow(raw[0], header, content, seals=seals)
    with pytest.raises(MalformedMessage):
        raw[1].receive(DEADLINE_S)


def test_a_large_message_in_a_pipe_cannot_block_the_reader(raw: tuple[socket.socket, MessageSocket]) -> None:
    reading, writing = os.pipe()
    socket.send_fds(raw[0], [b"@60000"], [reading])
    with pytest.raises(MalformedMessage):
        raw[1].receive(DEADLINE_S)
    close_all([reading, writing])


def test_more_descriptors_than_allowed_are_refused_and_closed(raw: tuple[socket.socket, MessageSocket]) -> None:
    fds = array.array("i", [raw[0].fileno()] * 100)
    raw[0].sendmsg([b"{}"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    with pytest.raises(MalformedMessage, match="has more"):
        raw[1].receive(DEADLINE_S)
