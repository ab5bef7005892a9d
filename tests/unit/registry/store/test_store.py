from __future__ import annotations

import errno
import json
import logging
import os
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import EdgeError, PermissionDeniedError, StorageError
from edge_runtime.registry.store.garbage import Room, collect
from edge_runtime.registry.store.store import ModelStore
from tests.fakes.releases import install, make_release
from tests.registries import skopeo

if TYPE_CHECKING:
    from pathlib import Path

A, B = make_release(1), make_release(2)
CALLS = (
    *("open", "read", "write", "fsync", "rename", "replace", "link", "symlink", "unlink", "mkdir", "rmdir"),
    *("chmod", "fchmod", "scandir", "statvfs", "ftruncate", "lseek", "posix_fadvise"),
)


def whole_install(root: Path) -> ModelStore:
    store = ModelStore(root)
    with store.updating():
        store.prepare()
        install(store, A, "top")
        install(store, B, "top")
        store.slots.try_out("top", A.digest)
        store.slots.activate("top", A.digest)
        store.write_index()
        store.quarantine.add(B.digest, "as an example", 1)
        collect(store, Room(0, 0), keep=(), need_bytes=0, now_utc_ns=0)
    return store


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES], ids=errno.errorcode.get)
def test_whatever_call_of_an_install_fails_it_says_so_and_the_next_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    caplog.set_level(logging.CRITICAL)
    state = {"calls": 0, "fail": 0}
    monkeypatch.setattr(os, "fsync", os.fstat)  # nobody cuts the power here
    for name in CALLS:
        real = getattr(os, name)

        def call(*args: Any, real: Any = real, **kwargs: Any) -> Any:
            state["calls"] += 1
            if state["calls"] == state["fail"]:
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)
    failed, n = 0, 0
    while True:
        n += 37 if n else 1 + number  # a sample; all of them are those of tests.fault.install_cuts
        root = tmp_path / str(n)
        root.mkdir()
        state.update(calls=0, fail=n)
        try:
            whole_install(root)
        except (StorageError, PermissionDeniedError):
            failed += 1
        reached, state["fail"] = state["calls"] >= n, 0
        store = whole_install(root)
        for digest in (A.digest, B.digest):
            release = store.releases.find(digest)
            assert release is not None
            store.releases.verify(release)
        if not reached:
            break
    assert failed


def test_what_state_files_left_half_goes_at_the_start_and_files_of_others_stay(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.prepare()
    (tmp_path / ".quarantine.json.1.00.tmp").write_bytes(b"{")
    (tmp_path / "store" / ".index.json.1.00.tmp").write_bytes(b"{")
    (tmp_path / "floors.a").write_bytes(b"of somebody else")
    store.prepare()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("damaged", "floors.a", "incoming", "releases", "slots", "store")
    ]
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_a_damaged_marker_of_the_layout_is_written_anew(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.prepare()
    (tmp_path / "store" / "oci-layout").write_bytes(b"")
    store.prepare()
    assert json.loads((tmp_path / "store" / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_a_release_about_which_nothing_else_is_known_is_in_the_index_without_a_name(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.prepare()
    install(store, A)
    path = store.releases.path(A.digest) / "verified.json"
    path.chmod(0o640)
    path.write_bytes(b"")
    store.write_index()
    index = json.loads((tmp_path / "store" / "index.json").read_bytes())
    assert [one.get("annotations") for one in index["manifests"]] == [None]


def test_a_look_that_changes_nothing_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(tmp_path)
    store.prepare()
    install(store, A, "top")
    store.write_index()
    for name in ("write", "rename", "replace", "mkdir", "link", "symlink", "unlink", "rmdir", "chmod"):

        def refuse(*_: object, name: str = name, **__: object) -> None:
            raise OSError(errno.EROFS, f"nothing was to be changed, but {name}")

        monkeypatch.setattr(os, name, refuse)
    store.prepare()
    install(store, A, "top")


def test_an_index_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(tmp_path)
    store.prepare()

    def refuse(_: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(type(tmp_path), "read_bytes", refuse)
    with pytest.raises(StorageError, match=r"index\.json"):
        store.write_index()


def test_skopeo_reads_the_store_as_an_oci_layout(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.prepare()
    install(store, A)
    store.write_index()
    assert skopeo("inspect", "--raw", f"oci:{tmp_path}/store:weld:1") == A.manifest
    skopeo("copy", "--preserve-digests", f"oci:{tmp_path}/store:weld:1", f"oci:{tmp_path}/copy:weld:1")
    assert (tmp_path / "copy" / "blobs" / "sha256" / A.blob.hex).read_bytes() == A.manifest


def test_an_unreadable_store_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file")
    with pytest.raises(EdgeError):
        ModelStore(tmp_path).prepare()
