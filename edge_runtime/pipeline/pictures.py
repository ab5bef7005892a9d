"""Main's end of looks at the pictures of one camera: the numbers that its process sends, and the reference for them.

One thread (the line's) owns it. Legal order for references: ``make_reference`` -> one of ``on_message``, ``on_exited``,
the expiry -> ``done`` is called, once. A reference that was made is not used before ``refer``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.core.picture_reference import parse_reference, reference_fields
from edge_runtime.pipeline import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.core.picture import PictureReference
    from edge_runtime.pipeline.picture_health import Change, PictureHealth
    from edge_runtime.system.process import Child

    Outcome = PictureReference | DataError


class Pictures:
    """See the module docstring."""

    def __init__(self, camera: str, health: PictureHealth, *, max_pixels: int) -> None:
        """Have ``health`` judge what is measured on pictures of ``camera``."""
        self.camera = camera
        self.health = health
        self._max_pixels = max_pixels
        self._child: Child | None = None
        self._asked = 0
        self._done: Callable[[Outcome], None] | None = None

    def refer(self, reference: PictureReference | None) -> None:
        """Compare pictures with ``reference``, or with none, from now on."""
        self.health.reference = reference
        self._tell()

    def make_reference(self, seconds: float, done: Callable[[Outcome], None]) -> Callable[[], None]:
        """Have a reference made of the next ``seconds``; ``done`` gets it, or why there is none.

        Call what this returns when it takes too long.
        """
        self._finish(DataError("picture.replaced", "another reference was asked for"))
        self._asked += 1
        self._done = done
        number = self._asked
        message = {"op": "make_reference", "request": number, "seconds": seconds}
        if self._child is None or not self._child.send(message):
            self._finish(DataError("picture.no_camera", f"the process of camera {self.camera} is not there"))

        def expire() -> None:
            if number == self._asked:
                self._finish(DataError("picture.late", f"camera {self.camera} gave no reference in time"))

        return expire

    def on_started(self, child: Child) -> None:
        """A new process compares with nothing before it is told."""
        self._child = child
        self._tell()

    def on_message(self, message: Mapping[str, object], now_ns: int) -> Change | None:
        """Take what the camera process measured, or a reference that it made; return a change of state.

        Raises:
            DataError: the message does not fit.
        """
        if message.get("op") == "picture":
            return self.health.add(wire.picture(message, max_pixels=self._max_pixels), now_ns)
        number = wire.integer(message, "request")
        if number > self._asked:
            raise DataError("child.message", f"reference {number} was never asked for")
        error = wire.text(message, "error", "")
        outcome: Outcome
        if error:
            outcome = DataError("picture.refused", error, help=wire.text(message, "help", "") or None)
        else:
            outcome = parse_reference(message)
        if number == self._asked:
            self._finish(outcome)
        return None

    def on_exited(self) -> None:
        """The camera process is gone."""
        self._child = None
        self._finish(DataError("picture.no_camera", f"the process of camera {self.camera} ended before the reference"))

    def _tell(self) -> None:
        if self._child is not None:
            reference = self.health.reference
            fields = None if reference is None else reference_fields(reference)
            self._child.send({"op": "reference", "reference": fields})

    def _finish(self, outcome: Outcome) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(outcome)
