"""Judges a recorded conversation against the normative ids of Sparkplug 3.0 that concern an edge node.

A passive observer with its own reading of the specification: it knows topics, MQTT packets and raw protobuf fields,
and nothing of our encoder or node. ``judge`` returns for every id how often it was met and how it was broken; an id
that is in neither had no occasion. The reasons for ids that have no rule here are in ``not_applicable.py``.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from edge_runtime.publish.sparkplug.schema import payload_class
from tests.sparkplug.recording import Accepted, Closed, Connect, Disconnect, Mark, Publish, Seen, Subscribe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.sparkplug.recording import Event

NODE_KINDS = {"NBIRTH", "NDATA", "NDEATH", "NCMD"}
DEVICE_KINDS = {"DBIRTH", "DDATA", "DDEATH", "DCMD"}
REBIRTH = "Node Control/Rebirth"
BOOLEAN, INT32, INT64 = 11, 3, 4
DATATYPES = range(1, 35)
PROPERTY_TYPES = {*range(1, 15), 20, 21}
IN_FLIGHT_MS = 250  # what had left the node before it could have read what we saw on its way to it
CLOCK_MS = 60_000  # how far two clocks of one box may be apart in a test
EPOCH_MS = 1_500_000_000_000  # no box of ours has a clock that is this late
WITH_WILL = 0x04

_QOS = {
    "NBIRTH": ("tck-id-payloads-nbirth-qos", "tck-id-message-flow-edge-node-birth-publish-nbirth-qos"),
    "NDATA": ("tck-id-payloads-ndata-qos",),
    "DBIRTH": ("tck-id-payloads-dbirth-qos", "tck-id-message-flow-device-birth-publish-dbirth-qos"),
    "DDATA": ("tck-id-payloads-ddata-qos",),
}
_RETAIN = {
    "NBIRTH": ("tck-id-payloads-nbirth-retain", "tck-id-message-flow-edge-node-birth-publish-nbirth-retained"),
    "NDATA": ("tck-id-payloads-ndata-retain",),
    "DBIRTH": ("tck-id-payloads-dbirth-retain", "tck-id-message-flow-device-birth-publish-dbirth-retained"),
    "DDATA": ("tck-id-payloads-ddata-retain",),
}
_MQTT = {
    "NBIRTH": ("tck-id-topics-nbirth-mqtt",),
    "NDATA": ("tck-id-topics-ndata-mqtt",),
    "DBIRTH": ("tck-id-topics-dbirth-mqtt",),
    "DDATA": ("tck-id-topics-ddata-mqtt",),
    "DDEATH": ("tck-id-topics-ddeath-mqtt",),
}
_TOPIC = {
    "NBIRTH": ("tck-id-topics-nbirth-topic", "tck-id-message-flow-edge-node-birth-publish-nbirth-topic"),
    "NDATA": ("tck-id-topics-ndata-topic",),
    "NDEATH": ("tck-id-topics-ndeath-topic",),
    "DBIRTH": ("tck-id-topics-dbirth-topic", "tck-id-message-flow-device-birth-publish-dbirth-topic"),
    "DDATA": ("tck-id-topics-ddata-topic",),
    "DDEATH": ("tck-id-topics-ddeath-topic",),
}
_PROTOBUF = {
    "NBIRTH": ("tck-id-message-flow-edge-node-birth-publish-nbirth-payload",),
    "DBIRTH": ("tck-id-message-flow-device-birth-publish-dbirth-payload",),
}
_TIMESTAMP = {
    "NBIRTH": ("tck-id-topics-nbirth-timestamp", "tck-id-payloads-nbirth-timestamp"),
    "NDATA": ("tck-id-topics-ndata-timestamp", "tck-id-payloads-ndata-timestamp"),
    "DBIRTH": ("tck-id-topics-dbirth-timestamp", "tck-id-payloads-dbirth-timestamp"),
    "DDATA": ("tck-id-topics-ddata-timestamp", "tck-id-payloads-ddata-timestamp"),
    "DDEATH": ("tck-id-payloads-ddeath-timestamp",),
}
_SEQ_PRESENT = {
    "NBIRTH": ("tck-id-payloads-sequence-num-req-nbirth",),
    "NDATA": ("tck-id-payloads-ndata-seq",),
    "DBIRTH": ("tck-id-payloads-dbirth-seq",),
    "DDATA": ("tck-id-payloads-ddata-seq",),
    "DDEATH": ("tck-id-payloads-ddeath-seq",),
}
_SEQ_NEXT = {
    "NBIRTH": (
        "tck-id-topics-nbirth-seq-num",
        "tck-id-payloads-nbirth-seq",
        "tck-id-message-flow-edge-node-birth-publish-nbirth-payload-seq",
    ),
    "NDATA": ("tck-id-topics-ndata-seq-num", "tck-id-payloads-ndata-seq-inc"),
    "DBIRTH": (
        "tck-id-topics-dbirth-seq",
        "tck-id-payloads-dbirth-seq-inc",
        "tck-id-message-flow-device-birth-publish-dbirth-payload-seq",
    ),
    "DDATA": ("tck-id-topics-ddata-seq-num", "tck-id-payloads-ddata-seq-inc"),
    "DDEATH": (
        "tck-id-topics-ddeath-seq-num",
        "tck-id-payloads-ddeath-seq-inc",
        "tck-id-payloads-ddeath-seq-number",
    ),
}
_METRICS = {
    "NBIRTH": ("tck-id-topics-nbirth-metrics",),
    "DBIRTH": ("tck-id-topics-dbirth-metrics",),
}
_VALUES = {
    "NBIRTH": ("tck-id-operational-behavior-data-publish-nbirth-values",),
    "DBIRTH": ("tck-id-operational-behavior-data-publish-dbirth-values",),
}
_ORDER = {
    "N": ("tck-id-operational-behavior-data-publish-nbirth-order",),
    "D": ("tck-id-operational-behavior-data-publish-dbirth-order",),
}
_DECLARED = {
    "N": ("tck-id-operational-behavior-data-publish-nbirth", "tck-id-topics-nbirth-metric-reqs"),
    "D": ("tck-id-operational-behavior-data-publish-dbirth", "tck-id-topics-dbirth-metric-reqs"),
}
_CHANGE = {
    "N": ("tck-id-operational-behavior-data-publish-nbirth-change", "tck-id-principles-rbe-recommended"),
    "D": ("tck-id-operational-behavior-data-publish-dbirth-change", "tck-id-principles-rbe-recommended"),
}
_CARRIES = {"N": ("tck-id-topics-ndata-payload",), "D": ("tck-id-topics-ddata-payload",)}
_BIRTHS_FIRST = {"N": ("tck-id-payloads-ndata-order",), "D": ("tck-id-payloads-ddata-order",)}
_HOST_OFFLINE = (
    "tck-id-message-flow-edge-node-birth-publish-phid-offline",
    "tck-id-operational-behavior-edge-node-termination-host-offline",
)
_ASSOCIATED = "tck-id-topic-structure-namespace-device-id-associated-message-types"
_NOT_ASSOCIATED = "tck-id-topic-structure-namespace-device-id-non-associated-message-types"
_IDS = {  # level of a topic -> what holds for the id there
    1: (
        "tck-id-intro-group-id-chars",
        "tck-id-intro-group-id-string",
        "tck-id-topic-structure-namespace-valid-group-id",
    ),
    3: (
        "tck-id-intro-edge-node-id-chars",
        "tck-id-intro-edge-node-id-string",
        "tck-id-topic-structure-namespace-valid-edge-node-id",
    ),
    4: (
        "tck-id-intro-device-id-chars",
        "tck-id-intro-device-id-string",
        "tck-id-topic-structure-namespace-valid-device-id",
    ),
}


@dataclass
class Report:
    """What the observer found: ids that were met (how often) and ids that were broken (how)."""

    met: Counter[str] = field(default_factory=Counter)
    broken: dict[str, list[str]] = field(default_factory=dict)
    unused: set[str] = field(default_factory=set)

    def check(self, good: object, detail: str, *ids: str) -> bool:
        """Note one occasion of ``ids``."""
        for one in ids:
            if good:
                self.meet(one)
            else:
                self.breach(detail, one)
        return bool(good)

    def meet(self, *ids: str) -> None:
        """Note that ``ids`` were met."""
        self.met.update(ids)

    def breach(self, detail: str, *ids: str) -> None:
        """Note that ``ids`` were broken."""
        for one in ids:
            self.broken.setdefault(one, []).append(detail)


@dataclass
class _Session:
    """One connection of the node."""

    number: int
    server: int
    bd_seq: int | None
    filters: dict[str, int] = field(default_factory=dict)
    born: bool = False
    seq: int = 0
    data: bool = False  # any NDATA or DDATA since NBIRTH
    declared: dict[str, set[str]] = field(default_factory=dict)  # place -> names; place "" is the node
    values: dict[tuple[str, str], object] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    owed: set[str] = field(default_factory=set)  # devices that a rebirth has still to bear
    rebirth_ms: int | None = None
    heard: bool = False  # any STATE of the primary host
    online_naive: bool = False  # as the last STATE says, whatever its time
    online: bool = False
    state_ms: int = -1
    leave_ms: int | None = None  # when the primary host went offline
    stay: bool = False  # an outdated offline was the last word
    died: bool = False  # NDEATH was published
    goodbye: bool = False
    open: bool = True


def judge(
    events: Iterable[Event],
    *,
    primary_host: str | None = None,
    writable: bool = True,
    servers: int = 1,
    fresh: bool = True,
) -> Report:
    """Return the verdict on a conversation.

    Args:
        events: what was recorded, in order.
        primary_host: the one the node is configured to wait for.
        writable: whether its devices take commands.
        servers: how many brokers it is configured with.
        fresh: whether the node had no state before, so that bdSeq starts at 0.
    """
    observer = _Observer(primary_host, writable=writable, servers=servers, fresh=fresh)
    for event in events:
        if isinstance(event, Mark):
            observer.mark(event)
        else:
            observer.seen(event)
    observer.finish()
    return observer.report


class _Observer:
    def __init__(self, primary_host: str | None, *, writable: bool, servers: int, fresh: bool) -> None:
        self.report = Report()
        self._check = self.report.check
        self._meet = self.report.meet
        self._broken = self.report.breach
        self._host_topic = None if primary_host is None else f"spBv1.0/STATE/{primary_host}"
        self._writable = writable
        self._servers = servers
        self._fresh = fresh
        self._sessions: dict[int, _Session] = {}
        self._last_bd: int | None = None
        self._last: _Session | None = None
        self._identity: tuple[str, str] | None = None
        self._lost: set[str] = set()
        self._back: set[str] = set()
        self._expected: set[tuple[str, str]] = set()
        self._devices: set[str] = set()
        self._left_for_host: _Session | None = None

    # --- what the test did

    def mark(self, mark: Mark) -> None:
        if mark.kind == "lost":
            self._lost.add(mark.place)
        elif mark.kind == "back":
            self._back.add(mark.place)
        elif mark.kind == "changed":
            self._expected.add((mark.place, mark.what))
        elif mark.kind == "stop" and self._last is not None:
            self._stayed(self._last)
        else:
            self.finish()

    def finish(self) -> None:
        """Settle what should have come by now."""
        for device in self._lost:
            self._broken(f"no DDEATH of {device}", "tck-id-operational-behavior-device-ddeath")
        self._lost.clear()
        for place, name in self._expected:
            ids = _CARRIES["D" if place else "N"]
            self._broken(f"the change of {name} of {place or 'the node'} was not told", *ids)
        self._expected.clear()
        for session in self._sessions.values():
            if session.open and session.rebirth_ms is not None:
                self._broken("no NBIRTH after a request", "tck-id-operational-behavior-data-commands-rebirth-action-2")
                session.rebirth_ms = None
            self._settle_births(session)
            if session.open and session.leave_ms is not None:
                self._broken("stays although its primary host is offline", *_HOST_OFFLINE)
                session.leave_ms = None
            self._stayed(session)
        if self._left_for_host is not None:
            self._broken(
                "no new connection after the primary host went offline",
                "tck-id-operational-behavior-edge-node-termination-host-offline-reconnect",
            )
            self._left_for_host = None

    def _stayed(self, session: _Session) -> None:
        if session.stay and session.open:
            self._meet("tck-id-operational-behavior-edge-node-termination-host-offline-timestamp")
            session.stay = False

    # --- packets

    def seen(self, event: Seen) -> None:
        packet = event.packet
        if isinstance(packet, Connect):
            self._connect(event, packet)
            return
        session = self._sessions.get(event.connection)
        if session is None:
            return
        if isinstance(packet, Subscribe):
            session.filters.update(packet.filters)
        elif isinstance(packet, Publish):
            if event.up:
                self._published(session, packet, event.at_ms)
            else:
                self._delivered(session, packet, event.at_ms)
        elif isinstance(packet, Disconnect) and event.up:
            self._disconnect(session, packet)
        elif isinstance(packet, Closed):
            self._closed(session)
        else:
            assert isinstance(packet, Accepted | Disconnect)

    def _connect(self, event: Seen, packet: Connect) -> None:
        check = self._check
        rivals = [one.number for one in self._sessions.values() if one.open and not one.goodbye]
        check(
            not rivals,
            f"connects while connection {rivals} is open",
            "tck-id-operational-behavior-primary-application-state-with-multiple-servers-single-server",
        )
        if self._left_for_host is not None:
            self._meet("tck-id-operational-behavior-edge-node-termination-host-offline-reconnect")
            if self._servers > 1:
                check(
                    self._left_for_host.server != event.server,
                    "the same server again after its primary host went offline",
                    "tck-id-operational-behavior-primary-application-state-with-multiple-servers-walk",
                )
            self._left_for_host = None
        clean = packet.clean_start and packet.session_expiry_s == 0
        check(clean, "a session that outlives its connection", "tck-id-principles-persistence-clean-session-50")
        will = packet.will
        ids = (
            "tck-id-message-flow-edge-node-birth-publish-connect",
            "tck-id-message-flow-edge-node-birth-publish-will-message",
            "tck-id-payloads-ndeath-will-message",
        )
        check(will, "CONNECT without a Will", *ids)
        session = _Session(event.connection, event.server, None)
        self._sessions[event.connection] = session
        self._last = session
        if will is None:
            return
        levels = will.topic.split("/")
        good = len(levels) == 4 and levels[0] == "spBv1.0" and levels[2] == "NDEATH"
        check(
            good,
            f"Will on {will.topic}",
            "tck-id-topics-ndeath-topic",
            "tck-id-message-flow-edge-node-birth-publish-will-message-topic",
        )
        if good and self._identity is None:
            self._identity = (levels[1], levels[3])
        check(
            will.qos == 1,
            f"Will with QoS {will.qos}",
            "tck-id-payloads-ndeath-will-message-qos",
            "tck-id-message-flow-edge-node-birth-publish-will-message-qos",
        )
        check(
            not will.retain,
            "retained Will",
            "tck-id-payloads-ndeath-will-message-retain",
            "tck-id-message-flow-edge-node-birth-publish-will-message-will-retained",
        )
        session.bd_seq = self._death(will.body, "Will")
        if session.bd_seq is not None:
            first = 0 if self._fresh else session.bd_seq
            expected = first if self._last_bd is None else (self._last_bd + 1) % 256
            check(
                session.bd_seq == expected,
                f"bdSeq {session.bd_seq}, expected {expected}",
                "tck-id-topics-nbirth-bdseq-increment",
            )
            self._last_bd = session.bd_seq

    def _death(self, body: bytes, where: str) -> int | None:
        """Judge the payload of a Will or NDEATH and return its bdSeq."""
        payload = _decode(body)
        if not self._check(
            payload is not None,
            f"{where} is no protobuf",
            "tck-id-message-flow-edge-node-birth-publish-will-message-payload",
        ):
            return None
        assert payload is not None
        found = [metric for metric in payload.metrics if metric.name == "bdSeq"]
        good = len(found) == 1 and found[0].datatype == INT64 and found[0].HasField("long_value")
        ids = ("tck-id-payloads-ndeath-bdseq", "tck-id-message-flow-edge-node-birth-publish-will-message-payload-bd")
        self._check(good and found[0].long_value < 256, f"{where} without a bdSeq of type INT64", *ids)
        self._check(len(payload.metrics) == 1, f"{where} says more than bdSeq", "tck-id-topics-ndeath-payload")
        no_seq = not payload.HasField("seq")
        self._check(no_seq, f"{where} has a seq", "tck-id-topics-ndeath-seq", "tck-id-payloads-ndeath-seq")
        return int(found[0].long_value) if found else None

    def _delivered(self, session: _Session, packet: Publish, at_ms: int) -> None:
        """What the broker gave to the node: a request for births, or the state of its primary host."""
        if packet.topic == self._host_topic:
            self._state(session, packet, at_ms)
        elif packet.topic.split("/")[2:3] == ["NCMD"] and not packet.retain and session.born:
            payload = _decode(packet.body)
            asked = payload is not None and any(one.name == REBIRTH and one.boolean_value for one in payload.metrics)
            if asked and session.rebirth_ms is None:
                session.rebirth_ms = at_ms

    def _state(self, session: _Session, packet: Publish, at_ms: int) -> None:
        try:
            state = json.loads(packet.body)
            online, time_ms = state["online"], state["timestamp"]
        except (ValueError, KeyError, TypeError):
            return
        session.heard = True
        session.online_naive = online
        if time_ms < session.state_ms:
            session.stay = not online and session.online and session.born
            return
        self._stayed(session)
        session.state_ms = time_ms
        if session.online and not online and session.born and session.leave_ms is None:
            session.leave_ms = at_ms
        if online:
            session.leave_ms = None
        session.online = online

    def _disconnect(self, session: _Session, packet: Disconnect) -> None:
        check = self._check
        check(
            session.died or not session.born,
            "DISCONNECT without an NDEATH before it",
            "tck-id-operational-behavior-edge-node-intentional-disconnect-ndeath",
            "tck-id-payloads-ndeath-will-message-publisher",
        )
        if session.died:
            self._meet("tck-id-operational-behavior-edge-node-intentional-disconnect-packet")
        check(
            packet.reason == WITH_WILL,
            f"DISCONNECT with reason {packet.reason:#x}, expected 0x04",
            "tck-id-payloads-ndeath-will-message-publisher-disconnect-mqtt50",
        )
        session.goodbye = True
        self._left(session)

    def _closed(self, session: _Session) -> None:
        if session.died and not session.goodbye:
            self._broken(
                "NDEATH without a DISCONNECT after it",
                "tck-id-operational-behavior-edge-node-intentional-disconnect-packet",
            )
        self._settle_births(session)
        session.open = False
        session.rebirth_ms = None

    def _left(self, session: _Session) -> None:
        if session.leave_ms is not None:
            self._meet(*_HOST_OFFLINE)
            self._left_for_host = session
            session.leave_ms = None
        elif session.stay:
            self._broken(
                "leaves on an outdated offline of its primary host",
                "tck-id-operational-behavior-edge-node-termination-host-offline-timestamp",
            )
            session.stay = False

    # --- messages of the node

    def _published(self, session: _Session, packet: Publish, at_ms: int) -> None:
        place = self._topic(packet)
        if place is None:
            return
        kind, device = place
        payload = _decode(packet.body)
        if not self._check(payload is not None, f"{kind} is no protobuf", *_PROTOBUF.get(kind, ())):
            return
        assert payload is not None
        self._packet_rules(kind, packet)
        if session.died:
            self._broken(
                f"{kind} after NDEATH",
                "tck-id-operational-behavior-edge-node-intentional-disconnect-packet",
            )
        if kind == "NDEATH":
            same = self._death(packet.body, "NDEATH") == session.bd_seq
            self._check(same, "NDEATH has another bdSeq than the Will", "tck-id-payloads-ndeath-bdseq")
            session.died = True
            return
        self._sequence(session, kind, payload)
        self._payload_rules(kind, payload, at_ms)
        if kind == "NBIRTH":
            self._node_birth(session, payload)
        elif kind == "DBIRTH":
            self._device_birth(session, device, payload)
        elif kind == "DDEATH":
            self._device_death(session, device)
        else:
            self._data(session, kind, device, payload, at_ms)

    def _topic(self, packet: Publish) -> tuple[str, str] | None:
        """Judge a topic; return the kind and the device (empty for the node)."""
        check = self._check
        levels = packet.topic.split("/")
        namespace = levels[0] == "spBv1.0"
        check(namespace, f"namespace {levels[0]}", "tck-id-topic-structure-namespace-a")
        kind = levels[2] if len(levels) > 2 else ""
        known = kind in NODE_KINDS | DEVICE_KINDS
        check(known and namespace and len(levels) in {4, 5}, f"topic {packet.topic}", "tck-id-topic-structure")
        if not known or len(levels) < 4:
            return None
        of_device = kind in DEVICE_KINDS
        long_enough = (len(levels) == 5 and levels[4] != "") == of_device and len(levels) in {4, 5}
        check(
            long_enough,
            f"topic {packet.topic}",
            _ASSOCIATED if of_device else _NOT_ASSOCIATED,
            *_TOPIC.get(kind, ()),
        )
        for at, ids in _IDS.items():
            if at < len(levels):
                good = levels[at] != "" and not set(levels[at]) & set("+#\0")
                check(good, f"id {levels[at]!r}", *ids)
        mine = (levels[1], levels[3])
        if kind == "DBIRTH":
            check(
                mine == self._identity,
                f"DBIRTH of {mine}, NBIRTH of {self._identity}",
                "tck-id-message-flow-device-birth-publish-dbirth-match-edge-node-topic",
            )
        device = levels[4] if of_device and len(levels) == 5 else ""
        if device:
            self._devices.add(device)
            folded = Counter(one.casefold() for one in {*self._devices, *mine})
            check(max(folded.values()) == 1, f"ids {folded} differ in case", "tck-id-case-sensitivity-sparkplug-ids")
        return kind, device

    def _packet_rules(self, kind: str, packet: Publish) -> None:
        check = self._check
        check(packet.qos == 0, f"{kind} with QoS {packet.qos}", *_QOS.get(kind, ()))
        check(not packet.retain, f"retained {kind}", *_RETAIN.get(kind, ()))
        check(packet.qos == 0 and not packet.retain, f"{kind} with QoS or retain", *_MQTT.get(kind, ()))

    def _sequence(self, session: _Session, kind: str, payload: Any) -> None:
        check = self._check
        has = payload.HasField("seq")
        check(has, f"{kind} without seq", "tck-id-payloads-sequence-num-always-included", *_SEQ_PRESENT[kind])
        if not has:
            return
        expected = 0 if kind == "NBIRTH" else (session.seq + 1) % 256
        ids = _SEQ_NEXT[kind] if kind == "NBIRTH" else ("tck-id-payloads-sequence-num-incrementing", *_SEQ_NEXT[kind])
        check(payload.seq == expected, f"{kind} with seq {payload.seq}, expected {expected}", *ids)
        session.seq = payload.seq

    def _payload_rules(self, kind: str, payload: Any, at_ms: int) -> None:
        """Judge what holds for every message with metrics, and for each of them."""
        check = self._check
        has = payload.HasField("timestamp")
        check(has, f"{kind} without a timestamp", *_TIMESTAMP[kind])
        if has:
            check(
                abs(payload.timestamp - at_ms) < CLOCK_MS,
                f"{kind} at {payload.timestamp}",
                "tck-id-payloads-timestamp-in-",
            )
        for metric in payload.metrics:
            where = f"{kind}, {metric.name}"
            if metric.HasField("alias"):
                self.report.unused.add("no aliases")
            if metric.datatype in {16, 19}:
                self.report.unused.add("no data sets and templates")
            check(metric.name, f"{where}: no name", "tck-id-payloads-name-requirement")
            stamped = metric.HasField("timestamp")
            check(stamped, f"{where}: no timestamp", "tck-id-payloads-name-birth-data-requirement")
            sane = EPOCH_MS < metric.timestamp < at_ms + CLOCK_MS
            check(not stamped or sane, f"{where} at {metric.timestamp}", "tck-id-payloads-metric-timestamp-in-")
            if metric.HasField("datatype"):
                ids = ("tck-id-payloads-metric-datatype-value", "tck-id-payloads-metric-datatype-value-type")
                check(metric.datatype in DATATYPES, f"{where}: datatype {metric.datatype}", *ids)
            self._properties(where, metric, birth=kind.endswith("BIRTH"))
        now = [metric.timestamp for metric in payload.metrics if not metric.is_historical]
        check(now == sorted(now), f"{kind}: values out of their order in time", *_ORDER[kind[0]])

    def _properties(self, where: str, metric: Any, *, birth: bool) -> None:
        check = self._check
        if not metric.HasField("properties"):
            return
        keys, values = metric.properties.keys, metric.properties.values
        ids = ("tck-id-payloads-propertyset-keys-array-size", "tck-id-payloads-propertyset-values-array-size")
        check(len(keys) == len(values), f"{where}: {len(keys)} keys, {len(values)} values", *ids)
        for key, value in zip(keys, values, strict=False):
            typed = value.HasField("type")
            if birth:
                check(typed, f"{where}, {key}: no type", "tck-id-payloads-metric-propertyvalue-type-req")
            if typed:
                ids = (
                    "tck-id-payloads-metric-propertyvalue-type-type",
                    "tck-id-payloads-metric-propertyvalue-type-value",
                )
                check(value.type in PROPERTY_TYPES, f"{where}, {key}: type {value.type}", *ids)
            if key == "Quality":
                check(
                    value.type == INT32,
                    f"{where}: quality of type {value.type}",
                    "tck-id-payloads-propertyset-quality-value-type",
                )
                good = value.HasField("int_value") and value.int_value in {0, 192, 500}
                check(good, f"{where}: quality {value}", "tck-id-payloads-propertyset-quality-value-value")

    def _birth_metrics(self, session: _Session, kind: str, place: str, payload: Any) -> None:
        check = self._check
        for metric in payload.metrics:
            where = f"{kind}, {metric.name}"
            typed = metric.HasField("datatype")
            check(typed, f"{where}: no datatype", "tck-id-payloads-metric-datatype-req")
            valued = metric.WhichOneof("value") is not None
            check(valued != metric.is_null, f"{where}: neither a value nor null, or both", *_VALUES[kind])
            good = metric.name and typed and (valued or metric.is_null)
            check(good, f"{where}: name, datatype or value is missing", *_METRICS[kind])
            session.values[place, metric.name] = _value(metric)
        session.declared[place] = {metric.name for metric in payload.metrics}
        folded = Counter(name.casefold() for name in session.declared[place])
        twice = [name for name, count in folded.items() if count > 1]
        check(not twice, f"{kind}: names differ in case only: {twice}", "tck-id-case-sensitivity-metric-names")

    def _node_birth(self, session: _Session, payload: Any) -> None:
        check = self._check
        self._before_birth(session)
        found = [metric for metric in payload.metrics if metric.name == "bdSeq"]
        good = len(found) == 1 and found[0].datatype == INT64 and found[0].HasField("long_value")
        check(found, "NBIRTH without bdSeq", "tck-id-topics-nbirth-bdseq-included", "tck-id-payloads-nbirth-bdseq")
        check(
            good,
            "NBIRTH without a bdSeq of type INT64",
            "tck-id-message-flow-edge-node-birth-publish-nbirth-payload-bd",
        )
        number = found[0].long_value if found else None
        same = ("tck-id-topics-nbirth-bdseq-matching", "tck-id-payloads-nbirth-bdseq-repeat")
        if session.rebirth_ms is not None:
            same = (*same, "tck-id-operational-behavior-data-commands-rebirth-action-3")
        check(number == session.bd_seq, f"NBIRTH has bdSeq {number}, its Will {session.bd_seq}", *same)
        controls = [metric for metric in payload.metrics if metric.name == REBIRTH]
        check(controls, f"NBIRTH without {REBIRTH}", "tck-id-operational-behavior-data-commands-rebirth-name")
        typed = bool(controls) and controls[0].datatype == BOOLEAN
        check(typed, f"{REBIRTH} is no Boolean", "tck-id-operational-behavior-data-commands-rebirth-datatype")
        off = bool(controls) and controls[0].HasField("boolean_value") and not controls[0].boolean_value
        check(off, f"{REBIRTH} is not false", "tck-id-operational-behavior-data-commands-rebirth-value")
        both = ("tck-id-topics-nbirth-rebirth-metric", "tck-id-payloads-nbirth-rebirth-req")
        check(typed and off, f"NBIRTH without {REBIRTH}, a Boolean that is false", *both)
        bare = not any(metric.HasField("alias") for metric in controls)
        check(bare, f"{REBIRTH} has an alias", "tck-id-operational-behavior-data-commands-rebirth-name-aliases")
        self._settle_births(session)
        if session.rebirth_ms is not None:
            self._meet("tck-id-operational-behavior-data-commands-rebirth-action-1")
            session.owed = set(session.alive)
            if not session.owed:
                self._meet("tck-id-operational-behavior-data-commands-rebirth-action-2")
        session.rebirth_ms = None
        session.born, session.data = True, False
        session.alive.clear()
        session.values.clear()
        session.declared.clear()
        self._birth_metrics(session, "NBIRTH", "", payload)

    def _before_birth(self, session: _Session) -> None:
        """Judge what must have happened on a connection before its node is born."""
        check = self._check
        group, node = self._identity or ("", "")
        asked = session.filters.get(f"spBv1.0/{group}/NCMD/{node}") == 1
        check(asked, "no subscription to NCMD with QoS 1", "tck-id-message-flow-edge-node-ncmd-subscribe")
        if self._host_topic is None:
            return
        subscribed = self._host_topic in session.filters
        ids = (
            "tck-id-message-flow-edge-node-birth-publish-phid-wait-id",
            "tck-id-operational-behavior-primary-application-state-with-multiple-servers-state-subs",
        )
        check(subscribed, f"no subscription to {self._host_topic}", *ids)
        wait = (
            "tck-id-message-flow-edge-node-birth-publish-phid-wait",
            "tck-id-operational-behavior-edge-node-birth-sequence-wait",
        )
        check(session.heard and session.online_naive, "NBIRTH before the primary host is online", *wait)
        if session.heard:
            online = session.online_naive or session.online
            check(
                online,
                "NBIRTH although STATE says offline",
                "tck-id-message-flow-edge-node-birth-publish-phid-wait-online",
            )
            valid = session.online or not session.online_naive
            check(
                valid, "NBIRTH on an outdated STATE", "tck-id-message-flow-edge-node-birth-publish-phid-wait-timestamp"
            )

    def _device_birth(self, session: _Session, device: str, payload: Any) -> None:
        check = self._check
        first = (
            "tck-id-message-flow-device-birth-publish-nbirth-wait",
            "tck-id-principles-birth-certificates-order",
        )
        check(session.born, f"DBIRTH of {device} before NBIRTH", *first)
        in_time = session.born and (not session.data or device in self._back)
        check(in_time, f"DBIRTH of {device} after DATA", "tck-id-payloads-dbirth-order")
        if self._writable:
            group, node = self._identity or ("", "")
            start = f"spBv1.0/{group}/DCMD/{node}/"
            asked = session.filters.get(start + device, session.filters.get(start + "+"))
            check(
                asked == 1,
                f"no subscription to DCMD of {device} with QoS 1",
                "tck-id-message-flow-device-dcmd-subscribe",
            )
        self._back.discard(device)
        session.alive.add(device)
        if session.owed == {device}:
            self._meet("tck-id-operational-behavior-data-commands-rebirth-action-2")
        session.owed.discard(device)
        self._birth_metrics(session, "DBIRTH", device, payload)

    def _device_death(self, session: _Session, device: str) -> None:
        if device in self._lost:
            self._meet("tck-id-operational-behavior-device-ddeath")
            self._lost.discard(device)
        session.alive.discard(device)
        session.owed.discard(device)

    def _data(self, session: _Session, kind: str, device: str, payload: Any, at_ms: int) -> None:
        check = self._check
        self._settle_births(session)
        letter = kind[0]
        born = session.born and (not device or device in session.alive)
        check(born, f"{kind} of {device or 'the node'} before its birth", *_BIRTHS_FIRST[letter])
        check(payload.metrics, f"{kind} without metrics", *_CARRIES[letter])
        self._stopped(session, kind, at_ms)
        session.data = True
        names = {metric.name for metric in payload.metrics}
        if born:
            unknown = names - session.declared.get(device, set())
            check(not unknown, f"{kind} with metrics that no birth declares: {sorted(unknown)}", *_DECLARED[letter])
        bare = not any(metric.HasField("datatype") for metric in payload.metrics)
        check(bare, f"{kind} with datatypes", "tck-id-payloads-metric-datatype-not-req")
        live = [metric for metric in payload.metrics if not metric.is_historical]
        changed = [one for one in live if session.values.get((device, one.name), one) != _value(one)]
        check(changed or not live, f"{kind} in which nothing has changed", *_CHANGE[letter])
        for metric in live:
            session.values[device, metric.name] = _value(metric)
            if (device, metric.name) in self._expected:
                self._expected.discard((device, metric.name))
                self._meet(*_CARRIES[letter])

    def _stopped(self, session: _Session, kind: str, at_ms: int) -> None:
        """Judge DATA that comes although it should have stopped."""
        if session.rebirth_ms is not None:
            late = at_ms - session.rebirth_ms > IN_FLIGHT_MS
            ids = "tck-id-operational-behavior-data-commands-rebirth-action-1"
            self._check(not late, f"{kind} between a request and NBIRTH", ids)
        if session.leave_ms is not None and at_ms - session.leave_ms > IN_FLIGHT_MS:
            self._broken(f"{kind} although the primary host is offline", *_HOST_OFFLINE)

    def _settle_births(self, session: _Session) -> None:
        """After the births of a rebirth: none is missing. DATA, another NBIRTH or the end is when they are over."""
        if session.owed:
            self._broken(
                f"no DBIRTH of {sorted(session.owed)} after a request",
                "tck-id-operational-behavior-data-commands-rebirth-action-2",
            )
            session.owed.clear()


def _decode(body: bytes) -> Any | None:
    try:
        return payload_class().FromString(body)
    except DecodeError:
        return None


def _value(metric: Any) -> object:
    field_name = metric.WhichOneof("value")
    return None if field_name is None or metric.is_null else (field_name, getattr(metric, field_name))
