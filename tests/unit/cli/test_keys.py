from __future__ import annotations

import os
import pty
import select
import signal
import sys
import termios
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Self

import pytest

from edge_runtime.cli.keys import Keys
from edge_runtime.system.service import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

COOKED = termios.ICANON | termios.ECHO
CHILD = """
import os, signal, sys
from edge_runtime.cli.keys import Keys
from edge_runtime.system.service import ServiceGroup

def on_key(key):
    os.write(1, f"key {key}\\n".encode())
    if key == "q":
        stop.append(key)
    if key == "x":
        raise RuntimeError("fails")

def on_signal(*_):
    stop.append("signal")

stop = []
signal.signal(signal.SIGTERM, on_signal)
with Keys(0, on_key) as keys, ServiceGroup() as group:
    group.start(keys)
    os.write(1, b"listens\\n")
    while not stop and not group.wait(0.05):
        pass
"""


class Shell:
    """A child, Python with these words, whose terminal we hold the other end of."""

    def __init__(self, *words: str) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, *words])
        self.said = b""
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)
            self.end()
        os.close(self.terminal)

    def wait_for(self, words: bytes, timeout_s: float = 20) -> None:
        self._until(lambda: words in self.said, f"{words!r} in {self.said[-2000:]!r}", timeout_s)

    def wait_raw(self) -> None:
        self._until(lambda: not self.modes() & COOKED, "the terminal hands over keys")

    def _until(self, done: Callable[[], bool], what: str, timeout_s: float = 20) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline_s, what
            if select.select([self.terminal], [], [], 0.05)[0]:
                with suppress(OSError):
                    self.said += os.read(self.terminal, 4096)

    def type(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def modes(self) -> int:
        return int(termios.tcgetattr(self.terminal)[3])

    def end(self) -> int:
        self._ended = True
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize(("way", "code"), [("q", 0), ("x", 1), ("signal", 0)])
def test_keys_come_without_enter_and_the_terminal_is_put_back_whatever_ends_it(way: str, code: int) -> None:
    with Shell("-c", CHILD) as shell:
        before = shell.modes()
        assert before & COOKED == COOKED
        shell.wait_for(b"listens")
        shell.wait_raw()
        assert shell.modes() & termios.ISIG  # Ctrl-C is still a signal
        shell.type(b"\x1b[B")
        time.sleep(0.3)  # arrows come at once, the letter after them does not belong to them
        shell.type(b"u")
        shell.wait_for(b"key u")
        assert b"key B" not in shell.said
        os.kill(shell.pid, signal.SIGTERM) if way == "signal" else shell.type(way.encode())
        assert shell.end() == code
        assert shell.modes() == before


BACKGROUND = f"""
import os, signal
other = os.fork()
if other == 0:
    signal.pause()
os.setpgid(other, other)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # as a shell, which moves its terminal from job to job
os.tcsetpgrp(0, other)
def front(*_):
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
signal.signal(signal.SIGTTOU, signal.SIG_DFL)
signal.signal(signal.SIGUSR1, front)
try:
    exec({CHILD!r})
finally:
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
"""


def test_in_the_background_the_terminal_is_left_alone() -> None:
    with Shell("-c", BACKGROUND) as shell:
        shell.wait_for(b"listens")
        before = shell.modes()
        time.sleep(0.3)
        assert shell.modes() == before
        assert before & COOKED == COOKED
        os.kill(shell.pid, signal.SIGUSR1)
        shell.wait_raw()
        shell.type(b"q")
        assert shell.end() == 0
        assert shell.modes() == before


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_the_demo_obeys_its_keys() -> None:
    with Shell("-m", "edge_runtime", "demo") as shell:
        before = shell.modes()
        shell.wait_for(b"roll out a good release", 60)
        shell.wait_for(b"release 1", 60)
        shell.wait_raw()
        for key, end in ((b"u", b"release 2 is committed"), (b"b", b"release 3 is rolled back")):
            shell.type(key)
            shell.wait_for(end, 110)
        shell.type(b"q")
        shell.wait_for(b"ready_s", 20)
        assert shell.end() == 0
        assert shell.modes() == before


def test_a_terminal_that_is_gone_has_no_keys() -> None:
    held, ours = os.openpty()
    found: list[str] = []
    with closing(os.fdopen(ours)):
        os.close(held)
        keys = Keys(ours, found.append)
        assert not keys._take()
        stop = Stop()
        stop.set()
        with keys:
            keys.run(stop)
    assert found == []
