from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge_runtime.core.errors import ConfigError
from edge_runtime.core.ids import uuid7
from edge_runtime.core.result import Evaluation, Prediction, ResultState
from edge_runtime.publish import payload
from edge_runtime.publish.contract import catalogue
from edge_runtime.publish.payload import Identity, Stamp
from tests.fakes.results import BOOT, IDENTITY, make_event, make_result

if TYPE_CHECKING:
    from edge_runtime.core.result import Event, Result

STAMP = Stamp(7, BOOT)
EVENT_ID = uuid7(1, bytes(10))
CONTRACT = """
schema id seq bootId ts tsSource site line edge camera inspection frameId jobId partId measId productId recipe
resultState evaluation reason score predictions image model backend device precision timings_ms simulated partial
historical correlationId counters
"""


def check(name: str, body: bytes) -> dict[str, Any]:
    """Parse ``body`` and validate it by the published schema."""
    document = json.loads(body)
    Draft202012Validator(catalogue.schema(name)).validate(document)
    return dict(document)


def encode(result: Result) -> dict[str, Any]:
    return check("result", payload.encode_result(result, IDENTITY, STAMP).body)


@pytest.mark.parametrize("name", sorted(catalogue.DOCUMENTS))
def test_every_published_schema_is_a_valid_schema(name: str) -> None:
    Draft202012Validator.check_schema(catalogue.schema(name))


def test_a_result_has_exactly_the_fields_of_the_contract() -> None:
    document = encode(make_result(41))
    assert sorted(document) == sorted([*CONTRACT.split(), "origin"])  # an addition, which the contract allows
    assert document["seq"] == 7
    assert document["frameId"] == 41
    assert document["evaluation"] == "NotOK"
    assert document["timings_ms"] == {
        "capture": 1.0,
        "queue": 2.0,
        "preprocess": 3.0,
        "infer": 4.0,
        "postprocess": 5.0,
        "total": 15.0,
    }
    assert document["counters"] == {"captured": 41, "inferred": 41, "dropped": 0, "failed": 0, "inFlight": 0}
    assert document["predictions"] == [{"label": "scratch", "score": 0.9, "box": [1.0, 2.0, 3.0, 4.0], "id": 0}]


def test_a_result_of_a_release_names_it_and_the_rollout() -> None:
    result = make_result(41)
    assert result.model is not None
    released = replace(result, model=replace(result.model, release=12, rollout_seq=40))
    document = encode(released)
    model = encode(result)["model"]
    assert isinstance(model, dict)
    assert document["model"] == {**model, "release": 12}
    assert document["rolloutSeq"] == 40


def test_a_result_without_a_verdict_is_valid_too() -> None:
    result = make_result(
        1,
        evaluation=Evaluation.NOT_DECIDABLE,
        state=ResultState.FAILED,
        score=None,
        recipe=None,
        model=None,
        backend=None,
        device=None,
        precision=None,
        predictions=(),
    )
    document = encode(result)
    assert document["recipe"] is None
    assert document["model"] is None
    assert document["predictions"] == []


def test_predictions_of_every_family_are_valid() -> None:
    predictions = (
        Prediction("dog", 1.0),
        Prediction("crack", 0.5, (0.0, 0.0, 1.0, 1.0), polygon=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))),
        Prediction("text", 0.5, (0.0, 0.0, 1.0, 1.0), text="LOT 42"),
        Prediction("part", 0.5, (0.0, 0.0, 1.0, 1.0), rle="05o", keypoints=((1.0, 2.0, 0.5),)),
        Prediction("width", 1.0, value=-2.5),
    )
    result = make_result(1, predictions=predictions)
    first, second, third, fourth, fifth = encode(result)["predictions"]
    assert first == {"label": "dog", "score": 1.0, "box": None}
    assert second["polygon"] == [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    assert third["text"] == "LOT 42"
    assert fourth["rle"] == {"size": [result.height, result.width], "counts": "05o"}
    assert fourth["keypoints"] == [[1.0, 2.0, 0.5]]
    assert fifth["value"] == -2.5


def test_a_result_that_lacks_shapes_says_so() -> None:
    assert encode(make_result(1))["partial"] is False
    assert encode(make_result(1, partial=True))["partial"] is True


def test_the_headers_of_a_result_repeat_what_a_router_needs() -> None:
    message = payload.encode_result(make_result(1), IDENTITY, STAMP)
    document = json.loads(message.body)
    assert message.topic == "result/top"
    assert dict(message.headers) == {k: document[k] for k in ("schema", "id", "evaluation", "camera", "ts")}


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_does_not_have_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        payload.encode_result(make_result(1, score=number), IDENTITY, STAMP)


def test_an_event_is_valid_and_names_its_scope() -> None:
    event = make_event("camera.lost", scope="top", detail="no data", count=3)
    message = payload.encode_event(event, IDENTITY, STAMP, EVENT_ID)
    document = check("event", message.body)
    assert message.topic == "event/top"
    assert document["fields"] == {"detail": "no data", "count": 3}
    assert dict(message.headers)["kind"] == "camera.lost"


def encoded(item: Result | Event) -> bytes:
    if hasattr(item, "kind"):
        return payload.encode_event(item, IDENTITY, STAMP, EVENT_ID).body
    return payload.encode_result(item, IDENTITY, STAMP).body


@pytest.mark.parametrize("item", [make_result(1, reason='"historical":false}'), make_event("a.b")])
def test_marking_a_document_historical_changes_that_field_only(item: Result | Event) -> None:
    live = encoded(item)
    marked = payload.mark_historical(live)
    assert json.loads(marked) == {**json.loads(live), "historical": True}
    assert payload.mark_historical(marked) == marked


def test_status_info_and_metrics_are_valid_and_keep_our_own_fields() -> None:
    fields = {"schema": "forged", "version": "1.0", "extra": [1]}
    status = payload.encode_status(IDENTITY, BOOT, 0, online=True, reason=None, fields=fields)
    document = check("status", status.body)
    assert (document["schema"], document["state"], document["extra"]) == ("vision.status/1", "online", [1])
    assert document["ts"] == "1970-01-01T00:00:00.000000Z"
    will = payload.encode_status(IDENTITY, BOOT, None, online=False, reason="connection-lost", fields={})
    document = check("status", will.body)
    assert (document["state"], document["reason"], document["ts"]) == ("offline", "connection-lost", None)
    assert will.headers == (("schema", "vision.status/1"),)
    check("info", payload.encode_info(IDENTITY, BOOT, 0, fields).body)
    check("metrics", payload.encode_metrics(IDENTITY, BOOT, 0, fields).body)


def test_topics_carry_the_identity_and_come_back_without_it() -> None:
    topic = Identity("s", "l", "e", "acme/vision").topic(payload.latest_topic("top"))
    assert topic == "acme/vision/s/l/e/latest/top"
    assert Identity("s", "l", "e", "acme/vision").suffix(topic) == "latest/top"
    assert IDENTITY.suffix(topic) is None


def test_a_scope_from_elsewhere_cannot_become_a_wildcard_or_another_level() -> None:
    assert payload.event_topic("a/+/#") == "event/a____"
    assert payload.result_topic("") == "result/_"


@pytest.mark.parametrize("bad", ["", "a/b", "a+", "#", "a b", "ü"])
def test_a_name_that_is_not_a_topic_level_is_a_configuration_error(bad: str) -> None:
    with pytest.raises(ConfigError, match="not a topic level"):
        Identity(bad, "l", "e")
    if "/" not in bad:
        with pytest.raises(ConfigError, match="topic_root"):
            Identity("s", "l", "e", f"x/{bad}")


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000_000))
def test_timestamps_have_six_decimals_and_sort_like_time(utc_ns: int) -> None:
    text = payload.timestamp(utc_ns)
    assert len(text) == len("2026-11-22T10:11:12.345678Z")
    assert text <= payload.timestamp(utc_ns + 1000)
