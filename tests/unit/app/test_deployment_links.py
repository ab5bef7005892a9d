"""The disk of deployments: whatever is cut off in between, what is found afterwards is old or new."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.app import deployment_store
from edge_runtime.app.deployment_store import DeploymentStore
from edge_runtime.cli.deployed import deployed
from edge_runtime.control.deployment import record
from edge_runtime.control.deployment.deployment import Policy, State
from edge_runtime.control.deployment.machine import resume
from edge_runtime.control.deployment.record import SlotRecord
from edge_runtime.core.errors import StorageError
from edge_runtime.system.files import storage_error
from tests.deployments import NEW, OLD, at, moment

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.control.deployment.deployment import Deployment


@pytest.fixture
def store(tmp_path: Path) -> DeploymentStore:
    found = DeploymentStore(tmp_path)
    found.store.slots.prepare()
    found.store.slots.activate("weld", OLD.manifest)
    return found


def _save(store: DeploymentStore, one: Deployment) -> None:
    store.save("weld", SlotRecord(one), one)


def _links(store: DeploymentStore) -> tuple[str | None, str | None]:
    links = store.links("weld")
    return links.current, links.trial


def test_links_are_as_the_state_says(store: DeploymentStore) -> None:
    probation = at(State.PROBATION)
    _save(store, probation)
    assert _links(store) == (OLD.manifest, NEW.manifest)
    _save(store, replace(probation, passed=True))
    assert _links(store) == (NEW.manifest, None)
    _save(store, at(State.LOADING))
    assert _links(store) == (OLD.manifest, NEW.manifest)
    _save(store, replace(probation, state=State.ROLLED_BACK, quarantined=True))
    assert _links(store) == (OLD.manifest, None)
    found = store.load("weld").deployment
    assert found is not None
    assert found.state is State.ROLLED_BACK


def test_a_way_back_that_fails_when_its_links_had_moved_leaves_nothing_to_fall_back_to(store: DeploymentStore) -> None:
    back = at(State.PROBATION, policy=Policy(origin="command", back=True))
    _save(store, replace(back, passed=True))
    assert store.store.slots.links("weld").previous is None
    _save(store, replace(back, state=State.ROLLED_BACK))
    links = store.store.slots.links("weld")
    assert (links.current, links.previous) == (OLD.manifest, None), "what failed is not fallen back to"


def test_an_end_without_its_record_is_an_end_all_the_same(
    store: DeploymentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    probation = at(State.PROBATION)
    _save(store, probation)

    def refuse(path: Path, data: bytes) -> None:
        raise StorageError("storage.full", f"{path}: no room for {len(data)} bytes")

    with monkeypatch.context() as patch:
        patch.setattr(deployment_store, "write_atomic", refuse)
        with pytest.raises(StorageError):
            _save(store, replace(probation, state=State.ROLLED_BACK, quarantined=True))
    found = store.load("weld").deployment
    assert found is not None
    assert found.state is State.PROBATION
    after, _ = resume(found, store.links("weld"), moment(1))
    assert after is not None
    assert (after.state, after.reason) == (State.ROLLED_BACK, "deployment.ended")
    assert store.is_refused(found)


def test_a_trial_that_is_nobodys_goes(store: DeploymentStore) -> None:
    store.store.slots.try_out("weld", NEW.manifest)
    store.tidy("weld")
    store.tidy("weld")
    assert _links(store) == (OLD.manifest, None)
    assert not store.is_refused(at(State.LOADING))


def _spoil(path: Path, how: str) -> None:
    path.unlink()
    if how == "directory":
        path.mkdir()
    elif how == "loop":
        path.symlink_to(path.name)
    else:
        path.write_bytes(b"{")


@pytest.mark.parametrize("how", ["bytes", "directory", "loop", "sector"])
def test_a_record_that_is_lost_holds_the_slot_and_the_line_runs_its_release(
    store: DeploymentStore, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    _save(store, at(State.COMMITTED, candidate=OLD))
    path = store.store.slots.directory / "weld" / record.FILE
    monkeypatch.setattr(store, "held", lambda _digest, _model: OLD)
    if how == "sector":
        monkeypatch.setattr(deployment_store, "read_limited", _unreadable)
    else:
        _spoil(path, how)
    assert deployed(path.parents[3], path.parents[2], "weld").damage is not None or how == "sector"
    running = store.running("weld", "parts")
    assert running is not None
    assert running.digest == OLD.digest
    monkeypatch.undo()
    hold = store.load("weld").hold
    assert hold is not None
    assert hold.reason == "deployment.record"
    assert path.with_name(f"{record.FILE}.damaged").is_symlink() == (how == "loop")


def test_a_line_runs_its_release_whatever_the_disk_says_of_the_record(
    store: DeploymentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("storage.read_only", "read-only file system")

    _save(store, at(State.COMMITTED, candidate=OLD))
    monkeypatch.setattr(store, "held", lambda _digest, _model: OLD)
    _spoil(store.store.slots.directory / "weld" / record.FILE, "bytes")
    monkeypatch.setattr(deployment_store, "move_aside", refuse)
    assert store.running("weld", "parts") is not None


def test_what_people_are_told_of_a_slot_is_what_it_runs(store: DeploymentStore) -> None:
    root = store.store.slots.directory.parent
    probation = at(State.PROBATION)
    _save(store, probation)
    later = {"state": "rolled_back", "since": "2999-01-01T00:00:00.000000Z", "message": "scores", "release": 2}
    (line,) = deployed(root, root, "weld").lines(later)  # and not that it can be taken back
    assert "rolled_back, which is not on the disk yet" in line
    older = {**later, "since": "2001-01-01T00:00:00.000000Z", "progress": 0.5}
    line, way = deployed(root, root, "weld").lines(older)
    assert line.startswith("probation (50%)")
    assert way == "take it back: edge-runtime models rollback weld"
    _save(store, replace(probation, state=State.COMMITTED))
    assert "something else" not in deployed(root, root, "weld").lines()[0]
    store.store.slots.roll_back("weld")  # what stands in when it is revoked
    assert "something else" in deployed(root, root, "weld").lines()[0]


def _unreadable(path: Path, _limit: int) -> bytes:
    cause = OSError(errno.EIO, "Input/output error")
    raise storage_error(cause, path, "read") from cause
