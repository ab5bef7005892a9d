"""Main's end of one camera process: its ring, its frames, its state, and what it left behind when it died."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_runtime.core.command import Answer, Status
from edge_runtime.core.errors import DataError
from edge_runtime.core.frame import Frame
from edge_runtime.core.result import Drop, Failure
from edge_runtime.pipeline import wire
from edge_runtime.system.process import ExitKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.core.frame import SlotRef
    from edge_runtime.pipeline.picture_health import Change
    from edge_runtime.pipeline.pictures import Pictures
    from edge_runtime.pipeline.snapshots import Shot, Snapshots
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.process import Child, ExitCause
    from edge_runtime.system.ring import Ring

logger = logging.getLogger(__name__)

TORN_MAX = 4096  # frames that a camera process may have begun and not announced
STATES = ("connecting", "streaming", "stalled", "lost", "ended")


@dataclass(frozen=True, slots=True)
class CameraState:
    """What a camera process last said about its source; ``since_mono_ns`` is when main heard it."""

    state: str
    reason: str
    detail: str
    since_mono_ns: int


class CameraListener(Protocol):
    """Who wants to know what a camera does; called in the loop thread."""

    def on_frame(self, frame: Frame) -> None:
        """A frame is in the ring, for the time of this call; ``hold`` its slot to keep it for longer."""
        ...

    def on_bad_frame(self, frame: Frame, failure: Failure, message: str) -> None:
        """A frame was captured but has no usable pixels."""
        ...

    def on_dropped(self, frame: Frame, drop: Drop) -> None:
        """A frame was captured and discarded; it has no pixels, and the time of this call."""
        ...

    def on_camera_state(self, camera: str, state: CameraState) -> None:
        """The source changed its state."""
        ...

    def on_picture_changed(self, camera: str, change: Change) -> None:
        """Its pictures became good, or got a fault."""
        ...


class CameraLink:
    """Owner of one camera child (``system.process.ChildOwner``). One thread owns it.

    Every frame id that the ring ever handed out is accounted: announced by a message, or, when the process ended
    first, as dropped (torn, or stopped if we told it to end). The ring's counter is shared memory, so it is exact
    after kill -9 too.
    """

    def __init__(
        self,
        camera: str,
        ring: Ring,
        listener: CameraListener,
        clock: Clock,
        *,
        simulated: bool,
        max_pixels: int,
        side_min: int = 1,
        snapshots: Snapshots | None = None,
    ) -> None:
        """Read frames of ``camera`` from ``ring``, whose owner stays the caller.

        Frames of more than ``max_pixels`` are a fault of the child, those with a side below ``side_min`` pixels are
        invalid: on a sliver any model finds nothing, which would pass as OK.
        """
        self.camera = camera
        self.ring = ring
        self.state = CameraState("connecting", "starting", "", 0)
        self.restarts = 0
        self.alive = False
        self._listener = listener
        self._clock = clock
        self._simulated = simulated
        self._max_pixels = max_pixels
        self._side_min = side_min
        self._snapshots = snapshots
        self.pictures: Pictures | None = None
        """Judges what is measured on some of the pictures, if they are looked at; set before anything runs."""
        self._child: Child | None = None
        self._holds: dict[SlotRef, int] = {}
        self._settled_up_to = ring.frames_begun  # every id up to this one was announced
        self._ahead: set[int] = set()  # announced ids above it

    @property
    def last_begun(self) -> int:
        """The id of the last frame that the camera began: exact, or, if it tells nonsense, one that can be."""
        return min(max(self.ring.frames_begun, self._settled_up_to), self._settled_up_to + TORN_MAX)

    @property
    def last_announced(self) -> int:
        """The id up to which the fate of every frame is known to the line."""
        return self._settled_up_to

    def hold(self, slot: SlotRef) -> None:
        """Keep a slot from being reused until a matching ``release``."""
        self._holds[slot] = self._holds.get(slot, 0) + 1

    def release(self, slot: SlotRef) -> None:
        """Undo one ``hold``; the last one gives the slot back to the camera."""
        count = self._holds.get(slot, 0) - 1
        if count > 0:
            self._holds[slot] = count
        elif count == 0:
            del self._holds[slot]
            self.ring.release(slot)

    def snapshot(
        self, until_mono_ns: int, max_width: int | None, done: Callable[[Shot | Answer], None]
    ) -> Callable[[], None]:
        """Ask for the newest picture; ``done`` gets it once. Call what this returns when it takes too long."""
        snapshots = self._snapshots
        if snapshots is None:
            done(Answer(Status.UNAVAILABLE, f"camera {self.camera} makes no pictures"))
            return lambda: None
        number = snapshots.ask(self._child, until_mono_ns, max_width, done)
        return lambda: snapshots.expire(number)

    def on_started(self, child: Child) -> None:
        """Note the new process."""
        self._child = child
        if self.pictures is not None:
            self.pictures.on_started(child)
        self.alive = True
        self.restarts = child.restarts
        self._set_state(CameraState("connecting", "starting", "", child.started_mono_ns))

    def on_message(self, child: Child, message: dict[str, object]) -> None:
        """Handle one message; a message that does not fit kills the child, which is then restarted."""
        try:
            self._handle(message)
        except DataError as error:
            logger.error("camera %s sent a message that does not fit: %s", self.camera, error)  # noqa: TRY400
            child.kill("protocol fault")

    def on_exited(self, child: Child, cause: ExitCause) -> None:
        """Account what the dead process began and never announced, and take its slots back."""
        del child
        self.alive, self._child = False, None
        if self._snapshots is not None:
            self._snapshots.on_exited()
        if self.pictures is not None:
            self.pictures.on_exited()
        begun = self.ring.frames_begun
        if not 0 <= begun - self._settled_up_to - len(self._ahead) <= TORN_MAX:
            # the counter is the child's word; one that makes no sense is not believed, and not looped over
            logger.error("camera %s left an absurd frame counter: %d after %d", self.camera, begun, self._settled_up_to)
            begun = max(self._ahead, default=self._settled_up_to)
        torn = [number for number in range(self._settled_up_to + 1, begun + 1) if number not in self._ahead]
        self._settled_up_to = begun
        self._ahead.clear()
        self.ring.reclaim(self._holds, frames_begun=begun)
        self._dropped(torn, Drop.STOPPED if cause.kind is ExitKind.RETIRED else Drop.TORN)
        if cause.kind is not ExitKind.RETIRED:
            self._set_state(CameraState("lost", "process", cause.text, self._clock.mono_ns()))

    def _handle(self, message: dict[str, object]) -> None:
        match message.get("op"):
            case "frame":
                frame = wire.frame(message, self.camera, simulated=self._simulated, max_pixels=self._max_pixels)
                self._announced([frame.frame_id], frame.captured_mono_ns)
                self.hold(frame.slot)
                self._offer(frame)
                self.release(frame.slot)
            case "bad_frame":
                frame = wire.bad_frame(message, self.camera, simulated=self._simulated)
                reason = wire.text(message, "reason")
                self._announced([frame.frame_id], frame.captured_mono_ns)
                failure = Failure.OVERRUN if reason == Failure.OVERRUN.value else Failure.INVALID_FRAME
                self._listener.on_bad_frame(frame, failure, "" if failure is Failure.OVERRUN else reason)
            case "dropped":
                ids, drop = wire.frame_ids(message), _drop(message)
                self._announced(ids, 0)
                self._dropped(ids, drop)
            case "state":
                state = wire.text(message, "state")
                if state not in STATES:
                    raise DataError("child.message", f"unknown camera state {state!r}")
                now = self._clock.mono_ns()
                self._set_state(
                    CameraState(state, wire.text(message, "reason", ""), wire.text(message, "detail", ""), now)
                )
            case "picture" | "reference" if self.pictures is not None:
                change = self.pictures.on_message(message, self._clock.mono_ns())
                if change is not None:
                    self._listener.on_picture_changed(self.camera, change)
            case "snapshot" if self._snapshots is not None:
                self._snapshots.on_message(message, max_pixels=self._max_pixels)
            case _:
                raise DataError("child.message", f"unknown camera message {wire.text(message, 'op')!r}")

    def _offer(self, frame: Frame) -> None:
        refusal = None if self.pictures is None else self.pictures.health.refusal
        if min(frame.width, frame.height) < self._side_min:
            why = f"{frame.width} x {frame.height} pixels, at least {self._side_min} a side are needed to judge"
            self._listener.on_bad_frame(frame, Failure.INVALID_FRAME, why)
        elif refusal is not None:
            self._listener.on_bad_frame(frame, Failure.BAD_PICTURE, refusal)
        else:
            self._listener.on_frame(frame)

    def _dropped(self, frame_ids: list[int], drop: Drop) -> None:
        utc_ns, mono_ns, made_up = self._clock.utc_ns(), self._clock.mono_ns(), self._simulated
        for frame_id in frame_ids:
            frame = Frame.without_pixels(self.camera, frame_id, utc_ns=utc_ns, mono_ns=mono_ns, simulated=made_up)
            self._listener.on_dropped(frame, drop)

    def _announced(self, frame_ids: list[int], captured_mono_ns: int) -> None:
        """Note all of the ids or, when one is wrong, none: what is noted here must be accounted by the caller."""
        if captured_mono_ns > self._clock.mono_ns():
            raise DataError("child.message", "a frame from the future, whose deadline would never come")
        new = set(frame_ids)
        if len(new) < len(frame_ids) or any(map(self._is_wrong, new)):
            raise DataError("child.message", "a frame id was announced twice or never begun")
        missing = self._settled_up_to + 1
        if missing not in new and len(self._ahead) + len(new) > TORN_MAX:
            raise DataError("child.message", f"frame {missing} was begun and never announced")
        self._ahead |= new
        while self._settled_up_to + 1 in self._ahead:
            self._settled_up_to += 1
            self._ahead.remove(self._settled_up_to)

    def _is_wrong(self, frame_id: int) -> bool:
        return not self._settled_up_to < frame_id <= self.ring.frames_begun or frame_id in self._ahead

    def _set_state(self, state: CameraState) -> None:
        changed = (state.state, state.reason) != (self.state.state, self.state.reason)
        self.state = state
        if state.state != "streaming" and self.pictures is not None:
            self.pictures.health.interrupt()
        if changed:
            self._listener.on_camera_state(self.camera, state)


def _drop(message: dict[str, object]) -> Drop:
    name = wire.text(message, "drop")
    try:
        return Drop(name)
    except ValueError as error:
        raise DataError("child.message", f"unknown drop reason {name!r}") from error
