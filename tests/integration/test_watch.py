"""``watch`` as a reader that misses something: it names it, asks the box for it, and goes on after a restart."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.brokers import Broker
from tests.daemons import DaemonProcess, line_config, wait_until

if TYPE_CHECKING:
    from pathlib import Path

STREAM = "plant/line/box/result/top"
pytestmark = pytest.mark.timeout(120)


def watch(port: int, marks: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, "-m", "edge_runtime", "watch", "--host", "127.0.0.1", "--port", str(port)]
    more = ["--prove", "--json", "--seconds", "2", "--from", str(marks), *words]
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)["proof"], done.stderr


def test_what_was_missed_between_two_watches_is_named_and_comes_when_it_is_asked_for(tmp_path: Path) -> None:
    marks = tmp_path / "marks.json"
    config = line_config(0, tmp_path / "state", source="sim:conveyor?fps=10&size=448x256")
    with Broker() as broker:
        config["mqtt"]["port"] = broker.port
        with DaemonProcess(tmp_path, config) as daemon:
            wait_until(lambda: daemon.counters().get("inferred"), 40, "a verdict")
            code, proof, _ = watch(broker.port, marks)
            assert (code, proof["missing"]) == (0, 0)
            came_to = json.loads(marks.read_text())["streams"][STREAM]["last"]
            judged = daemon.counters()["inferred"]
            wait_until(lambda: daemon.counters()["inferred"] >= judged + 5, 20, "results that nobody reads")

            code, proof, _ = watch(broker.port, marks)
            assert code == 1
            ((low, high),) = proof["streams"][STREAM]["holes"]
            assert low == came_to + 1
            assert proof["missing"] == high - low + 1 >= 5
            assert json.loads(marks.read_text())["streams"][STREAM]["missing"] == [[low, high]]

            code, proof, told = watch(broker.port, marks, "--replay")
            assert (code, proof["missing"]) == (0, 0), told
            assert proof["asked"][0] | {"message": ""} == {
                "stream": STREAM,
                "from": low,
                "to": high,
                "status": 202,
                "message": "",
            }
            assert proof["duplicates"] == proof["conflicts"] == proof["inversions"] == 0
            assert json.loads(marks.read_text())["streams"][STREAM]["missing"] == []


def test_a_range_that_nobody_can_bring_back_stays_missing(tmp_path: Path) -> None:
    """No box answers, because there is none: the numbers came from a box that is gone."""
    from edge_runtime.publish.mqtt.link import Outgoing
    from edge_runtime.publish.payload import Stamp, encode_result
    from tests.fakes.mqtt_client import send
    from tests.fakes.results import IDENTITY, make_result

    marks = tmp_path / "marks.json"
    marks.write_text(
        '{"schema":"edge-runtime.marks/1","streams":{"plant-a/line-3/box-17/result/top":{"last":3,"missing":[]}}}'
    )
    command = [sys.executable, "-m", "edge_runtime", "watch", "--host", "127.0.0.1", "--from", str(marks), "--replay"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Broker() as broker:
        more = ["--port", str(broker.port), "--seconds", "3"]
        with subprocess.Popen([*command, *more], text=True, **pipes) as process:
            wait_until(lambda: "SUBSCRIBE" in broker.log(), 20, "the subscription")
            message = encode_result(make_result(9), IDENTITY, Stamp(9, "b"))
            send(broker.port, Outgoing(IDENTITY.topic(message.topic), message.body))
            out, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(out.splitlines()) == 1
    assert "asked for plant-a/line-3/box-17/result/top 4-8: no answer" in told
    assert "missing plant-a/line-3/box-17/result/top 4-8\n" in told
    assert "missing=5" in told
