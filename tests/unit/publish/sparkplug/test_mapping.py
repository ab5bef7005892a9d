"""A result document as metrics."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Evaluation, Prediction
from edge_runtime.publish.sparkplug.mapping import RESULT_JSON_MAX, points, unborn
from edge_runtime.publish.sparkplug.payload import Quality
from edge_runtime.publish.sparkplug.points import Point, batches
from tests.fakes.following import row

FOUND = (Prediction("scratch", 0.9), Prediction("dent", 0.8), Prediction("scratch", 0.7))


def told(*, result_json: bool = False, **fields: Any) -> dict[str, Point]:
    return {point.name: point for point in points(row(1, **fields).body, result_json=result_json)}


def body(**fields: Any) -> bytes:
    return json.dumps(json.loads(row(1).body) | fields).encode()


def test_a_not_ok_result_says_how_many_defects_of_which_classes() -> None:
    found = told(predictions=FOUND, part_id="P-1", job_id="J-1")
    assert {name: point.value for name, point in found.items()} == {
        "Inspection/Evaluation": 2,
        "Inspection/EvaluationText": "NotOK",
        "Inspection/Reason": "scratch 0.90 >= 0.5",
        "Inspection/Score": 0.9,
        "Inspection/Sequence": 1,
        "Inspection/ResultId": found["Inspection/ResultId"].value,
        "Inspection/PartId": "P-1",
        "Inspection/JobId": "J-1",
        "Inspection/DefectCount": 3,
        "Inspection/DefectClasses": "dent,scratch",
        "Inspection/LatencyMs": 15.0,
        "Model/Name": "surface-defects",
        "Model/Version": "1.2.0",
        "Model/Digest": "sha256:" + "ab" * 32,
        "Recipe/Id": "default",
    }
    assert {point.quality for point in found.values()} == {Quality.GOOD}
    assert len({point.timestamp_ms for point in found.values()}) == 1


def test_the_time_is_that_of_the_capture_in_whole_milliseconds() -> None:
    assert {p.timestamp_ms for p in points(body(ts="2026-11-22T10:11:12.345999Z"), result_json=False)} == {
        1_795_342_272_345
    }


def test_an_ok_result_has_no_defects_whatever_was_seen() -> None:
    found = told(evaluation=Evaluation.OK, predictions=FOUND)
    assert (found["Inspection/DefectCount"].value, found["Inspection/DefectClasses"].value) == (0, "")


@pytest.mark.parametrize("evaluation", [Evaluation.NOT_DECIDABLE, Evaluation.UNDEFINED])
def test_of_what_nobody_decided_the_defects_are_null_and_bad(evaluation: Evaluation) -> None:
    found = told(evaluation=evaluation, score=None, predictions=(), model=None, recipe=None)
    for name in ("Inspection/Score", "Inspection/DefectCount", "Inspection/DefectClasses"):
        assert (found[name].value, found[name].quality) == (None, Quality.BAD)
    assert (found["Model/Name"].value, found["Model/Name"].quality) == (None, Quality.GOOD)


def test_the_whole_document_goes_along_on_request_and_not_when_it_is_long() -> None:
    document = told(result_json=True)["Inspection/ResultJson"]
    assert json.loads(str(document.value))["seq"] == 1
    long = told(result_json=True, reason="x" * RESULT_JSON_MAX)["Inspection/ResultJson"]
    assert (long.value, long.quality) == (None, Quality.BAD)


def test_a_device_is_born_with_every_metric_that_a_result_will_ever_have() -> None:
    for result_json in (False, True):
        names = [point.name for point in unborn(5, result_json=result_json)]
        assert names == [point.name for point in points(row(1).body, result_json=result_json)]


@pytest.mark.parametrize(
    "damaged",
    [b"", b"[]", b"1", b'{"ts": 5}', body(ts="2026"), body(ts="never"), body(seq=-1), body(seq="1"), body(seq=True),
     body(evaluation="Maybe"), body(predictions=[{}]), body(ts="2026-11-22T10:11:12")],
)  # fmt: skip
def test_what_is_no_result_is_refused(damaged: bytes) -> None:
    with pytest.raises(DataError):
        points(damaged, result_json=False)


def test_fields_of_a_wrong_kind_are_as_if_they_were_missing() -> None:
    found = {p.name: p.value for p in points(body(predictions=3, model="m", score="high"), result_json=False)}
    assert found["Inspection/DefectCount"] == 0
    assert found["Model/Name"] is None
    assert found["Inspection/Score"] is None


def test_batches_of_nothing_are_none() -> None:
    assert list(batches([], metrics_max=5, bytes_max=5)) == []
