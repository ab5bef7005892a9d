"""Which addresses a server may send us to: an answer must not turn a box against its own network. Pure.

A redirect of a registry on the internet to ``169.254.169.254`` or to a machine of the plant would make the box fetch
what the registry itself cannot reach (server-side request forgery, CWE-918).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052, 2.1
_EMBEDDING: Final = (
    tuple(  # an IPv4 address is in them, and who forwards to it decides where: RFC 4291, 8215, 2765, 3056
        ipaddress.IPv6Network(one) for one in ("::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "2002::/16")
    )
)
_SITE_LOCAL: Final = ipaddress.IPv6Network("fec0::/10")  # RFC 3879
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


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


def is_disguised(host: str) -> bool:
    """Tell whether ``host`` is no address, but may be read as one, or as this machine, by whoever looks it up.

    ``127.1``, ``0x7f.0.0.1`` and ``2130706433`` are addresses to inet_aton(3), perhaps to a proxy, and so is anything
    whose last part is a number to a browser (WHATWG URL, "ends in a number").
    """
    last = host.rstrip(".").rpartition(".")[2]
    return literal(host) is None and (_NUMBER.fullmatch(last) is not None or last.lower() == "localhost")


def is_redirect_allowed(address: str, origin: str | None) -> bool:
    """Tell whether a server may send us to ``address``.

    Args:
        address: where the other host is, for example ``10.1.2.3``.
        origin: address of the server that sent us there; ``None`` when a proxy talks to it, so nobody knows.
    """
    found, before = literal(address), None if origin is None else literal(origin)
    if found is None or found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    if isinstance(found, ipaddress.IPv6Address) and any(found in one for one in (*_EMBEDDING, _SITE_LOCAL)):
        return False
    return found.is_global or before is None or not before.is_global
