"""What a refresh said to keep, on disk: read back as it was, damage is seen, floors are never taken for none."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import StorageError
from edge_runtime.registry.documents import Assignment, ModelFloor
from edge_runtime.registry.store import metadata as module
from edge_runtime.registry.store.metadata import Kept, TrustStore
from edge_runtime.registry.trust.refresh import refresh
from tests.fakes.tuf_repository import START, TufRepository

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.registry.trust.trusted import Outcome

SITE = "plant-a"


@pytest.fixture
def repository() -> TufRepository:
    made = TufRepository()
    made.add_release("weld", 7, b"seven")
    made.set_floors(weld=ModelFloor(3))
    made.set_rollout(SITE, 1, Assignment("weld", 7))
    made.rotate("timestamp")
    made.publish()
    return made


def _look(directory: Path, repository: TufRepository) -> tuple[Kept, Outcome]:
    """Read, refresh, write: as a daemon that was started anew."""
    store = TrustStore(directory)
    kept = store.read()
    outcome = refresh(kept.files, repository.fetch, repository.pinned, kept.floors, now=START, site=SITE)
    store.write(outcome.kept, outcome.floors)
    return kept, outcome


def _paths(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def test_what_was_kept_comes_back(tmp_path: Path, repository: TufRepository) -> None:
    first, outcome = _look(tmp_path, repository)
    assert first == Kept({}, None, ())

    assert TrustStore(tmp_path).read() == Kept(outcome.kept, outcome.floors, ())
    assert sorted(path.relative_to(tmp_path).as_posix() for path in _paths(tmp_path)) == [
        "floors.a",
        "floors.b",
        "tuf/rollout-plant-a.json",
        "tuf/root_history/2.root.json",
        "tuf/snapshot.json",
        "tuf/targets.json",
        "tuf/targets/floors.json",
        "tuf/targets/rollout/plant-a/desired.json",
        "tuf/timestamp.json",
    ]


def test_only_what_changed_is_written_and_what_is_not_kept_goes(tmp_path: Path, repository: TufRepository) -> None:
    _, outcome = _look(tmp_path, repository)
    store = TrustStore(tmp_path)
    store.read()
    before = (tmp_path / "tuf/targets.json").stat().st_ino
    kept = {**outcome.kept, "snapshot.json": b"new"}
    del kept["timestamp.json"]
    store.write(kept, outcome.floors)

    assert (tmp_path / "tuf/targets.json").stat().st_ino == before
    assert TrustStore(tmp_path).read().files == kept


def test_attack_10_truncation_of_any_file_at_any_step_lets_no_rollback_through(
    tmp_path: Path, repository: TufRepository
) -> None:
    old = deepcopy(repository)
    repository.set_rollout(SITE, 2, Assignment("weld", 7))
    repository.publish()
    _, first = _look(tmp_path, repository)
    for path in _paths(tmp_path):
        whole = path.read_bytes()
        for size in (0, len(whole) // 2):
            path.write_bytes(whole[:size])
            kept, refused = _look(tmp_path, old)
            assert refused.trusted is None
            assert refused.floors == first.floors
            assert refused.refusal is not None
            assert refused.refusal.code == "trust.rollback"
            _, healed = _look(tmp_path, repository)
            seen = (*kept.damaged, *refused.damaged, *healed.damaged)
            assert path.name in seen or path.parent.name in ("targets", SITE)
            assert healed.believed() == first.believed()
            assert path.read_bytes()[-200:] == whole[-200:] or path.name in ("floors.a", "floors.b")


@pytest.mark.parametrize("name", ["timestamp.json", "snapshot.json"])
def test_attack_10_a_file_that_is_empty_is_not_taken_for_one_that_never_was(
    tmp_path: Path, repository: TufRepository, name: str
) -> None:
    """With the floors gone, too, nothing would tell an old registry from a new one."""
    old = deepcopy(repository)
    repository.set_rollout(SITE, 2, Assignment("weld", 7))
    repository.publish()
    _look(tmp_path, repository)
    for path in tmp_path.glob("floors.*"):
        path.unlink()
    (tmp_path / "tuf" / name).write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        _look(tmp_path, old)
    assert caught.value.code == "trust.state_damaged"


def test_both_floors_damaged_are_made_anew_from_what_was_kept(tmp_path: Path, repository: TufRepository) -> None:
    _, first = _look(tmp_path, repository)
    for name in ("floors.a", "floors.b"):
        os.truncate(tmp_path / name, 0)

    kept, outcome = _look(tmp_path, repository)
    assert kept.floors is None
    assert kept.damaged == ("floors.a", "floors.b")
    assert outcome.floors == first.floors
    assert TrustStore(tmp_path).read() == Kept(outcome.kept, first.floors, ())


def test_floors_and_metadata_damaged_is_never_a_first_time(tmp_path: Path, repository: TufRepository) -> None:
    _look(tmp_path, repository)
    for path in _paths(tmp_path):
        os.truncate(path, 0)

    for _ in range(2):  # and it stays so
        with pytest.raises(StorageError) as caught:
            _look(tmp_path, repository)
        assert caught.value.code == "trust.state_damaged"


def test_floors_damaged_and_no_metadata_is_unknown(tmp_path: Path) -> None:
    for name in ("floors.a", "floors.b"):
        (tmp_path / name).write_bytes(b"")

    with pytest.raises(StorageError) as caught:
        TrustStore(tmp_path).read()
    assert caught.value.code == "floors.unknown"


def test_a_file_that_cannot_be_read_is_there_all_the_same(tmp_path: Path, repository: TufRepository) -> None:
    _, first = _look(tmp_path, repository)
    (tmp_path / "tuf/snapshot.json").unlink()
    (tmp_path / "tuf/snapshot.json").symlink_to("nowhere")
    (tmp_path / "tuf/targets.json").unlink()
    os.mkfifo(tmp_path / "tuf/targets.json")

    kept, outcome = _look(tmp_path, repository)
    assert kept.damaged == ("snapshot.json", "targets.json")
    assert kept.files["snapshot.json"] == kept.files["targets.json"] == b""
    assert outcome.believed() == first.believed()
    assert TrustStore(tmp_path).read().damaged == ()


def test_leftovers_of_a_killed_writer_go(tmp_path: Path, repository: TufRepository) -> None:
    _look(tmp_path, repository)
    for name in (".snapshot.json.1.ab.tmp", "root_history/.3.root.json.1.ab.tmp", "targets/.floors.json.1.ab.tmp"):
        (tmp_path / "tuf" / name).write_bytes(b"half")
    (tmp_path / "tuf/strange.txt").write_bytes(b"not ours")
    _look(tmp_path, repository)

    assert [path.name for path in _paths(tmp_path) if path.suffix not in (".json", ".a", ".b")] == ["strange.txt"]


@pytest.mark.parametrize("call", range(9))
def test_a_disk_that_fails_at_any_write_leaves_what_can_be_gone_on_with(
    tmp_path: Path, repository: TufRepository, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    _look(tmp_path, repository)
    repository.set_rollout(SITE, 2, Assignment("weld", 7))
    repository.rotate("snapshot")
    repository.publish()
    real, calls = module.write_atomic, 0

    def failing(path: Path, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls > call:
            raise StorageError("storage.full", f"no room for {path}")
        real(path, data)

    monkeypatch.setattr(module, "write_atomic", failing)
    monkeypatch.setattr("edge_runtime.registry.store.floors.write_atomic", failing)
    if call < 8:
        with pytest.raises(StorageError):
            _look(tmp_path, repository)
    else:
        _look(tmp_path, repository)
    monkeypatch.undo()

    _, outcome = _look(tmp_path, repository)
    rollout = outcome.believed().rollout
    assert rollout is not None
    assert rollout.seq == 2
    assert outcome.damaged == ()
    assert TrustStore(tmp_path).read() == Kept(outcome.kept, outcome.floors, ())


def test_what_cannot_be_removed_is_said(tmp_path: Path, repository: TufRepository) -> None:
    _, outcome = _look(tmp_path, repository)
    store = TrustStore(tmp_path)
    store.read()
    (tmp_path / "tuf/timestamp.json").unlink()
    (tmp_path / "tuf/timestamp.json").mkdir()
    kept = {name: raw for name, raw in outcome.kept.items() if name != "timestamp.json"}

    with pytest.raises(StorageError):
        store.write(kept, outcome.floors)


def test_floors_that_would_fall_are_not_written(tmp_path: Path, repository: TufRepository) -> None:
    from edge_runtime.core.errors import InvariantError

    _, outcome = _look(tmp_path, repository)
    store = TrustStore(tmp_path)
    store.read()
    with pytest.raises(InvariantError):
        store.write(outcome.kept, replace(outcome.floors, roles={}))
