"""When to start a child again: pure decisions, time is passed in.

At once after the first failure, because a line must not wait; slower and slower while the failures go on, so that a
broken camera or model does not eat the box; never giving up, because nobody may be there to start it again.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Restart:
    """A decision.

    Attributes:
        failures: what to pass in as ``failures`` after the next exit.
        delay_s: seconds to wait before starting.
    """

    failures: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Back-off by number of failures in a row.

    Attributes:
        delays_s: seconds before the 1st, 2nd, 3rd ... restart in a row; the last one holds for all that follow.
        good_after_s: a child that worked this long has made good for all failures before.
        forgive_after_s: each time that it worked this long makes good for one of them: a child that is killed now and
            then is always started at once, one that dies at its start is not.
    """

    delays_s: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
    good_after_s: float = 60.0
    forgive_after_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse a policy without delays or with negative ones."""
        if not self.delays_s or min(self.delays_s) < 0:
            msg = f"delays_s must be at least one number >= 0, got {self.delays_s}"
            raise ValueError(msg)

    def decide(self, failures: int, worked_s: float) -> Restart:
        """Return what to do after an exit that follows ``failures`` failures in a row and ``worked_s`` of work."""
        if worked_s >= self.good_after_s:
            failures = 0
        failures = max(0, failures - int(worked_s / self.forgive_after_s))
        return Restart(failures + 1, self.delays_s[min(failures, len(self.delays_s) - 1)])
