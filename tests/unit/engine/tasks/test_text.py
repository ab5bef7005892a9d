from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import InvalidOutputError, Transform
from edge_runtime.engine.spec import OutputSpec, ThresholdSpec
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec, outputs

SIZE = (96, 128)
SAME = Transform(1, 1, 0, 0, 128, 96)
TEXTS = ThresholdSpec(0.5, 1.0, 1000)
Rectangle = tuple[int, int, int, int]


def probabilities(*texts: Rectangle, level: float = 0.9) -> np.ndarray:
    """A map in which the pixels of each rectangle (left, top, right, bottom, all inside) are text."""
    values = np.zeros((1, 1, *SIZE), np.float32)
    for left, top, right, bottom in texts:
        values[0, 0, top : bottom + 1, left : right + 1] = level
    return values


def found(values: np.ndarray, transform: Transform = SAME, thresholds: ThresholdSpec = TEXTS) -> tuple[Prediction, ...]:
    spec = model_spec("db", ("text",), thresholds=thresholds, size=SIZE)
    return make_decoder(spec, outputs((1, 1, *SIZE))).decode([values], transform)


def test_the_core_of_a_text_is_grown_by_its_area_over_its_perimeter() -> None:
    (one,) = found(probabilities((20, 40, 79, 59)))
    # dilation adds a column and a row at the right and bottom: corners 20..80, 40..60, of 60 x 20 pixels;
    # 60 * 20 * 1.6 / 160 = 12 pixels outwards
    assert one.polygon == ((8, 28), (92, 28), (92, 72), (8, 72))
    assert one.box == (8, 28, 84, 44)
    assert (one.label, one.id) == ("text", 0)
    # of the 61 x 21 pixels whose mean is the score, 60 x 20 are text
    assert one.score == pytest.approx(0.9 * 1200 / (61 * 21), abs=1e-5)


def test_corners_go_back_into_the_frame_the_way_the_picture_came() -> None:
    half = Transform(0.5, 0.5, 10, 0, 200, 192)
    (one,) = found(probabilities((20, 40, 79, 59)), half)
    assert one.polygon == ((0, 56), (164, 56), (164, 144), (0, 144))  # the left side lies in the border: clipped


def test_a_map_that_is_smaller_than_the_input_is_stretched() -> None:
    spec = model_spec("db", ("text",), thresholds=TEXTS, size=(192, 256))
    decoder = make_decoder(spec, outputs((1, 1, *SIZE)))
    (one,) = decoder.decode([probabilities((20, 40, 79, 59))], Transform(1, 1, 0, 0, 256, 192))
    assert one.polygon == ((16, 56), (184, 56), (184, 144), (16, 144))


def test_a_turned_text_has_turned_corners() -> None:
    values = np.zeros((1, 1, *SIZE), np.float32)
    for step in range(48):
        values[0, 0, 20 + step : 30 + step, 30 + step : 40 + step] = 0.9
    (one,) = found(values)
    assert one.polygon is not None
    along = np.subtract(one.polygon[1], one.polygon[0])
    assert np.degrees(np.arctan2(along[1], along[0])) == pytest.approx(45, abs=3)


def test_texts_come_in_reading_order() -> None:
    second_line, right, left = (10, 60, 40, 70), (80, 22, 110, 30), (10, 20, 40, 30)
    first, second, third = (one.box[:2] for one in found(probabilities(second_line, right, left)) if one.box)
    assert first[0] < 10
    assert second[0] > 70
    assert third[0] < 10
    assert third[1] > max(first[1], second[1]) + 20


def test_nothing_is_found_on_an_empty_map() -> None:
    assert found(probabilities()) == ()


def test_specks_and_weak_texts_are_left_out() -> None:
    assert found(probabilities((20, 40, 21, 41))) == ()  # a core of two pixels
    assert found(probabilities((20, 40, 79, 59), level=0.4)) == ()
    assert len(found(probabilities((20, 40, 79, 59), level=0.4), thresholds=ThresholdSpec(0.3, 1.0, 9))) == 1


def test_a_text_that_is_too_small_once_grown_or_in_the_frame_is_left_out() -> None:
    low = ThresholdSpec(0.0, 1.0, 9)
    assert found(probabilities((20, 40, 22, 42)), thresholds=low) != ()  # 3 x 3 pixels become 5.4 x 5.4
    assert found(probabilities((20, 40, 22, 42)), Transform(2, 2, 0, 0, 64, 48), low) == ()  # 2.7 in the frame
    thin = probabilities((20, 40, 22, 42))
    thin[0, 0, 41:43] = 0  # one row; dilated two, so the rectangle is 1 high
    assert found(thin, thresholds=low) == ()


def test_the_best_are_kept() -> None:
    values = probabilities((10, 20, 40, 30)) + probabilities((10, 60, 40, 70), level=0.6)
    (one,) = found(values, thresholds=ThresholdSpec(0.3, 1.0, 1))
    assert one.box is not None
    assert one.box[1] < 20


@pytest.mark.parametrize(("wrong", "message"), [(np.nan, "not finite"), (-3.0, "expected 0 to 1"), (7.0, "sigmoid")])
def test_a_map_that_holds_no_probabilities_is_refused(wrong: float, message: str) -> None:
    values = probabilities()
    values[0, 0, 3, 3] = wrong
    with pytest.raises(InvalidOutputError) as caught:
        found(values)
    assert message in str(caught.value)


def read(best: str, scores: list[float] | None = None, floor: float = 0.5) -> tuple[Prediction, ...]:
    """Decode steps whose best classes are those of ``best``, ``_`` for the blank; alphabet a, b and the space."""
    steps = np.full((1, len(best), 4), 0.01, np.float32)
    for index, one in enumerate(best):
        steps[0, index, "_ab ".index(one)] = scores[index] if scores else 0.9
    spec = model_spec(
        "ctc", ("text",), thresholds=ThresholdSpec(floor, 1.0, 1), output=OutputSpec(characters=("a", "b"))
    )
    return make_decoder(spec, outputs((1, len(best), 4))).decode([steps], SAME)


@pytest.mark.parametrize(
    ("best", "text"),
    [("ab", "ab"), ("aab", "ab"), ("a_ab", "aab"), ("_a_", "a"), ("a b", "a b"), ("aa__aabb", "aab"), (" a ", "a")],
)
def test_repetitions_are_one_character_and_blanks_part_them(best: str, text: str) -> None:
    (one,) = read(best)
    assert one == Prediction("text", one.score, text=text, id=0)


def test_the_score_is_the_mean_of_the_characters_that_were_kept() -> None:
    (one,) = read("_aab", [0.2, 0.8, 0.1, 0.6])
    assert one.score == pytest.approx((0.8 + 0.6) / 2)


def test_an_unsure_or_empty_line_reads_nothing() -> None:
    assert read("ab", [0.4, 0.5]) == ()
    assert read("ab", [0.4, 0.5], floor=0.4)[0].text == "ab"
    assert read("___") == ()
    assert read("   ") == ()


def test_a_line_that_holds_no_probabilities_is_refused() -> None:
    with pytest.raises(InvalidOutputError, match="finite"):
        read("ab", [float("nan"), 0.5])
    with pytest.raises(InvalidOutputError, match="softmax"):
        read("ab", [9.0, 0.5])


@pytest.mark.parametrize("classes", [2, 5])
def test_an_alphabet_of_another_size_is_refused(classes: int) -> None:
    spec = model_spec("ctc", ("text",), output=OutputSpec(characters=("a", "b")))
    with pytest.raises(DataError, match=f"tells {classes} characters apart, 2 are stated"):
        make_decoder(spec, outputs((1, 8, classes)))


def test_an_alphabet_may_do_without_the_space() -> None:
    spec = model_spec("ctc", ("text",), output=OutputSpec(characters=("a", "b")))
    steps = np.array([[[0.0, 0.1, 0.9]]], np.float32)
    (one,) = make_decoder(spec, outputs((1, 1, 3))).decode([steps], SAME)
    assert one.text == "b"


@pytest.mark.parametrize("decoder", ["db", "ctc"])
def test_there_is_one_label(decoder: str) -> None:
    spec = model_spec(decoder, ("text", "logo"), output=OutputSpec(characters=("a", "b")))
    with pytest.raises(DataError, match="tells 1 classes apart, there are 2 labels"):
        make_decoder(spec, outputs((1, 1, 8, 8) if decoder == "db" else (1, 8, 4)))


@pytest.mark.parametrize(("decoder", "shape"), [("db", (1, 2, 8, 8)), ("db", (1, 8, 8)), ("ctc", (8, 1, 4))])
def test_other_outputs_are_refused(decoder: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError) as caught:
        make_decoder(model_spec(decoder, ("text",)), outputs(shape))
    assert caught.value.code == "model.wrong_output"
