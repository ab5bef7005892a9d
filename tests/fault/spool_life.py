"""The life of a spool that faults are injected into, and a judge who looks at the file afterwards.

The life uses all that writes: a fresh file, commits, floors, flushes, answers, dead letters, eviction, retention,
a clean end and a second run. It is without threads, so that the n-th system call is the same in every run. The judge
opens the file in another process and believes only the file and what the life told before it ended.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from edge_runtime.core.errors import BusyError, StorageError
from edge_runtime.publish.spool.limits import Durability, SpoolLimits
from edge_runtime.publish.spool.spool import Spool
from tests.fakes.clock import ManualClock
from tests.fakes.results import IDENTITY, make_result

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.publish.spool.ledger import Ledger
    from edge_runtime.publish.spool.store import Row
    from tests.fault.nth_call import Diary

TOP = "result/top"
LIMITS = SpoolLimits(max_bytes=24_000, keep_s=2.0, queue=1000)
ROUNDS = 40  # of trouble, before we say that it does not recover


class Life:
    """One process's use of the spool in ``directory``, told to ``diary``."""

    def __init__(self, directory: Path, diary: Diary, *, strict: bool) -> None:
        self._directory = directory
        self._diary = diary
        self._durability = Durability.STRICT if strict else Durability.GROUP
        self._clock = ManualClock()
        self._frame = 0
        self._unsure = False  # a sync failed, and no checkpoint has succeeded since
        self._spool = self._open("boot-1")

    def live(self) -> None:
        """Two runs; returns when both ended cleanly."""
        for boot in ("boot-1", "boot-2"):
            if boot != "boot-1":
                self._spool = self._open(boot)
            self._start()
            self._put(8)
            rows = self._take(8)
            self._answer(rows[:5], rows[5:6])
            self._flush()
            self._put(30)  # beyond max_bytes: the oldest go
            self._pass(1100)
            self._put(4)
            self._pass(1100)
            self._pass(1100)  # past retention
            self._spool.release(rows[6:])
            self._put(2)
            self._spool.finish()
            self._step()
            self._spool.close()
            self._diary.note(closed=boot)

    def _open(self, boot: str) -> Spool:
        spool = Spool(
            self._directory / "spool.db",
            IDENTITY,
            boot,
            self._clock,
            limits=LIMITS,
            durability=self._durability,
            kernel_boot="kernel-1",
            on_committed=lambda frames: self._diary.note(committed=[frame for _, frame in frames]),
        )
        self._listen(spool._ledger)
        return spool

    def _listen(self, ledger: Ledger) -> None:
        """Know what is durable, as the disk said it."""
        sync, checkpoint, fdatasync = ledger.sync, ledger.checkpoint, os.fdatasync
        refused: list[OSError] = []

        def spied_fdatasync(descriptor: int) -> None:
            try:
                fdatasync(descriptor)
            except OSError as error:
                refused.append(error)
                raise

        def spied_sync() -> None:
            refused.clear()
            try:
                with patch.object(os, "fdatasync", spied_fdatasync):
                    sync()
            except StorageError:
                self._unsure = True
                self._diary.note(unsure=True)
                raise
            if refused:
                self._diary.note(claims=f"a sync succeeded although the disk said {refused[0]}")

        def spied_checkpoint() -> None:
            checkpoint()
            self._unsure = False

        ledger.sync = spied_sync  # type: ignore[method-assign]
        ledger.checkpoint = spied_checkpoint  # type: ignore[method-assign]

    def _start(self) -> None:
        self._spool.open()
        self._state("open")
        self._step()

    def _put(self, count: int) -> None:
        for _ in range(count):
            self._frame += 1
            self._spool.put(make_result(self._frame, self._clock))
        self._step()
        self._flush()

    def _take(self, count: int) -> list[Row]:
        rows = self._spool.take(count)
        documents = [json.loads(row.body) for row in rows]
        self._diary.note(
            taken=[[row.stream, row.seq, document["id"]] for row, document in zip(rows, documents, strict=True)],
            gaps=[document["fields"] for document in documents if document.get("kind") == "spool.gap"],
        )
        return rows

    def _answer(self, acked: list[Row], refused: list[Row]) -> None:
        self._diary.note(acked=[[row.stream, row.seq] for row in acked])
        self._spool.acked(acked)
        for row in refused:
            self._spool.refused(row, "not authorized")
        self._step()

    def _pass(self, milliseconds: int) -> None:
        self._clock.advance_ms(milliseconds)
        self._step()
        self._flush()

    def _step(self) -> None:
        """Step until all is well: nothing waits and nothing is wrong."""
        for _ in range(ROUNDS):
            self._spool.step(0.0)
            self._state("step")
            stats = self._spool.stats()
            if stats.state == "ok" and not stats.queued:
                return
            self._spool._writer.syncer._flush()
        self._diary.note(ill=str(self._spool.stats().detail))

    def _flush(self) -> None:
        self._spool._writer.syncer._flush()
        self._state("flush")
        if self._unsure:  # the disk tells an error once: what the next flush says proves nothing
            self._spool._writer.syncer._flush()
            self._state("flush")
        self._step()

    def _state(self, after: str) -> None:
        stats = self._spool.stats()
        if stats.state == "ok" and self._unsure:
            self._diary.note(claims=f"ok after {after}, although a sync failed and no checkpoint succeeded since")
        if stats.state != "ok":
            self._diary.note(after=after, state=stats.state, reason=stats.reason)


@dataclass
class Finding:
    """What the judge found in the file of a life."""

    wrong: list[str] = field(default_factory=list)
    committed: int = 0
    on_disk: int = 0
    quarantined: int = 0


def judge(directory: Path, diary: list[dict[str, Any]], *, ended: bool) -> Finding:
    """Open the spool as the next process would and compare; ``ended``: the life came to its end by itself."""
    told = _Told.of(diary)
    found = Finding(committed=len(told.committed))
    wrong = found.wrong
    wrong += [f"crash: {line['crash']}" for line in diary if "crash" in line]
    wrong += [f"does not recover: {line['ill']}" for line in diary if "ill" in line]
    wrong += [line["claims"] for line in diary if "claims" in line]
    clock = ManualClock()
    clock.advance_ms(20_000)
    spool = Spool(directory / "spool.db", IDENTITY, "boot-9", clock, kernel_boot="kernel-1")
    with closing(spool):
        try:
            spool.open()
        except BusyError as error:
            wrong.append(f"locked: {error}")
            return found
        if spool.stats().state != "ok":
            wrong.append(f"does not open: {spool.stats().detail}")
            return found
        spool.put(make_result(9999, clock))
        for _ in range(3):  # what the spool has to say about the opening goes first
            spool.step(0.0)
        spool._writer.syncer._flush()
        if spool.stats().state != "ok":
            wrong.append(f"does not write: {spool.stats().detail}")
    _compare(directory, told, found, ended=ended)
    return found


@dataclass
class _Told:
    committed: list[int]
    taken: dict[tuple[str, int], str]
    acked: set[tuple[str, int]]
    gaps: list[dict[str, Any]]

    @classmethod
    def of(cls, diary: list[dict[str, Any]]) -> _Told:
        taken: dict[tuple[str, int], str] = {}
        for line in diary:
            for stream, seq, document in line.get("taken", ()):
                taken[stream, seq] = document
        return cls(
            committed=[frame for line in diary for frame in line.get("committed", ())],
            taken=taken,
            acked={(stream, seq) for line in diary for stream, seq in line.get("acked", ())},
            gaps=[gap for line in diary for gap in line.get("gaps", ())],
        )


def _compare(directory: Path, told: _Told, found: Finding, *, ended: bool) -> None:
    wrong = found.wrong
    with closing(sqlite3.connect(directory / "spool.db")) as connection:
        ask = connection.execute
        verdict = ask("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            wrong.append(f"damaged: {verdict}")
            return
        rows = ask("SELECT stream, seq, body FROM row").fetchall()
        states = "SELECT id FROM pending UNION ALL SELECT id FROM kept UNION ALL SELECT id FROM dead"
        orphans = ask(f"SELECT count(*) FROM ({states}) WHERE id NOT IN (SELECT id FROM row)").fetchone()[0]
        lost = ask(f"SELECT count(*) FROM row WHERE id NOT IN ({states})").fetchone()[0]
        twice = ask(f"SELECT count(*) - count(DISTINCT id) FROM ({states})").fetchone()[0]
        last = dict(ask("SELECT name, seq FROM stream").fetchall())
    if orphans:
        wrong.append(f"{orphans} states without a document")
    if lost or twice:
        wrong.append(f"{lost} documents without a state, {twice} with two")
    documents = [(stream, seq, json.loads(body)) for stream, seq, body in rows]
    found.on_disk = len(documents)
    found.quarantined = len(list(directory.glob("*.corrupt-*")))
    if found.quarantined:
        wrong.append("a sound file was moved aside")
    _numbers(documents, last, told, wrong)
    _complete(documents, last, told, wrong, ended=ended)
    floors = json.loads((directory / "spool.db.seq").read_text())["reserved"]
    wrong += [f"floor of {name} is {floors.get(name)}, below {seq}" for name, seq in last.items() if seq > floors[name]]
    left = [path.name for path in directory.iterdir() if path.name.endswith(".tmp")]
    if ended and left:
        wrong.append(f"temporary files are left: {left}")


def _numbers(documents: list[tuple[str, int, Any]], last: dict[str, int], told: _Told, wrong: list[str]) -> None:
    """No number stands for two documents, and the newest one is above all that were handed out."""
    seen: dict[tuple[str, int], str] = {}
    for stream, seq, document in documents:
        if (stream, seq) in seen:
            wrong.append(f"{stream} {seq} is there twice")
        seen[stream, seq] = document["id"]
    for (stream, seq), document_id in told.taken.items():
        if seen.get((stream, seq), document_id) != document_id:
            wrong.append(f"{stream} {seq} was handed out as another document")
        if seq >= last.get(stream, 0) + (stream != TOP):  # the judge has put one more into TOP
            wrong.append(f"{stream} {seq} was handed out and the stream stands at {last.get(stream)}")


def _complete(
    documents: list[tuple[str, int, Any]], last: dict[str, int], told: _Told, wrong: list[str], *, ended: bool
) -> None:
    """Every number is on disk, was taken by the broker, or is declared; frames follow in their order, each once."""
    results = {seq: int(document["frameId"]) for stream, seq, document in documents if stream == TOP}
    gaps = told.gaps + [document["fields"] for _, _, document in documents if document.get("kind") == "spool.gap"]
    declared = {seq for gap in gaps if gap["topic"] == TOP for seq in range(gap["from_seq"], gap["to_seq"] + 1)}
    acked = {seq for stream, seq in told.acked if stream == TOP}
    holes = set(range(1, last[TOP] + 1)) - set(results) - declared - acked
    if holes:
        wrong.append(f"numbers {sorted(holes)} are neither there nor declared")
    frames = [results[seq] for seq in sorted(results)]
    if frames != sorted(set(frames)):
        wrong.append("a result is there twice, or out of order")
    gone = len(declared - set(results)) + len(acked - set(results) - declared)
    if len(results) - 1 + gone < len(told.committed):
        wrong.append(f"{len(told.committed)} were committed, {len(results) - 1} are there and {gone} gone on purpose")
    if ended and told.committed != [*range(1, len(told.committed) + 1)]:
        wrong.append("not every result was committed once, in order")
