"""CPU priority of this process: lower than that of everybody else, and back.

A process may always go down. Coming back needs a limit that allows it (RLIMIT_NICE >= 20, systemd: ``LimitNICE=+0``) or
CAP_SYS_NICE; without either, a process that has to be at normal priority one day must not go down at all.

Linux keeps the priority by thread; a new thread begins with that of its maker.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Final

LOWER_BY: Final = 19
_LOWEST: Final = 19
_ROUNDS: Final = 10  # until a pass finds no new thread


class Priority:
    """The priority of this process; normal is what it had when this was made. One thread owns it."""

    def __init__(self) -> None:
        """Change nothing."""
        self.normal: Final = os.getpriority(os.PRIO_PROCESS, 0)
        self.low: Final = min(self.normal + LOWER_BY, _LOWEST)
        self._can_come_back: bool | None = None

    @property
    def can_come_back(self) -> bool:
        """Whether this process may go down and come back; found out, once, with a thread that ends at once."""
        if self._can_come_back is None:
            found: list[bool] = []
            thread = threading.Thread(target=lambda: found.append(self._try()), name="priority")
            thread.start()
            thread.join()
            self._can_come_back = found == [True]
        return self._can_come_back

    def set(self, *, low: bool) -> bool:
        """Give every thread of this process low priority, or the normal one; return whether the kernel let us."""
        nice, done = self.low if low else self.normal, set[int]()
        for _ in range(_ROUNDS):
            threads = {int(one.name) for one in Path("/proc/self/task").iterdir()}
            if threads <= done:
                return True
            for thread in threads - done:
                try:
                    os.setpriority(os.PRIO_PROCESS, thread, nice)
                except ProcessLookupError:
                    pass  # it has ended
                except OSError:
                    return False
            done |= threads
        return True

    def _try(self) -> bool:
        thread = threading.get_native_id()
        try:
            os.setpriority(os.PRIO_PROCESS, thread, self.low)
            os.setpriority(os.PRIO_PROCESS, thread, self.normal)
        except OSError:
            return False
        return True


def lift(pid: int) -> None:
    """Give every thread of a child the priority of this process, as far as the kernel lets us.

    It does so itself when it is told, but at a low priority, on a box that is busy, it may be long before it is heard.
    """
    with contextlib.suppress(OSError):
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        for one in Path(f"/proc/{pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(one.name), nice)


def can_come_back() -> bool:
    """Return whether this process may go down and come back."""
    return Priority().can_come_back
