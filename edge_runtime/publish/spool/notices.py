"""Events that the spool publishes about itself, and how rarely: pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.core.result import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_runtime.publish.spool.store import Row

REFUSED_EVERY_NS = 10_000_000_000  # a wrong access list refuses every result: say it at once, then with counts
REFUSED_AT_ONCE = 1000  # rows in memory that wait for that


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers of a stream that a subscriber need not wait for.

    Attributes:
        count: how many documents are lost; ``None`` when nobody can tell any more: some of the numbers may have been
            delivered, or never used.
        policy: why, for example ``max_bytes``, ``max_age`` or ``quarantine``.
    """

    stream: str
    from_seq: int
    to_seq: int
    count: int | None
    policy: str


def gap_event(gap: Gap, utc_ns: int) -> Event:
    """Return the event that declares ``gap``."""
    fields: dict[str, object] = {
        "topic": gap.stream,
        "from_seq": gap.from_seq,
        "to_seq": gap.to_seq,
        "count": gap.count,
        "policy": gap.policy,
    }
    number = "an unknown number of" if gap.count is None else str(gap.count)
    span = f"{gap.stream} between seq {gap.from_seq} and {gap.to_seq}"
    message = f"{number} documents of {span} will not come: {gap.policy}"
    return Event(scope_of(gap.stream), "spool.gap", message, utc_ns, fields)


def scope_of(stream: str) -> str:
    """Return the inspection or event scope of a stream."""
    return stream.partition("/")[2]


def is_result(stream: str) -> bool:
    """Tell results from events by their topic."""
    return stream.startswith("result/")


def evictions(rows: Iterable[tuple[str, int]], policy: str) -> list[Gap]:
    """Return one gap per stream for evicted (stream, seq) pairs."""
    seqs: dict[str, list[int]] = {}
    for stream, seq in rows:
        seqs.setdefault(stream, []).append(seq)
    return [Gap(stream, min(found), max(found), len(found), policy) for stream, found in seqs.items()]


@dataclass(frozen=True, slots=True)
class Declared:
    """Refused rows, with the reason, and the events that tell of them: for one transaction."""

    rows: list[tuple[Row, str]]
    events: list[Event]


@dataclass(slots=True)
class _Refused:
    rows: list[Row] = field(default_factory=list)
    said_ns: int | None = None


class Refusals:
    """Turns refused results into events: the first of a kind at once, the others summed up every ten seconds.

    Until its event is due a refused row stays owed on disk, so that a process that ends leaves no hole that nobody
    declared: the next run offers the row again.
    """

    def __init__(self) -> None:
        """Start with nothing refused."""
        self._open: dict[tuple[str, str], _Refused] = {}

    def add(self, refused: Sequence[tuple[Row, str]]) -> None:
        """Remember refused rows."""
        for row, reason in refused:
            self._open.setdefault((row.stream, reason), _Refused()).rows.append(row)

    def due(self, now_mono_ns: int, utc_ns: int, *, ending: bool) -> Declared:
        """Return what is to be committed now; all of it when the run is ``ending``.

        Refused events are declared by no event, or one would be refused about each of them.
        """
        declared = Declared([], [])
        for (stream, reason), found in self._open.items():
            early = found.said_ns is not None and now_mono_ns - found.said_ns < REFUSED_EVERY_NS
            wait = early and not ending and is_result(stream) and len(found.rows) < REFUSED_AT_ONCE
            if wait or not found.rows:
                continue
            declared.rows.extend((row, reason) for row in found.rows)
            if is_result(stream):
                declared.events.append(_refused_event(stream, reason, [row.seq for row in found.rows], utc_ns))
                found.said_ns = now_mono_ns
            found.rows = []
        return declared


def _refused_event(stream: str, reason: str, seqs: Sequence[int], utc_ns: int) -> Event:
    fields: dict[str, object] = {
        "topic": stream,
        "from_seq": min(seqs),
        "to_seq": max(seqs),
        "count": len(seqs),
        "reason": reason,
    }
    message = f"the broker refused {len(seqs)} documents of {stream}: {reason}; they are kept as dead letters"
    return Event(scope_of(stream), "spool.refused", message, utc_ns, fields)
