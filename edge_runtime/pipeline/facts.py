"""What is known about a model that is loaded: values, pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.pipeline.recipe import ANY_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.core.reference import ModelReference
    from edge_runtime.core.result import ModelRef


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is loaded in a slot, as the engine reported it after compiling.

    Attributes:
        score_min: the model reports nothing below this score, 0..1.
        by_label: the same for labels that have a threshold of their own.
        reads_text: predictions may carry text.
        reference: what it answers when all is well, if its package says so.
    """

    model: ModelRef
    backend: str
    device: str
    precision: str
    task: str
    labels: tuple[str, ...]
    score_min: float
    by_label: Mapping[str, float]
    reads_text: bool = False
    reference: ModelReference | None = None

    def threshold(self, label: str) -> float:
        """The score from which on the model reports ``label``; of ``*`` the highest one of all labels."""
        if label == ANY_LABEL:
            return max((self.by_label.get(one, self.score_min) for one in self.labels), default=self.score_min)
        return self.by_label.get(label, self.score_min)
