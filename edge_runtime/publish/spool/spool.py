"""Durable store-and-forward between results and the broker.

    line thread --put--> queue --writer--> SQLite --take--> sender --broker--> acked | refused --writer--> SQLite

A document is committed before the sender sees it and stays owed until the broker took it. ``put`` never blocks and
never fails: what cannot be queued is counted and published as an event. When the disk refuses, nothing is handed out,
what was put waits in the queue, and the spool tries again by itself.

Legal order: ``open`` -> ``run`` in its thread, ``put`` and the sender's methods from others -> ``finish`` (no more
results) -> stop.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from edge_runtime.core.errors import BusyError, DataError, PermissionDeniedError, StorageError
from edge_runtime.publish import payload
from edge_runtime.publish.spool.backlog import PREFETCH
from edge_runtime.publish.spool.batch import Answers
from edge_runtime.publish.spool.handout import Handout
from edge_runtime.publish.spool.housekeeping import Housekeeping
from edge_runtime.publish.spool.intake import Intake
from edge_runtime.publish.spool.ledger import Ledger
from edge_runtime.publish.spool.limits import Durability, SpoolLimits, SpoolStats
from edge_runtime.publish.spool.pace import Pace
from edge_runtime.publish.spool.revival import Replay, Requeue, Revivals
from edge_runtime.publish.spool.syncer import Syncer
from edge_runtime.publish.spool.throttle import Throttle
from edge_runtime.publish.spool.trouble import Trouble
from edge_runtime.system import files
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_runtime.core.result import Event, Result
    from edge_runtime.publish.spool.batch import Batch
    from edge_runtime.publish.spool.follower import Follower
    from edge_runtime.publish.spool.revival import Revived
    from edge_runtime.publish.spool.store import Row
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

_S = 1_000_000_000
_IDLE_S = 0.2  # longest sleep of the writer
_ANSWERS_S = 0.05  # longest time an acknowledgement waits for a transaction to travel with
_TIDY_NS = _S
_PUTS_UNTIL_S = 1.5  # of the time that a stop leaves: puts are taken until then
_END_S = 0.5  # what the end itself needs: the flusher's last sync and closing the file


class Spool:
    """See the module docstring. A Service; the sender's methods are ``take``, ``acked``, ``refused``, ``release``."""

    name = "publish/spool"

    def __init__(
        self,
        path: Path,
        identity: payload.Identity,
        boot_id: str,
        clock: Clock,
        *,
        limits: SpoolLimits | None = None,
        durability: Durability = Durability.GROUP,
        kernel_boot: str | None = None,
        on_committed: Callable[[list[tuple[str, int]]], None] | None = None,
    ) -> None:
        """Use the SQLite file ``path`` in an existing directory; nothing is touched before ``open``.

        ``kernel_boot`` tells this boot of the kernel from others, so that a power cut is known (see ``floor``).
        ``on_committed`` is called by the writer's thread after each commit with (inspection, frame id) of its results;
        it must be quick and must not raise.
        """
        self._limits = limits or SpoolLimits()
        self._clock = clock
        self._strict = durability is Durability.STRICT
        self._ledger = Ledger(path, identity, boot_id, clock, strict=self._strict, kernel_boot=kernel_boot)
        self._housekeeping = Housekeeping(self._ledger, self._limits, clock)
        self._lock = files.LockFile(path.with_name(path.name + ".lock"))
        self._intake = Intake(clock, self._limits.queue)
        self._handout = Handout(Throttle(clock, self._limits.drain_per_s))
        self._on_committed = on_committed
        self._on_ready: Callable[[], None] | None = None
        self._syncer = Syncer(self._ledger, sync=not self._strict)
        self._held: list[Result | Event] = []  # taken from the queue, not committed yet
        self._answers = Answers()  # the same for answers
        self._revivals = Revivals()
        self._trouble = Trouble()
        self._damages = 0  # how often this file was called damaged while in use
        self._asked = False
        self._tidied_ns = 0
        self._pace = Pace()
        self._untidy = False  # the last tidying up left something to do
        self._closing = threading.Event()
        self._drained = threading.Event()

    # --- lifecycle

    def open(self) -> None:
        """Open the file, so that ``last_committed`` answers; a disk that refuses only makes the spool ``degraded``.

        Raises:
            BusyError: another process uses this spool.
        """
        self._asked = True
        try:
            self._lock.acquire()
        except (StorageError, PermissionDeniedError) as error:
            self._trouble.note(error)
            return
        self._open()

    def run(self, stop: Stop) -> None:
        """Write until ``stop``, then commit what was put while the stop leaves time, and close the file.

        Raises:
            BusyError: ``open`` was not called and another process uses this spool.
        """
        if not self._asked:
            self.open()
        try:
            with ServiceGroup(join_timeout_s=1.0) as inner:
                inner.start(self._syncer)
                self._work(stop, inner.stop)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file and give the lock back; idempotent. For a spool that was opened and never run."""
        self._intake.close()
        self._revivals.close()
        self._drained.set()
        self._held += self._intake.rest()
        left = len(self._held) + self._intake.losses.untold
        if left:
            logger.error("spool ends with %d documents that never reached the disk", left)
        if not self._syncer.sync_failed:  # otherwise a sync that succeeds proves nothing
            self._ledger.settle()
        self._ledger.close()
        self._lock.release()

    def finish(self) -> None:
        """Promise that no more results will be put; the writer ends as soon as everything is on disk and answered.

        What comes all the same until then, such as the refusal of a command, is still taken.
        """
        self._closing.set()
        self._intake.wake()

    # --- the line's side; any thread

    def put(self, item: Result | Event) -> None:
        """Queue ``item`` for the next transaction; never blocks. A full queue loses it: counted and published."""
        self._intake.put(item)

    def last_committed(self, inspection: str) -> tuple[int, int] | None:
        """Return (seq, frame id) of the newest committed result of ``inspection``, also of earlier runs."""
        state = self._ledger.state(payload.result_topic(inspection))
        return None if state is None or state.frame_id is None else (state.seq, state.frame_id)

    def stats(self) -> SpoolStats:
        """Return figures of this moment; they are read without stopping the writer."""
        tally = self._ledger.tally
        trouble = self._trouble.error or self._syncer.trouble
        oldest = tally.oldest_utc_ns
        age_ns = 0 if oldest is None or tally.depth == 0 else max(0, self._ledger.utc_now_ns() - oldest)
        return SpoolStats(
            depth=tally.depth,
            bytes=tally.depth_bytes,
            oldest_age_s=age_ns / _S,
            queued=len(self._intake) + len(self._held),
            committed=tally.committed,
            acked=tally.acked,
            refused=tally.refused,
            evicted=tally.evicted,
            lost=self._intake.losses.total + tally.unencodable,
            dead=tally.dead,
            kept_bytes=tally.kept_bytes,
            state="ok" if trouble is None else "degraded",
            reason=None if trouble is None else trouble.code,
            detail=None if trouble is None else str(trouble),
        )

    def follow(self, name: str) -> Follower:
        """Return a second reader of the results, whose position is kept under ``name``; before ``run``.

        Positions of names that nobody follows in this run are given up.

        Raises:
            InvariantError: the spool runs already, or somebody follows with that name.
        """
        return self._ledger.followers.follow(name, self._intake.wake)

    def replay(self, stream: str, from_seq: int, to_seq: int, done: Callable[[Revived], None]) -> None:
        """Make kept rows of ``stream`` (``result/top``) owed again; they come after live data, ``historical``.

        ``done`` is called by the writer's thread with what will come and what is not there any more; it must be quick
        and must not raise. Numbers above the newest one of the stream are not used yet and left out.

        Raises:
            DataError: no such stream, from above to, or too many numbers.
            BusyError: too many wait already.
        """
        state = self._ledger.state(stream)
        if state is None:
            code, msg = "replay.stream", f"nothing was ever sent on {stream}"
            raise DataError(code, msg, help="name an inspection that has results")
        Replay(stream, from_seq, to_seq, done)  # refuses nonsense as it was asked for
        self._revivals.ask(Replay(stream, from_seq, max(from_seq, min(to_seq, state.seq)), done))
        self._intake.wake()

    def requeue(self, stream: str | None, reason: str | None, done: Callable[[Revived], None]) -> None:
        """Make dead letters owed again, of one stream and one reason if given; ``done`` as for ``replay``.

        Raises:
            BusyError: too many wait already.
        """
        self._revivals.ask(Requeue(stream, reason, done))
        self._intake.wake()

    # --- the sender's side; one thread

    def set_listener(self, on_ready: Callable[[], None] | None) -> None:
        """Have ``on_ready`` called by the writer when there is something to take; ``None``: the sender has gone."""
        self._on_ready = on_ready

    def take(self, limit: int) -> list[Row]:
        """Return up to ``limit`` rows to send, in order; the sender answers each with ``acked`` or ``refused``."""
        rows = self._handout.take(limit)
        if self._handout.wanted() is not None:
            self._intake.wake()
        return rows

    def take_newest(self) -> dict[str, Row]:
        """Return the newest committed row per stream since the last call."""
        return self._handout.take_newest()

    def acked(self, rows: Sequence[Row]) -> None:
        """The broker took ``rows``."""
        self._handout.acked(rows)

    def refused(self, row: Row, reason: str) -> None:
        """The broker will never take ``row``: it becomes a dead letter."""
        self._handout.refused(row, reason)

    def release(self, rows: Sequence[Row]) -> None:
        """The sender ends without an answer for ``rows``; the next run sends them again."""
        self._handout.release(rows)

    def is_historical(self, row: Row, after_s: float) -> bool:
        """Tell whether ``row`` is older than ``after_s``, of an earlier run, or owed once more."""
        if row.again or row.id <= self._ledger.carried_through:
            return True
        return self._clock.mono_ns() - row.mono_ns > after_s * _S

    @property
    def drained(self) -> bool:
        """Whether ``finish`` was called and everything put is on disk."""
        return self._drained.is_set()

    @property
    def waiting(self) -> bool:
        """Whether there is anything to take."""
        return self._handout.waiting

    # --- the writer

    def _work(self, stop: Stop, failed: Stop) -> None:
        while not failed.is_set():
            self._closing.wait(self._pace.left_s(self._clock.mono_ns(), len(self._intake)))
            self.step(self._patience())
            if stop.is_set():
                if stop.left_s < _PUTS_UNTIL_S:
                    self.finish()
                if stop.left_s < _END_S or self._done():
                    self._intake.close()
                    self.step(0.0)  # what came since the last one
                    return
            if self._trouble.error is not None:
                self._rest(stop, failed)
            elif self._drained.is_set():
                failed.wait(_ANSWERS_S)  # there is no patience any more

    def _done(self) -> bool:
        """Tell whether all is on disk: what was put, what was lost, and, when the sender has gone, what it answered."""
        sending = self._on_ready is not None or self._handout.owned
        return self._drained.is_set() and not sending and not self._intake.losses.untold

    def _rest(self, stop: Stop, failed: Stop) -> None:
        """Leave the disk alone for a pause, but not when there is no time left for one."""
        until_ns = self._clock.mono_ns() + round(self._trouble.pause_s * _S)
        while not failed.wait(_ANSWERS_S) and not stop.is_set() and self._clock.mono_ns() < until_ns:
            continue

    def _patience(self) -> float:
        busy = (
            self._untidy
            or self._revivals.waiting
            or self._handout.wanted() is not None
            or self._ledger.followers.wanting
        )
        if busy or self._trouble.error is not None or self._closing.is_set():
            return 0.0
        return _ANSWERS_S if self._handout.owned else _IDLE_S

    def step(self, timeout_s: float) -> None:
        """Do one round of the writer: wait for something to write, write it, hand it out, tidy up."""
        self._ledger.followers.complete()
        if self._trouble.error is not None and not self._reopen():
            return
        if self._syncer.sync_failed and not self._checked(self._resync):
            return
        if not self._held:
            self._held = self._intake.next(timeout_s, ending=self._closing.is_set())
        acked, refused = self._handout.collect()
        declared = self._ledger.refuse(refused, ending=self._closing.is_set())
        self._held += declared.events  # in the same transaction as the rows they are about
        self._answers = Answers([*self._answers.acked, *acked], [*self._answers.refused, *declared.rows])
        if not self._checked(self._write) or not self._checked(self._serve):
            return
        if self._closing.is_set() and not len(self._intake):
            self._drained.set()

    def _write(self) -> None:
        items, answers = self._held, self._answers
        if not items and not answers.acked and not answers.refused and not self._moved:
            if self._trouble.error is not None:
                self._ledger.probe()
                self._trouble.over()
            return
        self._pace.began(self._clock.mono_ns())
        batch = self._ledger.commit(items, answers)
        self._trouble.over()
        self._settle(batch)
        self._offer(batch.rows)

    def _settle(self, batch: Batch) -> None:
        """Everything held is on disk, as ``batch``."""
        answers, self._held, self._answers = self._answers, [], Answers()
        self._handout.settled([row.id for row in answers.acked] + [row.id for row, _ in answers.refused])
        if batch.frames and self._on_committed is not None:
            self._on_committed(batch.frames)

    def _serve(self) -> None:
        wanted = self._handout.wanted()
        if wanted is not None:
            self._handout.supply(wanted, self._ledger.read(wanted, PREFETCH), limit=PREFETCH)
            self._ready()
        self._ledger.serve_followers()
        if self._revivals.waiting:
            self._held += self._revivals.work(self._ledger, self._handout, self._clock.utc_ns())
            self._housekeeping.rows_came_back()
            self._ready()
        now_ns = self._clock.mono_ns()
        full = self._ledger.tally.depth_bytes > self._limits.max_bytes
        if self._untidy or full or now_ns - self._tidied_ns >= _TIDY_NS:
            self._tidied_ns = now_ns
            tidied = self._housekeeping.tidy(self._handout)
            self._untidy = tidied.more
            self._held += tidied.told
            self._offer(tidied.rows)

    @property
    def _moved(self) -> bool:
        """Whether a position waits to be written that found no other transaction for a while."""
        due = self._closing.is_set() or self._clock.mono_ns() - self._tidied_ns >= _TIDY_NS
        return due and bool(self._ledger.followers.changes())

    def _offer(self, rows: Sequence[Row]) -> None:
        self._syncer.kick()
        if rows:
            self._handout.offer(rows)
            self._ledger.followers.offer(rows)
            self._ready()

    def _ready(self) -> None:
        if self._on_ready is not None:
            self._on_ready()

    # --- trouble

    def _checked(self, work: Callable[[], None]) -> bool:
        """Do ``work``; when the disk refuses, note it, leave what waits to the disk, and return False."""
        try:
            work()
        except (StorageError, BusyError) as error:
            if error.code == "storage.full" and self._relieved(work):
                return True
            self._trouble.note(error)
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
        self._syncer.forgive()

    def _reopen(self) -> bool:
        self._damages += self._trouble.error is not None and self._trouble.error.code == "storage.corrupt"
        try:
            self._lock.acquire()
        except (StorageError, PermissionDeniedError, BusyError) as error:
            self._trouble.note(error)
            return False
        return self._open()

    def _open(self) -> bool:
        try:
            opened = self._ledger.open(damages=self._damages)
        except (StorageError, PermissionDeniedError, BusyError) as error:
            self._trouble.note(error)
            return False
        if self._damages > 1:
            self._damages = 0  # the file is another one now
        if opened.landed is not None:
            self._settle(opened.landed)
            self._ledger.followers.offer(opened.landed.rows)
        self._held += opened.notices
        self._housekeeping.rows_came_back()
        self._rewind()
        return True

    def _rewind(self) -> None:
        """Leave all that waits to the disk."""
        tally = self._ledger.tally
        self._handout.rewind(self._ledger.last_id, tally.depth, again=tally.again)
