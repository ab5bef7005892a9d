from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from edge_runtime.registry.descriptor import describe
from edge_runtime.registry.store.garbage import Room, collect, is_short
from edge_runtime.registry.store.store import ModelStore
from tests.fakes.releases import install, make_release

if TYPE_CHECKING:
    from pathlib import Path

A, B, C, D = (make_release(number) for number in range(1, 5))
PLENTY = Room(quota_bytes=1 << 40, reserve_bytes=0)
NONE = Room(quota_bytes=0, reserve_bytes=0)
DAY_S = 86_400


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path)
    made.prepare()
    return made


def run(store: ModelStore, room: Room, *, keep: set[str] | None = None, need: int = 0, days: float = 0) -> int:
    now_ns = time.time_ns() + int(days * DAY_S * 1e9)
    return collect(store, room, keep=keep or set(), need_bytes=need, now_utc_ns=now_ns)


def releases(store: ModelStore) -> set[str]:
    return {one.digest for one in store.releases.all()}


def age(store: ModelStore, digest: str, days: float) -> None:
    moment = time.time() - days * DAY_S
    os.utime(store.releases.path(digest), (moment, moment))


def test_with_enough_room_everything_stays_so_that_going_back_costs_nothing(store: ModelStore) -> None:
    for release in (A, B, C):
        install(store, release)
    assert run(store, PLENTY, days=1000) == 0
    assert releases(store) == {A.digest, B.digest, C.digest}


def test_without_room_all_goes_but_what_slots_and_the_caller_name(store: ModelStore) -> None:
    install(store, A, "top")
    install(store, B, "top")
    install(store, C)
    install(store, D)
    assert run(store, NONE, keep={D.digest}) > 5000
    assert releases(store) == {A.digest, B.digest, D.digest}
    for release in list(store.releases.all()):
        store.releases.verify(release)
        assert all(store.blobs.is_sound(blob) for blob in release.artifact.blobs)
    left = {digest for digest, _ in store.blobs.stored()}
    assert left == set().union(*({one.digest, *one.content} for one in (A, B, D)))


def test_the_oldest_go_first_and_only_as_many_as_it_takes(store: ModelStore) -> None:
    for days, release in enumerate((A, B, C)):
        install(store, release)
        age(store, release.digest, 10 - days)
    room = Room(quota_bytes=store.blobs.used_bytes(), reserve_bytes=0)
    assert is_short(store, room, 4000)
    run(store, room, need=4000)
    assert releases(store) == {B.digest, C.digest}
    assert not is_short(store, room, 4000)


def test_the_low_water_mark_of_the_disk_counts_too(store: ModelStore) -> None:
    install(store, A)
    assert is_short(store, Room(quota_bytes=1 << 40, reserve_bytes=1 << 62), 0)
    run(store, Room(quota_bytes=1 << 40, reserve_bytes=1 << 62))
    assert releases(store) == set()


def test_what_is_being_fetched_stays_whatever_its_age_and_the_shortage(store: ModelStore) -> None:
    wanted, other = describe(b"wanted", ""), describe(b"other", "")
    for blob in (wanted, other):
        store.blobs.part_path(blob).write_bytes(b"w")
    here, loose = describe(b"here", ""), describe(b"loose", "")
    store.blobs.put(here, b"here")
    store.blobs.put(loose, b"loose")
    run(store, PLENTY)
    assert store.blobs.part_bytes(other) == 1
    assert store.blobs.has(loose)
    run(store, PLENTY, days=8, keep={wanted.digest, here.digest})
    assert store.blobs.part_bytes(wanted) == 1
    assert store.blobs.part_bytes(other) == 0
    assert store.blobs.has(here)
    assert not store.blobs.has(loose)
    run(store, NONE, keep={wanted.digest, here.digest})
    assert store.blobs.part_bytes(wanted) == 1
    assert store.blobs.has(here)


def test_blobs_of_a_release_whose_manifest_is_damaged_stay_with_it(store: ModelStore) -> None:
    install(store, A, "top")
    path = store.blobs.path(A.digest)
    path.chmod(0o640)
    path.write_bytes(b"{")
    assert run(store, NONE) == 3  # the damaged manifest, which is set aside and goes
    for path_in, raw in A.files.items():
        assert store.blobs.has(describe(raw, "")), path_in


def test_strangers_in_our_directories_go_like_the_rest(store: ModelStore) -> None:
    (store.blobs.incoming / "directory").mkdir()
    (store.blobs.damaged / "link").symlink_to("/etc/passwd")
    blobs = store.root / "store" / "blobs" / "sha256"
    (blobs / "README").write_text("?")
    (blobs / "directory").mkdir()
    run(store, NONE)
    assert [path.name for path in blobs.iterdir() if path.is_file()] == []
    assert list(store.blobs.incoming.iterdir()) == []
    assert list(store.blobs.damaged.iterdir()) == []
