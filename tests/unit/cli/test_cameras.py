"""``edge-runtime cameras`` as people and programs use it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import pytest

from edge_runtime.cli import dispatch
from edge_runtime.cli.cameras import find_devices

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "sim:bars?size=320x240&fps=50"


def test_devices_are_listed_with_their_names(tmp_path: Path) -> None:
    devices, facts = tmp_path / "dev", tmp_path / "sys"
    devices.mkdir()
    for name in ("video10", "video2", "audio1"):
        (devices / name).write_bytes(b"")
    (facts / "video2").mkdir(parents=True)
    (facts / "video2" / "name").write_text("USB Camera\n")
    assert find_devices(devices, facts) == [
        {"source": f"v4l2:{devices}/video2", "name": "USB Camera", "readable": True},
        {"source": f"v4l2:{devices}/video10", "name": "unknown", "readable": True},
    ]


def test_the_list_is_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["cameras", "list"]) == 0
    assert "sim:conveyor" in capsys.readouterr().out
    assert dispatch(["cameras", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["simulated"] == ["sim:conveyor", "sim:bars"]


def test_a_probe_tells_size_and_rate(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["cameras", "probe", SMALL, "--seconds", "0.4", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["width"], facts["height"], facts["channels"]) == (320, 240, 3)
    assert facts["fps"] > 10
    assert dispatch(["cameras", "probe", SMALL, "--seconds", "0"]) == 0
    out = capsys.readouterr().out
    assert "works: 320 x 240 pixels, colour" in out
    assert "too few pictures to tell the rate" in out


def test_a_probe_mentions_unusable_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["cameras", "probe", SMALL + "&script=corrupt@1", "--seconds", "0.2"]) == 0
    assert "last unusable picture: damaged on purpose" in capsys.readouterr().out


def test_a_probe_of_nobody_exits_69_with_a_reason_and_a_way_out(
    free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["cameras", "probe", f"rtsp://line:s3cret@127.0.0.1:{free_port}/cam"]) == 69
    err = capsys.readouterr().err
    assert "refuses the connection" in err
    assert "= help:" in err
    assert "s3cret" not in err


def test_a_source_that_cannot_be_exits_78(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["cameras", "probe", "ftp://10.0.0.5"]) == 78
    assert "expected rtsp://" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_snapshot_is_a_whole_picture(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"shot{suffix}"
    assert dispatch(["cameras", "snapshot", SMALL, str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    image = cv2.imread(str(path))
    assert image is not None
    assert image.shape == (240, 320, 3)
    assert (facts["width"], facts["size_bytes"]) == (320, path.stat().st_size)
    assert dispatch(["cameras", "snapshot", SMALL, str(path)]) == 0
    assert f"{path}: 320 x 240 pixels" in capsys.readouterr().out


def test_a_snapshot_of_an_unknown_kind_is_refused_before_the_camera_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["cameras", "snapshot", "rtsp://127.0.0.1:1/cam", str(tmp_path / "shot.doc")]) == 78
    assert "use one of .jpg" in capsys.readouterr().err
