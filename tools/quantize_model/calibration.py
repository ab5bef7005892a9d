"""The frames that show the ranges of all tensors, and whether they are like those the model will see."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from quantize_model.pictures import find_pictures, read_picture, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quantize_model.truth import Example

_LOOKED_AT: Final = 32
_FEW: Final = 32
_DIFFERENT: Final = 2.0
"""Mean grey levels that differ by this factor are not of the same camera under the same light."""


class Calibration:
    """The calibration frames of a run.

    Attributes:
        used: those of the first recipe.
        has_more: whether a recipe can have more of them.
        brightness: mean grey level of some of them, 0..255.
    """

    def __init__(self, root: Path, limit: int) -> None:
        """Choose ``limit`` frames from the tree.

        Raises:
            DataError: there is none, or one cannot be read.
        """
        self._frames = find_pictures(root)
        self._limit = limit
        self.used = spread(self._frames, limit)
        self.has_more = len(self._frames) > limit
        self.brightness = _brightness([read_picture(path) for path in spread(self.used, _LOOKED_AT)])
        self._digests = {_digest(path) for path in self.used}

    def frames(self, factor: int) -> list[Path]:
        """Return ``factor`` times as many frames as the first recipe has, as far as there are."""
        return spread(self._frames, self._limit * factor)

    def digest(self) -> str:
        """Return a SHA-256 that tells which frames were used, whatever their names."""
        return hashlib.sha256("".join(sorted(self._digests)).encode()).hexdigest()

    def doubts(self, examples: Sequence[Example]) -> tuple[str, ...]:
        """Return what is suspicious about the frames beside the pictures that the model is judged by."""
        found = []
        light = _brightness([one.read() for one in spread(examples, _LOOKED_AT)])
        if max(self.brightness, light) > _DIFFERENT * max(min(self.brightness, light), 1.0):
            found.append(
                f"calibration frames have a mean grey level of {self.brightness:.0f}, the judged pictures {light:.0f}: "
                "calibrate with frames of the same camera and light"
            )
        shared = sum(path.is_file() and _digest(path) in self._digests for path in (Path(one.name) for one in examples))
        if shared:
            found.append(f"{shared} judged pictures were calibrated with: the figures flatter the model")
        if len(self.used) < _FEW:
            found.append(f"{len(self.used)} calibration frames are few, 100 to 300 are usual")
        return tuple(found)


def _brightness(frames: Sequence[NDArray[np.uint8]]) -> float:
    return float(np.mean([frame.mean() for frame in frames]))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
