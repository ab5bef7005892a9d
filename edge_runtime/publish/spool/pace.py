"""How long the spool's writer lets a group of documents gather before the next transaction, and its rate. Pure."""

from __future__ import annotations

GROUP_NS = 3_000_000  # transactions begin at least this far apart: what is put between them travels together
GROUP_MAX = 32  # unless so many wait
FLAT_OUT_PER_S = 2_000  # documents: more than lines make, so throughput counts for more
_SPAN_NS = 100_000_000  # what that is judged by

_S = 1_000_000_000


class Pace:
    """One thread.

    At hundreds of results a second, a transaction and a wake of every thread for each of them cost more than all the
    rest of the way. One that comes alone is written at once.

    Attributes:
        flat_out: more than ``FLAT_OUT_PER_S`` documents a second were written of late.
    """

    def __init__(self) -> None:
        """Nothing was written yet."""
        self._began_ns: int | None = None
        self._since_ns = 0
        self._documents = 0  # since then
        self.flat_out = False

    def began(self, now_mono_ns: int, documents: int) -> None:
        """A transaction with so many ``documents`` begins; one of answers alone keeps nothing waiting."""
        if documents:
            self._began_ns = now_mono_ns
        self._documents += documents
        span_ns = now_mono_ns - self._since_ns
        if span_ns >= _SPAN_NS:
            self.flat_out = self._documents * _S > FLAT_OUT_PER_S * span_ns
            self._since_ns, self._documents = now_mono_ns, 0

    def left_s(self, now_mono_ns: int, waiting: int) -> float:
        """Return for how many seconds the next one is not due, with so many documents ``waiting`` for it."""
        if self._began_ns is None or waiting >= GROUP_MAX:
            return 0.0
        return max(0, self._began_ns + GROUP_NS - now_mono_ns) / _S
