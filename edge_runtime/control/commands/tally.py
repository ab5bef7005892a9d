"""Counts commands: for the metrics since the start, and for the audit trail's sums per minute. Any thread."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

MINUTE_NS = 60_000_000_000
NAMES_MAX = 256  # names are claimed, so they could be endless
OTHERS = "others"
FLOOD = "flood"


@dataclass(frozen=True, slots=True)
class Sum:
    """How often something frequent happened since the last look: ``who`` asked for ``verb`` with ``outcome``."""

    who: str
    verb: str
    outcome: str
    count: int


class Tally:
    """See the module docstring."""

    def __init__(self, now_ns: int) -> None:
        """Start with zeros."""
        self._lock = threading.Lock()  # guards everything below
        self._received = 0
        self._executed: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._repeated = 0
        self._late = 0
        self._sums: Counter[tuple[str, str, str]] = Counter()
        self._since_ns = now_ns

    def received(self) -> None:
        """A message came in."""
        with self._lock:
            self._received += 1

    def executed(self, verb: str) -> None:
        """A command was given to its handler."""
        with self._lock:
            self._executed[verb] += 1

    def shed(self) -> None:
        """A message was thrown away unread."""
        with self._lock:
            self._received += 1
            self._refused[FLOOD] += 1
            self._sums[OTHERS, OTHERS, FLOOD] += 1

    def refused(self, reason: str) -> None:
        """A message was refused."""
        with self._lock:
            self._refused[reason] += 1

    def repeated(self) -> None:
        """A command came again and was not carried out again."""
        with self._lock:
            self._repeated += 1

    def late(self) -> None:
        """A command was not answered by its deadline."""
        with self._lock:
            self._late += 1

    def add(self, who: str, verb: str, outcome: str) -> None:
        """Add to the sum of the minute."""
        with self._lock:
            known = (who, verb, outcome) in self._sums or len(self._sums) < NAMES_MAX
            self._sums[who if known else OTHERS, verb, outcome] += 1

    def sums(self, now_ns: int, *, all_of_it: bool = False) -> list[Sum]:
        """Return the sums once a minute is over, or at once, and start anew; empty before."""
        with self._lock:
            if not all_of_it and now_ns - self._since_ns < MINUTE_NS:
                return []
            found = [Sum(*key, count) for key, count in sorted(self._sums.items())]
            self._sums.clear()
            self._since_ns = now_ns
            return found

    def figures(self) -> dict[str, object]:
        """Counters since the start, JSON-able."""
        with self._lock:
            return {
                "received": self._received,
                "executed": dict(self._executed),
                "refused": dict(self._refused),
                "repeated": self._repeated,
                "late": self._late,
            }
