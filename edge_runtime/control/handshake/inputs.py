"""Reads the signals of a controller: ``cmd/plc/{inspection}/{signal}``. Pure.

A level is ``true``, ``false``, ``1`` or ``0``, bare or as ``value`` of a JSON object that may say more:
``{"value": true, "id": 17, "partId": "P-77", "productId": "A"}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum

from edge_runtime.control.handshake.machine import Part
from edge_runtime.core.errors import DataError

LIMIT_BYTES = 4096
LIMIT_TEXT = 256
_LEVELS = {"true": True, "1": True, "false": False, "0": False}
_FIELDS = frozenset({"value", "id", "partId", "productId"})


class Wire(Enum):
    """The signals that a controller drives."""

    TRIGGER = "trigger"
    ACK = "ack"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Signal:
    """One level that a controller told.

    Attributes:
        event_id: the controller's name for this change, so that a message that comes twice is known.
    """

    wire: Wire
    level: bool
    part: Part
    event_id: str | None


def parse(name: str, payload: bytes, *, retained: bool) -> Signal:
    """Return what the controller said.

    Raises:
        DataError: the signal is unknown or retained, or the payload is none of the forms above.
    """
    wire = next((one for one in Wire if one.value == name), None)
    if wire is None:
        known = ", ".join(one.value for one in Wire)
        raise DataError("handshake.signal", f"there is no signal {name[:40]!r}", help=f"there are {known}")
    if retained:
        raise DataError("handshake.retained", f"{name} is retained: an old level is not a signal", help="do not retain")
    if len(payload) > LIMIT_BYTES:
        raise DataError("handshake.size", f"{name} has at most {LIMIT_BYTES} bytes, got {len(payload)}")
    try:
        text = payload.decode().strip()
        document = json.loads(text) if text.startswith("{") else {"value": _LEVELS.get(text.strip('"').lower(), text)}
        return _signal(wire, document)
    except (ValueError, RecursionError, TypeError) as error:
        help_ = 'write true, false, or {"value": true, "partId": "P-77"}'
        raise DataError("handshake.level", f"{name} cannot be read: {error}", help=help_) from error


def _signal(wire: Wire, document: dict[str, object]) -> Signal:
    unknown = sorted(set(document) - _FIELDS)
    if unknown:
        msg = f"unknown field {unknown[0][:40]!r}"
        raise ValueError(msg)
    value = document.get("value")
    level = value if isinstance(value, bool) else {1: True, 0: False}.get(value) if isinstance(value, int) else None
    if level is None:
        msg = f"expected true or false, got {value!r:.40}"
        raise ValueError(msg)
    return Signal(wire, level, Part(_text(document, "partId"), _text(document, "productId")), _text(document, "id"))


def _text(document: dict[str, object], field: str) -> str | None:
    value = document.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or not 0 < len(str(value)) <= LIMIT_TEXT:
        msg = f"{field} must be a text of 1 to {LIMIT_TEXT} characters"
        raise ValueError(msg)
    text = str(value)
    text.encode()  # half a surrogate pair is no text: UnicodeEncodeError is a ValueError
    return text
