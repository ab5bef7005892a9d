"""Finds what a recipe asks for that a model does not give, for people; pure."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.pipeline.results import ResultFactory

LABELS_TOLD: Final = 50  # of a model, in an event: it may have a hundred thousand


@dataclass(frozen=True, slots=True)
class Misfit:
    """One event about it, and how loudly it is logged."""

    level: int
    kind: str
    message: str
    fields: dict[str, object]


def misfits(
    inspection: str, factory: ResultFactory, recipe: str | None, slot: str, facts: ModelFacts
) -> Iterator[Misfit]:
    """Yield what does not fit between a recipe of an inspection and the model of its slot."""
    unknown = factory.unknown_labels(facts, recipe)
    if unknown:
        text = f"recipe of {inspection} names labels that model {slot} does not have: {', '.join(unknown)}"
        has = list(facts.labels[:LABELS_TOLD])
        yield Misfit(logging.ERROR, "recipe.unknown_label", text, {"labels": list(unknown), "has": has})
    if factory.reads_in_vain(facts, recipe):
        text = f"recipe of {inspection} asks for texts, but model {slot} reads none"
        yield Misfit(logging.ERROR, "recipe.no_text", text, {"task": facts.task})
    for rule in factory.rules_below_threshold(facts, recipe):
        threshold = facts.threshold(rule.label)
        text = (
            f"recipe of {inspection} counts {rule.label} from score_min {rule.score_min:g} on, "
            f"but model {slot} reports it from {threshold:g} on only"
        )
        fields: dict[str, object] = {"label": rule.label, "score_min": rule.score_min, "threshold": threshold}
        yield Misfit(logging.WARNING, "recipe.score_below_threshold", text, fields)
