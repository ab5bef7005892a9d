"""Percentiles of a running process: the last values of a measurement, bounded, from any thread."""

from __future__ import annotations

import math
import threading
from collections import deque

WINDOW = 2048


class Window:
    """Keeps the newest ``WINDOW`` values of one measurement."""

    def __init__(self, size: int = WINDOW) -> None:
        """Hold at most ``size`` >= 1 values."""
        self._values: deque[float] = deque(maxlen=size)
        self._lock = threading.Lock()  # guards _values

    def add(self, value: float) -> None:
        """Add one value; the oldest is forgotten when the window is full."""
        with self._lock:
            self._values.append(value)

    def percentiles(self, *quantiles: float) -> tuple[float | None, ...]:
        """Return the nearest-rank percentiles for ``quantiles`` in 0..1; ``None`` each when there is no value."""
        with self._lock:
            ordered = sorted(self._values)
        return tuple(percentile(ordered, q) for q in quantiles)


def percentile(ordered: list[float], quantile: float) -> float | None:
    """Return the nearest-rank percentile of ascending values; ``None`` when there are none."""
    if not ordered:
        return None
    return ordered[max(0, min(len(ordered) - 1, math.ceil(quantile * len(ordered)) - 1))]
