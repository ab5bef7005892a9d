"""Numbers as they are: measures with names, and outputs of which nothing else is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import PREDICTIONS_LIMIT, Prediction
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import OutputSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec, outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

ANYWHERE = Transform(1, 1, 0, 0, 8, 8)


def decoder(
    task: str, name: str, given: Sequence[TensorInfo], labels: tuple[str, ...] = (), output: str | None = None
) -> Any:
    return make_decoder(replace(model_spec(name, labels, output=OutputSpec(name=output)), task=task), given)


@pytest.mark.parametrize("shape", [(1, 2), (2,), (1, 2, 1, 1)])
def test_each_label_has_a_value(shape: tuple[int, ...]) -> None:
    values = decoder("regression", "values", outputs(shape), ("width", "height"))
    assert values.decode([np.array([12.5, -3], np.float32).reshape(shape)], ANYWHERE) == (
        Prediction("width", 1.0, id=0, value=12.5),
        Prediction("height", 1.0, id=1, value=-3.0),
    )


def test_of_several_outputs_the_one_with_a_number_per_label_is_meant() -> None:
    values = decoder("regression", "values", outputs((1, 3), (1, 2), (1, 4, 4)), ("a", "b"))
    found = values.decode([np.zeros((1, 3)), np.array([[5, 6]], np.float32), np.zeros((1, 4, 4))], ANYWHERE)
    assert [one.value for one in found] == [5.0, 6.0]


def test_one_measure_may_stand_alone() -> None:
    values = decoder("regression", "values", outputs((1,)), ("width",))
    assert [one.value for one in values.decode([np.array([4], np.float32)], ANYWHERE)] == [4.0]


@pytest.mark.parametrize(("task", "name", "labels"), [("regression", "values", ("a", "b")), ("raw", "tensors", ())])
def test_a_value_that_is_no_number_is_refused(task: str, name: str, labels: tuple[str, ...]) -> None:
    with pytest.raises(InvalidOutputError, match="1 of 2 numbers are not finite"):
        decoder(task, name, outputs((1, 2)), labels).decode([np.array([[1, np.nan]], np.float32)], ANYWHERE)


def test_as_many_labels_as_measures_are_needed() -> None:
    with pytest.raises(DataError, match="tells 3 classes apart, there are 2 labels"):
        decoder("regression", "values", outputs((1, 3)), ("a", "b"))


def test_more_measures_than_a_result_has_room_for_are_refused() -> None:
    many = PREDICTIONS_LIMIT + 1
    with pytest.raises(DataError, match=f"hold {many} numbers"):
        decoder("regression", "values", outputs((1, many)), tuple(map(str, range(many))))


def test_tensors_are_called_by_their_outputs() -> None:
    given = [TensorInfo("load", "float32", (1, 1)), TensorInfo("phase", "int64", (1, 2))]
    found = decoder("raw", "tensors", given).decode([np.array([[1.5]]), np.array([[3, 4]])], ANYWHERE)
    assert [(one.label, one.value) for one in found] == [("load", 1.5), ("phase[0]", 3.0), ("phase[1]", 4.0)]


def test_one_output_may_be_chosen_by_any_of_its_names() -> None:
    given = [TensorInfo("a", "float32", (1, 1)), TensorInfo("b", "float32", (1, 1), frozenset({"b", "load"}))]
    found = decoder("raw", "tensors", given, output="load").decode([np.array([[1.0]]), np.array([[2.0]])], ANYWHERE)
    assert [(one.label, one.value) for one in found] == [("load", 2.0)]


@pytest.mark.parametrize(
    ("given", "output", "message"),
    [
        ([TensorInfo("a", "float32", (1, 8, 8)), TensorInfo("b", "float32", (1, 1000))], None, "hold 1064 numbers"),
        ([TensorInfo("a", "float32", (1, None))], None, "outputs of fixed shapes"),
        ([TensorInfo("a" * 300, "float32", (1, 1))], None, "names of at most"),
        ([TensorInfo("a", "float32", (1, 1))], "b", "an output named 'b'"),
    ],
)
def test_outputs_that_cannot_be_reported_are_refused(given: list[TensorInfo], output: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        decoder("raw", "tensors", given, output=output)
    assert caught.value.code == "model.wrong_output"
