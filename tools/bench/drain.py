"""Drain a large backlog against a real mosquitto while live results go on: rate, memory, live latency, time to open.

python tools/bench/drain.py [--rows 1000000] [--kept 0] [--live 100] [--drain-per-s N] [--window 64] [--dir DIR]

The backlog is written straight into the store, ``--kept`` acknowledged rows before it. Prints one JSON object. Needs
about 1.6 KB on disk per row and removes it afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge_runtime.publish.mqtt.client import MqttDial, MqttSettings
from edge_runtime.publish.mqtt.publisher import Publisher
from edge_runtime.publish.payload import Identity, Stamp, encode_result
from edge_runtime.publish.spool.limits import SpoolLimits
from edge_runtime.publish.spool.spool import Spool
from edge_runtime.publish.spool.store import Changes, Row, Store, StreamState
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import ServiceGroup
from tests.brokers import Broker
from tools.bench.spool import percentile, result

IDENTITY = Identity("plant", "line", "bench")
STREAM = "result/top-surface"
AT_ONCE = 10_000
GB = 1 << 30
SAMPLE_S = 0.25


def resident_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / (1 << 20), 1)


def fill(path: Path, kept: int, owed: int) -> None:
    """Write rows with the numbers 1 to kept + owed, of which the first ``kept`` are acknowledged."""
    store = Store.open(path, strict=False, check=False)
    template = encode_result(result(1), IDENTITY, Stamp(0, "before"))
    at_s = time.time_ns() // 1_000_000_000
    for first in range(1, kept + owed + 1, AT_ONCE):
        ids = range(first, min(first + AT_ONCE, kept + owed + 1))
        rows = [Row(i, STREAM, i, time.time_ns(), 0, template.headers, template.body) for i in ids]
        store.commit(Changes(rows=rows, streams={STREAM: StreamState(ids[-1], ids[-1])}))
        store.commit(Changes(acked=[i for i in ids if i <= kept], at_s=at_s))
    store.checkpoint()
    store.close()


class Watch:
    """What happens while the backlog drains: acknowledged live results, and memory."""

    def __init__(self, last_old: int) -> None:
        self._last_old = last_old
        self.live_ns: list[int] = []
        self.old = 0
        self.memory_mb: list[float] = []

    def acked(self, rows: list[Row]) -> None:
        """Note the moment."""
        now_ns = time.monotonic_ns()
        for row in rows:
            if row.id <= self._last_old:
                self.old += 1
            elif row.stream == STREAM:
                self.live_ns.append(now_ns - row.mono_ns)


def run(arguments: argparse.Namespace, place: Path) -> dict[str, object]:
    """Fill, open, drain."""
    path, clock, total = place / "spool.db", SystemClock(), arguments.kept + arguments.rows
    fill(path, arguments.kept, arguments.rows)
    limits = SpoolLimits(max_bytes=64 * GB, keep_bytes=arguments.keep_mb << 20, drain_per_s=arguments.drain_per_s)
    spool = Spool(path, IDENTITY, "bench", clock, limits=limits)
    started = time.monotonic()
    spool.open()
    opened_s = time.monotonic() - started
    if spool.stats().depth != arguments.rows:
        raise SystemExit(f"the spool does not open as it should: {spool.stats()}")
    watch = Watch(total)
    with Broker(persistent=False) as broker:
        settings = replace(MqttSettings(broker.host, broker.port, client_id="bench"), window=arguments.window)
        publisher = Publisher(MqttDial(settings), spool, IDENTITY, "bench", clock, on_acked=watch.acked)
        with ServiceGroup() as group:
            group.start(spool)
            before_mb = resident_mb()
            started = time.monotonic()
            group.start(publisher)
            pause, put = threading.Event(), 0
            while watch.old < arguments.rows and not group.stop.is_set():
                due = int((time.monotonic() - started) * arguments.live)
                for _ in range(due - put):
                    put += 1
                    spool.put(result(total + put))
                if len(watch.memory_mb) * SAMPLE_S <= time.monotonic() - started:
                    watch.memory_mb.append(resident_mb())
                pause.wait(0.002)
            took_s = time.monotonic() - started
            spool.finish()
        after_mb = resident_mb()
    live = watch.live_ns or [0]
    return {
        "rows": arguments.rows,
        "kept": arguments.kept,
        "file_mb": round(path.stat().st_size / (1 << 20)),
        "open_s": round(opened_s, 3),
        "drain_s": round(took_s, 1),
        "per_s": round(watch.old / took_s),
        "rss_mb": {"start": before_mb, "max": max([*watch.memory_mb, after_mb]), "end": after_mb},
        "live": len(watch.live_ns),
        "live_ms": {name: percentile(live, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kept", type=int, default=0)
    parser.add_argument("--live", type=float, default=100.0, help="live results a second meanwhile")
    parser.add_argument("--drain-per-s", type=float, default=None)
    parser.add_argument("--keep-mb", type=int, default=64, help="how much is kept of what is acknowledged")
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--dir", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as place:
        print(json.dumps(run(arguments, Path(place))), flush=True)


if __name__ == "__main__":
    main()
