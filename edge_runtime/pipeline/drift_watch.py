"""Looks now and then whether the models of a line see what they saw when they were made, and tells when not.

Everything runs in the line's thread.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_runtime.pipeline.drift import DriftAlarm, drifts

if TYPE_CHECKING:
    from edge_runtime.core.result import ModelRef
    from edge_runtime.pipeline.line import Line, Station

logger = logging.getLogger(__name__)

LOOK_S: Final = 20.0


@dataclass(slots=True)
class _Watched:
    model: ModelRef | None = None
    alarm: DriftAlarm = field(default_factory=DriftAlarm)


class DriftWatch:
    """See the module docstring."""

    def __init__(self, line: Line) -> None:
        """Do nothing before `start`."""
        self._line = line
        self._watched = {name: _Watched() for name in line.stations}

    def start(self) -> None:
        """Look for as long as the loop of the line turns."""
        self._line.loop.call_later(LOOK_S, self._turn)

    def _turn(self) -> None:
        self.look()
        self._line.loop.call_later(LOOK_S, self._turn)

    def look(self) -> None:
        """Look at every inspection."""
        for name, station in self._line.stations.items():
            self._look(name, station, self._watched[name])

    def _look(self, name: str, station: Station, watched: _Watched) -> None:
        _, slot = self._line.engine_of(station) or (None, None)
        facts = None if slot is None else slot.facts
        if slot is None or facts is None:
            return
        if facts.model != watched.model:  # another model, another reference
            watched.model, watched.alarm = facts.model, DriftAlarm()
        if facts.reference is None:
            return
        camera = self._line.cameras[station.inspection.spec.camera]
        now_ns = self._line.loop.clock.mono_ns()
        window = None if camera.pictures is None else camera.pictures.health.view(now_ns).window
        began, over = watched.alarm.look(drifts(facts.reference, slot.tally(name).recent(), window))
        for one in began:
            text = f"what {facts.model.name} sees at {name} is not what it was made for: {one.message}"
            logger.warning("%s", text)
            fields = {"found": round(one.found, 4), "limit": round(one.limit, 4), "digest": facts.model.digest}
            self._line.event(name, f"drift.{one.kind}", text, fields)
        for one in over:
            text = f"{one.kind} at {name} are as usual again"
            logger.info("%s", text)
            self._line.event(name, "drift.over", text, {"kind": one.kind})
