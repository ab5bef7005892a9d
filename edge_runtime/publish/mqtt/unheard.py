"""Streams that nobody subscribes to, where results are to be kept until somebody does. Pure.

The broker says so with reason code 16 (MQTT 5.0, 3.4.2.1). Then one row of the stream, the probe, is kept here and sent
again at a bounded rate; all others go back to the disk, so that they hold up no other stream. When the probe is heard,
the disk is read from the beginning again, and until that has happened the stream's rows keep going back to it: else a
newer one would overtake them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.publish.spool.store import Row

PROBE_NS = 1_000_000_000  # how often one stream is tried


class Unheard:
    """One thread.

    Attributes:
        returning: streams that were heard again and whose rows are still to be read from the disk.
    """

    def __init__(self) -> None:
        """Start with every stream heard."""
        self._probes: dict[str, Row] = {}
        self._due_ns: dict[str, int | None] = {}  # None: it is in flight
        self.returning: set[str] = set()

    def deaf(self, stream: str) -> bool:
        """Tell whether rows of ``stream`` other than its probe go back to the disk."""
        return stream in self._probes or stream in self.returning

    def is_probe(self, row: Row) -> bool:
        """Tell whether ``row`` is kept here."""
        probe = self._probes.get(row.stream)
        return probe is not None and probe.id == row.id

    def unheard(self, row: Row, now_ns: int) -> bool:
        """Nobody subscribes to ``row``; return whether it is kept here, and does not go back to the disk."""
        if not self.is_probe(row) and self.deaf(row.stream):
            return False
        self._probes[row.stream] = row
        self._due_ns[row.stream] = now_ns + PROBE_NS
        return True

    def heard(self, row: Row) -> bool:
        """Somebody subscribes to ``row``; return whether the disk must be read again because of it."""
        if row.stream not in self._probes:
            return False
        if not self.is_probe(row):  # one that was in flight beside it: the probe will be heard, too
            if self._due_ns[row.stream] is not None:
                self._due_ns[row.stream] = 0
            return False
        self.forget(row)
        self.returning.add(row.stream)
        return True

    def forget(self, row: Row) -> None:
        """The probe ``row`` is no longer ours."""
        del self._probes[row.stream]
        del self._due_ns[row.stream]

    def take(self, limit: int, now_ns: int) -> list[Row]:
        """Return at most ``limit`` probes whose time has come; each is in flight until it is heard, or not."""
        due = [stream for stream, due_ns in self._due_ns.items() if due_ns is not None and due_ns <= now_ns]
        for stream in due[:limit]:
            self._due_ns[stream] = None
        return [self._probes[stream] for stream in due[:limit]]

    def lost(self) -> None:
        """The connection ended: every probe in flight is due again."""
        self._due_ns = {stream: 0 if due_ns is None else due_ns for stream, due_ns in self._due_ns.items()}

    @property
    def count(self) -> int:
        """How many rows are kept here."""
        return len(self._probes)

    @property
    def probes(self) -> list[Row]:
        """Every row that is kept here."""
        return list(self._probes.values())
