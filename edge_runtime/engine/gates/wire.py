"""Reading a protobuf message by its wire format: fields as numbers and views, nothing copied, nothing trusted.

What is read here must be what native parsers read, else somebody could show us one model and them another.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT_LIMIT_BYTES: Final = 4 << 20
FIELD_LIMIT: Final = (1 << 29) - 1
"""Protobuf's own; native parsers cut the key of a greater number to 32 bits and see another field in it."""
_FIXED_BYTES: Final = {1: 8, 5: 4}
_VARINT, _BYTES = 0, 2
_WIRES: Final = frozenset({_VARINT, _BYTES, *_FIXED_BYTES})
_CONTINUED = 0x80


class BrokenWireError(Exception):
    """The bytes are not a protobuf message; the text says where."""


def wire_fields(message: int | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of one message; texts and sub-messages as views.

    Fixed-width numbers are skipped: ONNX has none of interest, and to native parsers a text of that kind is none.

    Raises:
        BrokenWireError: the bytes are no message, or it is cut off.
    """
    if isinstance(message, int):
        msg = "a message was expected"
        raise BrokenWireError(msg)
    at, end = 0, len(message)
    while at < end:
        key, at = (message[at], at + 1) if message[at] < _CONTINUED else _varint(message, at)
        number, wire = key >> 3, key & 7
        if not 1 <= number <= FIELD_LIMIT or wire not in _WIRES:
            msg = f"byte {at} is no field of a protobuf message"
            raise BrokenWireError(msg)
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        size, at = _varint(message, at) if wire == _BYTES else (_FIXED_BYTES[wire], at)
        if at + size > end:
            msg = f"{at + size - end} bytes are missing at the end"
            raise BrokenWireError(msg)
        if wire == _BYTES:
            yield number, message[at : at + size]
        at += size


def wire_text(value: int | memoryview) -> str:
    """Return a field as text.

    Raises:
        BrokenWireError: it is a number, or longer than `TEXT_LIMIT_BYTES`.
        UnicodeDecodeError: it is not UTF-8.
    """
    if isinstance(value, int) or len(value) > TEXT_LIMIT_BYTES:
        msg = "a text was expected"
        raise BrokenWireError(msg)
    return str(value, "utf-8")


def wire_numbers(value: int | memoryview) -> Iterator[int]:
    """Yield the varints of a repeated field: packed ones, or the one that stands alone.

    Raises:
        BrokenWireError: the last one does not end.
    """
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        yield number


def wire_int(value: int | memoryview) -> int:
    """Return a varint as the signed 64-bit number it stands for.

    Raises:
        BrokenWireError: it is something else.
    """
    if not isinstance(value, int):
        msg = "a number was expected"
        raise BrokenWireError(msg)
    signed: int = struct.unpack("<q", struct.pack("<Q", value & (1 << 64) - 1))[0]
    return signed


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    for position in range(at, min(at + 10, len(view))):
        byte = view[position]
        value |= (byte & (_CONTINUED - 1)) << shift
        if byte < _CONTINUED:
            return value, position + 1
        shift += 7
    msg = f"a number at byte {at} does not end"
    raise BrokenWireError(msg)
