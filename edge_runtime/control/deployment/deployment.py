"""A deployment: one release on its way to become the model of one slot. Values only, pure.

    vetting -> [loading -> shadow ->] waiting -> loading -> [canary ->] activating -> probation -> committed

Other ends: ``rejected`` (it never judged), ``rolled_back`` (it did), ``superseded`` (something newer is wanted).
``waiting`` is where a deployment stands whenever it cannot go on: conditions of the next step are not met, or there is
no line. What it has passed already (``vetted``, ``shadowed``, ``canaried``) is not asked of it again.

`machine.step` alone makes a deployment out of a deployment; it is told `events` and wants `commands` done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal

from edge_runtime.registry.conditions import Gates

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from edge_runtime.registry.box.report import Held

Mode = Literal["shadow", "canary", "active"]
Approval = Literal["auto", "operator"]
Regression = Literal["rollback", "hold"]
Origin = Literal["rollout", "command", "box"]
ORIGINS: Final[tuple[Origin, ...]] = (
    "rollout",
    "command",
    "box",
)  # the registry; a signed command; somebody at the box

PROBATION_S: Final = 600.0  # when the assignment does not say how long (`bake_s`)


class State(Enum):
    """Where a deployment stands."""

    VETTING = "vetting"  # tried in a process of its own, which may die of it
    WAITING = "waiting"  # for a named condition
    LOADING = "loading"  # the standby engine compiles and warms it
    SHADOW = "shadow"  # judges spare frames after the old model, for comparison only
    CANARY = "canary"  # is about to judge, or judges, one inspection; stays until it may be activated
    ACTIVATING = "activating"  # is about to judge all of them
    PROBATION = "probation"  # judges all; the old model stays loaded
    COMMITTED = "committed"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"

    @property
    def is_over(self) -> bool:
        """Whether nothing comes after it."""
        return self in _ENDS

    @property
    def is_judging(self) -> bool:
        """Whether the candidate may be judging frames: what dies now is counted as its strike."""
        return self in _JUDGING

    @property
    def has_begun(self) -> bool:
        """Whether some process works on the candidate: one that is found so at the start of main was a crash."""
        return not self.is_over and self is not State.WAITING


_JUDGING: Final = frozenset({State.CANARY, State.ACTIVATING, State.PROBATION})
_ENDS: Final = frozenset({State.COMMITTED, State.REJECTED, State.ROLLED_BACK, State.SUPERSEDED})


class Standby(Enum):
    """The engine process of a candidate, as far as the machine was told."""

    NONE = "none"
    LOADING = "loading"
    READY = "ready"


class Links(Enum):
    """What the links of the slot must be once a deployment is stored."""

    TRIAL = "trial"  # trial -> candidate; current -> `Deployment.previous`, if a half-done commit had moved it
    COMMIT = "commit"  # current -> candidate, previous -> what was current, no trial (`Slots.activate`)
    OLD = "old"  # no trial; current as with TRIAL


class Outcome(Enum):
    """What a gate says about the numbers so far."""

    OPEN = "open"  # too few yet
    PASSED = "passed"
    BREACHED = "breached"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says: of shadow, canary or probation.

    Attributes:
        outcome: see `Outcome`.
        frames: how many were counted; 0 = an idle line, which has more time.
        progress: share of what is needed, 0 to 1.
        reason: stable code of a breach, like ``gate.latency``.
        message: the same for people: found against allowed.
        numbers: what was seen, by the name of its gate or figure.
    """

    outcome: Outcome
    frames: int = 0
    progress: float = 0.0
    reason: str | None = None
    message: str | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """How a candidate has to come in: the assignment, made stricter by the configuration of the box.

    Attributes:
        mode: ``shadow`` = compared first; ``canary`` = one inspection first; ``active`` = neither.
        gates: what it must reach.
        window: when it may be switched to, as written; ``None`` = always. The driver tells whether it is open.
        between_lots: whether it may be switched to between lots only.
        approve: ``operator`` = somebody has to agree before it judges.
        bake_s: least length of probation in seconds; 0 = `PROBATION_S`.
        on_regression: ``hold`` = the slot begins nothing more until an operator lifts it.
        seq: of the rollout in force; a quarantine ends with a newer one.
        origin: who wanted it.
        back: it is the release before, to which somebody goes back; what is left is nothing to go back to.
    """

    mode: Mode = "active"
    gates: Gates = field(default_factory=Gates)
    window: str | None = None
    between_lots: bool = False
    approve: Approval = "auto"
    bake_s: float = 0.0
    on_regression: Regression = "rollback"
    seq: int = 0
    origin: Origin = "rollout"
    back: bool = False

    @property
    def probation_s(self) -> float:
        """How long it has to judge well before it is committed."""
        return self.bake_s or PROBATION_S


@dataclass(frozen=True, slots=True)
class Conditions:
    """What may keep a deployment waiting, as it is now. Levels: told whenever one changes; by default the worst.

    Attributes:
        window_open: the maintenance window is open, or there is none.
        between_lots: no lot is running, or nobody says when one is.
        approved: an operator agreed to this very deployment; once is enough, it is remembered.
        held: an operator, the configuration or an earlier regression holds the slot.
        paused: the rollout is paused.
    """

    window_open: bool = False
    between_lots: bool = False
    approved: bool = False
    held: bool = True
    paused: bool = True


@dataclass(frozen=True, slots=True)
class Now:
    """The moment of a step.

    Attributes:
        mono_ns: CLOCK_MONOTONIC; what intervals are measured with.
        utc: for people, whole seconds; may jump.
    """

    mono_ns: int
    utc: datetime


@dataclass(frozen=True, slots=True)
class Deployment:
    """See the module docstring. What is kept on the disk is in the first block, `record` writes it.

    Attributes:
        id: of this deployment, unique; approvals and the audit name it.
        slot, model: as configured.
        candidate: what is deployed.
        previous: what the slot runs meanwhile, and goes back to; ``None`` = what the configuration names.
        policy: how.
        state: see `State`.
        since: when it came into this state, UTC.
        elapsed_s: seconds in this state, by the monotonic clock, until ``at_ns``; while no process runs none pass.
        reason: stable code of an end, or of what it waits for (``wait.window``, ``wait.approval`` ...).
        message: the same for people.
        tries_left: how many strikes it takes until it is given up: `Gates.crashes_max` + 1 at the beginning.
        approved: an operator agreed.
        vetted, shadowed, canaried: what it has passed.
        judged: the candidate may have judged at least one frame.
        inspections: those that the canary judges.
        numbers: evidence of the last gate.
        progress: through the present state, 0 to 1.
        quarantined: it ended so that its digest is not tried again before a newer seq.
        holds: it ended so that the slot is held.
        revision: rises with each `Store`; `Stored` and `StoreRefused` name it.

        at_ns: CLOCK_MONOTONIC of the last step.
        begun: what this state is about has begun: its `Store` was answered, where it has to be.
        frames: counted by the last verdict in this state.
        line: a line runs that can serve it.
        slot_inspections: all inspections of the slot in that line.
        conditions: as last told.
        standby: as last told.
        awaited: revision that the disk has not answered for yet; ``None`` = nothing.
        passed: probation is over, only the links have to move.
        retries: how often the disk refused in a row.
        retry_in_s: seconds until it is asked again; ``None`` = it was not refused.
        unsaved_s: seconds since the last `Store`.
    """

    id: str
    slot: str
    model: str
    candidate: Held
    previous: Held | None
    policy: Policy
    state: State
    since: datetime
    elapsed_s: float = 0.0
    reason: str | None = None
    message: str | None = None
    tries_left: int = 1
    approved: bool = False
    vetted: bool = False
    shadowed: bool = False
    canaried: bool = False
    judged: bool = False
    inspections: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    progress: float = 0.0
    quarantined: bool = False
    holds: bool = False
    revision: int = 0
    # not on the disk
    at_ns: int | None = None
    begun: bool = True
    frames: int = 0
    line: bool = False
    slot_inspections: tuple[str, ...] = ()
    conditions: Conditions = field(default_factory=Conditions)
    standby: Standby = Standby.NONE
    awaited: int | None = None
    passed: bool = False
    retries: int = 0
    retry_in_s: float | None = None
    unsaved_s: float = 0.0

    @property
    def links(self) -> Links:
        """What the links of the slot must be once this is stored."""
        if self.state is State.COMMITTED or self.passed:
            return Links.COMMIT
        return Links.OLD if self.state.is_over else Links.TRIAL

    @property
    def is_done(self) -> bool:
        """Whether it is over and the disk knows."""
        return self.state.is_over and self.awaited is None
