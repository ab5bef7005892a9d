from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.core.errors import BusyError, DataError, PermissionDeniedError, StorageError
from edge_runtime.system import files

OLD, NEW = b"old content", b"new content that is longer"


class Faults:
    """Makes the n-th call of chosen os functions fail, counting over all of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: list[str], error: int) -> None:
        self.calls = 0
        self.fail_at = 0
        self.error = error
        for name in names:
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))

    def wrap(self, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.fail_at:
                self.calls += 1
                if self.calls == self.fail_at:
                    raise OSError(self.error, os.strerror(self.error))
            return real(*args, **kwargs)

        return call


def test_an_atomic_write_replaces_the_content_and_leaves_only_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    files.write_atomic(path, OLD)
    files.write_atomic(path, NEW)
    assert path.read_bytes() == NEW
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_when_any_step_of_a_write_fails_the_file_is_old_or_new_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    faults = Faults(monkeypatch, ["open", "write", "fsync", "rename"], errno.EIO)
    for n in range(1, 7):  # open, write, fsync, rename, open of the directory, its fsync
        faults.fail_at = 0
        files.write_atomic(path, OLD)
        faults.calls, faults.fail_at = 0, n
        with pytest.raises(StorageError, match="Input/output error"):
            files.write_atomic(path, NEW)
        faults.fail_at = 0
        assert path.read_bytes() == (OLD if n <= 4 else NEW)
        assert [p.name for p in tmp_path.iterdir()] == ["state.json"]
    faults.calls, faults.fail_at = 0, 7
    files.write_atomic(path, NEW)
    assert faults.calls == 6


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:3])))
    files.write_atomic(tmp_path / "state", NEW)
    monkeypatch.undo()
    assert (tmp_path / "state").read_bytes() == NEW


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, StorageError, "storage.full"),
        (errno.EDQUOT, StorageError, "storage.full"),
        (errno.EROFS, StorageError, "storage.read_only"),
        (errno.EACCES, PermissionDeniedError, "storage.permission"),
        (errno.EIO, StorageError, "storage.io"),
    ],
)
def test_an_error_of_the_disk_has_a_code_the_path_and_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], code: str
) -> None:
    Faults(monkeypatch, ["fsync"], number).fail_at = 1
    with pytest.raises(kind) as caught:
        files.write_atomic(tmp_path / "state", NEW)
    assert isinstance(caught.value, (StorageError, PermissionDeniedError))
    assert caught.value.code == code
    assert str(tmp_path / "state") in caught.value.message
    assert caught.value.help


def test_a_bounded_read_returns_what_fits_and_refuses_more(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read_limited(path, 5) == b"12345"
    with pytest.raises(DataError, match="larger than the 4 bytes"):
        files.read_limited(path, 4)
    with pytest.raises(FileNotFoundError):
        files.read_limited(tmp_path / "absent", 4)
    with pytest.raises(StorageError, match="cannot read"):
        files.read_limited(tmp_path, 4)


@pytest.mark.timeout(5)
def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a file"):
        files.read_limited(tmp_path / "pipe", 4)


def test_directories_are_made_with_their_parents_and_kept_when_they_exist(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    files.make_directory(path)
    files.make_directory(path)
    assert path.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot create directory"):
        files.make_directory(tmp_path / "file")
    with pytest.raises(StorageError, match="File name too long"):
        files.make_directory(tmp_path / ("x" * 300))


def test_a_directory_that_cannot_even_be_looked_for_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="File name too long"):
        files.make_directory(tmp_path / ("x" * 300) / "state")


def test_a_file_moved_aside_keeps_its_content_and_takes_no_name_of_another(tmp_path: Path) -> None:
    path = tmp_path / "db"
    for text in ("first", "second"):
        path.write_text(text)
        assert files.move_aside(path, "corrupt") is not None
    assert files.move_aside(path, "corrupt") is None
    assert (tmp_path / "db.corrupt").read_text() == "first"
    assert (tmp_path / "db.corrupt.1").read_text() == "second"


def test_a_file_that_cannot_be_moved_aside_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "db"
    path.touch()
    Faults(monkeypatch, ["rename"], errno.EIO).fail_at = 1
    with pytest.raises(StorageError, match="cannot move aside"):
        files.move_aside(path, "corrupt")
    monkeypatch.undo()
    monkeypatch.setattr(Path, "exists", lambda _self: True)
    with pytest.raises(StorageError, match="a thousand"):
        files.move_aside(path, "corrupt")


def test_a_lock_that_another_process_holds_names_its_pid(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        "import sys; from pathlib import Path; from edge_runtime.system.files import LockFile\n"
        "with LockFile(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=f"held by process {child.pid}"):
            files.LockFile(path).acquire()
    with files.LockFile(path) as lock:
        lock.acquire()
        assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_somebody_who_asks_whether_a_lock_is_held_does_not_keep_it_from_being_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    asking = os.open(path, os.O_RDONLY | os.O_CREAT)
    fcntl.flock(asking, fcntl.LOCK_SH)  # a moment of is_locked
    answered = threading.Timer(0.03, os.close, [asking])
    answered.start()
    with files.LockFile(path):
        answered.join()


def test_a_lock_in_a_missing_directory_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot open"):
        files.LockFile(tmp_path / "absent" / "lock").acquire()


def test_mapped_words_outlive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "words"
    program = (
        "import os, signal, sys; from pathlib import Path; from edge_runtime.system.files import MappedWords\n"
        "words = MappedWords.open(Path(sys.argv[1]), 4); words[0] = 1; words[3] = 2**64 - 1\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    words = files.MappedWords.open(path, 4)
    assert [words[i] for i in range(len(words))] == [1, 0, 0, 2**64 - 1]
    words.close()
    words.close()


def test_words_that_cannot_be_mapped_are_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot map"):
        files.MappedWords.open(tmp_path, 4)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO])
def test_a_lock_that_the_disk_refuses_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    lock = files.LockFile(tmp_path / "lock")
    with monkeypatch.context() as patch:
        patch.setattr(files.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(number, "refused")))
        with pytest.raises(StorageError, match="lock"):
            lock.acquire()
    with lock:  # the next attempt may succeed
        assert files.is_locked(tmp_path / "lock")
