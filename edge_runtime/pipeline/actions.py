"""What commands do to a running line: trigger, pause, resume, recipe.select and the reset of one inspection.

Each method takes effect at once or changes nothing, and says so in its ``Answer``. Everything here runs in the line's
thread and does not block; who calls it sees to durability (``setups``) and to the reply.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

from edge_runtime.core.command import Answer, Status
from edge_runtime.pipeline.attempt import Refusal
from edge_runtime.pipeline.slot import SlotState
from edge_runtime.pipeline.snapshots import SNAPSHOT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.pipeline.attempt import TriggerIds
    from edge_runtime.pipeline.line import Line, Station
    from edge_runtime.pipeline.setup import Setup
    from edge_runtime.pipeline.snapshots import Shot

_STATUS: Final = {
    Refusal.NOT_TRIGGERED: Status.CONFLICT,
    Refusal.PAUSED: Status.CONFLICT,
    Refusal.TOO_MANY: Status.TOO_MANY,
}
_SHOWS: Final = ("streaming", "ended")
NAMES_TOLD: Final = 20


class Actions:
    """See the module docstring."""

    def __init__(self, line: Line) -> None:
        """Act on ``line``."""
        self._line = line

    def setups(self) -> dict[str, Setup]:
        """What every inspection is set to now."""
        return {name: station.inspection.setup for name, station in self._line.stations.items()}

    def trigger(
        self, target: str | None, ids: TriggerIds, *, recipe: str | None = None, timeout_ms: int | None = None
    ) -> Answer:
        """Ask for a result with ``ids`` by the next frame; 202, or why there will be none."""
        station = self._one(target)
        if isinstance(station, Answer):
            return station
        name = station.inspection.spec.id
        if recipe is not None:
            refused = self._unusable(station, recipe)
            if refused is not None:
                return refused
        refusal = self._line.ask(station, ids, recipe=recipe, timeout_ms=timeout_ms)
        if refusal is not None:
            return Answer(_STATUS[refusal], f"inspection {name} takes no trigger now: {refusal.value}")
        return Answer(Status.ACCEPTED, "the result follows", {"inspection": name, "jobId": ids.job_id})

    def pause(self, target: str | None, reason: str | None = None) -> Answer:
        """Drop the frames of an inspection, or of all, from the next one on; what is open is still settled."""
        return self._set_paused(target, reason, paused=True)

    def resume(self, target: str | None, reason: str | None = None) -> Answer:
        """Undo ``pause``."""
        return self._set_paused(target, reason, paused=False)

    def select(
        self,
        target: str | None,
        recipe: str,
        product_id: str | None,
        *,
        version: str | None = None,
        reason: str | None = None,
    ) -> Answer:
        """Judge by another configured recipe from the next frame on, whatever is still in flight.

        It is refused when the recipe is of another ``version`` here than the caller thinks.
        """
        station = self._one(target)
        if isinstance(station, Answer):
            return station
        refused = self._unusable(station, recipe)
        if refused is not None:
            return refused
        name, before = station.inspection.spec.id, station.inspection.setup
        ref = station.factory.ref(recipe)
        if version is not None and version != ref.version:
            return Answer(Status.CONFLICT, f"recipe {recipe} has version {ref.version} on this box, not {version}")
        fields: dict[str, object] = {"inspection": name, "recipe": asdict(ref), "productId": product_id}
        wanted = replace(before, recipe=recipe, product_id=product_id)
        if (station.factory.ref(before.recipe), before.product_id) == (ref, product_id):
            return Answer(Status.DONE, f"inspection {name} is judged by recipe {ref.id} already", fields)
        fields["fromFrame"] = self._line.change(station, wanted)
        message = f"inspection {name} is judged by recipe {ref.id} version {ref.version} now"
        self._line.event(name, "recipe.selected", message, fields | _because(reason))
        return Answer(Status.DONE, message, fields)

    def snapshot(self, target: str | None, max_width: int | None, done: Callable[[Shot | Answer], None]) -> None:
        """Ask for the newest picture of a camera, or of the camera of an inspection; ``done`` gets it once.

        It is made smaller than the frame when that is wider than ``max_width`` pixels.
        """
        cameras, station = self._line.cameras, self._line.stations.get(target or "")
        if target is None and len(cameras) == 1:
            target = next(iter(cameras))
        elif target not in cameras and station is not None:
            target = station.inspection.spec.camera
        if target is None:
            done(Answer(Status.MALFORMED, f"name one camera in the topic: {_told(list(cameras))}"))
            return
        camera = cameras.get(target)
        if camera is None:
            done(Answer(Status.UNKNOWN, f"there is no camera {target}, there are: {_told(list(cameras))}"))
        elif camera.state.state not in _SHOWS:
            detail = f": {camera.state.detail}" if camera.state.detail else ""
            text = f"camera {target} is {camera.state.state}{detail}"
            done(Answer(Status.UNAVAILABLE, text))
        else:
            self._line.within(SNAPSHOT_S, lambda until_ns: camera.snapshot(until_ns, max_width, done))

    def reset(self, target: str, reason: str | None = None) -> Answer:
        """End what triggers asked for and give a refused model another chance; pause, recipe and counters stay."""
        station = self._one(target)
        if isinstance(station, Answer):
            return station
        name = station.inspection.spec.id
        aborted = self._line.abort(station, "the inspection was reset")
        engine = self._line.engines.get(station.inspection.spec.slot)
        slot = engine.slots[station.inspection.spec.slot] if engine is not None else None
        again = engine is not None and slot is not None and slot.state is SlotState.FAILED
        if engine is not None and slot is not None and again:
            engine.retry(slot)
        fields: dict[str, object] = {"inspection": name, "aborted": aborted, "modelReloaded": again}
        message = f"inspection {name} was reset" + (", its model is loaded again" if again else "")
        self._line.event(name, "inspection.reset", message, fields | _because(reason))
        return Answer(Status.DONE, message, fields)

    def _set_paused(self, target: str | None, reason: str | None, *, paused: bool) -> Answer:
        stations = list(self._line.stations.values()) if target is None else [self._one(target)]
        changed: list[str] = []
        frames: dict[str, int] = {}
        for station in stations:
            if isinstance(station, Answer):
                return station
            name, setup = station.inspection.spec.id, station.inspection.setup
            if setup.paused is not paused:
                frames[name] = self._line.change(station, replace(setup, paused=paused))
                changed.append(name)
                word = "paused" if paused else "resumed"
                message = f"inspection {name} is {word}"
                self._line.event(name, f"inspection.{word}", message, {"fromFrame": frames[name]} | _because(reason))
        word = "paused" if paused else "running"
        who = "every inspection" if target is None else f"inspection {target}"
        message = f"{who} is {word}" + ("" if changed else " already")
        return Answer(Status.DONE, message, {"paused": paused, "changed": changed, "fromFrame": frames})

    def _one(self, target: str | None) -> Station | Answer:
        stations = self._line.stations
        if target is None and len(stations) == 1:
            return next(iter(stations.values()))
        if target is None:
            return Answer(Status.MALFORMED, f"name one inspection in the topic: {_told(list(stations))}")
        station = stations.get(target)
        return station or Answer(Status.UNKNOWN, f"there is no inspection {target}, there are: {_told(list(stations))}")

    def _unusable(self, station: Station, recipe: str) -> Answer | None:
        """Say why a recipe cannot judge here: it does not exist, or the model that is loaded cannot meet it."""
        known = station.factory.recipe_ids
        name = station.inspection.spec.id
        if recipe not in known:
            return Answer(Status.UNKNOWN, f"inspection {name} has no recipe {recipe}, it has: {_told(known)}")
        facts = self._line.facts(station)
        unmet = None if facts is None else station.factory.unmet(recipe, facts)
        return None if unmet is None else Answer(Status.CONFLICT, f"recipe {recipe} cannot judge {name}: {unmet}")


def _because(reason: str | None) -> dict[str, object]:
    return {} if reason is None else {"reason": reason}


def _told(names: Sequence[str]) -> str:
    rest = len(names) - NAMES_TOLD
    return ", ".join(names[:NAMES_TOLD]) + (f" and {rest} more" if rest > 0 else "")
