"""What a controller may write, and what is refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.control.handshake.inputs import Signal, Wire, parse
from edge_runtime.control.handshake.machine import Part
from edge_runtime.core.errors import DataError


@pytest.mark.parametrize(
    ("payload", "level"),
    [
        (b"true", True),
        (b"1", True),
        (b" TRUE \n", True),
        (b'"true"', True),
        (b"false", False),
        (b"0", False),
        (b'{"value": true}', True),
        (b'{"value": 0}', False),
    ],
)
def test_levels(payload: bytes, level: bool) -> None:  # noqa: FBT001 - a case
    assert parse("ack", payload, retained=False) == Signal(Wire.ACK, level, Part(), None)


def test_a_trigger_may_say_whom_it_is_about() -> None:
    found = parse("trigger", b'{"value": 1, "id": 17, "partId": "P-77", "productId": "A"}', retained=False)
    assert found == Signal(Wire.TRIGGER, True, Part("P-77", "A"), "17")  # noqa: FBT003 - a level


@pytest.mark.parametrize(
    ("name", "payload", "code"),
    [
        ("start", b"true", "handshake.signal"),
        ("trigger", b"", "handshake.level"),
        ("trigger", b"yes", "handshake.level"),
        ("trigger", b"2", "handshake.level"),
        ("trigger", b"\xff", "handshake.level"),
        ("trigger", b"{", "handshake.level"),
        ("trigger", b'{"value": 2}', "handshake.level"),
        ("trigger", b'{"value": 1.0}', "handshake.level"),
        ("trigger", b'{"value": [1]}', "handshake.level"),
        ("trigger", b"{}", "handshake.level"),
        ("trigger", b'{"value": true, "part": "P"}', "handshake.level"),
        ("trigger", b'{"value": true, "partId": ""}', "handshake.level"),
        ("trigger", b'{"value": true, "partId": {}}', "handshake.level"),
        ("trigger", b'{"value": true, "partId": true}', "handshake.level"),
        ("trigger", b'{"value": true, "partId": "\\ud800"}', "handshake.level"),
        ("trigger", b'{"value": true, "partId": "' + b"x" * 300 + b'"}', "handshake.level"),
        ("trigger", b'{"value":' + b"[" * 2000, "handshake.level"),
        ("trigger", b" " * 5000, "handshake.size"),
    ],
)
def test_what_cannot_be_read_is_refused(name: str, payload: bytes, code: str) -> None:
    with pytest.raises(DataError) as refused:
        parse(name, payload, retained=False)
    assert refused.value.code == code
    assert refused.value.help or code == "handshake.size"


def test_what_was_written_in_place_of_a_level_is_repeated() -> None:
    with pytest.raises(DataError, match="expected true or false, got 'maybe'"):
        parse("trigger", b"maybe", retained=False)


def test_a_retained_level_is_no_signal() -> None:
    with pytest.raises(DataError, match="retained"):
        parse("trigger", b"true", retained=True)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_signal_or_refused(payload: bytes) -> None:
    try:
        parse("trigger", payload, retained=False)
    except DataError:
        return
