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
from edge_runtime.registry.box.memory import Look, recall, remember
from edge_runtime.registry.box.report import Contact, Report
from edge_runtime.registry.box.shelf import on_disk
from edge_runtime.registry.box.sources import openers
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.registry.trust.refusals import ExpiredError
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from edge_runtime.registry.box.judge import Judge
    from edge_runtime.registry.box.order import Order, Want
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
        judge: Judge | None = None
        first: EdgeError | None = None  # what the registry itself, not a mirror, has to be told about
        for opener in openers(self._order):
            try:
                with closing(opener()) as carrier:
                    listing = carrier.listing(known)
                    if listing is None and last is not None and last.order:
                        return last.report.repeated()
                    judge = judge or self._begin()
                    now = self._now()
                    trusted = judge.believe(carrier, listing, now)
            except (ConfigError, StorageError):
                raise
            except EdgeError as error:
                logger.warning("registry: %s", error)
                first = first or error
                known = None  # another place is asked for all of it
                continue
            token = known if listing is None else listing.token
            report = judge.judged(Report(Contact.OK), wants, trusted, last)
            if {one.slot for one in wants} == {one.slot for one in self._order.wants}:
                until = min([trusted.expires, *([trusted.rollout.expires] if trusted.rollout else [])])
                remember(self._order.root, Look(token, self._order.fingerprint, now, until, report))
            return report
        return self._without(first, wants, judge or self._begin(), last)

    def _begin(self) -> Judge:
        """Read what was kept, after tidying up what a process before us was killed over."""
        from edge_runtime.registry.box.judge import Judge  # noqa: PLC0415 - its libraries cost more than most looks

        self._store.prepare()
        return Judge(self._order, self._store, self._clock, self._stop, self._on_progress)

    def _without(self, error: EdgeError | None, wants: list[Want], judge: Judge, last: Look | None) -> Report:
        """Say how things are when no place could be asked, or none is believed: what is here goes on."""
        outcome = judge.beliefs.again(self._now())
        stale = outcome.refusal if isinstance(outcome.refusal, ExpiredError) else None
        told = stale if stale is not None and isinstance(error, UnavailableError) else error
        report = Report(_contact(told), None if told is None else told.code, None if told is None else str(told))
        return judge.judged(report, wants, outcome.trusted, last, reachable=False)


def _contact(error: EdgeError | None) -> Contact:
    if isinstance(error, ExpiredError):
        return Contact.FROZEN
    if isinstance(error, UnavailableError):
        return Contact.UNREACHABLE
    if isinstance(error, PermissionDeniedError):
        return Contact.DENIED
    return Contact.REFUSED
