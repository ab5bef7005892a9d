"""Pictures that a person declared to be good: made from some seconds of a camera, and compared with later ones.

What moves through the picture (parts on a belt, people) says nothing about where the camera looks, so only pixels are
compared that stood still while the reference was made and lie at an edge of it; what passes between its edges changes
nothing. They are compared by the normalised cross-correlation of how steep their grey is, which a brighter or a dimmer
light does not change. Where that falls, the shift is looked for at which it is highest.
A camera of which nothing stands still, or hardly anything, cannot be judged by this, and its reference says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

import edge_runtime.camera.environment  # noqa: F401 - before cv2, which reads its limits when it is loaded

import cv2  # isort: skip

from edge_runtime.camera.copies import EDGE_GREY, SIDE_PX, edges_of
from edge_runtime.core.errors import DataError
from edge_runtime.core.picture import PictureReference

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_runtime.camera.copies import Copies
    from edge_runtime.camera.source import Pixels
    from edge_runtime.core.picture import PictureNumbers

    Floats = npt.NDArray[np.float32]

LOOKS_MIN: Final = 8
LOOKS_MAX: Final = 300
CONTRAST_MIN: Final = 3.0
"""A picture with less contrast shows nothing, and cannot be what others are compared with."""
STEADY_GREY: Final = 6.0
"""A pixel stood still when its grey had a standard deviation of less, after the brightness of all was evened out."""
STEADY_EDGES_MIN: Final = 0.003
"""Share of the picture that must be edges that stand still."""
LIKENESS_MIN: Final = 0.5
"""Of each of its pictures, or the reference cannot tell where the camera looks."""
ALIKE: Final = 0.8
"""While a picture has this part of the least likeness of its reference, no shift is looked for."""
BETTER: Final = 0.1
"""So much more alike a shifted picture must be than the same part of one that is not shifted.

Along a straight edge all shifts are the same, and a shift that leaves out what something moves in front of is none.
"""
SHIFT_MAX: Final = 0.25
"""Largest shift that is looked for, in parts of the width and of the height."""


class ReferenceMaker:
    """Collects pictures until ``finish``. One thread owns it."""

    def __init__(self) -> None:
        """Start without pictures."""
        self._numbers: list[PictureNumbers] = []
        self._smalls: list[Pixels] = []

    def add(self, numbers: PictureNumbers, copies: Copies) -> None:
        """Take one picture; those of another size than the first, and more than ``LOOKS_MAX``, are left out."""
        if self._numbers and (numbers.width, numbers.height) != (self._numbers[0].width, self._numbers[0].height):
            return
        if len(self._numbers) < LOOKS_MAX:
            self._numbers.append(numbers)
            self._smalls.append(copies.small)

    @property
    def is_enough(self) -> bool:
        """Whether there are as many pictures as a reference needs."""
        return len(self._numbers) >= LOOKS_MIN

    def finish(self, utc_ns: int) -> PictureReference:
        """Return what the pictures have in common; ``utc_ns`` is now.

        Raises:
            DataError: there are too few of them, or they show nothing.
        """
        looks = self._numbers
        if not self.is_enough:
            help_ = "let it take longer, and see that the camera streams"
            raise DataError("picture.too_few", f"{len(looks)} pictures are too few, {LOOKS_MIN} are needed", help=help_)
        if min(look.contrast for look in looks) < CONTRAST_MIN:
            help_ = "look at it: edge-runtime cameras snapshot SOURCE FILE"
            raise DataError("picture.empty", "the picture shows nothing, all of it has the same grey", help=help_)
        stack = np.stack(self._smalls).astype(np.float32)  # (looks, h, w)
        evened = stack / np.maximum(1.0, stack.mean(axis=(1, 2), keepdims=True)) * stack.mean()
        thumbnail = np.median(stack, axis=0).astype(np.uint8)
        steady = evened.std(axis=0) < STEADY_GREY
        sharpnesses = [look.sharpness for look in looks if look.sharpness is not None]
        return PictureReference(
            made_utc_ns=utc_ns,
            width=looks[0].width,
            height=looks[0].height,
            looks=len(looks),
            brightness_low=min(look.brightness for look in looks),
            white_high=max(look.white for look in looks),
            sharpness_low=min(sharpnesses) if len(sharpnesses) * 2 > len(looks) else None,
            detail_low=min(look.detail for look in looks),
            likeness_low=self._likeness(thumbnail, steady),
            thumbnail=_png(thumbnail),
            steady=_png(steady.astype(np.uint8) * np.uint8(255)),
        )

    def _likeness(self, thumbnail: Pixels, steady: npt.NDArray[np.bool_]) -> float | None:
        edges = edges_of(thumbnail).astype(np.float32)
        if np.mean(steady & (edges >= EDGE_GREY)) < STEADY_EDGES_MIN:
            return None
        compared = _at_edges(edges, steady)
        least = min(_alike(edges, edges_of(small).astype(np.float32), compared) for small in self._smalls)
        return least if least >= LIKENESS_MIN else None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a picture lies over its reference, in pixels of the small copy, and how alike the two are there."""

    right: int
    down: int
    likeness: float


class Comparison:
    """Compares pictures with one reference. One thread owns it."""

    def __init__(self, reference: PictureReference) -> None:
        """Unpack the thumbnail of ``reference``.

        Raises:
            DataError: its pictures are none, or of sizes that no copy has.
        """
        self._size = reference.width, reference.height
        self._least = reference.likeness_low
        thumbnail, steady = _unpacked(reference.thumbnail), _unpacked(reference.steady)
        if thumbnail.shape != steady.shape:
            raise DataError("picture.reference", "the two pictures of a picture reference differ in size")
        self._edges = edges_of(thumbnail).astype(np.float32)
        self._compared = _at_edges(self._edges, steady > 0)
        mean = self._edges[self._compared].mean() if self._compared.any() else 0.0
        self._spectrum = np.conj(np.fft.rfft2(np.where(self._compared, self._edges - mean, 0)))

    def compare(self, copies: Copies, size: tuple[int, int]) -> tuple[tuple[float, float] | None, float | None]:
        """Return the shift of a picture of ``size`` (width, height) and its likeness; see ``PictureNumbers``."""
        if self._least is None or size != self._size:
            return None, None
        edges = copies.edges.astype(np.float32)
        if edges.shape != self._edges.shape:
            return None, None
        here = _Place(0, 0, _alike(self._edges, edges, self._compared))
        found = here
        if here.likeness < ALIKE * self._least:
            found = self._search(edges) or here
        height, width = edges.shape
        known = found.likeness >= LIKENESS_MIN * self._least
        return (found.right / width, found.down / height) if known else None, found.likeness

    def _search(self, edges: Floats) -> _Place | None:
        """Return where the picture lies best, ``None`` when that is no better than where it should."""
        height, width = edges.shape
        correlation = np.fft.irfft2(np.fft.rfft2(edges - edges.mean()) * self._spectrum, s=edges.shape)
        down_max, right_max = int(SHIFT_MAX * height), int(SHIFT_MAX * width)
        rows = np.r_[0 : down_max + 1, height - down_max : height]
        columns = np.r_[0 : right_max + 1, width - right_max : width]
        near = correlation[np.ix_(rows, columns)]
        row, column = np.unravel_index(int(near.argmax()), near.shape)
        down, right = int(rows[row]), int(columns[column])
        down, right = down - height * (down > down_max), right - width * (right > right_max)
        of_reference = np.s_[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
        of_picture = np.s_[max(0, down) : height - max(0, -down), max(0, right) : width - max(0, -right)]
        likeness = _alike(self._edges[of_reference], edges[of_picture], self._compared[of_reference])
        parts = (of_reference, of_picture)
        unmoved = max(_alike(self._edges[part], edges[part], self._compared[part]) for part in parts)
        return _Place(right, down, likeness) if likeness > unmoved + BETTER else None


def _at_edges(edges: Floats, steady: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which pixels that stand still lie at an edge or beside one."""
    near = cv2.dilate((edges >= EDGE_GREY).astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(steady & (near > 0))


def _alike(edges: Floats, others: Floats, compared: npt.NDArray[np.bool_]) -> float:
    """Return the normalised cross-correlation of two pictures of edges over some of their pixels, -1 to 1."""
    one, other = edges[compared], others[compared]
    if not one.size:
        return 0.0
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt(np.dot(one, one) * np.dot(other, other)))
    return 0.0 if scale <= 0 else min(1.0, max(-1.0, float(np.dot(one, other)) / scale))


def _png(image: Pixels) -> bytes:
    made, encoded = cv2.imencode(".png", image)
    if not made:
        raise DataError("picture.reference", "the thumbnail cannot be written as PNG")
    return encoded.tobytes()


def _unpacked(data: bytes) -> Pixels:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None or max(image.shape) > SIDE_PX:
        raise DataError("picture.reference", "a picture of a picture reference cannot be read")
    return np.asarray(image, np.uint8)
