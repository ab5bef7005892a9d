"""What the gates say about a candidate, second by second: figures of the line into a verdict of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.control.deployment.deployment import Outcome, State, Verdict

if TYPE_CHECKING:
    from edge_runtime.app.assembly import LineService
    from edge_runtime.control.deployment.deployment import Deployment


class SlotSampler:
    """Of one slot. One thread."""

    def __init__(self) -> None:
        """Nothing is judged yet."""
        self._state: tuple[str, State] | None = None
        self._begin = (0, 0)

    def verdict(self, line: LineService, one: Deployment, inspections: tuple[str, ...]) -> Verdict | None:
        """Return what the gates say in the state that a deployment is in; ``None`` where nothing is judged."""
        if one.state not in (State.CANARY, State.PROBATION) or not one.begun:
            return None
        names = one.inspections if one.state is State.CANARY else inspections
        figures = [line.line.picture.inspections[name].counters for name in names]
        now = (sum(each.inferred for each in figures), sum(each.failed for each in figures))
        if self._state != (one.id, one.state):
            self._state, self._begin = (one.id, one.state), now
        judged, failed = (found - before for found, before in zip(now, self._begin, strict=True))
        gates = one.policy.gates
        needed = gates.canary_frames if one.state is State.CANARY else gates.probation_frames
        frames = judged + failed
        numbers = {"frames": float(frames), "undecided": failed / frames if frames else 0.0}
        if frames >= needed and failed / frames > gates.undecided_max:
            text = f"{failed} of {frames} frames were not decided, allowed is a share of {gates.undecided_max:g}"
            return Verdict(Outcome.BREACHED, frames, 1.0, "gate.undecided", text, numbers)
        outcome = Outcome.PASSED if frames >= needed else Outcome.OPEN
        return Verdict(outcome, frames, min(1.0, frames / needed), numbers=numbers)
