"""What a second reader of the spool needs, beside the broker that acknowledges: every committed result, in order.

A follower has a durable position. Rows above it are kept, whoever else is done with them, as far as the spool's limits
allow. Rows that are committed while the follower reads are ``live``; what it missed is its backlog, read from disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.publish.spool.store import Row


class Follower(Protocol):
    """Every method may be called from the follower's one thread while the spool's writer runs; none blocks."""

    def set_listener(self, on_ready: Callable[[], None] | None) -> None:
        """Have ``on_ready`` called, by the writer's thread, when there is something to take."""
        ...

    def take_live(self, limit: int) -> Sequence[Row]:
        """Return up to ``limit`` rows of results that were committed since ``rewind``, oldest first, each once.

        A follower that does not keep up finds the oldest of them in the backlog instead.
        """
        ...

    def take_backlog(self, limit: int) -> Sequence[Row]:
        """Return up to ``limit`` older rows of results, oldest first, each once; empty while they are being read."""
        ...

    def rewind(self, row_id: int | None = None) -> None:
        """Make everything after ``row_id`` backlog again (default: after the durable position); what comes is live."""
        ...

    def settle(self, row_id: int) -> None:
        """Move the durable position: rows up to ``row_id`` are done with and need not be kept for this follower."""
        ...

    @property
    def position(self) -> int:
        """The durable position: a row id, 0 at first."""
        ...

    @property
    def backlog(self) -> int:
        """Rows that ``take_backlog`` has still to return, an estimate from above."""
        ...

    def skipped(self) -> int:
        """Return how many rows were evicted before they could be taken, since the last call."""
        ...
