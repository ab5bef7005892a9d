"""Turns what the line says about a standby engine into events of a deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.control.deployment import events as on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.pipeline.facts import ModelFacts


@dataclass(frozen=True, slots=True)
class Ears:
    """A `pipeline.standby.StandbyListener`; ``hear`` is called in the line's thread and must not block."""

    hear: Callable[[on.Event], None]

    def on_ready(self, facts: ModelFacts) -> None:  # noqa: ARG002 - the line's
        """It has loaded and warmed its model."""
        self.hear(on.StandbyReady())

    def on_refused(self, code: str, message: str) -> None:
        """It cannot."""
        self.hear(on.StandbyRefused(code, message))

    def on_lost(self, message: str) -> None:
        """Its process ended; the line starts it again."""
        self.hear(on.StandbyLost(message))

    def on_switched(self, to_standby: bool, inspections: tuple[str, ...], first_frame: Mapping[str, int]) -> None:  # noqa: ARG002, FBT001 - the line's
        """From these frames on another engine judges."""
        self.hear(on.Switched(to_standby, inspections))
