"""Makes the n-th system call of a kind fail, or kills the process at it: a forked child that strace attaches to.

The child is forked by a process without threads that has everything imported, and waits until strace holds it, so n
counts the calls of ``work`` alone and a run costs some 50 ms. What the child wants to tell goes into a ``Diary``:
memory that both share, which costs no system call and survives ``kill -9``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import select
import signal
import struct
import subprocess
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_DIARY_BYTES = 4 << 20
_HEAD = struct.Struct("<Q")
_SET_PTRACER = 0x59616D61  # prctl(2), Yama: who may attach to us
_ANYBODY = ctypes.c_ulong(-1)
_LOOKS = 5000


class Diary:
    """An append-only list of small JSON documents in shared memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _DIARY_BYTES)
        self._end = _HEAD.size

    def note(self, **fields: Any) -> None:
        line = json.dumps(fields).encode() + b"\n"
        self._memory[self._end : self._end + len(line)] = line
        self._end += len(line)
        self._memory[: _HEAD.size] = _HEAD.pack(self._end)  # only now is it written

    def read(self) -> list[dict[str, Any]]:
        (end,) = _HEAD.unpack(self._memory[: _HEAD.size])
        return [json.loads(line) for line in self._memory[_HEAD.size : end].splitlines()] if end else []

    def close(self) -> None:
        self._memory.close()


@dataclass(frozen=True)
class Fault:
    """``how`` is what strace's inject takes: ``signal=KILL`` or ``error=EIO``."""

    call: str
    how: str
    n: int

    def __str__(self) -> str:
        return f"{self.call}:{self.how}:when={self.n}"


@dataclass(frozen=True)
class Ran:
    """One run: whether the fault came, how the child ended (0, or minus a signal), and what it told."""

    fired: bool
    code: int
    diary: list[dict[str, Any]]


def run(
    work: Callable[[Diary], None], fault: Fault | None, log: Path, *, when_stopped: Callable[[], None] | None = None
) -> Ran:
    """Run ``work`` in a child with ``fault``; ``log`` is where strace writes.

    With ``when_stopped`` the fault is ``signal=STOP``: the child stands still after its n-th call while that is called,
    and is killed then.
    """
    diary = Diary()
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(work, diary, gate, opener)
    os.close(gate)
    tracer = None if fault is None else _attach(pid, fault, log)
    os.write(opener, b"x")
    os.close(opener)
    if when_stopped is not None and _wait_stopped(log):
        when_stopped()
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if tracer is not None:
        tracer.communicate(timeout=10)
    told = diary.read()
    diary.close()
    fired = fault is not None and ("(INJECTED)" in (text := log.read_text()) or "+++ killed by SIGKILL" in text)
    return Ran(fired, os.waitstatus_to_exitcode(status), told)


def count(work: Callable[[Diary], None], log: Path) -> dict[str, int]:
    """Return how many calls of each kind ``work`` makes."""
    run(work, Fault("all", "", 0), log)
    found: dict[str, int] = {}
    for line in log.read_text().splitlines():
        name = line.partition("(")[0]
        if name.isidentifier():
            found[name] = found.get(name, 0) + 1
    return found


def _wait_stopped(log: Path) -> bool:
    """Wait until the child stands still; false when it ended instead."""
    for _ in range(_LOOKS):
        text = log.read_text()
        if "--- stopped by SIGSTOP ---" in text:
            return True
        if "+++ " in text:
            return False
        time.sleep(0.002)
    raise RuntimeError(f"the child neither stops nor ends: {log.read_text()[-500:]}")


def _child(work: Callable[[Diary], None], diary: Diary, gate: int, opener: int) -> None:
    code = 1
    try:
        os.close(opener)
        ctypes.CDLL(None).prctl(_SET_PTRACER, _ANYBODY, 0, 0, 0)
        select.select([gate], [], [])  # a call of a kind that nobody counts
        work(diary)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the parent is to see it
        diary.note(crash=traceback.format_exc())
    finally:
        os._exit(code)


def _attach(pid: int, fault: Fault, log: Path) -> subprocess.Popen[str]:
    command = ["strace", "-o", str(log), "-e", f"trace={fault.call}", "-p", str(pid)]
    if fault.how:
        command[1:1] = ["-e", f"inject={fault.call}:{fault.how}:when={fault.n}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    said = tracer.stderr.readline()  # written after the child was asked to stop: no call of it goes unseen
    if "attached" not in said:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        tracer.kill()
        said += tracer.communicate()[0] or ""
        raise RuntimeError(f"strace does not attach: {said}")
    return tracer
