"""What a camera child tells the main process: the only place that knows the field names of its messages."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, Protocol

from edge_runtime.camera.source import SourceState, may_follow
from edge_runtime.core.errors import InvariantError
from edge_runtime.core.result import Drop
from edge_runtime.core.source import redact_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.camera.source import Shape
    from edge_runtime.core.frame import SlotRef
    from edge_runtime.core.picture import PictureNumbers

logger = logging.getLogger(__name__)

BATCH_FRAMES: Final = 64
BATCH_NS: Final = 250_000_000
DETAIL_CHARACTERS_MAX: Final = 400
NUMBER_DIGITS: Final = 5


class Sender(Protocol):
    """The part of ``system.messages.MessageSocket`` that is needed here."""

    def send(self, message: Mapping[str, object]) -> None:
        """Hand one message to the other process."""
        ...


class Announcer:
    """Sends states once per change, frames at once, dropped frames in batches; in the order of their ids.

    While a camera is lost, a reason that was not told yet in this outage is told too, each once: "refused" may have
    become "wrong password", and nobody should look for the wrong cause.
    """

    def __init__(self, sender: Sender) -> None:
        """Start as ``connecting``, which is announced by ``connecting``."""
        self._sender = sender
        self.state: SourceState | None = None
        self._told: set[str] = set()
        self._dropped: list[int] = []
        self._drop = Drop.STALE
        self._dropped_since_ns = 0

    def connecting(self) -> None:
        """Tell that the child is up and tries to connect."""
        self._tell(SourceState.CONNECTING, "starting", "")

    def change(self, state: SourceState, reason: str, detail: str) -> None:
        """Tell the state if it is new; ``reason`` is a short code, ``detail`` a sentence without secrets."""
        if state is self.state and (state is not SourceState.LOST or reason in self._told):
            return
        self._tell(state, reason, detail)

    def note(self, reason: str, detail: str) -> None:
        """Tell something about the present state, for example a new size of the pictures."""
        if self.state is not None:
            self._send_state(self.state, reason, detail)

    def frame(
        self,
        frame_id: int,
        ref: SlotRef,
        shape: Shape,
        *,
        utc_ns: int,
        mono_ns: int,
        read_ms: float,
        origin: str | None,
    ) -> None:
        """Tell that a frame lies in the ring."""
        if self._dropped:
            self.flush()
        self._sender.send(
            {
                "op": "frame",
                "frame": frame_id,
                "slot": ref.index,
                "generation": ref.generation,
                "utc_ns": utc_ns,
                "mono_ns": mono_ns,
                "width": shape.width,
                "height": shape.height,
                "channels": shape.channels,
                "read_ms": round(read_ms, 3),
                "origin": origin,
            }
        )

    def bad_frame(self, frame_id: int, reason: str, *, utc_ns: int, mono_ns: int, origin: str | None) -> None:
        """Tell that a frame was captured but cannot be judged."""
        self.flush()
        self._sender.send(
            {
                "op": "bad_frame",
                "frame": frame_id,
                "utc_ns": utc_ns,
                "mono_ns": mono_ns,
                "reason": reason[:DETAIL_CHARACTERS_MAX],
                "origin": origin,
            }
        )

    def picture(self, numbers: PictureNumbers) -> None:
        """Tell what was measured on a picture, rounded to what its pixels can tell."""
        fields = {name: _rounded(value) for name, value in asdict(numbers).items()}
        fields["frame"] = fields.pop("frame_id")
        self._sender.send({"op": "picture", **fields})

    def reference(self, request: int, fields: Mapping[str, object]) -> None:
        """Answer the wish for a reference with number ``request``: with one, or with ``error``."""
        self._sender.send({"op": "reference", "request": request, **fields})

    def dropped(self, frame_id: int, drop: Drop, mono_ns: int) -> None:
        """Count a frame that is never offered; told with the next frame, or within ``BATCH_NS``."""
        if self._dropped and (drop is not self._drop or len(self._dropped) >= BATCH_FRAMES):
            self.flush()
        if not self._dropped:
            self._drop = drop
            self._dropped_since_ns = mono_ns
        self._dropped.append(frame_id)

    def tick(self, mono_ns: int) -> None:
        """Send a batch that has waited long enough; call regularly."""
        if self._dropped and mono_ns - self._dropped_since_ns >= BATCH_NS:
            self.flush()

    def flush(self) -> None:
        """Send the batch now."""
        if self._dropped:
            frames, self._dropped = self._dropped, []
            self._sender.send({"op": "dropped", "drop": self._drop.value, "frames": frames})

    def _tell(self, state: SourceState, reason: str, detail: str) -> None:
        before = self.state
        if before is not None and before is not state and not may_follow(before, state):
            message = f"a camera cannot become {state.value} after being {before.value}"
            raise InvariantError("camera.state_order", message)
        self._told = self._told | {reason} if before is state else {reason}
        self.state = state
        self._send_state(state, reason, detail)

    def _send_state(self, state: SourceState, reason: str, detail: str) -> None:
        self.flush()
        detail = redact_url(detail)[:DETAIL_CHARACTERS_MAX]
        logger.debug("camera is %s: %s (%s)", state.value, detail or reason, reason)
        self._sender.send({"op": "state", "state": state.value, "reason": reason, "detail": detail})


def _rounded(value: object) -> object:
    if isinstance(value, tuple):
        return [_rounded(part) for part in value]
    return round(value, NUMBER_DIGITS) if isinstance(value, float) else value
