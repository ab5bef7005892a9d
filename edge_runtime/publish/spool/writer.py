"""What the spool's one writer does in each of its rounds, and what it does when the disk refuses."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from edge_runtime.core.errors import BusyError, PermissionDeniedError, StorageError
from edge_runtime.publish.spool.backlog import PREFETCH
from edge_runtime.publish.spool.batch import Answers
from edge_runtime.publish.spool.handout import Handout
from edge_runtime.publish.spool.housekeeping import Housekeeping
from edge_runtime.publish.spool.intake import Intake
from edge_runtime.publish.spool.pace import Pace
from edge_runtime.publish.spool.revival import Revivals
from edge_runtime.publish.spool.syncer import Syncer
from edge_runtime.publish.spool.throttle import Throttle
from edge_runtime.publish.spool.trouble import Trouble
from edge_runtime.system import files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_runtime.core.result import Event, Result
    from edge_runtime.publish.spool.batch import Batch
    from edge_runtime.publish.spool.ledger import Ledger
    from edge_runtime.publish.spool.limits import SpoolLimits
    from edge_runtime.publish.spool.store import Row
    from edge_runtime.system.clock import Clock

_S = 1_000_000_000
_IDLE_S = 0.2  # longest sleep of the writer
OWNED_MAX = 12  # rows that a kill -9 may make come twice
OWNED_MAX_STRICT = 64  # the same where each commit costs a flush of some milliseconds
OWNED_MAX_FLAT_OUT = 4096  # the same while throughput counts for more: no bound in practice
ANSWERS_S = 0.05  # longest time an acknowledgement waits for a transaction to travel with
_TIDY_NS = _S


class Writer:
    """One thread, except ``intake``, ``handout``, ``revivals``, ``closing``, ``drained`` (any), ``syncer`` (its own).

    Attributes:
        held: taken from the queue, not committed yet.
        on_committed: told after each commit, see ``Spool``, as is ``on_lost``.
        on_ready: told when there is something to send.
        closing: no more results will be put; ``drained``: and all of them are on disk.
    """

    def __init__(self, path: Path, ledger: Ledger, clock: Clock, limits: SpoolLimits, *, strict: bool) -> None:
        """Write to ``ledger``, whose file is ``path``."""
        self._ledger = ledger
        self._clock = clock
        self._limits = limits
        self._housekeeping = Housekeeping(ledger, limits, clock)
        self.lock = files.LockFile(path.with_name(path.name + ".lock"))
        self.intake = Intake(clock, limits.queue)
        self._strict = strict
        self._owned_max = OWNED_MAX_STRICT if strict else OWNED_MAX
        self.handout = Handout(Throttle(clock, limits.drain_per_s), owned_max=self._owned_max)
        self.revivals = Revivals()
        self.syncer = Syncer(ledger, sync=not strict)
        self.trouble = Trouble()
        self.on_committed: Callable[[list[tuple[str, int]]], None] | None = None
        self.on_lost: Callable[[list[tuple[str, int]]], None] | None = None
        self.on_ready: Callable[[], None] | None = None
        self.held: list[Result | Event] = []
        self.closing = threading.Event()
        self.drained = threading.Event()
        self.rereads = 0  # how often what waits was left to the disk because the sender asked for it
        self._reread = False
        self._pace = Pace()
        self._flat_out = False  # documents came so fast, and what that left over is not sent yet
        self._hurry = threading.Event()  # the sender waits for its answers to be committed, or soon will
        self._answers = Answers()  # taken from the handout, not committed yet
        self._damages = 0  # how often this file was called damaged while in use
        self._tidied_ns = 0
        self._untidy = False  # the last tidying up left something to do

    def patience(self) -> float:
        """Return how long ``step`` may wait for something to write."""
        busy = (
            self._untidy or self.revivals.waiting or self.handout.wanted() is not None or self._ledger.followers.wanting
        )
        if busy or self.trouble.error is not None or self.closing.is_set():
            return 0.0
        return ANSWERS_S if self.handout.owned else _IDLE_S

    def gather(self) -> None:
        """Let a group of documents gather before the next round, for a few milliseconds."""
        if not self.closing.is_set():
            self._hurry.wait(self._pace.left_s(self._clock.mono_ns(), len(self.intake)))

    def acked(self, rows: Sequence[Row]) -> None:
        """The broker took ``rows``; the sender's thread."""
        if self.handout.acked(rows):
            self._hurry.set()
            self.intake.wake()

    def reread(self) -> None:
        """Have every owed row that the sender does not hold read again; any thread."""
        self._reread = True
        self.intake.wake()

    def step(self, timeout_s: float) -> None:
        """Do one round of the writer: wait for something to write, write it, hand it out, tidy up."""
        self._ledger.followers.complete()
        if self.trouble.error is not None and not self._reopen():
            return
        if self.syncer.sync_failed and not self._checked(self._resync):
            return
        if self._reread:
            self._reread = False
            self._rewind()
            self.rereads += 1
        if not self.held:
            self.held = self.intake.next(timeout_s, ending=self.closing.is_set())
        self._flat_out = self._pace.flat_out or (self._flat_out and self.handout.waiting)
        self.handout.owned_max = OWNED_MAX_FLAT_OUT if self._flat_out else self._owned_max
        self.handout.eager = not self._strict and not self._flat_out  # a transaction of its own has to cost little
        self._hurry.clear()
        acked, refused = self.handout.collect()
        declared = self._ledger.refuse(refused, ending=self.closing.is_set())
        self.held += declared.events  # in the same transaction as the rows they are about
        self._answers = Answers([*self._answers.acked, *acked], [*self._answers.refused, *declared.rows])
        if not self._checked(self._write) or not self._checked(self._serve):
            return
        if self.closing.is_set() and not len(self.intake):
            self.drained.set()

    def _write(self) -> None:
        items, answers = self.held, self._answers
        if not items and not answers.acked and not answers.refused and not self._moved:
            if self.trouble.error is not None:
                self._ledger.probe()
                self.trouble.over()
            return
        self._pace.began(self._clock.mono_ns(), len(items))
        batch = self._ledger.commit(items, answers)
        self.trouble.over()
        self._settle(batch)
        self._offer(batch.rows)

    def _settle(self, batch: Batch) -> None:
        """Everything held is on disk, as ``batch``."""
        answers, self.held, self._answers = self._answers, [], Answers()
        if self.handout.settled([row.id for row in answers.acked] + [row.id for row, _ in answers.refused]):
            self._ready()
        lost = self.intake.told()
        if batch.frames and self.on_committed is not None:
            self.on_committed(batch.frames)
        tell_lost = self.on_lost or self.on_committed
        if lost and tell_lost is not None:
            tell_lost(lost)

    def _serve(self) -> None:
        wanted = self.handout.wanted()
        if wanted is not None:
            self.handout.supply(wanted, self._ledger.read(wanted, PREFETCH), limit=PREFETCH)
            self._ready()
        self._ledger.serve_followers()
        if self.revivals.waiting:
            self.held += self.revivals.work(self._ledger, self.handout, self._clock.utc_ns())
            self._housekeeping.rows_came_back()
            self._ready()
        now_ns = self._clock.mono_ns()
        full = self._ledger.tally.depth_bytes > self._limits.max_bytes
        if self._untidy or full or now_ns - self._tidied_ns >= _TIDY_NS:
            self._tidied_ns = now_ns
            tidied = self._housekeeping.tidy(self.handout)
            self._untidy = tidied.more
            self.held += tidied.told
            self._offer(tidied.rows)

    @property
    def _moved(self) -> bool:
        """Whether a position waits to be written that found no other transaction for a while."""
        due = self.closing.is_set() or self._clock.mono_ns() - self._tidied_ns >= _TIDY_NS
        return due and bool(self._ledger.followers.changes())

    def _offer(self, rows: Sequence[Row]) -> None:
        self.syncer.kick()
        if rows:
            self.handout.offer(rows)
            self._ledger.followers.offer(rows)
            self._ready()

    def _ready(self) -> None:
        if self.on_ready is not None:
            self.on_ready()

    # --- trouble

    def _checked(self, work: Callable[[], None]) -> bool:
        """Do ``work``; when the disk refuses, note it, leave what waits to the disk, and return False."""
        try:
            work()
        except (StorageError, BusyError) as error:
            if error.code == "storage.full" and self._relieved(work):
                return True
            self.trouble.note(error)
            self._rewind()
            return False
        return True

    def _relieved(self, work: Callable[[], None]) -> bool:
        try:
            self._housekeeping.relieve()
            self._rewind()
            work()
        except (StorageError, BusyError):
            return False
        return True

    def _resync(self) -> None:
        self._ledger.checkpoint()
        self.syncer.forgive()

    def _reopen(self) -> bool:
        self._damages += self.trouble.error is not None and self.trouble.error.code == "storage.corrupt"
        try:
            self.lock.acquire()
        except (StorageError, PermissionDeniedError, BusyError) as error:
            self.trouble.note(error)
            return False
        return self.open()

    def open(self) -> bool:
        """Open the file, or open it again after an error; return whether that succeeded."""
        try:
            opened = self._ledger.open(damages=self._damages)
        except (StorageError, PermissionDeniedError, BusyError) as error:
            self.trouble.note(error)
            return False
        if self._damages > 1:
            self._damages = 0  # the file is another one now
        if opened.landed is not None:
            self._settle(opened.landed)
            self._ledger.followers.offer(opened.landed.rows)
        self.held += opened.notices
        self._housekeeping.rows_came_back()
        self._rewind()
        return True

    def _rewind(self) -> None:
        """Leave all that waits to the disk."""
        tally = self._ledger.tally
        self.handout.rewind(self._ledger.last_id, tally.depth, again=tally.again)
