from __future__ import annotations

import json
from typing import Any

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.manifest import parse_manifest
from edge_runtime.core.steps import Step

DIGEST = "sha256:" + "ab" * 32
FIRST = {"package": "det", "digest": DIGEST}
LAST = {"package": "rec/model.onnx", "digest": DIGEST, "labels": ["text"], "crop": "box", "pad": 0.1}


def raw(steps: Any, **more: Any) -> bytes:
    fixed = {"schema": "edge-model/1", "name": "reader", "version": "1", "task": "chain"}
    return json.dumps({**fixed, "steps": steps, **more}).encode()


def test_a_chain_has_steps_and_no_weights() -> None:
    manifest = parse_manifest(raw([FIRST, LAST]))
    assert manifest.weights == ()
    assert manifest.steps == (
        Step("det", DIGEST),
        Step("rec/model.onnx", DIGEST, labels=("text",), crop="box", pad=0.1),
    )


def test_three_steps_may_follow_each_other() -> None:
    assert len(parse_manifest(raw([FIRST, FIRST, LAST])).steps) == 3


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (None, "steps: expected an object"),
        ([FIRST], "steps: expected 2 or 3 steps"),
        ([FIRST] * 4, "steps: expected 2 or 3 steps"),
        ([FIRST, "rec"], "steps[1]: expected an object, found 'rec'"),
        ([FIRST, {"digest": DIGEST}], "steps[1].package: expected a text"),
        ([FIRST, {"package": "rec"}], "steps[1].digest: expected a text"),
        ([FIRST, {**LAST, "package": "../rec"}], "steps[1].package: expected a text like"),
        ([FIRST, {**LAST, "digest": "ab" * 32}], "steps[1].digest: expected a text like"),
        ([FIRST, {**LAST, "crop": "circle"}], "steps[1].crop: expected one of polygon, box"),
        ([FIRST, {**LAST, "pad": 2}], "steps[1].pad: expected a number from 0 to 1"),
        ([FIRST, {**LAST, "label": ["text"]}], "steps[1].label: unknown key (did you mean 'labels'?)"),
        ([LAST, LAST], "steps[0].labels: expected nothing: the first step looks at the whole picture"),
    ],
)
def test_a_wrong_step_is_refused_with_its_place(steps: Any, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_manifest(raw(steps))
    assert caught.value.code == "manifest.invalid"
    assert problem in caught.value.message


def test_a_chain_has_no_decoder() -> None:
    with pytest.raises(DataError, match="decoder: expected one of"):
        parse_manifest(raw([FIRST, LAST], decoder="yolo"))
