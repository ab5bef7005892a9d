"""What the spool's file holds, as values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.publish.spool.layout import ROW_OVERHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EVENT_CLASS = 2
_OK = ("evaluation", "OK")


@dataclass(frozen=True, slots=True)
class Row:
    """One committed document.

    Attributes:
        id: place in the spool; never used twice in one run.
        stream: topic suffix, for example ``result/top``; ``seq`` counts in it.
        utc_ns: when it happened.
        mono_ns: the same on CLOCK_MONOTONIC of the boot it was captured in.
        again: owed once more, although it was acknowledged or refused before.
    """

    id: int
    stream: str
    seq: int
    utc_ns: int
    mono_ns: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    again: bool = False

    @property
    def size(self) -> int:
        """Bytes it is counted with against the spool's limit."""
        return len(self.body) + ROW_OVERHEAD_BYTES

    @property
    def rank(self) -> int:
        """What is given up first: the ``class`` of ``layout``."""
        if self.stream.startswith("event/"):
            return EVENT_CLASS
        return 0 if _OK in self.headers else 1

    @classmethod
    def read(cls, values: tuple[int, str, int, int, int, str, bytes], *, again: bool = False) -> Row:
        """Make one of the columns of the table ``row``, in their order."""
        row_id, stream, seq, utc_ns, mono_ns, headers, body = values
        return cls(row_id, stream, seq, utc_ns, mono_ns, tuple((k, v) for k, v in json.loads(headers)), body, again)


@dataclass(frozen=True, slots=True)
class StreamState:
    """Where a stream stands: last seq and, for results, the last frame."""

    seq: int
    frame_id: int | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A row without its headers and body.

    Attributes:
        size: bytes it is counted with.
        at_s: when it was acknowledged, UTC seconds; 0 while it is owed.
        again: owed once more.
    """

    id: int
    stream: str
    seq: int
    utc_ns: int
    mono_ns: int
    size: int
    at_s: int = 0
    again: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """One transaction: all of it is on disk afterwards or nothing.

    Attributes:
        acked: ids no longer owed, kept from ``at_s`` (UTC seconds) on.
        dead: ids that the broker refused, with the reason.
        removed: ids evicted or past their retention.
        positions: of followers; ``None`` forgets one.
    """

    rows: Sequence[Row] = ()
    streams: dict[str, StreamState] = field(default_factory=dict)
    acked: Sequence[int] = ()
    dead: Sequence[tuple[int, str]] = ()
    removed: Sequence[int] = ()
    positions: Mapping[str, int | None] = field(default_factory=dict)
    at_s: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What a store held when it was opened; ``again`` rows of the pending ones are owed once more."""

    last_id: int
    streams: dict[str, StreamState]
    pending: int
    pending_bytes: int
    again: int
    kept: int
    kept_bytes: int
    dead: int
    oldest_utc_ns: int | None
    positions: dict[str, int]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one number of a stream is: ``state`` is ``owed``, ``kept`` or ``dead``."""

    id: int
    seq: int
    size: int
    state: str
