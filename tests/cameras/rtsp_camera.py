"""Starts the RTSP test camera (``rtsp_server.py``) in Debian's interpreter; tests freeze, thaw and kill it."""

from __future__ import annotations

import functools
import os
import select
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

import pytest

INTERPRETER = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
ROOT = SCRIPT.parents[2]
START_TIMEOUT_S = 20
_PROBE = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
wanted = "appsrc", "videoconvert", "x264enc", "x265enc", "rtph264pay", "jpegenc"
missing = [name for name in wanted if Gst.ElementFactory.find(name) is None]
raise SystemExit(", ".join(missing) or 0)
"""


@functools.cache
def what_is_missing() -> str:
    """Return what the RTSP camera lacks on this machine, nothing if it can run."""
    if not Path(INTERPRETER).exists():
        return f"{INTERPRETER} is missing"
    if shutil.which("ffmpeg") is None:
        return "ffmpeg is missing"
    done = subprocess.run([INTERPRETER, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False)
    return (done.stderr.strip().splitlines() or ["GStreamer"])[-1] if done.returncode else ""


def need_rtsp_camera() -> None:
    """Skip the test by name where the RTSP camera cannot run; in CI that is a failure."""
    missing = what_is_missing()
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"the RTSP camera of the tests cannot run: {missing}")
    if missing:
        pytest.skip(f"needs python3-gi, gir1.2-gst-rtsp-server-1.0 and the GStreamer plugins: {missing}")


class RtspCamera:
    """A camera at ``rtsp://127.0.0.1:PORT/cam``; a context manager."""

    def __init__(self, port: int, *options: str) -> None:
        self.port = port
        self.url = f"rtsp://127.0.0.1:{port}/cam"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it listens."""
        need_rtsp_camera()
        command = [INTERPRETER, str(SCRIPT), "--port", str(self.port), *self._options]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,  # its ffmpeg is stopped and killed with it
        )
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], START_TIMEOUT_S)[0], "the RTSP camera does not start"
        line = self._process.stdout.readline()
        assert line.startswith(b"READY"), f"the RTSP camera says {line!r}"

    def freeze(self) -> None:
        """Stop it in mid-stream, as a crashed camera: connections stay, nothing comes."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)
