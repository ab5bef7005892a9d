"""When a frame is due, and which frames a ceiling on the rate lets through. Pure: the caller passes the time."""

from __future__ import annotations

from typing import Final

BEHIND_LIMIT_S: Final = 1.0
"""Falling behind by more than this moves the schedule instead of running after it."""

JUMP_LIMIT_S: Final = 10.0
"""A longer step from frame to frame, or one back, is a break in the file's clock and not a pause in its pictures."""


class Pacer:
    """Turns positions in a file into moments on our clock, so that it plays at its own speed."""

    def __init__(self, fallback_fps: float) -> None:
        """Play frames without usable positions at ``fallback_fps``."""
        self._step_s = 1.0 / fallback_fps if fallback_fps > 0 else 0.0
        self._start_s: float | None = None
        self._position_s = self._seen_s = 0.0

    def reset(self) -> None:
        """Let the next frame start a new schedule."""
        self._start_s = None

    def due_s(self, position_s: float | None, now_s: float) -> float:
        """Return when the frame at ``position_s`` is due, in the caller's clock; ``now_s`` for the first one.

        Positions that do not grow (raw streams report 0 for ever) are replaced by the fallback rate.
        """
        if self._start_s is None:
            self._start_s = now_s - (position_s or 0.0)
            self._position_s = self._seen_s = position_s or 0.0
            return now_s
        step_s = 0.0 if position_s is None else position_s - self._seen_s
        self._seen_s = self._seen_s if position_s is None else position_s
        self._position_s += step_s if 0 < step_s <= JUMP_LIMIT_S else self._step_s
        due_s = self._start_s + self._position_s
        if now_s - due_s > BEHIND_LIMIT_S:
            self._start_s += now_s - due_s
            due_s = now_s
        return due_s


class RateLimit:
    """Lets at most ``fps`` frames a second through, evenly, and tolerates a quarter interval of jitter."""

    def __init__(self, fps: float) -> None:
        """Start with the first frame let through."""
        self._interval_s = 1.0 / fps
        self._due_s: float | None = None

    def admits(self, now_s: float) -> bool:
        """Tell whether the frame that arrived at ``now_s`` is let through."""
        if self._due_s is None:
            self._due_s = now_s
        if now_s < self._due_s - self._interval_s / 4:
            return False
        self._due_s = max(self._due_s + self._interval_s, now_s + self._interval_s / 2)
        return True
