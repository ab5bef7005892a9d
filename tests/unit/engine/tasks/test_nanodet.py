from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.postprocess import Transform
from edge_runtime.engine.tasks import make_decoder
from tests.unit.engine.specs import model_spec, outputs

SAME = Transform(1, 1, 0, 0, 32, 32)  # a frame of the size of the canvas


# NanoDet on 32 x 32: strides 8, 16, 32 have 16, 4 and 1 cells; 5 bins
NANO_SHAPES = ((1, 16, 2), (1, 16, 20), (1, 4, 20), (1, 4, 2), (1, 1, 2), (1, 1, 20))


def nano_answer() -> list[np.ndarray]:
    return [np.zeros(shape, np.float32) for shape in NANO_SHAPES]


def test_nanodet_boxes_reach_from_the_centre_of_their_cell() -> None:
    decoder = make_decoder(model_spec("nanodet"), outputs(*NANO_SHAPES))
    answer = nano_answer()
    answer[0][0, 6] = (0.1, 0.9)  # stride 8, column 2, row 1: centre (20, 12)
    for side, bin_ in enumerate((1, 0, 1, 2)):
        answer[1][0, 6, side * 5 + bin_] = 100  # certain: 8 left, 0 up, 8 right, 16 down
    answer[4][0, 0] = (0.6, 0.0)  # stride 32: undecided between 0..4 strides, mean 2: larger than the frame
    assert decoder.decode(answer, SAME) == (
        Prediction("dent", 0.9, (12, 12, 16, 16), id=1),
        Prediction("scratch", 0.6, (0, 0, 32, 32), id=0),
    )


def test_nanodet_with_nothing_seen_is_an_empty_answer() -> None:
    decoder = make_decoder(model_spec("nanodet"), outputs(*NANO_SHAPES))
    assert decoder.decode(nano_answer(), SAME) == ()


@pytest.mark.parametrize(
    "shapes",
    [
        NANO_SHAPES[:5],
        ((1, 16, 3), *NANO_SHAPES[1:]),
        ((1, 17, 2), *NANO_SHAPES[1:]),
        (*NANO_SHAPES, (1, 7)),
        ((1, 84, 8400),),
    ],
)
def test_nanodet_refuses_other_heads(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(DataError, match="for each stride") as caught:
        make_decoder(model_spec("nanodet"), outputs(*shapes))
    assert caught.value.code == "model.wrong_output"
