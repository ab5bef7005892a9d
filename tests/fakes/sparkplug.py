"""A Sparkplug node that runs for the length of a ``with`` block, and a host that counts what arrives."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edge_runtime.publish.mqtt.client import MqttDial, MqttSettings
from edge_runtime.publish.mqtt.subscriber import Subscriber
from edge_runtime.publish.sparkplug.bdseq import BdSeq
from edge_runtime.publish.sparkplug.node import Node
from edge_runtime.publish.sparkplug.payload import Metric, Payload, decode, encode
from edge_runtime.publish.sparkplug.session import SparkplugSession
from edge_runtime.publish.sparkplug.spoken import DeviceSpec, NodeSpec
from edge_runtime.publish.sparkplug.topics import Kind, parse
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.service import ServiceGroup
from tests.daemons import wait_until
from tests.fakes.following import MemoryFollower
from tests.fakes.publishing import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge_runtime.core.command import Command, Reply
    from edge_runtime.publish.mqtt.link import Inbound
    from edge_runtime.publish.sparkplug.topics import Topic

DEVICES = (DeviceSpec("top", "cam", triggered=True), DeviceSpec("side", "cam2", triggered=False))
NODE = replace(QUICK, client_id="box-sparkplug", session_expiry_s=0, will_delay_s=0)


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of a node."""

    topic: Topic
    payload: Payload
    retain: bool
    qos: int

    @property
    def kind(self) -> Kind:
        return self.topic.kind

    @property
    def values(self) -> dict[str | None, Any]:
        return {metric.name: metric.value for metric in self.payload.metrics}


@dataclass(slots=True)
class Host:
    """Everything that was heard, in order; checks seq and bdSeq as a host application does."""

    messages: list[Heard] = field(default_factory=list)
    unreadable: int = 0

    def take(self, message: Inbound) -> None:
        try:
            heard = Heard(parse(message.topic), decode(message.payload), message.retain, message.qos)
        except Exception:  # noqa: BLE001 - whatever it is, a test will look at the count
            self.unreadable += 1
            return
        if heard.kind not in (Kind.NCMD, Kind.DCMD):
            self.messages.append(heard)

    def of(self, *kinds: Kind, device: str | None = None) -> list[Heard]:
        return [m for m in list(self.messages) if m.kind in kinds and device in (None, m.topic.device)]

    @property
    def births(self) -> list[int]:
        """The bdSeq of every NBIRTH."""
        return [m.values["bdSeq"] for m in self.of(Kind.NBIRTH)]

    @property
    def deaths(self) -> list[int]:
        """The bdSeq of every NDEATH."""
        return [m.values["bdSeq"] for m in self.of(Kind.NDEATH)]

    def gaps(self) -> list[tuple[int, int]]:
        """Return (expected, found) wherever seq is not one more than before; an NBIRTH begins with 0 anew."""
        found, expected = [], 0
        for message in list(self.messages):
            seq = message.payload.seq
            if message.kind is Kind.NDEATH:
                continue
            if message.kind is Kind.NBIRTH:
                expected = 0
            if seq != expected:
                found.append((expected, seq if seq is not None else -1))
            expected = ((seq or 0) + 1) % 256
        return found

    def sequences(self, device: str = "top", *, historical: bool | None = None) -> list[int]:
        """Return every Inspection/Sequence in DDATA; and in births that are newer than it."""
        return [
            metric.value  # type: ignore[misc]  # UInt64
            for message in self.of(Kind.DDATA, Kind.DBIRTH, device=device)
            for metric in message.payload.metrics
            if metric.name == "Inspection/Sequence"
            and metric.value is not None
            and historical in (None, metric.is_historical)
        ]

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
        wait_until(lambda: bool(condition()), timeout_s, what)


@contextmanager
def host_at(port: int, client_id: str = "host") -> Iterator[Host]:
    """A host application that only listens; keeps its session over broker restarts."""
    host = Host()
    settings = MqttSettings("127.0.0.1", port, client_id=client_id, connect_timeout_s=1.0, session_expiry_s=0)
    with ServiceGroup() as group:
        subscriber = Subscriber(MqttDial(settings), ["spBv1.0/#"], host.take)
        group.start(subscriber)
        assert subscriber.wait_subscribed(10.0)
        yield host


class RunningNode:
    """A session in a thread, its follower and what it was asked."""

    def __init__(self, session: SparkplugSession, follower: MemoryFollower, asked: list[tuple[Command, Reply]]) -> None:
        self.session = session
        self.follower = follower
        self.asked = asked
        self.fail = False  # whether whoever carries commands out raises

    def wait_state(self, state: str) -> None:
        wait_until(lambda: self.session.stats.state == state, what=f"state {state}")


@contextmanager
def running_node(
    directory: Path,
    ports: Sequence[int],
    follower: MemoryFollower | None = None,
    settings: MqttSettings = NODE,
    **fields: Any,
) -> Iterator[RunningNode]:
    spec = NodeSpec(**({"group": "plant", "node": "box", "devices": DEVICES, "servers": len(ports)} | fields))
    follower = follower or MemoryFollower()
    asked: list[tuple[Command, Reply]] = []

    def carry_out(command: Command, reply: Reply) -> None:
        if running.fail:
            msg = "nobody is here"
            raise RuntimeError(msg)
        asked.append((command, reply))

    with ServiceGroup() as group:
        session = SparkplugSession(
            [MqttDial(replace(settings, port=port)) for port in ports],
            Node(spec),
            follower,
            BdSeq(directory / "bdseq.json"),
            SystemClock(),
            on_command=carry_out,
            gauges=lambda: dict.fromkeys(spec.gauges, 0),
        )
        running = RunningNode(session, follower, asked)
        group.start(session)
        try:
            yield running
        finally:
            assert group.failures == ()


def written(*metrics: tuple[str, Any, Any], timestamp_ms: int | None = 5) -> bytes:
    """The body of a command."""
    return encode(Payload(timestamp_ms, tuple(Metric(name, kind, value) for name, kind, value in metrics)))


pause = threading.Event().wait
