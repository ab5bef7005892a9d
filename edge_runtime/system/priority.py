"""CPU priority of this process: lower than that of everybody else, and back.

A process may always go down. Coming back needs a limit that allows it (RLIMIT_NICE >= 20, systemd: ``LimitNICE=+0``) or
CAP_SYS_NICE; without either, a process that has to be at normal priority one day must not go down at all.

Linux keeps the priority by thread; a new thread begins with that of its maker.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

LOW: Final = 19
NORMAL: Final = 0
_ROUNDS: Final = 10  # until a pass finds no new thread


def can_come_back() -> bool:
    """Return whether this process may go down and come back; found out with a thread that ends at once."""
    found: list[bool] = []

    def attempt() -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NORMAL + 1)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NORMAL)
        except OSError:
            found.append(False)
        else:
            found.append(True)

    thread = threading.Thread(target=attempt, name="priority")
    thread.start()
    thread.join()
    return found[0]


def set_priority(*, low: bool) -> bool:
    """Give every thread of this process low priority, or the normal one; return whether the kernel let us."""
    nice, done = LOW if low else NORMAL, set[int]()
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
