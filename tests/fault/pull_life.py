"""One whole look at a registry and the switch by hand after it, that faults are injected into, and a judge.

The box runs release A. Meanwhile B was released and rolled out: the look fetches it, then somebody activates it. The
registry is a directory; the download has one thread, so that the n-th system call is the same in every run.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.core.errors import EdgeError
from edge_runtime.registry.box import taking
from edge_runtime.registry.box.pull import Pull
from edge_runtime.registry.box.report import Contact, Standing
from edge_runtime.registry.box.switch import activate
from edge_runtime.registry.documents import Assignment
from edge_runtime.registry.download import Limits
from edge_runtime.registry.store.garbage import Room
from edge_runtime.registry.store.metadata import TrustStore
from edge_runtime.registry.store.slots import LOCK
from edge_runtime.registry.store.store import ModelStore
from tests.fakes.published import Published
from tests.fault.install_life import Finding

if TYPE_CHECKING:
    from edge_runtime.registry.box.order import Order
    from tests.fault.nth_call import Diary

SLOT = "defects"
taking.Room = partial(Room, reserve_bytes=0)  # type: ignore[misc,assignment]  # a disk that loses its power is small
taking.Limits = partial(Limits, parallel=1, tries=1, pause_s=0.001)  # type: ignore[misc,assignment]


class _World:
    """The registry before and after, and a box that has seen it before."""

    def __init__(self, place: Path) -> None:
        registry = Published(place / "publisher", now=datetime.now(UTC).replace(microsecond=0))
        self.a = registry.release("weld", 1)
        registry.roll_out(Assignment("weld", 1))
        self.template = place / "template"
        self.order = registry.order(self.template)
        assert Pull(self.order).run().slots[0].standing is Standing.CURRENT
        self.b = registry.release("weld", 2)
        registry.roll_out(Assignment("weld", 2))

    def at(self, root: Path) -> Order:
        return replace(self.order, root=root)


_PLACE = tempfile.mkdtemp(prefix="pull-life-")
atexit.register(shutil.rmtree, _PLACE, ignore_errors=True)
_WORLD = _World(Path(_PLACE))


def reset(root: Path) -> None:
    """Make the box as it was before, hard links and all."""
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(_WORLD.template), str(root)], check=True)


def look_and_take(root: Path) -> None:
    """What the daemon and then a person at the box do."""
    order = _WORLD.at(root)
    report = Pull(order).run()
    if report.contact is not Contact.OK or report.slots[0].standing is not Standing.STAGED:
        raise _NotStagedError(report.slots[0].reason or report.reason or "", "not staged")
    activate(order, SLOT, None)


class _NotStagedError(EdgeError):
    pass


def live(root: Path, diary: Diary) -> None:
    """See, fetch and take B; an error is told, and then the process is done."""
    try:
        look_and_take(root)
    except EdgeError as error:
        diary.note(failed=error.code)
    else:
        diary.note(taken=True)


def judge(root: Path, *, whole: bool) -> Finding:
    """Look as the next process would: A or B runs, whole; then B can be had and taken as if nothing had been."""
    found = Finding()
    store = ModelStore(root)
    found.runs = _runs(store, found.wrong)
    floors = TrustStore(root).read().floors
    if floors is None or floors.rollouts["plant-a"].seq < 1:
        found.wrong.append(f"floors fell: {floors}")
    try:
        if found.runs == "A":
            look_and_take(root)
        else:
            report = Pull(_WORLD.at(root)).run(fresh=True)
            if report.slots[0].standing is not Standing.CURRENT:
                found.wrong.append(f"after B was taken: {report}")
    except EdgeError as error:
        found.wrong.append(f"{'' if whole else 'after the cut: '}the next look: {error.code} {error}")
    if _runs(store, found.wrong) != "B":
        found.wrong.append("after the next look B does not run")
    kept = store.slots.directory / LOCK  # of those who change links; it is never taken away
    left = [str(path) for path in root.rglob(".*") if path != kept]
    left += [path.name for path in store.blobs.incoming.iterdir()]
    if left:
        found.wrong.append(f"left behind: {left}")
    return found


def _runs(store: ModelStore, wrong: list[str]) -> str:
    links = store.slots.links(SLOT)
    current = {_WORLD.a.digest: "A", _WORLD.b.digest: "B"}.get(links.current or "", f"unknown {links.current}")
    for digest in links.digests():
        release = store.releases.find(digest)
        try:
            if release is None:
                wrong.append(f"{digest} is gone")
            else:
                store.releases.verify(release)
        except EdgeError as error:
            wrong.append(f"{digest}: {error}")
    return current
