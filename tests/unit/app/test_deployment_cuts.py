"""What is durable about deployments, cut between any two steps: it ends on the old or the new release, never half."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app import deployment_store
from edge_runtime.app.deployment_store import DeploymentStore
from edge_runtime.control.deployment import machine
from edge_runtime.control.deployment.commands import Store
from edge_runtime.control.deployment.deployment import Deployment, Now, Policy, State
from edge_runtime.control.deployment.record import SlotRecord
from edge_runtime.core.errors import EdgeError
from edge_runtime.registry.box.shelf import held_as
from edge_runtime.registry.store import quarantine, slots
from edge_runtime.system.files import storage_error
from tests.fakes.releases import make_release, store_blobs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.registry.box.report import Held

SLOT = "defects"
NOW = Now(1_000_000_000, datetime(2026, 11, 27, tzinfo=UTC))
STEPS = (
    (deployment_store, "write_atomic"),
    (slots, "point"),
    (slots, "remove"),
    (slots, "remove_tree"),
    (quarantine, "write_atomic"),
)


class Killed(BaseException):
    """The process is gone."""


class Disk:
    """A slot with release 1 current and 2 deployed, whose durable steps can be cut."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        store = DeploymentStore(root).store
        store.prepare()
        found = []
        for number in (1, 2):
            release = make_release(number)
            store_blobs(store, release)
            notes = {"model": "weld", "release": number, "version": "1"}
            found.append(held_as(store.releases.stage(release.manifest, notes)))
        self.old, self.new = (one for one in found if one is not None)
        store.slots.activate(SLOT, self.old.manifest)
        self.calls, self.cut_at, self.error = 0, -1, Killed
        for module, name in STEPS:
            monkeypatch.setattr(module, name, self._cut(getattr(module, name)))

    def _cut(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self.cut_at:
                raise (
                    Killed
                    if self.error is Killed
                    else storage_error(OSError(5, "Input/output error"), self.root, "write")
                )
            return real(*args, **kwargs)

        return step

    def deployment(self, state: State, **fields: Any) -> Deployment:
        """Release 2 in a state."""
        known = {"id": "01", "slot": SLOT, "model": "weld", "policy": Policy(seq=7), "since": NOW.utc, "tries_left": 3}
        return Deployment(candidate=self.new, previous=self.old, state=state, **{**known, **fields})  # type: ignore[arg-type]

    def save(self, deployment: Deployment) -> None:
        DeploymentStore(self.root).save(SLOT, SlotRecord(deployment), deployment)

    def found(self) -> tuple[Deployment | None, Held | None]:
        """What a daemon that starts makes of it, and what the slot runs."""
        store = DeploymentStore(self.root)
        known, links = store.load(SLOT), store.links(SLOT)
        deployment = None
        if known.deployment is not None:
            deployment, commands = machine.resume(known.deployment, links, NOW)
            for one in commands:
                if isinstance(one, Store):
                    store.save(SLOT, known.with_deployment(one.deployment), one.deployment)
        if deployment is None or deployment.state.is_over:
            store.tidy(SLOT)
        return deployment, store.held(store.links(SLOT).current, "weld")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path, monkeypatch)


ENDS = {
    "begin": (State.VETTING, {}),
    "probation": (State.PROBATION, {"judged": True, "vetted": True}),
    "passed": (State.PROBATION, {"judged": True, "vetted": True, "passed": True}),
    "committed": (State.COMMITTED, {"judged": True, "vetted": True}),
    "rejected": (State.REJECTED, {"quarantined": True, "reason": "vet.golden", "message": "other"}),
    "rolled back": (State.ROLLED_BACK, {"judged": True, "quarantined": True, "reason": "gate", "message": "x"}),
}


@pytest.mark.parametrize("error", [Killed, EdgeError])
@pytest.mark.parametrize("what", ENDS)
def test_a_cut_between_any_two_steps_leaves_the_old_or_the_new_release(
    disk: Disk, what: str, error: type[BaseException]
) -> None:
    state, fields = ENDS[what]
    before = disk.deployment(State.PROBATION, judged=True, vetted=True)
    wanted = disk.deployment(state, **fields)
    disk.error = error
    for cut in range(1, 20):
        disk.cut_at = -1
        if what != "begin":
            disk.save(before)
        disk.calls, disk.cut_at = 0, cut
        try:
            disk.save(wanted)
        except error:
            disk.cut_at = -1
        else:
            break  # there was no such step any more
        deployment, runs = disk.found()
        store = DeploymentStore(disk.root)
        assert runs in (disk.old, disk.new)
        if runs == disk.new:
            assert what in ("passed", "committed")
            assert deployment is not None
            assert deployment.state is State.COMMITTED
        elif deployment is not None and not deployment.state.is_over:
            assert store.links(SLOT).trial == disk.new.manifest
        else:
            assert store.links(SLOT).trial is None
        disk.save(wanted)  # commanded again, from the beginning
        now = disk.found()[1]
        assert now == (disk.new if what in ("passed", "committed") else disk.old)
        store.store.slots.activate(SLOT, disk.old.manifest)
        store.store.slots.try_out(SLOT, None)
        (store.store.slots.directory / SLOT / "deployment.json").unlink(missing_ok=True)
    assert cut > 1, "nothing was cut"
    assert cut < 19


def test_a_half_done_commit_that_is_taken_back_restores_what_was_current(disk: Disk) -> None:
    store = DeploymentStore(disk.root)
    disk.save(disk.deployment(State.PROBATION, judged=True))
    store.store.slots.activate(SLOT, disk.new.manifest)
    disk.save(disk.deployment(State.ROLLED_BACK, judged=True, quarantined=True))
    links = store.links(SLOT)
    assert (links.current, links.trial) == (disk.old.manifest, None)
    store.store.slots.activate(SLOT, disk.new.manifest)
    disk.save(replace(disk.deployment(State.PROBATION), previous=None))
    assert (store.links(SLOT).current, store.links(SLOT).trial) == (None, disk.new.manifest)


def test_the_rollout_by_which_a_release_came_is_known_after_a_restart(disk: Disk) -> None:
    disk.save(disk.deployment(State.COMMITTED, judged=True))
    released = DeploymentStore(disk.root).running(SLOT, "weld")
    assert released is not None
    assert (released.release, released.rollout_seq, released.digest) == (2, 7, disk.new.digest)
    assert DeploymentStore(disk.root).running(SLOT, "another") is None
