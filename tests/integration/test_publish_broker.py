"""Spool and publisher against a real mosquitto."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from edge_runtime.publish.contract import catalogue
from edge_runtime.publish.mqtt import mutes
from edge_runtime.publish.mqtt.client import MqttDial
from edge_runtime.publish.mqtt.link import Inbound, Outgoing
from edge_runtime.publish.mqtt.subscriber import Subscriber
from edge_runtime.publish.spool import notices
from edge_runtime.system.service import ServiceGroup, Stop
from tests.brokers import Broker, free_port
from tests.daemons import wait_until
from tests.fakes.mqtt_client import send
from tests.fakes.publishing import QUICK, listening, proving, running_box
from tests.fakes.results import make_event

if TYPE_CHECKING:
    from collections.abc import Iterator

BOX = "plant-a/line-3/box-17"
ROOT = f"vision/{BOX}"
STATUS = f"{ROOT}/status"


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as found:
        yield found


def validated(message: Inbound) -> dict[str, Any]:
    document = json.loads(message.payload)
    Draft202012Validator(catalogue.schema(document["schema"].split(".")[1].split("/")[0])).validate(document)
    return dict(document)


def states(messages: list[Inbound]) -> list[tuple[str, str | None]]:
    return [(d["state"], d["reason"]) for d in map(validated, list(messages))]


def test_results_and_events_arrive_complete_in_order_and_valid(tmp_path: Path, broker: Broker) -> None:
    with proving(broker.port) as prover, listening(broker.port, f"{ROOT}/#") as messages:
        with running_box(tmp_path, broker.port) as box:
            box.put(50)
            box.put(30, "bottom")
            box.spool.put(make_event(scope="top"))
            box.wait_acked(81)
            assert box.spool.stats().depth == 0
            wait_until(lambda: prover.proof().received == 80)
        proof = prover.proof()
        assert (proof.missing, proof.duplicates, proof.inversions, proof.conflicts) == (0, 0, 0, 0)
        assert prover.proof(f"{BOX}/event/top").received == 1
        result = next(m for m in messages if m.topic == f"{ROOT}/result/top")
        document = validated(result)
        for message in messages:
            validated(message)
        assert result.content_type == "application/json"
        assert dict(result.headers) == {k: document[k] for k in ("schema", "id", "evaluation", "camera", "ts")}


def test_status_goes_online_and_offline_with_its_reason(tmp_path: Path, broker: Broker) -> None:
    with listening(broker.port, STATUS) as messages, running_box(tmp_path, broker.port) as box:
        box.publisher.set_status({"version": "1.0", "cameras": {"top": "streaming"}})
        box.wait_online()
        box.publisher.set_status({"version": "1.1"})
        wait_until(lambda: any(b"1.1" in m.payload for m in messages))
        assert states(messages)[-1] == ("online", None)
    with listening(broker.port, STATUS) as messages:
        wait_until(lambda: len(messages) == 1)
        assert messages[0].retain
        assert states(messages) == [("offline", "shutdown")]


CHILD = """
import sys
from pathlib import Path
from edge_runtime.system.service import ServiceGroup
from tests.fakes.publishing import running_box
with running_box(Path(sys.argv[1]), int(sys.argv[2])) as box:
    box.wait_online()
    box.put(1)
    box.wait_acked(1)
    print("online", flush=True)
    sys.stdin.read()
"""


def test_after_kill_9_the_broker_says_that_the_box_vanished(tmp_path: Path, broker: Broker) -> None:
    with listening(broker.port, STATUS) as messages:
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path), str(broker.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "online\n"
            child.kill()
        wait_until(lambda: states(messages)[-1:] == [("offline", "connection-lost")])


def test_the_newest_result_is_retained_and_expires(tmp_path: Path, broker: Broker) -> None:
    with running_box(tmp_path, broker.port) as box:
        box.wait_online()
        box.put(20)
        box.wait_acked(20)
        with listening(broker.port, f"{ROOT}/latest/+") as messages:
            wait_until(lambda: any(validated(m)["seq"] == 20 for m in messages))
            assert messages[0].retain


@pytest.mark.other_messages  # a reply without content
def test_info_metrics_and_posted_messages_are_published(tmp_path: Path, broker: Broker) -> None:
    with listening(broker.port, f"{ROOT}/#") as messages, running_box(tmp_path, broker.port) as box:
        box.publisher.set_info({"cameras": ["top"]})
        box.wait_online()
        box.publisher.set_info({"cameras": ["top", "bottom"]})
        box.publisher.put_metrics({"fps": 10.0})
        assert box.publisher.post(Outgoing(f"{ROOT}/reply/1", b"{}", correlation=b"\x01"))
        wait_until(lambda: {m.topic.removeprefix(ROOT) for m in messages} >= {"/info", "/metrics", "/reply/1"})
        reply = next(m for m in messages if m.topic.endswith("/reply/1"))
        assert reply.correlation == b"\x01"


def test_a_trigger_reaches_the_callback_with_its_properties(tmp_path: Path, broker: Broker) -> None:
    commands: list[Inbound] = []
    with running_box(tmp_path, broker.port, on_command=commands.append) as box:
        box.wait_online()
        subprocess.run(
            [
                *("mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.port), "-V", "5", "-q", "1"),
                *("-t", f"{ROOT}/cmd/trigger/top", "-m", '{"partId":"P-1"}'),
                *("-D", "publish", "response-topic", f"{ROOT}/reply/x"),
                *("-D", "publish", "correlation-data", "abc"),
                *("-D", "publish", "user-property", "k", "v"),
            ],
            check=True,
        )
        wait_until(lambda: len(commands) == 1)
    (command,) = commands
    assert (command.topic, command.payload, command.qos) == (f"{ROOT}/cmd/trigger/top", b'{"partId":"P-1"}', 1)
    assert (command.response_topic, command.correlation) == (f"{ROOT}/reply/x", b"abc")
    assert command.headers == (("k", "v"),)
    assert not command.retain


def test_a_trigger_that_came_while_the_box_was_away_is_never_executed(tmp_path: Path, broker: Broker) -> None:
    """The broker has kept the session, and with it the trigger, for a part that has long gone by."""
    commands: list[Inbound] = []
    with running_box(tmp_path, broker.port) as box:
        box.wait_online()
        box.put(1)
        box.wait_acked(1)
    send(broker.port, Outgoing(f"{ROOT}/cmd/trigger/top", b'{"partId":"P-0"}'))
    with running_box(tmp_path, broker.port, on_command=commands.append) as box:
        box.put(1)
        box.wait_acked(1)  # the subscription was answered before that
        send(broker.port, Outgoing(f"{ROOT}/cmd/trigger/top", b'{"partId":"P-1"}'))
        wait_until(lambda: bool(commands))
    assert [command.payload for command in commands] == [b'{"partId":"P-1"}']


def test_a_command_callback_that_raises_does_not_stop_the_results(
    tmp_path: Path, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_message: Inbound) -> None:
        msg = "a bug in the callback"
        raise RuntimeError(msg)

    with running_box(tmp_path, broker.port, on_command=broken) as box:
        box.wait_online()
        subprocess.run(
            ["mosquitto_pub", "-p", str(broker.port), "-t", f"{ROOT}/cmd/trigger/top", "-m", "x", "-q", "1"],
            check=True,
        )
        wait_until(lambda: box.publisher.stats.callback_errors == 1)
        box.put(10)
        box.wait_acked(10)
    assert "a bug in the callback" in caplog.text


def test_neither_side_of_the_connection_waits_for_more_to_send(broker: Broker) -> None:
    """With Nagle's algorithm on either side an acknowledgement took 32 ms at 30 results a second, not 0.5."""
    waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    link = MqttDial(replace(QUICK, port=broker.port, client_id="prompt"))(None)
    try:
        link.open(Stop(), clean=True)
        link.pump(1.0, waker)
        sock = link._sock
        assert sock is not None
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1
    finally:
        link.close()
        os.close(waker)


def test_a_broker_that_is_down_at_the_start_is_found_when_it_comes(tmp_path: Path) -> None:
    port = free_port()
    with running_box(tmp_path, port) as box:
        box.put(20)
        wait_until(lambda: box.publisher.stats.reason is not None)
        assert "cannot connect to the broker" in (box.publisher.stats.reason or "")
        with Broker(port), proving(port) as prover:
            wait_until(lambda: prover.proof().distinct == 20, timeout_s=10.0)
            assert prover.proof().complete


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_nothing_is_missing_after_the_broker_went_away_and_came_back(tmp_path: Path, broker: Broker, how: str) -> None:
    with proving(broker.port) as prover, running_box(tmp_path, broker.port) as box:
        box.wait_online()
        box.put(50)
        box.wait_acked(50)
        getattr(broker, how)()
        box.put(50)
        broker.start()
        box.put(50)
        box.wait_acked(150)
        wait_until(lambda: prover.last(f"{BOX}/result/top") == 150)
    proof = prover.proof()
    if how == "stop":  # a killed broker forgets what it acknowledged in the last second: not ours to prove
        assert (proof.missing, proof.inversions, proof.conflicts) == (0, 0, 0)


def test_a_frozen_broker_is_noticed_and_nothing_is_missing(tmp_path: Path, broker: Broker) -> None:
    with proving(broker.port) as prover, running_box(tmp_path, broker.port) as box:
        box.wait_online()
        box.put(10)
        box.wait_acked(10)
        broker.freeze()
        box.put(10)
        wait_until(lambda: box.publisher.stats.state == "connecting")
        broker.thaw()
        box.wait_acked(20)
        wait_until(lambda: prover.proof().distinct == 20)
        assert prover.proof().complete


def test_refused_topics_become_dead_letters_with_an_event_and_the_others_flow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status topic is refused too; this broker cuts the connection with every refusal."""
    monkeypatch.setattr(mutes, "PATIENCE_NS", 0)
    monkeypatch.setattr(notices, "REFUSED_EVERY_NS", 100_000_000)
    acl = "topic read #\ntopic write vision/+/+/+/result/bottom\ntopic write vision/+/+/+/event/#\n"
    config = "acl_file {dir}/acl"
    with Broker(config=config, files={"acl": acl}) as broker, proving(broker.port) as prover:
        with running_box(tmp_path, broker.port) as box:
            for _ in range(10):
                box.put(1, "top")
                box.put(1, "bottom")
            wait_until(lambda: box.spool.stats().dead == 10)
            wait_until(lambda: prover.proof(f"{BOX}/event/top").received >= 1)
            wait_until(lambda: prover.proof(f"{BOX}/result/bottom").distinct == 10)
            wait_until(lambda: box.spool.stats().depth == 0)
        assert prover.proof(f"{BOX}/result/bottom").complete
    assert caplog.text.count(f"the broker refuses {ROOT}/result/top: not authorized (135)") == 1


def test_what_is_too_large_for_the_broker_does_not_stop_the_rest(tmp_path: Path) -> None:
    with Broker(config="max_packet_size 2000") as broker, proving(broker.port) as prover:
        with running_box(tmp_path, broker.port) as box:
            box.publisher.set_info({"large": "x" * 3000})
            box.put(1)
            box.put(1, reason="x" * 2500)
            box.put(1)
            box.wait_acked(2)
            wait_until(lambda: box.spool.stats().dead == 1)
            assert box.publisher.stats.connects == 1
            wait_until(lambda: prover.proof().declared == 1)
        assert prover.proof().complete


def test_a_wrong_password_is_said_in_plain_words_and_mended_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = "password_file {dir}/passwords"
    with Broker(config=config, anonymous=False, files={"passwords": ""}) as broker:
        settings = replace(QUICK, username="box", password="secret")
        with running_box(tmp_path, broker.port, settings) as box:
            box.put(1)
            wait_until(lambda: box.publisher.stats.state == "refused")
            assert "the broker refuses us: not authorized (135)" in (box.publisher.stats.reason or "")
            subprocess.run(
                ["mosquitto_passwd", "-b", str(broker.directory / "passwords"), "box", "secret"],
                check=True,
                capture_output=True,
            )
            broker.reload()
            box.wait_acked(1)
    assert "secret" not in caplog.text
    assert caplog.text.count("the broker refuses us") == 1


def test_a_subscriber_says_why_it_is_not_subscribed(broker: Broker) -> None:
    port = free_port()
    subscriber = Subscriber(MqttDial(replace(QUICK, port=port)), ["#"], lambda _message: None)
    with ServiceGroup() as group:
        group.start(subscriber)
        wait_until(lambda: subscriber.reason is not None)
        assert "cannot connect" in (subscriber.reason or "")
    with listening(broker.port, "#") as messages:
        broker.restart()
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-t", "a", "-m", "x", "-r"], check=True)
        wait_until(lambda: any(m.topic == "a" for m in messages))


def test_messages_that_are_no_documents_are_counted_by_the_prover(broker: Broker) -> None:
    with proving(broker.port) as prover:
        for text in ("not json", "[]", '{"schema":"vision.result/1"}'):
            subprocess.run(
                ["mosquitto_pub", "-p", str(broker.port), "-t", f"{ROOT}/result/top", "-m", text, "-q", "1"], check=True
            )
        wait_until(lambda: prover.unreadable == 3)
