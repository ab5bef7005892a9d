"""A conversation as it should be, made by hand: the observer must not complain about it, and mutants start from it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_runtime.publish.sparkplug.schema import payload_class
from tests.sparkplug.recording import (
    Accepted,
    Closed,
    Connect,
    Disconnect,
    Event,
    Mark,
    Publish,
    Seen,
    Subscribe,
    Will,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "scada"
DEVICES = ("top", "side")
START_MS = 1_764_174_000_000


class Script:
    """Writes the events of one node down, a second apart."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.now = START_MS
        self._connection = 0
        self._server = 0
        self._bd = -1
        self._seq = 0
        self._count = 0

    def packet(self, packet: Any, *, up: bool = True) -> None:
        self.now += 1000
        self.events.append(Seen(self._connection, self._server, up, packet, self.now))

    def connect(self, server: int = 0) -> None:
        self._connection += 1
        self._server = server
        self._bd = (self._bd + 1) % 256
        will = Will("spBv1.0/plant/NDEATH/box", self._death(), 1, retain=False)
        self.packet(Connect(5, "box", clean_start=True, session_expiry_s=0, will=will))
        self.packet(Accepted(0), up=False)
        filters = (("spBv1.0/plant/NCMD/box", 1), ("spBv1.0/plant/DCMD/box/+", 1), (f"spBv1.0/STATE/{HOST}", 1))
        self.packet(Subscribe(filters))

    def state(self, *, online: bool, time_ms: int) -> None:
        body = json.dumps({"online": online, "timestamp": time_ms}).encode()
        self.packet(Publish(f"spBv1.0/STATE/{HOST}", body, 1, retain=True), up=False)

    def births(self, devices: tuple[str, ...] = DEVICES) -> None:
        message = self._message(0)
        self._metric(message, "bdSeq", datatype=4, long_value=self._bd)
        self._metric(message, "Node Control/Rebirth", datatype=11, boolean_value=False)
        self._metric(message, "Properties/Vendor", datatype=12, string_value="we")
        self._metric(message, "Outbox/Depth", datatype=8, long_value=self._count)
        self._send("NBIRTH/box", message)
        for device in devices:
            self.device(device)

    def device(self, device: str) -> None:
        message = self._message()
        quality = self._metric(message, "Inspection/Score", datatype=10, double_value=0.5).properties
        quality.keys.append("Quality")
        quality.values.add(type=3, int_value=192)
        self._metric(message, "Inspection/PartId", datatype=12, is_null=True)
        self._metric(message, "Inspection/Sequence", datatype=8, long_value=self._count)
        self._send(f"DBIRTH/box/{device}", message)

    def result(self, device: str, *, historical: bool = False) -> None:
        self._count += 1
        message = self._message()
        if historical:
            self._metric(message, "Inspection/Sequence", long_value=1, is_historical=True).timestamp -= 60_000
        self._metric(message, "Inspection/Sequence", long_value=self._count)
        score = self._metric(message, "Inspection/Score", double_value=0.25).properties
        score.keys.append("Quality")
        score.values.add(type=3, int_value=500)
        if not historical:
            self.events.append(Mark("changed", device, "Inspection/Sequence"))
        self._send(f"DDATA/box/{device}", message)

    def depth(self) -> None:
        self._count += 1
        message = self._message()
        self._metric(message, "Outbox/Depth", long_value=self._count)
        self.events.append(Mark("changed", "", "Outbox/Depth"))
        self._send("NDATA/box", message)

    def lose(self, device: str) -> None:
        self.events.append(Mark("lost", device))
        self._send(f"DDEATH/box/{device}", self._message())

    def find(self, device: str) -> None:
        self.events.append(Mark("back", device))
        self.device(device)

    def rebirth(self) -> None:
        message = payload_class()(timestamp=self.now)
        message.metrics.add(name="Node Control/Rebirth", datatype=11, boolean_value=True)
        self.packet(Publish("spBv1.0/plant/NCMD/box", message.SerializeToString()), up=False)

    def leave(self) -> None:
        self.packet(Publish("spBv1.0/plant/NDEATH/box", self._death()))
        self.packet(Disconnect(4))
        self.packet(Closed())

    def mark(self, kind: str) -> None:
        self.events.append(Mark(kind))

    def _death(self) -> bytes:
        message = payload_class()(timestamp=self.now)
        message.metrics.add(name="bdSeq", datatype=4, long_value=self._bd, timestamp=self.now)
        data: bytes = message.SerializeToString()
        return data

    def _message(self, seq: int | None = None) -> Any:
        self._seq = (self._seq + 1) % 256 if seq is None else seq
        return payload_class()(timestamp=self.now, seq=self._seq)

    def _metric(self, message: Any, name: str, **fields: Any) -> Any:
        return message.metrics.add(name=name, timestamp=self.now, **fields)

    def _send(self, end: str, message: Any) -> None:
        kind, rest = end.split("/", 1)
        self.packet(Publish(f"spBv1.0/plant/{kind}/{rest}", message.SerializeToString()))


def good(results: int = 3) -> list[Event]:
    """Return a conversation through everything: rebirth, death of a device, primary host offline, crash, goodbye.

    Args:
        results: of the last connection; from 254 on ``seq`` goes from 255 to 0.
    """
    script = Script()
    script.connect()
    script.state(online=True, time_ms=100)
    script.births()
    script.result("top")
    script.depth()
    script.result("side", historical=True)
    script.lose("side")
    script.result("top")
    script.find("side")
    script.rebirth()
    script.births()
    script.result("top")
    script.state(online=False, time_ms=50)  # older than what it knows: to be ignored
    script.result("side")
    script.mark("end")
    script.state(online=False, time_ms=200)
    script.leave()
    script.connect(server=1)
    script.state(online=True, time_ms=300)
    script.births()
    script.packet(Closed())  # a crash
    script.connect(server=1)
    script.state(online=True, time_ms=300)
    script.births()
    for _ in range(results):
        script.result("top")
    script.mark("stop")
    script.leave()
    script.mark("end")
    return script.events


def find(events: list[Event], kind: str, nth: int = 0, *, up: bool = True) -> int:
    """Return where the ``nth`` message of a kind is; a packet type's name finds other packets."""
    places = [
        at
        for at, event in enumerate(events)
        if isinstance(event, Seen)
        and event.up is up
        and (
            type(event.packet).__name__ == kind
            or (isinstance(event.packet, Publish) and event.packet.topic.split("/")[1:3].count(kind))
        )
    ]
    return places[nth]


def change(events: list[Event], at: int, **fields: Any) -> list[Event]:
    """Return the conversation with other fields in the packet at a place."""
    event = events[at]
    assert isinstance(event, Seen)
    return [*events[:at], replace(event, packet=replace(event.packet, **fields)), *events[at + 1 :]]  # type: ignore[type-var]


def payload(events: list[Event], at: int, edit: Callable[[Any], object]) -> list[Event]:
    """Return the conversation with another payload in the message at a place."""
    event = events[at]
    assert isinstance(event, Seen)
    assert isinstance(event.packet, Publish)
    message = payload_class().FromString(event.packet.body)
    edit(message)
    return change(events, at, body=message.SerializeToString())


def will(events: list[Event], edit: Callable[[Any], object], nth: int = 0) -> list[Event]:
    """Return the conversation with another payload in the Will of a CONNECT."""
    at = find(events, "Connect", nth)
    event = events[at]
    assert isinstance(event, Seen)
    assert isinstance(event.packet, Connect)
    assert event.packet.will is not None
    message = payload_class().FromString(event.packet.will.body)
    edit(message)
    return change(events, at, will=replace(event.packet.will, body=message.SerializeToString()))


def without(events: list[Event], *places: int) -> list[Event]:
    """Return the conversation with some events left out."""
    return [event for at, event in enumerate(events) if at not in places]


def moved(events: list[Event], source: int, target: int) -> list[Event]:
    """Return the conversation with one event elsewhere; its time goes with it."""
    rest = without(events, source)
    return [*rest[:target], events[source], *rest[target:]]
