"""One install that faults are injected into, release B over release A, and a judge who looks at the store afterwards.

The install is all that a box does with its store: lock, clean up, fetch, stage, try out, activate, quarantine, collect
garbage. It is without threads, so that the n-th system call is the same in every run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.core.errors import EdgeError
from edge_runtime.registry.descriptor import describe
from edge_runtime.registry.download import Downloader, Limits
from edge_runtime.registry.store.garbage import Room, collect
from edge_runtime.registry.store.slots import LOCK
from edge_runtime.registry.store.store import ModelStore
from tests.fakes.carriers import FakeCarrier
from tests.fakes.releases import make_release

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.releases import FakeRelease
    from tests.fault.nth_call import Diary

A, B, OLD = make_release(1, size=80_000), make_release(2, size=100_000), make_release(0, size=60_000)
SLOT = "top"
NOW_NS = 1_800_000_000_000_000_000
LIMITS = Limits(parallel=1, tries=2, pause_s=0.001, pause_max_s=0.001, room=Room(1 << 40, 0))


def install(root: Path, release: FakeRelease, activated: Callable[[], None] = lambda: None) -> None:
    """Do what a box does when it is to run ``release``; ``activated`` is called when it is certain that it will."""
    store = ModelStore(root)
    with store.updating():
        store.prepare()
        wanted = (release.blob, *release.artifact.blobs)
        kept = {blob.digest for blob in wanted}
        collect(store, LIMITS.room, keep=kept, need_bytes=release.artifact.size_bytes, now_utc_ns=NOW_NS)
        source = FakeCarrier(*release.all_bytes(), piece=40_000)
        Downloader(store.blobs, [lambda: source], limits=LIMITS).fetch("weld", wanted)
        staged = store.releases.stage(release.manifest, {"model": "weld", "release": 1})
        store.releases.verify(staged)
        store.write_index()
        store.slots.try_out(SLOT, release.digest)
        store.slots.activate(SLOT, release.digest)
        activated()
        store.quarantine.add(OLD.digest, "a golden frame was another", 7)
        collect(store, Room(0, 0), keep=(), need_bytes=0, now_utc_ns=NOW_NS)


def reset(root: Path) -> None:
    """Make the store as it was before: OLD was replaced by A."""
    install(root, OLD)
    install(root, A)


def live(root: Path, diary: Diary) -> None:
    """Install B; an error is told, and then the process is done."""
    try:
        install(root, B, lambda: diary.note(activated=True))
    except EdgeError as error:
        diary.note(failed=error.code)


@dataclass
class Finding:
    """What the slot runs now, and what is wrong."""

    runs: str = "nothing"
    wrong: list[str] = field(default_factory=list)


def judge(root: Path, *, whole: bool) -> Finding:
    """Look as the next process would; then let it install B, and look again.

    Args:
        root: the store.
        whole: the file system lost nothing, so what has a name has its bytes.
    """
    found = Finding()
    store = ModelStore(root)
    found.runs = _runs(store, found.wrong)
    for digest, status in store.blobs.stored():
        blob = describe(b"", "")
        blob = type(blob)(digest, status.st_size, "")
        if not store.blobs.is_sound(blob):
            found.wrong.append(f"{digest} has a name and other bytes")
    quarantine = set(store.quarantine.entries())
    if not quarantine <= {OLD.digest} or (whole and (root / "quarantine.json").exists() and not quarantine):
        found.wrong.append(f"quarantine: {quarantine}")
    _look_again(root, found.wrong)
    return found


def _runs(store: ModelStore, wrong: list[str]) -> str:
    """Return the name of what the slot runs, all of it verified."""
    links = store.slots.links(SLOT)
    names = {A.digest: "A", B.digest: "B"}
    current = names.get(links.current or "", f"unknown {links.current}")
    previous = {A.digest: "A", OLD.digest: "OLD"}.get(links.previous or "", f"unknown {links.previous}")
    if (current, previous) not in {("A", "OLD"), ("A", "A"), ("B", "A")}:
        wrong.append(f"current {current}, previous {previous}")
    for digest in {links.current, links.previous} - {None}:
        try:
            release = store.releases.find(str(digest))
            if release is None:
                wrong.append(f"{digest} is gone")
            else:
                store.releases.verify(release)
        except EdgeError as error:
            wrong.append(f"{digest}: {error}")
    return current


def _look_again(root: Path, wrong: list[str]) -> None:
    """The next process installs B as if nothing had been."""
    try:
        install(root, B)
    except EdgeError as error:
        wrong.append(f"the next install fails: {error}")
        return
    store = ModelStore(root)
    if _runs(store, wrong) != "B":
        wrong.append("after the next install B does not run")
    kept = store.slots.directory / LOCK  # of those who change links; it is never taken away
    left = [path.name for path in root.rglob(".*") if path != kept]
    left += [path.name for path in store.blobs.incoming.iterdir()]
    if left:
        wrong.append(f"left behind: {left}")
    kept = {digest for digest, _ in store.blobs.stored()}
    wanted = {digest for one in (A, B) for digest in (one.digest, *one.content)}
    if kept != wanted:
        wrong.append(f"{len(kept - wanted)} blobs too many, {len(wanted - kept)} are missing")
