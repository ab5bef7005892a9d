"""Pictures that are bad, from a real camera's stream to events and results: with real camera and engine processes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.app.picture_references import PictureReferences, ReferenceFiles, Wish
from edge_runtime.camera.opencv import RtspSource
from edge_runtime.camera.source import Arrival
from edge_runtime.core.result import Evaluation
from edge_runtime.system.clock import SystemClock
from tests import scenes
from tests.cameras.mjpeg_server import MjpegServer
from tests.cameras.rtsp_camera import RtspCamera, need_rtsp_camera
from tests.daemons import MODEL, wait_until
from tests.lines import RunningLine, line_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.core.result import Result

pytestmark = pytest.mark.timeout(120)

SCENE = scenes.bench_scene()
REFERENCE_S = 2.2


class Stage:
    """What stands in front of the camera."""

    def __init__(self) -> None:
        self.spoil: Callable[[Any], Any] = lambda image: image
        self.is_noisy = True

    def show(self, number: int) -> Any:
        image = self.spoil(SCENE)
        return scenes.noisy(image, 3, number) if self.is_noisy else image


def camera(port: int, **picture: object) -> dict[str, object]:
    return {
        "cameras": {
            "top": {
                "source": f"http://127.0.0.1:{port}/shown",
                "picture": {"after_s": 0.5, "not_decidable": True} | picture,
            }
        },
        "models": {"defects": {"path": str(MODEL)}},
        "inspections": {"top": {"camera": "top", "model": "defects", "deadline_ms": 5000}},
    }


def refused(results: list[Result]) -> set[bool]:
    """Whether the newest results were refused because of the picture."""
    return {one.evaluation is Evaluation.NOT_DECIDABLE and one.reason.startswith("bad_picture") for one in results[-3:]}


def test_a_camera_that_is_moved_or_frozen_is_told_and_never_passes(tmp_path: Path, free_port: int) -> None:
    stage, files = Stage(), ReferenceFiles(tmp_path)
    with (
        MjpegServer(free_port, fps=20, show=stage.show),
        RunningLine(line_settings(tmp_path, **camera(free_port))) as running,
    ):
        noted: dict[str, dict[str, object]] = {}
        references = PictureReferences(running.line, tmp_path, SystemClock(), tell=running.put, note=noted.__setitem__)

        def told(kind: str) -> bool:
            references.look()  # as the health thread does
            return kind in running.kinds

        running.wait_camera()
        files.write_wish("top", Wish("a", REFERENCE_S))
        wait_until(lambda: told("camera.reference"), 20, "a reference was made")
        assert files.wish("top") is None
        assert list(noted) == ["camera.reference"]
        wait_until(lambda: running.line.reasons() == (), 30, "the line is ready")
        stage.spoil = scenes.moved
        wait_until(lambda: "camera.moved" in running.kinds, 10, "moved")
        running.wait_results(4)
        assert refused(running.results) == {True}
        assert any("moved" in reason for reason in running.line.reasons())
        stage.spoil = lambda image: image
        wait_until(lambda: "camera.picture_ok" in running.kinds, 10, "good again")
        running.wait_results(4)
        assert refused(running.results) == {False}
        stage.is_noisy = False
        wait_until(lambda: "camera.frozen" in running.kinds, 10, "frozen")
    kinds = [kind for kind in running.kinds if kind.startswith("camera.") and kind != "camera.streaming"]
    assert kinds == ["camera.reference", "camera.moved", "camera.picture_ok", "camera.frozen"]


@pytest.mark.soak
@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_key_frames_of_a_real_stream_are_recognised(free_port: int, codec: str) -> None:
    """A picture that changes is coded from the one before, but for one in so many (gop), or each of MJPEG."""
    need_rtsp_camera()
    with RtspCamera(free_port, "--codec", codec, "--gop", "5", "--fps", "10") as rtsp:
        source = RtspSource(rtsp.url, 1 << 22, 5.0)
        source.open()
        keys: list[bool] = []
        end_s = time.monotonic() + 20
        while len(keys) < 30 and time.monotonic() < end_s:
            arrival = source.grab()
            if isinstance(arrival, Arrival):
                keys.append(arrival.is_key)
        source.close()
    share = sum(keys) / len(keys)
    assert share == 1.0 if codec == "mjpeg" else 0.1 <= share <= 0.4


@pytest.mark.soak
def test_a_minute_of_a_still_scene_through_a_real_camera_has_no_alarm(tmp_path: Path, free_port: int) -> None:
    stage = Stage()
    with (
        MjpegServer(free_port, fps=20, show=stage.show),
        RunningLine(line_settings(tmp_path, **camera(free_port))) as running,
    ):
        running.wait_ready()
        threading.Event().wait(60)
        assert running.line.line.picture.cameras["top"].state == "ok"
    assert {kind for kind in running.kinds if kind.startswith("camera.")} == {"camera.streaming"}
