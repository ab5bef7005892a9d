from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.system import regular
from edge_runtime.system.regular import open_beneath, open_regular


def test_a_file_is_opened_for_reading(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b"content"


@pytest.mark.timeout(5)
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a file"):
        open_regular(tmp_path / "pipe")


@pytest.mark.timeout(5)
def test_a_file_that_becomes_a_pipe_while_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.touch()
    opening = os.open

    def swapped(name: Path, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return opening(name, flags)

    monkeypatch.setattr(regular.os, "open", swapped)
    with pytest.raises(OSError, match="not a file"):
        open_regular(path)


def test_directories_devices_and_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(OSError, match="not a file"):
        open_regular(Path("/dev/null"))
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="null"):
        open_regular(tmp_path / "nul\0byte")


@pytest.mark.parametrize("names", [(), ("",), (".",), ("..", "x"), ("a/b",), ("a", "")])
def test_only_names_lead_below_a_directory(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="not names below a directory"):
        open_beneath(tmp_path, *names)


def test_below_a_directory_no_link_is_followed_but_to_the_directory_itself(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "real" / "inner" / "file").write_bytes(b"content")
    (tmp_path / "root").symlink_to("real")
    (tmp_path / "real" / "shortcut").symlink_to("inner")
    (tmp_path / "real" / "link").symlink_to("inner/file")
    with open_beneath(tmp_path / "root", "inner", "file") as file:
        assert file.read() == b"content"
    for names in (("shortcut", "file"), ("link",), ("inner",)):
        with pytest.raises(OSError, match=r"ot a directory|not a file|Is a directory"):
            open_beneath(tmp_path / "root", *names)
