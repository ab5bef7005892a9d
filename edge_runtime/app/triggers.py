"""Reads a trigger command: ``cmd/trigger/{inspection}`` with a JSON object of part and job ids, or an empty body.

Each trigger has an answer: the result of a frame, or the event that ``refusal`` makes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Event
from edge_runtime.pipeline.attempt import TriggerIds

LIMIT_BYTES = 65_536
LIMIT_TEXT = 256
NS_PER_S = 1e9
FIELDS = ("jobId", "partId", "measId", "productId", "correlationId")
NO_LINE = "no line runs at this moment; ask again"


def refusal(inspection: str, why: str, utc_ns: int) -> Event:
    """Return the answer to a trigger that will have no result."""
    return Event("system", "command.refused", f"trigger for {inspection}: {why}", utc_ns)


def parse_trigger(payload: bytes, *, retained: bool, correlation: bytes | None, utc_ns: int) -> TriggerIds:
    """Return the ids of a trigger; unknown fields are ignored, as readers of this contract must.

    Args:
        payload: the body; empty means a trigger without ids.
        retained: the broker had kept the message: an old wish, never executed.
        correlation: MQTT 5 correlation data; its hex text stands in for a missing ``correlationId``.
        utc_ns: now; a trigger whose ``expiresAt`` is not after it comes too late.

    Raises:
        DataError: it is retained, expired, too long, no JSON object, or an id is no short text.
    """
    if retained:
        raise DataError("command.retained", "a retained trigger is an old wish and is not executed")
    if len(payload) > LIMIT_BYTES:
        raise DataError("command.size", f"a trigger has at most {LIMIT_BYTES} bytes, got {len(payload)}")
    try:
        document = json.loads(payload) if payload.strip() else {}
    except (ValueError, RecursionError) as error:
        raise DataError("command.json", f"the trigger is not JSON: {type(error).__name__}") from error
    if not isinstance(document, dict):
        raise DataError("command.json", f"the trigger must be a JSON object, got {type(document).__name__}")
    _check_expiry(document.get("expiresAt"), utc_ns)
    job, part, meas, product, wanted = (_id(document, field) for field in FIELDS)
    return TriggerIds(job, part, meas, product, wanted or (correlation.hex()[:LIMIT_TEXT] if correlation else None))


def _id(document: dict[str, object], field: str) -> str | None:
    value = document.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or len(str(value)) > LIMIT_TEXT:
        raise DataError("command.field", f"{field} must be a text of at most {LIMIT_TEXT} characters")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can name half a surrogate pair; no result that carries it can be sent
        raise DataError("command.field", f"{field} is not Unicode text: {error}") from error
    return text


def _check_expiry(value: object, utc_ns: int) -> None:
    if value is None:
        return
    try:
        late = datetime.fromisoformat(str(value)) <= datetime.fromtimestamp(utc_ns / NS_PER_S, UTC)
    except (ValueError, TypeError) as error:  # TypeError: it does not say its offset from UTC
        raise DataError("command.field", f"expiresAt must be a time as in RFC 3339, got {value!r:.40}") from error
    if late:
        raise DataError("command.expired", f"the trigger was to be executed before {value}")
