"""Main's end of pictures for people: one at a time, made by the camera process, which decodes and encodes.

The camera process writes the JPEG into a memfd that both have; its message says how many bytes. What it wrote is
taken as bytes and looked at no further than its first and last marker. One thread (the line's) owns it.

Legal order: ``ask`` -> one of ``on_message``, ``on_exited``, ``expire`` -> ``done`` is called, once -> ``ask`` ...
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_runtime.core.command import Answer, Status
from edge_runtime.core.errors import DataError
from edge_runtime.pipeline import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.system.process import Child

JPEG_BYTES_MAX: Final = 16 << 20
SNAPSHOT_S: Final = 2.0
"""How long a camera process may take; a picture that comes later is thrown away."""
BUSY: Final = "busy"  # says a camera process that still makes a picture for which nobody waits any more
_SOI, _EOI = b"\xff\xd8\xff", b"\xff\xd9"  # ITU-T T.81, B.1.1.3


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture of a camera as JPEG, and the frame that it is."""

    camera: str
    frame_id: int
    captured_utc_ns: int
    captured_mono_ns: int
    width: int
    height: int
    jpeg: bytes


class Snapshots:
    """See the module docstring."""

    def __init__(self, camera: str) -> None:
        """Make the memory for pictures of ``camera``; nothing of it exists before a picture. ``close`` gives it back.

        Raises:
            OSError: the kernel gives no memfd.
        """
        self.camera = camera
        self.fd = os.memfd_create(f"edge-snapshot-{camera}"[:200], os.MFD_CLOEXEC)
        self._number = 0
        self._done: Callable[[Shot | Answer], None] | None = None

    def ask(
        self, child: Child | None, until_mono_ns: int, max_width: int | None, done: Callable[[Shot | Answer], None]
    ) -> int:
        """Ask for the newest picture; ``done`` gets it, or why there is none. Return a number for ``expire``."""
        self._number += 1
        if self._done is not None:
            done(self._busy())
            return 0
        self._done = done
        message = {"op": "snapshot", "request": self._number, "until_mono_ns": until_mono_ns, "max_width": max_width}
        if child is None or not child.send(message):
            self._finish(Answer(Status.UNAVAILABLE, f"the process of camera {self.camera} is not there"))
        return self._number

    def on_message(self, message: Mapping[str, object], *, max_pixels: int) -> None:
        """Take the camera's answer; one that nobody waits for any more is thrown away.

        Raises:
            DataError: the message does not fit.
        """
        number = wire.integer(message, "request")
        if number > self._number:
            raise DataError("child.message", f"picture {number} was never asked for")
        error = wire.text(message, "error", "")
        shot = None if error else self._shot(message, max_pixels)
        if number == self._number and self._done is not None:
            refused = Answer(Status.UNAVAILABLE, f"camera {self.camera} has no picture now: {error}")
            self._finish(shot or (self._busy() if error == BUSY else refused))
        os.ftruncate(self.fd, 0)

    def on_exited(self) -> None:
        """The camera process is gone."""
        self._finish(Answer(Status.UNAVAILABLE, f"the process of camera {self.camera} ended before the picture"))
        os.ftruncate(self.fd, 0)

    def expire(self, number: int) -> None:
        """Give up ``number`` if it is still waited for."""
        if number == self._number:
            self._finish(Answer(Status.LATE, f"camera {self.camera} gave no picture within {SNAPSHOT_S:g} s"))

    def close(self) -> None:
        """Answer who waits, and give the memory back. Idempotent."""
        self._finish(Answer(Status.UNAVAILABLE, "the line ended before the picture"))
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _shot(self, message: Mapping[str, object], max_pixels: int) -> Shot:
        size = wire.integer(message, "bytes")
        width, height = wire.integer(message, "width"), wire.integer(message, "height")
        if not 0 < width * height <= max_pixels:
            raise DataError("child.message", f"a picture of {width} x {height} pixels")
        jpeg = os.pread(self.fd, size, 0) if 0 < size <= JPEG_BYTES_MAX else b""
        if len(jpeg) != size or not jpeg.startswith(_SOI) or not jpeg.endswith(_EOI):
            raise DataError("child.message", f"{size} bytes were announced as a picture and are none")
        frame_id, utc_ns = wire.integer(message, "frame"), wire.integer(message, "utc_ns")
        return Shot(self.camera, frame_id, utc_ns, wire.integer(message, "mono_ns"), width, height, jpeg)

    def _busy(self) -> Answer:
        return Answer(Status.TOO_MANY, f"a picture of camera {self.camera} is being made; ask again in a second")

    def _finish(self, outcome: Shot | Answer) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(outcome)
