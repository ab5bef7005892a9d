from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError
from edge_runtime.registry.descriptor import describe
from edge_runtime.registry.store.store import ModelStore
from tests.fakes.releases import install, make_release, store_blobs
from tests.unit.system.test_files import Faults

if TYPE_CHECKING:
    from pathlib import Path

A, B = make_release(1), make_release(2)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path)
    made.prepare()
    return made


def overwrite(path: Path, raw: bytes) -> None:
    path.chmod(0o640)
    path.write_bytes(raw)


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_a_release_is_a_package_directory_of_hard_links_that_nobody_may_write(store: ModelStore) -> None:
    store_blobs(store, A)
    staged = store.releases.stage(A.manifest, {"model": "weld", "release": 1})
    found = files_of(staged.directory)
    facts = json.loads(found.pop("verified.json"))
    assert found == A.files
    assert facts == {
        "schema": "edge-verified/1",
        "manifest": A.digest,
        "facts": {"model": "weld", "release": 1},
    }
    weights = staged.artifact.files["model.onnx"]
    assert (staged.directory / "model.onnx").samefile(store.blobs.path(weights.digest))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [staged.directory, *staged.directory.rglob("*")]}
    assert modes == {0o550, 0o440}
    assert store.releases.find(A.digest) == staged
    store.releases.verify(staged)
    assert [one.digest for one in store.releases.all()] == [A.digest]


def test_staging_twice_changes_nothing(store: ModelStore) -> None:
    install(store, A)
    before = store.releases.path(A.digest).stat().st_ino
    install(store, A)
    assert store.releases.path(A.digest).stat().st_ino == before


def test_a_release_without_one_of_its_blobs_is_not_made(store: ModelStore) -> None:
    store_blobs(store, A)
    store.blobs.path(describe(A.files["model.onnx"], "").digest).unlink()
    with pytest.raises(DataError) as caught:
        store.releases.stage(A.manifest)
    assert caught.value.code == "store.damaged"
    assert store.releases.find(A.digest) is None
    assert list(store.releases.directory.iterdir()) == []


def test_what_a_killed_process_left_half_is_removed_at_the_start(store: ModelStore) -> None:
    install(store, A)
    half = store.releases.directory / f".{'0' * 64}.1.tmp"
    shutil.copytree(store.releases.path(A.digest), half)
    store.prepare()
    assert [path.name for path in store.releases.directory.iterdir()] == [A.digest.removeprefix("sha256:")]


@pytest.mark.parametrize("change", ["flip", "shorten", "remove", "link", "dangling", "add", "unlinked"])
def test_attack_40_a_file_changed_after_it_was_verified_is_never_loaded_and_mended_by_the_next_fetch(
    store: ModelStore, tmp_path: Path, change: str
) -> None:
    install(store, A, "top")
    staged = store.releases.find(A.digest)
    assert staged is not None
    weights = staged.directory / "model.onnx"
    for directory in (staged.directory, staged.directory / "golden"):
        directory.chmod(0o750)
    match change:
        case "flip":
            overwrite(weights, b"!" + A.files["model.onnx"][1:])
        case "shorten":
            overwrite(weights, b"")
        case "remove":
            weights.unlink()
        case "link":
            (tmp_path / "elsewhere").write_bytes(A.files["model.onnx"])
            weights.unlink()
            weights.symlink_to(tmp_path / "elsewhere")
        case "dangling":
            weights.unlink()
            weights.symlink_to(tmp_path / "nowhere")
        case "unlinked":
            weights.unlink()
            weights.write_bytes(b"!" + A.files["model.onnx"][1:])
        case _:
            (staged.directory / "golden" / "model.bin").write_bytes(b"beside")
    with pytest.raises(DataError) as caught:
        store.releases.verify(staged)
    assert caught.value.code == "store.damaged"
    assert store.releases.find(A.digest) is None
    assert store.slots.links("top").current == A.digest
    install(store, A)
    mended = store.releases.find(A.digest)
    assert mended is not None
    store.releases.verify(mended)
    assert files_of(mended.directory).keys() == {*A.files, "verified.json"}


def test_a_blob_that_was_fetched_again_replaces_the_damaged_file_of_the_release(store: ModelStore) -> None:
    install(store, A)
    overwrite(store.releases.path(A.digest) / "model.onnx", b"!" + A.files["model.onnx"][1:])
    install(store, A)  # the store mends itself before anybody verified the release
    mended = store.releases.find(A.digest)
    assert mended is not None
    store.releases.verify(mended)


@pytest.mark.parametrize("content", [b"", b'{"schema":"edge-ver', b"[]", b'{"facts":3}'])
def test_a_damaged_description_costs_only_what_it_said(store: ModelStore, content: bytes) -> None:
    install(store, A)
    overwrite(store.releases.path(A.digest) / "verified.json", content)
    found = store.releases.find(A.digest)
    assert found is not None
    assert found.facts == {}
    store.releases.verify(found)


@pytest.mark.parametrize("content", [b"", b"{", make_release(3).manifest])
def test_a_damaged_manifest_makes_the_release_unknown_until_it_is_fetched_again(
    store: ModelStore, content: bytes
) -> None:
    install(store, A)
    overwrite(store.blobs.path(A.digest), content)
    assert store.releases.find(A.digest) is None
    assert list(store.releases.all()) == []
    assert store.releases.names() == [A.digest.removeprefix("sha256:")]
    install(store, A)
    assert store.releases.find(A.digest) is not None


def test_the_index_lets_other_tools_read_the_store(store: ModelStore) -> None:
    install(store, A)
    install(store, B)
    store.write_index()
    index = json.loads((store.root / "store" / "index.json").read_bytes())
    assert {(one["digest"], one["size"]) for one in index["manifests"]} == {
        (one.digest, len(one.manifest)) for one in (A, B)
    }
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": "weld:1"}


def test_dropping_leaves_the_blobs_and_the_other_releases(store: ModelStore) -> None:
    install(store, A)
    install(store, B)
    store.releases.drop(A.digest)
    store.releases.drop(A.digest)
    assert store.releases.find(A.digest) is None
    other = store.releases.find(B.digest)
    assert other is not None
    store.releases.verify(other)
    store.releases.verify(store.releases.stage(A.manifest))


def test_a_link_to_nowhere_in_a_release_is_replaced_when_it_is_staged_again(store: ModelStore) -> None:
    install(store, A)
    weights = store.releases.path(A.digest) / "model.onnx"
    weights.parent.chmod(0o750)
    weights.unlink()
    weights.symlink_to("nowhere")
    install(store, A)
    assert weights.read_bytes() == A.files["model.onnx"]


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, StorageError), (errno.EACCES, PermissionDeniedError)])
def test_a_directory_that_cannot_be_read_is_an_error_and_no_damage(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    install(store, A)
    staged = store.releases.find(A.digest)
    assert staged is not None
    for names in (["scandir"], ["stat", "lstat"]):  # `Path.lstat` is one or the other, by version
        faults = Faults(monkeypatch, names, number)
        faults.fail_at = 1
        with pytest.raises(kind):
            store.releases.verify(staged)
        faults.calls = 0
        with pytest.raises(kind):
            list(store.releases.all()) if names == ["scandir"] else store.releases.find(A.digest)
        monkeypatch.undo()
    store.releases.verify(staged)


def test_a_disk_that_refuses_everything_is_told_by_its_first_refusal(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_blobs(store, A)
    for name in ("link", "rmdir"):

        def refuse(*_: object, name: str = name, **__: object) -> None:
            raise OSError(errno.EIO, f"the disk refuses {name}")

        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(StorageError, match="refuses link"):
        store.releases.stage(A.manifest)


def test_a_file_that_the_disk_cannot_read_is_refused_and_a_new_copy_takes_its_place(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(store, A, "top")
    staged = store.releases.find(A.digest)
    assert staged is not None
    weights = staged.artifact.files["model.onnx"]
    before, real = store.blobs.path(weights.digest).stat().st_ino, os.open

    def bad_sector(path: str | Path, flags: int, *more: int, **named: int) -> int:
        if flags & os.O_ACCMODE == os.O_RDONLY and str(path).endswith(("model.onnx", weights.hex)):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, flags, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", bad_sector)
        with pytest.raises(DataError, match="Input/output error"):
            store.releases.verify(staged)
        assert store.releases.find(A.digest) == staged, "it may be readable the next time"
        install(store, A)
    assert store.blobs.path(weights.digest).stat().st_ino != before
    mended = store.releases.find(A.digest)
    assert mended is not None
    store.releases.verify(mended)
    assert list(store.blobs.damaged.iterdir()) == []
