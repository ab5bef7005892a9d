"""How long a trigger takes from the MQTT thread to its handler, alone and beside slow and critical commands.

Usage: python -m tools.bench.commands [COUNT] [RATE_PER_S]     (from the top of a checkout)

Real files in a temporary directory. "hand-over" is what the machine itself needs from one thread to the next.
Triggers carry ids, so each costs two commits. "beside": the other lane carries out ``reset`` (a disk flush each) and
``snapshot`` (whose handler here blocks for 50 ms, which none may) without a pause.
"""

from __future__ import annotations

import queue
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.control.commands.verbs import VERBS
from edge_runtime.core.command import Answer, Status
from edge_runtime.publish.mqtt.link import Inbound
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.metrics import percentile
from edge_runtime.system.service import ServiceGroup
from tests.fakes.desk import ROOT, DeskBench

if TYPE_CHECKING:
    from edge_runtime.core.command import Command, Reply


def run(count: int, rate_per_s: float, *, beside: bool) -> list[float]:
    """Return the milliseconds of each trigger from ``take`` to its handler."""
    taken: dict[str, int] = {}
    found: list[float] = []

    def trigger(command: Command, reply: Reply) -> None:
        found.append((time.monotonic_ns() - taken[command.correlation_id]) / 1e6)
        reply(Answer(Status.ACCEPTED, "the result follows", {"jobId": command.correlation_id}))

    def slow(_command: Command, reply: Reply) -> None:
        threading.Event().wait(0.05)
        reply(Answer(Status.DONE, "done"))

    clock: Any = SystemClock()
    with tempfile.TemporaryDirectory() as directory:
        bench = DeskBench(Path(directory), clock, rate_per_s=10_000.0, rate_total_per_s=10_000.0)
        bench.desk.serve("line", dict.fromkeys(VERBS, slow) | {"trigger": trigger})
        with ServiceGroup() as group:
            for service in bench.desk.services:
                group.start(service)
            for number in range(count):
                correlation = number.to_bytes(4, "big")
                if beside:
                    verb = "snapshot" if number % 2 else "reset"
                    bench.desk.take(
                        Inbound(f"{ROOT}/cmd/{verb}", b"{}", 1, retain=False, correlation=b"o" + correlation)
                    )
                taken[correlation.hex()] = time.monotonic_ns()
                bench.desk.take(
                    Inbound(f"{ROOT}/cmd/trigger/top", b'{"partId":"P"}', 1, retain=False, correlation=correlation)
                )
                threading.Event().wait(1 / rate_per_s)
        bench.close()
    return sorted(found)


def hand_over(count: int, rate_per_s: float) -> list[float]:
    """Return the milliseconds from one thread to another."""
    found: list[float] = []
    sent: queue.SimpleQueue[int] = queue.SimpleQueue()

    def receive() -> None:
        while (at_ns := sent.get()) >= 0:
            found.append((time.monotonic_ns() - at_ns) / 1e6)

    thread = threading.Thread(target=receive)
    thread.start()
    for _ in range(count):
        sent.put(time.monotonic_ns())
        threading.Event().wait(1 / rate_per_s)
    sent.put(-1)
    thread.join()
    return sorted(found)


def main() -> None:
    """Measure both and print them."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    rate_per_s = float(sys.argv[2]) if len(sys.argv) > 2 else 100.0  # noqa: PLR2004 - the second argument
    rows = {
        "hand-over": lambda: hand_over(count, rate_per_s),
        "alone": lambda: run(count, rate_per_s, beside=False),
        "beside other commands": lambda: run(count, rate_per_s, beside=True),
    }
    for name, measure in rows.items():
        found = measure()
        figures = "  ".join(f"p{q * 100:g} {percentile(found, q):.2f} ms" for q in (0.5, 0.99, 1.0))
        print(f"{name:22} {len(found)} triggers  {figures}")


if __name__ == "__main__":
    main()
