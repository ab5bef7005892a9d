"""Percentiles by nearest rank, over a bounded window."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.system.metrics import WINDOW, Window, percentile


@pytest.mark.parametrize(
    ("quantile", "expected"), [(0, 15), (0.05, 15), (0.30, 20), (0.40, 20), (0.50, 35), (0.99, 50), (1, 50)]
)
def test_the_textbook_example_of_the_nearest_rank(quantile: float, expected: float) -> None:
    assert percentile([15, 20, 35, 40, 50], quantile) == expected


def test_nothing_has_no_percentile() -> None:
    assert percentile([], 0.5) is None
    assert Window().percentiles(0.5, 0.99) == (None, None)


def test_a_window_forgets_the_oldest_values() -> None:
    window = Window(3)
    for value in (100, 1, 3, 2):
        window.add(value)
    assert window.percentiles(0, 0.5, 1) == (1, 2, 3)


def test_a_window_holds_2048_values_by_default() -> None:
    window = Window()
    for value in range(WINDOW + 1):
        window.add(value)
    assert window.percentiles(0, 1) == (1, WINDOW)
    assert WINDOW == 2048


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=50), quantile=st.floats(0, 1))
def test_a_percentile_is_one_of_the_values_and_enough_of_them_are_no_larger(
    values: list[float], quantile: float
) -> None:
    found = percentile(sorted(values), quantile)
    assert found in values
    assert sum(value <= found for value in values) >= quantile * len(values) - 1e-9


def test_values_may_be_added_while_others_look() -> None:
    window = Window(100)
    seen: list[float | None] = []
    writer = threading.Thread(target=lambda: [window.add(1.0) for _ in range(5000)])
    writer.start()
    while writer.is_alive():
        seen += window.percentiles(0.5)
    writer.join()
    assert set(seen) <= {None, 1.0}
    assert window.percentiles(1.0) == (1.0,)
