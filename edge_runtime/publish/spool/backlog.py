"""What a taker has still to get and is on disk only: ranges of ids, read back in order as the taker gets to them.

Pure, and not locked: the lock of whoever owns it guards it. Legal order: ``reset`` or ``add`` -> ``wanted`` -> (the
writer reads that range) -> ``supply`` -> ``move`` ...; what was read for a range that ``reset`` has done away with is
ignored.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from edge_runtime.publish.spool.store import Row

PREFETCH = 256  # rows read at once


@dataclass(frozen=True, slots=True)
class Range:
    """Ids to read: after < id <= through; ``again`` tells rows that are owed once more from the others."""

    after: int
    through: int
    again: bool = False
    generation: int = field(default=0, compare=False)


class Backlog:
    """See the module docstring.

    Attributes:
        left: rows that are still to be read, an estimate from above.
        through: the highest id that was ever part of it.
    """

    def __init__(self, *, again: bool = False) -> None:
        """Start empty; ``again`` marks its ranges."""
        self._again = again
        self._ranges: deque[Range] = deque()
        self._rows: deque[Row] = deque()
        self._generation = 0
        self.left = 0
        self.through = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is in memory or on disk."""
        return not self._ranges and not self._rows

    @property
    def remaining(self) -> int:
        """Rows that are still to be taken, an estimate from above."""
        return self.left + len(self._rows)

    @property
    def ready(self) -> bool:
        """Whether something is in memory."""
        return bool(self._rows)

    def reset(self, after: int, through: int, left: int) -> None:
        """Forget everything; after < id <= through is the backlog now, with at most ``left`` rows."""
        self._generation += 1
        self._ranges.clear()
        self._rows.clear()
        self.left = 0
        self.through = through
        self.add(after, through, left)

    def add(self, after: int, through: int, left: int) -> None:
        """Add after < id <= through, behind what there is; it may go on where the last range ends."""
        last = self._ranges[-1] if self._ranges else None
        if last is not None and last.after <= after <= last.through < through:
            self._ranges[-1] = replace(last, through=through)
        elif after < through:
            self._ranges.append(Range(after, through, self._again, self._generation))
        self.left += left if self._ranges else 0
        self.through = max(self.through, through)

    def widen(self, after: int, through: int, left: int) -> None:
        """Add rows with after < id <= through that may lie anywhere, also between those that are there.

        What is in memory is read again, so that nothing comes twice.
        """
        afters = [after, *(row.id - 1 for row in self._rows), *(found.after for found in self._ranges)]
        throughs = [through, *(row.id for row in self._rows), *(found.through for found in self._ranges)]
        self.reset(min(afters), max(throughs), self.remaining + left)

    def wanted(self) -> Range | None:
        """Return what should be read now, or ``None`` when enough is in memory."""
        return self._ranges[0] if self._ranges and len(self._rows) < PREFETCH // 2 else None

    def supply(self, asked: Range, rows: Sequence[Row], *, limit: int, held: Container[int] = ()) -> None:
        """Add what was read for ``asked`` with that ``limit``, but not rows that the taker has already in hand.

        Fewer rows than ``limit`` mean that the range is exhausted.
        """
        if asked.generation != self._generation or not self._ranges:
            return
        fit = [row for row in rows if row.id not in held]
        self._rows.extend(fit)
        self.left = max(0, self.left - len(fit))
        after = rows[-1].id if len(rows) == limit else asked.through
        first = self._ranges.popleft()
        if after < first.through:
            self._ranges.appendleft(replace(first, after=after))
        elif not self._ranges:
            self.left = 0

    def move(self, target: list[Row], limit: int) -> None:
        """Move rows in order to the end of ``target`` until that has ``limit``."""
        while self._rows and len(target) < limit:
            target.append(self._rows.popleft())

    def withdraw(self, gone: Container[int]) -> None:
        """Take rows out of memory that are no longer on disk."""
        self._rows = deque(row for row in self._rows if row.id not in gone)

    def unread(self, row_id: int) -> bool:
        """Tell whether a row is still to be read."""
        return any(found.after < row_id <= found.through for found in self._ranges)
