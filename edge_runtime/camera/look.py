"""A short look through a source, for people at the command line: does it work, how fast, what does it show."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.camera.network import unavailable
from edge_runtime.camera.pacing import Pacer
from edge_runtime.camera.source import LatenessTracker, Nothing
from edge_runtime.core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_runtime.camera.source import Pixels, Shape, Source

FIRST_PICTURE_S: Final = 10.0
"""How long a source may take to its first good picture."""
CHANNELS_MAX: Final = 3


@dataclass(slots=True)
class View:
    """What was seen.

    Attributes:
        open_s: seconds to connect or open.
        first_s: seconds from the start to the first good picture.
        frames: good pictures.
        bad: pictures that could not be used, with ``bad_reason`` the last reason.
        stale: pictures that came too late.
        seconds: from the first good picture to the last one.
        shape: of the last picture.
        image: the last picture, (h, w) or (h, w, 3) uint8.
    """

    open_s: float = 0.0
    first_s: float = 0.0
    frames: int = 0
    bad: int = 0
    bad_reason: str | None = None
    stale: int = 0
    seconds: float = 0.0
    shape: Shape | None = None
    image: Pixels | None = None

    @property
    def fps(self) -> float | None:
        """Pictures a second, ``None`` when there were too few to tell."""
        return (self.frames - 1) / self.seconds if self.frames > 1 and self.seconds > 0 else None


def look(
    source: Source,
    seconds: float,
    max_pixels: int,
    pause: Callable[[float], object],
    *,
    seen: Callable[[Pixels, float], None] | None = None,
) -> View:
    """Open ``source``, watch it for ``seconds`` after its first good picture (0: only that one), and close it.

    Args:
        source: not opened yet.
        seconds: how long to watch.
        max_pixels: pixels of the largest picture.
        pause: waits, for sources that play at a speed of their own.
        seen: is shown each good picture, (h, w, c) uint8, and the monotonic time in seconds; valid for the call.

    Raises:
        EdgeError: it cannot be opened, or is lost meanwhile.
        DataError: no picture of it could be used.
        UnavailableError: it gave no picture within ``FIRST_PICTURE_S``.
    """
    view = View()
    slot = np.empty(max_pixels * CHANNELS_MAX, np.uint8)  # untouched pages cost nothing
    started_s = time.monotonic()
    try:
        source.open()
        view.open_s = time.monotonic() - started_s
        for _ in _watch(source, view, slot, started_s, seconds, pause):
            if view.shape is not None and seen is not None:
                seen(_image(slot, view.shape), time.monotonic())
    finally:
        source.close()
    if view.shape is not None:
        rows = _image(slot, view.shape)
        view.image = rows.copy() if view.shape.channels == CHANNELS_MAX else rows[:, :, 0].copy()
    return view


def _watch(
    source: Source, view: View, slot: Pixels, started_s: float, seconds: float, pause: Callable[[float], object]
) -> Iterator[None]:
    """Go on until it is over; yield after each good picture."""
    tracker, pacer = LatenessTracker(), Pacer(source.fps)
    tracker.reset(time.monotonic())
    while True:
        now_s = time.monotonic()
        if not view.frames and now_s - started_s > FIRST_PICTURE_S:
            raise _nothing(view)
        if view.frames and now_s - started_s - view.first_s >= seconds:
            return
        arrival = source.grab()
        if arrival is Nothing.LEFT:
            if not view.frames:
                raise _nothing(view)
            return
        if arrival is Nothing.YET:
            continue
        now_s = time.monotonic()
        if source.nature.paced:
            pause(max(0.0, pacer.due_s(arrival.position_s, now_s) - now_s))
        elif source.nature.live and tracker.is_stale(arrival, now_s, clocked=source.nature.clocked):
            view.stale += 1
            continue
        if _take(source, view, slot, started_s):
            yield


def _take(source: Source, view: View, slot: Pixels, started_s: float) -> bool:
    try:
        view.shape = source.retrieve(slot)
    except DataError as error:
        view.bad += 1
        view.bad_reason = str(error)
        return False
    view.frames += 1
    since_s = time.monotonic() - started_s
    if view.frames == 1:
        view.first_s = since_s
    view.seconds = since_s - view.first_s
    return True


def _image(slot: Pixels, shape: Shape) -> Pixels:
    return slot[: shape.nbytes].reshape(shape.height, shape.width, shape.channels)


def _nothing(view: View) -> Exception:
    if view.bad:
        return DataError("camera.bad_picture", f"none of its {view.bad} pictures can be used: {view.bad_reason}")
    return unavailable("no_picture", f"it gave no picture within {FIRST_PICTURE_S:g} s", None)
