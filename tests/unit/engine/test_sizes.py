from __future__ import annotations

import pytest

from edge_runtime.engine.sizes import at_load, fitting, text_size


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        ((600, 800), (736, 992)),  # 800 * 736 / 600 = 981.3, 981 / 32 = 30.66 -> 31
        ((480, 640), (736, 992)),
        ((720, 1280), (736, 1312)),
        ((960, 1280), (960, 1280)),
        ((1080, 1920), (1088, 1920)),
        ((868, 1280), (864, 1280)),
        ((257, 556), (736, 1600)),  # 1592 / 32 = 49.75 -> 50
        ((3000, 4000), (1504, 1984)),  # 1500 x 2000 first; 46.9 and 62.5 steps of 32, the half goes to the even one
        ((1280, 720), (1312, 736)),
        ((100, 1000), (576, 5888)),  # more than 8 : 1: the longer side is bounded
        ((1, 1), (736, 736)),
    ],
)
def test_a_text_detector_sees_pictures_of_the_size_that_rapidocr_gives_it(
    frame: tuple[int, int], size: tuple[int, int]
) -> None:
    assert text_size(*frame) == size
    assert fitting("text", (736, 1312), frame) == size


@pytest.mark.parametrize(("frame", "width"), [((48, 10), 320), ((24, 160), 320), ((24, 161), 480), ((10, 9000), 1280)])
def test_a_line_gets_the_narrowest_input_it_fits_in(frame: tuple[int, int], width: int) -> None:
    assert fitting("line", (48, 320), frame) == (48, width)


def test_other_models_have_one_size() -> None:
    assert fitting("fixed", (32, 64), (100, 100)) == (32, 64)
    assert at_load("fixed", (32, 64)) == ((32, 64),)
    assert at_load("line", (32, 320)) == ((32, 320), (32, 480), (32, 800), (32, 1280))
