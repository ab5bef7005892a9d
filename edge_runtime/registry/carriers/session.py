"""Talks with one web server: who we are, redirects by hand, patience while it is overloaded, what it refuses."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from edge_runtime.core.errors import DataError, EdgeError, PermissionDeniedError, UnavailableError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.carriers.addresses import is_disguised, is_loopback, is_redirect_allowed, literal
from edge_runtime.registry.carriers.auth import TOKEN_BYTES_MAX, Auth
from edge_runtime.registry.carriers.http import NOT_TLS, Http, without_query
from edge_runtime.registry.carriers.sockets import pause
from edge_runtime.system.redact import hide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from urllib.parse import SplitResult

    from edge_runtime.registry.carriers.access import Access
    from edge_runtime.registry.carriers.http import Reply

    Body = bytes | Callable[[], Iterable[bytes]] | None

REDIRECTS_MAX: Final = 5
_REDIRECT: Final = frozenset({301, 302, 303, 307, 308})
_FORWARDED: Final = frozenset({"accept", "range", "if-range", "if-none-match"})  # what another host may see
_ERROR_BYTES, _ERROR_S, _ERROR_CHARS = 4096, 2.0, 160
_PIECE_BYTES: Final = 64 << 10
_SHORTEST_PAUSE_S: Final = 0.5
_OVERLOADED: Final = frozenset({429, 503})
_TRANSIENT: Final = frozenset({408, 425, 429})
_LOCATION: Final = re.compile(r"[\x21-\x7e]{1,8192}")


class Session:
    """One server, as the operator named it; may be used by any number of threads at once.

    Attributes:
        name: its address, for messages.
    """

    def __init__(self, schemes: tuple[str, ...], authority: str, access: Access) -> None:
        """Be ready; nothing is connected yet.

        Args:
            schemes: ``https``, ``http``, or both: the second is used when the first turns out not to be spoken.
            authority: ``HOST`` or ``HOST:PORT``.
            access: who we are, and limits.
        """
        self._schemes = schemes
        self._authority = authority
        self._host = (urlsplit(f"//{authority}").hostname or "").lower()
        self._access = access
        self._http = Http(self._host, access)
        self._auth = Auth(self._host, access, self._fetch_token)

    @property
    def name(self) -> str:
        """Its address, for messages."""
        return f"{self._schemes[0]}://{self._authority}"

    def ask(
        self,
        method: str,
        path: str,
        *,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        answer_s: float | None = None,
    ) -> Reply:
        """Send a request, and again as authorisation and overload make it necessary; return the answer to close.

        Args:
            method: of HTTP; only ``GET`` and ``HEAD`` are sent elsewhere by the server.
            path: and query, from the root of the server.
            scope: what it needs, for registries that give tokens.
            headers: besides the usual.
            body: to send, or what makes it anew for each time that it is sent.
            answer_s: see `Http.exchange`.

        Raises:
            UnavailableError, PermissionDeniedError, DataError, ConfigError: as `Http.exchange`, and for a redirect or a
                realm that is not followed; not for a status.
        """
        waited_s = 0.0
        while True:
            reply = self._authorised(method, path, scope, dict(headers or {}), body, answer_s)
            pause_s = _seconds(reply.header("Retry-After")) if reply.status in _OVERLOADED else None
            if pause_s is None or waited_s + pause_s > self._access.retry_after_s:
                return reply
            reply.close()
            pause(self._access.stop, pause_s)
            waited_s += pause_s

    def document(self, reply: Reply, limit: int) -> bytes:
        """Return the whole body, and close ``reply``.

        Raises:
            DataError: code ``registry.size``: it has more than ``limit`` bytes.
            UnavailableError: cut, or not here within ``overall_s``.
        """
        until_s = time.monotonic() + self._access.overall_s
        where = without_query(reply.url)
        raw = bytearray()
        size = reply.length or 0
        try:
            while size <= limit:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    message = f"{where}: its {size} bytes took longer than {self._access.overall_s:g} s"
                    raise UnavailableError("registry.timeout", message, help="look at the network, or name a mirror")
                chunk = reply.read(_PIECE_BYTES, min(left_s, self._access.gap_s))
                if not chunk:
                    break
                raw += chunk
                size = max(reply.length or 0, len(raw))
        finally:
            reply.close()
        if size > limit:
            raise DataError("registry.size", f"{where}: has {size} bytes or more, allowed are {limit}")
        return bytes(raw)

    def refusal(self, reply: Reply) -> EdgeError:
        """Return the error for an answer that is not the one that was hoped for, and close it."""
        where, status = without_query(reply.url), reply.status
        said = self._said(reply)
        text = f"{where}: answered {status}" + (f" ({said})" if said else "")
        if status == 401:  # noqa: PLR2004 - statuses are known by their numbers
            way_out = "look at registry.username and the password"
            return PermissionDeniedError("registry.unauthorized", text, help=way_out)
        if status in (403, 407):
            return PermissionDeniedError("registry.forbidden", text, help="give this account the right to it")
        if status in (404, 410):
            return DataError("registry.missing", text, help="it was not published there, or the address is wrong")
        if status >= 500 or status in _TRANSIENT:  # noqa: PLR2004
            return UnavailableError("registry.unavailable", text, help="look at the server; it is tried again")
        if status in _REDIRECT:
            return DataError("registry.redirect", text, help="the address that the registry sends us to is not asked")
        return DataError("registry.refused", text, help="look at the log of the registry")

    def location(self, reply: Reply) -> str:
        """Return path and query of the ``Location`` on this server where an upload goes on, and close ``reply``.

        Its scheme and port do not count: behind a proxy a registry may not know them.

        Raises:
            DataError: code ``registry.redirect``: it is on another host.
        """
        reply.close()
        parts = _joined(reply.url, reply.header("Location") or "")
        if parts is None or (parts.hostname or "").lower() != self._host:
            message = f"{self.name}: it sends an upload to another host"
            raise DataError("registry.redirect", message, help="let the registry take its blobs itself")
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def close(self) -> None:
        """Close connections; may be called twice."""
        self._http.close()

    def _authorised(
        self, method: str, path: str, scope: str, headers: dict[str, str], body: Body, answer_s: float | None
    ) -> Reply:
        own = self._auth.header(scope)
        reply = self._followed(method, path, {**headers, **_credentials(own)}, body, answer_s)
        asked = reply.header("WWW-Authenticate")
        ours = reply.url.startswith(f"{self.name}/")
        if reply.status != 401 or not ours or asked is None or (own or "").startswith("Basic"):  # noqa: PLR2004
            return reply
        reply.close()
        self._auth.learn(asked, scope, self.name)
        return self._followed(method, path, {**headers, **_credentials(self._auth.header(scope))}, body, answer_s)

    def _followed(self, method: str, path: str, headers: dict[str, str], body: Body, answer_s: float | None) -> Reply:
        reply = self._redirected(method, path, headers, body, answer_s)
        if reply.status == 403 and not reply.url.startswith(f"{self.name}/"):  # noqa: PLR2004
            # The address of a blob in an object store is good for minutes: the registry makes a new one, once.
            reply.close()
            reply = self._redirected(method, path, headers, body, answer_s)
        return reply

    def _redirected(self, method: str, path: str, headers: dict[str, str], body: Body, answer_s: float | None) -> Reply:
        reply = self._first(method, path, headers, body, answer_s)
        for _ in range(REDIRECTS_MAX):
            location = reply.header("Location")
            if reply.status not in _REDIRECT or location is None or method not in {"GET", "HEAD"}:
                return reply
            reply.close()
            target = self._target(reply.url, location)
            sent = headers
            if not target.startswith(f"{self.name}/"):
                sent = {name: value for name, value in headers.items() if name.lower() in _FORWARDED}
            reply = self._http.exchange(method, target, sent, None, answer_s)
        if reply.status in _REDIRECT:
            reply.close()
            message = f"{self.name}: it redirects more than {REDIRECTS_MAX} times"
            raise DataError("registry.redirect", message, help="look at the server, or a proxy before it")
        return reply

    def _first(self, method: str, path: str, headers: dict[str, str], body: Body, answer_s: float | None) -> Reply:
        while True:
            made = body() if callable(body) else body
            schemes = self._schemes
            try:
                return self._http.exchange(method, f"{schemes[0]}://{self._authority}{path}", headers, made, answer_s)
            except DataError as error:
                if error.code != NOT_TLS or len(schemes) == 1:
                    raise
                self._schemes = schemes[1:]

    def _target(self, current: str, location: str) -> str:
        """Return where a redirect leads.

        Raises:
            DataError: code ``registry.redirect``: not to ``https://``, or to an address inside of this machine.
        """
        parts = _joined(current, location)
        host = "" if parts is None else (parts.hostname or "").lower()
        inner = (
            is_loopback(host)
            or is_disguised(host)
            or (literal(host) is not None and not is_redirect_allowed(host, None))
        )
        plain = self._schemes[0] == "http" and (host == self._host or self._access.allow_http)
        if parts is None or not host or parts.username is not None or (inner and host != self._host):
            why = "to an address that is none, or inside of this machine"
        elif parts.scheme == "https" or (parts.scheme == "http" and plain):
            return parts._replace(fragment="").geturl()
        else:
            why = "away from https://"
        message = f"{without_query(current)}: redirects us {why}: {host[:80] or location[:80]!r}"
        raise DataError("registry.redirect", message, help="let the registry serve its blobs itself")

    def _fetch_token(self, url: str, authorization: str | None) -> bytes:
        reply = self._http.exchange("GET", url, {"Accept": "application/json", **_credentials(authorization)})
        if reply.status != 200:  # noqa: PLR2004
            raise self.refusal(reply)
        return self.document(reply, TOKEN_BYTES_MAX)

    def _said(self, reply: Reply) -> str:
        """Return what the server says about its refusal, short and clean: ``DENIED: no such user``."""
        raw = b""
        until_s = time.monotonic() + _ERROR_S
        try:
            while len(raw) < _ERROR_BYTES and (left_s := until_s - time.monotonic()) > 0:
                chunk = reply.read(_ERROR_BYTES - len(raw), left_s)
                if not chunk:
                    break
                raw += chunk
        except UnavailableError:
            pass  # the status says enough
        reply.close()
        text = _first_error(raw)
        clean = " ".join("".join(one if one.isprintable() else " " for one in text).split())
        return hide(clean, self._access.secrets())[:_ERROR_CHARS]


def _first_error(raw: bytes) -> str:
    try:
        errors = load_object(raw, "errors", limit_bytes=_ERROR_BYTES).get("errors")
    except DataError:
        return "" if raw.lstrip()[:1] == b"<" else raw.decode("utf-8", "replace")  # a page for people is no message
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return ""
    return ": ".join(str(first[key]) for key in ("code", "message") if isinstance(first.get(key), str))


def split(url: str) -> SplitResult | None:
    """Return the parts of a URL, ``None`` for what is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # ValueError: no number
    except ValueError:
        return None
    return parts


def _joined(base: str, location: str) -> SplitResult | None:
    """Return where a ``Location`` leads, ``None`` when that is no address."""
    try:
        return split(urljoin(base, location)) if _LOCATION.fullmatch(location) else None
    except ValueError:  # brackets that do not close
        return None


def _seconds(retry_after: str | None) -> float | None:
    """Return how long a server wants to be left alone; a date is not believed, clocks differ (RFC 9110, 10.2.3)."""
    if retry_after is None or not re.fullmatch(r"[0-9]{1,6}", retry_after.strip()):
        return None
    return max(float(retry_after), _SHORTEST_PAUSE_S)


def _credentials(authorization: str | None) -> dict[str, str]:
    return {} if authorization is None else {"Authorization": authorization}
