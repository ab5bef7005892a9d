"""kill -9 of a box that publishes at full speed, twenty times: nothing that was committed is missing."""

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

from tests.brokers import Broker
from tests.daemons import wait_until
from tests.fakes.publishing import listening, running_box

if TYPE_CHECKING:
    from edge_runtime.publish.mqtt.link import Inbound

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20

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
def test_what_was_committed_before_a_kill_is_received_and_nothing_else(tmp_path: Path) -> None:
    chance = random.Random(1)
    with Broker(persistent=False) as broker, listening(broker.port, "vision/#") as messages:
        for _ in range(KILLS):
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
    assert len(on_disk) > KILLS
