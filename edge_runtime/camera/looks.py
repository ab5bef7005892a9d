"""Looks at some of the pictures that a camera process reads, beside the frames: measures them and tells main.

The reader's thread does it, after a frame was announced, so that no frame waits for it; where frames must not be judged
when their picture is bad, before, so that the numbers of a picture are there when its frame is. There are at most
``1 / LOOK_S`` looks a second, and fewer where they would take more than ``SHARE`` of the time of the thread.

Main says what to compare with (``reference``), and has references made of what is seen for some seconds
(``make_reference``).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.camera.measure import Measure
from edge_runtime.camera.reference import Comparison, ReferenceMaker
from edge_runtime.core.errors import DataError
from edge_runtime.core.picture_reference import parse_reference, reference_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.camera.announcer import Announcer
    from edge_runtime.camera.arguments import When
    from edge_runtime.camera.source import Shape
    from edge_runtime.core.frame import SlotRef
    from edge_runtime.system.ring import Ring

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.25
SHARE: Final = 0.01
GRACE_S: Final = 4.0
"""A reference that has too few pictures when its time is over waits so much longer for them."""


class Looks:
    """See the module docstring. All methods belong to the reader's thread."""

    def __init__(self, announce: Announcer, ring: Ring, when: When) -> None:
        """Look at frames of ``ring`` never, before they are announced, or after it."""
        self._announce = announce
        self._ring = ring
        self._when = when
        self._measure = Measure()
        self._due_s = 0.0
        self._keys = 0
        self._maker: ReferenceMaker | None = None
        self._request = 0
        self._until_s = 0.0

    def tell(self, message: Mapping[str, object]) -> None:
        """Do what a message ``reference`` or ``make_reference`` says; one that is not understood is logged."""
        if message.get("op") == "reference":
            self._compare_with(message)
        else:
            self._make_reference(message)

    def forget(self) -> None:
        """What comes next is from another connection."""
        self._measure.forget()

    def arrived(self, *, is_key: bool) -> None:
        """Count a frame that is going to be offered."""
        self._keys += is_key

    def offer(self, frame_id: int, ref: SlotRef, shape: Shape, when: When) -> None:
        """Look at a frame that will be announced next (``before``), or just was (``after``), if it is time to."""
        now_s = time.monotonic()
        if when != self._when or now_s < self._due_s:
            return
        began_s = time.thread_time()
        # nobody but this thread writes into the slot
        pixels = np.frombuffer(self._ring.view(ref, shape.nbytes), np.uint8)
        image = pixels.reshape(shape.height, shape.width, shape.channels)
        numbers, copies = self._measure.measure(image, frame_id, now_s, keys=self._keys)
        self._keys = 0
        self._announce.picture(numbers)
        if self._maker is not None:
            self._maker.add(numbers, copies)
        self._due_s = now_s + max(LOOK_S, (time.thread_time() - began_s) / SHARE)

    def tick(self, now_s: float) -> None:
        """End a reference whose time is over; call regularly."""
        if self._maker is None or now_s < self._until_s + (0.0 if self._maker.is_enough else GRACE_S):
            return
        maker, self._maker = self._maker, None
        try:
            reference = maker.finish(time.time_ns())
        except DataError as error:
            self._announce.reference(self._request, {"error": str(error), "help": error.help or ""})
        else:
            self._announce.reference(self._request, reference_fields(reference))

    def _compare_with(self, message: Mapping[str, object]) -> None:
        fields = message.get("reference")
        self._measure.comparison = None
        if not isinstance(fields, dict):
            return
        try:
            self._measure.comparison = Comparison(parse_reference(fields))
        except DataError as error:
            logger.warning("pictures are compared with nothing: %s", error)

    def _make_reference(self, message: Mapping[str, object]) -> None:
        """Begin it; a newer wish replaces an older one."""
        match message:
            case {"request": int(request), "seconds": int() | float() as seconds}:
                self._maker, self._request = ReferenceMaker(), request
                self._until_s = time.monotonic() + seconds
            case _:
                logger.warning("a wish for a reference is not understood: %r", message)
