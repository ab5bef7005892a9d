"""The line at one moment, as other threads may see it: values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.pipeline.inspection import Figures
    from edge_runtime.pipeline.judged import Judging
    from edge_runtime.pipeline.picture_health import PictureView
    from edge_runtime.pipeline.slot import Standing
    from edge_runtime.pipeline.standby import StandbyStanding


@dataclass(frozen=True, slots=True)
class Picture:
    """The line at one moment. It was taken in the line's thread, so what it shows belongs together.

    Attributes:
        inspections: what became of their frames.
        slots: the engine of each, not its standby.
        standbys: by slot, where there is one.
        pids: process of the engine of each slot, ``None`` between two of them.
        cameras: how the pictures of each are that is looked at; ``judging``: counts of slots with a standby.
    """

    inspections: Mapping[str, Figures]
    slots: Mapping[str, Standing]
    standbys: Mapping[str, StandbyStanding] = field(default_factory=dict)
    pids: Mapping[str, int | None] = field(default_factory=dict)
    cameras: Mapping[str, PictureView] = field(default_factory=dict)
    judging: Mapping[str, Judging] = field(default_factory=dict)
