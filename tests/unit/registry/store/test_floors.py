"""Twin files: one may be damaged at any moment; both damaged is unknown, which is not none."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import InvariantError, PermissionDeniedError, StorageError
from edge_runtime.registry.store.floors import NAMES, FloorsFiles, read_if_any
from edge_runtime.registry.trust.floors import Floors, Keys

if TYPE_CHECKING:
    from pathlib import Path

KEYS = Keys(frozenset({"a"}))


def _floors(version: int) -> Floors:
    return Floors().with_role("timestamp", KEYS, version)


def _written(directory: Path, *versions: int) -> FloorsFiles:
    files = FloorsFiles(directory)
    files.read()
    for version in versions:
        files.write(_floors(version))
    return files


def test_there_are_none_at_first_and_then_those_that_were_written(tmp_path: Path) -> None:
    assert FloorsFiles(tmp_path).read() is None
    _written(tmp_path, 1, 2)

    assert FloorsFiles(tmp_path).read() == _floors(2)
    assert (tmp_path / NAMES[0]).read_bytes() == (tmp_path / NAMES[1]).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("size", [0, 0.5, 0.999])
@pytest.mark.parametrize("name", NAMES)
def test_one_truncated_file_costs_nothing_and_is_mended(tmp_path: Path, name: str, size: float) -> None:
    _written(tmp_path, 1, 2)
    path = tmp_path / name
    whole = path.read_bytes()
    os.truncate(path, int(len(whole) * size))

    files = FloorsFiles(tmp_path)
    assert files.read() == _floors(2)
    assert files.damaged == (name,)
    files.write(_floors(2))
    assert files.damaged == ()
    other = FloorsFiles(tmp_path)
    assert other.read() == _floors(2)
    assert other.damaged == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_byte_anywhere_is_noticed(tmp_path: Path, name: str) -> None:
    _written(tmp_path, 1)
    path = tmp_path / name
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        files = FloorsFiles(tmp_path)
        assert files.read() == _floors(1)
        assert files.damaged == (name,)


def test_a_lost_twin_is_written_again(tmp_path: Path) -> None:
    _written(tmp_path, 1)
    (tmp_path / NAMES[1]).unlink()
    files = FloorsFiles(tmp_path)
    assert files.read() == _floors(1)
    files.write(_floors(1))

    assert (tmp_path / NAMES[1]).exists()


def test_the_newer_twin_counts_and_the_older_one_is_brought_up(tmp_path: Path) -> None:
    """A power cut between the two writes."""
    _written(tmp_path, 1)
    older = (tmp_path / NAMES[1]).read_bytes()
    _written(tmp_path, 2)
    (tmp_path / NAMES[1]).write_bytes(older)
    files = FloorsFiles(tmp_path)
    assert files.read() == _floors(2)
    files.write(_floors(2))
    os.truncate(tmp_path / NAMES[0], 0)

    assert FloorsFiles(tmp_path).read() == _floors(2)


@pytest.mark.parametrize("sizes", [(0, 0), (0, None), (None, 0)])
def test_both_damaged_is_unknown_and_not_none(tmp_path: Path, sizes: tuple[int | None, int | None]) -> None:
    _written(tmp_path, 1)
    for name, size in zip(NAMES, sizes, strict=True):
        if size is None:
            (tmp_path / name).unlink()
        else:
            os.truncate(tmp_path / name, size)

    with pytest.raises(StorageError) as caught:
        FloorsFiles(tmp_path).read()
    assert caught.value.code == "floors.unknown"


def test_floors_of_a_version_to_come_are_unknown(tmp_path: Path) -> None:
    import zlib

    body = b'{"schema":"edge-trust-floors/2"}'
    for name in NAMES:
        (tmp_path / name).write_bytes(b"edge-floors-file/1 7 %08x\n" % zlib.crc32(b"7\n" + body) + body)

    with pytest.raises(StorageError):
        FloorsFiles(tmp_path).read()


def test_what_is_no_file_is_damage(tmp_path: Path) -> None:
    _written(tmp_path, 1)
    (tmp_path / NAMES[0]).unlink()
    os.mkfifo(tmp_path / NAMES[0])

    files = FloorsFiles(tmp_path)
    assert files.read() == _floors(1)
    assert files.damaged == (NAMES[0],)


def test_no_descriptors_left_is_no_damage(tmp_path: Path) -> None:
    """Floors that were made anew from what was kept would have forgotten old revocations."""
    _written(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(tmp_path, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(StorageError) as caught:
            FloorsFiles(tmp_path).read()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.code == "storage.io"


def test_too_large_a_file_is_damage(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"123")

    assert read_if_any(tmp_path / "x", 3) == b"123"
    assert read_if_any(tmp_path / "x", 2) == b""


def test_floors_never_fall(tmp_path: Path) -> None:
    files = _written(tmp_path, 2)
    with pytest.raises(InvariantError):
        files.write(_floors(1))

    assert FloorsFiles(tmp_path).read() == _floors(2)


def test_floors_that_could_not_be_read_again_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _written(tmp_path, 1)
    monkeypatch.setattr("edge_runtime.registry.store.floors.LIMIT_BYTES", len(_floors(2).dump()) - 1)
    with pytest.raises(StorageError) as caught:
        files.write(_floors(2))
    assert caught.value.code == "floors.too_large"
    monkeypatch.undo()

    assert FloorsFiles(tmp_path).read() == _floors(1)


def test_the_same_floors_are_not_written_again(tmp_path: Path) -> None:
    files = _written(tmp_path, 2)
    before = [(tmp_path / name).stat().st_ino for name in NAMES]
    files.write(_floors(2))

    assert [(tmp_path / name).stat().st_ino for name in NAMES] == before


@pytest.mark.parametrize("step", [0, 1])
def test_a_full_disk_at_either_write_leaves_the_floors_of_before_or_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    from edge_runtime.registry.store import floors as module

    files = _written(tmp_path, 1)
    real, calls = module.write_atomic, []

    def failing(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) > step:
            raise StorageError("storage.full", "no room")
        real(path, data)

    monkeypatch.setattr(module, "write_atomic", failing)
    with pytest.raises(StorageError):
        files.write(_floors(2))
    assert FloorsFiles(tmp_path).read() == _floors(1 + step)
    monkeypatch.undo()
    files.write(_floors(2))
    assert FloorsFiles(tmp_path).read() == _floors(2)
    assert (tmp_path / NAMES[0]).read_bytes() == (tmp_path / NAMES[1]).read_bytes()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_damage(tmp_path: Path) -> None:
    _written(tmp_path, 1)
    (tmp_path / NAMES[0]).chmod(0)
    with pytest.raises(PermissionDeniedError):
        FloorsFiles(tmp_path).read()
