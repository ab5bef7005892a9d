"""The judge can condemn, and what a real daemon says is what is published: no more and no less."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from edge_runtime.publish.contract import catalogue
from edge_runtime.publish.contract.topics import TOPICS
from edge_runtime.publish.mqtt.client import MqttDial
from edge_runtime.publish.mqtt.link import Accepted, Outgoing
from edge_runtime.publish.mqtt.waker import Waker
from edge_runtime.publish.payload import Stamp, encode_result
from edge_runtime.system.service import Stop
from tests.brokers import Broker
from tests.daemons import DaemonProcess, line_config, wait_until
from tests.fakes.mqtt_client import send
from tests.fakes.publishing import QUICK
from tests.fakes.results import BOOT, IDENTITY, make_result
from tests.judge import Judge, Seen, Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROOT = "vision/plant/line/box"
COMMANDS = [topic for topic in TOPICS if topic.rooted and not topic.sent and not topic.optional]
MESSAGE = encode_result(make_result(1), IDENTITY, Stamp(1, BOOT))
MARK = b"\t=> "  # a topic comes
GOOD = Outgoing(IDENTITY.topic(MESSAGE.topic), MESSAGE.body, MESSAGE.headers)


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(MESSAGE.body), **fields}).encode()


def judged(message: Outgoing) -> list[str]:
    judge = Judge()
    judge.look(Seen.leaving(message))
    return judge.problems


def test_a_good_message_is_let_pass() -> None:
    assert judged(GOOD) == []
    assert judged(replace(GOOD, body=changed(weather="fine"))) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"topic": IDENTITY.topic("rumour/top")}, "no topic of the contract"),
        ({"topic": "vision/plant-a/line-3/box-18/result/top"}, "another box"),
        ({"qos": 0}, "QoS is 0"),
        ({"retain": True}, "retain is True"),
        ({"expiry_s": 5}, "expiry is 5"),
        ({"content_type": "text/plain"}, "content type is 'text/plain'"),
        ({"headers": ()}, "user property 'schema' is a required property"),
        ({"headers": (*MESSAGE.headers, ("id", "x"))}, "comes twice"),
        ({"headers": (*MESSAGE.headers[:-2], ("camera", "other"), MESSAGE.headers[-1])}, "the document says 'cam'"),
        ({"body": b"{"}, "not JSON"),
        ({"body": b"[]"}, "is not of type 'object'"),
        ({"body": changed(score=float("nan"))}, "NaN is not JSON"),
        ({"body": changed(evaluation="Good")}, "'Good' is not one of"),
        ({"body": changed(seq=0)}, "0 is less than the minimum of 1"),
        ({"body": changed(id="1")}, "does not match"),
    ],
)
def test_each_way_of_being_wrong_is_condemned(wrong: dict[str, Any], why: str) -> None:
    assert [problem for problem in judged(replace(GOOD, **wrong)) if why in problem]


def test_a_wrong_document_is_condemned_however_many_like_it_came_before() -> None:
    judge = Judge()
    for _ in range(3):
        judge.look(Seen.leaving(replace(GOOD, body=changed(seq=0))))
    assert len(judge.problems) == 3


@contextmanager
def link_to(broker: Broker) -> Iterator[Callable[[Outgoing], None]]:
    with closing(Waker()) as waker, closing(MqttDial(replace(QUICK, port=broker.port))(None)) as link:
        link.open(Stop(), clean=True)
        while not any(isinstance(happening, Accepted) for happening in link.happened()):
            link.pump(0.1, waker.descriptor)

        def publish(message: Outgoing) -> None:
            link.publish(message)
            link.pump(0.0, waker.descriptor)

        yield publish


@pytest.mark.other_messages
def test_what_a_test_sends_in_its_own_process_is_judged(what_is_sent_is_what_is_published: Judge) -> None:
    with Broker() as broker, link_to(broker) as publish:
        publish(GOOD)
        assert what_is_sent_is_what_is_published.problems == []
        publish(replace(GOOD, body=changed(seq=0)))
    assert "less than the minimum" in what_is_sent_is_what_is_published.problems[0]


def test_the_witness_at_a_broker_fails_the_test() -> None:
    with Broker() as broker, pytest.raises(AssertionError, match="is a required property"):
        witness_something_wrong(broker.port)


def witness_something_wrong(port: int) -> None:
    with Witness(port) as seen:
        seen.wait_subscribed()
        send(port, Outgoing(GOOD.topic, b"{}"))
        wait_until(lambda: seen.judge.judged["result"], 10, "the message arrives")


def listing(port: int, path: Path) -> subprocess.Popen[bytes]:
    """Start mosquitto's own client on everything; each message in ``path`` is MARK, topic and body."""
    command = ["mosquitto_sub", "-V", "5", "-h", "127.0.0.1", "-p", str(port), "-t", "#", "-F", f"{MARK.decode()}%t %p"]
    with path.open("wb") as out:
        return subprocess.Popen(command, stdout=out)


@pytest.mark.timeout(120)
def test_the_asyncapi_document_lists_exactly_the_topics_that_a_daemon_uses(tmp_path: Path) -> None:
    config = line_config(0, tmp_path / "state")
    config["inspections"]["top"]["trigger"] = "mqtt"
    topic = f"{ROOT}/cmd/trigger/top"
    seen_path = tmp_path / "seen"
    with Broker() as broker:
        config["mqtt"]["port"] = broker.port
        subscriber = listing(broker.port, seen_path)
        try:
            with DaemonProcess(tmp_path, config) as daemon:
                wait_until(lambda: daemon.status().get("ready", False), 40, "ready")
                send(broker.port, Outgoing(topic, b'{"partId":"P-1","correlationId":"c-1"}'))
                send(broker.port, Outgoing(topic, b"{not json"))
                wait_until(lambda: daemon.counters().get("inferred"), 20, "a verdict")
                send(broker.port, Outgoing(f"{ROOT}/cmd/snapshot/top", b'{"publish":true,"correlationId":"c-2"}'))
                wait_until(lambda: b"/image/top" in seen_path.read_bytes(), 20, "the picture")
                for command in COMMANDS:
                    send(broker.port, Outgoing(f"{ROOT}/{command.fixed}top", b"{}"))
                ask_for_the_configuration(broker.port, f"{ROOT}/reply/scada/one")
                wait_until(lambda: b"/reply/scada/one" in seen_path.read_bytes(), 20, "the answer")
                os.kill(daemon.child("camera/top") or 0, signal.SIGKILL)
                wait_until(lambda: b"camera.lost" in seen_path.read_bytes(), 20, "the event of the lost camera")
                documents = {name: _last(seen_path, name) for name in ("info", "metrics", "status")}
            wait_until(lambda: b'"reason":"shutdown"' in seen_path.read_bytes(), 10, "the farewell")
        finally:
            subscriber.terminate()
            subscriber.wait(10)
    seen = {line.partition(b" ")[0].decode() for line in _messages(seen_path)}
    command = [sys.executable, "-m", "edge_runtime", "contract", "asyncapi", "--config", str(daemon.config)]
    listed = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=20).stdout)["channels"]
    patterns = {name: _pattern(channel) for name, channel in listed.items()}
    used = {topic: [name for name, one in patterns.items() if one.fullmatch(topic)] for topic in seen}
    assert [topic for topic, names in used.items() if len(names) != 1] == []
    expected = {topic.name for topic in TOPICS if not topic.optional}
    assert {name for names in used.values() for name in names} == expected
    for name, document in documents.items():
        schema: Any = catalogue.schema(name)
        assert set(schema["properties"]) == set(document), name
        assert list(_undescribed(schema, document, name)) == []


def ask_for_the_configuration(port: int, answer: str) -> None:
    words = ["-t", f"{ROOT}/cmd/config.get", "-m", "{}", "-q", "1", "-D", "publish", "response-topic", answer]
    subprocess.run(["mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", str(port), *words], check=True, timeout=10)


def _pattern(channel: dict[str, Any]) -> re.Pattern[str]:
    """A channel's address as an expression: places take what their parameter allows."""
    parts = re.split(r"\{(\w+)\}", channel["address"])
    for index in range(1, len(parts), 2):
        allowed = channel["parameters"][parts[index]].get("enum")
        parts[index] = "(?:" + "|".join(map(re.escape, allowed)) + ")" if allowed else "[^/]+"
    parts[::2] = [re.escape(part) for part in parts[::2]]
    return re.compile("".join(parts))


def _undescribed(schema: Any, value: Any, where: str) -> Iterator[str]:
    """Name the fields of a document, however deep, of which its schema does not know."""
    schemas = [schema, *schema.get("anyOf", ())]
    if not isinstance(value, dict) or not any({"properties", "additionalProperties"} & set(one) for one in schemas):
        return
    for key, inside in value.items():
        found = [one["properties"][key] for one in schemas if key in one.get("properties", ())]
        found += [one["additionalProperties"] for one in schemas if "additionalProperties" in one]
        if not found:
            yield f"{where}/{key}"
        else:
            yield from _undescribed(found[0], inside, f"{where}/{key}")


def _messages(path: Path) -> list[bytes]:
    """Topic and body of each; a picture has line ends, too."""
    return [line.removeprefix(MARK) for line in path.read_bytes().splitlines() if line.startswith(MARK)]


def _last(path: Path, name: str) -> dict[str, Any]:
    lines = [line.partition(b" ") for line in _messages(path)]
    found: dict[str, Any] = json.loads(
        [body for topic, _, body in lines if topic.endswith(f"/box/{name}".encode())][-1]
    )
    return found


def contract(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_runtime", "contract", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)


def test_the_verb_prints_what_is_published() -> None:
    rows = json.loads(contract("list", "--json").stdout)
    assert [row["address"] for row in rows] == [topic.address for topic in TOPICS]
    lines = contract("list").stdout.splitlines()
    assert len(lines) == 1 + len(TOPICS)
    assert lines[3].split() == ["result/{inspection}", "box", "1", "no", "-", "result"]
    Draft202012Validator(json.loads(contract("schema", "result").stdout)).validate(json.loads(MESSAGE.body))
    assert json.loads(contract("asyncapi").stdout)["asyncapi"] == "3.0.0"


def test_an_unknown_document_is_a_usage_error_with_a_suggestion() -> None:
    done = contract("schema", "resutl")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean result?" in done.stderr
    assert "known: result, event" in contract("schema", "zzz").stderr


def test_neither_password_nor_model_is_needed_to_list_the_topics_of_a_box(tmp_path: Path) -> None:
    path = tmp_path / "edge.yaml"
    path.write_text(
        "version: 1\nsite: s\nedge: e\nmqtt: {host: 10.1.2.3, tls: true, password_file: nowhere, topic_root: acme/v}\n"
        "cameras: {top: {source: 'rtsp://10.0.0.5/x'}, side: {source: 'sim:bars'}}\nmodels: {d: {path: nowhere}}\n"
        "recipes: {a: {not_ok: [{label: x}]}}\n"
        "inspections: {top: {camera: top, model: d, recipe: a}, side: {camera: side, model: d}}\n"
    )
    document = json.loads(contract("asyncapi", "--config", str(path)).stdout)
    assert document["channels"]["result"]["address"] == "acme/v/s/line/e/result/{inspection}"
    assert document["channels"]["event"]["parameters"]["scope"]["enum"] == ["top", "side", "system"]
    assert document["servers"]["broker"]["protocol"] == "secure-mqtt"
    assert contract("asyncapi", "--config", str(tmp_path / "none.yaml")).returncode == 78


def test_the_verb_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from edge_runtime.cli import dispatch; dispatch(['contract', 'asyncapi']); "
        "print([m for m in ('pydantic', 'paho', 'numpy', 'cv2', 'yaml') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stderr == "[]\n"
