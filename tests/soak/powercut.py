"""What a power cut costs: the real spool on a disk whose power goes at a random instant, again and again.

    python -m tests.soak.powercut --cuts 200 --durability strict --seed 1

A child runs the spool in its threads, puts results without pause and plays the sender; through a pipe, which a power
cut does not touch, it tells what was committed and handed out, and when. Then the power is cut, the child is killed,
the disk is mounted again and the spool is opened as the next boot of the kernel would (another boot id). Every cut goes
on with the same disk. Prints one JSON object; exit code 1 when a promise was broken:

strict: nothing that was told as committed is lost.
group: only what was committed after the last flush began that ended before the cut is lost (the flusher pauses 5 ms
    between two), and a ``spool.gap`` with policy ``power_cut`` covers the numbers.
both: no number stands for two documents, and the file is never damaged.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import select
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.core.ids import uuid7
from edge_runtime.publish.spool.limits import Durability, SpoolLimits
from edge_runtime.publish.spool.spool import Spool
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.metrics import percentile
from edge_runtime.system.service import ServiceGroup
from tests.fakes.results import IDENTITY, make_result
from tests.fault.power import PoweredDisk

if TYPE_CHECKING:
    from edge_runtime.publish.spool.store import Row

ROOT = Path(__file__).resolve().parents[2]
LIMITS = SpoolLimits(keep_s=5.0)  # a row that was acknowledged goes soon, so that files are also made smaller
LONGEST_S = 0.6  # after the first commit
STREAM = "result/top"


def live(directory: Path, durability: Durability, boot: str) -> None:
    """Be the process whose power goes; ends by being killed."""
    logging.disable(logging.CRITICAL)
    out, lock = sys.stdout.buffer, threading.Lock()  # a long line is not written at once

    def tell(**fields: Any) -> None:
        line = json.dumps({"at": time.monotonic_ns(), **fields}).encode()
        with lock:
            out.write(line + b"\n")
            out.flush()

    clock = SystemClock()
    spool = Spool(
        directory / "spool.db",
        IDENTITY,
        boot,
        clock,
        limits=LIMITS,
        durability=durability,
        kernel_boot=boot,
        on_committed=lambda frames: tell(committed=[frame for _, frame in frames]),
    )
    spool.open()
    frame = (spool.last_committed("top") or (0, 0))[1]
    synced = spool._ledger.sync

    def sync() -> None:
        start_ns = time.monotonic_ns()
        synced()
        tell(flushed=start_ns)

    spool._ledger.sync = sync  # type: ignore[method-assign]  # to tell how long the disk takes
    chance = random.Random(boot)
    with ServiceGroup() as group:
        group.start(spool)
        while True:
            for _ in range(chance.choice((1, 1, 3, 20))):
                frame += 1
                spool.put(make_result(frame, clock, id=uuid7(time.time_ns() // 1_000_000, os.urandom(10))))
            rows = spool.take(64)
            if rows:
                tell(taken=[[row.stream, row.seq, row.body.decode()] for row in rows])
                spool.acked(rows[: chance.choice((0, len(rows)))])
            threading.Event().wait(chance.choice((0.0, 0.001, 0.004)))


@dataclass
class Cut:
    """What one cut cost."""

    committed: int = 0
    lost_ages_ms: list[float] = field(default_factory=list)
    flush_ms: list[float] = field(default_factory=list)
    flushed_and_lost: int = 0
    wrong: list[str] = field(default_factory=list)


class Trial:
    """Cuts on one disk, one after the other; knows all that was ever told."""

    def __init__(self, disk: PoweredDisk, durability: Durability, chance: random.Random) -> None:
        self._disk = disk
        self._durability = durability
        self._chance = chance
        self._sent: dict[tuple[str, int], str] = {}  # handed out: number -> id
        self._number = 0

    def cut(self) -> Cut:
        """Run the spool, cut the power at some instant, mount again, look."""
        self._number += 1
        lines, cut_ns = self._until_the_cut(f"boot-{self._number}")
        cut = Cut()
        self._disk.off()
        self._disk.on()
        told = [json.loads(line) for line in lines]
        taken = [(stream, seq, json.loads(body)) for line in told for stream, seq, body in line.get("taken", ())]
        committed = {frame: line["at"] for line in told for frame in line.get("committed", ())}
        flushed_ns = max((line["flushed"] for line in told if "flushed" in line and line["at"] < cut_ns), default=0)
        cut.committed = len(committed)
        cut.flush_ms = [(line["at"] - line["flushed"]) / 1e6 for line in told if "flushed" in line]
        self._remember(taken, cut)
        self._look(committed, cut_ns, cut)
        cut.flushed_and_lost = sum(cut_ns - age_ms * 1e6 < flushed_ns for age_ms in cut.lost_ages_ms)
        return cut

    def _until_the_cut(self, boot: str) -> tuple[list[bytes], int]:
        command = ["--live", str(self._disk.path), self._durability.value, boot]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.soak.powercut", *command], cwd=ROOT, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            descriptor, data, cut_s = child.stdout.fileno(), b"", None
            while cut_s is None or time.monotonic() < cut_s:
                left_s = 10.0 if cut_s is None else cut_s - time.monotonic()
                if select.select([descriptor], [], [], max(0.0, left_s))[0]:
                    piece = os.read(descriptor, 1 << 20)
                    assert piece, "the spool's process ended by itself"
                    data += piece
                    if cut_s is None and b"committed" in data:
                        cut_s = time.monotonic() + self._chance.uniform(0.0, LONGEST_S)
            cut_ns = time.monotonic_ns()
            self._disk.cut()
            after_ns = time.monotonic_ns()
            child.kill()
            data += child.stdout.read()
        lines = [line for line in data.split(b"\n")[:-1] if json.loads(line)["at"] <= after_ns]
        return lines, cut_ns

    def _remember(self, taken: list[tuple[str, int, Any]], cut: Cut) -> None:
        for stream, seq, document in taken:
            known = self._sent.setdefault((stream, seq), document["id"])
            if known != document["id"]:
                cut.wrong.append(f"{stream} {seq} was handed out for two documents")

    def _look(self, committed: dict[int, int], cut_ns: int, cut: Cut) -> None:
        """Open as the next boot does, and compare: frames are told, numbers follow from the file."""
        boot = f"look-{self._number}"
        spool = Spool(
            self._disk.path / "spool.db",
            IDENTITY,
            boot,
            SystemClock(),
            limits=SpoolLimits(keep_s=0.0),  # what was acknowledged goes with the first step
            durability=self._durability,
            kernel_boot=boot,
        )
        spool.open()
        with closing(spool):
            if spool.stats().state != "ok":
                cut.wrong.append(f"does not open: {spool.stats().detail}")
                return
            query = "SELECT seq, body FROM row WHERE stream = ?"
            on_disk = spool._ledger._opened()._connection.execute(query, (STREAM,)).fetchall()
            frame = (spool.last_committed("top") or (0, 0))[1]
            spool.put(make_result(frame + 1, SystemClock()))
            rows: list[Row] = []
            while spool.stats().queued or spool.waiting:
                spool.step(0.0)
                rows += spool.take(1000)
            spool.acked(rows)
            spool.step(0.0)
        frames = {int(json.loads(body)["frameId"]) for _, body in on_disk}
        last_on_disk = max((seq for seq, _ in on_disk), default=0)
        self._judge(committed, frames, cut_ns, cut)
        self._gap([(row.stream, row.seq, json.loads(row.body)) for row in rows], last_on_disk, cut)

    def _judge(self, committed: dict[int, int], there: set[int], cut_ns: int, cut: Cut) -> None:
        lost = {frame: at_ns for frame, at_ns in committed.items() if frame not in there}
        cut.lost_ages_ms = [(cut_ns - at_ns) / 1e6 for at_ns in lost.values()]
        if self._durability is Durability.STRICT and lost:
            cut.wrong.append(f"{len(lost)} committed results are lost")

    def _gap(self, rows: list[tuple[str, int, Any]], last_on_disk: int, cut: Cut) -> None:
        new = max((seq for stream, seq, _ in rows if stream == STREAM), default=0)
        sent = max((seq for stream, seq in self._sent if stream == STREAM), default=0)
        if new <= sent:
            cut.wrong.append(f"number {new} is used again, {sent} was handed out")
        gaps = [d["fields"] for _, _, d in rows if d.get("kind") == "spool.gap" and d["fields"]["topic"] == STREAM]
        named = {
            seq for gap in gaps if gap["policy"] == "power_cut" for seq in range(gap["from_seq"], gap["to_seq"] + 1)
        }
        if not set(range(last_on_disk + 1, new)) <= named:
            cut.wrong.append(f"numbers {last_on_disk + 1} to {new - 1} are missing and no gap names them: {gaps}")
        if list(self._disk.path.glob("*.corrupt-*")):
            cut.wrong.append("the file was damaged")


def run(cuts: int, durability: Durability, seed: int, place: Path) -> dict[str, Any]:
    """Cut ``cuts`` times; return the figures."""
    logging.disable(logging.CRITICAL)
    started = time.monotonic()
    with PoweredDisk(place) as disk:
        trial = Trial(disk, durability, random.Random(seed))
        found = [trial.cut() for _ in range(cuts)]
    ages = sorted(age for cut in found for age in cut.lost_ages_ms)
    flushes = sorted(ms for cut in found for ms in cut.flush_ms)
    return {
        "durability": durability.value,
        "seed": seed,
        "cuts": cuts,
        "committed": sum(cut.committed for cut in found),
        "lost": len(ages),
        "cuts_with_loss": sum(bool(cut.lost_ages_ms) for cut in found),
        "oldest_lost_ms": round(ages[-1], 2) if ages else None,
        "flushed_and_lost": sum(cut.flushed_and_lost for cut in found),
        "flush_ms": {
            "p50": percentile(flushes, 0.5),
            "p99": percentile(flushes, 0.99),
            "max": max(flushes, default=None),
        },
        "seconds": round(time.monotonic() - started, 1),
        "wrong": [wrong for cut in found for wrong in cut.wrong],
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--live"]:
        live(Path(sys.argv[2]), Durability(sys.argv[3]), sys.argv[4])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--durability", choices=[value.value for value in Durability], default="strict")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="powercut-") as directory:
        result = run(chosen.cuts, Durability(chosen.durability), chosen.seed, Path(directory))
    print(json.dumps(result))
    sys.exit(1 if result["wrong"] or result["flushed_and_lost"] else 0)
