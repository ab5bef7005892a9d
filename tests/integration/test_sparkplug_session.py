"""The Sparkplug node against a real broker: what a host sees when broker, host and node come and go."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.command import Answer, Status
from edge_runtime.publish.mqtt.client import MqttDial
from edge_runtime.publish.mqtt.link import Outgoing, TlsSettings
from edge_runtime.publish.sparkplug import commands
from edge_runtime.publish.sparkplug.bdseq import BdSeq
from edge_runtime.publish.sparkplug.node import Node
from edge_runtime.publish.sparkplug.payload import DataType
from edge_runtime.publish.sparkplug.session import SparkplugSession
from edge_runtime.publish.sparkplug.spoken import DeviceSpec, NodeSpec
from edge_runtime.publish.sparkplug.topics import Kind, State, encode_state
from edge_runtime.system.clock import SystemClock
from tests.brokers import Broker, free_port
from tests.daemons import wait_until
from tests.fakes.certificates import Authority
from tests.fakes.following import MemoryFollower, row
from tests.fakes.mqtt_client import send
from tests.fakes.sparkplug import NODE, host_at, pause, running_node, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLOCK = SystemClock()
BIRTHS = [Kind.NBIRTH, Kind.DBIRTH, Kind.DBIRTH]
REBIRTH = written((commands.REBIRTH, DataType.BOOLEAN, True))


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(persistent=False) as running:
        yield running


def say(port: int, *, online: bool, ms: int, retain: bool = True) -> None:
    body = encode_state(State(online, ms))
    send(port, Outgoing("spBv1.0/STATE/scada", body, retain=retain, content_type=None))


def ask(port: int, topic: str, body: bytes, *, retain: bool = False) -> None:
    send(port, Outgoing(topic, body, retain=retain, content_type=None))


def test_a_node_is_born_tells_results_and_dies_with_the_bdseq_of_its_birth(tmp_path: Path, broker: Broker) -> None:
    with host_at(broker.port) as host:
        with running_node(tmp_path, [broker.port]) as node:
            node.wait_state("online")
            node.follower.put(*(row(n, clock=CLOCK) for n in range(1, 51)))
            host.wait(lambda: len(host.sequences()) == 50, "every result")
            sent = dict(node.session.stats.sent)
        host.wait(lambda: host.deaths, "the death")
    assert [m.kind for m in host.messages[:3]] == BIRTHS
    assert host.sequences(historical=False) == list(range(1, 51))
    assert host.gaps() == []
    assert not any(m.retain for m in host.messages)
    assert {m.qos for m in host.messages if m.kind is not Kind.NDEATH} == {0}
    assert host.births == [0]
    assert set(host.deaths) == {0}
    assert host.unreadable == 0
    for kind in (Kind.NBIRTH, Kind.DBIRTH, Kind.DDATA, Kind.NDATA):
        assert len(host.of(kind)) == sent[kind.value], kind
    assert [m.topic.device for m in host.of(Kind.DDEATH)] == ["top", "side"]


def test_two_dead_servers_that_take_turns_are_told_once_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", logger="edge_runtime.publish.sparkplug.session")
    with running_node(tmp_path, [free_port(), free_port()]) as node:
        wait_until(lambda: node.session._server > 4, 10, "the third round")
        told = [record.message for record in caplog.records if "is not connected to" in record.message]
    assert len(told) == 2
    assert len(set(told)) == 2


def test_bdseq_is_one_more_after_every_restart_and_wraps(tmp_path: Path, broker: Broker) -> None:
    (tmp_path / "bdseq.json").write_text('{"bdSeq": 253}')
    with host_at(broker.port) as host:
        for count in range(1, 5):
            with running_node(tmp_path, [broker.port]) as node:
                node.wait_state("online")
            host.wait(lambda count=count: len(host.births) == count, "the birth")
        assert host.births == [254, 255, 0, 1]


def test_after_an_outage_of_the_broker_nothing_is_missing_and_bdseq_is_one_more(tmp_path: Path) -> None:
    with Broker(persistent=False) as broker, running_node(tmp_path, [broker.port]) as node:
        node.wait_state("online")
        with host_at(broker.port) as before:
            node.follower.put(*(row(n, clock=CLOCK) for n in range(1, 21)))
            before.wait(lambda: len(before.sequences()) == 20, "the first results")
        broker.kill()
        node.wait_state("connecting")
        node.follower.put(*(row(n, clock=CLOCK) for n in range(21, 141)))
        broker.start()
        started = time.monotonic()
        with host_at(broker.port) as after:
            node.wait_state("online")
            assert time.monotonic() - started < 10
            node.follower.put(*(row(n, clock=CLOCK) for n in range(141, 151)))
            after.wait(lambda: len(after.sequences(historical=True)) >= 140, "the history")
            assert node.session.stats.bd_seq == 1
    # what was sent less than two keep alives ago is sent again: nobody confirmed it
    assert set(after.sequences()) | set(before.sequences()) == set(range(1, 151))
    assert after.sequences(historical=True) == list(range(1, 141))
    assert [s for s in after.sequences(historical=False) if s > 140] == list(range(141, 151))


def test_a_rebirth_is_obeyed_with_the_same_bdseq(tmp_path: Path, broker: Broker) -> None:
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port]) as node:
        node.wait_state("online")
        node.follower.put(row(1, clock=CLOCK))
        host.wait(host.sequences, "a result")
        for count in range(2, 4):
            ask(broker.port, "spBv1.0/plant/NCMD/box", REBIRTH)
            host.wait(lambda count=count: len(host.births) == count, "the rebirth")
        node.follower.put(row(2, clock=CLOCK))
        host.wait(lambda: 2 in host.sequences(historical=False), "a result after it")
        assert node.session.stats.rebirths == 2
    assert host.births == [0, 0, 0]
    assert host.gaps() == []


def test_a_retained_command_and_rubbish_change_nothing(tmp_path: Path, broker: Broker) -> None:
    ask(broker.port, "spBv1.0/plant/NCMD/box", REBIRTH, retain=True)
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port]) as node:
        node.wait_state("online")
        ask(broker.port, "spBv1.0/plant/NCMD/box", b"\xff\xff\xff")
        ask(broker.port, "spBv1.0/plant/DCMD/box/nobody", written((commands.PAUSE, DataType.BOOLEAN, True)))
        host.wait(lambda: node.session.stats.refused >= 3, "three refusals")
        node.follower.put(row(1, clock=CLOCK))
        host.wait(host.sequences, "a result all the same")
    assert host.births == [0]


def test_a_trigger_is_handed_on_and_its_answer_becomes_metrics(tmp_path: Path, broker: Broker) -> None:
    body = written((commands.TRIGGER, DataType.BOOLEAN, True), (commands.PART_ID, DataType.STRING, "P-7"))
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port]) as node:
        node.wait_state("online")
        ask(broker.port, "spBv1.0/plant/DCMD/box/top", body)
        host.wait(lambda: node.asked, "the command")
        command, reply = node.asked[0]
        assert (command.verb, command.target, command.arguments) == ("trigger", "top", {"partId": "P-7"})
        assert command.principal == "sparkplug"
        reply(Answer(Status.ACCEPTED, "it will be judged"))
        host.wait(lambda: host.of(Kind.DDATA), "the answer")
        assert host.of(Kind.DDATA)[0].values == {
            "Command/LastId": command.correlation_id,
            "Command/LastStatus": 202,
            "Command/LastMessage": "it will be judged",
        }


def test_a_camera_that_is_lost_is_a_ddeath_and_what_came_meanwhile_is_history_of_the_next_birth(
    tmp_path: Path, broker: Broker
) -> None:
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port]) as node:
        node.wait_state("online")
        node.session.set_camera("cam", "streaming")
        node.follower.put(row(1, clock=CLOCK))
        host.wait(host.sequences, "a result")
        node.session.set_camera("cam", "lost")
        host.wait(lambda: host.of(Kind.DDEATH), "the death of the device")
        node.follower.put(row(2, clock=CLOCK), row(3, inspection="side", clock=CLOCK))
        host.wait(lambda: host.sequences("side"), "a result of the other one")
        assert host.sequences() == [1]
        node.session.set_camera("cam", "streaming")
        host.wait(lambda: host.sequences(historical=True), "the result that was held")
    assert host.of(Kind.DDEATH)[0].topic.device == "top"
    assert host.sequences(historical=True) == [2]
    assert host.gaps() == []


# --- primary host


def test_nothing_is_sent_before_the_primary_host_is_online_and_then_everything(tmp_path: Path, broker: Broker) -> None:
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port], primary_host="scada") as node:
        node.wait_state("waiting")
        node.follower.put(*(row(n, clock=CLOCK) for n in range(1, 11)))
        say(broker.port, online=False, ms=1000)
        say(broker.port, online=True, ms=999)
        host.wait(lambda: "not online" in str(node.session.stats.reason), "the reason")
        assert host.messages == []
        say(broker.port, online=True, ms=1000)
        host.wait(lambda: len(host.sequences(historical=True)) == 10, "what was kept")
        assert [m.kind for m in host.messages[:3]] == BIRTHS


def test_a_primary_host_that_goes_ends_the_connection_and_the_next_birth_waits_for_it(
    tmp_path: Path, broker: Broker
) -> None:
    say(broker.port, online=True, ms=1000)
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port], primary_host="scada") as node:
        node.wait_state("online")
        say(broker.port, online=False, ms=999, retain=False)
        node.follower.put(row(1, clock=CLOCK))
        host.wait(lambda: host.sequences(historical=False), "a result in spite of an old word")
        say(broker.port, online=False, ms=1000)
        host.wait(lambda: host.deaths, "the death")
        node.wait_state("waiting")
        node.follower.put(row(2, clock=CLOCK))
        say(broker.port, online=True, ms=2000)
        host.wait(lambda: 2 in host.sequences(historical=True), "what came meanwhile")
        assert host.births == [0, 1]
        assert set(host.deaths) == {0}


def test_it_walks_to_the_server_where_the_host_is_and_says_goodbye_when_it_leaves(
    tmp_path: Path, broker: Broker
) -> None:
    with Broker(persistent=False) as other:
        say(broker.port, online=False, ms=1000)
        say(other.port, online=True, ms=500)
        with host_at(other.port) as host:
            with running_node(tmp_path, [broker.port, other.port], primary_host="scada") as node:
                node.wait_state("online")
                assert node.session.stats.server == f"127.0.0.1:{other.port}"
                say(broker.port, online=True, ms=2000)
                say(other.port, online=False, ms=600)
                host.wait(lambda: node.session.stats.server == f"127.0.0.1:{broker.port}", "the walk back")
                node.wait_state("online")
            host.wait(lambda: host.deaths, "the death at the second server")


def test_a_server_that_does_not_answer_is_passed_over_and_costs_no_bdseq(tmp_path: Path, broker: Broker) -> None:
    with host_at(broker.port) as host, running_node(tmp_path, [free_port(), free_port(), broker.port]) as node:
        node.wait_state("online")
        host.wait(lambda: host.births == [0], "the birth at the one that answers")
    assert json.loads((tmp_path / "bdseq.json").read_text()) == {"bdSeq": 0}


def test_next_server_moves_on(tmp_path: Path, broker: Broker) -> None:
    with (
        Broker(persistent=False) as other,
        host_at(other.port) as host,
        running_node(tmp_path, [broker.port, other.port]) as node,
    ):
        node.wait_state("online")
        ask(broker.port, "spBv1.0/plant/NCMD/box", written((commands.NEXT_SERVER, DataType.BOOLEAN, True)))
        host.wait(lambda: host.births == [1], "the birth at the next server")


def test_twenty_devices_of_a_node_of_any_name_are_born_and_tell_their_results(tmp_path: Path, broker: Broker) -> None:
    names = [f"Station-{number}_a.b" for number in range(20)]
    devices = tuple(DeviceSpec(name, "cam", triggered=False) for name in names)
    fields = {"devices": devices, "group": "Werk Süd 1", "node": "Box ß 7"}
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port], **fields) as node:
        node.wait_state("online")
        node.follower.put(*(row(n, 1, inspection=name, clock=CLOCK, score=None) for n, name in enumerate(names, 1)))
        host.wait(lambda: all(host.sequences(name) == [1] for name in names), "a result of each")
    assert [m.topic.device for m in host.of(Kind.DBIRTH)] == names
    assert {m.topic.group for m in host.messages} == {"Werk Süd 1"}
    assert host.gaps() == []


# --- MQTT 3.1.1


def test_a_node_of_3_1_1_lives_a_whole_life(tmp_path: Path, broker: Broker) -> None:
    """MQTT 3.1.1 has no DISCONNECT with Will: the NDEATH is said before it.

    tck-id-principles-persistence-clean-session-311,
    tck-id-payloads-ndeath-will-message-publisher-disconnect-mqtt311.
    """
    old = replace(NODE, protocol="3.1.1")
    say(broker.port, online=True, ms=1000)
    with host_at(broker.port) as host:
        with running_node(tmp_path, [broker.port], settings=old, primary_host="scada") as node:
            node.wait_state("online")
            node.follower.put(*(row(n, clock=CLOCK) for n in range(1, 21)))
            host.wait(lambda: len(host.sequences()) == 20, "every result")
            ask(broker.port, "spBv1.0/plant/NCMD/box", REBIRTH)
            host.wait(lambda: host.births == [0, 0], "the rebirth")
            ask(broker.port, "spBv1.0/plant/DCMD/box/top", written((commands.PAUSE, DataType.BOOLEAN, True)))
            host.wait(lambda: node.asked, "the command")
            say(broker.port, online=False, ms=2000)
            host.wait(lambda: host.deaths == [0], "the death that it says, because no Will is published")
            say(broker.port, online=True, ms=3000)
            host.wait(lambda: host.births[2:] == [1], "the next birth")
            broker.restart()
            node.wait_state("waiting")
            say(broker.port, online=True, ms=4000)
            host.wait(lambda: host.births[3:] == [2], "the birth after the broker's restart")
        host.wait(lambda: host.deaths[-1:] == [2], "the last death")
    assert host.deaths.count(0) == host.deaths.count(2) == 1
    assert host.gaps() == []
    assert "as box-sparkplug (p2, c1, k" in broker.log()


def test_a_refusal_of_a_broker_of_3_1_1_is_told(tmp_path: Path) -> None:
    old = replace(NODE, protocol="3.1.1")
    with (
        Broker(anonymous=False, persistent=False) as closed,
        running_node(tmp_path, [closed.port], settings=old) as node,
    ):
        node.wait_state("refused")
        assert "not authorized" in str(node.session.stats.reason)


# --- TLS


def test_over_tls_with_certificates_on_both_sides_and_new_ones_are_taken_up(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.sign("server"), authority.sign("client")
    lines = [f"cafile {authority.ca}", f"certfile {server.cert}", f"keyfile {server.key}", "require_certificate true"]
    tls = TlsSettings(authority.ca, client.cert, client.key)
    stranger = Authority(tmp_path, "stranger")
    with Broker(config="\n".join(lines), persistent=False) as broker:
        with running_node(tmp_path, [broker.port], settings=replace(NODE, tls=TlsSettings(stranger.ca))) as lost:
            wait_until(lambda: "no authority that we trust" in str(lost.session.stats.reason), what="the reason")
            assert lost.session.stats.connects == 0
        with running_node(tmp_path, [broker.port], settings=replace(NODE, tls=tls)) as node:
            node.wait_state("online")
            number = node.session.stats.bd_seq
            fresh = authority.sign("fresh")
            shutil.copy(fresh.cert, client.cert)
            shutil.copy(fresh.key, client.key)
            wait_until(lambda: node.session.stats.connects == 2, what="the second connection")
            node.wait_state("online")
            assert node.session.stats.bd_seq == (number or 0) + 1


# --- what is delivered


@pytest.mark.soak
def test_the_position_moves_only_over_what_was_sent_long_enough_ago(tmp_path: Path, broker: Broker) -> None:
    follower = MemoryFollower([row(n, clock=CLOCK) for n in range(1, 6)])
    settings = replace(NODE, keepalive_s=1)
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port], follower, settings) as node:
        node.wait_state("online")
        host.wait(lambda: len(host.sequences(historical=True)) == 5, "the history")
        assert follower.position == 0
        host.wait(lambda: follower.position == 5, "the position")
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port], follower, settings) as node:
        node.wait_state("online")
        follower.put(row(6, clock=CLOCK))
        host.wait(lambda: host.sequences() == [6], "the new one alone")


# --- what goes wrong


def test_a_broker_that_does_not_read_costs_no_memory(tmp_path: Path, broker: Broker) -> None:
    with running_node(tmp_path, [broker.port], settings=replace(NODE, keepalive_s=60)) as node:
        node.wait_state("online")
        broker.freeze()
        count = 3000  # some 9 MB, of which the kernel takes a few
        node.follower.put(*(row(n, clock=CLOCK, reason=f"{n:06}" * 500) for n in range(1, count + 1)))
        sent = node.session.stats.sent
        wait_until(lambda: sent["DDATA"] > 300, what="as many results as the kernel takes")
        told = -1
        while told != sent["DDATA"]:
            told = sent["DDATA"]
            pause(0.4)
        assert told < count
        broker.thaw()
        wait_until(lambda: sent["DDATA"] == count, what="the last result")


def test_a_flood_of_rebirths_is_one_birth_a_second_and_results_go_on(tmp_path: Path, broker: Broker) -> None:
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port]) as node:
        node.wait_state("online")
        started = time.monotonic()
        flood = ["mosquitto_pub", "-p", str(broker.port), "-t", "spBv1.0/plant/NCMD/box", "-s", "--repeat", "1000"]
        subprocess.run(flood, input=REBIRTH, timeout=10, check=True)
        host.wait(lambda: len(host.births) > 1, "a birth")
        node.follower.put(row(1, clock=CLOCK))
        host.wait(lambda: host.sequences() or host.sequences("top"), "a result")
        passed = time.monotonic() - started
    assert len(host.births) <= passed + 2
    assert host.gaps() == []


def test_a_broker_that_does_not_let_us_in_is_told_and_tried_again(tmp_path: Path) -> None:
    with Broker(anonymous=False, persistent=False) as closed, running_node(tmp_path, [closed.port]) as node:
        node.wait_state("refused")
        assert node.session.stats.reason
        assert node.session.stats.bd_seq is not None


def test_a_broker_that_lets_us_in_is_taken_when_the_first_one_does_not(tmp_path: Path, broker: Broker) -> None:
    with (
        Broker(anonymous=False, persistent=False) as closed,
        running_node(tmp_path, [closed.port, broker.port]) as node,
    ):
        node.wait_state("online")
        assert node.session.stats.server == f"127.0.0.1:{broker.port}"
        assert node.session.stats.bd_seq == 1


def test_somebody_who_takes_the_connection_and_says_nothing_is_given_up(tmp_path: Path, broker: Broker) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        running_node(tmp_path, [mute.getsockname()[1], broker.port]) as node,
    ):
        node.wait_state("online")
        assert node.session.stats.bd_seq == 1, "a CONNECT was sent"


def test_a_broker_that_freezes_is_noticed_and_nothing_is_missing(tmp_path: Path, broker: Broker) -> None:
    settings = replace(NODE, keepalive_s=1)
    with running_node(tmp_path, [broker.port], settings=settings) as node:
        node.wait_state("online")
        broker.freeze()
        number = 0
        while node.session.stats.state == "online":  # who keeps writing at QoS 0 must notice, too
            number += 1
            assert number < 200, "the silence was not noticed"
            node.follower.put(row(number, clock=CLOCK))
            pause(0.1)
        assert node.follower.position == 0
        broker.thaw()
        with host_at(broker.port) as host:
            node.wait_state("online")
            host.wait(lambda: set(range(1, number + 1)) <= set(host.sequences()), "everything")


def test_whoever_carries_commands_out_may_fail(tmp_path: Path, broker: Broker) -> None:
    with host_at(broker.port) as host, running_node(tmp_path, [broker.port]) as node:
        node.fail = True
        node.wait_state("online")
        ask(broker.port, "spBv1.0/plant/DCMD/box/top", written((commands.PAUSE, DataType.BOOLEAN, True)))
        host.wait(lambda: host.of(Kind.DDATA), "the answer")
        assert host.of(Kind.DDATA)[0].values["Command/LastStatus"] == 500
        assert node.session.stats.callback_errors == 1


def test_a_result_that_is_too_large_for_the_broker_is_refused_and_the_next_one_arrives(tmp_path: Path) -> None:
    with (
        Broker(config="max_packet_size 6000", persistent=False) as small,
        host_at(small.port) as host,
        running_node(tmp_path, [small.port]) as node,
    ):
        node.wait_state("online")
        node.follower.put(row(1, clock=CLOCK, reason="x" * 9000), row(2, clock=CLOCK))
        host.wait(lambda: host.sequences() == [2], "the next one")
        assert node.session.stats.refused == 1
    assert host.gaps() == []


def test_a_stop_in_the_middle_of_connecting_ends_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        started = time.monotonic()
        with running_node(tmp_path, [mute.getsockname()[1]]) as node:
            wait_until(lambda: node.session.stats.bd_seq is not None, what="the attempt")
        assert time.monotonic() - started < 10


def test_a_session_that_never_ran_gives_its_descriptor_back(tmp_path: Path) -> None:
    follower = MemoryFollower()
    node = Node(NodeSpec("plant", "box", ()))
    session = SparkplugSession(
        [MqttDial(NODE)], node, follower, BdSeq(tmp_path / "b"), CLOCK, on_command=lambda *_: None
    )
    session.close()
    session.close()
    follower.put(row(1))
