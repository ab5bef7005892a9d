"""JSON objects between two processes of this box: whole, bounded, in order, never pickled.

One object is one packet of an ``AF_UNIX SOCK_SEQPACKET`` pair. An object that does not fit a packet travels in a
memfd whose descriptor rides along, so that a send is always all or nothing, whatever ``net.core.wmem_max`` is.

The other end may be a process that untrusted bytes have taken over. Whatever it sends, ``receive`` returns a JSON
object with finite numbers and encodable text, or raises one of the errors of this module.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import math
import os
import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from edge_runtime.core.errors import DataError, InvariantError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT_BYTES = 1 << 20
SEND_TIMEOUT_S = 2.0
INLINE_BYTES = 48 << 10  # well below a quarter of the smallest usual SO_SNDBUF, so that "writable" means "fits"
MAX_FDS = 64  # descriptors in one packet; the kernel's own limit is SCM_MAX_FD = 253

_OVERFLOW = b"@"  # packet "@<length>": the object lies in the last descriptor. No JSON object starts so.
_FD_BYTES = array.array("i").itemsize
_ANCILLARY_BYTES = socket.CMSG_SPACE(MAX_FDS * _FD_BYTES)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class PeerGone(UnavailableError):  # noqa: N818 - a state of the peer, in the words of its callers
    """The process at the other end closed the socket or died; nothing will come or go any more."""


class PeerBusy(PeerGone):
    """The other end lives but did not read for the whole deadline; the message was not sent, not even partly."""


class MalformedMessage(DataError):  # noqa: N818 - as above
    """Not a JSON object within the limits; when receiving, the packet was discarded."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message and the open descriptors (close-on-exec) that came with it; the receiver must close them."""

    message: dict[str, object]
    fds: tuple[int, ...]


class MessageSocket:
    """One end of a pair. Any thread may send; one thread at a time may receive; close when nobody does either."""

    def __init__(self, sock: socket.socket, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """Take ownership of a connected SOCK_SEQPACKET socket; encoded messages may have ``limit_bytes``."""
        sock.settimeout(0)
        self._sock = sock
        self._limit_bytes = limit_bytes
        self._buffer = bytearray(INLINE_BYTES + 1)  # the extra byte tells a packet that is too long

    def fileno(self) -> int:
        """Return the descriptor, to be waited on for reading; -1 when closed."""
        return self._sock.fileno()

    def send(
        self, message: Mapping[str, object], *, timeout_s: float = SEND_TIMEOUT_S, fds: Sequence[int] = ()
    ) -> None:
        """Hand ``message`` and duplicates of ``fds`` to the kernel, whole or not at all.

        Blocks at most ``timeout_s`` seconds while the other end does not read; 0 means never.

        Raises:
            PeerBusy: the deadline passed.
            PeerGone: the other end is closed.
            MalformedMessage: not JSON (NaN, lone surrogates, foreign types), or larger than the limit.
            InvariantError: one of ``fds`` is not open.
        """
        data = self._encode(message)
        if len(data) <= INLINE_BYTES:
            self._transmit(data, fds, timeout_s)
            return
        overflow = _sealed_copy(data)
        try:
            self._transmit(_OVERFLOW + b"%d" % len(data), [*fds, overflow], timeout_s)
        finally:
            os.close(overflow)

    def receive(self, timeout_s: float | None) -> dict[str, object] | None:
        """Return the next message, or ``None`` after ``timeout_s`` seconds without one (``None``: wait for ever).

        Raises:
            PeerGone: everything was read and the other end is closed.
            MalformedMessage: the packet was no message, or brought descriptors, which are closed.
        """
        parcel = self.receive_parcel(timeout_s)
        if parcel is None:
            return None
        if parcel.fds:
            close_all(parcel.fds)
            self._malformed(f"it brought {len(parcel.fds)} descriptors, expected none")
        return parcel.message

    def receive_nowait(self) -> dict[str, object] | None:
        """Return the next message if it is already there; else see ``receive``."""
        return self.receive(0)

    def receive_parcel(self, timeout_s: float | None) -> Parcel | None:
        """Return the next message with its descriptors; else see ``receive``."""
        received = self._receive_packet(timeout_s)
        if received is None:
            return None
        packet, fds = received
        try:
            if not packet.startswith(_OVERFLOW):
                return Parcel(self._decode(packet), tuple(fds))
            if not fds:
                self._malformed("its content did not come with it")
            overflow = fds.pop()
            try:
                content = self._read_overflow(packet, overflow)
            finally:
                os.close(overflow)
            return Parcel(self._decode(content), tuple(fds))
        except MalformedMessage:
            close_all(fds)
            raise

    def close(self) -> None:
        """Close this end; the other one sees ``PeerGone`` after reading what is under way. Idempotent."""
        self._sock.close()

    def _transmit(self, packet: bytes, fds: Sequence[int], timeout_s: float) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._sock.sendmsg([packet], ancillary, socket.MSG_NOSIGNAL)
            except BlockingIOError as error:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not _wait(self.fileno(), select.POLLOUT, remaining):
                    msg = f"the other process did not read its messages for {timeout_s:g} s"
                    raise PeerBusy("system.peer_busy", msg) from error
            except OSError as error:
                self._send_failed(error, fds)
            else:
                return

    def _send_failed(self, error: OSError, fds: Sequence[int]) -> NoReturn:
        if error.errno == errno.EBADF and fds and self.fileno() >= 0:
            msg = f"one of the descriptors {list(fds)} to be sent is not open"
            raise InvariantError("system.bad_descriptor", msg) from error
        if error.errno in (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM):
            msg = f"the kernel cannot take a message now ({error.strerror})"
            raise PeerBusy("system.peer_busy", msg) from error
        msg = f"the other process does not take messages any more ({error.strerror})"
        raise PeerGone("system.peer_gone", msg) from error

    def _receive_packet(self, timeout_s: float | None) -> tuple[bytes, list[int]] | None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                size, ancillary, flags, _ = self._sock.recvmsg_into(
                    [self._buffer], _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    return None
                _wait(self.fileno(), select.POLLIN, remaining)
                continue
            except OSError as error:
                msg = f"the other process is gone ({error.strerror})"
                raise PeerGone("system.peer_gone", msg) from error
            fds = _descriptors(ancillary)
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or size > INLINE_BYTES:
                close_all(fds)
                self._malformed(f"a packet may have {INLINE_BYTES} bytes and {MAX_FDS} descriptors, this one has more")
            if size == 0:  # end of file; an empty packet looks the same and no honest peer sends one
                close_all(fds)
                msg = "the other process closed its end"
                raise PeerGone("system.peer_gone", msg)
            return bytes(memoryview(self._buffer)[:size]), fds

    def _encode(self, message: Mapping[str, object]) -> bytes:
        try:
            data = json.dumps(message, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        except (ValueError, TypeError, RecursionError) as error:
            self._malformed(f"it cannot be written as JSON ({error})", error)
        if len(data) > self._limit_bytes:
            self._malformed(f"it has {len(data)} bytes, at most {self._limit_bytes} are allowed")
        return data

    def _decode(self, data: bytes) -> dict[str, object]:
        try:
            message = json.loads(data.decode(), parse_constant=_refuse_constant, parse_float=_finite)
            if (
                b"\\ud" in data or b"\\uD" in data
            ):  # the only way to a lone surrogate, which no later writer could encode
                json.dumps(message, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            self._malformed(f"it is not JSON ({error})", error)
        if not isinstance(message, dict):
            self._malformed(f"expected a JSON object, got {type(message).__name__}")
        return message

    def _read_overflow(self, packet: bytes, fd: int) -> bytes:
        digits = packet[len(_OVERFLOW) :]
        length = int(digits) if digits.isdigit() and len(digits) <= len(str(self._limit_bytes)) else -1
        if not INLINE_BYTES < length <= self._limit_bytes:
            self._malformed(f"it announces {digits[:20]!r} bytes, at most {self._limit_bytes} are allowed")
        try:
            # only a memfd has seals, and a sealed one cannot block, change or shrink while it is read
            sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS
            data = os.pread(fd, length, 0) if sealed else b""
        except OSError as error:
            self._malformed(f"its content cannot be read ({error.strerror})", error)
        if len(data) != length:
            self._malformed(f"its content has {len(data)} sealed bytes, expected {length}")
        return data

    def _malformed(self, why: str, error: Exception | None = None) -> NoReturn:
        msg = f"message between processes refused: {why}"
        raise MalformedMessage("system.malformed_message", msg) from error


def pair(*, limit_bytes: int = LIMIT_BYTES) -> tuple[MessageSocket, MessageSocket]:
    """Return two connected ends; both are close-on-exec."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return MessageSocket(ours, limit_bytes=limit_bytes), MessageSocket(theirs, limit_bytes=limit_bytes)


def close_all(fds: Sequence[int]) -> None:
    """Close every descriptor of ``fds``, each of which must be open."""
    for fd in fds:
        os.close(fd)


def _wait(fd: int, event: int, timeout_s: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(None if timeout_s is None else math.ceil(timeout_s * 1000)))


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) // _FD_BYTES * _FD_BYTES])
    return list(fds)


def _sealed_copy(data: bytes) -> int:
    fd = os.memfd_create("edge-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is not a JSON number"
    raise ValueError(msg)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        msg = f"{text[:20]} is too large for a number"
        raise ValueError(msg)
    return value
