"""A process with a spool, a publisher and a desk whose handlers never answer; it says what it is told to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from edge_runtime.control.commands.verbs import VERBS
from tests.fakes.desk import DeskBench
from tests.fakes.publishing import running_box

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.core.command import Command


def main(directory: Path, port: int) -> None:
    """Run until killed; ``online`` and ``begun VERB`` on standard output."""
    from edge_runtime.system.clock import SystemClock
    from edge_runtime.system.service import ServiceGroup

    clock: Any = SystemClock()
    bench = DeskBench(directory, clock)
    bench.desk.serve("line", dict.fromkeys(VERBS, _begin))
    with running_box(directory, port, on_command=bench.desk.take, commands=("cmd/#",)) as box, ServiceGroup() as group:
        bench.desk._post = box.publisher.post
        for service in bench.desk.services:
            group.start(service)
        box.wait_online()
        print("online", flush=True)
        sys.stdin.read()


def _begin(command: Command, _reply: object) -> None:
    print(f"begun {command.verb}", flush=True)
