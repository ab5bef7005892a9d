from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import DataError, StorageError
from edge_runtime.registry.descriptor import Descriptor, describe
from edge_runtime.registry.store.blobs import Blobs
from tests.unit.system.test_files import Faults

if TYPE_CHECKING:
    from pathlib import Path

RAW = b"weights of a model" * 100
BLOB = describe(RAW, "application/octet-stream")


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    made = Blobs(tmp_path)
    made.prepare()
    return made


def overwrite(path: Path, raw: bytes) -> None:
    path.chmod(0o640)
    path.write_bytes(raw)


def test_a_blob_that_was_put_is_there_read_only_and_under_the_name_an_oci_layout_gives_it(
    blobs: Blobs, tmp_path: Path
) -> None:
    blobs.put(BLOB, RAW)
    path = tmp_path / "store" / "blobs" / "sha256" / BLOB.hex
    assert path.read_bytes() == RAW
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert (tmp_path / "store" / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
    assert list(blobs.incoming.iterdir()) == []
    assert blobs.read(BLOB.digest, 10_000) == RAW
    assert blobs.used_bytes() == len(RAW)
    assert [digest for digest, _ in blobs.stored()] == [BLOB.digest]


def test_putting_twice_writes_once(blobs: Blobs) -> None:
    blobs.put(BLOB, RAW)
    before = blobs.path(BLOB.digest).stat().st_ino
    blobs.put(BLOB, RAW)
    assert blobs.path(BLOB.digest).stat().st_ino == before


def test_a_size_that_is_not_that_of_the_bytes_is_refused_though_the_digest_is_theirs(blobs: Blobs) -> None:
    with pytest.raises(DataError, match="1801 bytes, found"):
        blobs.put(Descriptor(BLOB.digest, len(RAW) + 1, ""), RAW)
    assert not blobs.has(BLOB)


def test_other_bytes_than_the_name_says_are_never_stored(blobs: Blobs) -> None:
    with pytest.raises(DataError, match="expected sha256"):
        blobs.put(BLOB, RAW[:-1] + b"!")
    assert not blobs.has(BLOB)
    assert list(blobs.incoming.iterdir()) == []


def test_more_bytes_than_were_declared_are_not_written(blobs: Blobs) -> None:
    with blobs.part(BLOB) as part:
        part.restart()
        part.write(RAW)
        with pytest.raises(DataError, match="more than the 1800 bytes") as caught:
            part.write(b"x")
    assert caught.value.code == "registry.too_long"
    assert blobs.part_bytes(BLOB) == len(RAW)


def test_what_had_arrived_is_hashed_and_continued(blobs: Blobs) -> None:
    with blobs.part(BLOB) as part:
        part.restart()
        part.write(RAW[:700])
    with blobs.part(BLOB) as part:
        assert part.resume() == 700
        part.write(RAW[700:])
        part.commit()
    assert blobs.is_sound(BLOB)


def test_a_part_that_is_longer_than_the_blob_begins_anew(blobs: Blobs) -> None:
    blobs.part_path(BLOB).write_bytes(RAW + b"more")
    with blobs.part(BLOB) as part:
        assert part.resume() == 0
    assert blobs.part_bytes(BLOB) == 0


def test_a_part_whose_process_was_killed_before_it_had_its_name_is_finished(blobs: Blobs) -> None:
    path = blobs.part_path(BLOB)
    path.write_bytes(RAW)
    path.chmod(0o440)
    with blobs.part(BLOB) as part:
        assert part.resume() == len(RAW)
        part.commit()
    assert blobs.is_sound(BLOB)


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_something_else_in_the_place_of_a_part_is_replaced_and_not_followed(
    blobs: Blobs, tmp_path: Path, kind: str
) -> None:
    victim, path = tmp_path / "victim", blobs.part_path(BLOB)
    victim.write_bytes(b"untouched")
    match kind:
        case "link":
            path.symlink_to(victim)
        case "pipe":
            os.mkfifo(path)
        case _:
            path.mkdir()
    blobs.put(BLOB, RAW)
    assert blobs.is_sound(BLOB)
    assert victim.read_bytes() == b"untouched"


@pytest.mark.parametrize("content", [RAW[:-1], RAW + b"!", RAW[:-1] + b"!", b""])
def test_attack_40_a_blob_that_was_changed_on_the_disk_is_set_aside_and_never_used(
    blobs: Blobs, content: bytes
) -> None:
    blobs.put(BLOB, RAW)
    overwrite(blobs.path(BLOB.digest), content)
    assert not blobs.is_sound(BLOB)
    assert not blobs.has(BLOB)
    assert (blobs.damaged / BLOB.hex).read_bytes() == content
    blobs.put(BLOB, RAW)
    assert blobs.read(BLOB.digest, 10_000) == RAW


def test_reading_a_changed_blob_is_refused_with_the_way_out(blobs: Blobs) -> None:
    blobs.put(BLOB, RAW)
    overwrite(blobs.path(BLOB.digest), RAW[::-1])
    with pytest.raises(DataError, match="models pull fetches it again") as caught:
        blobs.read(BLOB.digest, 10_000)
    assert caught.value.code == "store.damaged"
    with pytest.raises(DataError, match="is missing"):
        blobs.read(BLOB.digest, 10_000)


def test_reading_more_than_is_allowed_is_refused(blobs: Blobs) -> None:
    blobs.put(BLOB, RAW)
    with pytest.raises(DataError, match="larger than the 1799 bytes"):
        blobs.read(BLOB.digest, len(RAW) - 1)
    assert blobs.read(BLOB.digest, len(RAW)) == RAW


def test_a_link_in_the_place_of_a_blob_is_not_followed(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes(RAW)
    blobs.path(BLOB.digest).symlink_to(tmp_path / "same")
    with pytest.raises(StorageError):
        blobs.read(BLOB.digest, 10_000)
    assert not blobs.is_sound(BLOB)
    assert (blobs.damaged / BLOB.hex).is_symlink()


@pytest.mark.parametrize(
    "digest", ["md5:" + "0" * 32, "sha256:" + "A" * 64, "sha256:../../../etc/passwd", "", "sha256:"]
)
def test_only_sha256_digests_name_files(blobs: Blobs, digest: str) -> None:
    with pytest.raises(DataError, match="64 lower-case hex digits"):
        blobs.path(digest)


def test_a_disk_says_how_much_it_would_take(blobs: Blobs) -> None:
    assert blobs.free_bytes() > 0


def test_a_store_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    nowhere = Blobs(tmp_path / "nowhere")
    assert nowhere.used_bytes() == 0
    with pytest.raises(StorageError, match="No such file"):
        nowhere.free_bytes()
    with pytest.raises(StorageError, match="No such file"):
        nowhere.put(BLOB, RAW)


@pytest.mark.parametrize("how", ["read", "is_sound"])
@pytest.mark.parametrize(("number", "unsound"), [(errno.EIO, True), (errno.EMFILE, False)], ids=["EIO", "EMFILE"])
def test_what_the_disk_cannot_read_is_not_sound_but_stays_and_what_cannot_be_opened_now_is_an_error(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch, how: str, number: int, *, unsound: bool
) -> None:
    blobs.put(BLOB, RAW)
    faults = Faults(monkeypatch, ["open"], number)
    faults.fail_at = 1
    if not unsound:
        with pytest.raises(StorageError):
            blobs.read(BLOB.digest, 10_000) if how == "read" else blobs.is_sound(BLOB)
    elif how == "read":
        with pytest.raises(DataError):
            blobs.read(BLOB.digest, 10_000)
    else:
        assert not blobs.is_sound(BLOB)
    monkeypatch.undo()
    assert blobs.is_sound(BLOB)


def test_a_file_whose_status_cannot_be_told_is_an_error(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs.put(BLOB, RAW)
    for names, call in ((["stat", "lstat"], lambda: blobs.has(BLOB)), (["statvfs"], blobs.free_bytes)):
        faults = Faults(monkeypatch, names, errno.EIO)
        faults.fail_at = 1
        with pytest.raises(StorageError):
            call()
        monkeypatch.undo()


def test_a_large_blob_is_flushed_on_the_way_also_where_nobody_takes_advice(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []

    def advise(_descriptor: int, offset: int, length: int, _advice: int) -> None:
        told.append((offset, length))
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(os, "posix_fadvise", advise)
    raw = bytes(18 << 20)
    blob = describe(raw, "")
    with blobs.part(blob) as part:
        part.resume()
        for at in range(0, len(raw), 1 << 20):
            part.write(raw[at : at + (1 << 20)])
        part.commit()
    assert told == [(0, 8 << 20), (8 << 20, 8 << 20)]
    assert blobs.is_sound(blob)


def test_a_pipe_in_the_place_of_a_blob_is_not_waited_for(blobs: Blobs) -> None:
    os.mkfifo(blobs.path(BLOB.digest))
    with pytest.raises(StorageError, match="not a file"):
        blobs.read(BLOB.digest, 10_000)
    blobs.put(BLOB, RAW)
    assert blobs.is_sound(BLOB)
