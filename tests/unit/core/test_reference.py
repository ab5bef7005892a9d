"""``core.reference``: the section `reference` of `edge-model.json`."""

from __future__ import annotations

from typing import Any

import pytest

from edge_runtime.core.jsonfields import Section
from edge_runtime.core.reference import LABELS_MAX, Level, ModelReference, read_reference, reference_fields

WHOLE = ModelReference(40, tuple(range(20)), {"scratch": 0.25}, Level(100.0, 4.0), Level(0.5, 0.1))


def read(fields: dict[str, Any]) -> tuple[ModelReference | None, list[str]]:
    problems: list[str] = []
    return read_reference(Section(fields, "", problems, [])), problems


@pytest.mark.parametrize("one", [WHOLE, ModelReference(20, (0,) * 20, {})])
def test_what_is_written_is_read_back(one: ModelReference) -> None:
    assert read({"reference": reference_fields(one)}) == (one, [])


def test_a_package_without_one_has_none() -> None:
    assert read({}) == (None, [])


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"pictures": 19}, "pictures"),
        ({"scores": [1.0] * 19}, "scores"),
        ({"scores": [0.5] * 20}, "scores"),
        ({"scores": None}, "scores"),
        ({"labels": {"a": 1.5}}, "labels"),
        ({"labels": {str(number): 0.1 for number in range(LABELS_MAX + 1)}}, "labels"),
        ({"labels": {"x" * 257: 0.1}}, "a longer one"),
        ({"brightness": {"mean": 300, "deviation": 1}}, "brightness"),
        ({"sharpness": "high"}, "sharpness"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], about: str) -> None:
    _, problems = read({"reference": {**reference_fields(WHOLE), **changes}})
    assert any(about in one for one in problems), problems
