"""Judges every message that the product sends by the published contract; nobody has to remember to ask.

``tests/conftest.py`` has it look at what leaves through ``MqttLink`` in the test's own process, ``Witness`` at what a
broker gets from a daemon in another one. A message must be on a topic of the table, with its QoS, retain flag, expiry,
content type and user properties, and its document must validate. Big streams: topic, properties and JSON of every
message are checked, and the document of each one whose shape (keys, types, words, the pattern of other texts, signs of
numbers) is new, and of every 16th.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from jsonschema import Draft202012Validator

from edge_runtime.publish.contract import catalogue
from edge_runtime.publish.contract.generate import schema_of
from edge_runtime.publish.contract.topics import TOPICS, Topic
from edge_runtime.publish.mqtt.client import MqttDial, MqttSettings
from edge_runtime.publish.mqtt.subscriber import Subscriber
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.publish.mqtt.link import Inbound, Outgoing

EVERY = 16
CLOUDEVENTS = frozenset({"specversion", "type", "source", "subject", "dataschema", "time"})
PROBLEMS_MAX = 20
_ROWS = [(topic, topic.pattern) for topic in TOPICS]
_WORD = re.compile(r"[A-Za-z.]{0,24}")  # may be one of a list
_HEX, _LETTERS = re.compile(r"[0-9a-f]+"), re.compile(r"[A-Zg-z]+")


@dataclass(frozen=True, slots=True)
class Seen:
    """One message. ``passed_on``: by a broker, who may have counted down its expiry."""

    topic: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    qos: int
    retain: bool
    expiry_s: int | None
    content_type: str | None
    passed_on: bool = False

    @classmethod
    def leaving(cls, message: Outgoing) -> Self:
        """What is about to be sent."""
        return cls(
            message.topic,
            message.body,
            message.headers,
            message.qos,
            message.retain,
            message.expiry_s,
            message.content_type,
        )

    @classmethod
    def arriving(cls, message: Inbound) -> Self:
        """What a broker sent us."""
        return cls(
            message.topic,
            message.payload,
            message.headers,
            message.qos,
            message.retain,
            message.expiry_s,
            message.content_type,
            passed_on=True,
        )


class Judge:
    """Collects what is wrong; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.problems: list[str] = []
        self.judged: Counter[str] = Counter()  # by name of the topic

    def look(self, message: Seen) -> None:
        """Take one message."""
        rows = _rows(message.topic)
        found = [_problems(message, row) for row in rows] if rows else [["is no topic of the contract"]]
        best = min(found, key=len)
        with self._lock:
            self.judged[rows[found.index(best)].name if rows else "?"] += 1
            if best and len(self.problems) < PROBLEMS_MAX:
                self.problems.append(f"{message.topic}: {'; '.join(best)}: {message.body[:400]!r}")


class Witness:
    """Subscribes to everything at a broker and judges it; a block, which fails at its end when something was wrong."""

    def __init__(self, port: int, judge: Judge | None = None, *, strangers: tuple[str, ...] = ()) -> None:
        """Leave topics that begin with one of ``strangers`` alone: somebody else talks there."""
        self._strangers = strangers
        self.judge = judge or Judge()
        self.topics: set[str] = set()
        self._settings = MqttSettings("127.0.0.1", port, client_id=f"witness-{id(self)}", session_expiry_s=0)
        self._group = ServiceGroup()

    def __enter__(self) -> Self:
        self._subscriber = Subscriber(MqttDial(self._settings), ["#"], self._take)
        self._group.__enter__()
        self._group.start(self._subscriber)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._group.__exit__(None, None, None)
        if kind is None:
            assert not self.judge.problems, "\n".join(self.judge.problems)

    def wait_subscribed(self, timeout_s: float = 10.0) -> None:
        """Wait until nothing is missed any more."""
        assert self._subscriber.wait_subscribed(timeout_s)

    def _take(self, message: Inbound) -> None:
        if message.topic.startswith(self._strangers):
            return
        self.topics.add(message.topic)
        self.judge.look(Seen.arriving(message))


@cache
def _rows(topic: str) -> list[Topic]:
    return [row for row, pattern in _ROWS if pattern.fullmatch(topic)]


def _problems(message: Seen, row: Topic) -> list[str]:
    if not row.sent:
        return []  # what tests send to the box may be wrong on purpose
    problems = [
        f"{name} is {found!r}, expected {expected!r}"
        for name, found, expected in (
            ("QoS", message.qos, row.will_qos if message.qos == row.will_qos else row.qos),
            ("retain", message.retain, row.retain),
            ("content type", message.content_type, row.content_type),
        )
        if found != expected
    ]
    if not _expires_right(message, row.expiry_s):
        problems.append(f"expiry is {message.expiry_s!r}, expected {row.expiry_s!r}")
    if row.document is not None:
        problems += _body_problems(message, row, row.document)
    return problems


def _expires_right(message: Seen, expected: int | str | None) -> bool:
    if isinstance(expected, str):
        return True
    if message.passed_on and expected is not None:
        return message.expiry_s is not None and message.expiry_s <= expected
    return message.expiry_s == expected


def _body_problems(message: Seen, row: Topic, name: str) -> list[str]:
    try:
        document = json.loads(message.body, parse_constant=_no_constant)
    except ValueError as error:
        return [f"is not JSON: {error}"]
    problems = _invalid(name, document)
    if problems or not isinstance(document, dict):
        return problems or ["is no object"]
    levels = message.topic.split("/")[: -1 - row.address.count("/")][-3:]
    if levels != [document["site"], document["line"], document["edge"]]:
        problems.append(f"speaks for another box than {levels}")
    headers = dict(message.headers)
    if len(headers) != len(message.headers):
        problems.append("a user property comes twice")
    problems += [f"user property {error.message}" for error in _headers_validator(row).iter_errors(headers)]
    problems += _cloudevents_problems(message, headers)
    problems += [
        f"user property {key} is {value!r}, the document says {document[key]!r}"
        for key, value in headers.items()
        if key in document and str(document[key]) != value
    ]
    return problems


def _cloudevents_problems(message: Seen, headers: Mapping[str, str]) -> list[str]:
    """All of CloudEvents or nothing; the MQTT binding says which properties there are."""
    if not CLOUDEVENTS & headers.keys():
        return []
    schema = headers.get("schema", "")
    expected = {
        "specversion": "1.0",
        "type": schema.replace("/", ".v"),
        "dataschema": catalogue.schema(schema.split("/")[0].removeprefix("vision."))["$id"],
        "time": headers.get("ts"),
        "subject": message.topic.partition(headers.get("source", "//")[1:] + "/")[2],
    }
    found = [
        f"CloudEvents {key} is {headers.get(key)!r}" for key, value in expected.items() if headers.get(key) != value
    ]
    return found + (["CloudEvents id is missing"] if not headers.get("id") else [])


_known: dict[tuple[str, Any], int] = {}  # how often a shape was seen, in the whole run


def _invalid(name: str, document: Any) -> list[str]:
    key = (name, _shape(document))
    _known[key] = count = _known.get(key, 0) + 1
    if count % EVERY != 1:
        return []
    errors = _validator(name).iter_errors(document)
    problems = [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]
    if problems:
        _known[key] = 0  # each like it is looked at, too
    return problems


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _shape(inside)) for key, inside in value.items())
    if isinstance(value, list):
        return (min(len(value), 5), *sorted({repr(_shape(inside)) for inside in value}))
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else _LETTERS.sub("x", _HEX.sub("0", value))[:80]
    if isinstance(value, bool) or value is None:
        return value
    return type(value).__name__, (value > 0) - (value < 0), value > 1


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(catalogue.schema(name))


@cache
def _headers_validator(row: Topic) -> Draft202012Validator:
    schema: Mapping[str, object] = schema_of(row.headers, "headers")
    return Draft202012Validator(schema)


def _no_constant(text: str) -> float:
    msg = f"{text} is not JSON"
    raise ValueError(msg)
