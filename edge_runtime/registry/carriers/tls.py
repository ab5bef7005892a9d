"""How TLS is spoken with a registry: at least 1.2, its name checked, whose authorities and with which certificate."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from edge_runtime.core.errors import ConfigError
from edge_runtime.registry.carriers.sockets import TlsSocket

if TYPE_CHECKING:
    from edge_runtime.registry.carriers.access import Access


def tls_context(access: Access, *, home: bool) -> ssl.SSLContext:
    """Return what TLS connections of one carrier are made from.

    Args:
        access: authorities and certificate.
        home: to the registry itself; else to a host that it sends us to, perhaps a public store of objects: that may be
            vouched for by the authorities of the system as well, and is not shown who we are.

    Raises:
        ConfigError: code ``registry.certificate``: a file is missing, is no PEM, or does not belong to its key.
    """
    asked = False

    def password() -> str:  # else OpenSSL would ask at the terminal
        nonlocal asked
        asked = True
        return ""

    try:
        context = ssl.create_default_context(cafile=access.ca_file if home else None)
        if access.ca_file is not None and not home:
            context.load_verify_locations(access.ca_file)
        if access.cert_file is not None and home:
            context.load_cert_chain(access.cert_file, access.key_file, password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        files = [str(path) for path in (access.ca_file, access.cert_file, access.key_file) if path is not None]
        reason = "the key is encrypted" if asked else str(getattr(error, "strerror", None) or error)
        message = f"cannot use {', '.join(files) or 'the certificates of the system'}: {reason}"
        raise ConfigError(
            "registry.certificate", message, help="PEM files are expected, the key unencrypted"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.sslsocket_class = TlsSocket
    return context
