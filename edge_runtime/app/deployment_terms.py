"""What a deployment is told of the world, as values: policy, conditions, specs for the line. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from edge_runtime.app.plan import Released, release_of
from edge_runtime.config.updates import Updates
from edge_runtime.control.deployment.deployment import Conditions, Policy
from edge_runtime.registry.box.report import Standing, Terms
from edge_runtime.registry.conditions import Gates, is_open, parse_gates, parse_window

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.control.deployment.deployment import Deployment, Origin
    from edge_runtime.pipeline.slot import SlotSpec
    from edge_runtime.registry.box.report import Held, SlotReport

PAUSED: Final = "rollout.paused"
NOT_WANTED: Final = frozenset({"rollout.none", "rollout.no_match"})
_BACK: Final = Gates(latency_ratio_max=100, undecided_max=0.5, not_ok_shift_max=1, score_shift_max=100)  # not broken
_NOT_BELIEVED: Final = ("rollout.", "trust.")  # codes of a rollout that itself is refused: nothing new because of it


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release that somebody wants in a slot, and how."""

    candidate: Held
    policy: Policy


def policy_of(terms: Terms, updates: Updates, origin: Origin = "rollout") -> Policy:
    """Return how a release comes in: what the assignment says, made stricter by the box."""
    return Policy(
        mode=cast("Any", terms.mode),
        gates=parse_gates(terms.gates),
        window=terms.window,
        between_lots=updates.between_lots,
        approve="operator" if "operator" in (terms.approve, updates.approve) else "auto",
        bake_s=terms.bake_s,
        on_regression=cast("Any", terms.on_regression),
        seq=terms.seq,
        origin=origin,
    )


def by_hand(seq: int, origin: Origin, terms: Terms | None, *, back: bool = False) -> Policy:
    """Return how a release comes in that somebody asked for himself: tried, then at once, and watched.

    What it has to reach is asked of it as its assignment (``terms``) says, if it has one. One that somebody goes
    ``back`` to is not measured by the one that it replaces: that judges wrongly, or there would be no way back.
    """
    if back:
        return Policy(gates=_BACK, seq=seq, origin=origin, back=True)
    if terms is None:
        return Policy(seq=seq, origin=origin)
    rolled_out = policy_of(terms, Updates(), origin)
    return replace(rolled_out, window=None, approve="auto")


def wanted_by(report: SlotReport, updates: Updates) -> Wanted | None:
    """Return what a rollout wants in a slot and is on the box; ``None`` = nothing, or what it runs."""
    if report.standing is not Standing.STAGED or report.staged is None or report.terms is None:
        return None
    return Wanted(report.staged, policy_of(report.terms, updates))


def withdrawn(report: SlotReport, deployment: Deployment) -> tuple[str, str] | None:
    """Return why what a rollout had wanted is not wanted any more, as code and message; ``None`` = it may be."""
    if report.standing is Standing.CURRENT and report.current is not None:
        if report.current.manifest == deployment.candidate.manifest:
            return None
        return "rollout.withdrawn", f"the rollout wants release {report.current.release} again"
    if report.standing is Standing.KEPT and report.reason in NOT_WANTED:
        return "rollout.withdrawn", report.message or "the rollout names nothing for this slot any more"
    return None


def is_paused(report: SlotReport) -> bool:
    """Tell whether nothing may be begun because of the rollout: it is paused, or not believed at the moment."""
    if report.standing is Standing.KEPT:
        return report.reason == PAUSED
    return report.standing is Standing.REFUSED and (report.reason or "").startswith(_NOT_BELIEVED)


def conditions_of(
    policy: Policy, updates: Updates, now: datetime, *, lot: bool | None, approved: bool, held: bool, paused: bool
) -> Conditions:
    """Return how the conditions of a deployment are.

    Args:
        policy: of the deployment.
        updates: what the box says.
        now: UTC.
        lot: whether a lot is running; ``None`` = nobody said.
        approved: somebody agreed to it.
        held: the slot is held.
        paused: the rollout is paused.
    """
    windows = [parse_window(one) for one in (policy.window, updates.window) if one is not None]
    by_rollout = policy.origin == "rollout"
    return Conditions(
        window_open=not by_rollout or is_open(windows, now, datetime.astimezone),
        between_lots=not policy.between_lots or lot is False,
        approved=approved or not by_rollout,
        held=(held or updates.hold) and by_rollout,
        paused=paused and by_rollout,
    )


def factory_spec(base: SlotSpec, path: Path) -> SlotSpec:
    """Return what the line is told to load for the factory model."""
    return replace(base, path=str(path), digest=None, waits_for="", release=None, rollout_seq=None)


def spec_of(base: SlotSpec, held: Held, directory: Path, seq: int | None) -> SlotSpec:
    """Return what the line is told to load for a release, in the place of what the slot was planned with."""
    return release_of(base, Released(str(directory), held.digest, held.release, seq))


def fields_of(one: Deployment) -> dict[str, object]:
    """Return what events and the audit say of a deployment."""
    return {
        "slot": one.slot,
        "model": one.model,
        "deployment": one.id,
        "release": one.candidate.release,
        "digest": one.candidate.digest,
        "manifest": one.candidate.manifest,
        "previous": None if one.previous is None else one.previous.digest,
        "rolloutSeq": one.policy.seq,  # a record of the audit trail has a seq of its own
        "origin": one.policy.origin,
        "reason": one.reason,
        "gates": dict(one.numbers),
    }
