"""Which addresses a server may send us to: an answer must not turn a box against its own network. Pure.

A redirect of a registry on the internet to ``169.254.169.254`` or to a machine of the plant would make the box fetch
what the registry itself cannot reach (server-side request forgery, CWE-918).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052, 2.1


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that ``host`` is, without brackets and zone, ``None`` for a name."""
    try:
        found = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return found.ipv4_mapped
        if found in _NAT64:
            return ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine by its spelling: ``localhost`` or an address like ``127.0.0.1``."""
    found = literal(host)
    return host.lower() == "localhost" if found is None else found.is_loopback


def is_redirect_allowed(address: str, origin: str | None) -> bool:
    """Tell whether a server may send us to ``address``.

    Args:
        address: where the other host is, for example ``10.1.2.3``.
        origin: address of the server that sent us there; ``None`` when a proxy talks to it, so nobody knows.
    """
    found, before = literal(address), None if origin is None else literal(origin)
    if found is None or found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    return found.is_global or before is None or not before.is_global
