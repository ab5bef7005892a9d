"""Numbers that tell a good picture from one that is frozen, dark, overexposed, blurred, covered or moved: values only.

A camera process measures (``camera.measure``), main judges (``pipeline.picture_health``) and keeps windows of two of
the numbers for whoever compares them with those of other days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GREY_MAX: Final = 255.0
"""Top of the scale of brightness."""
SHARPNESS_MAX: Final = 1.0
"""Top of the scale of sharpness."""
BINS: Final = 32
"""Bins of a ``Spread``, of equal width from 0 to the top of the scale."""


@dataclass(frozen=True, slots=True)
class PictureNumbers:
    """What was measured on one picture.

    Attributes:
        frame_id: which frame of the camera it was.
        width: pixels.
        height: pixels.
        brightness: mean grey, 0 to 255.
        contrast: standard deviation of grey, 0 to 127.5.
        black: share of pixels at the lower end of the scale, 0 to 1.
        white: share of pixels at the upper end, 0 to 1.
        sharpness: how much of an edge lies within two pixels, 0 (none) to 1 (all of it); ``None`` where there are no
            edges to tell it by.
        detail: share of the picture that lies on an edge, 0 to 1, after noise was averaged away.
        unchanged: how many pictures in a row had the same pixels as the one measured before, exactly.
        unchanged_keys: how many of the pictures since then, looked at or not, were coded by themselves. A stream that
            sends only what changes repeats a still picture exactly until the next of those, noise or not.
        unchanged_s: since when that is so, seconds.
        shift: how far the picture lies from its reference, (right, down), in parts of its width and of its height;
            ``None`` without a reference, and where no shift makes the two alike.
        likeness: how much the edges that stand still are those of the reference, -1 to 1; ``None`` without a reference.
    """

    frame_id: int
    width: int
    height: int
    brightness: float
    contrast: float
    black: float
    white: float
    sharpness: float | None
    detail: float
    unchanged: int = 0
    unchanged_keys: int = 0
    unchanged_s: float = 0.0
    shift: tuple[float, float] | None = None
    likeness: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """How one number was distributed over a window.

    Attributes:
        count: pictures measured.
        mean: of them, 0 without any.
        deviation: standard deviation, 0 without any.
        bins: pictures by value, ``BINS`` of equal width; the last one holds the top of the scale, too.
    """

    count: int
    mean: float
    deviation: float
    bins: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureWindow:
    """The latest pictures of a camera, at most ``seconds`` back (``pipeline.picture_window``)."""

    seconds: float
    brightness: Spread
    sharpness: Spread


@dataclass(frozen=True, slots=True)
class PictureReference:
    """What a person declared to be good pictures of one camera, over some seconds: numbers, and one picture of them.

    Attributes:
        made_utc_ns: when.
        width: pixels of the pictures; those of another size are not compared.
        height: pixels.
        looks: pictures measured.
        brightness_low: of the darkest of them.
        white_high: largest share of white pixels.
        sharpness_low: of the least sharp one; ``None`` when edges were too rare to tell.
        detail_low: of the one with the fewest edges.
        likeness_low: how much the least like of them is like all of them; ``None`` when too little stood still.
        thumbnail: the median of all, PNG, grey.
        steady: which pixels of it stood still, PNG of the same size, white where they did.
    """

    made_utc_ns: int
    width: int
    height: int
    looks: int
    brightness_low: float
    white_high: float
    sharpness_low: float | None
    detail_low: float
    likeness_low: float | None
    thumbnail: bytes
    steady: bytes
