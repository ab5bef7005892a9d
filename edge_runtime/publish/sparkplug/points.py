"""Values with a time and a quality, and what hosts have been told of them: report by exception (Sparkplug 3.0, 2.5).

Pure. A birth tells every point, a data message those whose value or quality changed since they were told last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.publish.sparkplug.payload import DataType, Metric, Quality, quality

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge_runtime.publish.sparkplug.values import Scalar

_METRIC_BYTES = 56  # what a metric costs beside its name and its text: tags, lengths, time, quality, a number


@dataclass(frozen=True, slots=True)
class Point:
    """One value at one time.

    Attributes:
        value: fits ``datatype``; ``None`` is null.
        timestamp_ms: when it came to be, UTC: the source's time, not that of the message.
        quality: ``None`` leaves the property out.
    """

    name: str
    datatype: DataType
    value: Scalar | None
    timestamp_ms: int
    quality: Quality | None = None

    def metric(self, *, historical: bool = False) -> Metric:
        """Return it as it is sent."""
        properties = {} if self.quality is None else quality(self.quality)
        return Metric(self.name, self.datatype, self.value, self.timestamp_ms, historical, properties)

    @property
    def size(self) -> int:
        """Bytes of it in a message, an estimate from above."""
        text = len(self.value.encode(errors="replace")) if isinstance(self.value, str) else 0
        return _METRIC_BYTES + len(self.name) + text


class Board:
    """The points of a node or of a device in the order of its birth, as its hosts know them."""

    def __init__(self, points: Iterable[Point]) -> None:
        """Begin with every point that there will ever be."""
        self._points = {point.name: point for point in points}
        self._untold: set[str] = set()  # points whose newest value no message could carry

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a point of that name."""
        return name in self._points

    def all(self) -> tuple[Point, ...]:
        """Every point, for a birth."""
        return tuple(self._points.values())

    def update(self, points: Iterable[Point]) -> tuple[Point, ...]:
        """Take newer points and return those that differ; a name that was not there at first is a bug of ours."""
        changed = []
        for point in points:
            old = self._points[point.name]
            self._points[point.name] = point
            if (old.value, old.quality) != (point.value, point.quality) or point.name in self._untold:
                changed.append(point)
        self._untold.difference_update(point.name for point in changed)
        return tuple(changed)

    def untell(self, points: Iterable[Point]) -> None:
        """Say that no host was told these: the next ``update`` of each returns it whether it differs or not."""
        self._untold.update(point.name for point in points)

    def force(self, values: Mapping[str, Scalar | None], timestamp_ms: int) -> tuple[Point, ...]:
        """Take newer values of some points; return all of them."""
        points = tuple(
            replace(self._points[name], value=value, timestamp_ms=timestamp_ms) for name, value in values.items()
        )
        self.update(points)
        return points

    def set(self, name: str, value: Scalar | None, timestamp_ms: int) -> tuple[Point, ...]:
        """Take a newer value of one point; return it if it differs."""
        return self.update([replace(self._points[name], value=value, timestamp_ms=timestamp_ms)])


def batches(results: Sequence[Sequence[Point]], *, metrics_max: int, bytes_max: int) -> Iterator[list[Sequence[Point]]]:
    """Cut results into batches of at most that many metrics and bytes; a result is never cut."""
    batch: list[Sequence[Point]] = []
    count = size = 0
    for points in results:
        more = sum(point.size for point in points)
        if batch and (count + len(points) > metrics_max or size + more > bytes_max):
            yield batch
            batch, count, size = [], 0, 0
        batch.append(points)
        count += len(points)
        size += more
    if batch:
        yield batch
