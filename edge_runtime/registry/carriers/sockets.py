"""Sockets whose timeout is a deadline: a server that sends one byte now and then does not renew it.

``settimeout`` of an ordinary socket limits each call. Here it limits all receiving until it is called again, which
``http.client`` does before it reads the headers of an answer, and we before each piece of a body.
"""

from __future__ import annotations

import errno
import math
import os
import queue
import select
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.registry.carriers.addresses import literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.system.service import Stop

_SLICE_S: Final = 0.2  # how soon a stop is seen
_SHORTEST_S: Final = 0.001  # a timeout of 0 would mean: never wait


class _Deadline:
    """What both kinds of sockets get."""

    stop: Stop | None = None
    _until_s: float = math.inf

    def settimeout(self, value: float | None, /) -> None:
        """Allow ``value`` seconds from now for all that is received until the next call."""
        self._until_s = math.inf if value is None else time.monotonic() + value
        super().settimeout(value)  # type: ignore[misc]

    def recv_into(self, buffer: Any, nbytes: int | None = 0, flags: int = 0) -> int:  # noqa: ANN401 - as socket's
        """Receive as ``socket.recv_into`` does, until the deadline or the stop."""
        pending = getattr(self, "pending", None)
        if pending is None or not pending():
            wait_for(self.fileno(), select.POLLIN, self._until_s, self.stop)  # type: ignore[attr-defined]
        if self._until_s < math.inf:
            super().settimeout(max(self._until_s - time.monotonic(), _SHORTEST_S))  # type: ignore[misc]
        return int(super().recv_into(buffer, nbytes, flags))  # type: ignore[misc]


class PlainSocket(_Deadline, socket.socket):
    """TCP."""


class TlsSocket(_Deadline, ssl.SSLSocket):
    """TLS; an `ssl.SSLContext` makes these when it is its ``sslsocket_class``."""


def wait_for(descriptor: int, event: int, until_s: float, stop: Stop | None) -> None:
    """Wait for an event of ``poll(2)`` on a socket.

    Raises:
        TimeoutError: ``until_s`` on the monotonic clock came first.
        UnavailableError: code ``registry.stopped``: the stop was asked for.
    """
    poll = select.poll()
    poll.register(descriptor, event)
    while True:
        left_s = until_s - time.monotonic()
        if poll.poll(max(min(left_s, _SLICE_S), 0) * 1000):
            return
        check(stop)
        if left_s <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "timed out")


def check(stop: Stop | None) -> None:
    """Raise ``UnavailableError`` with the code ``registry.stopped`` when the stop was asked for."""
    if stop is not None and stop.is_set():
        raise UnavailableError("registry.stopped", "the daemon stops, so the registry is not waited for")


def pause(stop: Stop | None, seconds: float) -> None:
    """Wait; raises as `check` when the stop was asked for."""
    (stop or threading.Event()).wait(seconds)
    check(stop)


def dial(
    host: str, port: int, timeout_s: float, stop: Stop | None, allowed: Callable[[str], bool] = lambda _: True
) -> PlainSocket:
    """Connect to one of the addresses of ``host``, all of them within ``timeout_s`` seconds.

    Each address gets an equal share of the time that is left, so that a dead one does not hide those after it.

    Args:
        host: name or address.
        port: TCP port.
        timeout_s: for the name server and all addresses together; the rest of it is the deadline of the socket.
        stop: ends it early.
        allowed: says whether an address may be connected to.

    Raises:
        OSError: no address answered; ``TimeoutError``, or ``socket.gaierror`` for the name.
        DataError: code ``registry.redirect``: none of the addresses is allowed.
        UnavailableError: code ``registry.stopped``.
    """
    until_s = time.monotonic() + timeout_s
    found = _resolve(host, port, until_s, stop)
    addresses = [one for one in found if allowed(str(one[4][0]))]
    if not addresses:
        message = f"{host}:{port}: a server sent us to an address inside of this network or machine"
        raise DataError("registry.redirect", message, help="let the registry serve its blobs itself")
    error = OSError(errno.EHOSTUNREACH, "no address answered")
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        left_s = until_s - time.monotonic()
        connection = PlainSocket(family, kind, protocol)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _connect(connection, address, time.monotonic() + left_s / (len(addresses) - index), stop)
            connection.settimeout(max(until_s - time.monotonic(), _SHORTEST_S))
        except BaseException as caught:
            connection.close()
            if not isinstance(caught, OSError):
                raise
            error = caught
        else:
            return connection
    raise error


def _connect(connection: PlainSocket, address: Any, until_s: float, stop: Stop | None) -> None:  # noqa: ANN401
    connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
    result = connection.connect_ex(address)
    if result == errno.EINPROGRESS:
        wait_for(connection.fileno(), select.POLLOUT, until_s, stop)
        result = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if result:
        raise OSError(result, os.strerror(result))


def _resolve(host: str, port: int, until_s: float, stop: Stop | None) -> list[Any]:
    """Ask the name server in a thread: nothing can interrupt the C library, so one that is late is left behind."""
    if literal(host) is not None:
        return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:  # UnicodeError: the name does not fit into DNS
            answers.put(error if isinstance(error, OSError) else socket.gaierror(str(error)))

    threading.Thread(target=ask, name="registry/resolve", daemon=True).start()
    while True:
        left_s = until_s - time.monotonic()
        try:
            answer = answers.get(timeout=max(min(left_s, _SLICE_S), _SHORTEST_S))
        except queue.Empty:
            check(stop)
            if left_s > 0:
                continue
            raise TimeoutError(errno.ETIMEDOUT, "the name server does not answer") from None
        if isinstance(answer, OSError):
            raise answer
        return answer
