"""kill -9 of a box: nothing that was committed is missing, little comes twice, and a follower misses nothing either."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_runtime.publish.spool.writer import OWNED_MAX
from edge_runtime.system.clock import SystemClock
from tests.brokers import Broker
from tests.daemons import wait_until
from tests.fakes.publishing import listening, running_box
from tests.unit.publish.spool.rig import Bench

if TYPE_CHECKING:
    from edge_runtime.publish.mqtt.link import Inbound

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20  # of the soak run; the ordinary one does fewer

CHILD = """
import os, sys
from pathlib import Path
from dataclasses import replace
from edge_runtime.core.ids import uuid7
from tests.daemons import wait_until
from tests.fakes.publishing import running_box
import time
with running_box(Path(sys.argv[1]), int(sys.argv[2])) as box:
    box.wait_online()
    box.frame = (box.spool.last_committed("top") or (0, 0))[1]
    print("online", flush=True)
    while True:
        box.put(1, id=uuid7(time.time_ns() // 1_000_000, os.urandom(10)))
        wait_until(lambda: box.spool.stats().queued + box.spool.stats().depth <= 500)
"""

DRAINING = """
import sys
from pathlib import Path
from tests.daemons import wait_until
from tests.fakes.publishing import running_box
with running_box(Path(sys.argv[1]), int(sys.argv[2])) as box:
    wait_until(lambda: False, timeout_s=60.0)
"""

FOLLOWED = """
import json, os, sys, time
from pathlib import Path
from edge_runtime.core.ids import uuid7
from edge_runtime.publish.spool.spool import Spool
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import ServiceGroup
from tests.fakes.results import BOOT, IDENTITY, make_result
clock = SystemClock()
spool = Spool(Path(sys.argv[1]) / "spool.db", IDENTITY, BOOT, clock)
plant = spool.follow("plant")
spool.open()
frame, newest = (spool.last_committed("top") or (0, 0))[1], 0
with ServiceGroup() as group:
    group.start(spool)
    while True:
        if spool.stats().queued < 500:
            for frame in range(frame + 1, frame + 100):  # more than the follower keeps up with
                spool.put(make_result(frame, clock, id=uuid7(time.time_ns() // 1_000_000, os.urandom(10))))
        spool.acked(spool.take(64))  # the broker is done with a row sooner than the follower
        missed = plant.take_backlog(50)
        rows = missed or plant.take_live(20)
        if rows:
            os.write(1, json.dumps([row.id for row in rows]).encode() + b"\\n")
            newest = max(newest, rows[-1].id)
        if missed:
            plant.settle(missed[-1].id)  # it is read in order, and what was taken live before is either done or behind
        elif not plant.backlog:
            plant.settle(newest)
"""


def committed(directory: Path) -> dict[int, str]:
    """Every result that was ever committed: none is old enough to be pruned."""
    with closing(sqlite3.connect(directory / "spool.db")) as connection:
        rows = connection.execute("SELECT seq, body FROM row WHERE stream = 'result/top'").fetchall()
    return {seq: json.loads(body)["id"] for seq, body in rows}


class Received:
    """Collects seq -> id from the messages that came since the last look."""

    def __init__(self, messages: list[Inbound]) -> None:
        self._messages = messages
        self._looked = 0
        self.ids: dict[int, str] = {}

    def count(self) -> int:
        for message in self._messages[self._looked :]:
            self._looked += 1
            if message.topic.endswith("/result/top"):
                document = json.loads(message.payload)
                known = self.ids.setdefault(document["seq"], document["id"])
                assert known == document["id"], "a number was used twice"
        return len(self.ids)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kills", [5, pytest.param(KILLS, marks=pytest.mark.soak)])
def test_what_was_committed_before_a_kill_is_received_and_nothing_else(tmp_path: Path, kills: int) -> None:
    chance = random.Random(1)
    with Broker(persistent=False) as broker, listening(broker.port, "vision/#") as messages:
        for _ in range(kills):
            with subprocess.Popen(
                [sys.executable, "-c", CHILD, str(tmp_path), str(broker.port)],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            ) as child:
                assert child.stdout is not None
                assert child.stdout.readline() == "online\n"
                seen, more = len(messages), chance.randrange(1, 300)
                wait_until(lambda: len(messages) >= seen + more)  # noqa: B023 - called in this turn of the loop only
                child.kill()
        with running_box(tmp_path, broker.port) as box:
            wait_until(lambda: box.spool.stats().depth == 0, timeout_s=60.0)
        on_disk = committed(tmp_path)
        received = Received(messages)
        wait_until(lambda: received.count() >= len(on_disk), timeout_s=60.0)
    assert received.ids == on_disk
    assert sorted(on_disk) == [*range(1, len(on_disk) + 1)]
    assert len(on_disk) > kills


def test_a_kill_in_the_middle_of_a_drain_makes_few_come_twice(tmp_path: Path) -> None:
    with Bench(tmp_path, SystemClock()) as bench:
        for _ in range(8):
            bench.put(200)
            bench.step()
    with Broker(persistent=False) as broker, listening(broker.port, "vision/+/+/+/result/#") as messages:
        with subprocess.Popen([sys.executable, "-c", DRAINING, str(tmp_path), str(broker.port)], cwd=ROOT) as child:
            wait_until(lambda: len(messages) >= 300)
            child.kill()
        with running_box(tmp_path, broker.port) as box:
            wait_until(lambda: box.spool.stats().depth == 0)
        received = Received(messages)
        wait_until(lambda: received.count() == bench.frame)
    assert 0 <= len(messages) - bench.frame <= OWNED_MAX


def follow_and_kill(directory: Path, kills: int, seed: int) -> None:
    """A follower has got every row up to its durable position and gets every one after it, whenever it is killed.

    There are as many ``kills`` as it takes for the position to move, at least: a slow disk may not get anywhere in the
    first ones, and a follower that starves ends in the test's timeout.
    """
    chance, position, rows, killed = random.Random(seed), 0, 0, 0
    while killed < kills or not position:
        with subprocess.Popen(
            [sys.executable, "-c", FOLLOWED, str(directory)], stdout=subprocess.PIPE, cwd=ROOT
        ) as child:
            assert child.stdout is not None
            told = child.stdout.readline()
            try:
                child.wait(chance.uniform(0.0, 0.5))
            except subprocess.TimeoutExpired:
                child.kill()
            told += child.stdout.read()
        ids = [row_id for line in told.splitlines() for row_id in json.loads(line)]
        with closing(sqlite3.connect(directory / "spool.db")) as connection:
            results = [i for (i,) in connection.execute("SELECT id FROM row WHERE stream LIKE 'result/%' ORDER BY id")]
            settled = connection.execute("SELECT max(position) FROM follower WHERE name = 'plant'").fetchone()[0] or 0
        assert len(ids) == len(set(ids))
        assert min(ids) > position
        assert {row_id for row_id in results if position < row_id <= settled} <= set(ids)
        position = settled
        with Bench(directory, SystemClock(), followers=("plant",)) as bench:
            bench.step()
            assert [row.id for row in bench.backlog("plant")] == [i for i in results if i > position]
        rows, killed = rows + len(ids), killed + 1
    assert rows > killed


def test_a_follower_misses_nothing_when_its_process_is_killed(tmp_path: Path) -> None:
    follow_and_kill(tmp_path, 2, 1)


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_a_follower_misses_nothing_when_its_process_is_killed_twenty_times(tmp_path: Path) -> None:
    follow_and_kill(tmp_path, KILLS, 2)
