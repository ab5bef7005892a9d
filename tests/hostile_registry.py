"""A registry that does harm: an honest one over HTTP, as an OCI registry and as a layout, until an attack is set.

    with HostileRegistry() as registry:
        blob = registry.put("model", weights)
        registry.attack, registry.on = flipped, "/blobs/"

Each attack is a function that answers one request for content that is there; a test may give its own. What the client
sent is in ``requests`` and ``credentials`` (see `tests.servers.LoopbackServer`).
"""

from __future__ import annotations

import contextlib
import gzip
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.registry.descriptor import MANIFEST, Descriptor, describe
from tests.servers import Handler, LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.certificates import Pair

METADATA_SERVICE = "http://169.254.169.254/latest/meta-data/"


@dataclass(frozen=True)
class Call:
    """One request for content that exists.

    Attributes:
        handler: answers it.
        body: all of the content, as it is.
        media_type: of the content.
        first: where the client wants to begin; 0 without Range.
        last: the last byte it wants.
        partial: there was a Range.
    """

    handler: Handler
    body: bytes
    media_type: str
    first: int
    last: int
    partial: bool

    def send(self, body: bytes | None = None, *, status: int | None = None, **headers: str) -> None:
        """Answer honestly, but for what is given; ``body`` replaces all of the content."""
        whole = self.body if body is None else body
        part = whole[self.first : self.last + 1] if self.partial else whole
        digest = describe(self.body, self.media_type).digest  # what was asked for, also where the body is another
        given = {"Content_Type": self.media_type, "Docker_Content_Digest": digest, "ETag": f'"{digest}"'}
        if self.partial:
            given["Content_Range"] = f"bytes {self.first}-{self.first + len(part) - 1}/{len(whole)}"
        self.handler.answer(status or (206 if self.partial else 200), part, **(given | headers))

    def begin(self, length: int | None, **headers: str) -> None:
        """Send the headers of an answer of ``length`` bytes (``None``: chunked) and leave its body to the caller."""
        self.handler.send_response(206 if self.partial else 200)
        given = {"Content-Type": self.media_type}
        if self.partial:
            given["Content-Range"] = f"bytes {self.first}-{self.last}/{len(self.body)}"
        given |= {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        for name, value in (given | {name.replace("_", "-"): text for name, text in headers.items()}).items():
            self.handler.send_header(name, value)
        self.handler.end_headers()

    def cut(self) -> None:
        """Close the connection after what was sent."""
        self.handler.wfile.flush()
        self.handler.close_connection = True


class HostileRegistry(LoopbackServer):
    """Holds what tests put into it and serves it, honestly or not.

    Args:
        root: a layout directory whose files are served too, under their paths.
        attack: what is done to requests; may be changed while it runs.
        on: only to paths that contain this; may be changed while it runs.
        times: only so many times, then it is honest; 0: always.
        tls: certificate and key.
        host: an address of loopback.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        attack: Callable[[Call], None] | None = None,
        on: str = "",
        times: int = 0,
        tls: Pair | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(_HostileHandler, tls, host=host)
        self.root, self.attack, self.on, self.times = root, attack, on, times
        self.done = 0  # how often the attack was carried out
        self._content: dict[str, tuple[bytes, str]] = {}

    def put(self, repository: str, raw: bytes, media_type: str = "application/octet-stream") -> Descriptor:
        """Serve a blob."""
        blob = describe(raw, media_type)
        self._content[f"/v2/{repository}/blobs/{blob.digest}"] = (raw, media_type)
        return blob

    def tag(self, repository: str, tag: str, raw: bytes, media_type: str = MANIFEST) -> Descriptor:
        """Serve a manifest under its tag and its digest."""
        manifest = describe(raw, media_type)
        for reference in (tag, manifest.digest):
            self._content[f"/v2/{repository}/manifests/{reference}"] = (raw, media_type)
        return manifest

    def find(self, path: str) -> tuple[bytes, str] | None:
        """Return what is at ``path`` and its media type."""
        if path in self._content:
            return self._content[path]
        file = self.root / path.lstrip("/") if self.root is not None else None
        return (file.read_bytes(), "application/octet-stream") if file is not None and file.is_file() else None


class _HostileHandler(Handler):
    def respond(self) -> None:
        owner: HostileRegistry = self.owner
        path = self.path.partition("?")[0]
        if self.command not in ("GET", "HEAD"):
            self.answer(405)
            return
        found = (b"{}", "application/json") if path == "/v2/" else owner.find(path)
        if found is None:
            self.answer(404, b'{"errors":[{"code":"NOT_FOUND"}]}')
            return
        body, media_type = found
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        last = int(wanted[2]) if wanted and wanted[2] else len(body) - 1
        if wanted and first >= len(body):
            self.answer(416, Content_Range=f"bytes */{len(body)}")
            return
        call = Call(self, body, media_type, first, min(last, len(body) - 1), bool(wanted))
        if owner.attack is not None and owner.on in path and (not owner.times or owner.done < owner.times):
            owner.done += 1
            owner.attack(call)
        else:
            call.send()


# --- wrong bytes


def flipped(call: Call) -> None:
    """One bit of the last byte is another."""
    call.send(call.body[:-1] + bytes([call.body[-1] ^ 1]))


def truncated(call: Call) -> None:
    """The last byte is missing, and the length says so."""
    call.send(call.body[:-1])


def cut_in_the_middle(call: Call) -> None:
    """The connection ends after half of the bytes that were promised."""
    part = call.body[call.first : call.last + 1]
    call.begin(len(part))
    call.handler.wfile.write(part[: len(part) // 2])
    call.cut()


def longer(call: Call) -> None:
    """More bytes than the descriptor says, and the length says so."""
    call.begin(call.last + 1 - call.first + 1000)
    call.handler.wfile.write(call.body[call.first : call.last + 1] + bytes(1000))


def endless(call: Call) -> None:
    """Chunks without end, until the client has enough."""
    call.begin(None)
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    while not call.handler.owner.ending.is_set():
        call.handler.wfile.write(chunk)


def giant_length(call: Call) -> None:
    """A length of 10^15, and then the bytes."""
    call.begin(10**15)
    call.handler.wfile.write(call.body)
    call.cut()


def other_content(body: bytes) -> Callable[[Call], None]:
    """Something else than what was asked for, whole, and the headers claim the digest that was asked for."""

    def attack(call: Call) -> None:
        call.send(body)

    return attack


def compressed(call: Call) -> None:
    """The body is gzip, and Content-Encoding says so, though nobody asked for it."""
    call.handler.answer(200, gzip.compress(call.body), Content_Type=call.media_type, Content_Encoding="gzip")


# --- wrong ranges


def range_lies(call: Call) -> None:
    """Content-Range names another offset than was asked for; the bytes are those of the other offset."""
    first = max(call.first - 1, 0) if call.partial else 0
    part = call.body[first : call.last + 1]
    call.handler.answer(206, part, Content_Range=f"bytes {first}-{call.last}/{len(call.body)}")


def range_of_another_object(call: Call) -> None:
    """206 with a part of something else of the same size, under another ETag."""
    call.send(bytes(byte ^ 0xFF for byte in call.body), ETag='"another"')


def range_ignored(call: Call) -> None:
    """200 and everything: allowed, what was fetched before is fetched again."""
    Call(call.handler, call.body, call.media_type, 0, len(call.body) - 1, partial=False).send()


def range_refused(call: Call) -> None:
    """416 for a range that can be satisfied."""
    if call.partial:
        call.handler.answer(416, Content_Range=f"bytes */{len(call.body)}")
    else:
        call.send()


# --- slow


def one_byte_a_second(call: Call) -> None:
    """The slow loris."""
    call.begin(call.last + 1 - call.first)
    for byte in call.body[call.first : call.last + 1]:
        call.handler.wfile.write(bytes([byte]))
        call.handler.wfile.flush()
        if call.handler.owner.ending.wait(1.0):
            break
    call.cut()


def stalls(call: Call) -> None:
    """Ten bytes, and then nothing more."""
    call.begin(call.last + 1 - call.first)
    call.handler.wfile.write(call.body[call.first :][:10])
    call.handler.wfile.flush()
    call.handler.owner.ending.wait()
    call.cut()


def never_answers(call: Call) -> None:
    """Not even a status line."""
    call.handler.owner.ending.wait()
    call.handler.close_connection = True


def headers_without_end(call: Call) -> None:
    """A line of a header and another one, as fast as the client reads them."""
    call.handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not call.handler.owner.ending.is_set():
        call.handler.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")


# --- sent elsewhere


def redirect(location: str, status: int = 307) -> Callable[[Call], None]:
    """Send the client to ``location``; ``{path}`` in it is the path that was asked for."""

    def attack(call: Call) -> None:
        call.handler.answer(status, Location=location.replace("{path}", call.handler.path))

    return attack


def refuse(status: int, **headers: str) -> Callable[[Call], None]:
    """Answer with a status and nothing else."""

    def attack(call: Call) -> None:
        call.handler.answer(status, b'{"errors":[]}', **headers)

    return attack


def realm(url: str) -> Callable[[Call], None]:
    """Ask for a token of ``url``, unless the client has one."""

    def attack(call: Call) -> None:
        if call.handler.headers.get("Authorization", "").startswith("Bearer "):
            call.send()
            return
        challenge = f'Bearer realm="{url}",service="registry",scope="repository:model:pull"'
        call.handler.answer(401, b'{"errors":[]}', WWW_Authenticate=challenge)

    return attack


class Thief(LoopbackServer):
    """Another host that takes what it is sent: ``credentials``; and answers everything with an empty token."""

    def __init__(self, tls: Pair | None = None) -> None:
        super().__init__(_ThiefHandler, tls, host="127.0.0.2")

    @property
    def loot(self) -> list[str]:
        """The credentials that it got hold of."""
        return [text for text in self.credentials if text]


class _ThiefHandler(Handler):
    def respond(self) -> None:
        with contextlib.suppress(ValueError):
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.answer(200, b'{"token":"stolen"}', Content_Type="application/json")
