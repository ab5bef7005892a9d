"""Who a node is, and what its state machine asks of whoever drives it: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.publish.sparkplug.commands import Order
    from edge_runtime.publish.sparkplug.topics import Kind


@dataclass(frozen=True, slots=True)
class Now:
    """CLOCK_MONOTONIC and UTC at one moment."""

    mono_ns: int
    utc_ms: int


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device: an inspection, the camera it lives on, whether it waits for triggers."""

    id: str
    camera: str
    triggered: bool


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """Who the node is and how it speaks.

    Attributes:
        primary_host: nothing is born before this host says that it is online; ``None`` waits for nobody.
        properties: text by name, born as ``Properties/{name}``.
        gauges: names of whole numbers that ``gauge`` will set.
        commands: whether devices may be written.
        datatypes: repeat the datatype in data messages.
        result_json: send the whole document, too.
        servers: how many there are to choose from.
    """

    group: str
    node: str
    devices: tuple[DeviceSpec, ...]
    primary_host: str | None = None
    properties: Mapping[str, str] | None = None
    gauges: tuple[str, ...] = ()
    commands: bool = True
    datatypes: bool = False
    result_json: bool = False
    servers: int = 1


@dataclass(frozen=True, slots=True)
class Send:
    """Publish, QoS 0, not retained (the Will has QoS 1)."""

    kind: Kind
    topic: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe at QoS 1 and say ``subscribed`` when it was answered."""

    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Disconnect with reason code 0x04 once everything before it is sent (payloads-ndeath-...-disconnect-mqtt50)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Have an order carried out and say ``answered``."""

    order: Order


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that came in, or that should have gone out, was refused: to be counted and logged."""

    reason: str


Action = Send | Subscribe | Leave | Ask | Refused
