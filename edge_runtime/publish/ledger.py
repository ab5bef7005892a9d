"""The books of the spool: sequence numbers, transactions, what is kept, what must go and what is said about it.

Used by one thread at a time (the one that opened it until the writer runs, then the writer), except ``sync``,
``cover`` and the read-only properties. Legal order: ``open`` -> ``commit``, ``tidy``, ``read`` ... -> ``close``;
after a ``StorageError`` the caller waits and calls ``reopen``.
"""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError, StorageError
from edge_runtime.core.ids import RANDOM_BYTES, uuid7
from edge_runtime.core.result import Event, Result
from edge_runtime.publish import payload
from edge_runtime.publish.floor import SeqFloor
from edge_runtime.publish.store import Changes, Owed, Row, Store, StreamState
from edge_runtime.system import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from edge_runtime.publish.handout import Handout, Range
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

_MS = 1_000_000
_S = 1_000_000_000
_EVICT_ROWS = 1000  # per transaction
_EVICT_DOWN_TO = 0.95  # of the limit, so that one gap event covers many rows
_ABSURD_AGE_NS = 10 * 365 * 86_400 * _S  # a clock that was not set when the row was written, not an age
_REFUSED_EVERY_NS = 10 * _S
_KEPT_AT_ONCE = 2000
_SHRINK_PAGES = 256


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """Bounds of the spool.

    Attributes:
        max_bytes: results and events owed to the broker; beyond it the oldest are evicted.
        max_age_s: the same by age.
        keep_s: how long acknowledged rows are kept for replay.
        keep_bytes: how much of them is kept at most.
        dead_rows: refused rows kept for inspection.
        queue: items between ``put`` and the commit, also while the disk is full.
    """

    max_bytes: int = 1 << 30
    max_age_s: float = 30 * 86_400.0
    keep_s: float = 600.0
    keep_bytes: int = 64 << 20
    dead_rows: int = 10_000
    queue: int = 10_000


@dataclass(slots=True)
class Tally:
    """Running totals, written by the writer only."""

    committed: int = 0
    acked: int = 0
    refused: int = 0
    evicted: int = 0
    unencodable: int = 0
    depth: int = 0
    depth_bytes: int = 0
    dead: int = 0
    oldest_utc_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What the broker said about rows that were taken."""

    acked: Sequence[Row] = ()
    refused: Sequence[tuple[Row, str]] = ()


@dataclass(slots=True)
class Batch:
    """A transaction in the making; nothing of it counts until it is committed."""

    rows: list[Row] = field(default_factory=list)
    streams: dict[str, StreamState] = field(default_factory=dict)
    frames: list[tuple[str, int]] = field(default_factory=list)
    unencodable: int = 0


class Ledger:
    """See the module docstring."""

    def __init__(
        self, path: Path, identity: payload.Identity, boot_id: str, clock: Clock, limits: SpoolLimits, *, strict: bool
    ) -> None:
        """Keep the books in the SQLite file ``path`` and its neighbours ``path.seq`` and ``path-wal``."""
        self._path = path
        self._identity = identity
        self._boot_id = boot_id
        self._clock = clock
        self._limits = limits
        self._strict = strict
        self._floor = SeqFloor(path.with_name(path.name + ".seq"))
        self._store: Store | None = None
        self._streams: dict[str, StreamState] = {}  # replaced, never changed: other threads read it
        self._restated: dict[str, StreamState] = {}  # resumed from the floor, not yet in the file
        self._kept: deque[tuple[int, tuple[int, ...], int]] = deque()  # mono_ns of the ack, ids, bytes
        self._kept_bytes = 0
        self._last_id = 0
        self._refusals: dict[tuple[str, str], _Refusals] = {}
        self._utc_minus_mono_ns = 0
        self.carried_through = 0  # rows up to this id were committed by an earlier run
        self.tally = Tally()

    # --- opening

    def open(self) -> list[Event]:
        """Open the file, moving a damaged one aside; return events to publish about it.

        Raises:
            BusyError: another process has it open.
            StorageError: the disk refuses; call again later.
        """
        self._utc_minus_mono_ns = self._clock.utc_ns() - self._clock.mono_ns()
        notices: list[Event] = []
        try:
            self._floor.load()
        except DataError as error:
            notices.append(self._moved_aside(self._path.with_name(self._path.name + ".seq"), error.message))
        try:
            self._load()
        except StorageError as error:
            if error.code != "storage.corrupt":
                raise
            notices.append(self._quarantine(error.message))
            self._load()
        self.carried_through = self._last_id
        notices += self._resume()
        now_ns = self._clock.mono_ns()
        assert self._store is not None  # noqa: S101 - _load opened it
        kept = self._store.kept()
        for start in range(0, len(kept), _KEPT_AT_ONCE):
            self._keep(now_ns, kept[start : start + _KEPT_AT_ONCE])
        return notices

    def reopen(self, code: str) -> list[Event]:
        """Open the file again after an error with ``code``; return events to publish about it.

        Raises:
            BusyError: another process has it open.
            StorageError: still no luck; call again later.
        """
        self.close()
        if code == "storage.corrupt":
            before = self._streams
            notice = self._quarantine("damaged while in use")
            self._load()
            self._streams = self._restated = before  # memory knows better than the floor
            gaps = [notices.gap(Gap(name, 1, state.seq, None, "quarantine"), now_ns) for name, state in before.items()]
            return [notice, *gaps]
        before = self._streams
        self._load()
        behind = [n for n, state in before.items() if self._streams.get(n, StreamState(0)).seq < state.seq]
        self._streams = {**self._streams, **before}
        self._restated = {**self._restated, **{name: before[name] for name in behind}}
        return [
            X
            for name in behind
        ]

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._store is not None:
            self._store.close()
            self._store = None

    # --- writing

    def commit(self, items: Sequence[Result | Event], answers: Answers) -> Batch:
        """Write ``items`` with their numbers, and the broker's answers, in one transaction.

        Raises:
            StorageError: nothing was written and no number was used.
        """
        told = [*items, *self._refusal_events(answers.refused)]
        return self._apply(told, answers, removed=())

    def tidy(self, handout: Handout) -> list[Row]:
        """Drop what is past its retention and evict what is beyond the limits; return the gap events it committed.

        Raises:
            StorageError: the disk refuses; call again later.
        """
        store = self._opened()
        now_ns = self._clock.mono_ns()
        expired = self._expired(now_ns)
        if expired:
            store.commit(Changes(removed=[row_id for _, ids, _ in expired for row_id in ids]))
            for _ in expired:
                self._kept_bytes -= self._kept.popleft()[2]
        if self.tally.dead > self._limits.dead_rows:
            self.tally.dead -= store.trim_dead(self._limits.dead_rows)
        rows = self._evict(handout, self._beyond_age(now_ns), "max_age")
        while self.tally.depth_bytes > self._limits.max_bytes:
            evicted = self._evict(handout, self._beyond_bytes(), "max_bytes")
            if not evicted:
                break  # all that is left is in the sender's hands
            rows += evicted
        self.tally.oldest_utc_ns = store.oldest_utc_ns()
        store.shrink(_SHRINK_PAGES)
        return rows

    def relieve(self) -> None:
        """Make room in a full file: everything that is only kept for replay goes.

        Raises:
            StorageError: there is no room even for that.
        """
        store = self._opened()
        store.checkpoint()
        store.commit(Changes(removed=[row_id for _, ids, _ in self._kept for row_id in ids]))
        self._kept.clear()
        self._kept_bytes = 0

    # --- reading; any thread unless said

    def read(self, wanted: Range, limit: int) -> list[Row]:
        """Return owed rows of ``wanted``; writer only.

        Raises:
            StorageError: they cannot be read.
        """
        return self._opened().read_pending(wanted.after, wanted.through, limit)

    def checkpoint(self) -> None:
        """Make everything durable the slow way, after ``sync`` failed; writer only.

        Raises:
            StorageError: still not durable.
        """
        self._opened().checkpoint()

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

    @property
    def last_id(self) -> int:
        """Id of the newest committed row."""
        return self._last_id

    @property
    def kept_bytes(self) -> int:
        """Bytes of acknowledged rows that are kept for replay."""
        return self._kept_bytes

    def utc_now_ns(self) -> int:
        """UTC that does not step within this run: for ages across runs."""
        return self._clock.mono_ns() + self._utc_minus_mono_ns

    # --- inside

    def _opened(self) -> Store:
        if self._store is None:
            code, msg = "storage.io", f"{self._path} is not open"
            raise StorageError(code, msg)
        return self._store

    def _load(self) -> None:
        store = Store.open(self._path, strict=self._strict, check=self._last_id == 0)
        try:
            found = store.found()
        except StorageError:
            store.close()
            raise
        self._store = store
        self._streams = found.streams
        self._last_id = max(self._last_id, found.last_id)
        self.tally.depth, self.tally.depth_bytes = found.pending, found.pending_bytes
        self.tally.dead, self.tally.oldest_utc_ns = found.dead, found.oldest_utc_ns

    def _quarantine(self, why: str) -> Event:
        self._kept.clear()
        self._kept_bytes = 0
        self._restated = {}
        wal = self._path.with_name(self._path.name + "-wal")
        label = f"corrupt-{self._clock.utc_ns() // _S}"
        files.move_aside(wal, label)
        return self._moved_aside(self._path, why, label)

    def _moved_aside(self, path: Path, why: str, label: str | None = None) -> Event:
        moved = files.move_aside(path, label or f"corrupt-{self._clock.utc_ns() // _S}")
        name = moved.name if moved else None
        logger.error("moved %s aside as %s: %s", path, name, why)
        fields: dict[str, object] = {"file": path.name, "kept_as": name, "reason": why}
        return Event("system", "spool.quarantined", f"{path.name} was damaged: {why}", self._clock.utc_ns(), fields)

    def _resume(self) -> list[Event]:
        """Go on above the floor where the file cannot be the one that was in use."""
        gaps = []
        for name in self._floor.names():
            seq = self._streams.get(name, StreamState(0)).seq
            resumed = self._floor.resume(name, seq)
            if resumed != seq:
                self._restated[name] = StreamState(resumed)
                gaps.append(self._gap(name, seq + 1, resumed, None, "spool_file_lost"))
        self._streams = {**self._streams, **self._restated}
        return gaps

    def _apply(self, items: Iterable[Result | Event], answers: Answers, removed: Sequence[Owed]) -> Batch:
        store = self._opened()
        batch = Batch(streams=dict(self._restated))
        for item in items:
            self._draft(item, batch)
        acked = [row.id for row in answers.acked]
        dead = [(row.id, reason) for row, reason in answers.refused]
        gone = [owed.id for owed in removed]
        store.commit(Changes(batch.rows, batch.streams, acked, dead, gone))
        self._streams = {**self._streams, **batch.streams}
        self._restated = {}
        self._account(batch, answers, removed)
        return batch

    def _account(self, batch: Batch, answers: Answers, removed: Sequence[Owed]) -> None:
        tally = self.tally
        left = [row.size for row in answers.acked] + [row.size for row, _ in answers.refused]
        left += [owed.size for owed in removed]
        tally.committed += len(batch.rows)
        tally.acked += len(answers.acked)
        tally.refused += len(answers.refused)
        tally.dead += len(answers.refused)
        tally.evicted += len(removed)
        tally.unencodable += batch.unencodable
        tally.depth += len(batch.rows) - len(left)
        tally.depth_bytes += sum(row.size for row in batch.rows) - sum(left)
        if batch.rows:
            self._last_id = batch.rows[-1].id
        if answers.acked:
            self._keep(self._clock.mono_ns(), [(row.id, row.size) for row in answers.acked])

    def _draft(self, item: Result | Event, batch: Batch) -> None:
        try:
            self._draft_row(item, batch)
        except (ValueError, TypeError, OverflowError) as error:
            batch.unencodable += 1
            scope = item.inspection if isinstance(item, Result) else item.scope
            fields: dict[str, object] = {"frameId": item.frame_id} if isinstance(item, Result) else {"kind": item.kind}
            message = f"a document could not be written as JSON and is lost: {error}"
            lost = Event(scope, "spool.unencodable", message, self._clock.utc_ns(), fields)
            self._draft_row(lost, batch)

    def _draft_row(self, item: Result | Event, batch: Batch) -> None:
        is_result = isinstance(item, Result)
        stream = payload.result_topic(item.inspection) if is_result else payload.event_topic(item.scope)
        seq = (batch.streams.get(stream) or self._streams.get(stream) or StreamState(0)).seq + 1
        stamp = payload.Stamp(seq, self._boot_id)
        if is_result:
            message = payload.encode_result(item, self._identity, stamp)
            utc_ns, mono_ns = item.captured_utc_ns, item.captured_mono_ns
            counters = json.dumps(payload.encode_counters(item.counters))
            state = StreamState(seq, item.frame_id, counters)
        else:
            utc_ns, mono_ns = item.utc_ns, self._clock.mono_ns()
            event_id = uuid7(max(0, utc_ns // _MS), os.urandom(RANDOM_BYTES))
            message = payload.encode_event(item, self._identity, stamp, event_id)
            state = StreamState(seq)
        row_id = batch.rows[-1].id + 1 if batch.rows else self._last_id + 1
        batch.rows.append(Row(row_id, stream, seq, utc_ns, mono_ns, message.headers, message.body))
        batch.streams[stream] = state
        if is_result:
            batch.frames.append((item.inspection, item.frame_id))
