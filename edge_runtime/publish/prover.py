"""Proves from the received messages alone that nothing is missing: pure.

The rule a consumer can rely on: in each stream (``{site}/{line}/{edge}/result/{inspection}``) ``seq`` has no holes; of
documents that will never come a ``spool.gap`` or ``spool.refused`` event says between which numbers they are
(``from_seq``, ``to_seq``) and how many (``count``, null when nobody can tell any more). A number that was delivered
twice is a duplicate when the ids are equal and a conflict when they are not.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_IDS_MAX = 65_536  # per stream: how far back a repeated number is compared by its id
_DECLARING = frozenset({"spool.gap", "spool.refused"})


@dataclass(frozen=True, slots=True)
class Proof:
    """What the messages prove.

    Attributes:
        received: messages; ``distinct`` numbers among them.
        duplicates: repeats of a number with the same id; harmless.
        conflicts: repeats of a number with another id; never happens unless a power cut took commits back.
        inversions: first deliveries that came after a higher number of their stream, not counting historical ones.
        missing: numbers between the lowest and the highest seen that did not come and were not declared.
        declared: numbers that did not come and were declared.
        boots: runs of the daemon that were seen.
    """

    received: int = 0
    distinct: int = 0
    duplicates: int = 0
    conflicts: int = 0
    inversions: int = 0
    missing: int = 0
    declared: int = 0
    boots: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and no number stands for two documents."""
        return self.missing == 0 and self.conflicts == 0


@dataclass(frozen=True, slots=True)
class Hole:
    """Numbers of a stream, inclusive, that did not come and of which no event says that they never will."""

    stream: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a stream was followed: the last number seen, and what was missing up to there (inclusive pairs)."""

    last: int
    missing: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Declared:
    """Among the numbers of ``topic`` from ``low`` to ``high``, ``count`` will not come."""

    topic: str
    low: int
    high: int
    count: int


@dataclass(slots=True)
class _Stream:
    first: int
    last: int
    since: int = 0  # numbers up to here came to somebody before us, but for the holes
    received: int = 0
    duplicates: int = 0
    conflicts: int = 0
    inversions: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)  # inclusive, ascending
    declared: Mapping[str, _Declared] = field(default_factory=dict)  # by the id of the event, which may come twice
    ids: OrderedDict[int, str] = field(default_factory=OrderedDict)

    def add(self, seq: int, document_id: str, *, historical: bool) -> None:
        self.received += 1
        if seq > self.last:
            if seq > self.last + 1:
                self.holes.append((self.last + 1, seq - 1))
            self.last = seq
        elif self.since < seq < self.first:
            if seq < self.first - 1:
                self.holes.insert(0, (seq + 1, self.first - 1))
            self.first = seq
            self.inversions += not historical
        elif self._fill(seq):
            self.inversions += not historical
        else:
            known = self.ids.get(seq, document_id)
            self.duplicates += known == document_id
            self.conflicts += known != document_id
            return
        self.ids[seq] = document_id
        if len(self.ids) > _IDS_MAX:
            self.ids.popitem(last=False)

    def _fill(self, seq: int) -> bool:
        for index, (low, high) in enumerate(self.holes):
            if low <= seq <= high:
                rest = [(low, seq - 1), (seq + 1, high)]
                self.holes[index : index + 1] = [(a, b) for a, b in rest if a <= b]
                return True
        return False

    def open(self) -> list[tuple[int, int]]:
        """Return the holes without what a declaration accounts for alone: no more numbers of its range are missing."""
        left = self.holes
        for declared in self.declared.values():
            span = (declared.low, declared.high)
            rest = [part for hole in left for part in _without(hole, span)]
            if _size(left) - _size(rest) <= declared.count:
                left = rest
        return left

    def split(self) -> tuple[int, int]:
        """Return how many numbers are missing and how many of the holes are declared."""
        holes = _size(self.holes)
        declared = _covered(self.holes, self.declared.values())
        return holes - declared, declared


def _size(holes: Iterable[tuple[int, int]]) -> int:
    return sum(high - low + 1 for low, high in holes)


def _without(hole: tuple[int, int], other: tuple[int, int]) -> list[tuple[int, int]]:
    (low, high), (start, end) = hole, other
    parts = [(low, min(high, start - 1)), (max(low, end + 1), high)]
    return [(a, b) for a, b in parts if a <= b]


def _covered(holes: Iterable[tuple[int, int]], declared: Iterable[_Declared]) -> int:
    """Return how many numbers of ``holes`` the declarations can account for, each for at most its count.

    From the lowest number upwards, the declaration that reaches least far goes first: no other choice covers more.
    """
    waiting = sorted(((d.low, d.high, d.count) for d in declared), reverse=True)
    usable: list[tuple[int, int]] = []  # heap of (high, numbers left)
    covered = 0
    for low, high in holes:
        at = low
        while at <= high:
            while waiting and waiting[-1][0] <= at:
                _, reach, count = waiting.pop()
                heapq.heappush(usable, (reach, count))
            following = waiting[-1][0] if waiting else high + 1
            if not usable:
                at = following
            elif usable[0][0] < at or not usable[0][1]:
                heapq.heappop(usable)
            else:
                reach, left = heapq.heappop(usable)
                end = min(high, reach, following - 1, at + left - 1)
                covered += end - at + 1
                heapq.heappush(usable, (reach, left - (end - at + 1)))
                at = end + 1
    return covered


class Prover:
    """Feed it every result and event document, in the order of arrival. One thread."""

    def __init__(self, marks: Mapping[str, Mark] | None = None) -> None:
        """Start with nothing received, or where somebody stopped before: ``marks`` by stream."""
        self._streams: dict[str, _Stream] = {}
        self._declared: dict[str, dict[str, _Declared]] = {}
        self._boots: set[str] = set()
        for name, mark in (marks or {}).items():
            declared = self._declared.setdefault(name, {})
            holes = list(mark.missing)
            self._streams[name] = _Stream(mark.last + 1, mark.last, mark.last, holes=holes, declared=declared)

    def add(self, document: Mapping[str, object]) -> None:
        """Take one ``vision.result/1`` or ``vision.event/1`` document; others are ignored.

        Raises:
            KeyError: a field that the schema requires is missing.
            TypeError: a field has another type than the schema says.
            ValueError: the same, for numbers in text.
        """
        schema = document.get("schema")
        if schema == "vision.result/1":
            self._add(f"{_box(document)}/result/{document['inspection']}", document)
        elif schema == "vision.event/1":
            declared = _declaration(document) if document["kind"] in _DECLARING else None
            self._add(f"{_box(document)}/event/{document['scope']}", document)
            if declared is not None:
                name = f"{_box(document)}/{declared.topic}"
                self._declared.setdefault(name, {})[str(document["id"])] = declared

    def proof(self, stream: str | None = None) -> Proof:
        """Return the proof for one stream (see the module docstring), or over all result streams."""
        chosen = [
            (name, found)
            for name, found in self._streams.items()
            if (name == stream if stream is not None else "/result/" in name)
        ]
        splits = [found.split() for _, found in chosen]
        return Proof(
            received=sum(found.received for _, found in chosen),
            distinct=sum(found.received - found.duplicates - found.conflicts for _, found in chosen),
            duplicates=sum(found.duplicates for _, found in chosen),
            conflicts=sum(found.conflicts for _, found in chosen),
            inversions=sum(found.inversions for _, found in chosen),
            missing=sum(missing for missing, _ in splits),
            declared=sum(declared for _, declared in splits),
            boots=len(self._boots),
        )

    def streams(self) -> list[str]:
        """Return the names of all streams seen."""
        return list(self._streams)

    def holes(self, stream: str | None = None) -> list[Hole]:
        """Return what one stream misses, or every result stream, lowest first.

        Where an event declares that some numbers of a range will not come, but not which, all of it is in the list.
        """
        chosen = [stream] if stream is not None else [name for name in self._streams if "/result/" in name]
        return [Hole(name, *pair) for name in chosen for pair in self._streams[name].open()]

    def marks(self) -> dict[str, Mark]:
        """Return how far each stream was followed, for a ``Prover`` that goes on."""
        return {name: Mark(found.last, tuple(found.open())) for name, found in self._streams.items()}

    def last(self, stream: str) -> int:
        """Return the highest seq seen in ``stream``, 0 for none."""
        found = self._streams.get(stream)
        return 0 if found is None else found.last

    def _add(self, name: str, document: Mapping[str, object]) -> None:
        seq, document_id, boot_id = int(str(document["seq"])), str(document["id"]), str(document["bootId"])
        historical = bool(document["historical"])
        if datetime.fromisoformat(str(document["ts"])).tzinfo is None:
            msg = f"ts must say its offset from UTC, got {document['ts']}"
            raise ValueError(msg)
        self._boots.add(boot_id)
        found = self._streams.get(name)
        if found is None:
            declared = self._declared.setdefault(name, {})
            found = self._streams[name] = _Stream(first=seq, last=seq - 1, declared=declared)
        found.add(seq, document_id, historical=historical)


def _box(document: Mapping[str, object]) -> str:
    return f"{document['site']}/{document['line']}/{document['edge']}"


def _declaration(document: Mapping[str, object]) -> _Declared:
    fields = document["fields"]
    if not isinstance(fields, dict):
        msg = f"fields must be an object, got {type(fields).__name__}"
        raise TypeError(msg)
    low, high, count = int(str(fields["from_seq"])), int(str(fields["to_seq"])), fields["count"]
    return _Declared(str(fields["topic"]), low, high, high - low + 1 if count is None else max(0, int(str(count))))
