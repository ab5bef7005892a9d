"""Measure the spool against a real mosquitto on loopback: put -> PUBACK, put itself, flat-out rate, CPU per message.

Results of about 1 KB are made before the clock starts; CPU is that of the whole process after it, threads together.

python tools/bench/spool.py [--seconds 10] [--rates 30,500] [--flat 30000] [--durability group] [--dir DIR]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from array import array
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edge_runtime.core.ids import uuid7
from edge_runtime.core.result import (
    Counters,
    Evaluation,
    ModelRef,
    Prediction,
    RecipeRef,
    Result,
    ResultState,
    Timings,
)
from edge_runtime.publish.mqtt.client import MqttDial, MqttSettings
from edge_runtime.publish.mqtt.publisher import Publisher
from edge_runtime.publish.payload import Identity, Stamp, encode_result
from edge_runtime.publish.spool.limits import Durability, SpoolLimits
from edge_runtime.publish.spool.spool import Spool
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import ServiceGroup
from tests.brokers import Broker

if TYPE_CHECKING:
    from collections.abc import Sequence

DIGEST = "sha256:" + "ab" * 32
PATIENCE_S = 120.0
QUEUED_MAX = 5000


class TimedSpool(Spool):
    """A spool that notes when each put was acknowledged."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.acks: deque[int] = deque()
        self.newest = 0

    def acked(self, rows: list) -> None:
        """Note the moment; ``mono_ns`` of a row is when its result was put."""
        now_ns = time.monotonic_ns()
        for row in rows:
            if row.stream.startswith("result/"):
                self.acks.append(now_ns - row.mono_ns)
                self.newest = now_ns
        super().acked(rows)


def result(index: int) -> Result:
    """Return a result of about 1 KB with one prediction."""
    now_ns = time.time_ns()
    return Result(
        id=uuid7(now_ns // 1_000_000, index.to_bytes(10, "big")),
        camera="top",
        inspection="top-surface",
        frame_id=index,
        captured_utc_ns=now_ns,
        captured_mono_ns=0,
        width=1920,
        height=1080,
        evaluation=Evaluation.NOT_OK,
        state=ResultState.COMPLETED,
        reason="scratch 0.91 >= 0.5",
        score=0.91,
        recipe=RecipeRef("default", "1", DIGEST),
        model=ModelRef("surface-defects", "1.2.0", DIGEST),
        backend="openvino",
        device="CPU",
        precision="int8",
        timings=Timings(1.1, 0.4, 2.2, 9.7, 0.8, 14.2),
        counters=Counters(index, index, 0, 0, 0),
        predictions=(Prediction("scratch", 0.91, (100.5, 200.25, 30.0, 40.0), id=0),),
    )


def stamp(one: Result) -> int:
    """Have a result captured now, which is the moment that its row keeps; return it."""
    now_ns = time.monotonic_ns()
    object.__setattr__(one, "captured_mono_ns", now_ns)
    return now_ns


def percentile(values: Sequence[int], share: float) -> float:
    """Return a percentile in milliseconds."""
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))] / 1e6, 3)


def run(count: int, rate: float | None, durability: Durability, directory: Path) -> dict[str, object]:
    """Put ``count`` results at ``rate`` a second (None: as fast as the queue takes them) and wait for every ack."""
    identity, clock = Identity("plant", "line", "bench"), SystemClock()
    with tempfile.TemporaryDirectory(dir=directory) as place, Broker(persistent=False) as broker:
        spool = TimedSpool(
            Path(place) / "spool.db", identity, "bench", clock, limits=SpoolLimits(), durability=durability
        )
        publisher = Publisher(
            MqttDial(MqttSettings(broker.host, broker.port, client_id="bench")), spool, identity, "bench", clock
        )
        with ServiceGroup() as group:
            group.start(spool)
            group.start(publisher)
            while publisher.stats.state != "online":
                group.wait(0.01)
            pause = threading.Event()
            made = [result(index) for index in range(count)]
            puts = array("q", bytes(8 * count))
            start, cpu = time.monotonic(), time.process_time()
            for index, one in enumerate(made):
                if rate is not None:
                    pause.wait(max(0.0, start + index / rate - time.monotonic()))
                else:
                    while spool.stats().queued > QUEUED_MAX:
                        pause.wait(0.001)
                put_ns = stamp(one)
                spool.put(one)
                puts[index] = time.monotonic_ns() - put_ns
            deadline = time.monotonic() + PATIENCE_S
            while len(spool.acks) < count and time.monotonic() < deadline:
                pause.wait(0.01)
            took, cpu = spool.newest / 1e9 - start, time.process_time() - cpu
            spool.finish()
        times, body_bytes = list(spool.acks), len(encode_result(made[0], identity, Stamp(count, "bench")).body)
    return {
        "offered_per_s": rate or "flat out",
        "durability": durability.value,
        "messages": len(times),
        "body_bytes": body_bytes,
        "lost": spool.stats().lost,
        "p50_ms": percentile(times, 0.50),
        "p99_ms": percentile(times, 0.99),
        "max_ms": percentile(times, 1.0),
        "put_p999_ms": percentile(puts, 0.999),
        "put_max_ms": percentile(puts, 1.0),
        "per_s": round(len(times) / took),
        "cpu_us_per_message": round(cpu / len(times) * 1e6),
    }


def main() -> None:
    """Print one JSON object per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rates", default="30,500")
    parser.add_argument("--flat", type=int, default=30_000, help="messages of the flat-out run, 0 for none")
    parser.add_argument("--durability", choices=[d.value for d in Durability], default="group")
    parser.add_argument("--dir", type=Path, default=None, help="where the spool file lives")
    arguments = parser.parse_args()
    durability = Durability(arguments.durability)
    for text in filter(None, arguments.rates.split(",")):
        rate = float(text)
        print(json.dumps(run(int(rate * arguments.seconds), rate, durability, arguments.dir)), flush=True)
    if arguments.flat:
        print(json.dumps(run(arguments.flat, None, durability, arguments.dir)), flush=True)


if __name__ == "__main__":
    main()
