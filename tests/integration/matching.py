"""Comparing two lists of predictions the way it is meant: by the best overlap of the same label, never by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.core.result import Prediction

Box = tuple[float, float, float, float]


def overlap(first: Box, second: Box) -> float:
    """Intersection over union of two x y w h boxes."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    both = max(0.0, width) * max(0.0, height)
    return both / (first[2] * first[3] + second[2] * second[3] - both)


def differences(
    found: Sequence[Prediction], expected: Sequence[Prediction], *, iou: float, score: float, floor: float
) -> list[str]:
    """Say what is in one list and not in the other, within the tolerances.

    What is within ``score`` of the lowest score that is kept, ``floor``, may be missing on either side.
    """
    left = [one for one in found if one.score >= floor]
    problems = []
    for wanted in expected:
        partner = max(
            (one for one in left if one.label == wanted.label),
            key=lambda one: overlap(one.box or (0, 0, 0, 0), wanted.box or (0, 0, 0, 0)) if one.box else 1.0,
            default=None,
        )
        close = partner is not None and (partner.box is None or overlap(partner.box, wanted.box or (0, 0, 0, 0)) >= iou)
        if partner is not None and close and abs(partner.score - wanted.score) <= score:
            left.remove(partner)
        elif wanted.score >= floor + score:
            problems.append(f"expected {wanted}, nearest {partner}")
    return problems + [f"unexpected {one}" for one in left if one.score >= floor + score]
