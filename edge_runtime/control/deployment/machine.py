"""What becomes of a deployment, event by event. Pure; the legal order is in `deployment`.

Rules:

- Nothing works on a candidate, and no frame is judged by it, before the record that says so, with the tries that are
  left, is durable.
- A process that starts and finds a deployment begun counts a strike; so does each loss of the standby. Who runs out of
  tries goes back, whatever the reason.
- The disk never decides over production: before the candidate judges a refusal is waited out, a rollback happens at
  once and is written when the disk lets it, and what has passed probation stays in it until the links have moved.
- Every state has a deadline on the monotonic clock; it stands still while the disk refuses what has to come first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from edge_runtime.control.deployment.deployment import Deployment, State
from edge_runtime.control.deployment.events import Offered
from edge_runtime.control.deployment.turn import Step, Turn

if TYPE_CHECKING:
    from edge_runtime.control.deployment.deployment import Now
    from edge_runtime.control.deployment.events import Event
    from edge_runtime.registry.store.slots import SlotLinks

CRASHES: Final = "deployment.crashes"
_BINDING: Final = frozenset({State.ACTIVATING, State.PROBATION})


def step(deployment: Deployment | None, event: Event, now: Now) -> Step:
    """Return what ``deployment`` is after ``event``, and what has to be done, in this order.

    Args:
        deployment: as the step before returned it; ``None`` = the slot never had one.
        event: what happened.
        now: when.
    """
    if isinstance(event, Offered):
        return _offer(deployment, event, now)
    if deployment is None:
        return None, ()
    turn = Turn(deployment, now)
    turn.take(event)
    turn.tend()
    return turn.result


def resume(deployment: Deployment, links: SlotLinks, now: Now) -> Step:
    """Return the deployment that a process finds on the disk when it starts; before the first line is started.

    If it is over then, a link ``trial`` that is still there is nobody's, and the driver takes it away. If it is not,
    floors and quarantine are asked once more (`Banned`).

    Args:
        deployment: as `record.parse` returned it.
        links: of the slot; they settle what the record may not know: a commit that was made, an end that was decided.
        now: when.
    """
    judged = deployment.judged or deployment.state.is_judging
    turn = Turn(replace(deployment, at_ns=None, judged=judged), now)
    if deployment.state.is_over or turn.is_settled_by(links.current):
        return turn.result
    if links.trial != deployment.candidate.manifest:
        turn.fail("deployment.ended", "it was ended before, and that was not written to its end", quarantine=False)
    elif deployment.state.has_begun:
        turn.strike(CRASHES, f"the daemon died while it was {deployment.state.value}")
    return turn.result


def _offer(deployment: Deployment | None, offer: Offered, now: Now) -> Step:
    if offer.previous is not None and offer.candidate.manifest == offer.previous.manifest:
        return deployment, ()
    if deployment is None:
        return _begin(offer, now).result
    if _is_refused(deployment, offer):
        return deployment, ()
    if deployment.state.is_over:
        return _begin(offer, now, deployment.revision).result
    turn = Turn(deployment, now)
    if deployment.candidate.manifest == offer.candidate.manifest:
        turn.adopt(offer)
        turn.tend()
        return turn.result
    turn.supersede(f"release {offer.candidate.release} is wanted instead")
    begun = _begin(offer, now, deployment.revision)
    return begun.now_is, (*turn.result[1], *begun.result[1])


def _is_refused(deployment: Deployment, offer: Offered) -> bool:
    """Whether nothing comes of an offer, see `Offered`."""
    old = offer.policy.origin == "rollout" and offer.policy.seq <= deployment.policy.seq
    same = deployment.candidate.manifest == offer.candidate.manifest
    if deployment.state.is_over:
        return not deployment.is_done or (old and same and deployment.quarantined)
    if old and deployment.policy.origin != "rollout":
        return True
    return not same and deployment.begun and deployment.state in _BINDING


def _begin(offer: Offered, now: Now, revision: int = 0) -> Turn:
    turn = Turn(
        Deployment(
            id=offer.id,
            slot=offer.slot,
            model=offer.model,
            candidate=offer.candidate,
            previous=offer.previous,
            policy=offer.policy,
            state=State.WAITING,
            begun=False,
            since=now.utc,
            tries_left=offer.policy.gates.crashes_max + 1,
            revision=revision,
            line=offer.line,
            slot_inspections=offer.inspections,
            conditions=offer.conditions,
            approved=offer.conditions.approved,
        ),
        now,
    )
    turn.onward()
    return turn
