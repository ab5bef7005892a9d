"""The only user of paho: one MQTT 5.0 connection with nothing of paho's own state carried over to the next.

What paho 2.2 does that we must not inherit (research: scada 3.3): after a reconnect it ignores the broker's Receive
Maximum, so reconnecting is ours and every connection gets a new client; its ``on_publish`` runs under a lock that
``publish`` takes too, and an exception in a callback kills its network thread silently, so callbacks only append to
a deque and our thread drives the loop.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import threading
from collections import deque
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt.link import (
    FAILURE,
    KEEP_ALIVE_TIMEOUT,
    UNLIMITED_RECEIVE,
    Accepted,
    Answered,
    Ended,
    Happening,
    Inbound,
    MqttSettings,
    Outgoing,
    SubscribeAnswered,
    TlsSettings,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.system.service import Stop

__all__ = ["MqttDial", "MqttLink", "MqttSettings", "TlsSettings"]

_STOP_POLL_S = 0.1
DISCONNECT_WITH_WILL = 0x04  # MQTT 5.0, 3.14.2.1
_INBOUND_MAX = 20  # our Receive Maximum: commands in flight to us
_PACKET_HEAD = 1 + 4 + 2 + 2 + 4  # type, length, topic length, packet id, properties length


class MqttDial:
    """Makes ``MqttLink``s from settings; see ``link.Dial``."""

    def __init__(self, settings: MqttSettings) -> None:
        """Dial what ``settings`` say."""
        self._settings = settings

    @property
    def settings(self) -> MqttSettings:
        """See ``link.Dial``."""
        return self._settings

    def __call__(self, will: Outgoing | None) -> MqttLink:
        """See ``link.Dial``."""
        return MqttLink(self._settings, will)


class MqttLink:
    """One connection; see ``link.Link``. One thread; closed for good when it ended."""

    def __init__(self, settings: MqttSettings, will: Outgoing | None) -> None:
        """Prepare a client; nothing is sent."""
        self._settings = settings
        self._happened: deque[Happening] = deque()
        self._ended = False
        client = paho.Client(
            CallbackAPIVersion.VERSION2, settings.client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.suppress_exceptions = True  # a fault in a callback must not look like a fault of the network
        client.connect_timeout = settings.connect_timeout_s
        client.max_inflight_messages_set(0)  # the window is ours: paho never holds more than we give it
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_socket_register_write = _nothing  # keeps publish() from writing by itself: pump writes
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        if will is not None:
            properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]  # paho's is untyped
            properties.WillDelayInterval = settings.will_delay_s
            if will.content_type is not None:
                properties.ContentType = will.content_type
                properties.PayloadFormatIndicator = 1
            properties.UserProperty = list(will.headers)
            client.will_set(will.topic, will.body, will.qos, will.retain, properties)
        self._client = client

    def open(self, stop: Stop, *, clean: bool) -> None:
        """See ``link.Link``; blocks for at most the connect timeout per address and for the name server.

        A name server that is silent holds the C library for 10 s and more, and nothing can interrupt that. So a
        thread of its own dials; a stop leaves it behind, and it closes what it opened.
        """
        where = f"{self._settings.host}:{self._settings.port}"
        dialled: Future[None] = Future()
        threading.Thread(target=self._dial, args=(dialled, clean), name="publish/dial", daemon=True).start()
        while not wait([dialled], _STOP_POLL_S).done:
            if stop.is_set():
                dialled.add_done_callback(lambda _: self.close())
                raise UnavailableError("mqtt.stopped", f"stopped while connecting to the broker at {where}")
        try:
            dialled.result()
        except (OSError, ValueError) as error:
            self.close()
            code, msg = "mqtt.unreachable", f"cannot connect to the broker at {where}: {error}"
            raise UnavailableError(code, msg, help="check mqtt.host, mqtt.port and that the broker runs") from error

    def _dial(self, dialled: Future[None], clean: bool) -> None:  # noqa: FBT001 - a thread's positional arguments
        try:
            self._connect(clean=clean)
        except Exception as error:  # noqa: BLE001 - the boundary of a thread; whoever waits for it raises it
            dialled.set_exception(error)
        else:
            dialled.set_result(None)

    def _connect(self, *, clean: bool) -> None:
        settings = self._settings
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.SessionExpiryInterval = settings.session_expiry_s
        properties.ReceiveMaximum = _INBOUND_MAX
        if settings.tls is not None:
            self._client.tls_set_context(_context(settings.tls))
        self._client.connect(
            settings.host, settings.port, settings.keepalive_s, clean_start=clean, properties=properties
        )
        sock = self._client.socket()
        if sock is not None:
            # a result must not wait until the broker has acknowledged the segment before it (40 ms with Nagle)
            _set(sock, socket.TCP_NODELAY)

    def pump(self, timeout_s: float, wake: int) -> None:
        """See ``link.Link``."""
        try:
            self._pump(timeout_s, wake)
        except Exception as error:  # noqa: BLE001 - foreign code on foreign bytes: whatever it raises ends this connection
            self._end(Ended(None, f"the connection broke: {type(error).__name__}: {error}"))
            self.close()

    def _pump(self, timeout_s: float, wake: int) -> None:
        client = self._client
        sock = client.socket()
        if sock is None:
            self._end(Ended(None, "the connection is closed"))
            return
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(sock, select.POLLIN | (select.POLLOUT if client.want_write() else 0))
        # the kernel forgets this by itself (tcp(7)); a broker with Nagle's algorithm would hold back its answer until
        # ours to the one before: 32 ms instead of 0.3 at 30 results a second
        _set(sock, socket.TCP_QUICKACK)
        ready = dict(poll.poll(timeout_s * 1000))
        if ready.pop(wake, 0):
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(wake)
        # Reading comes first: a broker that answers and cuts the connection makes the next write fail, and paho
        # then closes the socket with the answer unread.
        if any(flags & ~select.POLLOUT for flags in ready.values()):
            client.loop_read()
            while _pending(client) and not client.loop_read():
                continue
        if client.want_write():
            client.loop_write()
        client.loop_misc()

    def happened(self) -> list[Happening]:
        """See ``link.Link``."""
        found = []
        while self._happened:
            found.append(self._happened.popleft())
        return found

    def publish(self, message: Outgoing) -> int:
        """See ``link.Link``."""
        packed = _PackedProperties(_publish_properties(message))
        return self._client.publish(message.topic, message.body, message.qos, message.retain, packed).mid

    def subscribe(self, filters: Sequence[str]) -> None:
        """See ``link.Link``."""
        # A retained command is known as one also live; subscribing again does not bring retained messages again.
        options = SubscribeOptions(
            qos=1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
        )
        self._client.subscribe([(topic, options) for topic in filters])

    def size(self, message: Outgoing) -> int:
        """See ``link.Link``."""
        return _PACKET_HEAD + len(message.topic.encode()) + len(_publish_properties(message)) + len(message.body)

    def disconnect(self, *, with_will: bool = False) -> None:
        """See ``link.Link``."""
        reason = ReasonCode(PacketTypes.DISCONNECT, identifier=DISCONNECT_WITH_WILL) if with_will else None
        self._client.disconnect(reason)

    def close(self) -> None:
        """See ``link.Link``."""
        sock = self._client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    def _end(self, ended: Ended) -> None:
        """Tell the first reason only: what follows is the echo of it."""
        if not self._ended:
            self._ended = True
            self._happened.append(ended)

    # --- called by paho, in our thread, sometimes under its locks: they append and return

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:  # noqa: ANN401 - paho's
        if reason.value >= FAILURE:
            self._end(Ended(reason.value, f"the broker refuses us: {words(reason.value)}", refused=True))
            return
        self._happened.append(
            Accepted(
                session_present=flags.session_present,
                receive_maximum=getattr(properties, "ReceiveMaximum", UNLIMITED_RECEIVE),
                packet_max=getattr(properties, "MaximumPacketSize", None),
            )
        )

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:  # noqa: ANN401 - paho's
        if flags.is_disconnect_packet_from_server:
            self._end(Ended(reason.value, f"the broker ended the connection: {words(reason.value)}"))
        else:
            quiet = reason.value == KEEP_ALIVE_TIMEOUT
            self._end(Ended(None, "the broker does not answer" if quiet else "the connection was cut"))

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:  # noqa: ANN401 - paho's
        self._happened.append(Answered(mid, reason.value))

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:  # noqa: ANN401 - paho's
        self._happened.append(SubscribeAnswered(tuple(reason.value for reason in reasons)))

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:  # noqa: ANN401 - paho's
        properties = message.properties
        self._happened.append(
            Inbound(
                topic=message.topic,
                payload=bytes(message.payload),
                qos=message.qos,
                retain=message.retain,
                content_type=getattr(properties, "ContentType", None),
                response_topic=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
                expiry_s=getattr(properties, "MessageExpiryInterval", None),
                headers=tuple(getattr(properties, "UserProperty", ())),
            )
        )


def _set(sock: Any, option: int) -> None:  # noqa: ANN401 - paho's type for "socket or TLS socket" knows no options
    sock.setsockopt(socket.IPPROTO_TCP, option, 1)


class _PackedProperties(Properties):
    """Properties that are bytes already: paho's own packing costs more than the rest of a publish."""

    packed: bytes

    def __init__(self, packed: bytes) -> None:
        object.__setattr__(self, "packed", packed)  # paho's own __setattr__ takes MQTT names only

    def pack(self) -> bytes:
        """Return the property section of the packet."""
        return self.packed

    def __str__(self) -> str:
        return "(packed)"


def _publish_properties(message: Outgoing) -> bytes:
    """Return the property section of a PUBLISH (MQTT 5.0, 3.3.2.3), with its length in front."""
    parts = []
    if message.content_type is not None:
        parts.append(b"\x01\x01")  # Payload Format Indicator: UTF-8
    if message.expiry_s is not None:
        parts.append(b"\x02" + struct.pack("!I", message.expiry_s))
    if message.content_type is not None:
        parts.append(b"\x03" + _text(message.content_type))
    if message.correlation is not None:
        parts.append(b"\x09" + struct.pack("!H", len(message.correlation)) + message.correlation)
    parts.extend(b"\x26" + _text(name) + _text(value) for name, value in message.headers)
    section = b"".join(parts)
    return _length(len(section)) + section


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("!H", len(data)) + data


def _length(number: int) -> bytes:
    """Return a Variable Byte Integer (MQTT 5.0, 1.5.5)."""
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def _context(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.check_hostname
    if tls.cert is not None:
        context.load_cert_chain(str(tls.cert), None if tls.key is None else str(tls.key))
    return context


def _pending(client: paho.Client) -> bool:
    """Tell whether TLS holds bytes that the kernel no longer knows of."""
    sock = client.socket()
    return isinstance(sock, ssl.SSLSocket) and sock.fileno() >= 0 and sock.pending() > 0


def _nothing(*_arguments: object) -> None:
    """Do nothing."""
