"""Lists that suppression inside the graph makes have another length with every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_runtime.core.errors import DataError
from edge_runtime.core.result import Prediction
from edge_runtime.engine.loader import load_engine
from edge_runtime.engine.postprocess import InvalidOutputError
from tests.assets.make_models import SIDE, write_package

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])


def red(*cells: tuple[int, int, int]) -> np.ndarray:
    """A black picture with cells of 8 x 8 at row, column in a red of this level."""
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    for row, column, level in cells:
        frame[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8, 2] = level
    return frame


def scratch(row: int, column: int, level: int) -> Prediction:
    x1, y1 = max(0, column * 8 - 2), max(0, row * 8 - 2)
    box = (x1, y1, min(SIDE, column * 8 + 10) - x1, min(SIDE, row * 8 + 10) - y1)
    return Prediction("scratch", pytest.approx(level / 255, abs=1e-6), box, id=0)


def test_each_frame_has_as_many_boxes_as_it_has(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "suppressed"), backend=backend, workers=2)
    corners = [(0, 0, 255), (0, 3, 204), (3, 0, 153), (3, 3, 102)]
    first, second = model.lanes
    for count in (4, 0, 1, 0, 3, 2, 4):
        (found, others) = first.predict(red(*corners[:count])), second.predict(red(*corners[count:]))
        assert found.predictions == tuple(scratch(*one) for one in corners[:count])
        assert others.predictions == tuple(scratch(*one) for one in corners[count:])
    doubles = first.predict(red((1, 1, 255), (1, 2, 204)))  # the graph suppresses the second
    assert doubles.predictions == (scratch(1, 1, 255),)
    model.close()


def test_the_model_says_itself_what_its_lists_are_but_not_whether_one_class_is_nothing(
    tmp_path: Path, backend: str
) -> None:
    with pytest.raises(DataError, match=r'not stated anywhere: output\.background; .*"background": "none"') as caught:
        load_engine(write_package(tmp_path, "suppressed", output={}), backend=backend)
    assert caught.value.code == "model.ambiguous"


def test_a_background_among_the_labels_answers_that(tmp_path: Path, backend: str) -> None:
    package = write_package(tmp_path, "suppressed", output={}, labels=["__background__", "scratch"])
    model = load_engine(package, backend=backend)
    (found,) = model.lanes[0].predict(red((0, 0, 255))).predictions
    assert (found.label, found.id) == ("scratch", 1)
    model.close()


def test_another_type_of_numbers_is_no_answer_all_the_same(tmp_path: Path, backend: str) -> None:
    model = load_engine(write_package(tmp_path, "suppressed"), backend=backend)
    lane = model.lanes[0]
    lane._expected = [("float16", shape) for _, shape in lane._expected]
    with pytest.raises(InvalidOutputError, match="it was float16"):
        lane.predict(red((0, 0, 255)))
    model.close()
