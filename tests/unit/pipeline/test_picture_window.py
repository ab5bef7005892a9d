"""pipeline.picture_window: distributions over the last minutes."""

from __future__ import annotations

import pytest

from edge_runtime.core.picture import BINS, PictureNumbers
from edge_runtime.pipeline.picture_window import PART_NS, PARTS, WINDOW_S, SlidingWindow


def numbers(brightness: float, sharpness: float | None = 0.5) -> PictureNumbers:
    """What was measured."""
    return PictureNumbers(1, 640, 480, brightness, 20.0, 0.0, 0.0, sharpness, 0.1)


def test_an_empty_window_has_no_pictures() -> None:
    view = SlidingWindow().view(0)
    assert view.seconds == WINDOW_S
    assert (view.brightness.count, view.brightness.mean, view.brightness.deviation) == (0, 0.0, 0.0)
    assert view.sharpness.bins == (0,) * BINS


def test_numbers_are_distributed_over_bins() -> None:
    window = SlidingWindow()
    for value, sharpness in ((0.0, 0.0), (128.0, 1.0), (255.0, None)):
        window.add(numbers(value, sharpness), 5)
    view = window.view(5)
    assert view.brightness.count == 3
    assert view.brightness.mean == pytest.approx(383 / 3)
    assert view.brightness.deviation == pytest.approx(104.1, abs=0.1)
    assert [index for index, count in enumerate(view.brightness.bins) if count] == [0, BINS // 2, BINS - 1]
    assert view.sharpness.count == 2
    assert [index for index, count in enumerate(view.sharpness.bins) if count] == [0, BINS - 1]


def test_what_is_older_than_the_window_is_forgotten() -> None:
    window = SlidingWindow()
    window.add(numbers(10.0), 0)
    window.add(numbers(20.0), PART_NS)
    assert window.view(PARTS * PART_NS - 1).brightness.count == 2
    assert window.view(PARTS * PART_NS).brightness.mean == 20.0
    window.add(numbers(30.0), 3 * PARTS * PART_NS)
    assert window.view(3 * PARTS * PART_NS).brightness.mean == 30.0


def test_the_window_keeps_a_bounded_number_of_parts() -> None:
    window = SlidingWindow()
    for turn in range(50 * PARTS):
        window.add(numbers(10.0), turn * PART_NS // 2)
    assert window.view(50 * PARTS * PART_NS // 2).brightness.count <= 2 * PARTS
