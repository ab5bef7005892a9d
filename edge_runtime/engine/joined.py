"""What a chain of models is as one: which of them fit together, which labels it reports, and from which score on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.core.description import BY_LABEL_LIMIT, CHAIN, LABELS_BYTES_LIMIT
from edge_runtime.core.errors import DataError
from edge_runtime.engine.spec import ModelSpec, OutputSpec, ThresholdSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.core.steps import Step

FINDERS: Final = ("detection", "oriented_detection", "instance_segmentation", "text_detection")
"""Tasks of a first step: those that say where something is."""
LOOKERS: Final = ("classification", "text_recognition")
"""Tasks of a last step: those that say what a whole picture is."""
TURNS: Final = {"0", "180"}
"""Labels of a step between the two: by how many degrees a crop stands on its head."""
_WAY_OUT: Final = (
    "a chain is a detector, then a classifier or a text recogniser; between the two may be a classifier with the "
    "labels 0 and 180"
)


def join(specs: Sequence[ModelSpec], steps: Sequence[Step], where: str) -> ModelSpec:
    """Return the description of a chain.

    Args:
        specs: of its models.
        steps: of its manifest, as many.
        where: its name, for messages.

    Raises:
        DataError: codes ``model.wrong_chain`` (they do not fit together), ``model.wrong_labels``.
    """
    first, *between, last = specs
    tasks = " -> ".join(one.task for one in specs)
    if first.task not in FINDERS or last.task not in LOOKERS:
        raise DataError("model.wrong_chain", f"{where}: {tasks} is no chain", help=_WAY_OUT)
    for one in between:
        if one.task != "classification" or set(one.labels) != TURNS:
            message = f"{where}: the step between is a {one.task} with the labels {', '.join(one.labels[:5])}"
            raise DataError("model.wrong_chain", message, help=_WAY_OUT)
    unknown = {label for step in steps for label in step.labels or ()} - set(first.labels)
    if unknown:
        message = f"{where}: steps name labels that the first step does not have: {', '.join(sorted(unknown))}"
        raise DataError("model.wrong_labels", message, help=f"it has: {', '.join(first.labels[:20])}")
    kept, added = _labels(first, last, steps[-1])
    labels = (*kept, *added)
    if len(str(labels).encode()) > LABELS_BYTES_LIMIT:
        message = f"{where}: the steps have {len(labels)} labels, too many for one model"
        raise DataError("model.wrong_labels", message, help="use models with fewer labels")
    return ModelSpec(CHAIN, "", first.input, OutputSpec(), labels, _thresholds(first, last, kept, added))


def reads_text(spec: ModelSpec, last: ModelSpec | None = None) -> bool:
    """Tell whether predictions of a model, or of a chain with this ``last`` step, may carry text."""
    return (last or spec).task == "text_recognition"


def _labels(first: ModelSpec, last: ModelSpec, step: Step) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the labels of the first step that a result may still have, and those that the last step adds.

    A rule about a label that can never be reported would let everything pass.
    """
    if reads_text(last):
        return first.labels, ()
    floors = [last.thresholds.by_label.get(label, last.thresholds.score) for label in last.labels]
    may_abstain = last.decoder == "sigmoid" or min(floors) > 0
    looked_at = first.labels if step.labels is None else step.labels
    kept = tuple(label for label in first.labels if may_abstain or label not in looked_at)
    return kept, tuple(label for label in last.labels if label not in kept)


def _thresholds(first: ModelSpec, last: ModelSpec, kept: Sequence[str], added: Sequence[str]) -> ThresholdSpec:
    """Floors of the step that reports a label; text has the lower one: what nobody can read keeps its first score."""
    floor = min(first.thresholds.score, last.thresholds.score) if reads_text(last) else last.thresholds.score
    by_label = {label: first.thresholds.by_label.get(label, first.thresholds.score) for label in kept}
    by_label |= {label: score for label, score in last.thresholds.by_label.items() if label in added}
    own = {label: score for label, score in by_label.items() if score != floor and not reads_text(last)}
    return ThresholdSpec(floor, 1.0, first.thresholds.max_predictions, own if len(own) <= BY_LABEL_LIMIT else {})
