"""Passwords and tokens of registries: who is sent what (RFC 9110, 11; the distribution project's token protocol).

A registry that wants to know who we are answers 401 and names a scheme. ``Basic`` wants the password itself, which the
registry gets and nobody else. ``Bearer`` names a server, the realm, that gives a token for the password: the realm is
asked only when it is the registry's own host or one that the operator named, else whoever took over a registry would
collect passwords. What was learnt is kept, so that the next request is not refused first.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from edge_runtime.core.errors import DataError, PermissionDeniedError
from edge_runtime.core.jsonfields import load_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.registry.carriers.access import Access

TOKEN_BYTES_MAX: Final = 64 << 10  # of the answer
_LIFE_S: Final = 60.0  # of a token that does not say; distribution's docs/spec/auth/token.md
_MARGIN_S: Final = 5.0  # a token is not used in the last seconds of its life
_LIFE_MAX_S: Final = 3600.0
_TOKENS_MAX: Final = 256
_PARAMETER: Final = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
_SCHEME: Final = re.compile(r"[\s,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s+|$|,)")
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What one scheme of a ``WWW-Authenticate`` header wants.

    Attributes:
        scheme: in lower case.
        parameters: their names in lower case.
    """

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Return the challenges of a ``WWW-Authenticate`` header, as far as it can be read (RFC 9110, 11.6.1)."""
    found: list[Challenge] = []
    at = 0
    while (scheme := _SCHEME.match(header, at)) is not None:
        at = scheme.end()
        parameters: dict[str, str] = {}
        while (one := _PARAMETER.match(header, at)) is not None:
            name, quoted, plain = one.groups()
            parameters.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
            at = one.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


class Auth:
    """What one registry is told about us; may be used by any number of threads at once."""

    def __init__(self, host: str, access: Access, fetch: Callable[[str, str | None], bytes]) -> None:
        """Know who we are; nothing is asked yet.

        Args:
            host: name or address of the registry.
            access: password and realms.
            fetch: returns the body at a URL, sent with an ``Authorization`` header if any, no redirects.
        """
        self._host = host
        self._access = access
        self._fetch = fetch
        self._lock = threading.Lock()  # guards what follows
        self._basic = False
        self._tokens: dict[str, tuple[str, float]] = {}  # by scope: the token and when it ends

    def header(self, scope: str) -> str | None:
        """Return the ``Authorization`` for a request that needs ``scope``, as far as it is known."""
        with self._lock:
            if self._basic:
                return self._password()
            token, until_s = self._tokens.get(scope, ("", 0.0))
            return f"Bearer {token}" if time.monotonic() < until_s else None

    def learn(self, header: str, scope: str, where: str) -> None:
        """Make the next `header` satisfy what a 401 asked for.

        Args:
            header: its ``WWW-Authenticate``.
            scope: that the request needs, for example ``repository:fleet/weld:pull``.
            where: address of the registry; when it is ``http://``, which somebody allowed, the realm may be that too.

        Raises:
            PermissionDeniedError: there is no password, it is not believed, or the realm may not be told it.
            UnavailableError, DataError: the realm does not answer, or not as it should.
        """
        challenges = {one.scheme: one.parameters for one in reversed(parse_challenges(header))}
        if "bearer" in challenges:
            token, until_s = self._token(challenges["bearer"], scope, where)
            with self._lock:
                if len(self._tokens) >= _TOKENS_MAX:
                    self._tokens.clear()
                self._tokens[scope] = (token, until_s)
            return
        if "basic" in challenges and self._access.username is not None:
            with self._lock:
                self._basic = True
            return
        if "basic" in challenges or not challenges:
            message = f"{where}: it wants a name and a password"
            raise PermissionDeniedError("registry.unauthorized", message, help="set registry.username, .password_file")
        message = f"{where}: it knows {', '.join(sorted(challenges))[:80]}, we know Basic and Bearer"
        raise PermissionDeniedError("registry.unauthorized", message, help="let the registry offer one of the two")

    def _password(self) -> str | None:
        if self._access.username is None:
            return None
        raw = f"{self._access.username}:{self._access.password or ''}".encode()
        return "Basic " + base64.b64encode(raw).decode("ascii")

    def _token(self, asked: Mapping[str, str], scope: str, where: str) -> tuple[str, float]:
        realm = asked.get("realm", "")
        self._demand_ours(realm, where)
        # The scope is the one that we need: what the server names could be more than that.
        query = urlencode({key: value for key, value in (("service", asked.get("service")), ("scope", scope)) if value})
        before_s = time.monotonic()
        raw = self._fetch(f"{realm}{'&' if '?' in realm else '?'}{query}", self._password())
        fields = load_object(raw, f"token for {where}", limit_bytes=TOKEN_BYTES_MAX)
        token, life_s = fields.get("token") or fields.get("access_token"), fields.get("expires_in")
        if not isinstance(token, str) or not _PRINTABLE.fullmatch(token):
            raise DataError("registry.token", f"{where}: its token server gives no token", help="look at its log")
        is_said = isinstance(life_s, int | float) and not isinstance(life_s, bool) and life_s > 0
        life = min(life_s, _LIFE_MAX_S) if is_said and isinstance(life_s, int | float) else _LIFE_S
        return token, before_s + max(life - _MARGIN_S, life / 2)

    def _demand_ours(self, realm: str, where: str) -> None:
        try:
            parts = urlsplit(realm)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:  # brackets that do not close, a port that is no number
            parts, host, port = urlsplit(""), "", None
        usual = {"https": 443, "http": 80}.get(parts.scheme)
        allowed = {one.lower() for one in self._access.realm_hosts}
        is_ours = host == self._host or host in allowed or f"{host}:{port or usual}" in allowed
        if not host or not is_ours or parts.username is not None:
            message = (
                f"{where}: it sends us to {(host or realm)[:80]!r} for a token, which may not be told the password"
            )
            way_out = "if that server may be: add it to registry.realm_hosts"
            raise PermissionDeniedError("registry.realm", message, help=way_out)
        if parts.scheme != "https" and (parts.scheme != "http" or not where.startswith("http://")):
            message = f"{where}: its token server {host} is no https://, so it is not told the password"
            raise PermissionDeniedError("registry.realm", message, help="let the registry name an https:// realm")
