from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edge_runtime.app.triggers import LIMIT_BYTES, parse_trigger
from edge_runtime.core.errors import DataError
from edge_runtime.pipeline.attempt import TriggerIds

NOW_NS = int(datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC).timestamp()) * 1_000_000_000


def parsed(payload: bytes, *, retained: bool = False, correlation: bytes | None = None) -> TriggerIds:
    return parse_trigger(payload, retained=retained, correlation=correlation, utc_ns=NOW_NS)


def test_ids_are_read_and_unknown_fields_ignored() -> None:
    payload = b'{"partId": "P-1", "jobId": 7, "measId": "m", "productId": "p", "correlationId": "c", "more": []}'
    expected = TriggerIds(job_id="7", part_id="P-1", meas_id="m", product_id="p", correlation_id="c")
    assert parsed(payload, correlation=b"\x01") == expected


@pytest.mark.parametrize("payload", [b"", b" \n", b"{}"])
def test_an_empty_trigger_has_no_ids_but_the_correlation_of_its_sender(payload: bytes) -> None:
    assert parsed(payload) == TriggerIds()
    assert parsed(payload, correlation=b"\x7f\x00") == TriggerIds(correlation_id="7f00")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"{not json", "command.json"),
        (b"[" * 50_000, "command.json"),
        (b"\xff\xfe", "command.json"),
        (b"7", "command.json"),
        (b"9" * 6000, "command.json"),
        (b" " * (LIMIT_BYTES + 1), "command.size"),
        (b'{"partId": {}}', "command.field"),
        (b'{"partId": true}', "command.field"),
        (b'{"partId": "%s"}' % (b"x" * 300), "command.field"),
        (rb'{"partId": "P-\ud800"}', "command.field"),
        (b'{"expiresAt": 5}', "command.field"),
        (b'{"expiresAt": "tomorrow"}', "command.field"),
        (b'{"expiresAt": "2026-11-22T10:15:31"}', "command.field"),
        (b'{"expiresAt": "0001-01-01T00:00:00+14:00"}', "command.expired"),
        (b'{"expiresAt": "2026-11-22T10:15:30Z"}', "command.expired"),
        (b'{"expiresAt": "2026-11-22T11:15:29.9+01:00"}', "command.expired"),
    ],
)
def test_what_is_no_trigger_is_refused_in_words(payload: bytes, code: str) -> None:
    with pytest.raises(DataError) as refused:
        parsed(payload)
    assert refused.value.code == code


def test_a_retained_trigger_is_an_old_wish() -> None:
    with pytest.raises(DataError, match="retained"):
        parsed(b"{}", retained=True)


@pytest.mark.parametrize("expires", [b"null", b'"2026-11-22T10:15:30.1Z"', b'"2026-11-22T11:15:31+01:00"'])
def test_a_trigger_that_has_not_expired_is_taken(expires: bytes) -> None:
    assert parsed(b'{"partId": "P-1", "expiresAt": %s}' % expires) == TriggerIds(part_id="P-1")
