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
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.publish import payload
from edge_runtime.publish.spool.ledger import Ledger
from edge_runtime.publish.spool.limits import Durability, SpoolLimits, SpoolStats
from edge_runtime.publish.spool.revival import Replay, Requeue
from edge_runtime.publish.spool.writer import ANSWERS_S, Writer
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_runtime.core.result import Event, Result
    from edge_runtime.publish.spool.follower import Follower
    from edge_runtime.publish.spool.revival import Revived
    from edge_runtime.publish.spool.store import Row
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

_S = 1_000_000_000
_PUTS_UNTIL_S = 1.5  # of the time that a stop leaves: puts are taken until then
_END_S = 0.5  # what the end itself needs: the flusher's last sync and closing the file


class Spool:
    """See the module docstring. A Service; the sender's methods are ``take``, ``acked``, ``refused``, ``release``."""

    name = "publish/spool"

    def __init__(  # noqa: PLR0913 - its parts, each with a name
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
        on_lost: Callable[[list[tuple[str, int]]], None] | None = None,
    ) -> None:
        """Use the SQLite file ``path`` in an existing directory; nothing is touched before ``open``.

        ``kernel_boot`` tells this boot of the kernel from others, so that a power cut is known (see ``floor``).
        ``on_committed`` is called by the writer's thread after each commit with (inspection, frame id) of its results;
        it must be quick and must not raise. ``on_lost`` is told those that found the queue full, once the event that
        says so is committed; without it they are told to ``on_committed``, because their fate is durable, too.
        """
        self._clock = clock
        strict = durability is Durability.STRICT
        self._ledger = Ledger(path, identity, boot_id, clock, strict=strict, kernel_boot=kernel_boot)
        self._writer = Writer(path, self._ledger, clock, limits or SpoolLimits(), strict=strict)
        self._writer.on_committed, self._writer.on_lost = on_committed, on_lost
        self._asked = False

    # --- lifecycle

    def open(self) -> None:
        """Open the file, so that ``last_committed`` answers; a disk that refuses only makes the spool ``degraded``.

        Raises:
            BusyError: another process uses this spool.
        """
        self._asked = True
        try:
            self._writer.lock.acquire()
        except (StorageError, PermissionDeniedError) as error:
            self._writer.trouble.note(error)
            return
        self._writer.open()

    def run(self, stop: Stop) -> None:
        """Write until ``stop``, then commit what was put while the stop leaves time, and close the file.

        Raises:
            BusyError: ``open`` was not called and another process uses this spool.
        """
        if not self._asked:
            self.open()
        try:
            with ServiceGroup(join_timeout_s=1.0) as inner:
                inner.start(self._writer.syncer)
                self._work(stop, inner.stop)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file and give the lock back; idempotent. For a spool that was opened and never run."""
        self._writer.intake.close()
        self._writer.revivals.close()
        self._writer.drained.set()
        self._writer.held += self._writer.intake.rest()
        left = len(self._writer.held) + self._writer.intake.losses.untold
        if left:
            logger.error("spool ends with %d documents that never reached the disk", left)
        if not self._writer.syncer.sync_failed:  # otherwise a sync that succeeds proves nothing
            self._ledger.settle()
        self._ledger.close()
        self._writer.lock.release()

    def finish(self) -> None:
        """Promise that no more results will be put; the writer ends as soon as everything is on disk and answered.

        What comes all the same until then, such as the refusal of a command, is still taken.
        """
        self._writer.closing.set()
        self._writer.intake.wake()

    # --- the line's side; any thread

    def put(self, item: Result | Event) -> None:
        """Queue ``item`` for the next transaction; never blocks. A full queue loses it: counted and published."""
        self._writer.intake.put(item)

    def last_committed(self, inspection: str) -> tuple[int, int] | None:
        """Return (seq, frame id) of the newest committed result of ``inspection``, also of earlier runs."""
        state = self._ledger.state(payload.result_topic(inspection))
        return None if state is None or state.frame_id is None else (state.seq, state.frame_id)

    def stats(self) -> SpoolStats:
        """Return figures of this moment; they are read without stopping the writer."""
        tally = self._ledger.tally
        trouble = self._writer.trouble.error or self._writer.syncer.trouble
        oldest = tally.oldest_utc_ns
        age_ns = 0 if oldest is None or tally.depth == 0 else max(0, self._ledger.utc_now_ns() - oldest)
        return SpoolStats(
            depth=tally.depth,
            bytes=tally.depth_bytes,
            oldest_age_s=age_ns / _S,
            queued=len(self._writer.intake) + len(self._writer.held),
            committed=tally.committed,
            acked=tally.acked,
            refused=tally.refused,
            evicted=tally.evicted,
            lost=self._writer.intake.losses.total + tally.unencodable,
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
        return self._ledger.followers.follow(name, self._writer.intake.wake)

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
        if from_seq > state.seq:
            code, msg = "replay.range", f"the newest number of {stream} is {state.seq}, asked for is {from_seq}"
            raise DataError(code, msg, help="nothing is missing")
        Replay(stream, from_seq, to_seq, done)  # refuses nonsense as it was asked for
        self._writer.revivals.ask(Replay(stream, from_seq, min(to_seq, state.seq), done))
        self._writer.intake.wake()

    def requeue(self, stream: str | None, reason: str | None, done: Callable[[Revived], None]) -> None:
        """Make dead letters owed again, of one stream and one reason if given; ``done`` as for ``replay``.

        Raises:
            BusyError: too many wait already.
        """
        self._writer.revivals.ask(Requeue(stream, reason, done))
        self._writer.intake.wake()

    # --- the sender's side; one thread

    def set_listener(self, on_ready: Callable[[], None] | None) -> None:
        """Have ``on_ready`` called by the writer when there is something to take; ``None``: the sender has gone."""
        self._writer.on_ready = on_ready

    def take(self, limit: int) -> list[Row]:
        """Return up to ``limit`` rows to send, in order; the sender answers each with ``acked`` or ``refused``."""
        rows = self._writer.handout.take(limit)
        if self._writer.handout.wanted() is not None:
            self._writer.intake.wake()
        return rows

    def spare(self) -> int:
        """Return how many rows the sender should take at most: those that it has may come twice after a kill -9.

        When that is none, the listener is called as soon as answers are on disk.
        """
        return self._writer.handout.spare()

    def take_newest(self) -> dict[str, Row]:
        """Return the newest committed row per stream since the last call."""
        return self._writer.handout.take_newest()

    def acked(self, rows: Sequence[Row]) -> None:
        """The broker took ``rows``."""
        self._writer.acked(rows)

    def refused(self, row: Row, reason: str) -> None:
        """The broker will never take ``row``: it becomes a dead letter."""
        self._writer.handout.refused(row, reason)

    def release(self, rows: Sequence[Row]) -> None:
        """The sender ends without an answer for ``rows``; the next run sends them again."""
        self._writer.handout.release(rows)

    def reread(self) -> None:
        """Offer every owed row that the sender does not hold again, from the disk; ``rereads`` tells when."""
        self._writer.reread()

    @property
    def rereads(self) -> int:
        """How often that was done."""
        return self._writer.rereads

    def is_historical(self, row: Row, after_s: float) -> bool:
        """Tell whether ``row`` is older than ``after_s``, of an earlier run, or owed once more."""
        if row.again or row.id <= self._ledger.carried_through:
            return True
        return self._clock.mono_ns() - row.mono_ns > after_s * _S

    @property
    def drained(self) -> bool:
        """Whether ``finish`` was called and everything put is on disk."""
        return self._writer.drained.is_set()

    @property
    def waiting(self) -> bool:
        """Whether there is anything to take."""
        return self._writer.handout.waiting

    # --- the writer

    def _work(self, stop: Stop, failed: Stop) -> None:
        while not failed.is_set():
            self._writer.gather()
            self.step(self._writer.patience())
            if stop.is_set():
                if stop.left_s < _PUTS_UNTIL_S:
                    self.finish()
                if stop.left_s < _END_S or self._done():
                    self._writer.intake.close()
                    self.step(0.0)  # what came since the last one
                    return
            if self._writer.trouble.error is not None:
                self._rest(stop, failed)
            elif self._writer.drained.is_set():
                failed.wait(ANSWERS_S)  # there is no patience any more

    def _done(self) -> bool:
        """Tell whether all is on disk: what was put, what was lost, and, when the sender has gone, what it answered."""
        sending = self._writer.on_ready is not None or self._writer.handout.owned
        return self._writer.drained.is_set() and not sending and not self._writer.intake.losses.untold

    def _rest(self, stop: Stop, failed: Stop) -> None:
        """Leave the disk alone for a pause, but not when there is no time left for one."""
        until_ns = self._clock.mono_ns() + round(self._writer.trouble.pause_s * _S)
        while not failed.wait(ANSWERS_S) and not stop.is_set() and self._clock.mono_ns() < until_ns:
            continue

    def step(self, timeout_s: float) -> None:
        """Do one round of the writer: wait for something to write, write it, hand it out, tidy up."""
        self._writer.step(timeout_s)
