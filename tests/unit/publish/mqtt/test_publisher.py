"""The publisher against a broker that a test scripts packet by packet."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.publish.mqtt import mutes, outbox, session, unheard
from edge_runtime.publish.mqtt import publisher as module
from edge_runtime.publish.mqtt.link import Outgoing
from edge_runtime.publish.spool import notices
from tests.daemons import wait_until
from tests.fakes.broker_packets import PacketBroker, Publish
from tests.fakes.publishing import QUICK, running_box
from tests.fakes.results import make_event

if TYPE_CHECKING:
    from pathlib import Path

ROOT = "vision/plant-a/line-3/box-17"


def seqs(broker: PacketBroker, topic_end: str = "/result/top") -> list[int]:
    return [json.loads(body)["seq"] for body in broker.bodies(topic_end)]


def hold_results(message: Publish) -> int | None:
    return None if "/result/" in message.topic else 0


def test_never_more_than_receive_maximum_is_in_flight_also_across_reconnects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """paho alone re-sends all 500 on the second connection (paho.mqtt.python#698)."""
    monkeypatch.setattr(session, "_PATIENCE_NS", 60_000_000_000)  # the window is to be full before silence is noticed
    with PacketBroker(receive_maximum=10, answer=hold_results) as broker, running_box(tmp_path, broker.port) as box:
        box.wait_online()
        broker.answer = lambda _message: 0
        box.put(50)
        box.wait_acked(50)
        broker.answer = hold_results
        box.put(500)
        for connection in range(1, 4):
            # a later connection starts with 1 and grows by what is answered, so any of its states may be seen here
            broker.wait(lambda b: len(b.peers[-1].unacked) >= (10 if len(b.peers) == 1 else 1))
            broker.drop()
            broker.wait(lambda b: len(b.peers) > connection)  # noqa: B023 - called in this turn only
        broker.answer = lambda _message: 0
        broker.drop()
        box.wait_acked(550)
        assert max(peer.most_unacked for peer in broker.peers) == 10
        distinct = list(dict.fromkeys(seqs(broker)))
        assert distinct == [*range(1, 551)]


def test_a_broker_that_falls_silent_is_given_no_more_until_it_answers(tmp_path: Path) -> None:
    """All that was sent into a silence arrives twice if the connection does not come back."""
    with PacketBroker(answer=lambda _message: 0) as broker, running_box(tmp_path, broker.port) as box:
        box.put(100)
        box.wait_acked(100)  # the window is wide open
        broker.answer = hold_results
        box.put(1)
        broker.wait(lambda b: bool(b.peers[0].unacked))
        threading.Event().wait(0.6)  # much longer than an answer takes here
        box.put(50)
        wait_until(lambda: box.spool.stats().depth == 51)
        assert len(broker.peers[0].unacked) == 1
        broker.answer = lambda _message: 0
        (held,) = broker.peers[0].unacked
        broker.ack(broker.peers[0], held, 0)
        box.wait_acked(151)
        assert seqs(broker) == [*range(1, 152)]


def test_an_answer_is_late_when_it_takes_much_longer_than_usual() -> None:
    one, ms = session.Session(link=None), 1_000_000  # type: ignore[arg-type]  # nothing is sent
    assert not one.silent(0)
    sent = session.Sent(Outgoing("t", b""), 0)
    one.heard(sent, 100 * ms)
    one.sent[1] = sent
    assert one.rtt_ns == 100 * ms
    assert not one.silent(400 * ms)
    assert one.silent(501 * ms)
    one.heard(sent, 20 * ms)
    assert one.rtt_ns == 90 * ms


def test_what_was_in_flight_is_sent_first_and_in_order_after_a_reconnect(tmp_path: Path) -> None:
    with PacketBroker(answer=hold_results) as broker, running_box(tmp_path, broker.port) as box:
        box.put(5)
        broker.wait(lambda b: bool(b.peers) and bool(b.peers[0].unacked))
        broker.answer = lambda _message: 0
        broker.drop()
        box.wait_acked(5)
        second = [json.loads(p.body)["seq"] for p in broker.publishes if p.connection == 1 and "/result/" in p.topic]
        assert second == [1, 2, 3, 4, 5]
        assert not any(p.dup for p in broker.publishes)


def test_a_broker_that_takes_but_never_answers_is_left_and_tried_again(tmp_path: Path) -> None:
    with PacketBroker(answer=hold_results) as broker, running_box(tmp_path, broker.port) as box:
        box.put(1)
        wait_until(lambda: "has not acknowledged a publish" in (box.publisher.stats.reason or ""))
        broker.answer = lambda _message: 0
        box.wait_acked(1)


def test_a_broker_that_never_answers_the_connect_is_left_and_tried_again(tmp_path: Path) -> None:
    with PacketBroker() as broker:
        broker.raw = b""
        with running_box(tmp_path, broker.port) as box:
            wait_until(lambda: "does not answer the connect" in (box.publisher.stats.reason or ""))
            box.put(1)
            box.wait_acked(1)


@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff\xff\xff\xff", b"\x20\x02\x00", b"\x20\x03\x00\x00\x05", b"HTTP/1.1 400 "]
)
def test_bytes_that_are_not_mqtt_end_the_connection_and_nothing_else(tmp_path: Path, raw: bytes) -> None:
    with PacketBroker() as broker:
        broker.raw = raw
        with running_box(tmp_path, broker.port) as box:
            box.put(1)
            broker.wait(lambda b: bool(b.peers))
            broker.drop()
            box.wait_acked(1)


def test_a_refusal_that_passes_costs_no_result(tmp_path: Path) -> None:
    """A broker refuses for a moment while it reads its access list anew."""
    codes = [0x87, 0x87]
    with (
        PacketBroker(answer=lambda m: codes.pop() if codes and "/result/" in m.topic else 0) as broker,
        running_box(tmp_path, broker.port) as box,
    ):
        box.put(60)
        box.wait_acked(60)
        assert box.spool.stats().refused == 0
        assert list(dict.fromkeys(seqs(broker))) == [*range(1, 61)]


def test_a_refused_result_becomes_a_dead_letter_and_its_topic_is_left_alone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutes, "PATIENCE_NS", 0)
    monkeypatch.setattr(notices, "REFUSED_EVERY_NS", 100_000_000)
    refused = {f"{ROOT}/result/top", f"{ROOT}/status"}
    with (
        PacketBroker(answer=lambda m: 0x87 if m.topic in refused else 0) as broker,
        running_box(tmp_path, broker.port) as box,
    ):
        box.put(10)
        wait_until(lambda: box.spool.stats().dead == 10)
        broker.wait(lambda b: bool(b.bodies("/event/top")))
        assert len(seqs(broker)) < 10
        (event,) = [json.loads(body) for body in broker.bodies("/event/top")][:1]
        assert event["kind"] == "spool.refused"
        assert event["fields"]["reason"] == "not authorized (135)"
        refused.clear()
        box.publisher._outbox._mutes.taken(f"{ROOT}/result/top")
        box.put(1)
        box.wait_acked(1)


def test_a_result_that_the_broker_cannot_read_is_a_dead_letter_and_the_next_one_is_sent(tmp_path: Path) -> None:
    with (
        PacketBroker(answer=lambda m: 0x99 if b'"frameId":1,' in m.body and "/result/" in m.topic else 0) as broker,
        running_box(tmp_path, broker.port) as box,
    ):
        box.put(3)
        box.wait_acked(2)
        assert box.spool.stats().dead == 1
        assert seqs(broker) == [1, 2, 3]


def test_nobody_listening_is_a_success_that_is_counted(tmp_path: Path) -> None:
    with PacketBroker(answer=lambda _message: 0x10) as broker, running_box(tmp_path, broker.port) as box:
        box.put(3)
        box.wait_acked(3)
        assert box.publisher.stats.no_subscribers == 3


def test_results_that_nobody_subscribes_to_wait_for_a_subscriber_and_hold_up_no_other_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unheard, "PROBE_NS", 50_000_000)
    deaf = {f"{ROOT}/result/top"}
    settings = replace(QUICK, require_subscriber=True)
    with (
        PacketBroker(answer=lambda m: 0x10 if m.topic in deaf else 0) as broker,
        running_box(tmp_path, broker.port, settings) as box,
    ):
        box.put(300)
        box.put(300, "bottom")
        box.spool.put(make_event(scope="top"))
        box.wait_acked(301)
        tried = len(seqs(broker))
        broker.wait(lambda b: len(seqs(b)) > tried + 3)
        assert set(seqs(broker)[tried:]) == {1}
        broker.drop()
        box.put(300)
        wait_until(lambda: box.publisher.stats.connects == 2)
        deaf.clear()
        box.wait_acked(901)
        assert [*dict.fromkeys(seqs(broker)[tried:])] == [*range(1, 601)]
        assert box.spool.stats().depth == 0


def test_what_waits_for_a_subscriber_is_there_for_the_next_run(tmp_path: Path) -> None:
    settings = replace(QUICK, require_subscriber=True)
    with PacketBroker(answer=lambda _message: 0x10) as broker, running_box(tmp_path, broker.port, settings) as box:
        box.put(50)
        broker.wait(lambda b: bool(seqs(b)))
    with PacketBroker() as broker, running_box(tmp_path, broker.port, settings) as box:
        box.wait_acked(50)
        assert seqs(broker) == [*range(1, 51)]


def test_a_probe_that_is_refused_for_another_reason_lets_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unheard, "PROBE_NS", 50_000_000)
    codes = [0x99, 0x10]
    settings = replace(QUICK, require_subscriber=True)
    with (
        PacketBroker(answer=lambda m: codes.pop() if codes and "/result/" in m.topic else 0) as broker,
        running_box(tmp_path, broker.port, settings) as box,
    ):
        box.put(20)
        wait_until(lambda: box.spool.stats().dead == 1)
        box.wait_acked(20)  # with the event about the other one


def test_a_broker_over_its_quota_gets_the_result_again_on_the_next_connection(tmp_path: Path) -> None:
    codes = [0x97]
    with (
        PacketBroker(answer=lambda m: codes.pop() if codes and "/result/" in m.topic else 0) as broker,
        running_box(tmp_path, broker.port) as box,
    ):
        box.put(3)
        box.wait_acked(3)
        assert len(broker.peers) == 2
        assert box.spool.stats().dead == 0


def test_what_is_larger_than_the_brokers_packets_is_not_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The result becomes a dead letter; as latest, and in the other documents, the same is only told."""
    with PacketBroker(packet_max=2000) as broker, running_box(tmp_path, broker.port) as box:
        box.publisher.set_info({"large": "x" * 2000})
        box.put(1)
        box.put(1, reason="x" * 2000)
        wait_until(lambda: box.spool.stats().dead == 1)
        wait_until(lambda: "/latest/top cannot be published" in caplog.text)
        box.put(1)
        broker.wait(lambda b: seqs(b, "/latest/top")[-1:] == [3] and len(seqs(b)) == 2)
        assert seqs(broker) == [1, 3]
        assert len(broker.peers) == 1
    assert caplog.text.count("/info cannot be published: packet too large for the broker: more than 2000 bytes") == 1


@pytest.mark.other_messages  # too long on purpose
def test_what_mqtt_itself_cannot_say_costs_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with PacketBroker() as broker, running_box(tmp_path, broker.port) as box:
        box.put(1, camera="x" * 70_000)
        box.publisher.post(Outgoing(f"{ROOT}/reply/1", b"{}", correlation=b"x" * 70_000))
        box.put(1)
        box.wait_acked(2)  # with the event about the other one
        wait_until(lambda: "/reply/1 cannot be published" in caplog.text)
        assert box.spool.stats().dead == 1


def test_a_result_that_exceeds_a_limit_which_the_broker_keeps_secret_is_the_only_dead_letter(tmp_path: Path) -> None:
    """So large a document is put aside for a while, or results would never have a turn."""
    with PacketBroker(packet_max=2000, announce_max=False) as broker, running_box(tmp_path, broker.port) as box:
        box.publisher.set_info({"large": "x" * 2000})
        box.put(30)
        box.put(1, reason="x" * 2000)
        box.put(30)
        box.wait_acked(61)  # with the event about the other one
        assert box.spool.stats().refused == 1
        assert [*dict.fromkeys(seqs(broker))] == [*range(1, 31), *range(32, 62)]


def test_metrics_that_exceed_a_secret_limit_cost_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no answer, so whatever is in flight beside them looks guilty."""
    monkeypatch.setattr(outbox, "ALONE_NS", 200_000_000)
    with PacketBroker(packet_max=2000, announce_max=False) as broker, running_box(tmp_path, broker.port) as box:
        for turn in range(3):
            box.publisher.put_metrics({"large": "x" * 2000})
            box.put(20)
            box.wait_acked(20 * (turn + 1))
            broker.wait(lambda b: len(b.peers) > turn + 1)  # noqa: B023 - called in this turn only
        assert box.spool.stats().refused == 0


def test_a_refused_connection_is_told_once_and_tried_slowly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with PacketBroker(connack=0x86) as broker, running_box(tmp_path, broker.port) as box:
        broker.wait(lambda b: len(b.peers) > 2)
        assert box.publisher.stats.state == "refused"
        broker.connack = 0
        box.wait_online()
    assert caplog.text.count("bad user name or password (134)") == 1


def test_a_session_that_another_client_took_over_is_said_in_plain_words(tmp_path: Path) -> None:
    with PacketBroker() as broker, running_box(tmp_path, broker.port) as box:
        box.wait_online()
        broker.raw = b"\xe0\x02\x8e\x00"  # DISCONNECT, session taken over
        box.put(1)
        wait_until(lambda: "another client with our client id" in (box.publisher.stats.reason or ""))


def test_the_latest_result_is_coalesced_and_does_not_hold_up_results(tmp_path: Path) -> None:
    with PacketBroker() as broker, running_box(tmp_path, broker.port) as box:
        box.wait_online()
        box.spool.put(make_event(scope="top"))
        box.put(300)
        box.wait_acked(301)
        broker.wait(lambda b: seqs(b, "/latest/top")[-1:] == [300])
        assert len(seqs(broker, "/latest/top")) < 100
        assert all(p.retain == ("/result/" not in p.topic and "/event/" not in p.topic) for p in broker.publishes)


def test_the_latest_result_goes_only_forwards_and_says_when_it_is_old(tmp_path: Path) -> None:
    """Two were in flight when the connection was cut: the older one must not replace the newer one."""
    settings = replace(QUICK, ack_timeout_s=60.0, historical_after_s=0.3)
    with (
        PacketBroker(answer=lambda m: None if "/latest/" in m.topic else 0) as broker,
        running_box(tmp_path, broker.port, settings) as box,
    ):
        box.wait_online()
        for count in (1, 2):
            box.put(1)
            broker.wait(lambda b: len(b.bodies("/latest/top")) == count)  # noqa: B023 - called in this turn only
        row_ns = box.clock.mono_ns()
        wait_until(lambda: box.clock.mono_ns() - row_ns > 400_000_000)
        broker.answer = lambda _message: 0
        broker.drop()
        box.put(1, "bottom")
        broker.wait(lambda b: bool(b.bodies("/latest/bottom")) and len(b.bodies("/latest/top")) > 2)
        again = [json.loads(body) for body in broker.bodies("/latest/top")[2:]]
        assert [(document["seq"], document["historical"]) for document in again] == [(2, True)]


@pytest.mark.parametrize("topic", ["status", "latest/top"])
def test_a_retained_document_that_was_refused_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    monkeypatch.setattr(mutes, "PAUSE_NS", 100_000_000)
    codes = [0x80, 0x87]
    with (
        PacketBroker(answer=lambda m: codes.pop() if codes and m.topic.endswith(topic) else 0) as broker,
        running_box(tmp_path, broker.port) as box,
    ):
        box.put(3)
        box.wait_acked(3)
        broker.wait(lambda b: len(b.bodies(topic)) == 3)
        assert len({*broker.bodies(topic)}) == 1
        assert len(broker.peers) == 1


@pytest.mark.other_messages  # a reply without content
def test_a_reply_that_was_refused_is_only_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reply = Outgoing(f"{ROOT}/reply/1", b"{}")
    with (
        PacketBroker(answer=lambda m: 0x87 if m.topic == reply.topic else 0) as broker,
        running_box(tmp_path, broker.port) as box,
    ):
        box.publisher.post(reply)
        wait_until(lambda: f"the broker refuses {reply.topic}: not authorized (135)" in caplog.text)
        box.put(1)
        box.wait_acked(1)
        assert len(broker.bodies("/reply/1")) == 1


def test_a_clean_stop_leaves_the_newest_result_as_the_latest(tmp_path: Path) -> None:
    with PacketBroker() as broker:
        with running_box(tmp_path, broker.port) as box:
            box.wait_online()
            for count in range(1, 6):
                box.put(1)
                box.wait_acked(count)
        assert seqs(broker, "/latest/top")[-1] == 5


def test_a_result_of_an_earlier_run_is_marked_historical(tmp_path: Path) -> None:
    with running_box(tmp_path, 1) as box:
        box.put(1)
        wait_until(lambda: box.spool.stats().committed == 1)
    with PacketBroker() as broker, running_box(tmp_path, broker.port) as box:
        box.put(1)
        box.wait_acked(2)
        assert [json.loads(body)["historical"] for body in broker.bodies("/result/top")] == [True, False]


def test_a_clean_stop_says_goodbye_after_the_last_result(tmp_path: Path) -> None:
    with PacketBroker() as broker:
        with running_box(tmp_path, broker.port) as box:
            box.wait_online()
            box.put(200)
        broker.wait(lambda b: b.peers[0].said_goodbye)
        assert seqs(broker) == [*range(1, 201)]
        last = json.loads(broker.publishes[-1].body)
        assert (last["state"], last["reason"]) == ("offline", "shutdown")


def test_a_clean_stop_leaves_nothing_to_send_again(tmp_path: Path) -> None:
    """The writer must not end before the sender has taken, and the broker has answered, what was put last."""
    with PacketBroker() as broker:
        for turn in range(1, 9):
            with running_box(tmp_path, broker.port) as box:
                box.wait_online()
                box.put(20)
            assert box.spool.stats().depth == 0
            assert len(seqs(broker)) == 20 * turn


def test_a_stop_does_not_wait_for_a_broker_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FLUSH_UNTIL_S", 3.8)
    settings = replace(QUICK, ack_timeout_s=60.0, window=1)
    with PacketBroker(answer=hold_results) as broker:
        with running_box(tmp_path, broker.port, settings) as box:
            box.put(3)
            broker.wait(lambda b: bool(b.peers) and bool(b.peers[0].unacked))
        assert not broker.peers[0].said_goodbye
    with PacketBroker() as broker, running_box(tmp_path, broker.port) as box:
        box.wait_acked(3)
        assert seqs(broker) == [1, 2, 3]


def test_documents_put_before_the_connection_are_published_with_it(tmp_path: Path) -> None:
    with PacketBroker() as broker, running_box(tmp_path, broker.port) as box:
        box.publisher.set_info({"a": 1})
        box.publisher.put_metrics({"fps": 1})
        broker.wait(lambda b: len(b.bodies("/info")) == 1 and len(b.bodies("/metrics")) == 1)


@pytest.mark.other_messages  # a reply without content
def test_without_commands_nothing_is_subscribed_and_without_a_callback_they_are_counted(tmp_path: Path) -> None:
    with PacketBroker() as broker:
        with running_box(tmp_path, broker.port, commands=()) as box:
            box.wait_online()
        assert broker.filters == []
        with running_box(tmp_path, broker.port) as box:
            box.wait_online()
            broker.wait(lambda b: b.filters == [f"{ROOT}/cmd/trigger/+"])
            topic = f"{ROOT}/cmd/trigger/top".encode()
            broker.raw = bytes([0x30, 3 + len(topic) + 2, 0, len(topic)]) + topic + b"\x00{}"
            box.publisher.post(Outgoing(f"{ROOT}/reply/x", b"{}", qos=0))
            wait_until(lambda: box.publisher.stats.commands == 1)


def test_a_refused_command_subscription_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with PacketBroker() as broker:
        broker.refuse_subscriptions = True
        with running_box(tmp_path, broker.port) as box:
            box.put(1)
            box.wait_acked(1)
    assert "the broker refuses our subscription to commands: not authorized (135)" in caplog.text


def test_a_publisher_that_never_ran_can_be_closed(tmp_path: Path) -> None:
    with running_box(tmp_path, 1) as box:
        pass
    box.publisher.close()
    box.publisher.set_status({})
    with pytest.raises(ValueError, match="cannot publish to topic"):
        box.publisher.post(Outgoing("a/#", b""))
