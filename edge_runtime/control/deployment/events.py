"""What the machine of a deployment is told. Values only, pure.

Who tells: the driver (`app.deployments`), from the line, the disk, the looks at the registry, and the desk. An event
that has no meaning in the present state changes nothing, so none has to be held back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.control.deployment.deployment import Conditions, Policy, Verdict
    from edge_runtime.registry.box.report import Held


@dataclass(frozen=True, slots=True)
class Offered:
    """This release is wanted in the slot and on the box.

    A level: told again whenever somebody looked, and after an end.
    Begins a deployment; supersedes one that is not activating yet; with the candidate that is being deployed already
    its policy takes effect. Nothing comes of it when it is what runs, when the slot is activating another one or the
    disk does not know the last end yet, and when a rollout offers what failed, or other than what somebody commanded,
    under the same seq.

    Attributes:
        id: for the deployment, if one begins.
        slot, model: as configured.
        candidate: which release.
        previous: what the slot runs now; ``None`` = what the configuration names.
        policy: how.
        inspections: all of the slot, in their order; empty = there is no line at the moment.
        line: whether a line runs that can serve it.
        conditions: as they are now.
    """

    id: str
    slot: str
    model: str
    candidate: Held
    previous: Held | None
    policy: Policy
    inspections: tuple[str, ...]
    line: bool
    conditions: Conditions


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """It is not wanted any more: nobody rolls it out, somebody said so, or its slot is gone. Goes back if it judges.

    Attributes:
        reason: stable code, like ``rollout.withdrawn`` or ``operator.rollback``.
        message: the same for people.
        quarantine: whether it must not come back before a newer seq; an operator's rollback means that.
    """

    reason: str
    message: str
    quarantine: bool = False


@dataclass(frozen=True, slots=True)
class Banned:
    """It must not run: revoked, below the floor, or killed. Ends at once whatever the state."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ConditionsChanged:
    """How the conditions are now."""

    conditions: Conditions


@dataclass(frozen=True, slots=True)
class LineStarted:
    """A line runs that serves the slot; no standby is loaded, nothing is vetted.

    Attributes:
        inspections: all of the slot, in their order.
        current: digest of the manifest of the release it judges with, ``None`` = of none.
    """

    inspections: tuple[str, ...]
    current: str | None


@dataclass(frozen=True, slots=True)
class LineEnded:
    """The line has ended (reload, stop, failure): with it a vet, a standby, and whatever the candidate judged."""


@dataclass(frozen=True, slots=True)
class Vetted:
    """The vet is over; ``reason`` is the stable code of its refusal, ``None`` = it passed."""

    reason: str | None = None
    message: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StandbyReady:
    """The standby has loaded and warmed the candidate."""


@dataclass(frozen=True, slots=True)
class StandbyRefused:
    """The standby cannot load the candidate, and trying again would not help."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StandbyLost:
    """The process of the standby died or hung, and the line judges with the old model."""

    message: str


@dataclass(frozen=True, slots=True)
class Switched:
    """From a frame on the candidate judges ``inspections`` (or, ``to_standby`` false, the old model all again)."""

    to_standby: bool
    inspections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """What shadow says so far."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gates say about the candidate since it judges in this state: canary or probation, whichever it is."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Stored:
    """Record and links of this revision are durable."""

    revision: int


@dataclass(frozen=True, slots=True)
class StoreRefused:
    """The disk refused record or links of this revision; they are as before, or as after one of the steps."""

    revision: int
    message: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; told about once a second."""


Event = (
    Offered
    | Withdrawn
    | Banned
    | ConditionsChanged
    | LineStarted
    | LineEnded
    | Vetted
    | StandbyReady
    | StandbyRefused
    | StandbyLost
    | Switched
    | Compared
    | Judged
    | Stored
    | StoreRefused
    | Tick
)
