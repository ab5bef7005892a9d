"""Reading what `engine.masks` writes: COCO's compressed run lengths back into pixels, from their description."""

from __future__ import annotations

import numpy as np


def pixels(counts: str, width: int, height: int) -> np.ndarray:
    """Return the (height, width) mask of ``counts``.

    Each number: digits of 5 bits from 48 on, the lowest first, bit 5 says that another follows, bit 4 of the last is
    the sign; from the fourth on it is the difference to the last but one. Runs of 0 and 1 by turns, down the columns.
    """
    runs: list[int] = []
    value = digits = 0
    for character in counts:
        digit = ord(character) - 48
        value |= (digit & 31) << 5 * digits
        digits += 1
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << 5 * digits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = digits = 0
    assert sum(runs) == width * height
    assert min(runs[1:], default=1) > 0
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def shared_part(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())
