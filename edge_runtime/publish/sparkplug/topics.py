"""Topics of Sparkplug B 3.0 (chapter 4) and the STATE message of a host application (6.4.27). Pure."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from edge_runtime.core.errors import ConfigError, DataError

NAMESPACE = "spBv1.0"
STATE_TOPICS = f"{NAMESPACE}/STATE"
MAX_STATE_BYTES = 4096

_FORBIDDEN = "+/#"  # tck-id-intro-group-id-chars, -edge-node-id-chars, -device-id-chars
_NODE_LEVELS = 4
_DEVICE_LEVELS = 5


class Kind(StrEnum):
    """Message types of an edge node; those with D are about one of its devices."""

    NBIRTH = "NBIRTH"
    NDATA = "NDATA"
    NDEATH = "NDEATH"
    NCMD = "NCMD"
    DBIRTH = "DBIRTH"
    DDATA = "DDATA"
    DDEATH = "DDEATH"
    DCMD = "DCMD"

    @property
    def of_device(self) -> bool:
        """Whether its topic ends with a device id."""
        return self.value.startswith("D")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of an edge node or, with ``device``, of one of its devices; ``str()`` is what MQTT sees.

    Raises:
        ConfigError: an id is empty or has ``+``, ``/``, ``#``, control characters or lone surrogates; a device is
            named where the kind has none, or missing where it has one.
    """

    kind: Kind
    group: str
    node: str
    device: str | None = None

    def __post_init__(self) -> None:
        """Check the ids."""
        check_id("group", self.group)
        check_id("edge node", self.node)
        if self.kind.of_device is not (self.device is not None):
            wanted = "needs a" if self.kind.of_device else "has no"
            raise ConfigError("sparkplug.topic", f"a topic of {self.kind} {wanted} device id")
        if self.device is not None:
            check_id("device", self.device)

    def __str__(self) -> str:
        """The MQTT topic."""
        end = "" if self.device is None else f"/{self.device}"
        return f"{NAMESPACE}/{self.group}/{self.kind}/{self.node}{end}"


@dataclass(frozen=True, slots=True)
class State:
    """What a host application says about itself."""

    online: bool
    timestamp_ms: int


def check_id(what: str, text: str) -> None:
    """Refuse a group, edge node, device or host id that cannot be one level of a topic.

    Raises:
        ConfigError: naming the id and what is wrong.
    """
    wrong = next((char for char in text if char in _FORBIDDEN or unicodedata.category(char) in {"Cc", "Cs"}), None)
    if wrong is not None or not text:
        found = "is empty" if wrong is None else f"{text!r} has {wrong!r}"
        message = f"Sparkplug {what} id {found}"
        raise ConfigError("sparkplug.id", message, help="use text without '+', '/', '#' and control characters")


def parse(topic: str) -> Topic:
    """Return what ``topic`` is about.

    Raises:
        DataError: it is no topic of a Sparkplug B edge node or device.
    """
    levels = topic.split("/")
    try:
        if len(levels) not in {_NODE_LEVELS, _DEVICE_LEVELS} or levels[0] != NAMESPACE:
            raise DataError("sparkplug.topic", f"{topic!r} is no topic of a Sparkplug B edge node")
        return Topic(Kind(levels[2]), levels[1], *levels[3:])
    except (ValueError, ConfigError) as error:
        raise DataError("sparkplug.topic", f"{topic!r} is no topic of a Sparkplug B edge node: {error}") from error


def command_filter(group: str, node: str) -> str:
    """Return the filter of the commands to all devices of a node (tck-id-message-flow-device-dcmd-subscribe).

    Raises:
        ConfigError: an id is not one.
    """
    return f"{Topic(Kind.NCMD, group, node)}/+".replace(f"/{Kind.NCMD}/", f"/{Kind.DCMD}/", 1)


def state_topic(host: str) -> str:
    """Return where the host application ``host`` keeps its retained state.

    Raises:
        ConfigError: the id is not one.
    """
    check_id("host", host)
    return f"{STATE_TOPICS}/{host}"


def encode_state(state: State) -> bytes:
    """Return the JSON of a STATE message."""
    return json.dumps({"online": state.online, "timestamp": state.timestamp_ms}).encode()


def decode_state(data: bytes) -> State:
    """Return what a host says about itself; fields beyond the two are ignored.

    Raises:
        DataError: not such a JSON object; the text ``ONLINE`` of Sparkplug 2.2 is none.
    """
    if len(data) > MAX_STATE_BYTES:
        raise DataError("sparkplug.state", f"STATE of {len(data)} bytes, expected at most {MAX_STATE_BYTES}")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError("sparkplug.state", f"STATE is no JSON: {error}") from error
    online = document.get("online") if isinstance(document, dict) else None
    timestamp = document.get("timestamp") if isinstance(document, dict) else None
    if not isinstance(online, bool) or not isinstance(timestamp, int) or isinstance(timestamp, bool) or timestamp < 0:
        raise DataError("sparkplug.state", 'STATE is not {"online": true or false, "timestamp": milliseconds}')
    return State(online, timestamp)
