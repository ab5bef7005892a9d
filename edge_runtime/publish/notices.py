"""Events that the spool publishes about itself, and how rarely: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.core.result import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge_runtime.publish.store import Row

REFUSED_EVERY_NS = 10_000_000_000  # a wrong access list refuses every result: say it at once, then with counts


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


@dataclass(slots=True)
class _Refused:
    count: int
    from_seq: int
    to_seq: int
    said_ns: int | None = None


class Refusals:
    """Turns refused results into events: the first of a kind at once, the others summed up every ten seconds."""

    def __init__(self) -> None:
        """Start with nothing refused."""
        self._open: dict[tuple[str, str], _Refused] = {}

    def add(self, refused: Sequence[tuple[Row, str]]) -> None:
        """Count refused rows; refused events are not counted here, or an event would be refused about each of them."""
        for row, reason in refused:
            if not is_result(row.stream):
                continue
            found = self._open.setdefault((row.stream, reason), _Refused(0, row.seq, row.seq))
            if found.count == 0:
                found.from_seq = row.seq
            found.count += 1
            found.to_seq = row.seq

    def due(self, now_mono_ns: int, utc_ns: int) -> list[Event]:
        """Return the events to publish now."""
        events = []
        for (stream, reason), found in self._open.items():
            if found.count == 0 or (found.said_ns is not None and now_mono_ns - found.said_ns < REFUSED_EVERY_NS):
                continue
            fields: dict[str, object] = {
                "topic": stream,
                "from_seq": found.from_seq,
                "to_seq": found.to_seq,
                "count": found.count,
                "reason": reason,
            }
            message = f"the broker refused {found.count} documents of {stream}: {reason}; they are kept as dead letters"
            events.append(Event(scope_of(stream), "spool.refused", message, utc_ns, fields))
            found.said_ns = now_mono_ns
            found.count = 0
        return events
