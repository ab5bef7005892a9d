"""A real daemon as a Sparkplug B node: counts, kill -9, clean stop, outage, commands, camera loss."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.publish.mqtt.link import Outgoing
from edge_runtime.publish.sparkplug import commands
from edge_runtime.publish.sparkplug.payload import DataType
from edge_runtime.publish.sparkplug.topics import Kind
from tests.brokers import Broker
from tests.daemons import DaemonProcess, line_config, wait_until
from tests.fakes.mqtt_client import send
from tests.fakes.sparkplug import host_at, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.sparkplug import Host

KEEPALIVE_S = 5


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(persistent=False) as running:
        yield running


def config(tmp_path: Path, port: int, **more: Any) -> dict[str, Any]:
    document = line_config(port, tmp_path / "state", **({"sparkplug": {"group": "plant"}} | more))
    document["mqtt"]["keepalive_s"] = KEEPALIVE_S
    return document


def node(daemon: DaemonProcess) -> dict[str, Any]:
    found: dict[str, Any] = daemon.status().get("sparkplug") or {}
    return found


def wait_for_results(host: Host, count: int) -> None:
    wanted = len(set(host.sequences())) + count
    host.wait(lambda: len(set(host.sequences())) >= wanted, f"{count} more results", 40)


def test_a_host_counts_exactly_what_the_daemon_says_it_sent(tmp_path: Path, broker: Broker) -> None:
    with host_at(broker.port) as host, DaemonProcess(tmp_path, config(tmp_path, broker.port)) as daemon:
        wait_for_results(host, 60)
        host.wait(lambda: node(daemon).get("live", 0) > 60, "the status")
        code, _ = daemon.terminate()
        assert code == 0
        host.wait(lambda: host.deaths, "the death")
    numbers = host.sequences()
    assert set(numbers) == set(range(min(numbers), max(numbers) + 1))
    assert host.gaps() == []
    assert host.births == [0]
    assert set(host.deaths) == {0}
    assert host.unreadable == 0
    device = host.of(Kind.DBIRTH)[0]
    assert device.topic.device == "top"
    assert host.of(Kind.NBIRTH)[0].values["Properties/Edge"] == "box"


def test_kill_9_is_an_ndeath_with_the_bdseq_of_the_birth_and_the_restart_has_the_next_one(
    tmp_path: Path, broker: Broker
) -> None:
    with host_at(broker.port) as host, DaemonProcess(tmp_path, config(tmp_path, broker.port)) as daemon:
        wait_for_results(host, 30)
        daemon.kill()
        killed = time.monotonic()
        host.wait(lambda: host.deaths == [0], "the death")
        assert time.monotonic() - killed < 1.5 * KEEPALIVE_S
        daemon.start()
        host.wait(lambda: host.births == [0, 1], "the next birth", 40)
        wait_for_results(host, 30)
        daemon.terminate()
        host.wait(lambda: host.deaths[1:], "the second death")
    # what was committed and not sent when it was killed came as history
    numbers = host.sequences()
    assert set(numbers) == set(range(min(numbers), max(numbers) + 1))
    assert set(host.deaths) == {0, 1}


def test_after_an_outage_live_and_history_together_have_no_gap(tmp_path: Path, broker: Broker) -> None:
    with DaemonProcess(tmp_path, config(tmp_path, broker.port)) as daemon:
        with host_at(broker.port) as before:
            wait_for_results(before, 30)
            broker.kill()
        wait_until(lambda: node(daemon).get("state") == "connecting", 10, "the loss")
        seen = daemon.counters()["inferred"]
        wait_until(lambda: daemon.counters()["inferred"] > seen + 60, 20, "results of the outage")
        broker.start()
        with host_at(broker.port) as after:
            wait_until(lambda: node(daemon).get("state") == "online", 10, "the return")
            after.wait(lambda: after.sequences(historical=False)[20:], "live results")
            after.wait(lambda: node(daemon).get("owed") == 0, "the end of the history")
            daemon.terminate()
            after.wait(lambda: after.deaths, "the death")
    numbers = set(before.sequences()) | set(after.sequences())
    assert numbers == set(range(min(numbers), max(numbers) + 1))
    assert min(after.sequences(historical=True)) <= max(before.sequences()) + 1
    assert after.births == [1]
    assert after.gaps() == []


def test_a_trigger_over_sparkplug_is_a_result_with_its_part(tmp_path: Path, broker: Broker) -> None:
    settings = config(tmp_path, broker.port)
    settings["inspections"]["top"]["trigger"] = "mqtt"
    with host_at(broker.port) as host, DaemonProcess(tmp_path, settings) as daemon:
        host.wait(lambda: host.of(Kind.DBIRTH), "the birth", 40)
        wait_until(lambda: daemon.status().get("ready"), 30, "ready")
        body = written((commands.TRIGGER, DataType.BOOLEAN, True), (commands.PART_ID, DataType.STRING, "P-7"))
        topic = "spBv1.0/plant/DCMD/box/top"
        send(broker.port, Outgoing(topic, body, content_type=None))
        host.wait(lambda: any(m.values.get("Inspection/PartId") == "P-7" for m in host.of(Kind.DDATA)), "its result")
        host.wait(lambda: any("Command/LastStatus" in m.values for m in host.of(Kind.DDATA)), "its answer")
    answer = next(m.values for m in host.of(Kind.DDATA) if "Command/LastStatus" in m.values)
    assert answer["Command/LastStatus"] == 202
    assert host.gaps() == []


def test_a_reload_that_adds_an_inspection_is_a_new_birth_with_it(tmp_path: Path, broker: Broker) -> None:
    settings = config(tmp_path, broker.port)
    with host_at(broker.port) as host, DaemonProcess(tmp_path, settings) as daemon:
        wait_for_results(host, 10)
        settings["inspections"]["second"] = {"camera": "top", "model": "defects", "deadline_ms": 2000}
        daemon.write(settings)
        assert daemon.process is not None
        daemon.process.send_signal(1)
        host.wait(lambda: host.births == [0, 1], "the next birth", 40)
        host.wait(lambda: host.sequences("second"), "a result of the new one", 40)
    assert host.gaps() == []


def test_without_sparkplug_nothing_of_it_is_said_or_kept(tmp_path: Path, broker: Broker) -> None:
    settings = config(tmp_path, broker.port)
    del settings["sparkplug"]
    with host_at(broker.port) as host, DaemonProcess(tmp_path, settings) as daemon:
        wait_until(lambda: daemon.counters().get("inferred", 0) > 5, 40, "results")
        assert daemon.status()["sparkplug"] is None
    assert host.messages == []
    assert not (tmp_path / "state" / "sparkplug-bdseq.json").exists()


def test_the_number_of_the_last_connection_is_in_the_state_directory(tmp_path: Path, broker: Broker) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "sparkplug-bdseq.json").write_text('{"bdSeq": 255}')
    with host_at(broker.port) as host, DaemonProcess(tmp_path, config(tmp_path, broker.port)):
        host.wait(lambda: host.births == [0], "the birth", 40)
    assert json.loads((state / "sparkplug-bdseq.json").read_text()) == {"bdSeq": 0}
