"""A TCP proxy on loopback that is the cable between a client and its broker: it can be cut, swallow, and drip.

Unprivileged. One thread for all connections. What happens to bytes is decided by ``mode``:

    PASS        they go through
    BLACKHOLE   they stay where they are, in both directions, and new connections are accepted and silent: a half-open
                connection for both ends; with PASS again they go on
    DRIP        they go through in pieces of a few bytes
    REFUSE      existing connections are reset and new ones, too
"""

from __future__ import annotations

import contextlib
import enum
import select
import socket
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_TURN_S = 0.02
_PIECE = 65536
_DRIP = 7
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on with 0 s: close() sends a reset


class Mode(enum.Enum):
    """See the module docstring."""

    PASS = "pass"
    BLACKHOLE = "blackhole"
    DRIP = "drip"
    REFUSE = "refuse"


@dataclass(eq=False)
class _Pair:
    near: socket.socket
    far: socket.socket | None

    def reset(self) -> None:
        for sock in filter(None, (self.near, self.far)):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()


class Cable:
    """Listens on ``port`` and connects to ``target``, a port, once for each connection.

    Attributes:
        moved_bytes: what went through so far, both directions together.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._wake, self._waker = socket.socketpair()
        self._mode = Mode.PASS
        self._reset = False
        self._stopping = False
        self.moved_bytes = 0
        self._pairs: list[_Pair] = []
        self._thread = threading.Thread(target=self._run, name="cable")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._waker.send(b"x")
        self._thread.join()
        for pair in self._pairs:
            pair.reset()
        for sock in (self._server, self._wake, self._waker):
            sock.close()

    def set(self, mode: Mode) -> None:
        """Change what happens from now on."""
        self._mode = mode
        self._waker.send(b"x")

    def reset(self) -> None:
        """Cut every connection with a TCP reset; new ones are as the mode says."""
        self._reset = True
        self._waker.send(b"x")

    def _run(self) -> None:
        while not self._stopping:
            watched = {self._server: None, self._wake: None} | self._sockets()
            ready, _, _ = select.select(list(watched), [], [], 1.0)
            if self._wake in ready:
                self._wake.recv(100)
            if self._reset or self._mode is Mode.REFUSE:
                self._reset = False
                self._drop(self._pairs)
            if self._server in ready:
                self._accept()
            for sock in ready:
                pair = watched[sock]
                if pair in self._pairs and not self._move(pair, sock):
                    self._drop([pair])

    def _sockets(self) -> dict[socket.socket, _Pair]:
        """What is listened to: in a black hole nothing is."""
        if self._mode is Mode.BLACKHOLE:
            return {}
        for pair in [pair for pair in self._pairs if pair.far is None]:
            self._connect(pair)
        return {sock: pair for pair in self._pairs for sock in (pair.near, pair.far) if sock is not None}

    def _accept(self) -> None:
        near, _ = self._server.accept()
        pair = _Pair(near, None)
        if self._mode is Mode.REFUSE:
            pair.reset()
        else:
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append(pair)

    def _connect(self, pair: _Pair) -> None:
        try:
            pair.far = socket.create_connection(("127.0.0.1", self._target), 0.5)
        except OSError:
            self._drop([pair])
        else:
            pair.far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _move(self, pair: _Pair, source: socket.socket) -> bool:
        sink = pair.far if source is pair.near else pair.near
        drips = self._mode is Mode.DRIP
        try:
            data = source.recv(_DRIP if drips else _PIECE)
            if not data or sink is None:
                return False
            sink.settimeout(0.5)  # a receiver that is frozen fills its buffers
            sink.sendall(data)
            self.moved_bytes += len(data)
        except OSError:
            return False
        if drips:
            threading.Event().wait(0.0005)
        return True

    def _drop(self, pairs: list[_Pair]) -> None:
        for pair in list(pairs):
            pair.reset()
            self._pairs.remove(pair)
