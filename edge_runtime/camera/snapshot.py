"""Pictures for people, made beside the frames: the newest one as JPEG in a memfd that main reads.

The reader's thread only copies the pixels (about 1 ms for 1080p), because it must be back for the next frame; a thread
that lives for one picture encodes it, with less right to the processor than everybody else. It shares the interpreter
with the reader all the same: pictures asked for without a pause (15 a second of 1080p, on two busy cores) cost no
frame, but the 99th percentile of the interval between frames grew from 43 to 67 ms.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

import edge_runtime.camera.environment  # noqa: F401 - before cv2, which reads its limits when it is loaded

import cv2  # isort: skip

from edge_runtime.core.errors import DataError
from edge_runtime.system.messages import PeerGone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.camera.source import Pixels, Shape
    from edge_runtime.core.frame import SlotRef
    from edge_runtime.system.messages import MessageSocket
    from edge_runtime.system.ring import Ring

logger = logging.getLogger(__name__)

QUALITIES: Final = (90, 70, 40)
BYTES_MAX: Final = 16 << 20
BUSY: Final = "busy"
NICENESS: Final = 10


@dataclass(frozen=True, slots=True)
class Newest:
    """The frame that was announced last, and where its pixels are until the next one is written there."""

    frame_id: int
    ref: SlotRef
    shape: Shape
    utc_ns: int
    mono_ns: int


@dataclass(frozen=True, slots=True)
class _Wish:
    request: int
    until_mono_ns: int
    max_width: int | None


class Snapshots:
    """See the module docstring. All methods belong to the reader's thread."""

    def __init__(self, socket: MessageSocket, ring: Ring, fd: int | None, *, fresh_s: float) -> None:
        """Write pictures into ``fd``, which stays the caller's; none is older than ``fresh_s`` when it is made."""
        self._socket = socket
        self._ring = ring
        self._fd = fd
        self._fresh_ns = round(fresh_s * 1e9)
        self._newest: Newest | None = None
        self._wish: _Wish | None = None
        self._threads: list[threading.Thread] = []
        self._is_making = False  # a thread that has answered may live a moment longer, and is in nobody's way

    def ask(self, message: Mapping[str, object]) -> None:
        """Make the picture that ``message`` wants of the newest frame, if that is fresh, or of the next one."""
        match message:
            case {"request": int(request), "until_mono_ns": int(until_mono_ns), "max_width": int() | None as width}:
                wish = _Wish(request, until_mono_ns, width)
            case _:
                logger.warning("a wish for a picture is not understood: %r", message)
                return
        if self._fd is None:
            self._refuse(request, "this process makes no pictures")
        elif self._is_making:
            self._refuse(request, BUSY)
        else:
            self._wish = wish
            if self._newest is not None and time.monotonic_ns() - self._newest.mono_ns <= self._fresh_ns:
                self._begin(self._newest)

    def offer(self, newest: Newest) -> None:
        """Remember a frame that was just announced; it is the picture that somebody waits for."""
        self._newest = newest
        if self._wish is not None:
            self._begin(newest)

    def close(self) -> None:
        """Wait for the picture that is being made."""
        for thread in self._threads:
            thread.join()

    def _begin(self, newest: Newest) -> None:
        wish, self._wish = self._wish, None
        if wish is None or time.monotonic_ns() >= wish.until_mono_ns:
            return
        shape = newest.shape
        try:
            # nobody but this thread writes into the slot, so what is copied is whole
            pixels = np.frombuffer(self._ring.view(newest.ref, shape.nbytes), np.uint8).copy()
        except DataError:  # a later frame was begun there and was no good
            self._wish = wish
            return
        image = pixels.reshape(shape.height, shape.width, shape.channels)
        name = f"snapshot/{wish.request}"
        thread = threading.Thread(target=self._make, args=(wish, newest, image), name=name)
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        self._is_making = True
        thread.start()

    def _make(self, wish: _Wish, newest: Newest, image: Pixels) -> None:
        with contextlib.suppress(OSError):  # a right that may be missing
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        message: dict[str, object] = {"op": "snapshot", "request": wish.request}
        try:
            image = _narrowed(image, wish.max_width)
            size = _write(self._fd, image)
        except (cv2.error, OSError, ValueError) as error:
            message["error"] = str(error)[:200]
        else:
            message |= {
                "bytes": size,
                "frame": newest.frame_id,
                "utc_ns": newest.utc_ns,
                "mono_ns": newest.mono_ns,
                "width": image.shape[1],
                "height": image.shape[0],
            }
        self._is_making = False
        self._send(message)

    def _refuse(self, request: int, why: str) -> None:
        self._send({"op": "snapshot", "request": request, "error": why})

    def _send(self, message: Mapping[str, object]) -> None:
        with contextlib.suppress(PeerGone):  # the reader sees it, too
            self._socket.send(message)


def _narrowed(image: Pixels, max_width: int | None) -> Pixels:
    height, width = image.shape[:2]
    if max_width is None or width <= max_width:
        return image
    size = max_width, max(1, round(height * max_width / width))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write(fd: int | None, image: Pixels) -> int:
    """Write ``image`` as JPEG, the better the smaller it is; return its bytes.

    Raises:
        ValueError: no quality makes it small enough.
        OSError: it cannot be written.
    """
    for quality in QUALITIES:
        made, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if made and encoded.size <= BYTES_MAX and fd is not None:
            data = memoryview(encoded.tobytes())
            written = 0
            while written < len(data):
                written += os.pwrite(fd, data[written:], written)
            return written
    msg = f"the picture is larger than {BYTES_MAX >> 20} MiB"
    raise ValueError(msg)
