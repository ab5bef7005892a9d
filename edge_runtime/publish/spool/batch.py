"""What one transaction of the spool's books takes in and gives back, and the running totals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.core.result import Event
    from edge_runtime.publish.spool.store import Row, StreamState


@dataclass(slots=True)
class Tally:
    """Running totals, written by the writer only; ``again`` of the ``depth`` rows are owed once more."""

    committed: int = 0
    acked: int = 0
    refused: int = 0
    evicted: int = 0
    unencodable: int = 0
    depth: int = 0
    depth_bytes: int = 0
    again: int = 0
    kept: int = 0
    kept_bytes: int = 0
    dead: int = 0
    oldest_utc_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What the broker said about rows that were taken."""

    acked: Sequence[Row] = ()
    refused: Sequence[tuple[Row, str]] = ()


@dataclass(slots=True)
class Batch:
    """What one transaction added.

    Attributes:
        frames: (inspection, frame id) of every result in it, or of whose loss an event in it tells.
    """

    rows: list[Row] = field(default_factory=list)
    streams: dict[str, StreamState] = field(default_factory=dict)
    frames: list[tuple[str, int]] = field(default_factory=list)
    unencodable: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """What the books say when they were opened.

    Attributes:
        notices: events to publish about it.
        landed: what the last commit added, if it failed and the file has it all the same: when only the sync at its end
            fails, COMMIT raises, and the log is whole when it is read again. It must not be committed a second time.
    """

    notices: list[Event]
    landed: Batch | None
