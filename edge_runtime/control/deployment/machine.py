"""What becomes of a deployment, event by event. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.control.deployment.commands import Command
    from edge_runtime.control.deployment.deployment import Deployment, Now
    from edge_runtime.control.deployment.events import Event

Step = tuple["Deployment | None", tuple["Command", ...]]


def step(deployment: Deployment | None, event: Event, now: Now) -> Step:
    """Return what ``deployment`` is after ``event``, and what has to be done, in this order.

    Args:
        deployment: as the step before returned it; ``None`` = the slot never had one.
        event: what happened.
        now: when.
    """
    raise NotImplementedError


def resume(deployment: Deployment, current: str | None, now: Now) -> Step:
    """Return the deployment that a process finds on the disk when it starts; before the first line is started.

    Args:
        deployment: as `record.parse` returned it.
        current: digest of the manifest that the link ``current`` of the slot names; it settles whether a commit was
            made that the record does not know of.
        now: when.
    """
    raise NotImplementedError
