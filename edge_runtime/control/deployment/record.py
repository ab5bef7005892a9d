"""What main keeps about the deployments of a slot: ``slots/SLOT/deployment.json``, ``edge-deployment/1``. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from edge_runtime.control.deployment.deployment import Deployment

SCHEMA: Final = "edge-deployment/1"
FILE: Final = "deployment.json"  # in the directory of the slot
LIMIT_BYTES: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is begun in the slot until somebody lifts it.

    Attributes:
        reason: stable code of the regression, or ``operator``.
        message: why, for people.
        by: who holds it: the name of an operator, or ``box``.
        since: UTC.
    """

    reason: str
    message: str
    by: str
    since: datetime


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """All of the file.

    Attributes:
        deployment: the one under way, or the one that ended last.
        last: the one that ended before it, while ``deployment`` is under way.
        hold: of the slot.
    """

    deployment: Deployment | None = None
    last: Deployment | None = None
    hold: Hold | None = None
