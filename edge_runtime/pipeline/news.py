"""What the line has to tell people, in words: values only, pure."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.pipeline.picture_health import UNKNOWN
from edge_runtime.pipeline.slot import SlotState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.pipeline.camera_link import CameraState
    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.pipeline.picture_health import Change
    from edge_runtime.pipeline.results import ResultFactory
    from edge_runtime.pipeline.slot import ModelSlot

LABELS_TOLD: Final = 50  # of a model, in an event: it may have a hundred thousand


@dataclass(frozen=True, slots=True)
class News:
    """One event, and how loudly it is logged."""

    level: int
    scope: str
    kind: str
    message: str
    fields: dict[str, object] = field(default_factory=dict)


def of_camera(camera: str, state: CameraState) -> News:
    """A camera changed its state."""
    text = f"camera {camera} is {state.state}" + (f": {state.detail or state.reason}" if state.reason else "")
    good = state.state in ("streaming", "connecting") and state.reason != "bad_picture"
    level = logging.INFO if good else logging.WARNING
    return News(level, camera, f"camera.{state.state}", text, {"reason": state.reason, "detail": state.detail})


def of_pictures(camera: str, change: Change) -> Iterator[News]:
    """The pictures of a camera got a fault, or have none any more."""
    found = change.finding
    if found is not None:
        fields: dict[str, object] = {
            "before": change.before,
            "quantity": found.quantity,
            "measured": round(found.measured, 4),
            "limit": round(found.limit, 4),
        }
        text = f"the picture of camera {camera} is {found.text}"
        yield News(logging.WARNING, camera, f"camera.{change.after}", text, fields)
    elif change.before != UNKNOWN:
        text = f"the picture of camera {camera} is good again, it was {change.before}"
        yield News(logging.INFO, camera, "camera.picture_ok", text, {"before": change.before})


def of_slot(slot: ModelSlot) -> News:
    """A model slot became ready, failed or lost."""
    facts = slot.facts
    if facts is None or slot.state is not SlotState.READY:
        text = f"model {slot.spec.id} cannot judge: {slot.message}"
        return News(logging.ERROR, "system", f"model.{slot.state.value}", text, {"slot": slot.spec.id})
    name = f"{facts.model.name} {facts.model.version}"
    text = f"model {slot.spec.id} ({name}) runs on {facts.backend} {facts.device}"
    fields: dict[str, object] = {
        "model": facts.model.name,
        "version": facts.model.version,
        "digest": facts.model.digest,
        "backend": facts.backend,
        "device": facts.device,
        "precision": facts.precision,
    }
    return News(logging.INFO, "system", "model.ready", text, fields)


def of_recipe(
    inspection: str, factory: ResultFactory, recipe: str | None, slot: str, facts: ModelFacts
) -> Iterator[News]:
    """What a recipe of an inspection asks for that the model of its slot does not give."""
    unknown = factory.unknown_labels(facts, recipe)
    if unknown:
        text = f"recipe of {inspection} names labels that model {slot} does not have: {', '.join(unknown)}"
        has = list(facts.labels[:LABELS_TOLD])
        yield News(logging.ERROR, inspection, "recipe.unknown_label", text, {"labels": list(unknown), "has": has})
    if factory.reads_in_vain(facts, recipe):
        text = f"recipe of {inspection} asks for texts, but model {slot} reads none"
        yield News(logging.ERROR, inspection, "recipe.no_text", text, {"task": facts.task})
    for rule in factory.rules_below_threshold(facts, recipe):
        threshold = facts.threshold(rule.label)
        text = (
            f"recipe of {inspection} counts {rule.label} from score_min {rule.score_min:g} on, "
            f"but model {slot} reports it from {threshold:g} on only"
        )
        fields: dict[str, object] = {"label": rule.label, "score_min": rule.score_min, "threshold": threshold}
        yield News(logging.WARNING, inspection, "recipe.score_below_threshold", text, fields)
