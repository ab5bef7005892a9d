"""Why an RTSP camera cannot be opened, in words: FFmpeg only says yes or no, and its reason goes to stderr.

Two questions are asked: does the host take a TCP connection (before FFmpeg is let loose, so that an absent camera costs
milliseconds and leaves no noise), and what does it answer to DESCRIBE (only after FFmpeg failed, with the same user and
password, because cameras count wrong passwords). Sources: RFC 2326 (RTSP 1.0).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edge_runtime.camera.network import Address, Answer, ask, authorization, connect, refusal, unavailable
from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    import socket

    from edge_runtime.core.errors import EdgeError

_OK, _UNAUTHORIZED = 200, 401


def check_reachable(address: Address, timeout_s: float) -> None:
    """Make sure that something listens at the camera's port, for ``rtsps`` with a certificate that is trusted.

    Raises:
        UnavailableError: with the reason.
    """
    connect(address, timeout_s).close()


def explain(address: Address, timeout_s: float) -> EdgeError:
    """Return why the stream could not be opened; asks the camera, may block ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    try:
        with connect(address, timeout_s) as sock:
            answer = _describe(sock, address, 1, None, deadline)
            authorized = authorization(answer.values("www-authenticate"), "DESCRIBE", address.url, address)
            if answer.status == _UNAUTHORIZED and authorized is not None:
                answer = _describe(sock, address, 2, authorized, deadline)
    except TimeoutError:
        return unavailable("timeout", f"{address.where} takes the connection but does not answer", None)
    except OSError as error:
        return unavailable("closed", f"{address.where} closed the connection ({error.strerror or error})", None)
    except UnavailableError as error:
        return error
    if answer.status != _OK:
        return refusal(answer.status, address)
    return unavailable(
        "no_stream", f"{address.where} answers, but its stream cannot be read", "is it H.264, H.265 or MJPEG video?"
    )


def _describe(
    sock: socket.socket, address: Address, sequence: int, authorized: str | None, deadline_s: float
) -> Answer:
    """Return the answer to one DESCRIBE.

    Raises:
        OSError: the connection failed or its time is up.
        UnavailableError: the answer is not RTSP.
    """
    lines = [f"DESCRIBE {address.url} RTSP/1.0", f"CSeq: {sequence}", "Accept: application/sdp"]
    if authorized is not None:
        lines.append(f"Authorization: {authorized}")
    return ask(sock, lines, address, deadline_s)
