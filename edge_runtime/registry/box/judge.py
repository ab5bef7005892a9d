"""Judges what a place of a registry says, and acts upon it: believe, decide, admit, fetch, verify, stage.

What `pull` needs only when something may have changed: its libraries cost more than a look that finds nothing new.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from edge_runtime.registry.box.beliefs import Beliefs
from edge_runtime.registry.box.report import Ban, Standing, Terms
from edge_runtime.registry.box.shelf import held_as, on_disk
from edge_runtime.registry.box.taking import Taking
from edge_runtime.registry.carriers.whole import fetch_from
from edge_runtime.registry.trust.decide import BoxFacts, Keep, Refused, SlotFacts, Take, ban, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.registry.box.memory import Look
    from edge_runtime.registry.box.order import Order, Want
    from edge_runtime.registry.box.report import Held, Report, SlotReport
    from edge_runtime.registry.carriers.carrier import Carrier
    from edge_runtime.registry.carriers.listing import Listing
    from edge_runtime.registry.store.store import ModelStore
    from edge_runtime.registry.trust.decide import Decision
    from edge_runtime.registry.trust.trusted import Trusted
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Stop


class Judge:
    """What `Pull` asks; the lock of the store is held."""

    def __init__(
        self,
        order: Order,
        store: ModelStore,
        clock: Clock,
        stop: Stop,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        """Read what was kept.

        Raises:
            ConfigError, PermissionDeniedError, StorageError: as `Beliefs`.
        """
        self._order = order
        self._store = store
        self._clock = clock
        self._stop = stop
        self._on_progress = on_progress
        self.beliefs = Beliefs(order)

    def believe(self, carrier: Carrier, listing: Listing | None, now: datetime) -> Trusted:
        """Return what is believed of a place; without a ``listing`` it is as before, and what was kept is judged again.

        Raises:
            EdgeError: it is not believed, or cannot be had.
        """
        if listing is not None:
            return self.beliefs.refresh(fetch_from(carrier, listing), now).believed()
        outcome = self.beliefs.again(now)
        # the same listing, but what was kept of it is not whole any more: all of it anew
        if outcome.damaged and (listing := carrier.listing()) is not None:
            outcome = self.beliefs.refresh(fetch_from(carrier, listing), now)
        return outcome.believed()

    def judged(
        self,
        report: Report,
        wants: Sequence[Want],
        trusted: Trusted | None,
        last: Look | None,
        *,
        reachable: bool = True,
    ) -> Report:
        """Return ``report`` with what became of each slot.

        Args:
            report: how the look itself ended.
            wants: the slots.
            trusted: what is believed; ``None`` when nothing is, and then what is here goes on.
            last: the look before.
            reachable: whether anything can be fetched.

        Raises:
            PermissionDeniedError, StorageError: the disk refuses.
        """
        taking = Taking(self._order, self._store, self._stop, self._clock, self._on_progress)
        decisions = {} if trusted is None else {one.slot: self._decision(one, trusted) for one in wants}
        wanted = {one.release.manifest.digest for one in decisions.values() if isinstance(one, Take)}
        before = {one.slot: one for one in last.report.slots} if last is not None else {}
        slots = []
        for want in wants:
            mended = self._mended(want, taking, trusted if reachable else None, wanted)
            slot = replace(on_disk(self._store, want), mended=mended)
            if trusted is not None:
                slot = replace(slot, seq=None if trusted.rollout is None else trusted.rollout.seq)
                slot = self._acted(slot, decisions[want.slot], taking if reachable else None, wanted)
            slots.append(self._banned(slot, trusted, before.get(want.slot)))
        return replace(report, slots=tuple(slots), fetched_bytes=taking.fetched_bytes)

    def _mended(self, want: Want, taking: Taking, trusted: Trusted | None, keep: set[str]) -> bool:
        """Hash what a slot has; tell whether it was damaged, and was fetched anew."""
        digest = self._store.slots.links(want.slot).current
        if digest is None or taking.sound(digest) is not None:
            return False
        return trusted is not None and taking.mend(digest, trusted, want.model, keep)

    def _decision(self, want: Want, trusted: Trusted) -> Decision:
        order = self._order
        box = BoxFacts(order.site, order.line, order.edge, order.labels, frozenset(order.hardware), order.versions)
        slot = SlotFacts(want.slot, want.model, want.channel, frozenset(want.cameras))
        return decide(trusted, box, slot, datetime.fromtimestamp(self._clock.utc_ns() / 1e9, UTC))

    def _acted(self, slot: SlotReport, decision: Decision, taking: Taking | None, wanted: set[str]) -> SlotReport:
        """Return how ``slot`` is after what was decided for it; without ``taking`` nothing can be fetched."""
        if isinstance(decision, Keep):
            return replace(slot, reason=decision.reason, message=decision.message)
        if isinstance(decision, Refused):
            return replace(slot, standing=Standing.REFUSED, reason=decision.error.code, message=str(decision.error))
        one = decision.assignment
        terms = Terms(decision.seq, one.mode, one.window, one.bake_s, dict(one.gates), one.approve, one.on_regression)
        slot = replace(slot, wanted=decision.release.release.release, terms=terms)
        if taking is not None:
            return taking.take(slot, decision, wanted)
        here = held_as(self._store.releases.find(decision.release.manifest.digest))
        if here is None:
            return replace(slot, standing=Standing.RETRY)
        is_current = here == slot.current
        return replace(
            slot, standing=Standing.CURRENT if is_current else Standing.STAGED, staged=None if is_current else here
        )

    def _banned(self, slot: SlotReport, trusted: Trusted | None, before: SlotReport | None) -> SlotReport:
        """Note what of the slot may not run any more; what to do about it is not decided here."""
        rollout = None if trusted is None else trusted.rollout
        # a rollout that is not believed at the moment takes no kill back
        is_believed = trusted is not None and trusted.rollout_problem is None
        known = {} if is_believed or before is None else {one.manifest: one for one in before.banned}
        found = []
        for held in self._in_slot(slot):
            error = ban(self.beliefs.floors, rollout, held.release, slot.model, held.manifest)
            kept = known.get(held.manifest)
            if error is not None:
                found.append(Ban(held.manifest, error.code, error.message))
            elif kept is not None:
                found.append(kept)
        current = slot.current
        revoked = current is not None and any(one.manifest == current.manifest for one in found)
        return replace(slot, revoked=revoked, banned=tuple(found))

    def _in_slot(self, slot: SlotReport) -> list[Held]:
        """Return what the slot has, of its model; what is tried out is in its links only."""
        trial = self._store.slots.links(slot.slot).trial
        tried = None if trial is None else held_as(self._store.releases.find(trial), slot.model)
        found = (slot.current, slot.staged, slot.previous, tried)
        return list({one.manifest: one for one in found if one is not None}.values())
