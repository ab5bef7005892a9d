"""Results are complete whatever happens to broker, network and process: one run of chaos from a seed.

    python -m tests.soak.chaos --seed 7 --seconds 120

A child process ("main": the real spool and publisher) is fed 300 results a second and killed -9 every five seconds.
Meanwhile the broker is stopped, restarted or frozen and the network between the two is cut (packets vanish, or the
connection is reset). A subscriber with a session of its own at the broker counts what arrives; the truth is what the
spool's file holds at the end. Prints one JSON object; exit code 1 when a promise was broken.

Lag is from capture to arrival, of results captured while nothing is wrong: from two seconds after a broker's return or
main's start until the next fault. ``noise_ms`` is how late a process that does nothing else wakes up meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edge_runtime.core.ids import uuid7
from edge_runtime.publish.mqtt.client import MqttDial, MqttSettings
from edge_runtime.publish.mqtt.subscriber import Subscriber
from edge_runtime.publish.prover import Prover
from edge_runtime.system.metrics import percentile
from edge_runtime.system.service import ServiceGroup
from tests.brokers import Broker
from tests.daemons import wait_until
from tests.fakes.publishing import running_box
from tests.fault.cables import Cable, Mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from edge_runtime.publish.mqtt.link import Inbound

ROOT = Path(__file__).resolve().parents[2]
RATE = 300  # results a second
KILL_EVERY_S = 5.0
CALM_S = 2.0  # after a return, before lag counts
LAG_MS = 100.0
DUPLICATE_PERCENT = 0.1
STREAM = "result/top"
SETTINGS = MqttSettings("127.0.0.1", client_id="box-17", keepalive_s=15, session_expiry_s=2)  # as the product has it
BROKER = """
set_tcp_nodelay true
max_inflight_messages 64
persistence true
persistence_location {dir}/
autosave_on_changes false
autosave_interval 1
"""
PROBE = """
import signal, sys, time
late = []
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print(" ".join(f"{x:.1f}" for x in sorted(late)[-2000:])) or 0))
while True:
    start = time.monotonic(); time.sleep(0.005); late.append((time.monotonic() - start - 0.005) * 1e3)
"""


# --- what is to happen


@dataclass(frozen=True, slots=True)
class Act:
    """At ``at_s`` something goes wrong, and for the broker's faults it is well again ``lasts_s`` later."""

    at_s: float
    kind: str
    lasts_s: float = 0.0


BROKER_FAULTS = ("stop", "restart", "freeze", "blackhole", "reset")


def plan(seed: int, seconds: float) -> list[Act]:
    """Return the faults of a seed in the order of their time: one of each kind first, then as chance has it."""
    chance = random.Random(seed)
    acts = [Act(KILL_EVERY_S * n + chance.uniform(-0.5, 0.5), "kill") for n in range(1, int(seconds / KILL_EVERY_S))]
    first = chance.sample(BROKER_FAULTS, len(BROKER_FAULTS))
    at_s = chance.uniform(1.0, 4.0)
    while at_s < seconds - 2.0:
        kind = first.pop() if first else chance.choice(BROKER_FAULTS)
        lasts_s = 0.0 if kind in ("restart", "reset") else min(chance.uniform(0.3, 6.0), seconds - at_s)
        acts.append(Act(at_s, kind, lasts_s))
        at_s += lasts_s + chance.uniform(2.5, 7.0)
    return sorted(acts, key=lambda act: act.at_s)


# --- main, the process that is killed


def feed(directory: Path, port: int, rate: float) -> None:
    """Be main: put ``rate`` results a second until the end of standard input, then wait until all is delivered."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    with running_box(directory, port, SETTINGS) as box:
        box.frame = (box.spool.last_committed("top") or (0, 0))[1]
        next_s = time.monotonic()
        while not over.is_set():
            box.put(1, id=uuid7(time.time_ns() // 1_000_000, os.urandom(10)))
            next_s += 1 / rate
            if over.wait(max(0.0, next_s - time.monotonic())):
                break
        wait_until(lambda: not box.spool.stats().queued + box.spool.stats().depth, timeout_s=60.0)
        print(json.dumps({"lost": box.spool.stats().lost}), flush=True)


class Main:
    """The process, started again after each kill."""

    def __init__(self, directory: Path, port: int, rate: float) -> None:
        self._command = [sys.executable, "-m", "tests.soak.chaos", "--feed", str(directory), str(port), str(rate)]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def kill(self) -> None:
        process = self._process
        if process is not None:
            process.kill()
            process.communicate()
            self._process = None

    def finish(self) -> None:
        """Have it deliver what it has and end."""
        assert self._process is not None
        said, _ = self._process.communicate("", timeout=90)
        assert self._process.returncode == 0, "main failed at the end"
        assert json.loads(said) == {"lost": 0}
        self._process = None


# --- who looks


@dataclass(frozen=True, slots=True)
class Arrival:
    document: dict[str, Any]
    taken_s: float
    lag_ms: float


class Ear:
    """Subscribes with a session that the broker keeps; a block."""

    def __init__(self, port: int) -> None:
        settings = replace(SETTINGS, port=port, client_id="ear", session_expiry_s=3600)
        filters = ["vision/+/+/+/result/#", "vision/+/+/+/event/#"]
        self._messages: list[tuple[float, bytes]] = []
        self._subscriber = Subscriber(MqttDial(settings), filters, self._take)
        self._group = ServiceGroup()

    def __enter__(self) -> Self:
        self._group.__enter__()
        self._group.start(self._subscriber)
        assert self._subscriber.wait_subscribed(10.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._group.__exit__(kind, error, trace)

    def _take(self, message: Inbound) -> None:
        self._messages.append((time.time(), message.payload))

    def quiet(self, seconds: float) -> None:
        """Wait until nothing has come for so long."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < seconds:
            if len(self._messages) != seen:
                seen, since = len(self._messages), time.monotonic()
            threading.Event().wait(0.05)

    def arrivals(self) -> list[Arrival]:
        found = []
        for came_s, body in self._messages:
            document = json.loads(body)
            taken_s = datetime.fromisoformat(document["ts"]).timestamp()
            found.append(Arrival(document, taken_s, (came_s - taken_s) * 1e3))
        return found


@contextlib.contextmanager
def noise() -> Iterator[list[float]]:
    """How many ms late a process that only sleeps wakes up; filled when the block ends."""
    late: list[float] = []
    with subprocess.Popen([sys.executable, "-c", PROBE], stdout=subprocess.PIPE, text=True) as probe:
        try:
            yield late
        finally:
            probe.send_signal(signal.SIGTERM)
            late += [float(number) for number in probe.communicate()[0].split()]


# --- one run

LASTING = ("stop", "freeze", "blackhole")


def calm(log: list[tuple[float, str]], end_s: float) -> list[tuple[float, float]]:
    """Return from when to when lag counts, given (time, what was done) and the time of the end."""
    spans: list[tuple[float, float]] = []
    away, since_s = False, None
    for at_s, what in [*log, (end_s, "end")]:
        if since_s is not None and since_s + CALM_S < at_s - LAG_MS / 1e3:
            spans.append((since_s + CALM_S, at_s - LAG_MS / 1e3))
        away = what in LASTING or (away and not what.startswith("un"))
        since_s = None if away else at_s
    return spans


@dataclass(slots=True)
class Stage:
    """The parts of one run, and what was done to them when (``time.time()``)."""

    broker: Broker
    cable: Cable
    main: Main
    log: list[tuple[float, str]] = field(default_factory=list)

    def play(self, acts: list[Act], seconds: float) -> None:
        """Do ``acts`` and what ends them, in the order of their time."""
        steps = [(act.at_s, act.kind) for act in acts]
        steps += [(act.at_s + act.lasts_s, f"un{act.kind}") for act in acts if act.kind in LASTING]
        start_s = time.monotonic()
        for at_s, what in [*sorted(steps), (seconds, "")]:
            threading.Event().wait(max(0.0, start_s + at_s - time.monotonic()))
            if what:
                self._do(what)

    def _do(self, what: str) -> None:
        if not what.startswith("un"):
            self.log.append((time.time(), what))
        {
            "kill": self._replace_main,
            "stop": self.broker.stop,
            "unstop": self.broker.start,
            "restart": self.broker.restart,
            "freeze": self.broker.freeze,
            "unfreeze": self.broker.thaw,
            "blackhole": lambda: self.cable.set(Mode.BLACKHOLE),
            "unblackhole": lambda: self.cable.set(Mode.PASS),
            "reset": self.cable.reset,
        }[what]()
        if what not in LASTING:
            self.log.append((time.time(), what if what.startswith("un") else "back"))

    def _replace_main(self) -> None:
        self.main.kill()
        self.main.start()


def truth(directory: Path) -> dict[int, str]:
    """Return number and id of every result that was ever committed; none is old enough to be pruned."""
    with closing(sqlite3.connect(directory / "spool.db")) as connection:
        rows = connection.execute("SELECT seq, body FROM row WHERE stream = ?", (STREAM,)).fetchall()
    return {seq: json.loads(body)["id"] for seq, body in rows}


def run(seed: int, seconds: float, rate: float) -> dict[str, Any]:
    """Play one seed; return the figures."""
    acts = plan(seed, seconds)
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as place,
        Broker(config=BROKER, persistent=False) as broker,
        Cable(broker.port) as cable,
        noise() as late_ms,
    ):
        directory = Path(place)
        stage = Stage(broker, cable, Main(directory, cable.port, rate))
        with Ear(broker.port) as ear:
            stage.main.start()
            try:
                stage.play(acts, seconds)
                end_s = time.time()
                stage.main.finish()
                ear.quiet(1.0)
            finally:
                stage.main.kill()
        arrivals = ear.arrivals()
        found = figures(truth(directory), arrivals, calm(stage.log, end_s)) | blame(arrivals, stage.log, end_s)
    faults = Counter(what for _, what in stage.log if what != "back" and not what.startswith("un"))
    noisy = {"p99": percentile(sorted(late_ms), 0.99), "max": max(late_ms, default=0.0)}
    return {"seed": seed, "seconds": seconds, "rate": rate, **found, "noise_ms": noisy, "faults": dict(faults)}


def figures(committed: dict[int, str], arrivals: list[Arrival], spans: list[tuple[float, float]]) -> dict[str, Any]:
    """Compare what was committed with what arrived."""
    prover, received, order = Prover(), {}, []
    for arrival in arrivals:
        prover.add(arrival.document)
        if arrival.document["schema"].startswith("vision.result"):
            seq = int(arrival.document["seq"])
            if seq not in received:
                order.append(seq)
            received.setdefault(seq, set()).add(arrival.document["id"])
    proof = prover.proof()
    lags = sorted(arrival.lag_ms for arrival in arrivals if any(low <= arrival.taken_s <= high for low, high in spans))
    return {
        "committed": len(committed),
        "received": proof.received,
        "missing": len([seq for seq, document in committed.items() if document not in received.get(seq, ())]),
        "unknown": len([seq for seq in received if received[seq] != {committed.get(seq)}]),
        "holes": max(committed, default=0) - len(committed),
        "proof_complete": proof.complete,
        "duplicates": proof.duplicates,
        "duplicate_percent": round(100 * proof.duplicates / max(1, len(committed)), 3),
        "inversions": sum(later < earlier for earlier, later in itertools.pairwise(order)),
        "lag_ms": {
            "count": len(lags),
            "p50": percentile(lags, 0.5),
            "p99": percentile(lags, 0.99),
            "max": lags[-1] if lags else None,
            "over": sum(lag >= LAG_MS for lag in lags),
        },
    }


def blame(arrivals: list[Arrival], log: list[tuple[float, str]], end_s: float) -> dict[str, Any]:
    """Say after which act duplicates came and lag was worst."""

    def last(moment_s: float) -> str:
        return next((what for at_s, what in reversed(log) if at_s <= moment_s and what != "back"), "start")

    duplicates: Counter[str] = Counter()
    seen = set()
    for arrival in arrivals:
        if arrival.document["id"] in seen:
            duplicates[last(arrival.taken_s + arrival.lag_ms / 1e3)] += 1
        seen.add(arrival.document["id"])
    worst: dict[str, float] = {}
    for low, high in calm(log, end_s):
        span = [arrival.lag_ms for arrival in arrivals if low <= arrival.taken_s <= high]
        worst[last(low)] = round(max([*span, worst.get(last(low), 0.0)]), 1)
    return {"duplicates_after": dict(duplicates), "lag_max_after": worst}


def broken(found: dict[str, Any]) -> list[str]:
    """Return the promises that a run broke; lag is judged by its maximum, so look at the noise, too."""
    wrong = [name for name in ("missing", "unknown", "holes", "inversions") if found[name]]
    wrong += ["proof"] * (not found["proof_complete"])
    wrong += ["duplicates"] * (found["duplicate_percent"] > DUPLICATE_PERCENT)
    return wrong + ["lag"] * ((found["lag_ms"]["max"] or 0.0) >= LAG_MS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--feed"]:
        feed(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
        sys.exit(0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=RATE, help="results a second")
    chosen = parser.parse_args()
    result = run(chosen.seed, chosen.seconds, chosen.rate)
    result["broken"] = broken(result)
    print(json.dumps(result))
    sys.exit(1 if result["broken"] else 0)
