"""MJPEG over HTTP (``multipart/x-mixed-replace``), read by ourselves.

OpenCV's reader shows JPEGs that were cut in half as good pictures, scales pictures whose size changes back to the first
size, gives neither time nor reason, and follows playlists to other hosts (all measured). This one hands every part to
``pictures.decode``, which sees missing ends, and knows whether a newer part is already waiting.

HTTP/1.0 is asked for on purpose: a 1.0 answer is never chunked. Cameras that send chunks all the same are understood.
Redirects are not followed.
"""

from __future__ import annotations

import re
import select
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from edge_runtime.camera.network import (
    Address,
    Answer,
    ask,
    authorization,
    connect,
    parse_address,
    refusal,
    unavailable,
)
from edge_runtime.camera.picture_header import is_whole_jpeg
from edge_runtime.camera.pictures import decode, store
from edge_runtime.camera.source import OPEN_TIMEOUT_S, READ_WAIT_S, Arrival, Nature, Nothing, Pixels, Shape

if TYPE_CHECKING:
    import socket

_HEAD_BYTES_MAX: Final = 64 << 10
PART_BYTES_MAX: Final = 32 << 20
_CHUNK_BYTES: Final = 256 << 10
_BOUNDARY: Final = re.compile(r'boundary="?([^";,\s]{1,200})', re.IGNORECASE)
_LENGTH: Final = re.compile(rb"^content-length:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;|$)")
_CHUNK_LINE_BYTES_MAX: Final = 4096
_TRAILER_BYTES: Final = 6  # an end-of-image marker and what may follow it before the boundary
_BLANK_LINE: Final = re.compile(rb"\r?\n\r?\n")
_OK, _UNAUTHORIZED, _REDIRECTS = 200, 401, range(300, 400)


class PartParser:
    """Takes the parts out of a multipart byte stream. Pure: bytes in, parts out."""

    def __init__(self, boundary: str) -> None:
        """Expect parts between ``--boundary`` lines; cameras disagree whether the header's value has the dashes."""
        self._delimiter = b"--" + boundary.encode("latin-1").removeprefix(b"--")
        self._buffer = bytearray()
        self._head_end: int | None = None  # of the part that is being collected
        self._length: int | None = None
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._buffer += data

    @property
    def waiting_bytes(self) -> int:
        """Bytes that are not handed out yet."""
        return len(self._buffer)

    def next_part(self) -> bytes | None:
        """Return the body of the next whole part, ``None`` when it is not all there.

        Raises:
            UnavailableError: this is no multipart stream, or a part has no end.
        """
        if self._head_end is None and not self._read_head():
            return None
        start = self._head_end or 0
        if self._length is not None:
            end = start + self._length
            if len(self._buffer) < end:
                return None
        else:
            found = self._buffer.find(self._delimiter, max(start, self._searched))
            if found < 0 and self._ends_with_a_picture(start):
                found = len(self._buffer)
            if found < 0:
                self._searched = max(start, len(self._buffer) - len(self._delimiter))
                self._limit(PART_BYTES_MAX, "a picture")
                return None
            end = found
        body = bytes(self._buffer[start:end])
        del self._buffer[:end]
        self._head_end, self._searched = None, 0
        return body if self._length is not None else body.rstrip(b"\r\n")

    def _read_head(self) -> bool:
        begin = self._buffer.find(self._delimiter)
        blank = None if begin < 0 else _BLANK_LINE.search(self._buffer, begin)
        if blank is None:
            self._limit(_HEAD_BYTES_MAX, "the header of a picture")
            return False
        length = _LENGTH.search(self._buffer, begin, blank.start())
        self._length = int(length[1]) if length else None
        if self._length is not None and self._length > PART_BYTES_MAX:
            raise _not_multipart(f"a picture claims {self._length} bytes")
        self._head_end = blank.end()
        return True

    def _ends_with_a_picture(self, start: int) -> bool:
        # without a length a part ends at the next boundary, which many cameras send with the next picture only
        if b"\xff\xd9" not in self._buffer[max(start, len(self._buffer) - _TRAILER_BYTES) :]:
            return False
        return is_whole_jpeg(bytes(self._buffer[start:]))

    def _limit(self, limit: int, what: str) -> None:
        if len(self._buffer) > limit:
            raise _not_multipart(f"{what} has no end within {limit} bytes")


class Dechunker:
    """Takes the content out of ``Transfer-Encoding: chunked`` (RFC 9112 7.1). Pure: bytes in, bytes out."""

    def __init__(self) -> None:
        """Expect the size of the first chunk."""
        self._buffer = bytearray()
        self._left = 0  # bytes of the present chunk that are still to come

    def feed(self, data: bytes) -> bytes:
        """Add received bytes and return the content among them.

        Raises:
            UnavailableError: this is not chunked.
        """
        self._buffer += data
        content = bytearray()
        while True:
            taken = self._buffer[: self._left]
            content += taken
            self._left -= len(taken)
            del self._buffer[: len(taken)]
            if self._left or not self._read_size():
                return bytes(content)

    def _read_size(self) -> bool:
        line, newline, rest = self._buffer.partition(b"\r\n")
        if not newline:
            if len(line) > _CHUNK_LINE_BYTES_MAX:
                raise _not_multipart("a chunk has no size")
            return False
        self._buffer = rest
        if line:  # else it is the end of the chunk before
            size = _CHUNK_SIZE.match(line)
            if size is None:
                raise _not_multipart("a chunk has no size")
            self._left = int(size[1], 16)
        return True


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    parser: PartParser
    dechunker: Dechunker | None

    def feed(self, data: bytes) -> None:
        self.parser.feed(data if self.dechunker is None else self.dechunker.feed(data))


class MjpegSource:
    """An MJPEG camera over HTTP(S); see ``camera.source.Source``."""

    nature = Nature(live=True)
    fps = 0.0

    def __init__(self, url: str, max_pixels: int) -> None:
        """Refuse pictures of more than ``max_pixels`` pixels."""
        self._address = parse_address(url)
        self._max_pixels = max_pixels
        self._connection: _Connection | None = None
        self._part = b""
        self._ahead: bytes | None = None

    def open(self) -> None:
        """Connect, authenticate and read the answer's header; may block twice ``OPEN_TIMEOUT_S``.

        Raises:
            UnavailableError: with the reason in its code.
            PermissionDeniedError: user or password are missing or wrong.
        """
        authorized: str | None = None
        while True:
            sock = connect(self._address, OPEN_TIMEOUT_S)
            try:
                answer = _request(sock, self._address, authorized)
                if answer.status == _OK:
                    self._start(sock, answer)
                    return
            except BaseException:
                sock.close()
                raise
            sock.close()
            tried, challenges = authorized, answer.values("www-authenticate")
            authorized = authorization(challenges, "GET", self._address.target, self._address)
            if answer.status != _UNAUTHORIZED or authorized is None or tried is not None:
                _refuse(answer, self._address)

    def grab(self) -> Arrival | Nothing:
        """Wait, at most ``READ_WAIT_S``, for the next part.

        Raises:
            UnavailableError: ``camera.closed`` when the connection ended, ``camera.protocol`` when it is no MJPEG.
        """
        connection = self._opened
        deadline_s = time.monotonic() + READ_WAIT_S
        part, self._ahead = self._ahead, None
        part = part if part is not None else connection.parser.next_part()
        while part is None:
            if not self._receive(max(0.0, deadline_s - time.monotonic())) and time.monotonic() >= deadline_s:
                return Nothing.YET
            part = connection.parser.next_part()
        self._part = part
        while self._ahead is None and connection.parser.waiting_bytes < PART_BYTES_MAX:
            self._ahead = connection.parser.next_part()
            if self._ahead is None and not self._receive(0.0, at_end=False):
                break
        return Arrival(queued=self._ahead is not None)

    def retrieve(self, target: Pixels) -> Shape:
        """Decode the part.

        Raises:
            DataError: it is no whole JPEG, or does not fit.
        """
        return store(decode(self._part, self._max_pixels), target)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        connection, self._connection = self._connection, None
        self._ahead = None
        if connection is not None:
            connection.sock.close()

    @property
    def _opened(self) -> _Connection:
        if self._connection is None:
            raise unavailable("closed", "the source is not open", None)
        return self._connection

    def _start(self, sock: socket.socket, answer: Answer) -> None:
        kind = "".join(answer.values("content-type")[:1])
        boundary = _BOUNDARY.search(kind)
        if not kind.lower().startswith("multipart/") or boundary is None:
            raise unavailable(
                "protocol",
                f"{self._address.where} answers with {kind[:80] or 'no content type'}, expected multipart (MJPEG)",
                "look up the camera's MJPEG path; single pictures and playlists are not streams",
            )
        chunked = "chunked" in " ".join(answer.values("transfer-encoding")).lower()
        self._connection = _Connection(sock, PartParser(boundary[1]), Dechunker() if chunked else None)
        self._connection.feed(answer.rest)

    def _receive(self, timeout_s: float, *, at_end: bool = True) -> bool:
        """Take what has come into the parser; return whether anything has.

        With ``at_end`` False the end of the stream is left to be seen by the next call.
        """
        connection = self._opened
        sock = connection.sock
        pending = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        if not pending and not select.select([sock], [], [], timeout_s)[0]:
            return False
        try:
            data = sock.recv(_CHUNK_BYTES)
        except TimeoutError:  # TLS: a record was begun and not finished
            return False
        except OSError as error:
            raise unavailable(
                "closed", f"{self._address.where} broke the connection ({error.strerror})", None
            ) from error
        if data:
            connection.feed(data)
        elif at_end:
            raise unavailable("closed", f"{self._address.where} ended the stream", None)
        return bool(data)


def _request(sock: socket.socket, address: Address, authorized: str | None) -> Answer:
    """Ask for the stream.

    Raises:
        UnavailableError: no answer in time, or none that is HTTP.
    """
    host = address.host if address.port in (80, 443) else address.where
    lines = [f"GET {address.target} HTTP/1.0", f"Host: {host}", "User-Agent: edge-runtime", "Accept: */*"]
    if authorized is not None:
        lines.append(f"Authorization: {authorized}")
    try:
        answer = ask(sock, lines, address, time.monotonic() + OPEN_TIMEOUT_S)
        sock.settimeout(READ_WAIT_S)
    except TimeoutError as error:
        raise unavailable("timeout", f"{address.where} takes the connection but does not answer", None) from error
    except OSError as error:
        raise unavailable("closed", f"{address.where} broke the connection ({error.strerror})", None) from error
    return answer


def _refuse(answer: Answer, address: Address) -> NoReturn:
    if answer.status in _REDIRECTS:
        raise unavailable(
            "redirect",
            f"{address.where} sends us to another address, which is not followed",
            f"use that address if it is right: {''.join(answer.values('location')[:1])[:200].split('?')[0]}",
        )
    raise refusal(answer.status, address)


def _not_multipart(why: str) -> Exception:
    return unavailable("protocol", f"the answer is no MJPEG stream: {why}", None)
