"""One exchange with a web server over urllib3, within limits of time; knows no redirects and no passwords."""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from edge_runtime import __version__
from edge_runtime.core.errors import ConfigError, DataError, EdgeError, PermissionDeniedError, UnavailableError
from edge_runtime.registry.carriers.access import proxy_for
from edge_runtime.registry.carriers.addresses import is_redirect_allowed
from edge_runtime.registry.carriers.sockets import check, dial
from edge_runtime.registry.carriers.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_runtime.registry.carriers.access import Access
    from edge_runtime.registry.carriers.sockets import PlainSocket, TlsSocket

_AGENT: Final = f"edge-runtime/{__version__}"
_CONNECTIONS: Final = 16  # kept for each host
_DRAIN_BYTES, _DRAIN_S = 8192, 0.2  # of a body that nobody wants, to keep the connection
_TLS_CUT: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
NOT_TLS: Final = "registry.not_tls"  # the code of an error: the server answered in plain HTTP
_UNREACHABLE_HELP: Final = "check host and port of registry.url, that the registry runs, and the network between"
_PLAIN_ANSWER: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})


class Reply:
    """An answer whose body is read piece by piece; one thread.

    Attributes:
        status: of HTTP.
        url: that was asked.
        length: of the body in bytes, ``None`` when it was not announced.
    """

    def __init__(self, response: urllib3.HTTPResponse, sock: PlainSocket | TlsSocket, url: str, gap_s: float) -> None:
        """Own ``response``, whose bytes come from ``sock``."""
        self.status = response.status
        self.url = url
        self.length = response.length_remaining
        self._response = response
        self._sock = sock
        self._gap_s = gap_s

    def header(self, name: str) -> str | None:
        """Return a header, all its values joined by commas."""
        return self._response.headers.get(name)

    def read(self, limit: int, within_s: float | None = None) -> bytes:
        """Return 1 to ``limit`` bytes of the body, none at its end; waits as long as the access allows.

        Raises:
            UnavailableError: cut, or nothing came for too long.
        """
        left = self._response.length_remaining
        if left == 0 or self._response.closed:
            return b""
        try:
            self._sock.settimeout(self._gap_s if within_s is None else within_s)
            return self._response.read1(limit if left is None else min(limit, left), decode_content=False)
        except (exceptions.HTTPError, OSError) as error:
            raise translated(error, self.url) from error

    def close(self) -> None:
        """Give the connection back when the body is over or short, else end it; may be called twice."""
        left, until_s = self._response.length_remaining, time.monotonic() + _DRAIN_S
        with contextlib.suppress(EdgeError):
            while left and left <= _DRAIN_BYTES and (left_s := until_s - time.monotonic()) > 0:
                self.read(left, left_s)
                left = self._response.length_remaining
        if left == 0:
            self._response.drain_conn()  # reads nothing, and tells http.client so
        else:
            self._response.close()
        self._response.release_conn()


class Http:
    """Connections to a server and to those that it sends us to; may be used by any number of threads at once."""

    def __init__(self, host: str, access: Access) -> None:
        """Be ready to talk to ``host``; nothing is connected or read yet.

        Args:
            host: name or address of the server that the operator named; any address will do for it.
            access: limits, certificates and proxy.
        """
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # the rest would be addresses that are secrets, signed
        self._access = access
        self._host = host
        self._peer: str | None = None  # where that server is
        self._pools: dict[tuple[str, bool, str | None], urllib3.PoolManager] = {}

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
        answer_s: float | None = None,
    ) -> Reply:
        """Send one request and return the answer, whatever its status.

        Args:
            method: of HTTP.
            url: absolute. When the operator did not name its host, it must not be inside of our network.
            headers: what to send besides the usual; with ``Content-Length`` when ``body`` is not bytes.
            body: to send; each piece has ``gap_s`` seconds to leave.
            answer_s: limit until the headers of the answer are here, from now on or from the end of ``body`` on;
                ``None`` = that of the access.

        Raises:
            UnavailableError: no connection, no answer in time, or cut.
            PermissionDeniedError: a proxy refuses us.
            DataError: ``registry.tls``, ``registry.not_tls``, ``registry.redirect`` (an address inside of our network),
                ``registry.encoding``, ``registry.protocol``.
            ConfigError: a certificate of ours cannot be used.
        """
        access = self._access
        check(access.stop)
        limit_s = access.answer_s if answer_s is None else answer_s
        total_s = limit_s if body is None else None  # urllib3 would count the time of sending
        more: dict[str, Any] = {
            "body": body,
            "headers": {"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers},
            "timeout": urllib3.Timeout(connect=min(access.connect_s, limit_s), read=limit_s, total=total_s),
        }
        try:
            try:
                response = self._urlopen(method, url, more)
            except exceptions.ProtocolError:
                # A server may end a connection that is kept for the next request, and that only shows when it is made.
                if method not in {"GET", "HEAD"}:
                    raise
                response = self._urlopen(method, url, more)
        except (exceptions.HTTPError, OSError, ValueError) as error:
            raise translated(error, url) from error
        connection = cast("_Connection", response.connection)
        reply = Reply(response, connection.answering, url, access.gap_s)
        encoding = (reply.header("Content-Encoding") or "identity").strip().lower()
        if encoding != "identity":
            reply.close()
            message = f"{without_query(url)}: the body is encoded as {encoding[:40]!r}, which nobody asked for"
            raise DataError("registry.encoding", message, help="turn off compression in the server or the proxy")
        return reply

    def close(self) -> None:
        """Close the connections that nobody reads from; may be called twice."""
        for pools in list(self._pools.values()):
            for key in pools.pools.keys():  # noqa: SIM118 - it is no dict, and cannot be iterated over
                pool = pools.pools.get(key)
                if pool is not None:
                    pool.close()  # else that is left to the garbage collector
            pools.clear()

    def _urlopen(self, method: str, url: str, more: dict[str, Any]) -> urllib3.HTTPResponse:
        fixed: dict[str, Any] = {"redirect": False, "retries": False, "preload_content": False, "decode_content": False}
        return cast("urllib3.HTTPResponse", self._pools_for(url).urlopen(method, url, **fixed, **more))

    def _pools_for(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        host = parts.hostname or ""
        proxy = proxy_for(self._access, parts.scheme, host)
        key = (parts.scheme, host == self._host, proxy)
        pools = self._pools.get(key)
        if pools is None:  # two threads may make one each; the first one's stays
            home = host == self._host
            context = tls_context(self._access, home=home) if parts.scheme == "https" else None
            dialer = _Dialer(self, self._access, home=home, proxied=proxy is not None)
            pools = self._pools.setdefault(key, _make_pools(dialer, context, proxy))
        return pools

    def dialled(self, address: str) -> None:
        """Note where our own server is."""
        self._peer = address

    def is_allowed(self, host: str, address: str) -> bool:
        """Tell whether our server may send us to ``host`` at ``address``; to one that the operator named it may."""
        named = {urlsplit(f"//{one}").hostname for one in self._access.realm_hosts}
        return host.lower() in named or is_redirect_allowed(address, self._peer)


class _Dialer:
    """Connects for one group of an `Http`'s pools."""

    def __init__(self, http: Http, access: Access, *, home: bool, proxied: bool) -> None:
        self._http = http
        self._home = home
        self._proxied = proxied
        self.gap_s = access.gap_s
        self.stop = access.stop

    def dial(self, host: str, port: int, timeout_s: float) -> PlainSocket:
        if self._proxied:
            return dial(host, port, timeout_s, self.stop)
        if not self._home:
            return dial(host, port, timeout_s, self.stop, partial(self._http.is_allowed, host))
        sock = dial(host, port, timeout_s, self.stop)
        self._http.dialled(str(sock.getpeername()[0]))
        return sock


class _Connection(HTTPConnection):
    """With our sockets, whose deadline is set for each phase: connecting, sending, the answer, pieces of its body."""

    answering: PlainSocket | TlsSocket

    def __init__(self, *args: Any, dialer: _Dialer, **more: Any) -> None:  # noqa: ANN401 - as urllib3's
        super().__init__(*args, **more)
        self._dialer = dialer

    def _new_conn(self) -> PlainSocket:
        try:
            return self._dialer.dial(self._dns_host, self.port, self.timeout or self._dialer.gap_s)
        except TimeoutError as error:
            raise exceptions.ConnectTimeoutError(self, f"no connection within {self.timeout} s") from error
        except OSError as error:
            raise exceptions.NewConnectionError(self, error.strerror or str(error)) from error

    def connect(self) -> None:
        super().connect()
        cast("PlainSocket | TlsSocket", self.sock).stop = self._dialer.stop
        self.sock.settimeout(self._dialer.gap_s)

    def request(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - handed on
        if self.sock is not None:
            self.sock.settimeout(self._dialer.gap_s)  # what is left of the last deadline is not for this
        super().request(*args, **more)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        self.answering = cast("PlainSocket | TlsSocket", self.sock)  # http.client forgets one that is not kept
        return super().getresponse()


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Pools(urllib3.PoolManager):
    dialer: _Dialer

    def _new_pool(
        self, scheme: str, host: str, port: int, request_context: dict[str, Any] | None = None
    ) -> HTTPConnectionPool:
        context = {**(request_context or self.connection_pool_kw), "dialer": self.dialer}
        self.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
        return super()._new_pool(scheme, host, port, context)


class _ProxyPools(_Pools, urllib3.ProxyManager):
    pass


def _make_pools(dialer: _Dialer, context: ssl.SSLContext | None, proxy: str | None) -> urllib3.PoolManager:
    tls: dict[str, Any] = {"ssl_context": context, "cert_reqs": "CERT_REQUIRED"} if context else {}
    if proxy is None:
        pools = _Pools(maxsize=_CONNECTIONS, **tls)
    else:
        scheme, _, rest = proxy.rpartition("://")
        if scheme not in {"", "http"}:
            message = f"a proxy is http://HOST:PORT, found {scheme[:40]}://"
            raise ConfigError("registry.proxy", message, help="TLS goes through it untouched")
        user_info, _, address = rest.partition("/")[0].rpartition("@")
        headers = urllib3.make_headers(proxy_basic_auth=unquote(user_info)) if user_info else None
        pools = _ProxyPools(f"http://{address}", proxy_headers=headers, maxsize=_CONNECTIONS, **tls)
    pools.dialer = dialer
    return pools


def without_query(url: str) -> str:
    """Return ``url`` without what a server may have signed into it, and without the user."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]


def translated(error: Exception, url: str) -> EdgeError:
    """Return our error for one of urllib3, ssl or the kernel, that came up while ``url`` was asked for."""
    where = without_query(url)
    cause: BaseException = error
    while isinstance(cause, (exceptions.ProxyError, exceptions.SSLError)) and cause.args:
        inner = getattr(cause, "original_error", cause.args[0])
        if not isinstance(inner, BaseException):
            break
        cause = inner
    if "Tunnel connection failed: 407" in str(cause):
        message = f"{where}: the proxy demands another name or password"
        return PermissionDeniedError("registry.proxy", message, help="correct registry.proxy")
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, _TLS_CUT):
        return _distrust(cause, where)
    if isinstance(cause, ValueError):  # of urllib3, idna or http.client
        return DataError("registry.url", f"{where}: is no address that can be asked", help="correct registry.url")
    if isinstance(cause, exceptions.NewConnectionError):
        text = str(cause).rpartition(": ")[2]
        return UnavailableError("registry.unavailable", f"{where}: no connection: {text}", help=_UNREACHABLE_HELP)
    if isinstance(cause, (exceptions.TimeoutError, TimeoutError)):
        return UnavailableError("registry.timeout", f"{where}: no answer in time", help=_UNREACHABLE_HELP)
    text = " ".join(str(cause.args[-1] if cause.args else cause)[:200].split())  # perhaps a line that the server sent
    return UnavailableError("registry.cut", f"{where}: the connection was cut: {text}", help=_UNREACHABLE_HELP)


def _distrust(error: ssl.SSLError, where: str) -> DataError:
    if error.reason in _PLAIN_ANSWER:
        message = f"{where}: the server does not speak TLS"
        return DataError(NOT_TLS, message, help="correct the port, or set registry.allow_http")
    reason = getattr(error, "verify_message", "") or error.reason or str(error)
    message = f"{where}: no TLS connection that can be trusted: {reason}"
    way_out = "set registry.ca_file to its authority, and look at the name in its certificate and at the clock"
    return DataError("registry.tls", message, help=way_out)
