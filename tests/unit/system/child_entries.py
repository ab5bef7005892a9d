"""Entry points for the children of these tests; forked by a real zygote, so they are named by string."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.core.errors import DataError
from edge_runtime.system.messages import PeerGone
from edge_runtime.system.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.core.frame import SlotRef
    from edge_runtime.system.process import ChildContext

BEAT_S = 0.05
GRANDCHILD_S = 1.5
IMPORTED_BY = os.getpid()


def puppet(context: ChildContext) -> None:
    """Say hello, beat, and do what main says until told to stop."""
    context.beat()
    context.socket.send({"op": "hello", "pid": os.getpid(), "args": context.args, "fds": sorted(context.fds)})
    while True:
        context.beat()
        try:
            message = context.socket.receive(BEAT_S)
        except PeerGone:
            return
        if message is None:
            continue
        if message["op"] == "stop":
            return
        _obey(context, message)


def _obey(context: ChildContext, message: dict[str, object]) -> None:
    command = COMMANDS[str(message.pop("op"))]
    command(context, **message)


def _signal(context: ChildContext, number: int) -> None:
    del context
    os.kill(os.getpid(), number)


def _exit(context: ChildContext, code: int) -> None:
    del context
    sys.exit(code)


def _say(context: ChildContext, count: int) -> None:
    for number in range(count):
        context.socket.send({"op": "said", "number": number})


def _say_and_die(context: ChildContext, count: int) -> None:
    _say(context, count)
    os.kill(os.getpid(), signal.SIGKILL)


def _hang(context: ChildContext) -> None:
    del context
    threading.Event().wait()


def _raise(context: ChildContext) -> None:
    del context
    msg = "as the test asked"
    raise RuntimeError(msg)


def _raise_data_error(context: ChildContext) -> None:
    del context
    raise DataError("test.data", "as the test asked")


def _garbage(context: ChildContext) -> None:
    os.write(context.socket.fileno(), b"\xff garbage")
    _say(context, 1)
    threading.Event().wait()


def _close(context: ChildContext) -> None:
    context.socket.close()
    beat_for_ever(context)


def _leave_a_grandchild(context: ChildContext) -> None:
    """Die while a process that main knows nothing of holds the socket."""
    if os.fork() == 0:
        select.select([], [], [], GRANDCHILD_S)
        os._exit(0)
    _say_and_die(context, 1)


def _write(context: ChildContext, fd: str, text: str) -> None:
    os.write(context.fds[fd], text.encode())


def _inspect(context: ChildContext) -> None:
    fds = [Path(f"/proc/self/fd/{number}") for number in range(256)]
    targets = [str(fd.readlink()) for fd in fds if fd.is_symlink()]
    facts = {
        "comm": Path("/proc/self/comm").read_text().strip(),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "fds": targets,
        "stdin": targets[0],
        "stdout_is_stderr": targets[1] == targets[2],
        "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        "sigint_ignored": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "sigterm_default": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
        "core": list(resource.getrlimit(resource.RLIMIT_CORE)),
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        "session": os.getsid(0),
        "group": os.getpgid(0),
        "parent": os.getppid(),
        "imported_by": IMPORTED_BY,
        "telemetry": os.environ.get("ORT_DISABLE_TELEMETRY"),
        "environment": dict(os.environ),
    }
    context.socket.send({"op": "facts", **facts})


COMMANDS: dict[str, Callable[..., None]] = {
    "signal": _signal,
    "exit": _exit,
    "say": _say,
    "say_and_die": _say_and_die,
    "hang": _hang,
    "raise": _raise,
    "raise_data_error": _raise_data_error,
    "garbage": _garbage,
    "close": _close,
    "leave_a_grandchild": _leave_a_grandchild,
    "write": _write,
    "inspect": _inspect,
}


def stubborn(context: ChildContext) -> None:
    """Beat, and ignore being told to stop."""
    context.socket.send({"op": "hello"})
    beat_for_ever(context)


def beat_for_ever(context: ChildContext) -> None:
    while True:
        context.beat()
        select.select([], [], [], BEAT_S)


def never_beats(context: ChildContext) -> None:
    context.socket.send({"op": "hello"})
    threading.Event().wait()


def dies_at_once(context: ChildContext) -> None:
    del context


def deaf(context: ChildContext) -> None:
    """Beat and never read."""
    beat_for_ever(context)


def torn_writer(context: ChildContext) -> None:
    """Publish and announce one frame, publish another without a word, begin a third, and die."""
    context.beat()
    ring = Ring.attach(context.fds["ring"])
    refs: list[SlotRef] = []
    for content in (b"one", b"two"):
        slot = ring.acquire(ring.next_frame_id())
        assert slot is not None
        slot.buffer[:3] = content
        refs.append(slot.publish())
    context.socket.send({"op": "frame", "index": refs[0].index, "generation": refs[0].generation})
    ring.acquire(ring.next_frame_id())
    os.kill(os.getpid(), signal.SIGKILL)


def shrinker(context: ChildContext) -> None:
    """Try to take the ring's memory away from everybody else."""
    context.beat()
    try:
        os.ftruncate(context.fds["ring"], 0)
    except PermissionError:
        context.socket.send({"op": "refused"})
    else:
        context.socket.send({"op": "shrunk"})
    puppet(context)
