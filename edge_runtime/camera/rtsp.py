"""Why an RTSP camera cannot be opened, in words: FFmpeg only says yes or no, and its reason goes to stderr.

Two questions are asked: does the host take a TCP connection (before FFmpeg is let loose, so that an absent camera costs
milliseconds and leaves no noise), and what does it answer to DESCRIBE (only after FFmpeg failed, with the same user and
password, because cameras count wrong passwords). Sources: RFC 2326 (RTSP 1.0).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from edge_runtime.camera.network import Address, authorization, connect, refusal, unavailable
from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    import socket

    from edge_runtime.core.errors import EdgeError

_ANSWER_BYTES_MAX: Final = 16 << 10
_OK, _UNAUTHORIZED = 200, 401


def check_reachable(address: Address, timeout_s: float) -> None:
    """Make sure that something listens at the camera's port.

    Raises:
        UnavailableError: with the reason.
    """
    connect(address, timeout_s).close()


def explain(address: Address, timeout_s: float) -> EdgeError:
    """Return why the stream could not be opened; asks the camera, may block ``timeout_s`` seconds."""
    if address.scheme == "rtsps":
        return unavailable("no_stream", f"{address.where} gives no readable stream over TLS", None)
    deadline = time.monotonic() + timeout_s
    try:
        with connect(address, timeout_s) as sock:
            status, challenges = _describe(sock, address, 1, None, deadline)
            answer = authorization(challenges, "DESCRIBE", address.url, address)
            if status == _UNAUTHORIZED and answer is not None:
                status, _ = _describe(sock, address, 2, answer, deadline)
    except TimeoutError:
        return unavailable("timeout", f"{address.where} takes the connection but does not answer", None)
    except OSError as error:
        return unavailable("closed", f"{address.where} closed the connection ({error.strerror or error})", None)
    except UnavailableError as error:
        return error
    if status != _OK:
        return refusal(status, address)
    return unavailable(
        "no_stream", f"{address.where} answers, but its stream cannot be read", "is it H.264, H.265 or MJPEG video?"
    )


def _describe(
    sock: socket.socket, address: Address, sequence: int, authorized: str | None, deadline_s: float
) -> tuple[int, list[str]]:
    """Return status and challenges of one DESCRIBE.

    Raises:
        OSError: the connection failed or its time is up.
        UnavailableError: the answer is not RTSP.
    """
    lines = [f"DESCRIBE {address.url} RTSP/1.0", f"CSeq: {sequence}", "Accept: application/sdp"]
    if authorized is not None:
        lines.append(f"Authorization: {authorized}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _ANSWER_BYTES_MAX:
        sock.settimeout(max(0.01, deadline_s - time.monotonic()))
        chunk = sock.recv(4096)
        if not chunk:
            break
        answer += chunk
    head = answer.split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")
    words = head[0].split(" ", 2)
    if not words[0].startswith("RTSP/") or len(words) == 1 or not words[1].isdigit():
        raise unavailable("protocol", f"{address.where} does not speak RTSP", "is this the camera's RTSP port?")
    prefix = "www-authenticate:"
    return int(words[1]), [line[len(prefix) :].strip() for line in head[1:] if line.lower().startswith(prefix)]
