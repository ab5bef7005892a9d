"""What a broker connection is to the rest of the runtime: settings, messages, happenings; no MQTT library here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_runtime.system.service import Stop

WINDOW_MAX = 64  # more in flight gains nothing once the round trip is hidden
UNLIMITED_RECEIVE = 65_535  # MQTT 5.0, 3.2.2.3.3: what a broker means that does not say


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS 1.2 or newer; without ``ca`` the system's authorities are trusted."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    check_hostname: bool = True


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens."""

    host: str
    port: int

    @staticmethod
    def parse(text: str) -> Address:
        """Read ``HOST:PORT``; an IPv6 address stands in brackets.

        Raises:
            ValueError: there is no port.
        """
        host, _, port = text.rpartition(":")
        return Address(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """How to reach the broker.

    Attributes:
        protocol: of MQTT. In 3.1.1 a message has no properties, a refused publish looks like a taken one, and there is
            no goodbye with the Will: for Sparkplug only, whose messages need none of it.
        fallback: brokers to try in this order when the first one cannot be had.
        client_id: unique at the broker; a second client with it takes the session over.
        window: un-acknowledged publishes at most; the broker's Receive Maximum may lower it.
        ack_timeout_s: a publish without an answer for so long means that the connection is dead.
        session_expiry_s: how long the broker keeps our subscriptions, and what they would bring, while we are away; it
            holds the Will back for no longer than that.
        will_delay_s: how long the broker waits before it says that we are offline.
        slow_retry_s: pause after the broker refused us, because only a person can mend that.
        require_subscriber: a result that nobody subscribed to (reason code 16) counts as not delivered and is tried
            again. Best effort, because a broker need not say so (MQTT 5.0, 3.4.2.1).
        historical_after_s: a document sent later than this after it happened is marked ``historical``.
        cloudevents: say with each message what CloudEvents 1.0 says.
    """

    host: str
    port: int = 1883
    protocol: Literal["5", "3.1.1"] = "5"
    fallback: tuple[Address, ...] = ()
    client_id: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None
    window: int = WINDOW_MAX
    keepalive_s: int = 10
    connect_timeout_s: float = 2.0
    ack_timeout_s: float = 5.0
    session_expiry_s: int = 3600
    will_delay_s: int = 2
    slow_retry_s: float = 10.0
    require_subscriber: bool = False
    historical_after_s: float = 10.0
    cloudevents: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One publish.

    Attributes:
        expiry_s: the broker forgets it after so long.
        content_type: ``None`` says nothing about the body, which then need not be text.
    """

    topic: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    content_type: str | None = "application/json"
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message that came in; ``retain`` means that the broker had kept it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    expiry_s: int | None = None  # what is left of its life, as the broker says
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker took us in; its limits."""

    session_present: bool
    receive_maximum: int = UNLIMITED_RECEIVE
    packet_max: int | None = None
    keepalive_s: int | None = None  # instead of ours
    qos_max: int = 2
    retains: bool = True
    client_id: str | None = None  # given to us, who had none


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is over: refused (``refused``) or lost; ``code`` is the MQTT reason code where there is one.

    Attributes:
        lasting: trying again at once would end the same way, because only a person can mend it.
    """

    code: int | None
    words: str
    refused: bool = False
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """A QoS 1 publish was answered with an MQTT reason code."""

    mid: int
    code: int


@dataclass(frozen=True, slots=True)
class SubscribeAnswered:
    """A subscription was answered; codes of 128 and more are refusals."""

    codes: tuple[int, ...]


Happening = Accepted | Ended | Answered | SubscribeAnswered | Inbound


@dataclass(slots=True)
class LinkStats:
    """What an operator would alarm on; written by the publisher's thread, read by any.

    Attributes:
        state: ``connecting``, ``online``, ``refused`` or ``stopped``; ``reason`` says why in words, or is ``None``.
        broker: the address of the broker that it is about.
        callback_errors: faults of the command callback.
        commands_refused: why the broker does not bring us commands, or ``None``.
    """

    state: str = "connecting"
    reason: str | None = None
    broker: str | None = None
    connects: int = 0
    published: int = 0
    acked: int = 0
    refused: int = 0
    no_subscribers: int = 0
    in_flight: int = 0
    window: int = 0
    commands: int = 0
    callback_errors: int = 0
    commands_refused: str | None = None


class Link(Protocol):
    """One connection, from dialling to its end; used by one thread, never reused."""

    @property
    def where(self) -> str:
        """The broker's address, for people."""
        ...

    @property
    def queued(self) -> int:
        """Bytes that were published and not yet written, because the broker does not read."""
        ...

    def open(self, stop: Stop, *, clean: bool) -> None:
        """Dial and say who we are; ``Accepted`` or ``Ended`` happens later.

        Args:
            stop: soon after it is set, dialling is given up.
            clean: have the broker forget what it queued for us while we were away.

        Raises:
            UnavailableError: nobody answers, the TLS files are unusable, or the stop came first.
        """
        ...

    def pump(self, timeout_s: float, wake: int) -> None:
        """Read and write what can be; wait at most ``timeout_s`` for the network or for descriptor ``wake``."""
        ...

    def happened(self) -> list[Happening]:
        """Return what happened since the last call."""
        ...

    def publish(self, message: Outgoing) -> int:
        """Queue ``message`` for the next ``pump``; return the id that its answer will carry, 0 at QoS 0.

        Raises:
            ValueError: a text of it is longer than MQTT can say.
        """
        ...

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe at QoS 1."""
        ...

    def size(self, message: Outgoing) -> int:
        """Return the bytes of the whole packet, an estimate from above."""
        ...

    def disconnect(self, *, with_will: bool = False) -> None:
        """Queue a goodbye; ``pump`` sends it. The broker forgets the Will, or publishes it (reason code 0x04)."""
        ...

    def close(self) -> None:
        """End the connection at once; idempotent."""
        ...


class Dial(Protocol):
    """Makes links: the broker adapter. One thread.

    With several brokers each call names the next one in their order; the first one comes again after the last, and
    after a connection that stood.
    """

    @property
    def settings(self) -> MqttSettings:
        """What it dials."""
        ...

    @property
    def more(self) -> bool:
        """Whether the next call names a broker that was not tried in this round."""
        ...

    def renewed(self) -> bool:
        """Tell whether certificates changed on disk since the last connection was opened; a broken one is logged."""
        ...

    def __call__(self, will: Outgoing | None) -> Link:
        """Return a link that is not open yet."""
        ...


class Backoff:
    """Pauses between attempts: 0.1, 0.2, 0.4 ... at most ``longest_s``; a broker that is back is found within that."""

    def __init__(self, *, first_s: float = 0.1, longest_s: float = 1.0) -> None:
        """Start with the shortest pause."""
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next(self) -> float:
        """Return the pause before the next attempt and double the one after it."""
        pause_s = self._next_s
        self._next_s = min(self._next_s * 2, self._longest_s)
        return pause_s

    def reset(self) -> None:
        """The connection stood."""
        self._next_s = self._first_s


# Reason codes of MQTT 5.0 (3.2.2.2 CONNACK, 3.4.2.1 PUBACK, 3.14.2.1 DISCONNECT) in words for an operator.
_WORDS = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "implementation specific error",
    0x84: "the broker does not speak MQTT 5.0",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep alive timeout",
    0x8E: "another client with our client id took the session over",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x93: "receive maximum exceeded",
    0x95: "packet too large",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0x9B: "QoS not supported",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9F: "connection rate exceeded",
}
PACKET_TOO_LARGE = 0x95
NEEDS_A_PERSON = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x8E, 0x9A, 0x9B, 0x9C, 0x9D})
UNUSABLE = frozenset({"mqtt.tls", "mqtt.tls_file"})  # codes of errors of ``Link.open`` that only a person can mend
TRY_AGAIN_LATER = frozenset({0x91, 0x97})  # refusals of a publish that may pass on a new connection
FAILURE = 0x80  # reason codes from here on are failures


def words(code: int) -> str:
    """Return an MQTT 5.0 reason code for people, with its number."""
    return f"{_WORDS.get(code, 'reason')} ({code})"
