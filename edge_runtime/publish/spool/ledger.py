"""The books of the spool: sequence numbers, transactions and totals; what must go is up to ``housekeeping``.

Used by one thread at a time (the one that opened it until the writer runs, then the writer), except ``sync``,
``cover``, ``state`` and ``utc_now_ns``, which any thread may call. Legal order: ``open`` -> ``commit``, ``remove``,
``read`` ... -> ``close``; after a ``StorageError`` the caller waits and calls ``open`` again.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.core.result import Event, Result
from edge_runtime.publish.spool.batch import Answers, Batch, Opened, Tally
from edge_runtime.publish.spool.floor import SeqFloor
from edge_runtime.publish.spool.following import Followers
from edge_runtime.publish.spool.notices import Gap, Refusals, gap_event
from edge_runtime.publish.spool.numbering import Numbering
from edge_runtime.publish.spool.store import Changes, Held, Row, Store, StreamState
from edge_runtime.system import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from edge_runtime.publish import payload
    from edge_runtime.publish.spool.backlog import Range
    from edge_runtime.publish.spool.notices import Declared
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

_S = 1_000_000_000


class Ledger:
    """See the module docstring."""

    def __init__(
        self,
        path: Path,
        identity: payload.Identity,
        boot_id: str,
        clock: Clock,
        *,
        strict: bool,
        kernel_boot: str | None,
    ) -> None:
        """Keep the books in the SQLite file ``path`` and its neighbours ``path.seq`` and ``path-wal``."""
        self._path = path
        self._numbering = Numbering(identity, boot_id, clock)
        self._clock = clock
        self._strict = strict
        self._floor = SeqFloor(path.with_name(path.name + ".seq"), kernel_boot, synced=strict)
        self._store: Store | None = None
        self._streams: dict[str, StreamState] = {}  # replaced, never changed: other threads read it
        self._restated: dict[str, StreamState] = {}  # resumed from the floor, not yet in the file
        self.followers = Followers()
        self._refusals = Refusals()
        self._notices: list[Event] = []  # about the opening, until they are handed over
        self._unsure: tuple[Batch, Answers] | None = None  # a commit that failed, until the file tells
        self._seen = False  # opened at least once in this run
        self._void_through = 0  # rows up to this id went with a damaged file
        self._utc_minus_mono_ns = 0
        self.last_id = 0  # newest committed row
        self.carried_through = 0  # rows up to this id were committed by an earlier run
        self.tally = Tally()

    # --- opening

    def open(self, *, damages: int = 0) -> Opened:
        """Open the file, or open it again after an error; ``damages``: how often in this run it was called damaged.

        What is damaged when looked at twice is moved aside, and a fresh file goes on with the sequence numbers: SQLite
        says "damaged" of a file that the disk could not read this once, too (sqlite.org/rescode.html#ioerr_corruptfs).

        Raises:
            BusyError: another process has it open.
            StorageError: the disk refuses; call again later.
        """
        self.close()
        before, owed = self._streams, self.tally.depth
        if not self._seen:
            self._utc_minus_mono_ns = self._clock.utc_ns() - self._clock.mono_ns()
            self._load_floor()
        if damages > 1:
            self._quarantine("damaged while in use")
        check = damages > 0 or not self._seen
        store = self._sound(check=check) or self._sound(check=check, last=True) or self._load(check=check)
        self._reconcile(before, owed=owed)
        if not self._seen:
            self._seen = True
            self.carried_through = self.last_id
            with contextlib.suppress(StorageError, PermissionDeniedError):  # the flusher tries again and reports it
                self.cover()
        opened = Opened(self._notices, self._landed(store))
        self._notices = []
        return opened

    def settle(self) -> None:
        """Make everything durable and note that the spool is no longer in use; then only ``close`` is left.

        A disk that refuses is logged: the next boot of the kernel cannot know what is there, and skips numbers.
        """
        if self._store is None or self._strict:
            return
        try:
            self._store.sync()
            self._floor.release()
        except (StorageError, PermissionDeniedError) as error:
            logger.error("spool ends without knowing what is on the disk: %s", error)  # noqa: TRY400 - it says all

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _landed(self, store: Store) -> Batch | None:
        if self._unsure is None:
            return None
        batch, answers = self._unsure
        if batch.rows:
            landed = store.owes(batch.rows[0].id)
        else:
            landed = not any(store.owes(row.id) for row in (*answers.acked, *(row for row, _ in answers.refused)))
        self._unsure = None
        if landed:
            self._count(batch, answers)
        return batch if landed else None

    def _load_floor(self) -> None:
        try:
            self._floor.load()
        except DataError as error:
            self._move_aside(self._path.with_name(self._path.name + ".seq"), error.message)

    def _sound(self, *, check: bool, last: bool = False) -> Store | None:
        """Return the store unless it is damaged; on the ``last`` try that is believed and the file goes aside."""
        try:
            return self._load(check=check)
        except StorageError as error:
            if error.code != "storage.corrupt":
                raise
            if last:
                self._quarantine(error.message)
            return None

    def _load(self, *, check: bool) -> Store:
        store = Store.open(self._path, strict=self._strict, check=check)
        try:
            found = store.found()
        except StorageError:
            store.close()
            raise
        self._store = store
        self._streams = found.streams
        self.last_id = max(self.last_id, found.last_id)
        tally = self.tally
        tally.depth, tally.depth_bytes, tally.again = found.pending, found.pending_bytes, found.again
        tally.kept, tally.kept_bytes = found.kept, found.kept_bytes
        tally.dead, tally.oldest_utc_ns = found.dead, found.oldest_utc_ns
        self.followers.opened(found.positions, self.last_id)
        return store

    def _quarantine(self, why: str) -> None:
        self._void_through = self.last_id
        self._unsure = None
        self._move_aside(self._path.with_name(self._path.name + "-wal"), why)
        self._move_aside(self._path, why)

    def _move_aside(self, path: Path, why: str) -> None:
        now_ns = self._clock.utc_ns()
        moved = files.move_aside(path, f"corrupt-{now_ns // _S}")
        if moved is None:
            return
        logger.error("moved %s aside as %s: %s", path, moved.name, why)
        fields: dict[str, object] = {"file": path.name, "kept_as": moved.name, "reason": why}
        self._notices.append(Event("system", "spool.quarantined", f"{path.name} was damaged: {why}", now_ns, fields))

    def _reconcile(self, before: dict[str, StreamState], *, owed: int) -> None:
        """Go on above what was used, as memory or else the floor knows it, where the file says less."""
        self._restated = {}
        for name in before if self._seen else self._floor.names():
            found = self._streams.get(name, StreamState(0))
            seq = found.seq
            known = before.get(name) or replace(found, seq=self._floor.resume(name, seq))
            if known.seq <= seq:
                continue
            self._restated[name] = known
            if owed or name not in before:
                why = "power_cut" if self._floor.cut else "spool_file_lost"
                gap = Gap(name, seq + 1, known.seq, None, why)
                self._notices.append(gap_event(gap, self._clock.utc_ns()))
        self._streams = {**self._streams, **self._restated}

    # --- writing

    def commit(self, items: Sequence[Result | Event], answers: Answers) -> Batch:
        """Write ``items`` with their numbers, the broker's ``answers`` and followers' positions, in one transaction.

        Raises:
            StorageError: nothing was written and no number was used, or else the next ``open`` says so.
        """
        batch = self._number(items)
        self._unsure = (batch, answers)
        self._apply(batch, answers)
        self._unsure = None
        return batch

    def refuse(self, refused: Sequence[tuple[Row, str]], *, ending: bool) -> Declared:
        """Take refused rows, with their reasons; return those that are to be committed now, with their events.

        ``ending``: the run ends, nothing can wait for its event.
        """
        self._refusals.add(refused)
        return self._refusals.due(self._clock.mono_ns(), self._clock.utc_ns(), ending=ending)

    def remove(self, rows: Sequence[Held], told: Sequence[Event]) -> list[Row]:
        """Take ``rows`` out of the file and commit what is ``told`` about it, in one transaction; return these events.

        The caller keeps the totals.

        Raises:
            StorageError: nothing happened, or else the next ``open`` reads what did.
        """
        utc_ns = self._clock.utc_ns()
        batch = self._number([*told, *self.followers.gaps(rows, utc_ns)])
        self._apply(batch, Answers(), removed=rows)
        return batch.rows

    def revive(self, ids: Sequence[int], source: str, size: int) -> None:
        """Make rows owed again that are ``kept`` or ``dead`` (the ``source``) and have ``size`` bytes together.

        Raises:
            StorageError: nothing happened, or else the next ``open`` reads what did.
        """
        self.store.revive(ids, source)
        tally = self.tally
        tally.depth += len(ids)
        tally.depth_bytes += size
        tally.again += len(ids)
        if source == "dead":
            tally.dead -= len(ids)
        else:
            tally.kept -= len(ids)
            tally.kept_bytes -= size

    def _number(self, items: Iterable[Result | Event]) -> Batch:
        return self._numbering.batch(items, self._streams, self._restated, self.last_id)

    def _apply(self, batch: Batch, answers: Answers, removed: Sequence[Held] = ()) -> None:
        store = self.store
        acked = [row.id for row in answers.acked]
        dead = [(row.id, reason) for row, reason in answers.refused]
        gone = [row.id for row in removed]
        positions = self.followers.changes()
        at_s = self.utc_now_ns() // _S
        self._floor.lead({name: state.seq for name, state in batch.streams.items()})
        store.commit(Changes(batch.rows, batch.streams, acked, dead, gone, positions, at_s))
        self._streams = {**self._streams, **batch.streams}
        self._restated = {}
        self.followers.committed(positions)
        self.followers.gone(removed)
        self._count(batch, answers)
        self._follow(batch, answers)

    def _count(self, batch: Batch, answers: Answers) -> None:
        """Keep the totals of this run."""
        tally = self.tally
        tally.committed += len(batch.rows)
        tally.acked += len(answers.acked)
        tally.refused += len(answers.refused)
        tally.unencodable += batch.unencodable

    def _follow(self, batch: Batch, answers: Answers) -> None:
        """Keep in step with the file what ``_load`` read from it."""
        acked = [row for row in answers.acked if row.id > self._void_through]
        refused = [row for row, _ in answers.refused if row.id > self._void_through]
        tally = self.tally
        tally.kept += len(acked)
        tally.kept_bytes += sum(row.size for row in acked)
        tally.dead += len(refused)
        tally.again -= sum(row.again for row in (*acked, *refused))
        tally.depth += len(batch.rows) - len(acked) - len(refused)
        tally.depth_bytes += sum(row.size for row in batch.rows) - sum(row.size for row in (*acked, *refused))
        if batch.rows:
            self.last_id = batch.rows[-1].id

    # --- reading and syncing

    def read(self, wanted: Range, limit: int) -> list[Row]:
        """Return owed rows of ``wanted``.

        Raises:
            StorageError: they cannot be read.
        """
        return self.store.read_pending(wanted.after, wanted.through, limit, again=wanted.again)

    def serve_followers(self) -> None:
        """Read a little of what followers want.

        Raises:
            StorageError: it cannot be read.
        """
        self.followers.serve(self.store)

    def probe(self) -> None:
        """Write something small, to see whether the disk takes it.

        Raises:
            StorageError: it does not.
        """
        self.store.probe()

    def checkpoint(self) -> None:
        """Make everything durable the slow way, after ``sync`` failed.

        Raises:
            StorageError: still not durable.
        """
        self.store.checkpoint()

    def sync(self) -> None:
        """Make every commit so far durable.

        Raises:
            StorageError: what is durable is unknown.
        """
        store = self._store
        if store is not None:
            store.sync()

    def cover(self) -> None:
        """Keep the floors of the sequence numbers ahead of them.

        Raises:
            PermissionDeniedError: the directory may not be written.
            StorageError: the floors are as before.
        """
        self._floor.cover({name: state.seq for name, state in self._streams.items()})

    def state(self, stream: str) -> StreamState | None:
        """Return where ``stream`` stands, committed."""
        return self._streams.get(stream)

    def utc_now_ns(self) -> int:
        """UTC that does not step within this run: for ages across runs."""
        return self._clock.mono_ns() + self._utc_minus_mono_ns

    @property
    def store(self) -> Store:
        """The open file.

        Raises:
            StorageError: it is not open.
        """
        if self._store is None:
            code, msg = "storage.io", f"{self._path} is not open"
            raise StorageError(code, msg)
        return self._store
