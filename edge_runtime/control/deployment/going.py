"""Where a deployment goes next, what it waits for, when it is late, and how all that is said. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.control.deployment.deployment import State

if TYPE_CHECKING:
    from edge_runtime.control.deployment.deployment import Deployment

VETTING_S: Final = 1800.0
LOADING_S: Final = 1800.0  # compiled at the lowest priority, beside a line that works
ACTIVATING_S: Final = 60.0
IDLE_S: Final = 7 * 86400.0  # nothing is committed without frames
WAITING_S: Final = 30 * 86400.0

_WAITS: Final = {
    "wait.line": "for a line",
    "wait.hold": "until the hold of the slot is lifted",
    "wait.pause": "until the rollout goes on",
    "wait.approval": "for the approval of an operator",
    "wait.lot": "for the end of the lot",
}
_SAID: Final = {
    State.VETTING: "is tried",
    State.WAITING: "waits",
    State.LOADING: "is loaded beside what runs",
    State.SHADOW: "is compared with what runs",
    State.CANARY: "comes to one inspection first",
    State.ACTIVATING: "is switched to",
    State.PROBATION: "judges on probation",
    State.COMMITTED: "is the model of the slot",
    State.REJECTED: "is refused",
    State.ROLLED_BACK: "is rolled back",
    State.SUPERSEDED: "is given up",
}


@dataclass(frozen=True, slots=True)
class Late:
    """Why a deployment ends for want of time; ``quarantine``: whether it would be so again."""

    reason: str
    message: str
    quarantine: bool


def next_stage(deployment: Deployment) -> State:
    """Return the first thing that a deployment has not passed and has to."""
    mode = deployment.policy.mode
    if not deployment.vetted:
        return State.VETTING
    if mode == "shadow" and not deployment.shadowed:
        return State.SHADOW
    if mode == "canary" and not deployment.canaried and len(deployment.slot_inspections) > 1:
        return State.CANARY
    return State.ACTIVATING


def lacking(deployment: Deployment) -> str | None:
    """Return the code of the first condition that the next stage lacks, ``None`` when it has all."""
    now = deployment.conditions
    judges = next_stage(deployment).is_judging
    approved = deployment.approved or now.approved or deployment.policy.approve == "auto"
    wanted = (
        ("wait.line", deployment.line),
        ("wait.hold", not now.held),
        ("wait.pause", not now.paused),
        ("wait.approval", approved or not judges),
        ("wait.window", now.window_open or not judges),
        ("wait.lot", now.between_lots or not judges or not deployment.policy.between_lots),
    )
    return next((code for code, met in wanted if not met), None)


def waits_for(deployment: Deployment, code: str) -> str:
    """Return in words what `lacking` returned."""
    window = deployment.policy.window or "the box's own"
    return _WAITS.get(code, f"for its maintenance window ({window})")


def late(deployment: Deployment) -> Late | None:
    """Return why a deployment has been in its state for too long, ``None`` when it has not."""
    if not deployment.begun or deployment.passed:
        return None  # the disk is waited for, see `machine`
    state, elapsed_s = deployment.state, deployment.elapsed_s
    if state is State.SHADOW and deployment.frames:
        limit_s, needed = deployment.policy.gates.shadow_s, deployment.policy.gates.shadow_frames
        text = f"{deployment.frames} of {needed} frames were compared within {limit_s:g} s"
        return Late("shadow.deadline", text, quarantine=True) if elapsed_s >= limit_s else None
    limit_s = _LIMITS_S.get(state, IDLE_S)
    if state.is_over or elapsed_s < limit_s:
        return None
    reason, text = _LATE.get(state, ("deployment.idle", "too few frames came"))
    return Late(reason, f"{text} within {limit_s:g} s", quarantine=state in _LATE and state is not State.WAITING)


def sentence(deployment: Deployment, message: str | None = None) -> str:
    """Return how a deployment stands, in one sentence; ``message`` in place of what it says itself."""
    one = deployment.candidate
    text = message or deployment.message
    what = f"slot {deployment.slot}: release {one.release} of {deployment.model} ({one.version})"
    joint = " " if deployment.state is State.WAITING and message is None else ": "
    return f"{what} {_SAID[deployment.state]}" + (f"{joint}{text}" if text else "")


_LIMITS_S: Final = {
    State.VETTING: VETTING_S,
    State.LOADING: LOADING_S,
    State.ACTIVATING: ACTIVATING_S,
    State.WAITING: WAITING_S,
}
_LATE: Final = {
    State.VETTING: ("vet.deadline", "it was not vetted"),
    State.LOADING: ("standby.deadline", "it was not loaded beside what runs"),
    State.ACTIVATING: ("switch.deadline", "no frame was switched to it"),
    State.WAITING: ("deployment.waited", "what it waits for did not come"),
}
