from __future__ import annotations

from dataclasses import replace

import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.steps import Step
from edge_runtime.engine.joined import join, reads_text
from edge_runtime.engine.spec import ModelSpec, OutputSpec, ThresholdSpec
from tests.unit.engine.specs import model_spec

DETECTOR = model_spec("yolo", ("screw", "clip"), thresholds=ThresholdSpec(0.25, 0.5, 50, {"clip": 0.6}))
CLASSIFIER = model_spec("softmax", ("rusty", "clean"), thresholds=ThresholdSpec(0.0, 1.0, 5))
UNSURE = replace(CLASSIFIER, thresholds=ThresholdSpec(0.8, 1.0, 5, {"rusty": 0.7}))
READER = model_spec("ctc", ("text",), output=OutputSpec(characters=("a",)), thresholds=ThresholdSpec(0.5, 1.0, 1))
TURNER = model_spec("softmax", ("0", "180"))


def joined(*specs: ModelSpec, labels: tuple[str, ...] | None = None) -> ModelSpec:
    first = [Step("a", "sha256:")] * (len(specs) - 1)
    return join(specs, [*first, Step("b", "sha256:", labels)], "chain")


def test_a_reader_keeps_the_labels_of_what_it_reads() -> None:
    spec = joined(DETECTOR, READER)
    assert (spec.task, spec.labels, spec.input) == ("chain", ("screw", "clip"), DETECTOR.input)
    assert (spec.thresholds.score, spec.thresholds.by_label) == (0.25, {})


def test_a_classifier_that_always_decides_leaves_no_label_of_what_it_looks_at() -> None:
    assert joined(DETECTOR, CLASSIFIER).labels == ("rusty", "clean")
    spec = joined(DETECTOR, CLASSIFIER, labels=("screw",))
    assert spec.labels == ("clip", "rusty", "clean")
    assert spec.thresholds == ThresholdSpec(0.0, 1.0, 50, {"clip": 0.6})


@pytest.mark.parametrize("classifier", [UNSURE, replace(CLASSIFIER, decoder="sigmoid")])
def test_a_classifier_that_may_decide_nothing_leaves_all_labels(classifier: ModelSpec) -> None:
    assert joined(DETECTOR, classifier).labels == ("screw", "clip", "rusty", "clean")


def test_each_label_has_the_floor_of_the_step_that_reports_it() -> None:
    thresholds = joined(DETECTOR, UNSURE).thresholds
    assert thresholds.score == 0.8
    assert thresholds.by_label == {"screw": 0.25, "clip": 0.6, "rusty": 0.7}


def test_a_label_of_both_stands_once() -> None:
    both = replace(UNSURE, labels=("screw", "clean"))
    assert joined(DETECTOR, both).labels == ("screw", "clip", "clean")


def test_thresholds_that_no_message_holds_are_left_out() -> None:
    many = tuple(f"part {number}" for number in range(1100))
    finder = replace(DETECTOR, labels=many, thresholds=ThresholdSpec(0.25, 0.5, 50))
    assert joined(finder, UNSURE).thresholds.by_label == {}


def test_only_a_recogniser_reads() -> None:
    assert [reads_text(one) for one in (DETECTOR, CLASSIFIER, READER)] == [False, False, True]


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ((CLASSIFIER, READER), "classification -> text_recognition is no chain"),
        ((DETECTOR, DETECTOR), "detection -> detection is no chain"),
        ((DETECTOR, CLASSIFIER, READER), "the step between is a classification with the labels rusty, clean"),
        ((DETECTOR, READER, READER), "the step between is a text_recognition with the labels text"),
    ],
)
def test_models_that_do_not_fit_together_are_refused(specs: tuple[ModelSpec, ...], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        joined(*specs)
    assert caught.value.code == "model.wrong_chain"
    assert joined(DETECTOR, TURNER, READER).labels == DETECTOR.labels


def test_a_step_that_names_unknown_labels_is_refused() -> None:
    with pytest.raises(DataError, match="labels that the first step does not have: bolt") as caught:
        joined(DETECTOR, READER, labels=("screw", "bolt"))
    assert caught.value.code == "model.wrong_labels"


def test_labels_that_no_message_holds_are_refused() -> None:
    long = tuple("x" * 240 + str(number) for number in range(1500))
    with pytest.raises(DataError, match="too many for one model"):
        joined(replace(DETECTOR, labels=long), replace(UNSURE, labels=tuple(one + "y" for one in long)))
