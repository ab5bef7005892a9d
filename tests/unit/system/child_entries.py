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
from edge_runtime.core.frame import SlotRef
from edge_runtime.system.messages import PeerGone
from edge_runtime.system.ring import Ring

if TYPE_CHECKING:
    from edge_runtime.system.process import ChildContext

BEAT_S = 0.05
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
    match message:
        case {"op": "signal", "number": int(number)}:
            os.kill(os.getpid(), number)
        case {"op": "exit", "code": int(code)}:
            sys.exit(code)
        case {"op": "say", "count": int(count)}:
            for number in range(count):
                context.socket.send({"op": "said", "number": number})
        case {"op": "say_and_die", "count": int(count)}:
            for number in range(count):
                context.socket.send({"op": "said", "number": number})
            os.kill(os.getpid(), signal.SIGKILL)
        case {"op": "hang"}:
            threading.Event().wait()
        case {"op": "raise"}:
            msg = "as the test asked"
            raise RuntimeError(msg)
        case {"op": "raise_data_error"}:
            raise DataError("test.data", "as the test asked")
        case {"op": "garbage"}:
            os.write(context.socket.fileno(), b"\xff garbage")
            context.socket.send({"op": "said", "number": 0})
            threading.Event().wait()
        case {"op": "close"}:
            context.socket.close()
            beat_for_ever(context)
        case {"op": "write", "fd": str(name), "text": str(text)}:
            os.write(context.fds[name], text.encode())
        case {"op": "inspect"}:
            context.socket.send({"op": "facts", **_facts()})
        case _:
            msg = f"not understood: {message}"
            raise ValueError(msg)


def _facts() -> dict[str, object]:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return {
        "comm": Path("/proc/self/comm").read_text().strip(),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "fds": sorted(
            os.readlink(f"/proc/self/fd/{fd}")
            for fd in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{fd}")
        ),
        "stdin": os.readlink("/proc/self/fd/0"),
        "stdout_is_stderr": os.readlink("/proc/self/fd/1") == os.readlink("/proc/self/fd/2"),
        "blocked": sorted(map(int, blocked)),
        "sigint_ignored": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "sigterm_default": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
        "core": list(resource.getrlimit(resource.RLIMIT_CORE)),
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        "session": os.getsid(0),
        "parent": os.getppid(),
        "imported_by": IMPORTED_BY,
        "telemetry": os.environ.get("ORT_DISABLE_TELEMETRY"),
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
