"""One refresh of what a box trusts, that faults are injected into, and a judge who looks at the files afterwards.

The box had stored the first state of a repository; now it reads that, verifies the second one, and stores it. In
between a root key, the key of snapshots and the rollout of the site have changed.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from edge_runtime.core.errors import EdgeError
from edge_runtime.registry.documents import Assignment, ModelFloor
from edge_runtime.registry.store.metadata import TrustStore
from edge_runtime.registry.store.store import ModelStore
from edge_runtime.registry.trust.refresh import refresh
from tests.fakes.tuf_repository import START, TufRepository
from tests.fault.install_life import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.registry.trust.trusted import Outcome
    from tests.fault.nth_call import Diary

SITE = "plant-a"


def _repositories() -> tuple[TufRepository, TufRepository, TufRepository]:
    """Return one that is older than all a box has seen, the one it knows, and the one it is to see next."""
    old = TufRepository()
    known = deepcopy(old)
    known.add_release("weld", 7, b"seven")
    known.set_floors(weld=ModelFloor(3))
    known.set_rollout(SITE, 1, Assignment("weld", 7))
    known.publish()
    new = deepcopy(known)
    new.rotate("root", "snapshot")
    new.set_floors(weld=ModelFloor(7))
    new.set_rollout(SITE, 2, Assignment("weld", 7))
    new.publish()
    return old, known, new


OLD, A, B = _repositories()


def look(root: Path, repository: TufRepository) -> Outcome:
    """Do what a box does when it looks at its registry."""
    store = TrustStore(root)
    kept = store.read()
    outcome = refresh(kept.files, repository.fetch, repository.pinned, kept.floors, now=START, site=SITE)
    store.write(outcome.kept, outcome.floors)
    return outcome


def reset(root: Path) -> None:
    """Make the files as they were before."""
    root.mkdir(parents=True)
    look(root, A).believed()


def live(root: Path, diary: Diary) -> None:
    """See B; an error is told, and then the process is done."""
    try:
        look(root, B).believed()
    except EdgeError as error:
        diary.note(failed=error.code)
    else:
        diary.note(seen=True)


def judge(root: Path, *, whole: bool) -> Finding:
    """Look as the next process would: an old repository is refused, B is trusted, nothing is left behind.

    Args:
        root: the directory of the box.
        whole: the file system lost nothing; a power cut damages nothing here either, all is written atomically.
    """
    found = Finding()
    try:
        ModelStore(root).prepare()
        kept = TrustStore(root).read()
        floors = kept.floors
        if floors is None:
            found.wrong.append("floors are gone")
        else:
            found.runs = {3: "A", 7: "B"}.get(floors.models.of("weld").min_release, "unknown")
        if kept.damaged:
            found.wrong.append(f"damaged: {kept.damaged}")
        refused = look(root, OLD)
        if refused.refusal is None or refused.refusal.code != "trust.rollback" or refused.damaged:
            found.wrong.append(f"an old repository: {refused.refusal}, damaged {refused.damaged}")
        seen = look(root, B)
        rollout = seen.believed().rollout
        if rollout is None or rollout.seq != 2 or seen.damaged:
            found.wrong.append(f"B afterwards: {rollout}, damaged {seen.damaged}")
    except EdgeError as error:
        found.wrong.append(f"{'' if whole else 'after the cut: '}{error}")
    left = [path.name for path in root.rglob("*.tmp")]
    if left:
        found.wrong.append(f"left behind: {left}")
    return found
