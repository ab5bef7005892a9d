"""Priority is given back, or never given up; in a process of its own, which may not get it back."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

HEAD = """
import os, threading, time
from pathlib import Path
from edge_runtime.system.priority import Priority

def all_of_them():
    time.sleep(0.1)  # a thread that was joined is there for a moment more
    return sorted({os.getpriority(os.PRIO_PROCESS, int(one.name)) for one in Path("/proc/self/task").iterdir()})

end = threading.Event()
threading.Thread(target=end.wait).start()
priority = Priority()
"""


def _says(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code) + "\nend.set()"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.split("\n")[:-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a priority without a limit that allows it")
def test_every_thread_goes_down_and_comes_back() -> None:
    said = _says("""
        print(priority.can_come_back, all_of_them() == [priority.normal])
        print(priority.set(low=True), all_of_them() == [priority.low], priority.low > priority.normal)
        threading.Thread(target=end.wait).start()
        print(all_of_them() == [priority.low])
        print(priority.set(low=False), all_of_them() == [priority.normal])
    """)
    assert said == ["True True", "True True True", "True", "True True"]


def test_who_may_not_come_back_is_told_so_before_it_goes() -> None:
    said = _says("""
        import resource
        resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        print(priority.can_come_back, all_of_them() == [priority.normal])
        print(priority.set(low=True), all_of_them() == [priority.low])
        print(priority.set(low=False), all_of_them() == [priority.low])
    """)
    assert said == ["False True", "True True", "False True"]
