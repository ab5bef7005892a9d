"""A TCP proxy that does to a connection what factory networks do; one thread, as a class or as a program.

    pass                let everything through
    stall               forward nothing, keep connections open; what comes meanwhile waits (a backlog)
    blackhole           accept connections and never answer
    cut | reset         end every connection (FIN | RST) and refuse new ones
    garbage N           insert N random bytes into the stream from the server
    corrupt P           flip each byte from the server with probability P
    throttle B          forward B bytes a second from the server

As a program: ``fault_proxy.py LISTEN TARGET``, commands on standard input.
"""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Self

CHUNK_BYTES = 65536
BACKLOG_BYTES_MAX = 32 << 20


@dataclass(eq=False)
class _Link:
    """One client with its connection to the server, and what waits for either."""

    client: socket.socket
    server: socket.socket | None
    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)

    @property
    def sockets(self) -> list[socket.socket]:
        return [sock for sock in (self.client, self.server) if sock is not None]

    def close(self, *, hard: bool = False) -> None:
        for sock in self.sockets:
            if hard:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()


class FaultProxy:
    """See the module docstring; a context manager. ``command`` may be called from any thread."""

    def __init__(self, target_port: int, listen_port: int = 0) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", listen_port))
        self.port: int = self._listener.getsockname()[1]
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._commands: list[list[str]] = []
        self._lock = threading.Lock()  # guards _commands
        self._mode, self._amount = "pass", 0.0
        self.accepted = 0
        self._garbage = 0
        self._links: list[_Link] = []
        self._random = random.Random(1)
        self._credit_at_s = time.monotonic()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="fault-proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.command("stop")
        self._thread.join()
        for link in self._links:
            link.close()
        self._listener.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def command(self, line: str) -> None:
        """Do what the module docstring says about ``line``, soon."""
        with self._lock:
            self._commands.append(line.split())
        os.write(self._wake_write, b"x")

    def _run(self) -> None:
        while not self._stopping:
            reading: list[object] = [self._listener, self._wake_read]
            writing: list[object] = []
            flows = self._mode not in ("stall", "blackhole")
            for link in self._links:
                if len(link.up) < BACKLOG_BYTES_MAX:
                    reading.append(link.client)
                if link.server is not None and len(link.down) < BACKLOG_BYTES_MAX:
                    reading.append(link.server)
                if flows and link.down and self._mode != "throttle":
                    writing.append(link.client)
                if flows and link.up and link.server is not None:
                    writing.append(link.server)
            readable, writable, _ = select.select(reading, writing, [], 0.02)
            if self._wake_read in readable:
                os.read(self._wake_read, CHUNK_BYTES)
                self._obey()
            if self._listener in readable:
                self._accept()
            self._throttle()
            for link in list(self._links):
                self._serve(link, readable, writable)

    def _obey(self) -> None:
        with self._lock:
            commands, self._commands = self._commands, []
        for words in commands:
            if words[0] == "garbage":
                self._garbage = int(words[1])
            elif words[0] == "stop":
                self._stopping = True
            else:
                self._mode, self._amount = words[0], float(words[1]) if len(words) > 1 else 0.0
                if self._mode in ("cut", "reset"):
                    for link in self._links:
                        link.close(hard=self._mode == "reset")
                    self._links.clear()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.accepted += 1
        if self._mode in ("cut", "reset"):
            client.close()
            return
        server = None
        if self._mode != "blackhole":
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port), 3)
            except OSError:
                client.close()
                return
        self._links.append(_Link(client, server))

    def _serve(self, link: _Link, readable: list[object], writable: list[object]) -> None:
        try:
            if link.client in readable:
                link.up += _receive(link.client)
            if link.server is not None and link.server in readable:
                link.down += self._harm(_receive(link.server))
            if link.client in writable and link.down:
                del link.down[: link.client.send(link.down[:CHUNK_BYTES])]
            if link.server is not None and link.server in writable and link.up:
                del link.up[: link.server.send(link.up[:CHUNK_BYTES])]
        except OSError:
            link.close()
            if link in self._links:
                self._links.remove(link)

    def _harm(self, data: bytes) -> bytes:
        if self._garbage:
            count, self._garbage = self._garbage, 0
            data = self._random.randbytes(count) + data
        if self._mode == "corrupt":
            harmed = bytearray(data)
            for _ in range(int(len(harmed) * self._amount + self._random.random())):
                harmed[self._random.randrange(len(harmed))] ^= self._random.randrange(1, 256)
            data = bytes(harmed)
        return data

    def _throttle(self) -> None:
        now_s = time.monotonic()
        count = int((now_s - self._credit_at_s) * self._amount)
        if self._mode != "throttle":
            self._credit_at_s = now_s
        elif count > 0:
            self._credit_at_s = now_s
            for link in list(self._links):
                piece = bytes(link.down[:count])
                if piece:
                    del link.down[: link.client.send(piece)]


def _receive(sock: socket.socket) -> bytes:
    data = sock.recv(CHUNK_BYTES)
    if not data:
        raise ConnectionResetError
    return data


def main() -> None:
    """Forward between two ports, commands on standard input, until it ends."""
    listen, target = (int(word) for word in sys.argv[1:3])
    with FaultProxy(target, listen) as proxy:
        print(f"READY {proxy.port} -> {target}", flush=True)
        for line in sys.stdin:
            proxy.command(line)


if __name__ == "__main__":
    main()
