"""Measure how soon results flow again after a broker comes back: stopped, frozen, or behind a network that was cut.

python tools/bench/reconnect.py [--seconds 1,5,30] [--rate 100] [--how stop,freeze,cut]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edge_runtime.publish.mqtt.client import MqttSettings
from tests.brokers import Broker
from tests.fakes.publishing import Box, running_box
from tests.fault.cables import Cable, Mode

PATIENCE_S = 30.0
LAG_S = 0.1


def feed(box: Box, rate: float, over: threading.Event) -> None:
    """Put results until ``over``."""
    while not over.wait(1 / rate):
        box.put(1)


def back_in_s(how: str, away_s: float, rate: float) -> dict[str, object]:
    """Take the broker away for ``away_s`` and return how long after its return everything owed was acknowledged."""
    settings = MqttSettings("127.0.0.1", client_id="bench")
    over = threading.Event()
    with (
        tempfile.TemporaryDirectory() as place,
        Broker(persistent=False) as broker,
        Cable(broker.port) as cable,
        running_box(Path(place), cable.port, settings) as box,
    ):
        feeder = threading.Thread(target=feed, args=(box, rate, over))
        feeder.start()
        try:
            box.wait_acked(20)
            away, back = {
                "stop": (broker.stop, broker.start),
                "freeze": (broker.freeze, broker.thaw),
                "cut": (lambda: cable.set(Mode.BLACKHOLE), lambda: cable.set(Mode.PASS)),
            }[how]
            away()
            over.wait(away_s)
            owed = box.spool.stats().depth
            back()
            returned = time.monotonic()
            acked = box.spool.stats().acked
            first = caught_up = None
            while caught_up is None and time.monotonic() - returned < PATIENCE_S:
                over.wait(0.005)
                stats = box.spool.stats()
                first = first or (time.monotonic() - returned if stats.acked > acked else None)
                caught_up = time.monotonic() - returned if first and stats.depth < rate * LAG_S else None
        finally:
            over.set()
            feeder.join()
    return {"how": how, "away_s": away_s, "owed": owed, "first_ack_s": first, "lag_below_100_ms_s": caught_up}


def main() -> None:
    """Print one JSON object per run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", default="1,5,30")
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--how", default="stop,freeze,cut")
    arguments = parser.parse_args()
    for how in arguments.how.split(","):
        for text in arguments.seconds.split(","):
            print(json.dumps(back_in_s(how, float(text), arguments.rate)), flush=True)


if __name__ == "__main__":
    main()
