"""Labels below labels: of a group the best, of those alone what is present, and nothing whose parent is missing."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import OutputSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec, outputs

ANYWHERE = Transform(1, 1, 0, 0, 8, 8)
GROUPS = (("good", "bad"), ("scratch", "dent"), ("wet",), ("rust",))
PARENTS = {"scratch": "bad", "dent": "bad", "rust": "dent"}
HALF = ThresholdSpec(0.5, 1.0, 20)


def made(
    groups: tuple[tuple[str, ...], ...] = GROUPS,
    parents: dict[str, str] | None = None,
    thresholds: ThresholdSpec = HALF,
    numbers: int = 6,
    labels: tuple[str, ...] | None = None,
) -> Any:
    output = OutputSpec(groups=groups, parents=PARENTS if parents is None else parents)
    described = model_spec("softmax", labels or tuple(chain(*groups)), thresholds=thresholds, output=output)
    return make_decoder(replace(described, decoder="hierarchical"), outputs((1, numbers)))


def decode(logits: list[float], **changes: Any) -> dict[str, tuple[float, bool]]:
    found = made(**changes).decode([np.array([logits], np.float32)], ANYWHERE)
    return {one.label: (round(one.score, 3), one.alternative) for one in found}


def test_the_best_of_each_group_and_what_is_present_are_reported() -> None:
    assert decode([0, 20, 0, 20, 20, 20]) == {
        "bad": (1.0, False),
        "dent": (1.0, False),
        "wet": (1.0, False),
        "rust": (1.0, False),
        "good": (0.0, True),
        "scratch": (0.0, True),
    }


def test_a_group_is_a_softmax_of_its_own_numbers_and_one_alone_a_sigmoid() -> None:
    found = decode([0, 1, 2, 0, 1, -1])
    assert found["bad"] == (0.731, False)  # e / (1 + e)
    assert found["scratch"] == (0.881, False)  # e^2 / (1 + e^2)
    assert found["wet"] == (0.731, False)
    assert "rust" not in found


def test_nothing_is_reported_below_a_label_that_is_not() -> None:
    assert set(decode([20, 0, 0, 20, -20, 20])) == {"good", "bad"}  # rust lies below dent, dent below bad


def test_a_label_alone_may_have_a_floor_of_its_own() -> None:
    assert "wet" not in decode([20, 0, 0, 0, 1, 0], thresholds=ThresholdSpec(0.5, 1.0, 20, {"wet": 0.8}))


def test_what_is_present_is_never_left_out_for_the_limit() -> None:
    found = decode([0, 20, 0, 20, 20, 20], thresholds=ThresholdSpec(0.5, 1.0, 1))
    assert set(found) == {"bad", "dent", "wet", "rust"}


def test_predictions_carry_the_number_of_their_label() -> None:
    (first, *_) = made().decode([np.array([[0, 20, 0, 0, -9, -9]], np.float32)], ANYWHERE)
    assert (first.label, first.id) == ("bad", 1)


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InvalidOutputError, match="1 of 6 logits"):
        decode([0, 0, 0, 0, 0, float("nan")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("good", "bad")}, "name 6 labels, not each of the 2 labels once"),
        ({"groups": (("a", "b"), ("a",)), "parents": {}}, "name 3 labels, not each of the 3"),
        ({"numbers": 7}, "tells 7 classes apart, there are 6 labels"),
        ({"parents": {"dent": "worse"}}, "from 'dent' to 'worse'"),
        ({"parents": {"dent": "rust", "rust": "dent"}}, "passed already"),
    ],
)
def test_a_hierarchy_that_does_not_hold_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        made(**changes)
    assert caught.value.code == "model.wrong_labels"
