"""Conversations that are wrong in one way each, and the ids for which the observer must name them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.sparkplug.conversation import change, find, moved, payload, will, without
from tests.sparkplug.recording import Connect, Event, Publish, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("NBIRTH", "NDATA", "DBIRTH", "DDATA", "DDEATH")
FLOW = {"NBIRTH": "tck-id-message-flow-edge-node-birth-publish-", "DBIRTH": "tck-id-message-flow-device-birth-publish-"}


@dataclass(frozen=True)
class Mutant:
    """``make`` breaks a good conversation; each of ``ids`` must then be reported as broken."""

    name: str
    make: Callable[[list[Event]], list[Event]]
    ids: tuple[str, ...]


def on(kind: str, edit: Callable[[Any], object], nth: int = 0) -> Callable[[list[Event]], list[Event]]:
    """Break the payload of one message."""
    return lambda events: payload(events, find(events, kind, nth), edit)


def packet(kind: str, nth: int = 0, **fields: Any) -> Callable[[list[Event]], list[Event]]:
    """Break the packet of one message."""
    return lambda events: change(events, find(events, kind, nth), **fields)


def connect(**fields: Any) -> Callable[[list[Event]], list[Event]]:
    """Break the first CONNECT or, with names that a Will has, its Will."""

    def make(events: list[Event]) -> list[Event]:
        at = find(events, "Connect")
        event = events[at]
        assert isinstance(event, Seen)
        assert isinstance(event.packet, Connect)
        assert event.packet.will is not None
        if fields.keys() & {"topic", "body", "qos", "retain"}:
            return change(events, at, will=replace(event.packet.will, **fields))
        return change(events, at, **fields)

    return make


def _each(kind: str) -> list[Mutant]:
    """Return the mutants that every kind of message has."""
    low = kind.lower()
    flow = FLOW.get(kind)
    of_flow = (lambda end: (f"{flow}{low}-{end}",)) if flow else (lambda _end: ())
    ids = [f"tck-id-payloads-{low}-qos"] if kind != "DDEATH" else []
    made = [
        Mutant(f"{kind} with QoS 1", packet(kind, qos=1), (f"tck-id-topics-{low}-mqtt", *ids, *of_flow("qos"))),
        Mutant(
            f"{kind} without seq",
            on(kind, lambda m: m.ClearField("seq")),
            ("tck-id-payloads-sequence-num-always-included",),
        ),
        Mutant(
            f"{kind} without timestamp",
            on(kind, lambda m: m.ClearField("timestamp")),
            (f"tck-id-payloads-{low}-timestamp",),
        ),
        Mutant(
            f"{kind} in local time",
            on(kind, lambda m: setattr(m, "timestamp", m.timestamp + 3_600_000)),
            ("tck-id-payloads-timestamp-in-",),
        ),
        Mutant(
            f"{kind} on a topic with a level too many",
            lambda e: change(e, at := find(e, kind), topic=f"{e[at].packet.topic}/x/y"),
            (f"tck-id-topics-{low}-topic", "tck-id-topic-structure"),
        ),  # type: ignore[union-attr]
    ]
    ids = [f"tck-id-payloads-{low}-retain"] if kind != "DDEATH" else []
    made.append(
        Mutant(f"retained {kind}", packet(kind, retain=True), (f"tck-id-topics-{low}-mqtt", *ids, *of_flow("retained")))
    )
    if kind == "NBIRTH":
        made.append(
            Mutant(
                "NBIRTH with seq 1",
                on(kind, lambda m: setattr(m, "seq", 1)),
                ("tck-id-topics-nbirth-seq-num", "tck-id-payloads-nbirth-seq", f"{flow}nbirth-payload-seq"),
            )
        )
        made.append(
            Mutant(
                "NBIRTH without seq at all",
                on(kind, lambda m: m.ClearField("seq")),
                ("tck-id-payloads-sequence-num-req-nbirth",),
            )
        )
    else:
        number = "" if kind == "DBIRTH" else "-num"
        more = ("tck-id-payloads-ddeath-seq-number",) if kind == "DDEATH" else of_flow("payload-seq")
        made.append(
            Mutant(
                f"{kind} skips a seq",
                on(kind, lambda m: setattr(m, "seq", m.seq + 1)),
                (
                    f"tck-id-topics-{low}-seq{number}",
                    f"tck-id-payloads-{low}-seq-inc",
                    "tck-id-payloads-sequence-num-incrementing",
                    *more,
                ),
            )
        )
        made.append(
            Mutant(f"{kind} has no seq", on(kind, lambda m: m.ClearField("seq")), (f"tck-id-payloads-{low}-seq",))
        )
    if kind != "DDEATH":
        made.append(
            Mutant(
                f"{kind} has no time",
                on(kind, lambda m: m.ClearField("timestamp")),
                (f"tck-id-topics-{low}-timestamp",),
            )
        )
        made.append(
            Mutant(
                f"metric of {kind} without a name",
                on(kind, lambda m: m.metrics[0].ClearField("name")),
                ("tck-id-payloads-name-requirement",),
            )
        )
        made.append(
            Mutant(
                f"metric of {kind} without a timestamp",
                on(kind, lambda m: m.metrics[0].ClearField("timestamp")),
                ("tck-id-payloads-name-birth-data-requirement",),
            )
        )
        made.append(
            Mutant(
                f"metric of {kind} in local time",
                on(kind, lambda m: setattr(m.metrics[-1], "timestamp", m.timestamp + 3_600_000)),
                ("tck-id-payloads-metric-timestamp-in-",),
            )
        )
    if kind in FLOW:
        made.append(Mutant(f"{kind} that is no protobuf", packet(kind, body=b"\xff\xff\xff"), of_flow("payload")))
        made.append(
            Mutant(f"{kind} on another topic", packet(kind, topic=f"spBv1.0/plant/{kind}"), ("tck-id-topic-structure",))
        )
        made.append(
            Mutant(
                f"{kind} with wrong levels",
                lambda e: change(e, at := find(e, kind), topic=f"{e[at].packet.topic}/x/y"),
                of_flow("topic"),
            )
        )  # type: ignore[union-attr]
        made.append(
            Mutant(
                f"metric of {kind} without a datatype",
                on(kind, lambda m: m.metrics[0].ClearField("datatype")),
                ("tck-id-payloads-metric-datatype-req", f"tck-id-topics-{low}-metrics"),
            )
        )
        made.append(
            Mutant(
                f"metric of {kind} of datatype 35",
                on(kind, lambda m: setattr(m.metrics[0], "datatype", 35)),
                ("tck-id-payloads-metric-datatype-value", "tck-id-payloads-metric-datatype-value-type"),
            )
        )
        made.append(
            Mutant(
                f"metric of {kind} null with a value",
                on(kind, lambda m: setattr(m.metrics[0], "is_null", True)),
                (f"tck-id-operational-behavior-data-publish-{low}-values",),
            )
        )
        made.append(
            Mutant(
                f"{kind} out of order in time",
                on(kind, lambda m: setattr(m.metrics[0], "timestamp", m.timestamp + 5)),
                (f"tck-id-operational-behavior-data-publish-{low}-order",),
            )
        )
        made.append(
            Mutant(
                f"names in {kind} that differ in case",
                on(kind, lambda m: m.metrics.add(name=m.metrics[0].name.upper()).CopyFrom(_upper(m.metrics[0]))),
                ("tck-id-case-sensitivity-metric-names",),
            )
        )
    return made


def _upper(metric: Any) -> Any:
    copy = type(metric)()
    copy.CopyFrom(metric)
    copy.name = metric.name.upper()
    return copy


def _data(kind: str, birth: str) -> list[Mutant]:
    low, place = birth.lower(), kind[0].lower()
    return [
        Mutant(
            f"{kind} with a metric that no birth declares",
            on(kind, lambda m: setattr(m.metrics[0], "name", "new")),
            (f"tck-id-operational-behavior-data-publish-{low}", f"tck-id-topics-{low}-metric-reqs"),
        ),
        Mutant(
            f"{kind} with datatypes",
            on(kind, lambda m: setattr(m.metrics[0], "datatype", 8)),
            ("tck-id-payloads-metric-datatype-not-req",),
        ),
        Mutant(
            f"{kind} twice",
            lambda e: _again(e, kind),
            (f"tck-id-operational-behavior-data-publish-{low}-change", "tck-id-principles-rbe-recommended"),
        ),
        Mutant(
            f"a change that {kind} does not carry",
            lambda e: without(e, find(e, kind, -1)),
            (f"tck-id-topics-{place}data-payload",),
        ),
        Mutant(
            f"{kind} before {birth}",
            lambda e: moved(e, find(e, kind), find(e, birth)),
            (f"tck-id-payloads-{place}data-order",),
        ),
    ]


def _again(events: list[Event], kind: str) -> list[Event]:
    at = find(events, kind)
    return [*events[: at + 1], events[at], *events[at + 1 :]]


def _stale_state(events: list[Event]) -> list[Event]:
    """Online, then offline; an online that is older than both must not lead to a birth."""
    at = find(events, "STATE", up=False)
    event = events[at]
    assert isinstance(event, Seen)
    offline = replace(event, packet=Publish("spBv1.0/STATE/scada", b'{"online":false,"timestamp":200}', 1, retain=True))
    return [*events[:at], offline, *events[at:]]


def _leaves_on_stale(events: list[Event]) -> list[Event]:
    stale, left = find(events, "STATE", 1, up=False), find(events, "NDEATH")
    return [*events[: stale + 1], *events[left:]]


def _stays(events: list[Event]) -> list[Event]:
    """NDEATH and DISCONNECT do not follow the offline."""
    left = find(events, "NDEATH")
    return events[:left]


def _goes_on(events: list[Event]) -> list[Event]:
    """DATA a second after the offline and before NDEATH."""
    offline, left, late = (
        events[find(events, "STATE", 2, up=False)],
        find(events, "NDEATH"),
        events[find(events, "DDATA", 4)],
    )
    assert isinstance(offline, Seen)
    assert isinstance(late, Seen)
    return [*events[:left], replace(late, at_ms=offline.at_ms + 1000), *events[left:]]


def _quality(events: list[Event], **fields: Any) -> list[Event]:
    def edit(message: Any) -> None:
        value = message.metrics[0].properties.values[0]
        for name, new in fields.items():
            setattr(value, name, new)

    return payload(events, find(events, "DBIRTH"), edit)


def _rename(events: list[Event], level: int, name: str) -> list[Event]:
    at = find(events, "DBIRTH")
    event = events[at]
    assert isinstance(event, Seen)
    assert isinstance(event.packet, Publish)
    levels = event.packet.topic.split("/")
    levels[level] = name
    return change(events, at, topic="/".join(levels))


def _late_after_rebirth(events: list[Event]) -> list[Event]:
    """DATA a second after the request and before the birth."""
    asked = find(events, "NCMD", up=False)
    birth = find(events, "NBIRTH", 1)
    late = events[find(events, "DDATA", 3)]
    assert isinstance(late, Seen)
    first = events[asked]
    assert isinstance(first, Seen)
    return [*events[:birth], replace(late, at_ms=first.at_ms + 1000), *events[birth:]]


def _two_at_once(events: list[Event]) -> list[Event]:
    return without(events, find(events, "Disconnect"), find(events, "Closed"))


_REBIRTH = 1  # where births have the metric Node Control/Rebirth
_FLOW_NODE = "tck-id-message-flow-edge-node-birth-publish-"
_COMMANDS = "tck-id-operational-behavior-data-commands-"
_SERVERS = "tck-id-operational-behavior-primary-application-state-with-multiple-servers-"
_ENDS = "tck-id-operational-behavior-edge-node-"

MUTANTS: tuple[Mutant, ...] = (
    *(mutant for kind in KINDS for mutant in _each(kind)),
    *_data("NDATA", "NBIRTH"),
    *_data("DDATA", "DBIRTH"),
    # CONNECT and its Will
    Mutant("a session that stays", connect(clean_start=False), ("tck-id-principles-persistence-clean-session-50",)),
    Mutant(
        "a session that expires late", connect(session_expiry_s=60), ("tck-id-principles-persistence-clean-session-50",)
    ),
    Mutant(
        "no Will",
        connect(will=None),
        ("tck-id-payloads-ndeath-will-message", f"{_FLOW_NODE}connect", f"{_FLOW_NODE}will-message"),
    ),
    Mutant(
        "Will elsewhere",
        connect(topic="spBv1.0/plant/NDEATH"),
        ("tck-id-topics-ndeath-topic", f"{_FLOW_NODE}will-message-topic"),
    ),
    Mutant(
        "Will with QoS 0", connect(qos=0), ("tck-id-payloads-ndeath-will-message-qos", f"{_FLOW_NODE}will-message-qos")
    ),
    Mutant(
        "retained Will",
        connect(retain=True),
        ("tck-id-payloads-ndeath-will-message-retain", f"{_FLOW_NODE}will-message-will-retained"),
    ),
    Mutant("Will that is no protobuf", connect(body=b"\xff\xff"), (f"{_FLOW_NODE}will-message-payload",)),
    Mutant(
        "Will with seq",
        lambda e: will(e, lambda m: setattr(m, "seq", 0)),
        ("tck-id-topics-ndeath-seq", "tck-id-payloads-ndeath-seq"),
    ),
    Mutant(
        "Will with more than bdSeq",
        lambda e: will(e, lambda m: m.metrics.add(name="x", datatype=3, int_value=1)),
        ("tck-id-topics-ndeath-payload",),
    ),
    Mutant(
        "Will without bdSeq",
        lambda e: will(e, lambda m: m.ClearField("metrics")),
        ("tck-id-payloads-ndeath-bdseq", f"{_FLOW_NODE}will-message-payload-bd"),
    ),
    Mutant(
        "bdSeq that does not count",
        lambda e: will(e, lambda m: setattr(m.metrics[0], "long_value", 0), 1),
        ("tck-id-topics-nbirth-bdseq-increment",),
    ),
    Mutant(
        "NBIRTH with another bdSeq than its Will",
        on("NBIRTH", lambda m: setattr(m.metrics[0], "long_value", 9)),
        ("tck-id-topics-nbirth-bdseq-matching", "tck-id-payloads-nbirth-bdseq-repeat"),
    ),
    Mutant(
        "NBIRTH without bdSeq",
        on("NBIRTH", lambda m: m.metrics.pop(0)),
        ("tck-id-topics-nbirth-bdseq-included", "tck-id-payloads-nbirth-bdseq", f"{_FLOW_NODE}nbirth-payload-bd"),
    ),
    # Node Control/Rebirth
    Mutant(
        "NBIRTH without Node Control/Rebirth",
        on("NBIRTH", lambda m: m.metrics.pop(_REBIRTH)),
        ("tck-id-topics-nbirth-rebirth-metric", "tck-id-payloads-nbirth-rebirth-req", f"{_COMMANDS}rebirth-name"),
    ),
    Mutant(
        "Node Control/Rebirth of type Int32",
        on("NBIRTH", lambda m: setattr(m.metrics[_REBIRTH], "datatype", 3)),
        (f"{_COMMANDS}rebirth-datatype",),
    ),
    Mutant(
        "Node Control/Rebirth is true",
        on("NBIRTH", lambda m: setattr(m.metrics[_REBIRTH], "boolean_value", True)),
        (f"{_COMMANDS}rebirth-value",),
    ),
    Mutant(
        "Node Control/Rebirth has an alias",
        on("NBIRTH", lambda m: setattr(m.metrics[_REBIRTH], "alias", 1)),
        (f"{_COMMANDS}rebirth-name-aliases",),
    ),
    Mutant("DATA goes on after a request", _late_after_rebirth, (f"{_COMMANDS}rebirth-action-1",)),
    Mutant(
        "no births after a request",
        lambda e: without(e, find(e, "NBIRTH", 1), find(e, "DBIRTH", 3), find(e, "DBIRTH", 4)),
        (f"{_COMMANDS}rebirth-action-2",),
    ),
    Mutant("a device is not born again", lambda e: without(e, find(e, "DBIRTH", 4)), (f"{_COMMANDS}rebirth-action-2",)),
    Mutant(
        "another bdSeq after a request",
        on("NBIRTH", lambda m: setattr(m.metrics[0], "long_value", 9), 1),
        (f"{_COMMANDS}rebirth-action-3",),
    ),
    # subscriptions, order of births, devices
    Mutant(
        "no subscription to NCMD",
        lambda e: change(e, find(e, "Subscribe"), filters=()),
        (
            "tck-id-message-flow-edge-node-ncmd-subscribe",
            "tck-id-message-flow-device-dcmd-subscribe",
            f"{_FLOW_NODE}phid-wait-id",
            f"{_SERVERS}state-subs",
        ),
    ),
    Mutant(
        "subscription with QoS 0",
        lambda e: change(e, find(e, "Subscribe"), filters=(("spBv1.0/plant/NCMD/box", 0),)),
        ("tck-id-message-flow-edge-node-ncmd-subscribe",),
    ),
    Mutant(
        "DBIRTH before NBIRTH",
        lambda e: moved(e, find(e, "DBIRTH"), find(e, "NBIRTH")),
        ("tck-id-message-flow-device-birth-publish-nbirth-wait", "tck-id-principles-birth-certificates-order"),
    ),
    Mutant(
        "DBIRTH after DATA",
        lambda e: moved(e, find(e, "DBIRTH", 1), find(e, "DDATA")),
        ("tck-id-payloads-dbirth-order",),
    ),
    Mutant(
        "a lost device without DDEATH",
        lambda e: without(e, find(e, "DDEATH")),
        ("tck-id-operational-behavior-device-ddeath",),
    ),
    Mutant(
        "DBIRTH of another node",
        lambda e: _rename(e, 3, "other"),
        ("tck-id-message-flow-device-birth-publish-dbirth-match-edge-node-topic",),
    ),
    Mutant("another namespace", lambda e: _rename(e, 0, "spAv1.0"), ("tck-id-topic-structure-namespace-a",)),
    Mutant(
        "a group with +",
        lambda e: _rename(e, 1, "pl+nt"),
        (
            "tck-id-intro-group-id-chars",
            "tck-id-intro-group-id-string",
            "tck-id-topic-structure-namespace-valid-group-id",
        ),
    ),
    Mutant(
        "a node with #",
        lambda e: _rename(e, 3, "b#x"),
        (
            "tck-id-intro-edge-node-id-chars",
            "tck-id-intro-edge-node-id-string",
            "tck-id-topic-structure-namespace-valid-edge-node-id",
        ),
    ),
    Mutant(
        "a device with +",
        lambda e: _rename(e, 4, "t+p"),
        (
            "tck-id-intro-device-id-chars",
            "tck-id-intro-device-id-string",
            "tck-id-topic-structure-namespace-valid-device-id",
        ),
    ),
    Mutant(
        "DBIRTH without a device",
        packet("DBIRTH", topic="spBv1.0/plant/DBIRTH/box"),
        ("tck-id-topic-structure-namespace-device-id-associated-message-types",),
    ),
    Mutant(
        "NBIRTH with a device",
        packet("NBIRTH", topic="spBv1.0/plant/NBIRTH/box/top"),
        ("tck-id-topic-structure-namespace-device-id-non-associated-message-types",),
    ),
    Mutant("devices that differ in case", lambda e: _rename(e, 4, "SIDE"), ("tck-id-case-sensitivity-sparkplug-ids",)),
    # properties
    Mutant(
        "more keys than values",
        on("DBIRTH", lambda m: m.metrics[0].properties.keys.append("x")),
        ("tck-id-payloads-propertyset-keys-array-size", "tck-id-payloads-propertyset-values-array-size"),
    ),
    Mutant(
        "a property without type",
        on("DBIRTH", lambda m: m.metrics[0].properties.values[0].ClearField("type")),
        ("tck-id-payloads-metric-propertyvalue-type-req",),
    ),
    Mutant(
        "a property of type Bytes",
        lambda e: _quality(e, type=17),
        (
            "tck-id-payloads-metric-propertyvalue-type-type",
            "tck-id-payloads-metric-propertyvalue-type-value",
            "tck-id-payloads-propertyset-quality-value-type",
        ),
    ),
    Mutant("quality 1", lambda e: _quality(e, int_value=1), ("tck-id-payloads-propertyset-quality-value-value",)),
    # the end
    Mutant(
        "no NDEATH before DISCONNECT",
        lambda e: without(e, find(e, "NDEATH", -1)),
        (f"{_ENDS}intentional-disconnect-ndeath", "tck-id-payloads-ndeath-will-message-publisher"),
    ),
    Mutant(
        "no DISCONNECT after NDEATH",
        lambda e: without(e, find(e, "Disconnect", -1)),
        (f"{_ENDS}intentional-disconnect-packet",),
    ),
    Mutant(
        "DATA after NDEATH",
        lambda e: moved(e, find(e, "DDATA", -1), find(e, "NDEATH", -1)),
        (f"{_ENDS}intentional-disconnect-packet",),
    ),
    Mutant(
        "DISCONNECT that discards the Will",
        lambda e: change(e, find(e, "Disconnect", -1), reason=0),
        ("tck-id-payloads-ndeath-will-message-publisher-disconnect-mqtt50",),
    ),
    Mutant(
        "NDEATH with another bdSeq",
        on("NDEATH", lambda m: setattr(m.metrics[0], "long_value", 7)),
        ("tck-id-payloads-ndeath-bdseq",),
    ),
    # the primary host
    Mutant(
        "no STATE before NBIRTH",
        lambda e: without(e, find(e, "STATE", up=False)),
        (f"{_FLOW_NODE}phid-wait", f"{_ENDS}birth-sequence-wait"),
    ),
    Mutant(
        "STATE is offline",
        lambda e: change(e, find(e, "STATE", up=False), body=b'{"online":false,"timestamp":100}'),
        (f"{_FLOW_NODE}phid-wait-online",),
    ),
    Mutant("STATE is older than the last", _stale_state, (f"{_FLOW_NODE}phid-wait-timestamp",)),
    Mutant("stays when the host goes", _stays, (f"{_FLOW_NODE}phid-offline", f"{_ENDS}termination-host-offline")),
    Mutant(
        "goes on when the host goes",
        _goes_on,
        (f"{_FLOW_NODE}phid-offline",),
    ),
    Mutant("leaves for an outdated offline", _leaves_on_stale, (f"{_ENDS}termination-host-offline-timestamp",)),
    Mutant("does not come back", lambda e: e[: find(e, "Closed") + 1], (f"{_ENDS}termination-host-offline-reconnect",)),
    Mutant(
        "the same server again",
        lambda e: [replace(x, server=0) if isinstance(x, Seen) else x for x in e],
        (f"{_SERVERS}walk",),
    ),
    Mutant("two servers at once", _two_at_once, (f"{_SERVERS}single-server",)),
)
