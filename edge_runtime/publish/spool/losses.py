"""Counts what never reached the spool and says so, at most once a second."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from edge_runtime.core.result import Event, Result

_EVERY_NS = 1_000_000_000
FRAMES_MAX = 4096  # named until their loss is declared, a second later: more than a flight recorder has room for


@dataclass(slots=True)
class _Lost:
    count: int = 0
    first_frame: int | None = None
    last_frame: int | None = None
    frames: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Loss:
    """Events that declare what was lost, and the frames of it as (inspection, frame id): for one transaction."""

    events: list[Event]
    frames: list[tuple[str, int]]


class Losses:
    """Every method may be called from any thread."""

    def __init__(self) -> None:
        """Start with nothing lost."""
        self._lock = threading.Lock()  # guards _lost, _total and _said_ns
        self._lost: dict[str, _Lost] = {}
        self._total = 0
        self._said_ns: int | None = None

    def add(self, item: Result | Event) -> None:
        """Count one document that is lost."""
        with self._lock:
            self._total += 1
            if isinstance(item, Result):
                found = self._lost.setdefault(item.inspection, _Lost(first_frame=item.frame_id))
                found.last_frame = item.frame_id
                if len(found.frames) < FRAMES_MAX:
                    found.frames.append(item.frame_id)
            else:
                found = self._lost.setdefault("system", _Lost())
            found.count += 1

    def due(self, now_mono_ns: int, utc_ns: int, *, ending: bool) -> Loss:
        """Return one event per inspection that lost something; the caller commits them. No pause when ``ending``."""
        with self._lock:
            early = self._said_ns is not None and now_mono_ns - self._said_ns < _EVERY_NS
            if not self._lost or (early and not ending):
                return Loss([], [])
            lost, self._lost = self._lost, {}
            self._said_ns = now_mono_ns
        events = [
            Event(
                scope,
                "spool.lost",
                f"{found.count} documents were lost because the spool's queue was full or already closed",
                utc_ns,
                {"count": found.count, "firstFrame": found.first_frame, "lastFrame": found.last_frame},
            )
            for scope, found in lost.items()
        ]
        return Loss(events, [(scope, frame) for scope, found in lost.items() for frame in found.frames])

    @property
    def untold(self) -> int:
        """Documents lost that no event tells of yet."""
        with self._lock:
            return sum(found.count for found in self._lost.values())

    @property
    def total(self) -> int:
        """Documents lost since the start."""
        with self._lock:
            return self._total
