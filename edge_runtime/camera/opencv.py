"""RTSP streams, video files and USB cameras through OpenCV; the only home of ``cv2.VideoCapture``.

Facts this module rests on, all measured with opencv 4.14 (FFmpeg) against a real RTSP server:

- ``isOpened()`` is no news: it is False alike for refused, 401 and 404, and stays True after the stream has ended.
- A stalled stream first returns one old frame after the read time limit, then False after another one; with more than
  one decoder thread it returns several. After the first False the object never works again.
- ``fflags;nobuffer`` throws away the packets read while probing, the first key frame among them: the first picture then
  comes a whole key frame interval later (0.9 s at one a second, 4 s at one in four). Without it the same latency.
- Probing by the often advised 32768 bytes makes the first pictures of a quiet 40 kbit/s stream 2.6 s old;
  ``probesize;32`` takes the parameters from the session description, where cameras put them: 0.25 s to a picture 50 ms
  old.
- H.264 and H.265 pictures come one frame interval late, because FFmpeg sees the end of one by the start of the next.
- FFmpeg opens local files, playlists and other hosts from a URL unless protocols *and* formats are allow-listed.
- FFmpeg takes any certificate unless told to check it; then it checks authority and name, but an address not at all.
- The size of a stream that changes its size is scaled back to the first one inside OpenCV; nobody is told.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Final

import numpy as np

import edge_runtime.camera.environment  # noqa: F401 - before cv2, which reads its limits when it is loaded

import cv2  # isort: skip

from edge_runtime.camera import rtsp
from edge_runtime.camera.network import authorities_file, parse_address, unavailable
from edge_runtime.camera.picture_header import bad_picture
from edge_runtime.camera.source import OPEN_TIMEOUT_S, Arrival, Nature, Nothing, Pixels, Shape
from edge_runtime.core.errors import EdgeError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_OPTIONS: Final = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_RTSP_OPTIONS: Final = (
    "rtsp_transport;tcp|flags;low_delay|{probing}|protocol_whitelist;rtp,udp,tcp,rtsp{secure}|format_whitelist;rtsp"
)
_SECURE: Final = ",tls|tls_verify;1|ca_file;{authorities}"
_PROBE_LITTLE: Final = "probesize;32|analyzeduration;1|fpsprobesize;0"
_PROBE_MUCH: Final = "probesize;2000000|analyzeduration;1000000|fpsprobesize;0"
_FILE_OPTIONS: Final = (
    "protocol_whitelist;file"
    "|format_whitelist;mov,avi,matroska,mpegts,mpeg,h264,hevc,m4v,mjpeg,flv,asf,ogg,mxf,ivf,rawvideo,yuv4mpegpipe"
)
_MJPG: Final = cv2.VideoWriter.fourcc(*"MJPG")
_ABOUT: Final = 0.9  # a read that took this part of its time limit ended because of it
_BGR_CHANNELS: Final = 3
_INTRA: Final = ord("I")  # what FFmpeg calls a picture that needs no other one


class VideoSource:
    """What the three kinds of captures have in common; see ``camera.source.Source`` for the order of calls."""

    def __init__(self, nature: Nature, max_pixels: int) -> None:
        """Refuse videos of more than ``max_pixels`` pixels a frame."""
        self.nature = nature
        self.fps = 0.0
        self._max_pixels = max_pixels
        self._capture: cv2.VideoCapture | None = None
        self._shape = Shape(0, 0, _BGR_CHANNELS)

    def retrieve(self, target: Pixels) -> Shape:
        """Convert the grabbed frame to BGR straight into ``target``.

        Raises:
            DataError: the decoder gives nothing usable, or it does not fit.
        """
        shape = self._shape
        if shape.nbytes > target.size:
            raise _too_large(shape, target)
        # a size that OpenCV does not announce (0 x 0) gets a view it will not accept; it then makes its own array
        view = target[: shape.nbytes].reshape(shape.height, shape.width, shape.channels) if shape.nbytes else None
        try:
            decoded, image = self._opened.retrieve(view)
        except cv2.error as error:
            message = f"the decoder failed ({error.err or error.msg})"
            raise bad_picture(message) from error
        if not decoded or image.size == 0:
            raise bad_picture("the decoder gives no picture")
        if view is not None and image.shape == view.shape and np.shares_memory(image, view):
            return shape
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise bad_picture(f"the decoder gives {image.dtype} of shape {image.shape}, expected 8 bit pictures")
        shape = Shape(image.shape[1], image.shape[0], 1 if image.ndim == 2 else image.shape[2])  # noqa: PLR2004 - grey
        if shape.nbytes > target.size:
            raise _too_large(shape, target)
        target[: shape.nbytes] = image.reshape(-1)
        self._shape = shape
        return shape

    def close(self) -> None:
        """Release the capture. Only the thread that reads may call it."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    @property
    def _opened(self) -> cv2.VideoCapture:
        if self._capture is None:
            raise unavailable("closed", "the source is not open", None)
        return self._capture

    def _start(self, location: str, backend: int, settings: list[int]) -> bool:
        """Open a capture and learn its size; return whether that worked."""
        capture = cv2.VideoCapture(location, backend, settings)
        if not capture.isOpened():
            capture.release()
            return False
        self._capture = capture
        self._shape = Shape(
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), _BGR_CHANNELS
        )
        if self._shape.width * self._shape.height > self._max_pixels:
            self.close()
            raise unavailable(
                "too_large",
                f"{self._shape.width} x {self._shape.height} pixels are more than the {self._max_pixels} allowed",
                "choose a smaller stream of this camera, or raise max_pixels",
            )
        return True


class RtspSource(VideoSource):
    """An RTSP camera over TCP, one decoder thread, lowest latency."""

    def __init__(self, url: str, max_pixels: int, stall_s: float) -> None:
        """End the connection after ``stall_s`` seconds without a picture."""
        super().__init__(Nature(live=True, clocked=True, blocks_s=stall_s), max_pixels)
        self._url = url
        self._address = parse_address(url)
        self._stall_s = stall_s
        self._read_timeout_s = max(0.1, stall_s / 2 - 0.02)  # reached twice before a read fails
        self._probing = _PROBE_LITTLE

    def open(self) -> None:
        """Connect; may block twice ``OPEN_TIMEOUT_S``.

        Raises:
            UnavailableError: with the reason in its code.
            PermissionDeniedError: user or password are missing or wrong.
        """
        rtsp.check_reachable(self._address, OPEN_TIMEOUT_S)
        os.environ[_OPTIONS] = _RTSP_OPTIONS.format(secure=self._secure_options(), probing=self._probing)
        started_s = time.monotonic()
        settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(OPEN_TIMEOUT_S * 1000)]
        settings += [cv2.CAP_PROP_N_THREADS, 1, cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(self._read_timeout_s * 1000)]
        if self._start(self._url, cv2.CAP_FFMPEG, settings):
            self._check_description(settings)
            return
        if time.monotonic() - started_s > OPEN_TIMEOUT_S * _ABOUT:
            raise unavailable(
                "timeout", f"{self._address.where} takes the connection but does not answer", "restart the camera"
            )
        raise rtsp.explain(self._address, OPEN_TIMEOUT_S)

    def _secure_options(self) -> str:
        if self._address.scheme != "rtsps":
            return ""
        authorities = authorities_file()
        if authorities is None:
            raise unavailable(
                "tls",
                "this box has no file of certificate authorities, so that no rtsps:// camera can be trusted",
                "install the package ca-certificates",
            )
        return _SECURE.format(authorities=authorities)

    def _check_description(self, settings: list[int]) -> None:
        """Adapt to what the camera says it sends, which is known only now."""
        if not self._shape.nbytes:
            self.close()
            self._probing = _PROBE_MUCH  # look into the stream next time
            raise unavailable("no_stream", f"{self._address.where} does not say what it sends, looking closer", None)
        if int(self._opened.get(cv2.CAP_PROP_FOURCC)) == _MJPG and self._read_timeout_s < self._stall_s:
            # a picture decoder holds nothing back, so that its first time limit is the last; it can only be set anew
            self.close()
            self._read_timeout_s = self._stall_s
            settings[-1] = round(self._stall_s * 1000)
            if not self._start(self._url, cv2.CAP_FFMPEG, settings):
                raise unavailable("closed", f"{self._address.where} takes only one connection at a time", None)

    def grab(self) -> Arrival:
        """Wait for the next frame.

        Raises:
            UnavailableError: ``camera.stalled`` when the time was up, ``camera.closed`` when the stream ended.
        """
        capture = self._opened
        started_s = time.monotonic()
        grabbed = capture.grab()
        timed_out = time.monotonic() - started_s > self._read_timeout_s * _ABOUT
        if grabbed:
            position_s, is_key = (
                capture.get(cv2.CAP_PROP_POS_MSEC) / 1000,
                capture.get(cv2.CAP_PROP_FRAME_TYPE) == _INTRA,
            )
            return Arrival(position_s=position_s, suspect=timed_out, is_key=is_key)
        if timed_out:
            raise unavailable("stalled", f"{self._address.where} sends no pictures any more", None)
        raise unavailable("closed", f"{self._address.where} ended the stream", None)


class FileSource(VideoSource):
    """A video file; it ends where reading ends, whatever length its header claims."""

    def __init__(self, path: Path, max_pixels: int, *, loop: bool = False, realtime: bool = True) -> None:
        """Play at the file's own speed (``realtime``) as a live camera would, or as fast as slots are free."""
        super().__init__(Nature(live=realtime, paced=realtime), max_pixels)
        self._path = path
        self._loop = loop
        self._fresh = True

    def open(self) -> None:
        """Open the file.

        Raises:
            UnavailableError: it is missing or not a readable video.
            PermissionDeniedError: this user may not read it.
        """
        _check_path(self._path, stat.S_ISREG, "file")
        os.environ[_OPTIONS] = _FILE_OPTIONS
        # the absolute path starts with a slash, so that no part of it can be taken for a protocol
        if not self._start(str(self._path.absolute()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]):
            raise unavailable("no_video", f"file {self._path} is not a video that can be read", None)
        rate = self._opened.get(cv2.CAP_PROP_FPS)
        self.fps = rate if 0.1 <= rate <= 1000 else 25.0  # noqa: PLR2004 - headers lie
        self._fresh = True

    def grab(self) -> Arrival | Nothing:
        """Go to the next frame; start again at the end when looping.

        Raises:
            UnavailableError: the file holds no frame, or cannot be opened again.
        """
        if not self._opened.grab():
            if self._fresh:
                raise unavailable("no_video", f"file {self._path} holds no picture that can be read", None)
            if not self._loop:
                return Nothing.LEFT
            self.close()
            self.open()
            return self.grab()
        self._fresh = False
        return Arrival(position_s=self._opened.get(cv2.CAP_PROP_POS_MSEC) / 1000, origin=self._path.name)


class DeviceSource(VideoSource):
    """A USB or other Video4Linux camera. Not tried on hardware by our tests; under QEMU with the vivid driver."""

    def __init__(self, path: Path, max_pixels: int) -> None:
        """Read the device node ``path``."""
        super().__init__(Nature(live=True, blocks_s=2.0), max_pixels)
        self._path = path

    def open(self) -> None:
        """Open the device.

        Raises:
            UnavailableError: it is absent, busy or not a camera.
            PermissionDeniedError: this user may not read it.
        """
        _check_path(self._path, stat.S_ISCHR, "device")
        if not self._start(str(self._path), cv2.CAP_V4L2, []):
            raise unavailable(
                "busy", f"device {self._path} cannot be opened for video", "does another program use the camera?"
            )

    def grab(self) -> Arrival | Nothing:
        """Wait for the next frame, at most 2 s.

        Raises:
            UnavailableError: the device is gone.
        """
        started_s = time.monotonic()
        if self._opened.grab():
            return Arrival()
        if time.monotonic() - started_s > _ABOUT and self._path.exists():
            return Nothing.YET  # the same capture goes on when the camera does (measured)
        raise unavailable("closed", f"device {self._path} stopped", "was it unplugged?")


def prepare() -> None:
    """Limit OpenCV to the calling thread; the engine needs the cores. Call it once per process, before anything."""
    cv2.setNumThreads(1)


def _check_path(path: Path, is_kind: Callable[[int], bool], word: str) -> None:
    try:
        status = path.stat()
    except PermissionError as error:
        raise _denied(path, word) from error
    except OSError as error:
        raise unavailable("missing", f"there is no {word} {path} ({error.strerror})", None) from error
    if not is_kind(status.st_mode):
        raise unavailable("missing", f"{path} is not a {word}", None)
    if not os.access(path, os.R_OK):
        raise _denied(path, word)


def _denied(path: Path, word: str) -> EdgeError:
    way_out = "add the user to the group video" if word == "device" else "grant the user read permission"
    return PermissionDeniedError("camera.permission", f"{word} {path} may not be read by this user", help=way_out)


def _too_large(shape: Shape, target: Pixels) -> EdgeError:
    return bad_picture(f"{shape.width} x {shape.height} pixels do not fit the {target.size} bytes of a slot")
