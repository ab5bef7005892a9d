"""The process ``camera/<id>``: opens one source, decodes straight into the shared ring, says what happened, for ever.

Arguments (``ReaderArgs``): ``{"camera": "top", "source": "rtsp://...", "capture": "latest" | "every", "fps": 10 | null,
"stall_s": 2.0, "max_pixels": 40000000, "pictures": "never" | "after" | "before"}``, or ``"files": [...]`` in place of
``"source"``; descriptors ``{"ring": N}``
and, for pictures that people ask for, ``{"snapshot": N}``.

Every captured frame gets an id and ends in exactly one message: ``frame``, ``bad_frame`` or ``dropped``; a frame whose
id was taken and whose process died is found torn by the owner of the ring. One thread does everything; each step is
bounded in time, ``beat`` is called between steps, and a ``Pulse`` beats during the few that may take longer.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_runtime.camera.announcer import Announcer
from edge_runtime.camera.arguments import ReaderArgs, make_source
from edge_runtime.camera.confinement import Confinement
from edge_runtime.camera.looks import Looks
from edge_runtime.camera.network import unavailable
from edge_runtime.camera.opencv import prepare
from edge_runtime.camera.pacing import Pacer, RateLimit
from edge_runtime.camera.pulse import Pulse
from edge_runtime.camera.snapshot import Newest, Snapshots
from edge_runtime.camera.source import (
    BACKOFF_DENIED_S,
    BACKOFF_S,
    OPEN_LIMIT_S,
    SETTLED_AFTER_S,
    STALE_AFTER_S,
    Arrival,
    Backoff,
    LatenessTracker,
    Nothing,
    Source,
    SourceState,
    StallDetector,
)
from edge_runtime.core.errors import ConfigError, DataError, EdgeError, InvariantError
from edge_runtime.core.result import Drop
from edge_runtime.system.logs import silence_libraries
from edge_runtime.system.messages import PeerBusy, PeerGone
from edge_runtime.system.ring import Ring, WriteSlot

if TYPE_CHECKING:
    from edge_runtime.system.child import ChildContext

logger = logging.getLogger(__name__)

SLOT_POLL_S: Final = 0.002
"""How often a source that waits for slots looks for one; five others are being worked on meanwhile."""
BAD_PICTURE_S: Final = 0.02
"""A source that waits for slots is slowed down by the engine; bad pictures take no slot and no engine."""
BEAT_S: Final = 0.5
BLOCK_S: Final = 1.0
"""A call that blocks longer than this needs somebody else to beat."""
_STALLS: Final = frozenset({"camera.stalled", "camera.late"})
_TIMEOUT: Final = "camera.timeout"
_NEEDS_NEW_GRANTS: Final = frozenset({"camera.permission", "camera.missing", "camera.unresolved"})
"""What a source that was replaced looks like from inside the confinement; only a new process can see the new one."""


class Stopped(Exception):  # noqa: N818 - a wish, not a fault
    """The main process wants this child to end, or is gone."""


class Reader:
    """Runs one source until it is told to stop; see the module docstring."""

    def __init__(
        self, context: ChildContext, args: ReaderArgs, source: Source, ring: Ring, confinement: Confinement | None
    ) -> None:
        """Take a source that was not opened yet; the ring stays the caller's.

        With a ``confinement``, this process is confined before the source is opened.
        """
        self._confinement = confinement
        self._socket = context.socket
        self._beat = context.beat
        self._pulse = Pulse(context.beat)
        self._args = args
        self._source = source
        self._ring = ring
        self._snapshots = Snapshots(context.socket, ring, context.fds.get("snapshot"), fresh_s=args.stall_s)
        self._announce = Announcer(context.socket)
        self._looks = Looks(self._announce, ring, args.pictures)
        self._backoff = Backoff()
        self._stall = StallDetector(args.stall_s)
        self._lateness = LatenessTracker()
        # a source that waits for slots is slowed down to the ceiling; a live one cannot be, its frames are left out
        self._limit = RateLimit(args.fps) if args.fps and source.nature.live else None
        self._shape: tuple[int, int] | None = None
        self._opened_s = 0.0
        self._delivered = False
        self._rest_s = 0.0  # before the next frame
        self._pacer = Pacer(0.0)

    def run(self) -> None:
        """Read until told to stop or until the main process is gone; returns then.

        Raises:
            UnavailableError: a confined process lost a source that it had; a new process may find it again.
            PermissionDeniedError: the same.
            PeerBusy: the main process does not take our messages any more.
        """
        try:
            self._announce.connecting()
            while not self._session():
                pass
            self._announce.change(SourceState.ENDED, "end", "the source has no more pictures")
            while True:
                self._pause(BEAT_S)
        except Stopped:
            with contextlib.suppress(PeerGone):
                self._announce.flush()
        except PeerGone as error:
            if isinstance(error, PeerBusy):
                raise
        finally:
            self._source.close()
            self._snapshots.close()
            self._pulse.stop()

    def _session(self) -> bool:
        """Connect once and stream until that ends; return whether the source has ended for good."""
        self._delivered = False
        try:
            self._beat()
            self._confine()
            started_s = time.monotonic()
            with self._pulse.during(OPEN_LIMIT_S):
                self._source.open()
            self._connected(started_s)
            self._beat()
            while True:
                if self._step():
                    return True
        except EdgeError as error:
            if isinstance(error, (PeerGone, InvariantError)):
                raise
            self._source.close()
            self._lost(error)
            if self._confinement is not None and self._opened_s > 0 and error.code in _NEEDS_NEW_GRANTS:
                raise
            self._pause(self._wait_after(error))
            return False

    def _confine(self) -> None:
        if self._confinement is not None:
            self._confinement.make()
            if not self._confinement.is_made:
                return  # no second thread before: it would stay unconfined
        self._pulse.start()

    def _connected(self, started_s: float) -> None:
        now_s = time.monotonic()
        self._opened_s = now_s
        self._stall.fresh(now_s)
        self._looks.forget()
        clocked = self._source.nature.clocked  # such a server may begin with what it has in store, seconds old
        self._lateness.reset(now_s, doubtful=clocked or now_s - started_s > STALE_AFTER_S)
        fps = None if self._source.nature.live else self._args.fps
        self._pacer = Pacer(fps or self._source.fps)

    def _wait_after(self, error: EdgeError) -> float:
        if self._delivered and time.monotonic() - self._opened_s > SETTLED_AFTER_S:
            self._backoff.reset()
        if error.code == _TIMEOUT:
            return BACKOFF_S[0]  # that was a wait already
        return BACKOFF_DENIED_S if error.code == "camera.unauthorized" else self._backoff.next_s()

    def _lost(self, error: EdgeError) -> None:
        state = SourceState.LOST
        was = self._announce.state
        if was is SourceState.STREAMING and error.code in _STALLS:
            state = SourceState.STALLED
        elif was is SourceState.STALLED and error.code in _STALLS | {_TIMEOUT}:
            return
        self._announce.change(state, error.code.partition(".")[2], str(error))

    def _step(self) -> bool:
        """Take one frame from the source to its fate; return whether the source has ended."""
        rest_s, self._rest_s = self._rest_s, 0.0
        self._listen(rest_s)
        self._beat()
        self._announce.tick(time.monotonic_ns())
        if self._source.nature.blocks_s > BLOCK_S:
            with self._pulse.during(self._source.nature.blocks_s + BLOCK_S):
                arrival = self._source.grab()
        else:
            arrival = self._source.grab()
        arrived_ns, utc_ns = time.monotonic_ns(), time.time_ns()
        if arrival is Nothing.LEFT:
            return True
        if arrival is Nothing.YET:
            self._check_stall(arrived_ns / 1e9, "stalled", "no picture")
            return False
        frame_id = self._ring.next_frame_id()
        try:
            self._decide(frame_id, arrival, arrived_ns, utc_ns)
        except Stopped:
            self._announce.dropped(frame_id, Drop.STOPPED, arrived_ns)
            raise
        return False

    def _decide(self, frame_id: int, arrival: Arrival, arrived_ns: int, utc_ns: int) -> None:
        """Announce a grabbed frame in one way or another, unless ``Stopped`` comes first."""
        nature = self._source.nature
        if nature.live and not nature.paced and self._is_stale(arrival, arrived_ns / 1e9):
            self._announce.dropped(frame_id, Drop.STALE, arrived_ns)
            self._check_stall(arrived_ns / 1e9, "late", "only pictures from the past")
            return
        self._stall.fresh(arrived_ns / 1e9)
        if nature.paced or (not nature.live and self._args.fps):
            arrived_ns, utc_ns = self._hold(arrival.position_s if nature.paced else None)
        if self._limit is not None and not self._limit.admits(arrived_ns / 1e9):
            self._announce.dropped(frame_id, Drop.RATE, arrived_ns)
            return
        self._offer(frame_id, arrival, arrived_ns, utc_ns)

    def _is_stale(self, arrival: Arrival, now_s: float) -> bool:
        stale = self._lateness.is_stale(arrival, now_s, clocked=self._source.nature.clocked)
        # with `latest`, a picture with a newer one behind it would only cost the time to decode it
        return stale or (arrival.queued and not self._args.every)

    def _check_stall(self, now_s: float, reason: str, what: str) -> None:
        if self._stall.is_stalled(now_s):
            silent_s = self._stall.silent_s(now_s)
            raise unavailable(reason, f"{what} for {silent_s:.1f} s, although the connection stands", None)

    def _hold(self, position_s: float | None) -> tuple[int, int]:
        """Wait until the frame is due; return the time then, monotonic and UTC."""
        due_s = self._pacer.due_s(position_s, time.monotonic())
        self._pause(due_s - time.monotonic())
        self._stall.fresh(time.monotonic())
        return time.monotonic_ns(), time.time_ns()

    def _offer(self, frame_id: int, arrival: Arrival, arrived_ns: int, utc_ns: int) -> None:
        """Decode the grabbed frame into a slot and announce it, or say why not."""
        slot = self._ring.acquire(frame_id)
        if slot is None:
            slot = self._without_slot(frame_id, arrived_ns, utc_ns)
            if slot is None:
                return
        started_ns = time.monotonic_ns()
        try:
            shape = self._source.retrieve(np.frombuffer(slot.buffer, np.uint8))
        except EdgeError as error:
            slot.abandon()
            reason = str(error)
            self._announce.change(SourceState.STREAMING, "bad_picture", reason)
            self._announce.bad_frame(frame_id, reason, utc_ns=utc_ns, mono_ns=arrived_ns, origin=arrival.origin)
            if not isinstance(error, DataError):
                raise
            if not self._source.nature.live:
                self._rest_s = BAD_PICTURE_S
            return
        ref = slot.publish()
        read_ms = (time.monotonic_ns() - started_ns) / 1e6
        if not self._source.nature.live:
            arrived_ns, utc_ns = time.monotonic_ns(), time.time_ns()  # the picture came when it was read
        self._delivered = True
        if self._announce.state is not SourceState.STREAMING:
            self._shape = (shape.width, shape.height)
            self._announce.change(SourceState.STREAMING, "ok", f"{shape.width} x {shape.height} pixels")
        elif self._shape != (shape.width, shape.height):
            self._shape_changed(shape.width, shape.height)
        self._looks.arrived(is_key=arrival.is_key)
        self._looks.offer(frame_id, ref, shape, "before")
        self._announce.frame(
            frame_id, ref, shape, utc_ns=utc_ns, mono_ns=arrived_ns, read_ms=read_ms, origin=arrival.origin
        )
        self._looks.offer(frame_id, ref, shape, "after")
        self._snapshots.offer(Newest(frame_id, ref, shape, utc_ns, arrived_ns))

    def _shape_changed(self, width: int, height: int) -> None:
        before, self._shape = self._shape, (width, height)
        if self._source.nature.live and before is not None:  # files of a directory differ by right
            self._announce.note("size", f"{width} x {height} pixels now, {before[0]} x {before[1]} before")

    def _without_slot(self, frame_id: int, arrived_ns: int, utc_ns: int) -> WriteSlot | None:
        """Do what is agreed when every slot is in use: wait, or count the frame; return a slot if there is one."""
        if self._source.nature.live:
            if self._args.every:
                self._announce.bad_frame(frame_id, "overrun", utc_ns=utc_ns, mono_ns=arrived_ns, origin=None)
            else:
                self._announce.dropped(frame_id, Drop.NO_SLOT, arrived_ns)
            return None
        while True:
            self._pause(SLOT_POLL_S)
            slot = self._ring.acquire(frame_id)
            if slot is not None:
                return slot

    def _pause(self, seconds: float) -> None:
        """Wait, beating, at most ``seconds``.

        Raises:
            Stopped: the main process wants us to end.
        """
        deadline_s = time.monotonic() + seconds
        while True:
            self._beat()
            self._announce.tick(time.monotonic_ns())
            remaining_s = deadline_s - time.monotonic()
            self._listen(max(0.0, min(remaining_s, BEAT_S)))
            if remaining_s <= BEAT_S:
                return

    def _listen(self, timeout_s: float) -> None:
        self._looks.tick(time.monotonic())
        try:
            message = self._socket.receive(timeout_s)
        except PeerGone as error:
            raise Stopped from error
        if message is None:
            return
        match message.get("op"):
            case "stop":
                raise Stopped
            case "snapshot":
                self._snapshots.ask(message)
            case "reference" | "make_reference":
                self._looks.tell(message)
            case other:
                logger.warning("camera %s does not know the message %r", self._args.camera, other)


def main(context: ChildContext) -> None:
    """Confine this process and then ``read``; the child's entry. For a process with one thread only.

    Raises:
        EdgeError: see ``read``.
    """
    silence_libraries()
    read(context, confined=True)


def read(context: ChildContext, *, confined: bool) -> None:
    """Read the source of ``context.args`` into the ring of ``context.fds`` until told to stop.

    Raises:
        UnavailableError: a confined process lost a source that it had; a new process may find it again.
        PermissionDeniedError: the same.
        ConfigError: the arguments are wrong.
        DataError: the descriptor is no ring.
        PeerBusy: the main process does not take our messages any more.
    """
    args = ReaderArgs.parse(context.args)
    prepare()
    ring = Ring.attach(context.fds["ring"], name=args.camera)
    try:
        try:
            source = make_source(args, lambda: ring.frames_begun, lambda: ring.frames_begun_here)
            confinement = Confinement(args) if confined else None
        except ConfigError as error:
            _refuse(context, error)
        else:
            Reader(context, args, source, ring, confinement).run()
    finally:
        ring.close()


def _refuse(context: ChildContext, error: ConfigError) -> None:
    """Tell once why the source cannot even be tried, and wait to be stopped; dying would only bring us back."""
    announce = Announcer(context.socket)
    announce.connecting()
    announce.change(SourceState.LOST, error.code.partition(".")[2], str(error))
    try:
        while (context.socket.receive(BEAT_S) or {}).get("op") != "stop":
            context.beat()
    except PeerGone:
        return
