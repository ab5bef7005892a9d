"""One look at the registry, whole: check, believe, decide, admit, fetch, verify, stage.

    CHECK    which listing there is; unchanged means that what was kept is judged once more
    RESOLVE  what of it is believed (`trust.refresh`), and which release each slot should have (`trust.decide`)
    ADMIT    not one that failed here before, and there is room for it
    FETCH    manifest and blobs, into the store
    VERIFY   the manifest and what is in the package are what was signed for
    STAGE    a directory that the engine can load; the first release of a slot becomes its current one

What becomes of a slot is a value (`report`); one slot that fails does not keep the others. The process may be killed
between any two steps: what is not finished is done again by the next look.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import (
    ConfigError,
    EdgeError,
    PermissionDeniedError,
    StorageError,
    UnavailableError,
)
from edge_runtime.registry.box.beliefs import Beliefs
from edge_runtime.registry.box.memory import Look, recall, remember
from edge_runtime.registry.box.report import Contact, Report, SlotReport, Standing
from edge_runtime.registry.box.shelf import on_disk
from edge_runtime.registry.box.sources import fetch_from, openers
from edge_runtime.registry.box.taking import Taking
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.registry.trust.decide import BoxFacts, Keep, Refused, SlotFacts, Take, ban, decide
from edge_runtime.registry.trust.refusals import ExpiredError
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from edge_runtime.registry.box.order import Order, Want
    from edge_runtime.registry.trust.decide import Decision
    from edge_runtime.registry.trust.trusted import Trusted
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

AGAIN_S: Final = 900
"""What was found unchanged for so long is judged anew all the same: the disk is hashed, the time floor raised."""


class Pull:
    """See the module docstring. One thread; one `run` at a time among all processes of a box."""

    def __init__(
        self,
        order: Order,
        *,
        stop: Stop | None = None,
        clock: Clock | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Touch nothing yet.

        Args:
            order: what to look for, and where.
            stop: ends it at the next chunk.
            clock: whose UTC expiry is judged by.
            on_progress: gets the bytes of a release that are there, and those there will be.
        """
        self._order = order
        self._stop = stop or Stop()
        self._clock = clock or SystemClock()
        self._on_progress = on_progress
        self._store = ModelStore(order.root)

    def run(self, slots: Collection[str] | None = None, *, fresh: bool = False) -> Report:
        """Look once, for all slots or some, and return what became of it.

        Args:
            slots: their names.
            fresh: judge everything, also when nothing changed since the last look.

        Raises:
            BusyError: another process is at it.
            ConfigError: the root of trust or an address cannot be used.
            PermissionDeniedError, StorageError: the disk refuses.
        """
        wants = [one for one in self._order.wants if slots is None or one.slot in slots]
        with self._store.updating():
            last = recall(self._order.root)
            if last is not None and (fresh or slots is not None or not self._may_skip(last, wants)):
                last = replace(last, order="")
            return self._look(wants, last)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.utc_ns() / 1e9, UTC)

    def _may_skip(self, last: Look, wants: list[Want]) -> bool:
        """Tell whether a listing that is the same would lead to the same report."""
        now = self._now()
        on_box = [on_disk(self._store, one) for one in wants]
        return (
            last.token is not None
            and last.report.is_settled
            and last.order == self._order.fingerprint
            and last.at <= now < min(last.until, last.at + timedelta(seconds=AGAIN_S))
            and [(one.current, one.previous) for one in on_box]
            == [(one.current, one.previous) for one in last.report.slots]
            and all(one.staged is None or self._store.releases.find(one.staged.manifest) for one in last.report.slots)
        )

    def _look(self, wants: list[Want], last: Look | None) -> Report:
        known = None if last is None else last.token
        beliefs: Beliefs | None = None
        first: EdgeError | None = None  # what the registry itself, not a mirror, has to be told about
        for opener in openers(self._order):
            try:
                with closing(opener()) as carrier:
                    listing = carrier.listing(known)
                    if listing is None and last is not None and last.order:
                        return last.report.repeated()
                    beliefs = beliefs or self._begin()
                    now = self._now()
                    outcome = (
                        beliefs.again(now) if listing is None else beliefs.refresh(fetch_from(carrier, listing), now)
                    )
                    # the same listing, but what was kept of it is not whole any more: all of it anew
                    if listing is None and outcome.damaged and (listing := carrier.listing()) is not None:
                        outcome = beliefs.refresh(fetch_from(carrier, listing), now)
                    trusted = outcome.believed()
            except (ConfigError, StorageError):
                raise
            except EdgeError as error:
                logger.warning("registry: %s", error)
                first = first or error
                known = None  # another place is asked for all of it
                continue
            token = known if listing is None else listing.token
            report = self._report(Report(Contact.OK), wants, beliefs, trusted, last)
            if {one.slot for one in wants} == {one.slot for one in self._order.wants}:
                until = min([trusted.expires, *([trusted.rollout.expires] if trusted.rollout else [])])
                remember(self._order.root, Look(token, self._order.fingerprint, now, until, report))
            return report
        return self._without(first, wants, beliefs or self._begin(), last)

    def _begin(self) -> Beliefs:
        """Read what was kept, after tidying up what a process before us was killed over."""
        self._store.prepare()
        return Beliefs(self._order)

    def _without(self, error: EdgeError | None, wants: list[Want], beliefs: Beliefs, last: Look | None) -> Report:
        """Say how things are when no place could be asked, or none is believed: what is here goes on."""
        outcome = beliefs.again(self._now())
        stale = outcome.refusal if isinstance(outcome.refusal, ExpiredError) else None
        told = stale if stale is not None and isinstance(error, UnavailableError) else error
        report = Report(_contact(told), None if told is None else told.code, None if told is None else str(told))
        return self._report(report, wants, beliefs, outcome.trusted, last, reachable=False)

    def _report(
        self,
        report: Report,
        wants: list[Want],
        beliefs: Beliefs,
        trusted: Trusted | None,
        last: Look | None,
        *,
        reachable: bool = True,
    ) -> Report:
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
            slots.append(self._banned(slot, beliefs, trusted, before.get(want.slot)))
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
        return decide(trusted, box, slot, self._now())

    def _acted(self, slot: SlotReport, decision: Decision, taking: Taking | None, wanted: set[str]) -> SlotReport:
        """Return how ``slot`` is after what was decided for it; without ``taking`` nothing can be fetched."""
        if isinstance(decision, Keep):
            return replace(slot, reason=decision.reason)
        if isinstance(decision, Refused):
            return replace(slot, standing=Standing.REFUSED, reason=decision.error.code, message=str(decision.error))
        slot = replace(slot, wanted=decision.release.release.release)
        if taking is not None:
            return taking.take(slot, decision, wanted)
        is_here = slot.current is not None and slot.current.manifest == decision.release.manifest.digest
        return replace(slot, standing=Standing.CURRENT if is_here else Standing.RETRY)

    def _banned(
        self, slot: SlotReport, beliefs: Beliefs, trusted: Trusted | None, before: SlotReport | None
    ) -> SlotReport:
        """Note when what is current may not run any more; what to do about it is not decided here."""
        held = slot.current
        if held is None:
            return slot
        rollout = None if trusted is None else trusted.rollout
        revoked = ban(beliefs.floors, rollout, held.release, slot.model, held.manifest) is not None
        # a rollout that is not believed at the moment takes no kill back
        kept = trusted is None and before is not None and before.revoked and before.current == held
        return replace(slot, revoked=revoked or kept)


def _contact(error: EdgeError | None) -> Contact:
    if isinstance(error, ExpiredError):
        return Contact.FROZEN
    if isinstance(error, UnavailableError):
        return Contact.UNREACHABLE
    if isinstance(error, PermissionDeniedError):
        return Contact.DENIED
    return Contact.REFUSED
