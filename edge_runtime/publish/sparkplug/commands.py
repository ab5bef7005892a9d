"""What a host asks of the node (NCMD) or of a device (DCMD), read from one message (Sparkplug 3.0, 6.4.24).

Pure. A metric is written like a variable: ``true`` presses the button. Nothing is done halfway: one metric of a
message that makes no sense refuses the whole message.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.core.command import Status
from edge_runtime.core.errors import DataError
from edge_runtime.publish.sparkplug.payload import DataType, decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.publish.sparkplug.payload import Payload
    from edge_runtime.publish.sparkplug.values import Value

REBIRTH = "Node Control/Rebirth"
NEXT_SERVER = "Node Control/Next Server"
NODE_METRICS = {REBIRTH: DataType.BOOLEAN, NEXT_SERVER: DataType.BOOLEAN}

TRIGGER = "Device Control/Trigger"
PART_ID = "Device Control/PartId"
JOB_ID = "Device Control/JobId"
PAUSE = "Device Control/Pause"
RECIPE = "Device Control/Recipe"
DEVICE_METRICS = {
    TRIGGER: DataType.BOOLEAN,
    PART_ID: DataType.STRING,
    JOB_ID: DataType.STRING,
    PAUSE: DataType.BOOLEAN,
    RECIPE: DataType.STRING,
}
_ID_BYTES = 16
_TEXT_MAX = 256  # characters of an id, as in commands over JSON
_ARGUMENTS = {PART_ID: "partId", JOB_ID: "jobId"}
TRIGGER_VERB, PAUSE_VERB, RESUME_VERB, RECIPE_VERB = "trigger", "pause", "resume", "recipe.select"


@dataclass(frozen=True, slots=True)
class Order:
    """One thing that somebody has to do and to answer; ``correlation_id`` is hex text."""

    verb: str
    device: str
    correlation_id: str
    arguments: Mapping[str, object] = field(default_factory=dict)


class RefusedError(Exception):
    """A message that is not carried out; the host is told ``status`` and ``message``."""

    def __init__(self, status: Status, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.status = status
        self.message = message


def correlation_id(topic: str, body: bytes, received_ns: int) -> str:
    """Return the id of a message, hex: the same for a repeat of it if it has a time, else as new as its arrival."""
    try:
        payload = decode(body)
        timed = payload.timestamp_ms is not None or any(m.timestamp_ms is not None for m in payload.metrics)
    except DataError:
        timed = False
    digest = hashlib.sha256(topic.encode() + b"\0" + body + (b"" if timed else b"\0%d" % received_ns))
    return digest.digest()[:_ID_BYTES].hex()


def node_buttons(body: bytes) -> frozenset[str]:
    """Return which of ``NODE_METRICS`` an NCMD presses.

    Raises:
        RefusedError: no payload, a metric that cannot be written, or one with a value that is no Boolean.
    """
    written = _written(body, NODE_METRICS)
    return frozenset(name for name, value in written.items() if _boolean(name, value))


def device_orders(device: str, body: bytes, command_id: str, *, triggered: bool) -> tuple[Order, ...]:
    """Return what a DCMD asks of ``device``, in the order in which it is to be done.

    Args:
        device: an inspection.
        body: the message.
        command_id: of the message; orders after the first one get another made from it.
        triggered: whether it has a trigger at all.

    Raises:
        RefusedError: no payload, a metric that cannot be written, a value of another type, or ids without a trigger.
    """
    known = {name: kind for name, kind in DEVICE_METRICS.items() if triggered or name in (PAUSE, RECIPE)}
    written = _written(body, known)
    asked: list[tuple[str, dict[str, object]]] = []
    if RECIPE in written:
        asked.append((RECIPE_VERB, {"recipe": _text(RECIPE, written[RECIPE])}))
    if PAUSE in written:
        asked.append((PAUSE_VERB if _boolean(PAUSE, written[PAUSE]) else RESUME_VERB, {}))
    ids: dict[str, object] = {
        field_name: _text(name, written[name])
        for name, field_name in _ARGUMENTS.items()
        if written.get(name) not in (None, "")
    }
    if TRIGGER in written and _boolean(TRIGGER, written[TRIGGER]):
        asked.append((TRIGGER_VERB, ids))
    elif ids:
        raise RefusedError(Status.MALFORMED, f"PartId and JobId belong into the message that sets {TRIGGER}")
    return tuple(
        Order(verb, device, command_id if not index else f"{command_id}{index:02x}", arguments)
        for index, (verb, arguments) in enumerate(asked)
    )


def _written(body: bytes, known: Mapping[str, DataType]) -> dict[str, Value]:
    payload = _decoded(body, known)
    if not payload.metrics:
        raise RefusedError(Status.MALFORMED, "a command without a metric")
    written: dict[str, Value] = {}
    for metric in payload.metrics:
        name = metric.name or f"alias {metric.alias}"
        if name not in known:
            raise RefusedError(Status.UNKNOWN, f"{name[:_TEXT_MAX]} cannot be written")
        written[name] = metric.value
    return written


def _decoded(body: bytes, known: Mapping[str, DataType]) -> Payload:
    try:
        return decode(body, known)
    except DataError as error:
        raise RefusedError(Status.MALFORMED, error.message) from error


def _boolean(name: str, value: Value) -> bool:
    if not isinstance(value, bool):
        raise RefusedError(Status.MALFORMED, f"{name} must be a Boolean")
    return value


def _text(name: str, value: Value) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_MAX:
        raise RefusedError(Status.MALFORMED, f"{name} must be a text of 1 to {_TEXT_MAX} characters")
    return value
