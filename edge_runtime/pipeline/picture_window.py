"""How brightness and sharpness of a camera were distributed over the last minutes: bounded, pure, one owner."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.core.picture import BINS, GREY_MAX, SHARPNESS_MAX, PictureWindow, Spread

if TYPE_CHECKING:
    from edge_runtime.core.picture import PictureNumbers

PART_NS: Final = 30_000_000_000
PARTS: Final = 20
WINDOW_S: Final = PARTS * PART_NS / 1e9


class _Sum:
    """Sums of one number over one part of the window."""

    __slots__ = ("bins", "count", "squares", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.squares = 0.0
        self.bins = [0] * BINS

    def add(self, value: float, top: float) -> None:
        self.count += 1
        self.total += value
        self.squares += value * value
        self.bins[min(BINS - 1, int(value / top * BINS))] += 1


@dataclass(slots=True)
class _Part:
    begun_ns: int
    brightness: _Sum = field(default_factory=_Sum)
    sharpness: _Sum = field(default_factory=_Sum)


class SlidingWindow:
    """The last ``WINDOW_S`` seconds in ``PARTS`` parts; the oldest part is forgotten as a whole.

    Pictures without a sharpness count for brightness only.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._parts: deque[_Part] = deque()

    def add(self, numbers: PictureNumbers, now_ns: int) -> None:
        """Count one picture; ``now_ns``, CLOCK_MONOTONIC, must not go back."""
        self._forget(now_ns)
        if not self._parts or now_ns - self._parts[-1].begun_ns >= PART_NS:
            self._parts.append(_Part(now_ns))
        part = self._parts[-1]
        part.brightness.add(numbers.brightness, GREY_MAX)
        if numbers.sharpness is not None:
            part.sharpness.add(numbers.sharpness, SHARPNESS_MAX)

    def view(self, now_ns: int) -> PictureWindow:
        """Return the distributions at ``now_ns``, CLOCK_MONOTONIC."""
        self._forget(now_ns)
        return PictureWindow(
            WINDOW_S, _spread([part.brightness for part in self._parts]), _spread([p.sharpness for p in self._parts])
        )

    def _forget(self, now_ns: int) -> None:
        while self._parts and now_ns - self._parts[0].begun_ns >= PARTS * PART_NS:
            self._parts.popleft()


def _spread(sums: list[_Sum]) -> Spread:
    count = sum(one.count for one in sums)
    if not count:
        return Spread(0, 0.0, 0.0, (0,) * BINS)
    mean = sum(one.total for one in sums) / count
    variance = sum(one.squares for one in sums) / count - mean * mean
    bins = tuple(sum(column) for column in zip(*(one.bins for one in sums), strict=True))
    return Spread(count, mean, math.sqrt(max(0.0, variance)), bins)
