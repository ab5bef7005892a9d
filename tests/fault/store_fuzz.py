"""kill -9 of installs at random moments, and truncation of every state file: python -m tests.fault.store_fuzz --runs N.

A child installs one release after the other, raises the floors before each, and is killed. Then one file of the store,
every one in turn, is cut to nothing or to half. The judge looks as the next process would: the slot runs a release that
is whole, or the damage is told before anything is loaded; floors are never below what was written; and the next install
mends everything. Prints one JSON object; exit code 1 when there was a bad state.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.core.errors import EdgeError, StorageError
from edge_runtime.registry.descriptor import Descriptor
from edge_runtime.registry.download import Downloader, Limits
from edge_runtime.registry.store.garbage import Room, collect
from edge_runtime.registry.store.metadata import TrustStore
from edge_runtime.registry.store.store import LOCK, ModelStore
from edge_runtime.registry.trust.floors import Floors, Keys
from tests.fakes.carriers import FakeCarrier, FakeStream, pieces
from tests.fakes.releases import make_release
from tests.fault.nth_call import Diary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.releases import FakeRelease

RELEASES = [make_release(number, size=200_000 + 1000 * number) for number in range(4)]
BY_DIGEST = {release.digest: release for release in RELEASES}
KEYS = Keys(frozenset({"one key"}))
SLOT = "top"
BORN = datetime(2026, 1, 1, tzinfo=UTC)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # what survives kill -9 does so there too, and sooner


def floors_of(number: int) -> Floors:
    """Return the floors after the ``number``-th refresh."""
    raised = Floors().with_role("timestamp", KEYS, number).with_time(KEYS, BORN + timedelta(seconds=number))
    return raised.with_rollout("plant", KEYS, number, f"sha256:{number:064x}")


def number_of(floors: Floors | None) -> int:
    return 0 if floors is None else floors.roles["timestamp"].version


def raise_floors(root: Path, number: int) -> None:
    kept = TrustStore(root)
    kept.read()
    files = {"1.root.json": b"root", "timestamp.json": b'{"version":%d}' % number, "targets/floors.json": b"{}"}
    kept.write(files, floors_of(number))


def slowly(raw: bytes, start: int) -> FakeStream:
    """A stream that takes its time, so that many a kill finds a blob that is half there."""

    def chunks() -> Iterator[bytes | Exception]:
        for piece in pieces(raw[start:], 20_000):
            threading.Event().wait(0.001)
            yield piece

    return FakeStream(start, chunks())


def install(root: Path, release: FakeRelease, *, parallel: int = 2, activate: bool = True) -> None:
    """Fetch, stage and activate ``release``; nothing but what slots name stays."""
    store = ModelStore(root)
    limits = Limits(parallel=parallel, tries=2, room=Room(1 << 40, 0))
    with store.updating():
        store.prepare()
        sources = [lambda: FakeCarrier(*release.all_bytes(), attack=slowly)]
        Downloader(store.blobs, sources, limits=limits).fetch("weld", (release.blob, *release.artifact.blobs))
        store.releases.verify(store.releases.stage(release.manifest, {"model": "weld", "release": 1}))
        store.write_index()
        if activate:
            store.slots.activate(SLOT, release.digest)
        store.quarantine.add(release.digest, "as an example", 1)
        collect(store, Room(0, 0), keep=(), need_bytes=0, now_utc_ns=time.time_ns())


def child(root: Path, diary: Diary, number: int) -> None:
    """Install until killed."""
    while True:
        number += 1
        raise_floors(root, number)
        diary.note(raised=number)
        install(root, RELEASES[number % len(RELEASES)])
        diary.note(installed=number)


def kill_one(root: Path, number: int, delay_s: float) -> list[dict[str, Any]]:
    """Let a child work for ``delay_s`` seconds and kill it; return what it told."""
    diary = Diary()
    pid = os.fork()
    if pid == 0:
        try:
            child(root, diary, number)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is to see it
            diary.note(crash=repr(error))
        finally:
            os._exit(1)
    threading.Event().wait(delay_s)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    told = diary.read()
    diary.close()
    return told


class Judge:
    """Knows what was durable, and what must not happen."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.floor = 0
        self.wrong: list[str] = []
        self.seen: Counter[str] = Counter()

    def look(self, what: str, *, damaged: str = "") -> None:
        """Check the store as it lies there; ``damaged`` is the digest of a blob that was cut, which has to be seen."""
        store = ModelStore(self.root)
        try:
            floor = number_of(TrustStore(self.root).read().floors)
        except StorageError as error:
            self.wrong.append(f"{what}: {error}")
            return
        if floor < self.floor:
            self.wrong.append(f"{what}: floors fell from {self.floor} to {floor}")
        links = store.slots.links(SLOT)
        for digest in (links.current, links.previous):
            if digest is None:
                continue
            parts = {digest, *BY_DIGEST[digest].content}
            state = self._state(store, digest)
            self.seen[state] += 1
            if state != "whole" and damaged not in parts:
                self.wrong.append(f"{what}: {digest} is {state}")
            if state == "whole" and damaged in parts and damaged != BY_DIGEST[digest].artifact.config.digest:
                self.wrong.append(f"{what}: the damage of {damaged} was not seen")

    def mend(self, what: str, number: int) -> None:
        """Fetch again what slots name, and install once more; then everything is as it should be."""
        release, store = RELEASES[number % len(RELEASES)], ModelStore(self.root)
        try:
            for digest in store.slots.named():
                install(self.root, BY_DIGEST[digest], parallel=1, activate=False)
            install(self.root, release, parallel=1)
        except EdgeError as error:
            self.wrong.append(f"{what}: the next install fails: {error}")
            return
        if store.slots.links(SLOT).current != release.digest or self._state(store, release.digest) != "whole":
            self.wrong.append(f"{what}: the next install does not mend it")
        for digest, status in store.blobs.stored():
            if digest in {release.digest, *release.content} and not store.blobs.is_sound(
                Descriptor(digest, status.st_size, "")
            ):
                self.wrong.append(f"{what}: {digest} is still damaged")
        left = [path.name for path in store.releases.directory.glob(".*")]
        if left:
            self.wrong.append(f"{what}: left behind {left}")

    @staticmethod
    def _state(store: ModelStore, digest: str) -> str:
        try:
            release = store.releases.find(digest)
            if release is None:
                return "unknown"
            store.releases.verify(release)
        except EdgeError as error:
            return error.code
        content = {path: (release.directory / path).read_bytes() for path in release.artifact.files}
        return "whole" if content == BY_DIGEST[digest].files else "other bytes"


def truncate(root: Path, chance: random.Random, turn: int) -> tuple[str, str]:
    """Cut one file, every kind in turn; return its name, and its digest if it is a blob in use."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != LOCK:
            place = path.relative_to(root).parts
            kinds.setdefault(f"{place[0]}/{path.name}" if place[0] in ("releases", "tuf") else place[0], []).append(
                path
            )
    half_there = "incoming" in kinds and turn % 3 == 0  # it seldom is
    kind = "incoming" if half_there else sorted(kinds)[turn % len(kinds)]
    path = chance.choice(kinds[kind])
    size = path.stat().st_size
    digests = {f"sha256:{one.name}": one for one in (root / "store" / "blobs" / "sha256").iterdir()}
    damaged = next((digest for digest, one in digests.items() if one.samefile(path)), "")
    path.chmod(0o640)
    os.truncate(path, chance.choice([0, size // 2]))
    return kind, damaged


def main(root: Path, runs: int, seed: int) -> dict[str, Any]:
    """Kill and cut ``runs`` times; return what was found."""
    chance, judge, number = random.Random(seed), Judge(root), 0
    kinds: Counter[str] = Counter()
    installed, started = 0, time.monotonic()
    raise_floors(root, 1)
    for release in RELEASES[:2]:
        install(root, release)
    pace_s = (time.monotonic() - started) / 2  # of an install, on this disk, today
    for run in range(runs):
        told = kill_one(root, number, chance.uniform(0.0, 3 * pace_s))
        judge.wrong += [f"run {run}: {line['crash']}" for line in told if "crash" in line]
        installed += sum("installed" in line for line in told)
        judge.floor = max([judge.floor, *(line["raised"] for line in told if "raised" in line)])
        number = max([number, *(line.get("raised", 0) for line in told)])
        judge.look(f"run {run}: killed")
        kind, damaged = truncate(root, chance, run)
        kinds[kind] += 1
        judge.look(f"run {run}: {kind} cut", damaged=damaged)
        judge.mend(f"run {run}: {kind} cut", number)
        number += 1
        raise_floors(root, number)
        judge.floor = number
    summary = {"runs": runs, "seed": seed, "installed": installed, "floor": judge.floor, "cut": dict(kinds)}
    seconds = round(time.monotonic() - started, 1)
    return summary | {"seen": dict(judge.seen), "seconds": seconds, "bad": len(judge.wrong), "wrong": judge.wrong[:20]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    place = Path(tempfile.mkdtemp(prefix="store-fuzz-", dir=MEMORY))
    try:
        result = main(place, chosen.runs, chosen.seed)
    finally:
        shutil.rmtree(place)
    print(json.dumps(result))
    sys.exit(1 if result["bad"] else 0)
