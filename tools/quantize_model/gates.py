"""Whether an INT8 form is good enough: the decision, from figures alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantize_model.report import Measured

_EPSILON = 1e-9
"""Differences of accuracies are differences of fractions in binary: a drop of exactly the limit passes."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What the operator demands.

    Attributes:
        max_drop_points: most that accuracy may fall, in points of 100.
        min_agreement: least agreement of the engines about the INT8 form, 0..1.
        min_fidelity: least agreement of fp32 and INT8, 0..1; asked only where there are no labels.
        must_be_faster: whether an INT8 form that is slower than fp32 is refused, not only remarked upon.
    """

    max_drop_points: float = 1.0
    min_agreement: float = 0.98
    min_fidelity: float = 0.98
    must_be_faster: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one attempt.

    Attributes:
        fp32: by engine.
        new: by engine, the form that the new package has for it: INT8, or fp32 beside an INT8 form for the other.
        engines: agreement of the two engines about the new package; ``None`` with one engine.
        fidelity: by engine, agreement of the new package with the fp32 model.
        images: pictures judged.
    """

    fp32: Mapping[str, Measured]
    new: Mapping[str, Measured]
    engines: float | None
    fidelity: Mapping[str, float]
    images: int


def drops(figures: Figures) -> dict[str, float] | None:
    """Return by engine how many points the new package is worse than fp32; ``None`` without labels."""
    found = {}
    for backend, one in figures.new.items():
        before = figures.fp32[backend].accuracy
        if before is None or one.accuracy is None:
            return None
        found[backend] = 100 * (before.value - one.accuracy.value)
    return found


def refusals(figures: Figures, gates: Gates) -> tuple[str, ...]:
    """Return why the package is not handed out; none = it is."""
    found = []
    drop = drops(figures)
    for backend, points in (drop or {}).items():
        if points > gates.max_drop_points + _EPSILON:
            before, after = figures.fp32[backend].accuracy, figures.new[backend].accuracy
            values = f"{before.metric} {before.value:.4f} -> {after.value:.4f}" if before and after else ""
            found.append(
                f"{backend} loses {points:.2f} points ({values}), at most {gates.max_drop_points:g} are allowed"
            )
    if drop is None:
        found += [
            f"{backend} says the same as fp32 in {share:.4f} of the cases, at least {gates.min_fidelity:g} are wanted"
            for backend, share in figures.fidelity.items()
            if share < gates.min_fidelity
        ]
    if figures.engines is not None and figures.engines < gates.min_agreement:
        found.append(
            f"the engines agree in {figures.engines:.4f} of the cases, at least {gates.min_agreement:g} are wanted; "
            "which one is installed would decide what the line does"
        )
    for backend, one in figures.new.items():
        if one.invalid > figures.fp32[backend].invalid:
            found.append(f"{one.invalid} of {figures.images} answers of {backend} make no sense")
    return (*found, *(_slow(figures) if gates.must_be_faster else ()))


def warnings(figures: Figures, gates: Gates) -> tuple[str, ...]:
    """Return what the reader should know about a package that is handed out."""
    found = [] if gates.must_be_faster else list(_slow(figures))
    worth = 100 / figures.images
    is_counted = any(one.accuracy is not None and one.accuracy.metric == "top-1" for one in figures.new.values())
    if is_counted and worth > gates.max_drop_points:
        found.append(
            f"one picture of {figures.images} is {worth:.1f} points: too few to see a drop of "
            f"{gates.max_drop_points:g}; give {round(100 / gates.max_drop_points)} or more"
        )
    return tuple(found)


def _slow(figures: Figures) -> Sequence[str]:
    return [
        f"INT8 runs at {one.pace.speedup:.2f} times the speed of fp32 on {backend}: the network is too small, made of "
        "layers that gain nothing by integers (depthwise, element by element), or the CPU has no VNNI; keep fp32 there"
        for backend, one in figures.new.items()
        if one.precision == "int8" and one.pace is not None and one.pace.speedup < 1
    ]
