"""What every image source offers, which states a camera may be in, and the pure rules that judge its frames.

Legal order of a source: ``open`` -> (``grab`` -> ``retrieve``?)* -> ``close`` -> ``open`` ...; ``close`` is legal at
any time and idempotent. All verbs belong to one thread: releasing a ``cv2.VideoCapture`` while another thread reads it
is a segmentation fault (measured, opencv 4.14 and 5.0).

Legal order of states::

    connecting -> streaming | lost | ended
    streaming  -> stalled | lost | ended
    stalled    -> streaming | lost | ended
    lost       -> streaming | stalled | ended
    ended      (the child now only waits to be stopped)

``stalled`` means the camera is connected but no fresh picture comes; ``lost`` means there is no connection.

Errors of a source are those of ``core.errors``, told apart by class: ``UnavailableError`` (code ``camera.<reason>``)
ends the connection and is retried for ever, ``DataError`` from ``retrieve`` condemns one picture only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
else:
    Pixels = Any  # numpy stays out of processes that only want the rules

STALE_AFTER_S: Final = 0.6
"""A picture that is later than this against the stream's own clock is not offered; results promise one second."""
READ_WAIT_S: Final = 0.5
"""Longest wait of one ``grab`` of a source that can wait in small steps."""
OPEN_TIMEOUT_S: Final = 2.0
"""Longest time to open a stream, per attempt."""
CONNECT_TIMEOUT_S: Final = 0.8
"""Of it for the TCP connection: a lost SYN is sent again after a second, a new attempt sends one sooner."""
OPEN_LIMIT_S: Final = 12.0
"""Longest time of a whole ``open``: two or three attempts, and name servers that do not answer."""
DRIFT: Final = 2000e-6
"""A camera's clock differs from ours by less than this; crystals do by 100 ppm, cameras that count frames by more."""
_BURST_S: Final = 0.02
_PACE: Final = 0.75
"""Frames that need less than this part of the time in which they were taken come out of a queue."""
_PACE_WINDOW_S: Final = 0.25
"""So much of the stream is looked at together, because single frames jitter."""
BACKOFF_S: Final = (0.1, 0.2, 0.5)
BACKOFF_DENIED_S: Final = 30.0
"""Cameras lock an account after five to ten wrong passwords, so a refused one is not repeated quickly."""
SETTLED_AFTER_S: Final = 2.0
"""Streaming this long makes the next reconnect start with the shortest wait again."""


class SourceState(Enum):
    """What a camera does now; the values are the ``state`` of camera messages and topics."""

    CONNECTING = "connecting"
    STREAMING = "streaming"
    STALLED = "stalled"
    LOST = "lost"
    ENDED = "ended"


_NEXT: Final = {
    SourceState.CONNECTING: {SourceState.STREAMING, SourceState.LOST, SourceState.ENDED},
    SourceState.STREAMING: {SourceState.STALLED, SourceState.LOST, SourceState.ENDED},
    SourceState.STALLED: {SourceState.STREAMING, SourceState.LOST, SourceState.ENDED},
    SourceState.LOST: {SourceState.STREAMING, SourceState.STALLED, SourceState.ENDED},
    SourceState.ENDED: set[SourceState](),
}


def may_follow(state: SourceState, following: SourceState) -> bool:
    """Tell whether a camera in ``state`` may be in ``following`` next."""
    return following in _NEXT[state]


@dataclass(frozen=True, slots=True)
class Nature:
    """How a source behaves.

    Attributes:
        live: frames come whether or not there is a free slot; otherwise the reader waits for one before it grabs.
        paced: the reader holds each frame until its position (``Arrival.position_s``) is due.
        clocked: ``Arrival.position_s`` is the camera's own clock, so that late pictures can be recognised by it.
        simulated: the pictures are not of the real world.
        blocks_s: longest time that one ``grab`` waits.
    """

    live: bool
    paced: bool = False
    clocked: bool = False
    simulated: bool = False
    blocks_s: float = READ_WAIT_S


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of a picture in pixels; ``channels`` is 3 (BGR8) or 1 (Mono8)."""

    width: int
    height: int
    channels: int

    @property
    def nbytes(self) -> int:
        """Bytes of the picture, rows without padding."""
        return self.width * self.height * self.channels


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame that came in and can now be retrieved.

    Attributes:
        position_s: seconds on the stream's own clock, ``None`` where the stream does not say.
        queued: a newer frame is already waiting behind this one.
        suspect: the read ended because its time was up; what it returned is from before.
        origin: name of the file the picture is in.
        is_key: it is coded by itself, not as what changed since the one before it.
    """

    position_s: float | None = None
    queued: bool = False
    suspect: bool = False
    origin: str | None = None
    is_key: bool = True


class Nothing(Enum):
    """The two ways of ``grab`` to return without a frame."""

    YET = "yet"  # within the bounded wait; ask again
    LEFT = "left"  # the source has ended


class Source(Protocol):
    """One camera, file, directory or generator; see the module docstring for the legal order of calls."""

    @property
    def nature(self) -> Nature:
        """How the reader has to treat the frames; constant."""
        ...

    @property
    def fps(self) -> float:
        """Frames a second for those whose position is not known; 0 when that is not known either."""
        ...

    def open(self) -> None:
        """Connect; may block up to ``OPEN_TIMEOUT_S`` twice.

        Raises:
            EdgeError: not possible now (``UnavailableError``) or not allowed, with a reason for people.
        """
        ...

    def grab(self) -> Arrival | Nothing:
        """Wait, bounded, for the next frame and take it without decoding where that is possible.

        Raises:
            UnavailableError: the connection is gone; ``close`` and ``open`` again.
        """
        ...

    def retrieve(self, target: Pixels) -> Shape:
        """Write the grabbed frame to the start of ``target``, (n,) uint8, and return its shape.

        Raises:
            DataError: this picture cannot be used; the source goes on.
        """
        ...

    def close(self) -> None:
        """Give everything back; idempotent."""
        ...


class StallDetector:
    """Tells that no fresh frame came for ``stall_s`` seconds. Pure: the caller passes the time."""

    def __init__(self, stall_s: float) -> None:
        """Be armed by the first ``fresh``."""
        self._stall_s = stall_s
        self._fresh_s: float | None = None

    def fresh(self, now_s: float) -> None:
        """Note a fresh frame, or the moment the connection stood."""
        self._fresh_s = now_s

    def silent_s(self, now_s: float) -> float:
        """Return how long ago the last fresh frame came."""
        return 0.0 if self._fresh_s is None else now_s - self._fresh_s

    def is_stalled(self, now_s: float) -> bool:
        """Tell whether it was longer ago than allowed."""
        return self.silent_s(now_s) >= self._stall_s


class _Pace:
    """Tells whether the latest frames came as slowly as they were taken, rather than out of a queue."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, float]] = deque()

    def is_live(self, pause_s: float, taken_s: float) -> bool:
        """Add a frame that came ``pause_s`` and was taken ``taken_s`` after the one before; judge the latest ones."""
        self._steps.append((min(pause_s, 2 * taken_s), taken_s))  # one long pause must not pay for a burst
        taken_s = sum(taken for _, taken in self._steps)
        while taken_s - self._steps[0][1] >= _PACE_WINDOW_S:
            taken_s -= self._steps.popleft()[1]
        return taken_s >= _PACE_WINDOW_S and sum(came for came, _ in self._steps) >= _PACE * taken_s


class LatenessTracker:
    """Tells pictures from the past from live ones. Pure: the caller passes the time.

    With a clock in the stream: a frame's arrival minus its position is a constant plus its delay, so that the smallest
    difference seen so far is the live one and everything above it is lateness. The smallest may creep up by ``DRIFT``
    because the two clocks do not agree for ever. In a new connection that is doubtful (a server may begin with what it
    has in store, seconds old) there is no live difference before the frames come as slowly as they were taken.

    Without one, the rhythm has to do: after a pause that is out of rhythm the frames of the backlog are old, however
    slowly the network lets it come; live are those that keep the camera's pace and have nothing queued behind them.
    A camera that became much faster during the pause looks like a backlog until the reader connects anew.
    """

    def __init__(self, limit_s: float = STALE_AFTER_S) -> None:
        """Call a picture stale when it is more than ``limit_s`` late."""
        self._limit_s = limit_s
        self.reset(0.0)

    def reset(self, now_s: float, *, doubtful: bool = False) -> None:
        """Forget the old connection: the new one has its own zero and rhythm.

        ``doubtful`` says that the first pictures may be old already.
        """
        self._least_s: float | None = None
        self._position_s: float | None = None
        self._arrived_s = now_s
        self._interval_s: float | None = None
        self._frames = 0
        self._pace = _Pace()
        self._doubtful = doubtful

    def is_stale(self, arrival: Arrival, now_s: float, *, clocked: bool) -> bool:
        """Judge the frame that arrived at ``now_s``; call once for each, in order.

        Args:
            arrival: what ``grab`` returned.
            now_s: monotonic seconds.
            clocked: ``arrival.position_s`` is the camera's clock (``Nature.clocked``).
        """
        pause_s = now_s - self._arrived_s
        self._arrived_s = now_s
        if arrival.suspect:
            self._doubt()
            return True
        if clocked:
            return self._is_late(arrival, now_s, pause_s)
        return self._is_out_of_rhythm(arrival, pause_s)

    def _doubt(self) -> None:
        self._doubtful = True
        self._pace = _Pace()

    def _is_late(self, arrival: Arrival, now_s: float, pause_s: float) -> bool:
        position_s, before_s = arrival.position_s, self._position_s
        if not position_s or position_s == before_s:  # FFmpeg reports 0 for frames without a timestamp: no evidence
            self._position_s = position_s if before_s is None else before_s
            known = self._least_s is not None and not self._doubtful
            return not known and self._is_out_of_rhythm(arrival, pause_s)
        self._position_s = position_s
        if self._least_s is None and self._doubtful:
            taken_s = 0.0 if before_s is None else max(0.0, position_s - before_s)
            if not self._pace.is_live(pause_s, taken_s):
                return True
        difference_s = now_s - position_s
        least_s = difference_s if self._least_s is None else self._least_s + pause_s * DRIFT
        self._least_s = min(least_s, difference_s)
        self._doubtful = difference_s - self._least_s > self._limit_s
        return self._doubtful

    def _is_out_of_rhythm(self, arrival: Arrival, pause_s: float) -> bool:
        self._frames += 1
        if self._interval_s is None:
            return self._is_first_late(arrival, pause_s)
        if pause_s > max(self._limit_s, 3 * self._interval_s):
            self._doubt()
            return True
        if self._doubtful and (not self._pace.is_live(pause_s, self._interval_s) or arrival.queued):
            return True
        self._doubtful = False
        self._interval_s += (pause_s - self._interval_s) / 8
        return False

    def _is_first_late(self, arrival: Arrival, pause_s: float) -> bool:
        """Judge while there is no rhythm yet: the first frame, and what comes in the same burst as it."""
        if self._frames == 1:
            self._doubtful = self._doubtful or pause_s > self._limit_s
            return self._doubtful
        if self._doubtful and (arrival.queued or pause_s < _BURST_S):
            return True
        self._doubtful = False
        self._interval_s = pause_s if pause_s > 0 else None
        return False


class Backoff:
    """How long to wait before the next attempt to connect; never gives up."""

    def __init__(self, steps_s: tuple[float, ...] = BACKOFF_S) -> None:
        """Wait ``steps_s[0]`` first, the last step for ever."""
        self._steps_s = steps_s
        self._failures = 0

    def next_s(self) -> float:
        """Return the wait after one more failure."""
        wait_s = self._steps_s[min(self._failures, len(self._steps_s) - 1)]
        self._failures += 1
        return wait_s

    def reset(self) -> None:
        """Start over: the connection was good."""
        self._failures = 0
