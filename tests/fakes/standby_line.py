"""A line that does for deployments what the test says: it notes what is asked of it and answers when it is told to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from edge_runtime.pipeline.inspection import InspectionSpec
from edge_runtime.pipeline.judged import Compared, Judging, Tallied
from edge_runtime.pipeline.slot import SlotSpec, SlotState, Standing
from edge_runtime.pipeline.vet_link import VetReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.core.errors import EdgeError


class StandbyLine:
    """See the module docstring; one slot, two inspections.

    Args:
        slot: its name.
        path: what it runs, ``None`` = nothing yet.
    """

    def __init__(self, slot: str = "defects", path: str | None = "/old") -> None:
        self.calls: list[str] = []
        self.specs: list[SlotSpec] = []
        self.listener: Any = None
        self.vetted: Callable[[VetReport], None] | None = None
        specs = [SimpleNamespace(spec=InspectionSpec(name, "top", slot)) for name in ("left", "right")]
        self.plan = SimpleNamespace(slots=(SlotSpec(slot, path),), inspections=tuple(specs))
        self.line = SimpleNamespace(picture=SimpleNamespace(slots={}, inspections={}, standbys={}, pids={}))
        self.judge(0)
        self.stands(slot, SlotState.EMPTY if path is None else SlotState.READY)

    def stands(self, slot: str, state: SlotState, message: str = "") -> None:
        """Let the engine of the slot be so."""
        self.line.picture.slots = {slot: Standing(state, None, message)}

    def vet(self, spec: Any, name: str, on_end: Callable[[VetReport], None]) -> None:
        self.calls.append(f"vet {name} {spec.path.name[:6]}")
        self.vetted = on_end

    def judged(self, slot: str) -> Judging:
        """What was counted."""
        del slot
        return self.judging

    def judge(self, ok: int, refused: int = 0) -> None:
        """Let the standby have judged so many frames of each inspection."""
        new = Tallied(ok=ok, refused={"engine_lost": refused} if refused else {})
        old = Tallied(ok=1000)
        self.judging = Judging(dict.fromkeys(("left", "right"), old), dict.fromkeys(("left", "right"), new), Compared())

    def end_vet(self, error: EdgeError | None = None) -> None:
        """Let the vet end."""
        assert self.vetted is not None
        self.vetted(VetReport(error))

    def stand_by(self, slot: str, spec: SlotSpec, listener: Any) -> None:
        self.calls.append(f"stand_by {slot}")
        self.specs.append(spec)
        self.listener = listener

    def shadow(self, slot: str, on: bool) -> None:  # noqa: FBT001
        self.calls.append(f"shadow {slot} {on}")

    def switch(self, slot: str, inspections: tuple[str, ...] | None = None) -> None:
        self.calls.append(f"switch {slot} {inspections}")

    def switch_back(self, slot: str) -> None:
        self.calls.append(f"switch_back {slot}")

    def settle(self, slot: str) -> None:
        self.calls.append(f"settle {slot}")

    def dismiss(self, slot: str) -> None:
        self.calls.append(f"dismiss {slot}")

    def empty(self, slot: str, message: str) -> None:
        self.calls.append(f"empty {slot}: {message}")
