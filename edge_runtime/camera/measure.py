"""Measures pictures: how bright, sharp and detailed they are, whether they change at all, where their edges lie.

A few pictures a second are measured, each in about a millisecond of CPU whatever its size
(``tools/bench/pictures.py``): brightness, contrast and edges on a small copy (``camera.copies``), sharpness on a few
small tiles of the picture itself, and whether anything changed on some of its lines, byte by byte.

Sharpness is the width of edges, because variance of the Laplacian and Tenengrad change with what is seen more than with
the lens, and parts on a belt are different ones in each picture. In each of the tiles with the steepest edges, the
largest step between pixels ``NEAR_PX`` apart is divided by the largest one between pixels ``LAG_PX`` apart: 1 is an
edge that narrow, ``NEAR_PX / LAG_PX`` one that never ends. The median over the tiles leaves out the text that a camera
writes into its picture, which stays sharp whatever happens to the lens. Edge width as a measure of blur: Marziliano et
al., "A no-reference perceptual blur metric", ICIP 2002.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

import edge_runtime.camera.environment  # noqa: F401 - before cv2, which reads its limits when it is loaded

import cv2  # isort: skip

from edge_runtime.camera.copies import EDGE_GREY, GREEN, Copies, make_copies
from edge_runtime.core.picture import PictureNumbers

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_runtime.camera.reference import Comparison
    from edge_runtime.camera.source import Pixels

BLACK_GREY: Final = 5
WHITE_GREY: Final = 251
TILE_PX: Final = 48
TILES: Final = 9
TILES_MIN: Final = 3
NEAR_PX: Final = 2
LAG_PX: Final = 16
STEP_GREY: Final = 24
"""A tile whose pixels ``LAG_PX`` apart differ by less says nothing about sharpness."""
CELLS: Final = (8, 12)
"""Rows and columns of the grid; a tile is taken around the steepest edge of a cell."""
LINES_BYTES: Final = 256 << 10
"""So much of a picture is compared with the one before; noise of a sensor changes some of that many bytes."""
LINES: Final = 64


class Measure:
    """Measures the pictures of one camera, one after the other."""

    def __init__(self) -> None:
        """Have seen nothing yet."""
        self.comparison: Comparison | None = None
        """The reference that pictures are compared with, if there is one."""
        self._lines = b""
        self._unchanged = 0
        self._unchanged_since_s = 0.0
        self._unchanged_keys = 0

    def forget(self) -> None:
        """The next picture is not compared with the one before: it belongs to another connection."""
        self._lines, self._unchanged, self._unchanged_keys = b"", 0, 0

    def measure(self, image: Pixels, frame_id: int, now_s: float, *, keys: int = 1) -> tuple[PictureNumbers, Copies]:
        """Measure a picture and return its small copies, too.

        Args:
            image: (h, w, c) uint8.
            frame_id: which frame it is.
            now_s: monotonic seconds.
            keys: how many pictures since the last one, this one included, were coded by themselves.
        """
        height, width = image.shape[:2]
        copies = make_copies(image)
        grey = cv2.calcHist([copies.decimated], [0], None, [256], [0, 256]).ravel().astype(np.float64)
        grey /= grey.sum()
        scale = np.arange(256)
        brightness = float(grey @ scale)
        shift, likeness = None, None
        if self.comparison is not None:
            shift, likeness = self.comparison.compare(copies, (width, height))
        self._watch(image, now_s, keys)
        numbers = PictureNumbers(
            frame_id=frame_id,
            width=width,
            height=height,
            brightness=brightness,
            contrast=float(cv2.meanStdDev(copies.small)[1][0, 0]),
            black=float(grey[:BLACK_GREY].sum()),
            white=float(grey[WHITE_GREY:].sum()),
            sharpness=sharpness(image, copies.edges),
            detail=float(np.mean(copies.edges >= EDGE_GREY)),
            unchanged=self._unchanged,
            unchanged_keys=self._unchanged_keys,
            unchanged_s=now_s - self._unchanged_since_s if self._unchanged else 0.0,
            shift=shift,
            likeness=likeness,
        )
        return numbers, copies

    def _watch(self, image: Pixels, now_s: float, keys: int) -> None:
        rows = min(LINES, max(1, LINES_BYTES // (image.shape[1] * image.shape[2])))
        lines = image[:: -(-image.shape[0] // rows)].tobytes()
        if lines == self._lines:
            self._unchanged += 1
            self._unchanged_keys += keys
        else:
            self._lines, self._unchanged_since_s = lines, now_s
            self._unchanged = self._unchanged_keys = 0


def sharpness(image: Pixels, edges: Pixels) -> float | None:
    """Return how steep the edges of ``image`` are, 0 to 1, ``None`` without any; ``edges`` are those of its copy."""
    height, width = image.shape[:2]
    if min(height, width) < TILE_PX:
        return None
    green = GREEN if image.shape[2] > 1 else 0
    tiles = np.stack(
        [image[y : y + TILE_PX, x : x + TILE_PX, green] for y, x in _places(edges, height, width)]
    )  # (n, TILE_PX, TILE_PX)
    steepest = np.zeros(len(tiles))
    for turned in (tiles, tiles.transpose(0, 2, 1)):
        ones = np.ascontiguousarray(turned).reshape(-1, TILE_PX)
        lines = cv2.blur(ones, (1, 3))  # across the direction that is looked along: less noise, the same edge
        near, far = (_largest_steps(lines, lag, len(tiles)) for lag in (NEAR_PX, LAG_PX))
        told = far >= STEP_GREY
        steepest[told] = np.maximum(steepest[told], near[told] / far[told])
    found = steepest[steepest > 0]
    return min(1.0, float(np.median(found))) if len(found) >= TILES_MIN else None


def _largest_steps(lines: npt.NDArray[Any], lag: int, tiles: int) -> npt.NDArray[np.float64]:
    """Return the largest step over ``lag`` pixels of each tile, without its outer lines, which know the next tile."""
    steps = np.asarray(cv2.absdiff(lines[:, lag:], lines[:, :-lag]), np.uint8)
    return np.asarray(steps.reshape(tiles, TILE_PX, -1)[:, 1:-1].max(axis=(1, 2)), np.float64)


def _places(edges: Pixels, height: int, width: int) -> list[tuple[int, int]]:
    """Return the corners of tiles around the steepest edges, at most one of each cell of a grid."""
    rows, columns = edges.shape
    down, across = min(CELLS[0], rows), min(CELLS[1], columns)
    tall, wide = rows // down, columns // across
    grid = edges[: down * tall, : across * wide].reshape(down, tall, across, wide)
    cells = grid.transpose(0, 2, 1, 3).reshape(down * across, tall * wide)
    steepest = cells.argmax(axis=1)
    half = TILE_PX // 2
    places: list[tuple[int, int]] = []
    for cell in np.argsort(-cells.max(axis=1).astype(np.int16), kind="stable")[:TILES].tolist():
        y, x = divmod(int(steepest[cell]), wide)
        y, x = y + cell // across * tall, x + cell % across * wide
        places.append(
            (
                min(max(0, y * height // rows - half), height - TILE_PX),
                min(max(0, x * width // columns - half), width - TILE_PX),
            )
        )
    return places
