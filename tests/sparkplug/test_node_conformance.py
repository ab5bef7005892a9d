"""The node's conversations, judged by the passive observer against the normative ids of Sparkplug 3.0.

Two lives of the session, with everything that a test can bring about, and one of the whole daemon with hosts of others.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.command import Answer, Status
from edge_runtime.publish.mqtt.link import Outgoing
from edge_runtime.publish.sparkplug import commands
from edge_runtime.publish.sparkplug.payload import DataType
from edge_runtime.publish.sparkplug.topics import Kind, State, encode_state
from edge_runtime.system.clock import SystemClock
from tests.brokers import Broker
from tests.daemons import DaemonProcess, line_config, wait_until
from tests.fakes.following import row
from tests.fakes.mqtt_client import send
from tests.fakes.sparkplug import host_at, running_node, written
from tests.sparkplug.conformance import judge
from tests.sparkplug.hosts import npm_host, pysparkplug_host
from tests.sparkplug.recording import Closed, Disconnect, Recorder, Seen, Tape
from tests.sparkplug.table import rules

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sparkplug.conformance import Report

CLOCK = SystemClock()
NOW_MS = CLOCK.utc_ns() // 1_000_000


def ask(port: int, topic: str, name: str, value: object) -> None:
    send(port, Outgoing(topic, written((name, DataType.BOOLEAN, value)), content_type=None))


def say(port: int, *, online: bool, ms: int) -> None:
    send(port, Outgoing("spBv1.0/STATE/scada", encode_state(State(online, ms)), retain=True, content_type=None))


def life_with_rebirth_camera_loss_command_and_reconnect(tmp_path: Path) -> Report:
    tape = Tape()
    with Broker(persistent=False) as broker, Recorder(tape, broker.port) as recorder, host_at(broker.port) as host:
        with running_node(tmp_path, [recorder.port], gauges=("Spool/Depth",)) as node:
            node.wait_state("online")
            node.session.set_camera("cam", "streaming")
            for number in range(1, 301):
                node.follower.put(row(number, clock=CLOCK))
            host.wait(lambda: 300 in host.sequences(), "every result")
            ask(broker.port, "spBv1.0/plant/NCMD/box", commands.REBIRTH, value=True)
            host.wait(lambda: len(host.births) == 2, "the rebirth")
            tape.mark("lost", "top")
            node.session.set_camera("cam", "lost")
            host.wait(lambda: host.of(Kind.DDEATH), "the death of the device")
            node.follower.put(row(301, clock=CLOCK))
            tape.mark("back", "top")
            node.session.set_camera("cam", "streaming")
            host.wait(lambda: 301 in host.sequences(), "what was held")
            ask(broker.port, "spBv1.0/plant/DCMD/box/top", commands.PAUSE, value=True)
            host.wait(lambda: node.asked, "the command")
            node.asked[0][1](Answer(Status.DONE, "paused"))
            ask(broker.port, "spBv1.0/plant/NCMD/box", "Node Control/Reboot", value=True)
            host.wait(lambda: host.of(Kind.NDATA), "the refusal")
            recorder.cut()
            host.wait(lambda: len(host.births) == 3, "the next connection")
            host.wait(lambda: len(host.sequences(historical=True)) >= 301, "the history")
            tape.mark("stop")
        host.wait(lambda: host.deaths[1:], "the last death")
    assert host.gaps() == []
    return judge(tape.events)


def life_with_a_primary_host_and_two_servers(tmp_path: Path) -> Report:
    tape = Tape()
    with ExitStack() as stack:
        brokers = [stack.enter_context(Broker(persistent=False)) for _ in range(2)]
        recorders = [stack.enter_context(Recorder(tape, broker.port, at)) for at, broker in enumerate(brokers)]
        first, second = (stack.enter_context(host_at(broker.port)) for broker in brokers)
        with running_node(tmp_path, [one.port for one in recorders], primary_host="scada") as node:
            node.wait_state("waiting")
            say(brokers[0].port, online=True, ms=NOW_MS)
            node.wait_state("online")
            node.follower.put(*(row(number, clock=CLOCK) for number in range(1, 20)))
            first.wait(lambda: 19 in first.sequences(), "every result")
            say(brokers[0].port, online=False, ms=NOW_MS - 1)
            node.follower.put(row(20, clock=CLOCK))
            first.wait(lambda: 20 in first.sequences(), "a result in spite of an old word")
            say(brokers[1].port, online=True, ms=NOW_MS + 5)
            say(brokers[0].port, online=False, ms=NOW_MS + 10)
            second.wait(lambda: len(second.sequences(historical=True)) >= 20, "the history at the second server")
            tape.mark("stop")
        second.wait(lambda: second.deaths, "the death")
    return judge(tape.events, primary_host="scada", servers=2)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    lives = (life_with_rebirth_camera_loss_command_and_reconnect, life_with_a_primary_host_and_two_servers)
    return [life(tmp_path_factory.mktemp("life")) for life in lives]


def test_no_rule_is_broken(reports: list[Report]) -> None:
    assert [report.broken for report in reports] == [{}, {}]


def test_every_rule_had_its_occasion(reports: list[Report]) -> None:
    met = {one for report in reports for one in report.met}
    assert sorted(rules() - met) == []


def test_what_is_said_not_to_apply_does_not_occur(reports: list[Report]) -> None:
    """Aliases, Templates, DataSets, MQTT 3.1.1: see ``not_applicable.py``."""
    assert [report.unused for report in reports] == [set(), set()]


def test_a_daemon_with_foreign_hosts_through_rebirth_kill_9_and_a_lost_primary_host(tmp_path: Path) -> None:
    tape = Tape()
    with ExitStack() as stack:
        brokers = [stack.enter_context(Broker(persistent=False)) for _ in range(2)]
        recorders = [stack.enter_context(Recorder(tape, broker.port, at)) for at, broker in enumerate(brokers)]
        npm = stack.enter_context(npm_host(brokers[0].port))
        pysp = stack.enter_context(pysparkplug_host(brokers[1].port))
        servers = [f"127.0.0.1:{one.port}" for one in recorders]
        sparkplug = {"group": "plant", "primary_host": "scada", "servers": servers}
        config = line_config(brokers[0].port, tmp_path / "state", sparkplug=sparkplug)
        npm.state("scada", online=True, timestamp_ms=NOW_MS)
        with DaemonProcess(tmp_path, config) as daemon:
            npm.wait(lambda seen: seen["counts"].get("DDATA", 0) > 10, 40)
            npm.rebirth("plant", "box", timestamp=False)
            npm.wait(lambda seen: seen["counts"]["NBIRTH"] == 2)
            daemon.kill()
            npm.wait(lambda seen: seen["counts"].get("NDEATH") == 1)
            daemon.start()
            npm.wait(lambda seen: seen["counts"]["NBIRTH"] == 3, 40)
            pysp.state("scada", online=True, timestamp_ms=NOW_MS)
            npm.state("scada", online=False, timestamp_ms=NOW_MS + 1)
            pysp.wait(lambda seen: seen["counts"].get("DDATA", 0) > 10, 40)
            wait_until(lambda: daemon.status()["sparkplug"]["owed"] == 0, 20, "the end of the history")
            tape.mark("stop")
            assert daemon.terminate()[0] == 0
        pysp.wait(lambda seen: seen["counts"].get("NDEATH", 0) > 0)
        for seen in (npm.report(), pysp.report()):
            assert (seen["seq_gaps"], seen["bdseq_mismatches"], seen["undeclared"], seen["errors"]) == (0, 0, 0, [])
        assert [birth["bdSeq"] for birth in npm.report()["births"]] == [0, 0, 1]
        assert {death["bdSeq"] for death in npm.report()["deaths"]} == {0, 1}
    report = judge(tape.events, primary_host="scada", servers=2)
    assert report.broken == {}
    ends = [type(event.packet) for event in tape.events if isinstance(event, Seen) and event.up]
    assert ends.count(Closed) > ends.count(Disconnect), "a kill -9 has no goodbye"
