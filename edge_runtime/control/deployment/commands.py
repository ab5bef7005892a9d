"""What the machine of a deployment wants done, in this order. Values only, pure.

Each is harmless when it is done already: a driver may carry one out twice. All but `Store` take effect in the line or
are told to somebody; a `Store` is answered with `Stored` or `StoreRefused`, and what must not happen before it is
durable is commanded only after that answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.control.deployment.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Store:
    """Make the deployment durable, then answer with its revision; from the beginning if it is commanded again.

    In this order: the quarantine, if `Deployment.quarantined` (its manifest under ``policy.seq``); the links as
    `Deployment.links` says, ``trial`` last when it goes; the record, with the hold of the slot if `Deployment.holds`.
    `machine.resume` counts on it: who finds no trial of a deployment that is under way knows that it was over.
    """

    deployment: Deployment


@dataclass(frozen=True, slots=True)
class Vet:
    """Try the candidate in a process of its own (`LineService.vet`); answered with `Vetted`."""


@dataclass(frozen=True, slots=True)
class StandBy:
    """Load the candidate beside (`LineService.stand_by`); answered with `StandbyReady` or `StandbyRefused`."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """Compare the candidate on spare frames, from zero, or stop that (`LineService.shadow`)."""

    on: bool


@dataclass(frozen=True, slots=True)
class SwitchTo:
    """Let the candidate judge (`LineService.switch`), counted from zero; answered with `Switched`.

    Attributes:
        inspections: which; ``None`` = all of the slot.
    """

    inspections: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class SwitchBack:
    """Let the old model judge all again, from the next frame on (`LineService.switch_back`); the standby stays."""


@dataclass(frozen=True, slots=True)
class Dismiss:
    """End the vet and the standby, whichever runs (`LineService.dismiss`)."""


@dataclass(frozen=True, slots=True)
class Settle:
    """The standby is the engine of the slot from now on, the old model is unloaded (`LineService.settle`)."""


@dataclass(frozen=True, slots=True)
class Tell:
    """A change of state, for the audit, as an event and in the document of the slot.

    Attributes:
        kind: ``deployment.STATE``, of the audit record and the event.
        message: one sentence.
        deployment: as it is after the change, for `SlotRecord.with_deployment`: of one that is superseded it is the
            last that is heard, the next `Store` is that of its successor.
    """

    kind: str
    message: str
    deployment: Deployment


InLine = Vet | StandBy | Shadow | SwitchTo | SwitchBack | Dismiss | Settle
Command = Store | Tell | InLine
