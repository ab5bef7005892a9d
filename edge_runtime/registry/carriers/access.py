"""How a carrier may be reached: credentials, certificates, a proxy, and how long anything may take."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from edge_runtime.registry.carriers.addresses import is_loopback

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.system.service import Stop


ENVIRONMENT: Final = "environment"


@dataclass(frozen=True, slots=True)
class Access:
    """What the operator allows; everything has a default.

    Attributes:
        username: of a robot account; ``None`` = anonymous.
        password: its password or token; never shown.
        ca_file: PEM file of the authorities that are believed, for the registry itself instead of those of the system.
        cert_file: PEM file of the client's certificate, and those that vouch for it.
        key_file: PEM file of its key, not encrypted; ``None`` = it is in ``cert_file``.
        proxy: ``http://[USER:PASSWORD@]HOST[:PORT]``; ``environment`` = as the variables ``https_proxy``, ``no_proxy``
            ... say; ``None`` = none, whatever the variables say. Never shown.
        realm_hosts: ``HOST`` or ``HOST:PORT`` that may be sent the password besides the registry's host: for a token,
            or as a mirror.
        allow_http: whether ``http://`` is spoken with other hosts than this one.
        connect_s: limit for a connection, TLS included.
        answer_s: limit until the headers of an answer are here, the connection included; what a dead mirror costs.
        gap_s: limit between two pieces of a body.
        overall_s: limit for a small document as a whole.
        retry_after_s: longest wait that an overloaded server may ask for within one request.
        stop: ends every wait early when it is set; ``None`` = nothing does.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    realm_hosts: tuple[str, ...] = ()
    allow_http: bool = False
    connect_s: float = 5.0
    answer_s: float = 5.0
    gap_s: float = 15.0
    overall_s: float = 60.0
    retry_after_s: float = 10.0
    stop: Stop | None = field(default=None, repr=False, compare=False)

    def secrets(self) -> tuple[str, ...]:
        """Return what no message may hold, whoever says it back to us: the password, also as it is sent."""
        if not self.password:
            return ()
        sent = base64.b64encode(f"{self.username or ''}:{self.password}".encode()).decode("ascii")
        return (sent, sent.rstrip("="), self.password)


def for_mirror(access: Access, registry: str, mirror: str) -> Access:
    """Return how a mirror is reached: it is not told the registry's password unless its host may be.

    Args:
        access: how the registry is reached.
        registry: its address.
        mirror: the address of another place with the same content.
    """
    parts = urlsplit(mirror)
    told = {urlsplit(registry).hostname, *access.realm_hosts}
    if access.username is None or parts.hostname is None or parts.hostname in told or parts.netloc in told:
        return access
    return replace(access, username=None, password=None)


def proxy_for(access: Access, scheme: str, host: str) -> str | None:
    """Return the proxy through which ``host`` is asked, never one for this machine itself."""
    if access.proxy is None or is_loopback(host):
        return None
    if access.proxy != ENVIRONMENT:
        return access.proxy
    return None if proxy_bypass(host) else getproxies_environment().get(scheme)
