"""What the spool gives up, and in which order: it reads the file and decides, ``ledger`` does it and declares it.

Two bounds hold for all that is on disk: bytes and age. What is kept (acknowledged) makes room for what is owed; what is
owed is given up by policy, results before events, because events declare what is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.publish.spool.limits import Policy
from edge_runtime.publish.spool.notices import is_result
from edge_runtime.publish.spool.rows import EVENT_CLASS

if TYPE_CHECKING:
    from edge_runtime.publish.spool.batch import Tally
    from edge_runtime.publish.spool.limits import SpoolLimits
    from edge_runtime.publish.spool.reading import Reading
    from edge_runtime.publish.spool.rows import Held

ROWS_AT_ONCE = 1000  # of one transaction, so that results do not wait for it
DOWN_TO = 0.95  # of the limit, so that one gap event covers many rows
_ABSURD_AGE_S = 10 * 365 * 86_400  # the clock was not set when the row was written: not an age
_S = 1_000_000_000
_RESULTS = (0, EVENT_CLASS - 1)
_EVENTS = (EVENT_CLASS, EVENT_CLASS)
# policy -> (classes, newest first), what goes first first
_ORDER: dict[Policy, tuple[tuple[tuple[int, int], bool], ...]] = {
    Policy.OLDEST: ((_RESULTS, False), (_EVENTS, False)),
    Policy.NEWEST: ((_RESULTS, True), (_EVENTS, False)),
    Policy.OK_FIRST: (((0, 0), False), ((1, 1), False), (_EVENTS, False)),
}


class Eviction:
    """One thread."""

    def __init__(self, limits: SpoolLimits) -> None:
        """Keep to ``limits``."""
        self._limits = limits
        self._passed: dict[tuple[int, int], int] = {}  # by classes: no row of them is owed up to this id

    def forget_places(self) -> None:
        """Rows that are older than others came back, or the file is another one."""
        self._passed.clear()

    def expired(self, reading: Reading, tally: Tally, floor: int | None, now_utc_s: int) -> list[Held]:
        """Return kept rows that are to go: past their retention, or beyond the bytes.

        Results above ``floor`` are held for followers: longer, for as long as the owed rows live at most.

        Raises:
            StorageError: the file cannot be read.
        """
        limits = self._limits
        too_many = tally.kept_bytes - max(0, limits.max_bytes - tally.depth_bytes)
        beyond = tally.kept_bytes - limits.keep_bytes
        found: list[Held] = []
        for row in reading.kept(ROWS_AT_ONCE):
            held = floor is not None and row.id > floor and is_result(row.stream)
            age_s = now_utc_s - row.at_s
            old = (limits.max_age_s if held else limits.keep_s) < age_s < _ABSURD_AGE_S
            if not (old or too_many > 0 or (beyond > 0 and not held)):
                break
            found.append(row)
            too_many -= row.size
            beyond -= row.size
        return found

    def beyond_age(self, reading: Reading, now_mono_ns: int, now_utc_ns: int, carried_through: int) -> list[Held]:
        """Return owed rows that are too old; those of earlier runs, up to ``carried_through``, are aged by UTC.

        What is owed once more has no age: somebody asked for it.

        Raises:
            StorageError: the file cannot be read.
        """
        limit_ns = int(self._limits.max_age_s * _S)
        found: list[Held] = []
        for limit in (1, ROWS_AT_ONCE):  # most of the time the oldest row tells that there is nothing to do
            found.clear()
            for row in reading.owed((0, EVENT_CLASS), limit, again=False):
                ours = row.id > carried_through
                age_ns = now_mono_ns - row.mono_ns if ours else now_utc_ns - row.utc_ns
                if age_ns <= limit_ns:
                    break
                if age_ns < _ABSURD_AGE_S * _S:
                    found.append(row)
            else:
                continue
            if not found:
                break
        return found

    def beyond_bytes(self, reading: Reading, tally: Tally) -> list[Held]:
        """Return owed rows that are to go, by policy, when there are more bytes than the limit.

        Raises:
            StorageError: the file cannot be read.
        """
        if tally.depth_bytes <= self._limits.max_bytes:
            return []
        excess = tally.depth_bytes - int(self._limits.max_bytes * DOWN_TO)
        found: list[Held] = []
        for classes, newest in _ORDER[self._limits.policy]:
            after = 0 if newest else self._passed.get(classes, 0)
            rows = reading.owed(classes, ROWS_AT_ONCE, after=after, newest=newest)
            if not newest and rows:
                self._passed[classes] = rows[0].id - 1
            for row in rows:
                if excess <= 0:
                    return found
                found.append(row)
                excess -= row.size
            if found:
                return found  # the next kind only when nothing is left of this one
        return found
