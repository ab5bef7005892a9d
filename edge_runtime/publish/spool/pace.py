"""How long the spool's writer lets a group of documents gather before the next transaction. Pure."""

from __future__ import annotations

GROUP_NS = 3_000_000  # transactions begin at least this far apart: what is put between them travels together
GROUP_MAX = 32  # unless so many wait

_S = 1_000_000_000


class Pace:
    """One thread.

    At hundreds of results a second, a transaction and a wake of every thread for each of them cost more than all the
    rest of the way. One that comes alone is written at once.
    """

    def __init__(self) -> None:
        """Nothing was written yet."""
        self._began_ns: int | None = None

    def began(self, now_mono_ns: int) -> None:
        """A transaction begins."""
        self._began_ns = now_mono_ns

    def left_s(self, now_mono_ns: int, waiting: int) -> float:
        """Return for how many seconds the next one is not due, with so many documents ``waiting`` for it."""
        if self._began_ns is None or waiting >= GROUP_MAX:
            return 0.0
        return max(0, self._began_ns + GROUP_NS - now_mono_ns) / _S
