"""What each kind of source is granted; ``tests/integration/test_camera_child.py`` shows that it is in force."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.camera.arguments import ReaderArgs
from edge_runtime.camera.confinement import Confinement, Grants, grants_for
from edge_runtime.core.errors import ConfigError


def grants(text: str) -> Grants:
    return grants_for(ReaderArgs("top", text))


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("rtsp://10.0.0.5/cam", (53, 554)),
        ("rtsp://10.0.0.5:8554/cam", (53, 8554)),
        ("rtsps://10.0.0.5/cam", (53, 322)),
        ("http://10.0.0.5/cam", (53, 80)),
        ("https://10.0.0.5/cam", (53, 443)),
    ],
)
def test_a_network_camera_gets_its_port_and_name_servers(text: str, ports: tuple[int, ...]) -> None:
    found = grants(text)
    assert found.ports == ports
    assert found.targets == ()
    assert "/etc/resolv.conf" in found.read_only
    assert ("/etc/ssl" in found.read_only) == text.startswith(("rtsps", "https"))


def test_a_file_gets_its_directory_and_no_port(tmp_path: Path) -> None:
    assert grants(f"file:{tmp_path}/clip.mp4") == Grants(targets=(tmp_path,))


def test_a_directory_of_pictures_gets_itself(tmp_path: Path) -> None:
    assert grants(f"images:{tmp_path}/?loop=1") == Grants(targets=(tmp_path,))


def test_a_device_may_be_written_and_nothing_else() -> None:
    found = grants("v4l2:/dev/video3")
    assert found.read_write == (Path("/dev/video3"),)
    assert found.ports == ()


def test_a_simulated_camera_gets_nothing() -> None:
    assert grants("sim:bars") == Grants()


def test_listed_files_get_their_directories_once(tmp_path: Path) -> None:
    files = (str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    assert grants_for(ReaderArgs("top", None, files=files)) == Grants(targets=(tmp_path,))


def test_a_source_that_does_not_exist_yet_is_not_confined_to_nothing(tmp_path: Path) -> None:
    confinement = Confinement(ReaderArgs("top", f"images:{tmp_path}/later"))
    confinement.make()
    assert not confinement.is_made


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(ConfigError):
        Confinement(ReaderArgs("top", "ftp://x"))


def test_a_link_to_itself_is_missing_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    confinement = Confinement(ReaderArgs("top", f"images:{tmp_path}/loop"))
    confinement.make()
    assert not confinement.is_made


def test_a_directory_behind_a_closed_one_is_no_crash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    confinement = Confinement(ReaderArgs("top", f"images:{tmp_path}"))

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", denied)
        confinement.make()
    assert not confinement.is_made
