"""The camera child as in the product: forked by the zygote, confined by Landlock, restarted by the Supervisor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edge_runtime.camera.stamp import read_stamp
from edge_runtime.core.frame import SlotRef
from edge_runtime.system.loop import Loop
from edge_runtime.system.process import ChildSpec, Supervisor
from edge_runtime.system.ring import Ring
from tests.cameras.mjpeg_server import MjpegServer
from tests.cameras.rtsp_camera import RtspCamera, need_rtsp_camera

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_runtime.system.process import Child, ExitCause

pytestmark = pytest.mark.timeout(120)

SLOT_BYTES = 4 << 20
IMAGES = Path(__file__).parents[1] / "assets" / "images"


class Line:
    """Main's side of one camera child."""

    def __init__(self, args: dict[str, object], *, heartbeat_timeout_s: float = 5.0) -> None:
        self.loop = Loop()
        self.ring = Ring.create("top", slots=4, slot_bytes=SLOT_BYTES)
        self.messages: list[dict[str, Any]] = []
        self.exits: list[str] = []
        self.torn: list[int] = []
        self.ages_ms: list[int] = []
        self.supervisor = Supervisor(self.loop, preload=["edge_runtime.camera.reader"])
        self.supervisor.start()
        defaults: dict[str, object] = {"camera": "top", "capture": "latest", "fps": None, "stall_s": 2.0}
        spec = ChildSpec(
            name="camera/top",
            entry="edge_runtime.camera.reader:main",
            args=defaults | args,
            fds={"ring": self.ring.fd},
            heartbeat_timeout_s=heartbeat_timeout_s,
        )
        self.supervisor.spawn(spec, self)

    def on_started(self, _child: Child) -> None:
        """Nothing to do."""

    def on_message(self, _child: Child, message: dict[str, Any]) -> None:
        """Keep it, read the stamp of a frame, free its slot."""
        self.messages.append(message)
        if message["op"] != "frame":
            return
        ref = SlotRef(message["slot"], message["generation"])
        shape = (message["height"], message["width"], message["channels"])
        with self.ring.view(ref, shape[0] * shape[1] * shape[2]) as view:
            stamp = read_stamp(np.frombuffer(view, np.uint8).reshape(shape))
        if stamp is not None:
            self.ages_ms.append(stamp.age_ms(time.time_ns() // 1_000_000))
        self.ring.release(ref)

    def on_exited(self, _child: Child, cause: ExitCause) -> None:
        """Account for what the child left unfinished."""
        self.exits.append(cause.text)
        self.torn += self.ring.reclaim()

    def until(self, wanted: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Drive the loop until ``wanted`` holds."""
        deadline = time.monotonic() + timeout_s
        while not wanted():
            assert time.monotonic() < deadline, f"in vain; exits {self.exits}, heard {self.messages[-8:]}"
            self.loop.turn(0.05)

    def frames(self) -> list[dict[str, Any]]:
        """Frames so far."""
        return [message for message in self.messages if message["op"] == "frame"]

    def states(self) -> list[tuple[str, str]]:
        """States and reasons so far."""
        return [(message["state"], message["reason"]) for message in self.messages if message["op"] == "state"]

    def close(self) -> None:
        """End everything."""
        self.supervisor.stop()
        self.loop.close()
        self.ring.close()


@pytest.fixture
def line() -> Iterator[Callable[..., Line]]:
    lines: list[Line] = []

    def start(args: dict[str, object], **options: float) -> Line:
        lines.append(Line(args, **options))
        return lines[-1]

    yield start
    for one in lines:
        one.close()


def test_a_simulated_camera_streams_from_its_own_process_and_stops_by_itself(line: Callable[..., Line]) -> None:
    top = line({"source": "sim:conveyor?fps=20"})
    top.until(lambda: len(top.frames()) >= 10)
    top.supervisor.retire("camera/top")
    top.until(lambda: bool(top.exits))
    assert "told to end" in top.exits[0]
    assert top.torn == []


def test_a_crash_in_the_middle_of_a_frame_costs_that_frame_and_no_other(line: Callable[..., Line]) -> None:
    top = line({"source": "sim:conveyor?fps=20&script=crash@5"})
    top.until(lambda: len(top.frames()) >= 12)
    assert [message["frame"] for message in top.frames()][:8] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert top.torn == [5]
    assert len(top.exits) == 1
    assert "SIGSEGV" in top.exits[0]
    assert top.states() == [("connecting", "starting"), ("streaming", "ok")] * 2


def test_a_child_that_hangs_is_killed_and_replaced(line: Callable[..., Line]) -> None:
    top = line({"source": "sim:conveyor?fps=20&script=hang@5"}, heartbeat_timeout_s=1.5)
    top.until(lambda: len(top.frames()) >= 8)
    assert top.torn == [5]
    assert "no sign of life" in top.exits[0]


def test_a_confined_child_reads_its_pictures_but_not_those_of_others(line: Callable[..., Line], tmp_path: Path) -> None:
    own, foreign = tmp_path / "own", tmp_path / "foreign"
    own.mkdir()
    foreign.mkdir()
    (foreign / "b.png").write_bytes((IMAGES / "good-colour.png").read_bytes())
    (own / "a.png").write_bytes((IMAGES / "good-colour.png").read_bytes())
    (own / "b.png").symlink_to(foreign / "b.png")
    top = line({"source": f"images:{own}"})
    top.until(lambda: ("ended", "end") in top.states())
    outcomes = {message["origin"]: message["op"] for message in top.messages if message["op"] != "state"}
    assert outcomes == {"a.png": "frame", "b.png": "bad_frame"}


def test_what_decoders_write_to_stderr_is_not_passed_on(
    line: Callable[..., Line], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jpeg = (IMAGES / "good-progressive.jpg").read_bytes()
    twice = jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") :]
    (tmp_path / "a.jpg").write_bytes(twice)
    assert cv2.imdecode(np.frombuffer(twice, np.uint8), cv2.IMREAD_COLOR) is not None
    assert "progression" in capfd.readouterr().err
    top = line({"source": f"images:{tmp_path}"})
    top.until(lambda: ("ended", "end") in top.states())
    assert len(top.frames()) == 1
    assert "progression" not in capfd.readouterr().err


def test_a_confined_child_waits_for_a_directory_that_does_not_exist_yet(
    line: Callable[..., Line], tmp_path: Path
) -> None:
    top = line({"source": f"images:{tmp_path / 'later'}"})
    top.until(lambda: ("lost", "missing") in top.states())
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "a.png").write_bytes((IMAGES / "good-colour.png").read_bytes())
    top.until(lambda: ("ended", "end") in top.states())
    assert len(top.frames()) == 1
    assert top.exits == []


def test_a_confined_child_finds_a_directory_that_was_replaced_by_starting_anew(
    line: Callable[..., Line], tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "a.png").write_bytes((IMAGES / "good-colour.png").read_bytes())
    top = line({"source": f"images:{place}?loop=1", "fps": 20})
    top.until(lambda: len(top.frames()) >= 3)
    place.rename(tmp_path / "old")
    place.mkdir()
    (place / "new.png").write_bytes((IMAGES / "good-grey.png").read_bytes())
    top.until(lambda: any(message["origin"] == "new.png" for message in top.frames()))


def test_a_confined_child_reads_a_video(line: Callable[..., Line], tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x240:r=20:d=1"]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-c:v", "libx264", str(clip)], check=True, timeout=60)
    top = line({"source": f"file:{clip}?realtime=0"})
    top.until(lambda: ("ended", "end") in top.states())
    assert len(top.frames()) == 20


def test_a_confined_child_connects_to_its_camera_by_name(line: Callable[..., Line], free_port: int) -> None:
    need_rtsp_camera()
    with RtspCamera(free_port):
        top = line({"source": f"rtsp://localhost:{free_port}/cam"})
        top.until(lambda: len(top.frames()) >= 5)
        assert max(top.ages_ms) < 1000


def test_a_confined_child_reads_mjpeg_over_http(line: Callable[..., Line], free_port: int) -> None:
    with MjpegServer(free_port):
        top = line({"source": f"http://localhost:{free_port}/cam"})
        top.until(lambda: len(top.frames()) >= 5)


PROGRAM = """
import json, socket, sys
from edge_runtime.camera.arguments import ReaderArgs
from edge_runtime.camera.confinement import Confinement
confinement = Confinement(ReaderArgs.parse(json.loads(sys.argv[1])))
confinement.make()
for path in sys.argv[3:]:
    try:
        open(path, "rb").close()
        print("open", path)
    except PermissionError:
        print("denied", path)
for port in (int(sys.argv[2]), int(sys.argv[2]) + 1):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except PermissionError:
        print("denied", port)
    except OSError:
        print("tried", port)
"""


def confined(args: str, port: int, *paths: Path) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, args, str(port), *(str(path) for path in paths)]
    # like the zygote: libraries must not start threads before the process is confined
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def _needs_landlock() -> None:
    program = "from edge_runtime.system.sandbox import landlock as l; r = l(); raise SystemExit(not (r and r.network))"
    if subprocess.run([sys.executable, "-c", program], timeout=50, check=False).returncode:
        pytest.skip("needs a kernel with Landlock ABI 4 (Linux 6.7)")


@pytest.mark.usefixtures("_needs_landlock")
def test_the_confinement_leaves_nothing_but_the_source(tmp_path: Path, free_port: int) -> None:
    own, secret = tmp_path / "own" / "clip.mp4", tmp_path / "secret"
    own.parent.mkdir()
    own.write_bytes(b"x")
    secret.write_bytes(b"x")
    args = f'{{"camera": "top", "source": "file:{own}"}}'
    told = confined(args, free_port, own, secret, Path("/etc/passwd"))
    ports = [f"denied {free_port}", f"denied {free_port + 1}"]
    assert told == [f"open {own}", f"denied {secret}", "denied /etc/passwd", *ports]


@pytest.mark.usefixtures("_needs_landlock")
def test_a_network_camera_leaves_no_files_and_no_other_port(tmp_path: Path, free_port: int) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    args = f'{{"camera": "top", "source": "rtsp://127.0.0.1:{free_port}/cam"}}'
    told = confined(args, free_port, secret, Path("/etc/hosts"))
    assert told == [f"denied {secret}", "open /etc/hosts", f"tried {free_port}", f"denied {free_port + 1}"]
