"""``edge-runtime cameras`` as people and programs use it."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Self

import cv2
import pytest

from edge_runtime.app.picture_references import ReferenceFiles, Wish
from edge_runtime.cli import cameras_reference, dispatch
from edge_runtime.cli.cameras import find_devices
from edge_runtime.core.picture import PictureReference
from edge_runtime.core.picture_reference import PNG
from edge_runtime.system.files import LockFile, make_directory

if TYPE_CHECKING:
    from collections.abc import Callable
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


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Two cameras: one that shows something, and one that is not looked at."""
    path = tmp_path / "edge.yaml"
    (tmp_path / "m.onnx").write_bytes(b"")
    path.write_text(
        f"version: 1\nstate_dir: {tmp_path / 'state'}\nmodels: {{m: {{path: m.onnx}}}}\n"
        "cameras:\n  top: {source: 'sim:conveyor?fps=50&size=320x240'}\n"
        "  off: {source: 'sim:bars?size=320x240', picture: false}\n"
    )
    return path


def test_a_reference_is_made_shown_and_removed(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cameras_reference, "SECONDS", 2.2)
    reference = ["cameras", "reference", "top", "--config", str(config)]
    assert dispatch([*reference, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["reference"]["width"] == 320
    assert told["reference"]["sharpness_low"] > 0.5
    kept = config.parent / "state" / "pictures" / "top" / "reference.json"
    assert json.loads(kept.read_text())["looks"] == told["reference"]["looks"]
    assert dispatch([*reference, "--remove"]) == 0
    assert "no reference picture any more" in capsys.readouterr().out
    assert not kept.exists()


@pytest.mark.parametrize(
    ("name", "words"), [("side", "there is no camera 'side'"), ("off", "pictures of camera off are not looked at")]
)
def test_a_camera_that_cannot_have_a_reference_is_named(
    config: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["cameras", "reference", name, "--config", str(config)]) != 0
    assert words in capsys.readouterr().err


class Daemon:
    """Holds the lock of a state directory and answers a wish as ``answer`` says."""

    def __init__(self, state_dir: Path, answer: Callable[[ReferenceFiles, Wish], None]) -> None:
        make_directory(state_dir)
        self._files = ReferenceFiles(state_dir)
        self._lock = LockFile(state_dir / "lock")
        self._answer = answer
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="daemon")

    def __enter__(self) -> Self:
        self._lock.acquire()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._lock.release()

    def _run(self) -> None:
        while not self._over.wait(0.01):
            wish = self._files.wish("top")
            if wish is not None and wish.error is None:
                self._answer(self._files, wish)
                return


REFERENCE = PictureReference(1, 640, 480, 40, 90.0, 0.05, None, 0.2, None, PNG, PNG)


def test_a_running_daemon_is_asked_for_a_reference(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(files: ReferenceFiles, wish: Wish) -> None:
        assert wish.seconds == 10
        files.save("top", REFERENCE)
        files.write_wish("top", None)

    with Daemon(config.parent / "state", answer):
        assert dispatch(["cameras", "reference", "top", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "40 pictures of 640 x 480 are its reference" in out
    assert "moved cannot be told: too little in its pictures stands still" in out


def test_what_a_running_daemon_refuses_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(files: ReferenceFiles, wish: Wish) -> None:
        files.write_wish("top", Wish(wish.id, wish.seconds, "the picture shows nothing", "switch the light on"))

    with Daemon(config.parent / "state", answer):
        assert dispatch(["cameras", "reference", "top", "--config", str(config)]) != 0
    err = capsys.readouterr().err
    assert "the picture shows nothing" in err
    assert "switch the light on" in err
    assert ReferenceFiles(config.parent / "state").wish("top") is None


def test_a_daemon_that_does_not_answer_and_somebody_else_who_asks(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cameras_reference, "ANSWER_S", 0.0)
    with Daemon(config.parent / "state", lambda *_: None):
        assert dispatch(["cameras", "reference", "top", "--remove", "--config", str(config)]) != 0
    assert "did not answer" in capsys.readouterr().err
    with Daemon(config.parent / "state", lambda files, _: files.write_wish("top", Wish("other", 1))):
        assert dispatch(["cameras", "reference", "top", "--config", str(config)]) != 0
    assert "somebody else" in capsys.readouterr().err
