from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime.publish.mqtt.cloudevents import CloudEvents
from edge_runtime.publish.mqtt.link import Outgoing
from edge_runtime.publish.payload import Stamp, encode_result, encode_status
from tests.brokers import Broker
from tests.daemons import wait_until
from tests.fakes.publishing import QUICK, running_box
from tests.fakes.results import BOOT, IDENTITY, make_result
from tests.judge import CLOUDEVENTS, Judge, Seen, Witness

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.publish.mqtt.link import Inbound
    from edge_runtime.publish.payload import Message

DRESS = CloudEvents(IDENTITY, lambda: "made-id")


def outgoing(message: Message) -> Outgoing:
    return Outgoing(IDENTITY.topic(message.topic), message.body, message.headers)


def test_a_result_keeps_its_id_and_time() -> None:
    message = encode_result(make_result(1), IDENTITY, Stamp(1, BOOT))
    dressed = DRESS(outgoing(message))
    headers, ours = dict(dressed.headers), dict(message.headers)
    assert dressed.headers[: len(message.headers)] == message.headers
    assert {key: value for key, value in headers.items() if key not in ours} == {
        "specversion": "1.0",
        "type": "vision.result.v1",
        "source": "//plant-a/line-3/box-17",
        "subject": "result/top",
        "dataschema": "urn:edge-runtime:vision.result/1",
        "time": ours["ts"],
    }
    assert len(headers) == len(dressed.headers)


def test_a_will_has_a_made_id_and_no_time() -> None:
    will = encode_status(IDENTITY, BOOT, None, online=False, reason="connection-lost", fields={})
    headers = dict(DRESS(outgoing(will)).headers)
    assert headers["id"] == "made-id"
    assert "time" not in headers


def test_what_is_not_a_document_of_ours_stays_as_it_is() -> None:
    plain = Outgoing(IDENTITY.topic("image/top"), b"\xff", content_type=None)
    foreign = Outgoing("elsewhere/x", b"{}", (("schema", "vision.result/1"),))
    assert DRESS(plain) is plain
    assert DRESS(foreign) is foreign


def test_the_judge_wants_all_of_it_or_nothing() -> None:
    whole = DRESS(outgoing(encode_result(make_result(1), IDENTITY, Stamp(1, BOOT))))
    judge = Judge()
    judge.look(Seen.leaving(whole))
    assert judge.problems == []
    for name in sorted(CLOUDEVENTS):
        judge = Judge()
        judge.look(Seen.leaving(replace(whole, headers=tuple(pair for pair in whole.headers if pair[0] != name))))
        assert judge.problems, name


class Kept(Witness):
    """A witness that keeps the user properties."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.headers: dict[str, dict[str, str]] = {}

    def _take(self, message: Inbound) -> None:
        self.headers[message.topic.removeprefix(IDENTITY.topic(""))] = dict(message.headers)
        super()._take(message)


def test_every_message_at_a_broker_has_the_attributes_when_they_are_wished(tmp_path: Path) -> None:
    with Broker() as broker, Kept(broker.port) as seen:
        seen.wait_subscribed()
        with running_box(tmp_path, broker.port, replace(QUICK, cloudevents=True)) as box:
            box.put(2)
            box.publisher.set_info({})
            box.publisher.put_metrics({})
            wait_until(lambda: {"result/top", "latest/top", "info", "metrics", "status"} <= seen.headers.keys())
        for topic, headers in seen.headers.items():
            assert headers["source"] == "//plant-a/line-3/box-17", topic
            assert headers["id"], topic


def test_without_the_wish_nothing_is_added(tmp_path: Path) -> None:
    with Broker() as broker, Kept(broker.port) as seen:
        seen.wait_subscribed()
        with running_box(tmp_path, broker.port) as box:
            box.put()
            wait_until(lambda: "result/top" in seen.headers)
        assert not any(CLOUDEVENTS & headers.keys() for headers in seen.headers.values())
