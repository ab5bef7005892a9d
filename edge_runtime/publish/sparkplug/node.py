"""The edge node of Sparkplug B 3.0 as a state machine: what it hears goes in, what it says comes out.

Pure: no clock, thread or connection; ``session`` gives it all three. Sections are those of the specification.

Legal order: ``will`` -> ``accepted`` -> ``subscribed`` -> (a valid STATE, with a primary host) -> born -> anything ->
``leave`` or the end of the connection -> ``will`` of the next one. Before it is born nothing but the subscription is
sent (5.4), after it every message of node and devices has the next ``seq`` (6.4.5).
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from edge_runtime.core.command import Status
from edge_runtime.core.errors import DataError
from edge_runtime.publish.sparkplug import commands, mapping, topics
from edge_runtime.publish.sparkplug.device import LAST_ID, LAST_MESSAGE, LAST_STATUS, Device, answer_points
from edge_runtime.publish.sparkplug.host import HostIs, PrimaryHost
from edge_runtime.publish.sparkplug.payload import (
    SEQ_END,
    DataType,
    Metric,
    Payload,
    Quality,
    encode,
    quality,
)
from edge_runtime.publish.sparkplug.points import Board, Point, batches
from edge_runtime.publish.sparkplug.spoken import Ask, Leave, Refused, Send, Subscribe
from edge_runtime.publish.sparkplug.topics import Kind, Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_runtime.core.command import Answer
    from edge_runtime.publish.sparkplug.commands import Order
    from edge_runtime.publish.sparkplug.spoken import Action, NodeSpec, Now
    from edge_runtime.publish.sparkplug.values import Scalar

BDSEQ = "bdSeq"
REBIRTH_PAUSE_NS = 1_000_000_000  # one birth per second at most, however often it is asked for
HOST_PATIENCE_NS = 10_000_000_000  # without a word of the primary host, if there is another server to try
HISTORY_METRICS_MAX = 500
HISTORY_BYTES_MAX = 60 * 1024  # of 64 KB, the rest is for what surrounds the metrics
_REFUSED = 0x80  # reason codes of a SUBACK from here on (MQTT 5.0, 3.9.3)
_MESSAGE_MAX = 256
_UNTOLD_MAX = 1024


class Phase(Enum):
    """Where a connection stands."""

    OFFLINE = "offline"
    JOINING = "joining"
    WAITING = "waiting"  # for the primary host
    BORN = "born"
    LEFT = "left"


class Node:
    """See the module docstring. One thread."""

    def __init__(self, spec: NodeSpec) -> None:
        """Be ``spec``; every metric that will ever be sent is decided here (topics-nbirth-metrics)."""
        self.spec = spec
        self.phase = Phase.OFFLINE
        self.bd_seq = 0
        self._seq = 0
        self._host = PrimaryHost()
        self._packet_max: int | None = None
        self._joined_ns = 0
        self._born_ns: int | None = None  # since when the last birth stands; survives reconnects
        self._rebirth = False  # asked for, not yet done: no DATA until then
        self._untold: deque[tuple[str | None, str, int, str]] = deque(maxlen=_UNTOLD_MAX)  # answers for after it
        self._devices = {device.id: Device(device, spec) for device in spec.devices}
        self._board = Board(
            [
                Point(BDSEQ, DataType.INT64, 0, 0),
                *(Point(name, kind, value=False, timestamp_ms=0) for name, kind in commands.NODE_METRICS.items()),
                *(Point(f"Properties/{n}", DataType.STRING, v, 0) for n, v in (spec.properties or {}).items()),
                *(Point(name, DataType.UINT64, 0, 0) for name in spec.gauges),
                *answer_points(),
            ]
        )

    # --- a connection

    def will(self, bd_seq: int, now: Now) -> Send:
        """Begin a connection: return its Will (6.4.20)."""
        self.phase = Phase.JOINING
        self.bd_seq = bd_seq
        self._host = PrimaryHost()
        self._rebirth = False
        self._board.set(BDSEQ, bd_seq, now.utc_ms)
        return self._death(now)

    def accepted(self, packet_max: int | None, now: Now) -> list[Action]:
        """The broker let us in; it takes packets of at most ``packet_max`` bytes."""
        self._packet_max = packet_max
        self._joined_ns = now.mono_ns
        spec = self.spec
        filters = [str(Topic(Kind.NCMD, spec.group, spec.node))]
        if spec.commands:
            filters.append(topics.command_filter(spec.group, spec.node))
        if spec.primary_host is not None:
            filters.append(topics.state_topic(spec.primary_host))
        return [Subscribe(tuple(filters))]

    def subscribed(self, codes: Sequence[int], now: Now) -> list[Action]:
        """The broker answered the subscription: be born, or wait for the primary host."""
        refused: list[Action] = [
            Refused(f"the broker refuses a subscription ({code})") for code in codes if code >= _REFUSED
        ]
        if self.phase is not Phase.JOINING:
            return refused
        self.phase = Phase.WAITING
        if self.spec.primary_host is None or self._host.state is HostIs.ONLINE:
            return [*refused, *self._birth(now)]
        return refused

    def disconnected(self) -> None:
        """The connection ended."""
        self.phase = Phase.OFFLINE

    def leave(self, reason: str, now: Now) -> list[Action]:
        """End the connection on purpose: the devices die with the node, which publishes its NDEATH first (6.4.20)."""
        dying = [d for d in self._devices.values() if not d.dead] if self.phase is Phase.BORN else []
        actions = [action for device in dying for action in self._bury(device, now)]
        self.phase = Phase.LEFT
        return [*actions, self._death(now), Leave(reason)]

    def tick(self, now: Now) -> list[Action]:
        """Do what is due: a birth that was put off, a device whose camera stayed away, a host that never spoke."""
        if self.phase is Phase.BORN:
            if self._rebirth and self._may_be_born(now):
                return self._birth(now)
            due = [d for d in self._devices.values() if not d.dead and d.is_down(now.mono_ns)]
            return [action for device in due for action in self._bury(device, now)]
        patient = now.mono_ns - self._joined_ns <= HOST_PATIENCE_NS
        if self.phase is Phase.WAITING and self.spec.servers > 1 and not patient:
            return self.leave(f"primary host {self.spec.primary_host} does not say that it is online", now)
        return []

    # --- what comes in

    def received(self, topic: str, body: bytes, now: Now, *, retained: bool) -> list[Action]:
        """A message came."""
        if self.spec.primary_host is not None and topic == topics.state_topic(self.spec.primary_host):
            return self._state(body, now)
        try:
            about = topics.parse(topic)
        except DataError as error:
            return [Refused(error.message)]
        if retained or self.phase is not Phase.BORN:
            why = "a retained command is an old wish" if retained else "a command before the birth"
            return [Refused(f"{topic}: {why} and is not executed")]
        return self._command(about.device, topic, body, now)

    def _command(self, device_id: str | None, topic: str, body: bytes, now: Now) -> list[Action]:
        try:
            if device_id is None:
                return self._node_command(body, now)
            return self._device_command(device_id, topic, body, now)
        except commands.RefusedError as error:
            command_id = commands.correlation_id(topic, body, now.mono_ns)
            told = self._tell(device_id, command_id, error.status, error.message, now)
            return [Refused(f"{topic}: {error.message}"), *told]

    def _state(self, body: bytes, now: Now) -> list[Action]:
        try:
            believed = self._host.hear(topics.decode_state(body))
        except DataError as error:
            return [Refused(error.message)]
        if not believed:
            return []
        if self._host.state is HostIs.ONLINE:
            return self._birth(now) if self.phase is Phase.WAITING else []
        # walking makes sense before the birth only if there is somewhere to go
        if self.phase is Phase.BORN or (self.phase in (Phase.JOINING, Phase.WAITING) and self.spec.servers > 1):
            return self.leave(f"primary host {self.spec.primary_host} is offline", now)
        return []

    def _node_command(self, body: bytes, now: Now) -> list[Action]:
        buttons = commands.node_buttons(body)
        if commands.NEXT_SERVER in buttons:
            return self.leave("a host asked for the next server", now)
        if commands.REBIRTH in buttons:
            self._rebirth = True
            return self.tick(now)
        return []

    def _device_command(self, device_id: str, topic: str, body: bytes, now: Now) -> list[Action]:
        device = self._devices.get(device_id)
        if not self.spec.commands:
            raise commands.RefusedError(Status.FORBIDDEN, "devices take no commands here")
        if device is None:
            raise commands.RefusedError(Status.UNKNOWN, f"there is no device {device_id[:64]}")
        command_id = commands.correlation_id(topic, body, now.mono_ns)
        orders = commands.device_orders(device_id, body, command_id, triggered=device.spec.triggered)
        return [Ask(order) for order in orders]

    def answered(self, order: Order, answer: Answer, now: Now) -> list[Action]:
        """An order has its answer: hosts read it from metrics, because Sparkplug has no replies."""
        return self._tell(order.device, order.correlation_id, answer.status, answer.message, now)

    def setup(self, device_id: str, name: str, value: bool | str, now: Now) -> list[Action]:  # noqa: FBT001 - a value
        """Take what an inspection is set to, whoever set it: ``commands.PAUSE`` or ``commands.RECIPE``."""
        device = self._devices.get(device_id)
        return self._change(device, name, value, now) if device is not None else []

    # --- what goes out

    def speaks(self, device_id: str | None = None) -> bool:
        """Whether DATA of the node, or of a device, may be sent now."""
        if self.phase is not Phase.BORN or self._rebirth:
            return False
        return device_id is None or not self._devices[device_id].dead

    def has(self, device_id: str) -> bool:
        """Whether there is such a device."""
        return device_id in self._devices

    def result(self, device_id: str, points: Sequence[Point], now: Now) -> list[Action]:
        """Take the newest result: one DDATA with what changed; before the birth it is kept for that."""
        changed = self._devices[device_id].board.update(points)
        if not changed or not self.speaks(device_id):
            return []
        return self._data(Kind.DDATA, device_id, changed, now)

    def history(self, device_id: str, results: Sequence[Sequence[Point]], now: Now) -> list[Action]:
        """Send older results whole, each metric marked historical with the time of its capture, in batches.

        Each ``Refused`` is about one result.
        """
        limit = HISTORY_BYTES_MAX if self._packet_max is None else min(HISTORY_BYTES_MAX, self._packet_max - 1024)
        actions: list[Action] = []
        for batch in batches(results, metrics_max=HISTORY_METRICS_MAX, bytes_max=limit):
            message = self._past(device_id, batch, now)
            alone = isinstance(message, Refused) and len(batch) > 1  # one of them spoils it
            actions += [self._past(device_id, [one], now) for one in batch] if alone else [message]
        return actions

    def _past(self, device_id: str, results: Sequence[Sequence[Point]], now: Now) -> Send | Refused:
        metrics = [point.metric(historical=True) for points in results for point in points]
        return self._message(Kind.DDATA, device_id, metrics, now)

    def gauge(self, values: Mapping[str, int], now: Now) -> list[Action]:
        """Take whole numbers of the node's own; one NDATA with what changed."""
        changed = [point for name, value in values.items() for point in self._board.set(name, value, now.utc_ms)]
        return self._data(Kind.NDATA, None, changed, now) if changed and self.speaks() else []

    def camera(self, camera: str, state: str, now: Now) -> list[Action]:
        """A camera changed its state: its devices die with it, a moment later, and are born again."""
        actions: list[Action] = []
        for device in self._devices.values():
            if device.spec.camera != camera or state == "connecting":
                continue
            online = state == "streaming"
            if not online:
                actions += self._change(device, mapping.CAMERA_ONLINE, value=False, now=now)
                device.down_ns = None if state == "ended" else (device.down_ns or now.mono_ns)
                continue
            device.down_ns = None
            if device.dead:
                device.dead = False
                device.board.set(mapping.CAMERA_ONLINE, value=True, timestamp_ms=now.utc_ms)
                actions += self._device_birth(device, now) if self.speaks() else []
            else:
                actions += self._change(device, mapping.CAMERA_ONLINE, value=True, now=now)
        return actions

    # --- births and deaths

    def _may_be_born(self, now: Now) -> bool:
        return self._born_ns is None or now.mono_ns - self._born_ns >= REBIRTH_PAUSE_NS

    def _birth(self, now: Now) -> list[Action]:
        """NBIRTH with seq 0, then a DBIRTH for each device that lives, in the order of the configuration (6.4.22)."""
        self._rebirth = False
        self._born_ns = now.mono_ns
        self._seq = 0
        birth = self._message(Kind.NBIRTH, None, _told(self._board, now), now)
        if isinstance(birth, Refused):  # without it nothing else means anything
            return [birth, *self.leave(birth.reason, now)]
        self.phase = Phase.BORN
        actions: list[Action] = [birth]
        for device in self._devices.values():
            device.dead = device.is_down(now.mono_ns)
            if not device.dead:
                actions += self._device_birth(device, now)
        untold, self._untold = list(self._untold), deque(maxlen=_UNTOLD_MAX)
        return actions + [action for told in untold for action in self._tell(*told, now)]

    def _device_birth(self, device: Device, now: Now) -> list[Action]:
        """Return the DBIRTH, without long texts if it is too large otherwise; no data follows one that was refused."""
        metrics = _told(device.board, now)
        birth = self._message(Kind.DBIRTH, device.spec.id, metrics, now)
        if isinstance(birth, Refused):
            birth = self._message(Kind.DBIRTH, device.spec.id, [_shortened(metric) for metric in metrics], now)
            device.board.untell(point for point in device.board.all() if _is_long(point.value))
        device.dead = isinstance(birth, Refused)
        return [birth]

    def _bury(self, device: Device, now: Now) -> list[Action]:
        device.dead = True
        return [self._message(Kind.DDEATH, device.spec.id, [], now)]

    def _death(self, now: Now) -> Send:
        """NDEATH: bdSeq alone and no seq (topics-ndeath-payload, topics-ndeath-seq)."""
        metric = Metric(BDSEQ, DataType.INT64, self.bd_seq, now.utc_ms)
        topic = Topic(Kind.NDEATH, self.spec.group, self.spec.node)
        return Send(Kind.NDEATH, str(topic), encode(Payload(now.utc_ms, (metric,))))

    # --- messages

    def _change(self, device: Device, name: str, value: bool | str, now: Now) -> list[Action]:  # noqa: FBT001 - a value
        if name not in device.board:
            return []
        changed = device.board.set(name, value, now.utc_ms)
        speaks = changed and self.speaks(device.spec.id)
        return self._data(Kind.DDATA, device.spec.id, changed, now) if speaks else []

    def _tell(self, device_id: str | None, command_id: str, status: int, message: str, now: Now) -> list[Action]:
        """Say how a command ended, on its device if that can speak, else on the node."""
        device = self._devices.get(device_id) if device_id is not None else None
        if not self.speaks():
            self._untold.append((device_id, command_id, status, message))
            return []
        own = device if device is not None and LAST_ID in device.board and self.speaks(device.spec.id) else None
        board = self._board if own is None else own.board
        values: dict[str, Scalar] = {
            LAST_ID: command_id,
            LAST_STATUS: int(status),
            LAST_MESSAGE: message[:_MESSAGE_MAX],
        }
        kind = Kind.NDATA if own is None else Kind.DDATA
        return self._data(kind, None if own is None else own.spec.id, board.force(values, now.utc_ms), now)

    def _data(self, kind: Kind, device_id: str | None, points: Sequence[Point], now: Now) -> list[Action]:
        message = self._message(kind, device_id, [point.metric() for point in points], now)
        if isinstance(message, Refused):
            (self._board if device_id is None else self._devices[device_id].board).untell(points)
        return [message]

    def _message(self, kind: Kind, device_id: str | None, metrics: Sequence[Metric], now: Now) -> Send | Refused:
        """Return a message with the next seq; one that the broker would not take costs none."""
        topic = str(Topic(kind, self.spec.group, self.spec.node, device_id))
        births = kind in (Kind.NBIRTH, Kind.DBIRTH)
        try:
            payload = Payload(now.utc_ms, tuple(metrics), self._seq)
            body = encode(payload, datatypes=births or self.spec.datatypes)
        except DataError as error:
            return Refused(f"{topic} cannot be sent: {error.message}")
        if self._packet_max is not None and len(body) + len(topic) + 16 > self._packet_max:
            return Refused(f"{topic}: {len(body)} bytes, the broker takes packets of {self._packet_max}")
        self._seq = (self._seq + 1) % SEQ_END
        return Send(kind, topic, body)


def _shortened(metric: Metric) -> Metric:
    """Return a metric without its value if that is a long text: null and of bad quality, but born."""
    return replace(metric, value=None, properties=quality(Quality.BAD)) if _is_long(metric.value) else metric


def _is_long(value: object) -> bool:
    return isinstance(value, str) and len(value) > _MESSAGE_MAX


def _told(board: Board, now: Now) -> list[Metric]:
    """Return everything on ``board`` in the order of its time (operational-behavior-data-publish-dbirth-order).

    What never changed has the time of this birth.
    """
    points = [point if point.timestamp_ms else replace(point, timestamp_ms=now.utc_ms) for point in board.all()]
    return [point.metric() for point in sorted(points, key=lambda point: point.timestamp_ms)]
