from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import PermissionDeniedError, StorageError
from edge_runtime.system import names
from tests.unit.system.test_files import Faults

if TYPE_CHECKING:
    from pathlib import Path


def content(directory: Path) -> dict[str, str]:
    return {
        path.name: str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in sorted(directory.iterdir())
        if path.is_symlink() or path.is_file()
    }


def test_a_move_that_cannot_last_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "there").mkdir()
    faults = Faults(monkeypatch, ["rename", "open", "fsync"], errno.EIO)
    for n in range(1, 4):
        faults.calls, faults.fail_at = 0, n
        with pytest.raises(StorageError, match="Input/output error"):
            names.move(tmp_path / "a", tmp_path / "there" / "b")
        faults.fail_at = 0
        assert content(tmp_path) == {"a": "x"}
        assert content(tmp_path / "there") == {}
    names.move(tmp_path / "a", tmp_path / "there" / "b")
    assert content(tmp_path / "there") == {"b": "x"}


def test_a_link_points_to_the_old_or_the_new_and_nothing_is_left_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults(monkeypatch, ["symlink", "rename", "open", "fsync"], errno.ENOSPC)
    for n in range(1, 5):
        faults.fail_at = 0
        names.point(tmp_path / "current", "old")
        faults.calls, faults.fail_at = 0, n
        with pytest.raises(StorageError) as caught:
            names.point(tmp_path / "current", "new")
        faults.fail_at = 0
        assert caught.value.code == "storage.full"
        assert content(tmp_path) == {"current": "old" if n <= 2 else "new"}


def test_a_second_name_is_the_same_file_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    names.link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")
    (tmp_path / "soft").symlink_to("a")
    names.link(tmp_path / "soft", tmp_path / "c")
    assert (tmp_path / "c").is_symlink()
    with pytest.raises(StorageError, match="File exists"):
        names.link(tmp_path / "a", tmp_path / "b")


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    names.remove(tmp_path / "nothing")
    names.remove_tree(tmp_path / "nothing")
    (tmp_path / "a").write_text("x")
    names.remove(tmp_path / "a")
    assert content(tmp_path) == {}


def test_a_tree_is_removed_though_read_only_and_a_link_to_one_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "kept").write_text("x")
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "file").write_text("x")
    (tmp_path / "tree" / "inner" / "away").symlink_to(tmp_path / "victim")
    (tmp_path / "tree" / "inner").chmod(0o550)
    (tmp_path / "tree").chmod(0o550)
    names.remove_tree(tmp_path / "tree")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    names.remove_tree(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]
    assert content(tmp_path / "victim") == {"kept": "x"}


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda path: names.remove(path / "a"), "unlink"),
        (lambda path: names.remove_tree(path / "a"), "unlink"),
        (lambda path: names.move(path / "a", path / "b"), "rename"),
        (lambda path: names.link(path / "a", path / "b"), "link"),
        (lambda path: names.point(path / "b", "a"), "symlink"),
    ],
    ids=["remove", "remove_tree", "move", "link", "point"],
)
def test_a_missing_right_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: object, name: str) -> None:
    (tmp_path / "a").write_text("x")
    faults = Faults(monkeypatch, [name], errno.EACCES)
    faults.fail_at = 1
    with pytest.raises(PermissionDeniedError, match="Permission denied"):
        call(tmp_path)  # type: ignore[operator]
