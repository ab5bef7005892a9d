"""A real daemon as a Sparkplug B node: counts, kill -9, clean stop, outage, commands, camera loss."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.publish.mqtt.link import Outgoing
from edge_runtime.publish.sparkplug import commands, mapping
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
        code, _ = daemon.terminate()
        assert code == 0
        host.wait(lambda: host.deaths[1:], "the second death")
    # what was committed and not sent when it was killed came as history
    numbers = host.sequences()
    assert set(numbers) == set(range(min(numbers), max(numbers) + 1))
    assert set(host.deaths) == {0, 1}
    assert host.gaps() == []
    assert host.unreadable == 0
    assert [m.topic.device for m in host.of(Kind.DBIRTH)] == ["top", "top"]
    assert host.of(Kind.NBIRTH)[0].values["Properties/Edge"] == "box"
    assert json.loads((daemon.state_dir / "sparkplug-bdseq.json").read_text()) == {"bdSeq": 1}


@pytest.mark.soak
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


def test_commands_over_sparkplug_are_answered_one_by_one_and_the_true_state_is_told_whoever_changed_it(
    tmp_path: Path, broker: Broker
) -> None:
    settings = config(tmp_path, broker.port)
    settings["inspections"]["top"]["trigger"] = "mqtt"
    settings["recipes"] = {"blue": {"id": "blue"}}
    settings["commands"] = {"rate_per_s": 100, "rate_total_per_s": 100}
    topic = "spBv1.0/plant/DCMD/box/top"

    def order(*metrics: tuple[str, DataType, Any]) -> None:
        send(broker.port, Outgoing(topic, written(*metrics), content_type=None))

    with host_at(broker.port) as host, DaemonProcess(tmp_path, settings) as daemon:
        host.wait(lambda: host.of(Kind.DBIRTH), "the birth", 40)
        wait_until(lambda: daemon.status().get("ready"), 30, "ready")

        def told(name: str) -> list[Any]:
            return [m.values[name] for m in host.of(Kind.DDATA) if name in m.values]

        parts = [f"P-{n}" for n in range(20)]
        for part in parts:
            order((commands.TRIGGER, DataType.BOOLEAN, True), (commands.PART_ID, DataType.STRING, part))
        host.wait(lambda: len(told("Command/LastId")) == len(parts), "an answer to each")
        assert len(set(told("Command/LastId"))) == len(told("Command/LastStatus")) == len(parts)
        taken = told("Command/LastStatus").count(202)
        assert set(told("Command/LastStatus")) <= {202, 429}
        host.wait(lambda: len(set(told("Inspection/PartId")) & set(parts)) == taken, "a result of each that was taken")
        order((commands.PAUSE, DataType.BOOLEAN, True))
        host.wait(lambda: told(commands.PAUSE) == [True], "the pause")
        root = "vision/plant/line/box/cmd"
        send(broker.port, Outgoing(f"{root}/resume/top", b'{"correlationId": "j1"}'))
        host.wait(lambda: told(commands.PAUSE) == [True, False], "that somebody else ended it")
        order((commands.RECIPE, DataType.STRING, "blue"))
        host.wait(lambda: told(commands.RECIPE)[-1:] == ["blue"], "the recipe")
        send(broker.port, Outgoing(f"{root}/recipe.select/top", b'{"correlationId": "j2", "recipe": "default"}'))
        host.wait(lambda: told(commands.RECIPE)[-1:] == ["default"], "the choice of somebody else")
        pid = daemon.child("camera/top")
        assert pid is not None, daemon.family()
        os.kill(pid, signal.SIGKILL)
        host.wait(lambda: False in told(mapping.CAMERA_ONLINE), "that the camera is away")
    assert host.gaps() == []


@pytest.mark.soak
def test_a_camera_process_that_stays_dead_is_a_ddeath_and_a_pause_outlives_it_and_a_restart(
    tmp_path: Path, broker: Broker
) -> None:
    with host_at(broker.port) as host, DaemonProcess(tmp_path, config(tmp_path, broker.port)) as daemon:
        wait_for_results(host, 1)
        pause = written((commands.PAUSE, DataType.BOOLEAN, True))
        send(broker.port, Outgoing("spBv1.0/plant/DCMD/box/top", pause, content_type=None))
        host.wait(lambda: any(m.values.get(commands.PAUSE) for m in host.of(Kind.DDATA)), "the pause")
        for _ in range(600):  # the first restarts are too quick to be a death; later ones are put off
            pid = daemon.child("camera/top")
            if host.of(Kind.DDEATH):
                break
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        host.wait(lambda: host.of(Kind.DDEATH), "the death of the device")
        host.wait(lambda: len(host.of(Kind.DBIRTH)) == 2, "its next birth", 30)
        daemon.terminate()
        daemon.start()
        host.wait(lambda: len(host.of(Kind.DBIRTH)) == 3, "the birth after the restart", 40)
        newest = {name: value for m in host.messages for name, value in m.values.items()}
        assert newest[commands.PAUSE] is True
    assert host.gaps() == []


@pytest.mark.soak
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
