"""Whether what a model sees today is what it saw when it was made: live numbers against its reference. Pure.

A model whose package has no reference raises no alarm: what is normal is never learned from the line itself, where
something may have been wrong from the first frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.pipeline.judged import stability_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.core.picture import PictureWindow, Spread
    from edge_runtime.core.reference import Level, ModelReference
    from edge_runtime.pipeline.judged import Tallied

FRAMES_MIN: Final = 200  # before anything is said
INDEX_MAX: Final = 0.25  # the usual reading of the population stability index: above it a distribution has changed
SHARE_MAX: Final = 0.25
Z: Final = 5.0  # a difference that chance makes once in two million looks
DEVIATIONS_MAX: Final = 4.0
LEVEL_SLACK: Final = 0.05  # of the mean: pictures of one lamp and one lens hardly vary
PICTURES_MIN: Final = 60
IN_A_ROW: Final = 3  # looks that have to say the same


@dataclass(frozen=True, slots=True)
class Drift:
    """One number that left its reference.

    Attributes:
        kind: ``scores``, ``labels``, ``brightness`` or ``sharpness``.
        message: found against expected, for people.
        found: the number.
        limit: what it may be.
    """

    kind: str
    message: str
    found: float
    limit: float


def drifts(reference: ModelReference, recent: Tallied, window: PictureWindow | None) -> Iterator[Drift]:
    """Yield what has left ``reference``.

    Args:
        reference: of the package.
        recent: what its model made of the last frames.
        window: how the pictures of the camera were; ``None`` = nobody looks at them.
    """
    frames = sum(recent.times)
    if frames >= FRAMES_MIN:
        index = stability_index(reference.scores, recent.scores, new_repeats=recent.score_repeats)
        if index is not None and index > INDEX_MAX:
            yield Drift("scores", f"scores are distributed otherwise: index {index:.2f}", index, INDEX_MAX)
        yield from _labels(reference, recent, frames)
    if window is not None:
        for kind, level, spread in (
            ("brightness", reference.brightness, window.brightness),
            ("sharpness", reference.sharpness, window.sharpness),
        ):
            if level is not None and spread.count >= PICTURES_MIN:
                yield from _level(kind, level, spread)


def _labels(reference: ModelReference, recent: Tallied, frames: int) -> Iterator[Drift]:
    """Yield the label whose share differs most, if that is too much."""
    apart = {
        label: abs(recent.labels.get(label, 0) / frames - reference.labels.get(label, 0.0))
        for label in {*reference.labels, *recent.labels}
    }
    label = max(apart, key=lambda one: apart[one], default=None)
    if label is None:
        return
    was, now = reference.labels.get(label, 0.0), recent.labels.get(label, 0) / frames
    limit = SHARE_MAX + Z * math.sqrt(_variance(was, reference.pictures) + _variance(now, frames))
    if apart[label] > limit:
        yield Drift("labels", f"{label} is in {now:.0%} of the frames, {was:.0%} are usual", apart[label], limit)


def _level(kind: str, level: Level, spread: Spread) -> Iterator[Drift]:
    limit = DEVIATIONS_MAX * level.deviation + LEVEL_SLACK * level.mean
    distance = abs(spread.mean - level.mean)
    if distance > limit:
        yield Drift(kind, f"the mean {kind} is {spread.mean:.3g}, {level.mean:.3g} is usual", distance, limit)


def _variance(share: float, count: int) -> float:
    return (share * (1 - share) + 1 / (count + 4)) / (count + 4)


class DriftAlarm:
    """Says once that a drift began and once that it is over, each after `IN_A_ROW` looks. One thread owns it."""

    def __init__(self) -> None:
        """Nothing drifts."""
        self._begun: dict[str, Drift] = {}
        self._streaks: dict[str, int] = {}

    @property
    def now(self) -> tuple[Drift, ...]:
        """What drifts."""
        return tuple(self._begun.values())

    def look(self, found: Iterator[Drift]) -> tuple[list[Drift], list[Drift]]:
        """Take one look; return the drifts that began, and those that are over."""
        seen = {one.kind: one for one in found}
        began, over = [], []
        for kind in {*seen, *self._begun, *self._streaks}:
            if (kind in seen) is (kind in self._begun):
                self._streaks.pop(kind, None)
                continue
            self._streaks[kind] = self._streaks.get(kind, 0) + 1
            if self._streaks[kind] < IN_A_ROW:
                continue
            del self._streaks[kind]
            if kind in seen:
                self._begun[kind] = seen[kind]
                began.append(seen[kind])
            else:
                over.append(self._begun.pop(kind))
        return began, over
