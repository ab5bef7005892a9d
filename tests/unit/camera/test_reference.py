"""camera.reference: what good pictures have in common, and how others compare with it."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_runtime.camera.copies import make_copies
from edge_runtime.camera.measure import Measure
from edge_runtime.camera.reference import LOOKS_MAX, LOOKS_MIN, Comparison, ReferenceMaker
from edge_runtime.core.errors import DataError
from edge_runtime.core.picture_reference import PNG
from tests import scenes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_runtime.core.picture import PictureReference


def made(images: Iterable[Any]) -> PictureReference:
    maker, measure = ReferenceMaker(), Measure()
    for number, image in enumerate(images):
        maker.add(*measure.measure(image, number, number / 4))
    return maker.finish(12345)


def bench(count: int = 12) -> list[Any]:
    return [scenes.noisy(scenes.bench_scene(), 2, number) for number in range(count)]


@functools.cache
def good() -> PictureReference:
    """A reference of a bench on which nothing moves."""
    return made(bench())


def compare(reference: PictureReference, image: Any) -> tuple[tuple[float, float] | None, float | None]:
    return Comparison(reference).compare(make_copies(image), (image.shape[1], image.shape[0]))


def test_a_reference_holds_the_extremes_of_its_pictures() -> None:
    images = bench()
    images[3] = (images[3] * 0.8).astype(np.uint8)
    measured = [Measure().measure(image, 1, 0.0)[0] for image in images]
    reference = made(images)
    assert (reference.made_utc_ns, reference.width, reference.height, reference.looks) == (12345, 480, 360, 12)
    assert reference.brightness_low == measured[3].brightness
    assert reference.white_high == max(one.white for one in measured)
    assert reference.sharpness_low == min(one.sharpness for one in measured if one.sharpness is not None)
    assert reference.detail_low == min(one.detail for one in measured)
    assert reference.likeness_low is not None
    assert reference.likeness_low > 0.9
    assert reference.thumbnail.startswith(PNG)


@pytest.mark.parametrize(("right", "down"), [(0.1, 0.0), (0.0, -0.1), (-0.2, 0.15), (0.05, 0.05)])
def test_a_shift_is_found_in_its_direction(right: float, down: float) -> None:
    shift, likeness = compare(good(), scenes.moved(scenes.bench_scene(), right, down))
    assert shift == pytest.approx((right, down), abs=0.01)
    assert likeness is not None
    assert likeness > 0.7


def test_a_picture_of_something_else_has_no_shift() -> None:
    shift, likeness = compare(good(), scenes.bench_scene()[::-1, ::-1].copy())
    assert shift is None
    assert likeness is not None
    assert likeness < 0.3


def test_a_good_picture_lies_where_it_should_in_any_light() -> None:
    reference = good()
    for times in (0.3, 0.7, 1.1):
        shift, likeness = compare(reference, np.clip(scenes.bench_scene() * times, 0, 255).astype(np.uint8))
        assert shift == (0.0, 0.0)
        assert likeness is not None
        assert likeness > 0.9


def test_along_a_straight_edge_there_is_no_shift() -> None:
    """Rails look the same wherever along them the camera looks."""
    shift, _ = compare(made(scenes.clip()[:16]), scenes.moved(scenes.clip()[50], 0.1, 0.0))
    assert shift == (0.0, 0.0)


def test_of_pictures_in_which_all_moves_nothing_is_compared() -> None:
    reference = made(scenes.belt(12))
    assert reference.likeness_low is None
    assert compare(reference, scenes.belt(1)[0]) == (None, None)


def test_of_pictures_with_few_edges_sharpness_is_not_known() -> None:
    ramp = np.linspace(80, 120, 480).astype(np.uint8)[None, :, None].repeat(360, 0).repeat(3, 2)
    reference = made([ramp] * LOOKS_MIN)
    assert reference.sharpness_low is None
    assert reference.likeness_low is None


def test_pictures_of_another_size_are_not_compared() -> None:
    assert compare(good(), scenes.bench_scene(640, 480)) == (None, None)
    other = replace(good(), width=300, height=300)
    assert compare(other, np.zeros((300, 300, 3), np.uint8)) == (None, None)


def test_too_few_pictures_and_empty_ones_make_no_reference() -> None:
    with pytest.raises(DataError, match="7 pictures are too few"):
        made(bench(LOOKS_MIN - 1))
    with pytest.raises(DataError, match="shows nothing"):
        made([np.full((360, 480, 3), 90, np.uint8)] * LOOKS_MIN)


def test_pictures_of_a_second_size_and_those_that_are_too_many_are_left_out() -> None:
    maker, measure = ReferenceMaker(), Measure()
    numbers, copies = measure.measure(scenes.bench_scene(), 1, 0.0)
    for _ in range(LOOKS_MAX + 5):
        maker.add(numbers, copies)
    maker.add(*measure.measure(scenes.bench_scene(640, 480), 1, 0.0))
    assert len(maker._smalls) == LOOKS_MAX


@pytest.mark.parametrize("field", ["thumbnail", "steady"])
def test_a_reference_whose_pictures_are_none_is_refused(field: str) -> None:
    reference = good()
    with pytest.raises(DataError):
        Comparison(replace(reference, **{field: PNG + b"nothing"}))
    with pytest.raises(DataError, match="differ in size"):
        Comparison(replace(reference, **{field: made([scenes.bench_scene(640, 360)] * LOOKS_MIN).thumbnail}))
