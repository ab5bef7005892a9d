from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import OutputSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec, outputs

LABELS = ("good", "scratch", "dent")
ANYWHERE = Transform(1, 1, 0, 0, 8, 8)
ALL = ThresholdSpec(0.0, 1.0, 5)


def decode(decoder: str, numbers: list[float], thresholds: ThresholdSpec = ALL) -> list[tuple[str, float]]:
    made = make_decoder(model_spec(decoder, LABELS, thresholds=thresholds), outputs((1, 3)))
    found = made.decode([np.array([numbers], np.float32)], ANYWHERE)
    assert all(one.box is None for one in found)
    return [(one.label, one.score) for one in found]


def test_probabilities_are_taken_as_they_are_best_first() -> None:
    assert decode("probabilities", [0.25, 0.5, 0.25]) == [("scratch", 0.5), ("good", 0.25), ("dent", 0.25)]


def test_predictions_carry_the_number_of_their_label() -> None:
    made = make_decoder(model_spec("probabilities", LABELS, thresholds=ALL), outputs((1, 3)))
    (first, *_) = made.decode([np.array([[0, 0, 1]], np.float32)], ANYWHERE)
    assert first == Prediction("dent", 1.0, id=2)


def test_logits_are_turned_into_probabilities_by_softmax() -> None:
    assert decode("softmax", [0, 0, 100])[0] == ("dent", 1.0)


def test_numbers_that_are_no_probabilities_are_logits_when_either_may_come() -> None:
    assert decode("auto", [0.25, 0.5, 0.25])[0] == ("scratch", 0.5)
    assert decode("auto", [0, 0, 100])[0] == ("dent", 1.0)
    assert decode("auto", [-1, 1, 1])[0] == ("scratch", pytest.approx(0.468, abs=1e-3))  # their sum is 1, too


def test_sigmoid_judges_every_label_by_itself() -> None:
    assert decode("sigmoid", [50, 50, -50], ThresholdSpec(0.5, 1.0, 5)) == [("good", 1.0), ("scratch", 1.0)]


def test_a_label_may_have_a_floor_of_its_own() -> None:
    floors = ThresholdSpec(0.2, 1.0, 5, {"good": 0.9})
    assert decode("probabilities", [0.6, 0.3, 0.1], floors) == [("scratch", 0.3)]


def alternatives(decoder: str, numbers: list[float], thresholds: ThresholdSpec = ALL) -> dict[str, bool]:
    made = make_decoder(model_spec(decoder, LABELS, thresholds=thresholds), outputs((1, 3)))
    return {one.label: one.alternative for one in made.decode([np.array([numbers], np.float32)], ANYWHERE)}


@pytest.mark.parametrize("decoder", ["probabilities", "softmax"])
def test_a_model_that_decides_for_one_label_decides_against_the_others(decoder: str) -> None:
    numbers = [0.7, 0.2, 0.1] if decoder == "probabilities" else [3, 2, 1]
    assert alternatives(decoder, numbers) == {"good": False, "scratch": True, "dent": True}


def test_a_label_that_reaches_a_floor_of_its_own_is_no_alternative() -> None:
    floors = ThresholdSpec(0.0, 1.0, 5, {"scratch": 0.15})
    assert alternatives("probabilities", [0.7, 0.2, 0.1], floors) == {"good": False, "scratch": False, "dent": True}
    assert alternatives("probabilities", [0.8, 0.1, 0.1], floors) == {"good": False, "dent": True}


def test_the_best_label_that_reaches_its_floor_is_the_answer() -> None:
    floors = ThresholdSpec(0.0, 1.0, 5, {"good": 0.9})
    assert alternatives("probabilities", [0.7, 0.2, 0.1], floors) == {"scratch": False, "dent": True}


def test_a_model_of_any_number_of_labels_has_no_alternatives() -> None:
    assert set(alternatives("sigmoid", [1, 2, 3]).values()) == {False}


def test_only_the_best_are_kept() -> None:
    assert decode("probabilities", [0.6, 0.3, 0.1], ThresholdSpec(0.0, 1.0, 1)) == [("good", 0.6)]


def test_probabilities_of_int8_that_miss_one_by_a_little_are_accepted() -> None:
    assert decode("probabilities", [1.005, -0.005, 0.0])[0] == ("good", 1.0)


@pytest.mark.parametrize("numbers", [[3.0, 1.0, 0.5], [1.2, -0.2, 0.0], [0.1, 0.1, 0.1]])
def test_what_does_not_sum_to_one_is_no_probability(numbers: list[float]) -> None:
    with pytest.raises(InvalidOutputError, match="for logits write decoder softmax or sigmoid"):
        decode("probabilities", numbers)


@pytest.mark.parametrize("decoder", ["probabilities", "softmax", "sigmoid"])
def test_nan_is_refused(decoder: str) -> None:
    with pytest.raises(InvalidOutputError, match="1 of 3 scores are not finite"):
        decode(decoder, [float("nan"), 0, 1])


def test_as_many_labels_as_classes_are_needed() -> None:
    with pytest.raises(DataError, match="tells 4 classes apart, there are 3 labels") as caught:
        make_decoder(model_spec("softmax", LABELS), outputs((1, 4)))
    assert caught.value.code == "model.wrong_labels"


def test_axes_of_length_one_do_not_matter() -> None:
    made = make_decoder(model_spec("softmax", LABELS, thresholds=ALL), outputs((1, 3, 1, 1)))
    assert len(made.decode([np.zeros((1, 3, 1, 1), np.float32)], ANYWHERE)) == 3


def test_a_detector_is_no_classifier() -> None:
    with pytest.raises(DataError, match=r"expects an output \[1, labels\], the model's outputs are: out0") as caught:
        make_decoder(model_spec("softmax", LABELS), outputs((1, 84, 8400)))
    assert caught.value.code == "model.wrong_output"


@pytest.mark.parametrize(
    ("shape", "help_"), [((), "write the right task"), ((1, None), "export the model with static shapes, or write")]
)
def test_an_output_of_no_or_open_shape_is_no_answer(shape: tuple[int | None, ...], help_: str) -> None:
    with pytest.raises(DataError, match=help_) as caught:
        make_decoder(model_spec("softmax", ("good",)), [TensorInfo("out", "float32", shape)])
    assert caught.value.code == "model.wrong_output"


def test_two_outputs_that_fit_must_be_told_apart() -> None:
    with pytest.raises(DataError, match="several outputs could be the answer: 'out0', 'out1'"):
        make_decoder(model_spec("softmax", LABELS), outputs((1, 3), (1, 3)))
    named = model_spec("softmax", LABELS, thresholds=ALL, output=OutputSpec("out1", "xyxy", normalized=False))
    made = make_decoder(named, outputs((1, 3), (1, 3)))
    found = made.decode([np.zeros((1, 3), np.float32), np.array([[0, 9, 0]], np.float32)], ANYWHERE)
    assert found[0].label == "scratch"


def test_a_name_that_does_not_exist_is_refused() -> None:
    named = model_spec("softmax", LABELS, output=OutputSpec("logits", "xyxy", normalized=False))
    with pytest.raises(DataError, match="named 'logits'"):
        make_decoder(named, outputs((1, 3)))
