"""Connections to network cameras that we make ourselves: addresses, plain reasons for failures, HTTP authentication.

Digest: RFC 7616 (and its predecessor 2617, which is what cameras speak); RTSP uses the same scheme (RFC 2326 D.2).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import ssl
import time
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from edge_runtime.camera.source import CONNECT_TIMEOUT_S
from edge_runtime.core.errors import PermissionDeniedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

PORTS: Final = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_HEAD_BYTES_MAX: Final = 64 << 10
_STATUS: Final = re.compile(r"[1-5][0-9]{2}")  # str.isdigit takes signs that int refuses
_AUTHORITIES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, Red Hat
    Path("/etc/ssl/ca-bundle.pem"),  # SUSE
    Path("/etc/ssl/cert.pem"),  # Alpine
)
_CHALLENGE_FIELD: Final = re.compile(r'(\w+)=(?:"([^"]*)"|([^",\s]+))')
_HASHES: Final = {"MD5": "md5", "SHA-256": "sha256"}
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404


@dataclass(frozen=True, slots=True)
class Address:
    """A camera's URL, taken apart; ``target`` is path and query, ``where`` is what people may see."""

    scheme: str
    host: str
    port: int
    target: str
    user: str | None = None
    password: str = field(default="", repr=False)

    @property
    def where(self) -> str:
        """Host and port, without secrets."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL without user and password, as a request line needs it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.target}"


def parse_address(url: str) -> Address:
    """Take a vetted camera URL (``core.source``) apart."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    user = None if parts.username is None else unquote(parts.username)
    return Address(
        scheme=scheme,
        host=parts.hostname or "",
        port=parts.port or PORTS[scheme],
        target=target,
        user=user,
        password=unquote(parts.password or ""),
    )


def connect(address: Address, timeout_s: float) -> socket.socket:
    """Return a connected TCP (for ``https`` and ``rtsps``: TLS) socket with ``timeout_s`` set.

    Whom TLS trusts are the authorities of the operating system.

    Raises:
        UnavailableError: code ``camera.unresolved``, ``refused``, ``unreachable``, ``timeout`` or ``tls``.
    """
    where = address.where
    try:
        sock = socket.create_connection((address.host, address.port), min(timeout_s, CONNECT_TIMEOUT_S))
    except socket.gaierror as error:
        raise unavailable("unresolved", f"the name {address.host} is not known to the name server", None) from error
    except ConnectionRefusedError as error:
        raise unavailable(
            "refused", f"{where} refuses the connection", "is the camera's service running, and on this port?"
        ) from error
    except TimeoutError as error:
        way_out = "is the camera powered and on this network?"
        raise unavailable("timeout", f"{where} does not answer", way_out) from error
    except OSError as error:
        raise unavailable("unreachable", f"{where} cannot be reached ({error.strerror})", None) from error
    sock.settimeout(timeout_s)
    if address.scheme in ("https", "rtsps"):
        return _secure(sock, address)
    return sock


def authorities_file() -> Path | None:
    """Return the file that holds the certificate authorities of the operating system, if there is one."""
    told = ssl.get_default_verify_paths().cafile
    places = (Path(told),) if told else _AUTHORITIES
    return next((place for place in places if place.is_file()), None)


def _secure(sock: socket.socket, address: Address) -> socket.socket:
    try:
        return ssl.create_default_context().wrap_socket(sock, server_hostname=address.host)
    except (OSError, ValueError) as error:
        sock.close()
        reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or error
        raise unavailable(
            "tls",
            f"no secure connection to {address.where} ({reason})",
            "install the camera's certificate authority on this box, or do without the s in a closed network",
        ) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What a camera answers to a request: status, the lines of the header, and what came behind it already."""

    status: int
    head: list[str]
    rest: bytes

    def values(self, name: str) -> list[str]:
        """Return the values of all header lines with this name, which is given in lower case."""
        prefix = name + ":"
        return [line[len(prefix) :].strip() for line in self.head if line.lower().startswith(prefix)]


def ask(sock: socket.socket, lines: list[str], address: Address, deadline_s: float) -> Answer:
    """Send a request of HTTP or RTSP, whichever the address is of, and return its answer.

    Raises:
        TimeoutError: it is not all there at ``deadline_s``, monotonic.
        OSError: the connection failed.
        UnavailableError: the answer is of another protocol.
    """
    protocol = "RTSP" if address.scheme.startswith("rtsp") else "HTTP"
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _HEAD_BYTES_MAX:
        remaining_s = deadline_s - time.monotonic()
        if remaining_s <= 0:  # a camera that sends byte by byte would never let a single read end
            raise TimeoutError
        sock.settimeout(remaining_s)
        chunk = sock.recv(4096)
        if not chunk:
            break
        answer += chunk
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *others = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if not words[0].startswith(protocol + "/") or len(words) == 1 or not _STATUS.fullmatch(words[1]):
        way_out = "is this the right port of the camera?"
        raise unavailable("protocol", f"{address.where} does not speak {protocol}", way_out)
    return Answer(int(words[1]), others, rest)


def unavailable(reason: str, message: str, way_out: str | None) -> UnavailableError:
    """Return the error for a camera that cannot be read now; ``reason`` becomes the reason of its state."""
    return UnavailableError(f"camera.{reason}", message, help=way_out)


def refusal(status: int, address: Address) -> UnavailableError | PermissionDeniedError:
    """Return what an HTTP or RTSP status other than 200 means for the camera."""
    where = address.where
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        if address.user is None:
            message, way_out = f"{where} wants a user and a password", "write them as USER:PASSWORD@ before the host"
        else:
            message, way_out = f"{where} does not accept this user and password", "check them in the camera's own page"
        return PermissionDeniedError("camera.unauthorized", message, help=way_out)
    if status == _NOT_FOUND:
        return unavailable("not_found", f"{where} has no stream at this path", "look up the stream's path (status 404)")
    return unavailable("status", f"{where} answers with status {status}", None)


def authorization(challenges: list[str], method: str, uri: str, address: Address) -> str | None:
    """Return the Authorization header's value for the strongest challenge that can be met, ``None`` if none can.

    Args:
        challenges: values of the WWW-Authenticate headers.
        method: of the request, for example ``GET``.
        uri: as in the request line.
        address: holds user and password.
    """
    if address.user is None:
        return None
    for challenge in challenges:
        if challenge[:7].lower() == "digest ":
            found = {name.lower(): quoted or bare for name, quoted, bare in _CHALLENGE_FIELD.findall(challenge)}
            if found.get("algorithm", "MD5").upper() in _HASHES:
                return _digest(found, method, uri, address)
    if any(challenge[:6].lower() == "basic " for challenge in challenges):
        return "Basic " + b64encode(f"{address.user}:{address.password}".encode()).decode()
    return None


def _digest(challenge: Mapping[str, str], method: str, uri: str, address: Address) -> str:
    algorithm = challenge.get("algorithm", "MD5").upper()

    def hashed(*parts: str) -> str:
        return hashlib.new(_HASHES[algorithm], ":".join(parts).encode(), usedforsecurity=False).hexdigest()

    realm, nonce = challenge.get("realm", ""), challenge.get("nonce", "")
    first = hashed(address.user or "", realm, address.password)
    second = hashed(method, uri)
    fields = {"username": address.user or "", "realm": realm, "nonce": nonce, "uri": uri}
    bare = {"algorithm": algorithm}
    if "auth" in challenge.get("qop", "").replace(" ", "").split(","):
        fields["cnonce"] = secrets.token_hex(8)
        bare |= {"qop": "auth", "nc": "00000001"}
        fields["response"] = hashed(first, nonce, bare["nc"], fields["cnonce"], "auth", second)
    else:
        fields["response"] = hashed(first, nonce, second)
    if "opaque" in challenge:
        fields["opaque"] = challenge["opaque"]
    quoted = [f'{name}="{_escape(value)}"' for name, value in fields.items()]
    return "Digest " + ", ".join(quoted + [f"{name}={value}" for name, value in bare.items()])


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "")
