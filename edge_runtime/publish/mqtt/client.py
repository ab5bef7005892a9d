"""One MQTT connection: a socket, two buffers, one thread; what it carries is in ``packets`` and ``parser``.

Our own because no library obeys: paho 2.2 ignores the broker's Receive Maximum after a reconnect,
and costs three times the rest of a publish. Many publishes leave with one write, many answers come with one read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt import packets, parser, tls
from edge_runtime.publish.mqtt.link import (
    Accepted,
    Address,
    Answered,
    Ended,
    Happening,
    MqttSettings,
    Outgoing,
    TlsSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.system.service import Stop

__all__ = ["Address", "MqttDial", "MqttLink", "MqttSettings", "TlsSettings"]

logger = logging.getLogger(__name__)

_STOP_POLL_S = 0.1
_STOOD_S = 2.0  # a connection that stood for so long was a good one
_CHUNK = 1 << 16
_READS_MAX = 16  # chunks in one pump: a broker that floods us must not keep us from everything else
_MID_MAX = 0xFFFF
_QOS_NEEDED = 1


class MqttDial:
    """Makes ``MqttLink``s from settings, one broker after the other; see ``link.Dial``."""

    def __init__(self, settings: MqttSettings) -> None:
        """Dial what ``settings`` say."""
        self._settings = settings
        self._addresses = (Address(settings.host, settings.port), *settings.fallback)
        self._certificates = None if settings.tls is None else tls.Certificates(settings.tls)
        self._turn = 0

    @property
    def settings(self) -> MqttSettings:
        """See ``link.Dial``."""
        return self._settings

    @property
    def more(self) -> bool:
        """See ``link.Dial``."""
        return self._turn > 0

    def renewed(self) -> bool:
        """See ``link.Dial``."""
        return self._certificates is not None and self._certificates.renewed()

    def __call__(self, will: Outgoing | None) -> MqttLink:
        """See ``link.Dial``."""
        address = self._addresses[self._turn]
        self._turn = (self._turn + 1) % len(self._addresses)
        return MqttLink(self._settings, will, address, self._certificates, self._stood)

    def _stood(self) -> None:
        self._turn = 0


class MqttLink:
    """One connection; see ``link.Link``. One thread; closed for good when it ended."""

    def __init__(
        self,
        settings: MqttSettings,
        will: Outgoing | None,
        address: Address,
        certificates: tls.Certificates | None,
        on_stood: Callable[[], None],
    ) -> None:
        """Prepare; nothing is sent. ``on_stood`` is called at the end of a connection that was a good one."""
        self.where = str(address)
        self._settings = settings
        self._will = will
        self._address = address
        self._certificates = certificates
        self._on_stood = on_stood
        self._happened: deque[Happening] = deque()
        self._ended = False
        self._sock: socket.socket | None = None
        self._poll = select.poll()
        self._polled: tuple[int, int] | None = None  # descriptor of the waker, and what the socket is asked for
        self._out = bytearray()
        self._in = bytearray()
        self._mid = 0
        self._unanswered: set[int] = set()
        self._v5 = settings.protocol == "5"
        self._retains = True
        self._accepted_s: float | None = None
        self._keepalive_s: float = settings.keepalive_s
        self._wrote_s = self._heard_s = 0.0
        self._pinged_s: float | None = None

    # --- opening

    def open(self, stop: Stop, *, clean: bool) -> None:
        """See ``link.Link``; blocks for at most the connect timeout per address and for the name server.

        A name server that is silent holds the C library for 10 s and more, and nothing can interrupt that. So a
        thread of its own dials; a stop leaves it behind, and it closes what it opened.
        """
        dialled: Future[socket.socket] = Future()
        threading.Thread(target=self._dial, args=(dialled,), name="publish/dial", daemon=True).start()
        while not wait([dialled], _STOP_POLL_S).done:
            if stop.is_set():
                dialled.add_done_callback(_close_late)
                raise UnavailableError("mqtt.stopped", f"stopped while connecting to the broker at {self.where}")
        try:
            self._sock = dialled.result()
        except (OSError, ValueError) as error:
            raise self._unreachable(error) from error
        self._out += packets.connect(self._settings, self._will, clean=clean)
        self._wrote_s = time.monotonic()

    def _unreachable(self, error: OSError | ValueError) -> UnavailableError:
        found = tls.explained(error, self.where) if isinstance(error, OSError) else None
        if found is not None:
            return found
        code, msg = "mqtt.unreachable", f"cannot connect to the broker at {self.where}: {error}"
        return UnavailableError(code, msg, help="check mqtt.host, mqtt.port and that the broker runs")

    def _dial(self, dialled: Future[socket.socket]) -> None:
        try:
            sock = self._connect()
        except Exception as error:  # noqa: BLE001 - the boundary of a thread; whoever waits for it raises it
            dialled.set_exception(error)
        else:
            dialled.set_result(sock)

    def _connect(self) -> socket.socket:
        address = self._address
        context = None if self._certificates is None else self._certificates.context()
        sock = socket.create_connection((address.host, address.port), self._settings.connect_timeout_s)
        try:
            # a result must not wait until the broker has acknowledged the segment before it (40 ms with Nagle)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                sock = _wrapped(context, sock, address.host)
            sock.setblocking(False)  # noqa: FBT003 - the standard library's
        except BaseException:
            sock.close()
            raise
        return sock

    # --- reading and writing

    def pump(self, timeout_s: float, wake: int) -> None:
        """See ``link.Link``."""
        try:
            self._pump(timeout_s, wake)
        except parser.MalformedError as error:
            self._end(Ended(None, f"the broker sent what is not MQTT {'5.0' if self._v5 else '3.1.1'}: {error}"))
        except OSError as error:
            found = tls.explained(error, self.where)
            # the alert of TLS 1.3 about our certificate comes after the handshake
            self._end(self._cut() if found is None else Ended(None, str(found), lasting=True))
        if self._ended:
            self.close()

    def _pump(self, timeout_s: float, wake: int) -> None:
        sock = self._sock
        if sock is None:
            self._end(Ended(None, "the connection is closed"))
            return
        cut = self._flush(sock)
        held = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0  # bytes that the kernel no longer knows of
        ready = self._wait(sock, 0.0 if held or cut is not None else timeout_s, wake)
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(wake)
        if held or sock.fileno() in ready:
            self._receive(sock)
        if cut is not None:
            raise cut  # only now: a broker that answers and cuts the connection makes the write fail
        if self._out:
            cut = self._flush(sock)
            if cut is not None:
                raise cut
        self._keep_alive()

    def _wait(self, sock: socket.socket, timeout_s: float, wake: int) -> list[int]:
        asked = (wake, select.POLLIN | (select.POLLOUT if self._out else 0))
        if asked != self._polled:
            self._polled = asked
            self._poll.register(wake, select.POLLIN)
            self._poll.register(sock, asked[1])
        return [descriptor for descriptor, _ in self._poll.poll(timeout_s * 1000)]

    def _flush(self, sock: socket.socket) -> OSError | None:
        """Write what can be; return what went wrong instead of raising it."""
        while self._out:
            try:
                sent = sock.send(self._out)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return None
            except OSError as error:
                return error
            del self._out[:sent]
            self._wrote_s = time.monotonic()
        return None

    def _receive(self, sock: socket.socket) -> None:
        for _ in range(_READS_MAX):
            try:
                data = sock.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            # the kernel forgets this by itself (tcp(7)); a broker with Nagle's algorithm would hold back its answer
            # until ours to the one before: 32 ms instead of 0.3 at 30 results a second
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if not data:
                self._end(self._cut())
                return
            self._heard_s = time.monotonic()
            self._in += data
            self._digest()
            if self._ended or (len(data) < _CHUNK and not isinstance(sock, ssl.SSLSocket)):
                return

    def _digest(self) -> None:
        buffer, at = self._in, 0
        while not self._ended and (frame := parser.cut(buffer, at)) is not None:
            self._take(parser.read(frame.head, bytes(buffer[frame.start : frame.end]), v5=self._v5))
            at = frame.end
        del buffer[:at]

    def _take(self, packet: parser.Packet) -> None:
        if isinstance(packet, Answered):
            self._unanswered.discard(packet.mid)
            self._happened.append(packet)
        elif isinstance(packet, parser.Pong):
            self._pinged_s = None
        elif isinstance(packet, Ended):
            self._end(packet)
        elif self._accepted_s is None:
            if not isinstance(packet, Accepted):
                msg = "a packet before the CONNACK"
                raise parser.MalformedError(msg)
            self._accept(packet)
        elif isinstance(packet, Accepted):
            msg = "a second CONNACK"
            raise parser.MalformedError(msg)
        elif isinstance(packet, parser.Delivery):
            self._happened.append(packet.message)
            if packet.mid:
                self._out += packets.puback(packet.mid)
        else:
            self._happened.append(packet)

    def _accept(self, accepted: Accepted) -> None:
        if accepted.qos_max < _QOS_NEEDED:  # 3.2.2.3.4: it would never say that it has a result
            self._end(Ended(None, "the broker takes messages without acknowledging them only (QoS 0)", lasting=True))
            return
        self._accepted_s = time.monotonic()
        self._retains = accepted.retains
        if accepted.keepalive_s is not None:  # 3.2.2.3.14
            self._keepalive_s = min(accepted.keepalive_s, self._keepalive_s) or self._keepalive_s
        if not accepted.retains:
            logger.warning("the broker at %s keeps no messages: status and latest reach only who listens", self.where)
        self._happened.append(accepted)

    def _keep_alive(self) -> None:
        """Show the broker that we are there, and see whether it is."""
        if self._accepted_s is None or not self._keepalive_s:
            return
        now_s = time.monotonic()
        if self._pinged_s is not None:
            if now_s - self._pinged_s > self._settings.ack_timeout_s:
                self._end(Ended(None, "the broker does not answer"))
        elif now_s - min(self._wrote_s, self._heard_s) > self._keepalive_s * 0.75:  # who sends at QoS 0 hears nothing
            self._pinged_s = now_s
            self._out += packets.PINGREQ

    # --- what the owner says

    @property
    def queued(self) -> int:
        """See ``link.Link``."""
        return len(self._out)

    def happened(self) -> list[Happening]:
        """See ``link.Link``."""
        found = list(self._happened)
        self._happened.clear()
        return found

    def publish(self, message: Outgoing) -> int:
        """See ``link.Link``."""
        mid = self._next_mid() if message.qos else 0
        self._out += packets.publish(message, mid, retain=message.retain and self._retains, v5=self._v5)
        if mid:
            self._unanswered.add(mid)
        return mid

    def subscribe(self, filters: Sequence[str]) -> None:
        """See ``link.Link``."""
        self._out += packets.subscribe(self._next_mid(), filters, v5=self._v5)

    def size(self, message: Outgoing) -> int:
        """See ``link.Link``."""
        return packets.publish_size(message)

    def disconnect(self, *, with_will: bool = False) -> None:
        """See ``link.Link``."""
        self._out += packets.DISCONNECT_WITH_WILL if with_will and self._v5 else packets.DISCONNECT

    def close(self) -> None:
        """See ``link.Link``."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        sock.close()
        if self._accepted_s is not None and time.monotonic() - self._accepted_s > _STOOD_S:
            self._on_stood()

    def _next_mid(self) -> int:
        while True:
            self._mid = self._mid % _MID_MAX + 1
            if self._mid not in self._unanswered:
                return self._mid

    def _cut(self) -> Ended:
        if self._accepted_s is not None:
            return Ended(None, "the connection was cut")
        return Ended(None, "the broker cut the connection before it answered: does mqtt.port want mqtt.tls?")

    def _end(self, ended: Ended) -> None:
        """Tell the first reason only: what follows is the echo of it."""
        if not self._ended:
            self._ended = True
            self._happened.append(ended)


def _wrapped(context: ssl.SSLContext, sock: socket.socket, host: str) -> socket.socket:
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except (ConnectionResetError, ssl.SSLEOFError) as error:  # how a broker without TLS answers to it
        msg = "it cut the TLS handshake: does that port speak TLS?"
        raise ConnectionResetError(msg) from error


def _close_late(dialled: Future[socket.socket]) -> None:
    """Close what was connected after nobody waited for it any more."""
    if dialled.exception() is None:
        dialled.result().close()
