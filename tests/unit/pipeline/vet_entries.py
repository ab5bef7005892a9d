"""Entry points of processes that end as a vet process may; forked by a real zygote, so they are named by string."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.system.process import ChildContext


def _begin(context: ChildContext) -> None:
    faulthandler.disable()
    context.beat()
    context.socket.send({"op": "begin", "step": "engine", "what": "a test"})


def crash(context: ChildContext) -> None:
    """Read what is not there."""
    _begin(context)
    os.kill(os.getpid(), signal.SIGSEGV)


def starve(context: ChildContext) -> None:
    """End as the kernel ends who takes too much."""
    _begin(context)
    os.kill(os.getpid(), signal.SIGKILL)


def fail(context: ChildContext) -> None:
    """End with a code and no verdict."""
    _begin(context)
    raise SystemExit(3)


def hang(context: ChildContext) -> None:
    """Do nothing for longer than the deadline."""
    _begin(context)
    time.sleep(60)


def babble(context: ChildContext) -> None:
    """Say what no vet process says."""
    _begin(context)
    context.socket.send({"op": "dance"})
    time.sleep(60)
