from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app.audience import Audience
from edge_runtime.publish.mqtt.link import Inbound
from edge_runtime.publish.payload import Stamp, encode_event, encode_result
from edge_runtime.system.clock import SystemClock
from tests.fakes.publishing import QUICK
from tests.fakes.results import IDENTITY, make_event, make_result

if TYPE_CHECKING:
    from collections.abc import Iterator


class Rig:
    """An audience that is told what to hear."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.audience = Audience(QUICK, ["#"], on_result=self.shown.append, on_event=self.shown.append)

    def hear(self, payload: bytes) -> None:
        self.audience._take(Inbound("vision/x", payload, qos=1, retain=False))


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.audience.close()


def result(number: int, **changes: Any) -> bytes:
    document = json.loads(encode_result(make_result(number, SystemClock()), IDENTITY, Stamp(number, "b")).body)
    return json.dumps({key: value for key, value in {**document, **changes}.items() if value is not ...}).encode()


def test_results_and_events_are_proven_and_shown(rig: Rig) -> None:
    rig.hear(result(1))
    rig.hear(result(2, evaluation="NotDecidable"))
    rig.hear(encode_event(make_event(), IDENTITY, Stamp(1, "b"), "id").body)
    assert [document["schema"] for document in rig.shown] == ["vision.result/1"] * 2 + ["vision.event/1"]
    assert rig.audience.proof().received == 2
    assert rig.audience.proof("plant-a/line-3/box-17/event/system").received == 1
    assert rig.audience.last("plant-a/line-3/box-17/result/top") == 2
    assert rig.audience.first_verdict_s is not None
    (latency_ms,) = rig.audience.latency_ms(0.5)
    assert latency_ms is not None
    assert 0 <= latency_ms < 10_000


@pytest.mark.parametrize(
    "payload",
    [
        b"not json",
        b"\xff",
        b"[]",
        b"7",
        b"{}",
        b'{"ts": "2026-11-22T10:15:30Z"}',
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_what_is_no_document_is_counted_and_neither_proven_nor_shown(rig: Rig, payload: bytes) -> None:
    rig.hear(payload)
    assert (rig.audience.unreadable, rig.audience.proof().received, rig.shown) == (1, 0, [])


@pytest.mark.parametrize(
    ("field", "value"),
    [("ts", "yesterday"), ("ts", 5), ("ts", "0001-01-01T00:00:00"), ("seq", float("inf")), ("id", ...), ("edge", ...)],
)
def test_a_result_against_its_schema_is_counted_and_the_next_one_is_proven(rig: Rig, field: str, value: object) -> None:
    rig.hear(result(1, **{field: value}))
    assert (rig.audience.unreadable, rig.audience.proof().received, rig.shown) == (1, 0, [])
    rig.hear(result(1))
    assert rig.audience.proof().received == 1


def test_documents_of_other_schemas_are_ignored(rig: Rig) -> None:
    rig.hear(result(1, schema="vision.result/2"))
    assert (rig.audience.unreadable, rig.audience.proof().received, rig.shown) == (0, 0, [])
