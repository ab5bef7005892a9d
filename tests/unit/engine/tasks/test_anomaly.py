"""Anomaly: one verdict about the picture, and regions that rules can tell from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.base import TensorInfo
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import OutputSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec

if TYPE_CHECKING:
    from edge_runtime.engine.spec import ModelSpec

LABELS = ("normal", "anomalous", "region")
TWICE = Transform(0.5, 0.5, 0, 0, 64, 64)
"""A frame of 64 x 64 on the canvas of 32 x 32."""
SCORE = TensorInfo("pred_score", "float32", (1, 1))
LABEL = TensorInfo("pred_label", "bool", (1, 1))
MAP = TensorInfo("anomaly_map", "float32", (1, 1, 8, 8))
MASK = TensorInfo("pred_mask", "bool", (1, 1, 8, 8))


def spec(decoder: str, labels: tuple[str, ...] = LABELS, floor: float = 0.0, **output: Any) -> ModelSpec:
    thresholds = ThresholdSpec(floor, 1.0, 20)
    made = model_spec("probabilities", labels, thresholds=thresholds, output=OutputSpec(**output))
    return replace(made, task="anomaly", decoder=decoder)


def anomalib(
    given: dict[TensorInfo, Any], transform: Transform = TWICE, labels: tuple[str, ...] = LABELS, **output: Any
) -> list[Prediction]:
    decoder = make_decoder(spec("anomalib", labels, **output), list(given))
    arrays = [np.array(value, one.dtype).reshape(one.shape) for one, value in given.items()]
    return list(decoder.decode(arrays, transform))


def heights(**cells: float) -> np.ndarray:
    """A map of 8 x 8 that is 0.1 but for cells ``x3y2``."""
    made = np.full((8, 8), 0.1, np.float32)
    for name, value in cells.items():
        x, y = name[1:].split("y")
        made[int(y), int(x)] = value
    return made


def test_the_label_of_the_model_decides_and_the_other_is_its_alternative() -> None:
    assert anomalib({SCORE: 0.75, LABEL: True}) == [
        Prediction("anomalous", 0.75, id=1),
        Prediction("normal", 0.25, id=0, alternative=True),
    ]
    assert anomalib({SCORE: 0.75, LABEL: False}) == [
        Prediction("normal", 0.25, id=0),
        Prediction("anomalous", 0.75, id=1, alternative=True),
    ]


@pytest.mark.parametrize(("score", "bad"), [(0.51, True), (0.5, False), (0.49, False)])
def test_without_a_label_the_middle_is_the_threshold(score: float, bad: bool) -> None:  # noqa: FBT001 - a case
    assert anomalib({SCORE: score})[0].label == LABELS[bad]


def test_a_stated_threshold_overrules_the_label_of_the_model() -> None:
    assert anomalib({SCORE: 0.75, LABEL: True}, image_threshold=0.8)[0].label == "normal"
    assert anomalib({SCORE: 0.75, LABEL: False}, image_threshold=0.7)[0].label == "anomalous"


def test_regions_lie_where_the_map_is_high_highest_first() -> None:
    found = anomalib({SCORE: 0.9, MAP: heights(x1y2=0.7, x2y2=0.6, x6y6=0.8)})
    # 8 cells for 32 pixels of canvas and 64 of the frame: a cell is 8 pixels wide
    assert found[2:] == [
        Prediction("region", 0.8, (48.0, 48.0, 8.0, 8.0), id=2),
        Prediction("region", 0.7, (8.0, 16.0, 16.0, 8.0), id=2),
    ]


def test_the_outline_of_a_region_runs_through_its_outer_cells() -> None:
    block = {f"x{x}y{y}": 0.9 for x in (2, 3, 4) for y in (1, 2, 3)}
    (region,) = anomalib({SCORE: 0.9, MAP: heights(**block)})[2:]
    assert region.box == (16.0, 8.0, 24.0, 24.0)
    assert set(region.polygon or ()) == {(20.0, 12.0), (20.0, 28.0), (36.0, 28.0), (36.0, 12.0)}


def test_cells_that_touch_at_a_corner_are_one_region() -> None:
    assert len(anomalib({SCORE: 0.9, MAP: heights(x1y1=0.9, x2y2=0.9)})) == 3


def test_the_mask_of_the_model_says_where_regions_are() -> None:
    mask = heights(x5y5=1) > 0.5
    (region,) = anomalib({SCORE: 0.9, MAP: heights(x5y5=0.4, x1y1=0.9), MASK: mask})[2:]
    assert (region.box, region.score) == ((40.0, 40.0, 8.0, 8.0), 0.4)


def test_a_mask_alone_has_the_score_of_the_picture() -> None:
    (region,) = anomalib({SCORE: 0.9, MASK: heights(x5y5=1) > 0.5})[2:]
    assert (region.box, region.score) == ((40.0, 40.0, 8.0, 8.0), 0.9)


def test_a_stated_pixel_threshold_overrules_the_mask_of_the_model() -> None:
    mask = heights(x5y5=1) > 0.5
    (region,) = anomalib({SCORE: 0.9, MAP: heights(x5y5=0.4, x1y1=0.9), MASK: mask}, pixel_threshold=0.6)[2:]
    assert region.box == (8.0, 8.0, 8.0, 8.0)


def test_a_mask_of_another_size_than_the_map_is_not_used() -> None:
    other = TensorInfo("pred_mask", "bool", (1, 1, 4, 4))
    assert len(anomalib({SCORE: 0.9, MAP: heights(x1y1=0.9), other: np.zeros((4, 4))})) == 3


def test_a_map_alone_gives_the_verdict_by_its_peak() -> None:
    assert [(one.label, one.score) for one in anomalib({MAP: heights(x1y1=0.7)})] == [
        ("anomalous", 0.7),
        ("normal", 0.3),
        ("region", 0.7),
    ]


def test_regions_below_the_floor_of_the_description_are_left_out() -> None:
    decoder = make_decoder(spec("anomalib", floor=0.75), [SCORE, MAP])
    arrays = [np.array([[0.9]], np.float32), heights(x1y1=0.7, x6y6=0.8).reshape(1, 1, 8, 8)]
    assert [one.score for one in decoder.decode(arrays, TWICE)[2:]] == [0.8]


def test_without_a_third_label_there_are_no_regions() -> None:
    assert len(anomalib({SCORE: 0.9, MAP: heights(x1y1=0.9)}, labels=LABELS[:2])) == 2


def test_regions_in_the_border_around_the_picture_are_dropped() -> None:
    letterbox = Transform(0.5, 0.5, 0, 8, 64, 32)  # the picture lies in rows 8 to 24 of the canvas
    found = anomalib({SCORE: 0.9, MAP: heights(x1y0=0.9, x1y3=0.8)}, letterbox)
    assert [one.box for one in found[2:]] == [(8.0, 8.0, 8.0, 8.0)]


def test_there_are_no_more_regions_than_the_description_says() -> None:
    chessboard = heights(**{f"x{x}y{y}": 0.5 + x / 100 + y / 1000 for x in range(0, 8, 2) for y in range(0, 8, 2)})
    assert len(anomalib({MAP: chessboard})) == 2 + 16 - 1  # 0.5 is not above the threshold
    decoder = make_decoder(replace(spec("anomalib"), thresholds=ThresholdSpec(0.0, 1.0, 2)), [MAP])
    found = decoder.decode([chessboard.reshape(1, 1, 8, 8)], TWICE)
    assert [one.score for one in found[2:]] == pytest.approx([0.566, 0.564])


@pytest.mark.parametrize("given", [{SCORE: float("nan")}, {SCORE: 0.5, MAP: heights(x1y1=float("inf"))}])
def test_numbers_that_are_none_are_refused(given: dict[TensorInfo, Any]) -> None:
    with pytest.raises(InvalidOutputError, match="not finite"):
        anomalib(given)


def test_scores_that_were_not_normalised_are_refused() -> None:
    with pytest.raises(InvalidOutputError, match=r"from 0 to 1, found 17\.2 to 17\.2") as caught:
        anomalib({SCORE: 17.2})
    assert "anomaly_map" in str(caught.value.help)


@pytest.mark.parametrize(
    "outputs",
    [
        [LABEL, MASK],
        [TensorInfo("pred_score", "float32", (1, 1, 8, 8))],
        [SCORE, TensorInfo("anomaly_map", "float32", (1, 64))],
    ],
)
def test_outputs_of_another_model_are_refused(outputs: list[TensorInfo]) -> None:
    with pytest.raises(DataError, match="expects") as caught:
        make_decoder(spec("anomalib"), outputs)
    assert caught.value.code == "model.wrong_output"


def test_outputs_may_have_other_names() -> None:
    other = TensorInfo("score", "float32", (1, 1))
    assert anomalib({other: 0.9}, names={"pred_score": "score"})[0].label == "anomalous"


@pytest.mark.parametrize("labels", [("anomalous",), ("a", "b", "c", "d")])
def test_an_anomaly_model_has_two_labels_or_three(labels: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="2 or 3 labels") as caught:
        make_decoder(spec("anomalib", labels), [SCORE])
    assert caught.value.code == "model.wrong_labels"


def mapped(number: Any, shape: tuple[int, ...] = (1, 1, 8, 8), **output: Any) -> list[Prediction]:
    stated = {"image_threshold": 20.0, "pixel_threshold": 10.0, "normalization_scale": 40.0, **output}
    decoder = make_decoder(spec("anomaly_map", **stated), [TensorInfo("map", "float32", shape)])
    return list(decoder.decode([np.array(number, np.float32).reshape(shape)], TWICE))


def test_a_map_in_the_models_own_unit_is_normalised_around_the_thresholds() -> None:
    found = mapped(np.where(heights(x1y1=1) > 0.5, 30.0, 5.0))
    assert [(one.label, one.score) for one in found] == [
        ("anomalous", 0.75),  # (30 - 20) / 40 + 0.5
        ("normal", 0.25),
        ("region", 1.0),  # (30 - 10) / 40 + 0.5
    ]


def test_places_may_be_anomalous_in_a_picture_that_is_not() -> None:
    found = mapped(np.where(heights(x1y1=1) > 0.5, 20.0, 5.0))
    assert [(one.label, one.score) for one in found] == [("normal", 0.5), ("anomalous", 0.5), ("region", 0.75)]
    assert [one.alternative for one in found] == [False, True, False]


def test_one_number_is_a_verdict_without_regions() -> None:
    assert [(one.label, one.score) for one in mapped([-50.0], (1,))] == [("normal", 1.0), ("anomalous", 0.0)]


def test_the_threshold_of_the_picture_holds_for_places_without_one() -> None:
    assert len(mapped(np.where(heights(x1y1=1) > 0.5, 15.0, 5.0), pixel_threshold=None)) == 2


def test_a_map_needs_a_threshold() -> None:
    with pytest.raises(DataError, match=r"output\.image_threshold") as caught:
        mapped(heights(), image_threshold=None)
    assert caught.value.code == "model.ambiguous"


def test_a_map_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidOutputError, match="1 of 64 numbers are not finite"):
        mapped(heights(x0y0=float("nan")))


def test_regions_have_a_floor_of_their_own_label() -> None:
    made = spec("anomalib", floor=0.9)
    made = replace(made, thresholds=replace(made.thresholds, by_label={"region": 0.6}))
    decoder = make_decoder(made, [SCORE, MAP])
    answer = [np.array([[0.8]], np.float32), heights(x3y2=0.7, x6y6=0.55)[None, None]]
    assert [one.score for one in decoder.decode(answer, TWICE) if one.label == "region"] == [pytest.approx(0.7)]
