"""An HTTP server of ours on a loopback port, in threads of this process: a base for those that tests script."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.fakes.certificates import Pair


class LoopbackServer:
    """Answers each connection in a thread of its own while the block runs; its end cuts all connections.

    Args:
        handler: one instance per connection; it finds this object as ``self.server.owner``.
        tls: certificate and key; without them plain HTTP.
        host: an address of loopback; 127.0.0.2 is another host than 127.0.0.1.

    Attributes:
        requests: what was asked, as ``GET /v2/``, in the order of arrival.
        credentials: the header Authorization of each of them, empty where there was none.
        ending: set when the block ends; handlers that wait, wait on this.
    """

    def __init__(
        self, handler: type[BaseHTTPRequestHandler], tls: Pair | None = None, *, host: str = "127.0.0.1"
    ) -> None:
        self._http = _Http(self, handler, tls, host)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="loopback-server")
        self.ending = threading.Event()
        self.scheme = "https" if tls else "http"
        self.host = host
        self.port = int(self._http.server_address[1])
        self.requests: list[str] = []
        self.credentials: list[str] = []

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.address}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.ending.set()
        self._http.shutdown()
        self._thread.join()
        self._http.cut()
        self._http.server_close()  # joins the threads of connections


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 without noise; what is asked is kept in ``requests`` of its server. Subclasses give `respond`."""

    protocol_version = "HTTP/1.1"
    server: _Http

    @property
    def owner(self) -> Any:
        """The `LoopbackServer` that this connection belongs to."""
        return self.server.owner

    def parse_request(self) -> bool:
        """Read the request line and the headers, and remember the request."""
        good = super().parse_request()
        if good:
            self.owner.requests.append(f"{self.command} {self.path}")
            self.owner.credentials.append(self.headers.get("Authorization", ""))
        return good

    def respond(self) -> None:
        """Answer the request, whatever its method is; the body is still to be read from ``rfile``."""
        self.answer(405)

    def do_GET(self) -> None:
        self.respond()

    def do_HEAD(self) -> None:
        self.respond()

    def do_POST(self) -> None:
        self.respond()

    def do_PUT(self) -> None:
        self.respond()

    def do_PATCH(self) -> None:
        self.respond()

    def do_DELETE(self) -> None:
        self.respond()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; ``_`` in the name of a header is ``-``. A HEAD gets the headers alone."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name in the base class
        """Say nothing."""


class _Http(ThreadingHTTPServer):
    daemon_threads = False  # they are joined
    request_queue_size = 128

    def __init__(
        self, owner: LoopbackServer, handler: type[BaseHTTPRequestHandler], tls: Pair | None, host: str
    ) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()  # guarded by _lock
        self._lock = threading.Lock()
        super().__init__((host, 0), handler)
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls.cert, tls.key)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection; the handshake is in its own thread, so that nobody can hold the others up."""
        request.settimeout(None)
        try:
            with self._lock:
                self._open.add(request)
            if self._context is not None:
                plain, request = request, self._context.wrap_socket(request, server_side=True)
                with self._lock:
                    self._open.discard(plain)
                    self._open.add(request)
        except OSError:  # the client does not like the certificate, or left
            self._forget(request)
            request.close()
            return
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is no news; anything else is a mistake of a handler and is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def cut(self) -> None:
        """Cut all connections, so that the threads that serve them end."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            self._open.discard(request)
