"""Masks: from the coarse grid a model draws on to run lengths and an outline in pixels of the frame.

A mask is kept with axes (x, y): its memory is then in the order of COCO's run lengths, which go down the columns. Only
what lies inside its box is ever made. Beside `preprocess` the only module of the engine that imports OpenCV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_runtime.engine.postprocess import Transform

OUTLINE_POINTS_MAX: Final = 128
OUTLINE_ERROR_PX: Final = 1.0
"""How far an outline may be from the border of its mask; more only where it would have too many points."""
NOISE_RUNS: Final = 20_000
"""A mask that begins and ends more often has as many parts as nobody looks at one by one."""
_CORNERS_MIN: Final = 3
_ENLARGEMENTS: Final = (1, 2, 4)
_CHUNK = 64  # columns that are interpolated at once: they fit the cache
_DIGIT_BITS = 5  # of COCO's compressed numbers; the sixth bit says that another digit follows
_AXES = 2  # x, y
_ROUNDING = 1e-6  # of places that are whole numbers but for the precision of a float


@dataclass(frozen=True, slots=True)
class Drawn:
    """A mask of at least one pixel.

    Attributes:
        rle: ``counts`` of a compressed COCO run-length encoding of the whole frame.
        polygon: outline of the largest part: x, y of pixels on its border, counted from 0 as OpenCV does; ``None`` when
            it is a line or a dot.
        box: x, y, w, h of its pixels.
        area: pixels.
    """

    rle: str
    polygon: tuple[tuple[float, float], ...] | None
    box: tuple[float, float, float, float]
    area: int


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """How samples are made from fewer: sample i is ``low + (high - low) * weight``; low and high never fall.

    Attributes:
        low: (n,) positions among the fewer.
        high: (n,) likewise.
        weight: (n,) 0..1, float32.
    """

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    weight: NDArray[np.float32]

    def part(self, start: int, stop: int) -> tuple[Axis, int, int]:
        """Return the axis of samples ``start`` to ``stop``, and the range of what they are made from."""
        first, last = int(self.low[start]), int(self.high[stop - 1]) + 1
        return Axis(self.low[start:stop] - first, self.high[start:stop] - first, self.weight[start:stop]), first, last

    @property
    def size(self) -> int:
        """How many samples."""
        return self.weight.size


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A rectangle of the frame: the part of the grid it is made from, and the steps to its pixels.

    Attributes:
        left: first column of the frame.
        top: first row of the frame.
        cells: x and y range in the grid.
        columns: steps along x, from the grid to frame pixels.
        rows: likewise along y.
    """

    left: int
    top: int
    cells: tuple[slice, slice]
    columns: tuple[Axis, ...]
    rows: tuple[Axis, ...]


class Grid:
    """A map of the canvas, and where the pixels of a frame lie in it; made once per frame size.

    Values are interpolated bilinearly, edges repeated. A map of less than the canvas' resolution is first enlarged by
    the smallest of 1, 2 or 4 that puts the border of a letterbox between two samples, so that nothing of the border
    shines into the picture (what `retina_masks` of Ultralytics 8.4 does, `ops.process_mask_native`).
    """

    def __init__(self, cells: tuple[int, int], canvas: tuple[int, int], transform: Transform) -> None:
        """Work out the axes.

        Args:
            cells: rows, columns of the map.
            canvas: height, width it stands for.
            transform: of the frame.
        """
        sides = (
            _Side(cells[1], canvas[1], transform.width, transform.scale_x, transform.offset_x),
            _Side(cells[0], canvas[0], transform.height, transform.scale_y, transform.offset_y),
        )
        factor = next((one for one in _ENLARGEMENTS if all(side.is_whole(one) for side in sides)), _ENLARGEMENTS[-1])
        self._x, self._y = (side.steps(factor) for side in sides)
        self._seen_x, self._seen_y = (side.seen() for side in sides)
        self._nearest_x, self._nearest_y = (side.nearest() for side in sides)

    def whole(self) -> Window:
        """Return all pixels of the frame that the model saw."""
        return self._window(self._seen_x, self._seen_y)

    def window(self, box: tuple[float, float, float, float] | None) -> Window | None:
        """Return the pixels that begin in ``box`` and that the model saw, if there are any.

        Args:
            box: x, y, w, h in frame pixels; ``None`` = the whole frame.
        """
        if box is None:
            return self.whole()
        x, y, w, h = box
        columns = max(self._seen_x[0], math.ceil(x)), min(self._seen_x[1], math.ceil(x + w))
        rows = max(self._seen_y[0], math.ceil(y)), min(self._seen_y[1], math.ceil(y + h))
        return self._window(columns, rows) if columns[0] < columns[1] and rows[0] < rows[1] else None

    def _window(self, columns: tuple[int, int], rows: tuple[int, int]) -> Window:
        across, first_x, last_x = _part(self._x, *columns)
        down, first_y, last_y = _part(self._y, *rows)
        return Window(columns[0], rows[0], (slice(first_x, last_x), slice(first_y, last_y)), across, down)

    def spread(self, values: NDArray[np.int32]) -> tuple[NDArray[np.int32], int, int]:
        """Return the values of an (x, y) map for all frame pixels that the model saw, not mixed, and where they begin.

        A pixel takes the cell in which its corner lies, as PyTorch's and OpenCV's "nearest" do.
        """
        (left, right), (top, bottom) = self._seen_x, self._seen_y
        return values[:, self._nearest_y[top:bottom]][self._nearest_x[left:right]], left, top

    def inside(self) -> tuple[slice, slice]:
        """Return the x and y range of the map in which the picture lies."""
        (left, right), (top, bottom) = self._seen_x, self._seen_y
        x, y = self._nearest_x[left:right], self._nearest_y[top:bottom]
        return slice(int(x[0]), int(x[-1]) + 1), slice(int(y[0]), int(y[-1]) + 1)


class Grids:
    """The grid of one map, made again when the frames change; used by one thread."""

    def __init__(self, canvas: tuple[int, int]) -> None:
        """Start without a grid; ``canvas``: height, width the map stands for."""
        self._canvas = canvas
        self._key: tuple[tuple[int, ...], Transform] | None = None
        self._grid: Grid | None = None

    def of(self, cells: tuple[int, int], transform: Transform) -> Grid:
        """Return the grid of a map of ``cells`` (rows, columns) for frames of ``transform``."""
        if self._grid is None or self._key != (cells, transform):
            self._key, self._grid = (cells, transform), Grid(cells, self._canvas, transform)
        return self._grid


@dataclass(frozen=True, slots=True)
class _Side:
    """One axis of a grid: ``cells`` of a canvas of ``canvas`` pixels, for ``pixels`` of a frame."""

    cells: int
    canvas: int
    pixels: int
    scale: float
    offset: float

    def is_whole(self, factor: int) -> bool:
        """Whether the picture begins and ends between two samples of the map enlarged by ``factor``."""
        samples = factor * self.cells / self.canvas
        ends = (self.offset * samples, (self.offset + self.pixels * self.scale) * samples)
        return all(end <= 0 or end >= factor * self.cells or abs(end - round(end)) < _ROUNDING for end in ends)

    def seen(self) -> tuple[int, int]:
        """Return the range of frame pixels whose centre lies on the canvas."""
        first = math.ceil(-self.offset / self.scale - 0.5 - _ROUNDING)
        last = math.floor((self.canvas - self.offset) / self.scale - 0.5 + _ROUNDING)
        return max(0, first), min(self.pixels, last + 1)

    def steps(self, factor: int) -> tuple[Axis, ...]:
        """Return the way from the map to frame pixels, through its enlargement."""
        size = factor * self.cells
        samples = size / self.canvas
        first = max(0, round(self.offset * samples))
        last = min(size, max(first + 1, round((self.offset + self.pixels * self.scale) * samples)))
        place = ((np.arange(self.pixels) + 0.5) * self.scale + self.offset) * samples - 0.5
        fine = _axis(place, first, last - 1)
        if factor == 1:
            return (fine,)
        return (_axis((np.arange(size) + 0.5) / factor - 0.5, 0, self.cells - 1), fine)

    def nearest(self) -> NDArray[np.intp]:
        """Return the cell of each frame pixel."""
        place = np.floor(np.arange(self.pixels) * self.scale + self.offset + _ROUNDING) * (self.cells / self.canvas)
        cells: NDArray[np.intp] = np.clip(np.floor(place + _ROUNDING), 0, self.cells - 1).astype(np.intp)
        return cells


def _axis(place: NDArray[np.floating[Any]], first: int, last: int) -> Axis:
    """Return the axis of samples at ``place`` among positions ``first`` to ``last``."""
    clipped = np.clip(place, first, last)
    low = np.floor(clipped).astype(np.intp)
    return Axis(low, np.minimum(low + 1, last), (clipped - low).astype(np.float32))


def _part(steps: tuple[Axis, ...], start: int, stop: int) -> tuple[tuple[Axis, ...], int, int]:
    parts: tuple[Axis, ...] = ()
    for axis in reversed(steps):
        part, start, stop = axis.part(start, stop)
        parts = (part, *parts)
    return parts, start, stop


def pasted(corners: Sequence[float], cells: tuple[int, ...], transform: Transform) -> Window | None:
    """Return the window of a mask that fills its box, made from the mask with one cell of 0 added on each side.

    The box is rounded to pixels, grows as the mask does, and is one of whole pixels again (`_segm_postprocess` of
    OpenVINO Model API; torchvision's `paste_masks_in_image` differs in not rounding it first).

    Args:
        corners: x1 y1 x2 y2 in canvas pixels.
        cells: columns, rows of the mask, without what is added.
        transform: of the frame.
    """
    x1, y1, x2, y2 = corners
    columns = _pasted_axis(x1, x2, transform.scale_x, transform.offset_x, cells[0], transform.width)
    rows = _pasted_axis(y1, y2, transform.scale_y, transform.offset_y, cells[1], transform.height)
    if columns is None or rows is None:
        return None
    return Window(columns[1], rows[1], (slice(0, cells[0] + 2), slice(0, cells[1] + 2)), (columns[0],), (rows[0],))


def _pasted_axis(
    start: float, end: float, scale: float, offset: float, cells: int, limit: int
) -> tuple[Axis, int] | None:
    begin, stop = (round(min(max((place - offset) / scale, 0), limit)) for place in (start, end))
    centre, half = (begin + stop) / 2, (stop - begin) / 2 * (cells + 2) / cells
    first, last = int(centre - half), int(centre + half)
    pixels = last - first + 1
    seen = np.arange(max(0, first), min(limit, last + 1))
    if not seen.size:
        return None
    return _axis((seen - first + 0.5) * ((cells + 2) / pixels) - 0.5, 0, cells + 1), int(seen[0])


def each_part(values: NDArray[np.float32], window: Window, use: Callable[[slice, NDArray[np.float32]], None]) -> None:
    """Interpolate ``values`` and hand the pixels of ``window`` over in parts.

    Args:
        values: of the cells of the window, with axes (x, y).
        window: where.
        use: called with columns of the window and their values (columns, rows of the window).
    """
    for axis in window.rows:
        low = values[:, axis.low]
        values = low + (values[:, axis.high] - low) * axis.weight
    *coarse, fine = window.columns
    for axis in coarse:
        values = _blend(values, axis, slice(None))
    for start in range(0, fine.size, _CHUNK):
        columns = slice(start, start + _CHUNK)
        use(columns, _blend(values, fine, columns))


def _blend(values: NDArray[np.float32], axis: Axis, columns: slice) -> NDArray[np.float32]:
    low = values[axis.low[columns]]
    high = values[axis.high[columns]]
    high -= low
    high *= axis.weight[columns, None]
    low += high
    return low


def above(values: NDArray[np.float32], window: Window, floor: float) -> NDArray[np.bool_]:
    """Return where the interpolated ``values`` (see `each_part`) are above ``floor``, (columns, rows) of the window."""
    mask = np.empty((window.columns[-1].size, window.rows[-1].size), np.bool_)

    def use(columns: slice, found: NDArray[np.float32]) -> None:
        np.greater(found, floor, out=mask[columns])

    each_part(values, window, use)
    return mask


def draw(mask: NDArray[np.bool_], left: int, top: int, frame: tuple[int, int]) -> Drawn | None:
    """Return a mask as results carry it, or ``None`` when it has no pixel.

    Args:
        mask: axes (x, y), C order.
        left: column of the frame where it begins.
        top: row of the frame where it begins.
        frame: width, height of the frame.
    """
    columns, rows = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not columns.size:
        return None
    mask = np.ascontiguousarray(mask[columns[0] : columns[-1] + 1, rows[0] : rows[-1] + 1])
    left, top = left + int(columns[0]), top + int(rows[0])
    width, height = mask.shape
    ends = _ends(mask, left, top, frame[1])
    points = _outline(mask, is_noise=ends.size > NOISE_RUNS)
    return Drawn(
        rle=_compressed(ends, frame[0] * frame[1]),
        polygon=None if points is None else tuple((float(x + left), float(y + top)) for y, x in points.tolist()),
        box=(float(left), float(top), float(width), float(height)),
        area=int(np.count_nonzero(mask)),
    )


def _ends(mask: NDArray[np.bool_], left: int, top: int, height: int) -> NDArray[np.intp]:
    """Return where runs end, zeros first, counted down the columns of a frame of ``height`` rows."""
    framed = np.zeros((mask.shape[0], mask.shape[1] + 2), np.bool_)  # each column begins and ends outside of the mask
    framed[:, 1:-1] = mask
    changes = np.flatnonzero(framed[:, 1:] != framed[:, :-1])
    column, row = np.divmod(changes, mask.shape[1] + 1)
    ends = (column + left) * height + row + top
    joined = np.flatnonzero(ends[1:] == ends[:-1])  # at the foot of one column and at the head of the next
    return np.delete(ends, np.concatenate((joined, joined + 1))) if joined.size else ends


def _compressed(ends: NDArray[np.intp], pixels: int) -> str:
    """Return the compressed counts of runs that end at ``ends``, as pycocotools 2 writes them (`rleToString`).

    Each count is written as its difference to the last but one, in digits of 5 bits, lowest first, as characters from
    48 on.
    """
    counts = np.diff(ends, prepend=0, append=pixels).astype(np.int64)
    if not counts[-1]:
        counts = counts[:-1]
    left = counts.copy()
    left[3:] -= counts[1:-2]
    digits, used = [], []
    more = np.ones(left.size, np.bool_)
    while more.any():
        used.append(more)
        digit = left & 0x1F
        left >>= _DIGIT_BITS
        goes_on = np.where(digit & 0x10, left != -1, left != 0)
        digits.append(digit + 48 + (goes_on << _DIGIT_BITS))
        more = more & goes_on
    written = np.stack(digits, axis=1)[np.stack(used, axis=1)]
    return written.astype(np.uint8).tobytes().decode("ascii")


def _outline(mask: NDArray[np.bool_], *, is_noise: bool) -> NDArray[np.int32] | None:
    """Return the outline (n, 2) of the largest part, in the order of ``mask``'s axes reversed, or ``None`` for a line.

    The parts of noise are counted before one of them is outlined: a contour for each would take seconds.
    """
    pixels: NDArray[np.uint8] = mask.view(np.uint8)
    offset: NDArray[Any] = np.zeros(_AXES, np.int32)
    if is_noise:
        _, parts, facts, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
        largest = 1 + int(np.argmax(facts[1:, cv2.CC_STAT_AREA]))
        offset = facts[largest, :_AXES]
        across, down, width, height = facts[largest, :4].tolist()
        pixels = (parts[down : down + height, across : across + width] == largest).view(np.uint8)
    contours, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    points = max(contours, key=cv2.contourArea)
    error = OUTLINE_ERROR_PX
    while len(points := cv2.approxPolyDP(points, error, closed=True)) > OUTLINE_POINTS_MAX:
        error *= 2
    # OpenCV 5 leaves out axes of length 1
    outline: NDArray[np.int32] = points.reshape(-1, _AXES).astype(np.int32) + offset
    return outline if len(outline) >= _CORNERS_MIN else None
