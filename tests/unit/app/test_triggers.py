from __future__ import annotations

import pytest

from edge_runtime.app.triggers import LIMIT_BYTES, parse_trigger
from edge_runtime.core.errors import DataError
from edge_runtime.pipeline.inspection import TriggerIds


def test_ids_are_read_and_unknown_fields_ignored() -> None:
    payload = b'{"partId": "P-1", "jobId": 7, "measId": "m", "productId": "p", "correlationId": "c", "more": []}'
    expected = TriggerIds(job_id="7", part_id="P-1", meas_id="m", product_id="p", correlation_id="c")
    assert parse_trigger(payload, retained=False, correlation=b"\x01") == expected


@pytest.mark.parametrize("payload", [b"", b" \n", b"{}"])
def test_an_empty_trigger_has_no_ids_but_the_correlation_of_its_sender(payload: bytes) -> None:
    assert parse_trigger(payload, retained=False, correlation=None) == TriggerIds()
    assert parse_trigger(payload, retained=False, correlation=b"\x7f\x00") == TriggerIds(correlation_id="7f00")


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
    ],
)
def test_what_is_no_trigger_is_refused_in_words(payload: bytes, code: str) -> None:
    with pytest.raises(DataError) as refused:
        parse_trigger(payload, retained=False, correlation=None)
    assert refused.value.code == code


def test_a_retained_trigger_is_an_old_wish() -> None:
    with pytest.raises(DataError, match="retained"):
        parse_trigger(b"{}", retained=True, correlation=None)
