"""Average precision as COCO defines it, from hits in the order of their scores."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LEVELS: Final = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""Overlaps from which on a box is a hit; mAP@0.5:0.95 is the mean over them."""
_RECALLS: Final = np.linspace(0, 1, 101)


def average_precision(hits: Floats, truths: int) -> float:
    """COCO's 101-point interpolation; `hits` is 1 or 0 per detection, best score first; nan without any truth."""
    if truths == 0:
        return float("nan")
    if hits.size == 0:
        return 0.0
    right = np.cumsum(hits)
    recall, precision = right / truths, right / np.arange(1, hits.size + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.where(place < hits.size, precision[np.minimum(place, hits.size - 1)], 0.0).mean())
