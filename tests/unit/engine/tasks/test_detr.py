from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import ModelSpec, OutputSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec, outputs

SAME = Transform(1, 1, 0, 0, 32, 32)  # a frame of the size of the canvas
BOXES = np.array([[[0.25, 0.25, 0.25, 0.125], [0.75, 0.75, 0.25, 0.25], [0.5, 0.5, 0.5, 0.5]]], np.float32)
FIRST, SECOND = (4, 6, 8, 4), (20, 20, 8, 8)


def logit(score: float) -> float:
    return float(np.log(score / (1 - score)))


def detr(activation: str, background: str = "none", score: float = 0.25) -> ModelSpec:
    output = OutputSpec(None, "cxcywh", normalized=True, activation=activation, background=background)
    return model_spec("detr", output=output, thresholds=ThresholdSpec(score, 1.0, 100))


def test_a_query_may_be_several_things_where_each_label_is_judged_alone() -> None:
    decoder = make_decoder(detr("sigmoid"), outputs((1, 3, 4), (1, 3, 2)))
    logits = np.array([[[logit(0.9), logit(0.6)], [-9, logit(0.8)], [-9, -9]]], np.float32)
    assert decoder.decode([BOXES, logits], SAME) == (
        Prediction("scratch", 0.9, FIRST, id=0),
        Prediction("dent", 0.8, SECOND, id=1),
        Prediction("dent", 0.6, FIRST, id=1),
    )


def test_no_more_pairs_are_taken_than_there_are_queries() -> None:
    decoder = make_decoder(detr("sigmoid"), outputs((1, 2, 4), (1, 2, 2)))
    logits = np.array([[[logit(0.9), logit(0.8)], [logit(0.7), logit(0.6)]]], np.float32)
    found = decoder.decode([BOXES[:, :2], logits], SAME)
    assert [one.score for one in found] == [pytest.approx(0.9), pytest.approx(0.8)]


@pytest.mark.parametrize(("background", "order"), [("last", [0, 1, 2]), ("first", [2, 0, 1])])
def test_a_query_is_one_thing_or_nothing_where_a_class_stands_for_it(background: str, order: list[int]) -> None:
    decoder = make_decoder(detr("softmax", background), outputs((1, 3, 3), (1, 3, 4)))
    likely = np.array([[[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.1, 0.1, 0.8]]], np.float32)
    found = decoder.decode([np.log(likely[:, :, order]), BOXES], SAME)
    assert found == (Prediction("scratch", 0.7, FIRST, id=0), Prediction("dent", 0.5, SECOND, id=1))


def test_scores_may_be_finished_and_stand_beside_the_box() -> None:
    decoder = make_decoder(detr("none"), outputs((1, 3, 6)))
    scores = np.array([[[0.9, 0.6], [0.1, 0.8], [0.1, 0.1]]], np.float32)
    assert decoder.decode([np.concatenate((BOXES, scores), axis=2)], SAME) == (
        Prediction("scratch", 0.9, FIRST, id=0),
        Prediction("dent", 0.8, SECOND, id=1),
    )
    with pytest.raises(InvalidOutputError, match="scores from -1 to 3"):
        decoder.decode([np.concatenate((BOXES, scores * 40 - 33), axis=2).clip(-1, 3)], SAME)


def test_one_more_class_than_labels_has_to_be_explained() -> None:
    with pytest.raises(DataError, match=r'has 3 scores per query, 2 labels .*"background": "last"') as caught:
        make_decoder(detr("sigmoid"), outputs((1, 3, 4), (1, 3, 3)))
    assert caught.value.code == "model.wrong_labels"
    decoder = make_decoder(detr("sigmoid", "last"), outputs((1, 3, 4), (1, 3, 3)))
    logits = np.array([[[logit(0.9), -9, 9], [-9, -9, 9], [-9, -9, 9]]], np.float32)
    assert [one.label for one in decoder.decode([BOXES, logits], SAME)] == ["scratch"]


def test_scores_are_known_by_their_number_among_other_outputs() -> None:
    decoder = make_decoder(detr("sigmoid"), outputs((1, 3, 256), (1, 3, 4), (1, 3, 2)))
    logits = np.full((1, 3, 2), -9, np.float32)
    assert decoder.decode([np.zeros((1, 3, 256), np.float32), BOXES, logits], SAME) == ()


def test_four_labels_look_like_boxes_and_are_told_by_name() -> None:
    labels = ("a", "b", "c", "d")
    spec = model_spec("detr", labels, output=OutputSpec(None, "cxcywh", normalized=True, activation="sigmoid"))
    listed = [TensorInfo("dets", "float32", (1, 3, 4)), TensorInfo("labels", "float32", (1, 3, 4))]
    with pytest.raises(DataError, match="which is which"):
        make_decoder(spec, listed)
    names = {"boxes": "dets", "scores": "labels"}
    named = OutputSpec(None, "cxcywh", normalized=True, activation="sigmoid", names=names)
    decoder = make_decoder(model_spec("detr", labels, output=named), listed)
    logits = np.full((1, 3, 4), -9, np.float32)
    logits[0, 1, 3] = logit(0.9)
    assert [one.label for one in decoder.decode([BOXES, logits], SAME)] == ["d"]


@pytest.mark.parametrize("shapes", [[(1, 3, 4), (1, 2, 2)], [(1, 3, 4)], [(1, 3, 2)], [(2, 3, 4), (1, 3, 2)]])
def test_boxes_and_scores_belong_to_the_same_queries(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(DataError) as caught:
        make_decoder(detr("sigmoid"), outputs(*shapes))
    assert caught.value.code == "model.wrong_output"


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
def test_scores_that_are_no_numbers_are_no_answer(activation: str) -> None:
    decoder = make_decoder(detr(activation), outputs((1, 3, 4), (1, 3, 2)))
    logits = np.zeros((1, 3, 2), np.float32)
    logits[0, 2, 1] = np.nan
    with pytest.raises(InvalidOutputError, match="1 of 6 scores are not finite"):
        decoder.decode([BOXES, logits], SAME)
