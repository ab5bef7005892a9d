"""What we tell about an RTSP camera that cannot be opened."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from edge_runtime.camera.network import Address
from edge_runtime.camera.rtsp import check_reachable, explain
from edge_runtime.core.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST = b'RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm="cam", nonce="n"\r\n\r\n'


@contextmanager
def camera(*answers: bytes | None, hold: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """Answer one connection, one entry for each request; ``None`` closes; ``hold`` is silent after them."""
    requests: list[bytes] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                for answer in answers:
                    requests.append(connection.recv(4096))
                    if answer is None:
                        return
                    connection.sendall(answer)
                if hold:
                    done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], requests
        done.set()
        thread.join(10)


def reason(*answers: bytes | None, user: str | None = None, hold: bool = False) -> tuple[str, list[bytes]]:
    with camera(*answers, hold=hold) as (port, requests):
        error = explain(Address("rtsp", "127.0.0.1", port, "/s", user=user, password="pw"), 0.5)
    return error.code, requests


def test_a_camera_that_listens_is_reachable(free_port: int) -> None:
    with pytest.raises(UnavailableError, match="refuses"):
        check_reachable(Address("rtsp", "127.0.0.1", free_port, "/"), 1)
    with socket.create_server(("127.0.0.1", free_port)):
        check_reachable(Address("rtsp", "127.0.0.1", free_port, "/"), 1)


def test_an_answer_without_fault_blames_the_stream() -> None:
    assert reason(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")[0] == "camera.no_stream"


def test_a_missing_path_is_told() -> None:
    assert reason(b"RTSP/1.0 404 Not Found\r\n\r\n")[0] == "camera.not_found"


def test_a_wish_for_a_password_is_told_after_one_question() -> None:
    code, requests = reason(DIGEST)
    assert code == "camera.unauthorized"
    assert len(requests) == 1


def test_a_password_is_tried_once_and_its_rejection_told() -> None:
    code, requests = reason(DIGEST, DIGEST, user="line")
    assert code == "camera.unauthorized"
    assert b"Authorization: Digest" not in requests[0]
    assert b'Authorization: Digest username="line"' in requests[1]
    assert b"pw" not in requests[1]


def test_a_right_password_leads_to_the_real_reason() -> None:
    assert reason(DIGEST, b"RTSP/1.0 404 Not Found\r\n\r\n", user="line")[0] == "camera.not_found"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 400 Bad\r\n\r\n",
        b"RTSP/1.0\r\n\r\n",
        b"RTSP/1.0 abc\r\n\r\n",
        b"RTSP/1.0 20\xb2 OK\r\n\r\n",
        b"\0" * 20000,
    ],
)
def test_something_else_at_the_port_is_told(answer: bytes) -> None:
    assert reason(answer)[0] == "camera.protocol"


def test_silence_and_an_early_end_are_told_apart() -> None:
    assert reason(None)[0] in ("camera.protocol", "camera.closed")
    assert reason(b"RTSP/1.0 200", hold=True)[0] == "camera.timeout"


def test_a_camera_that_vanished_meanwhile_is_refused(free_port: int) -> None:
    assert explain(Address("rtsp", "127.0.0.1", free_port, "/"), 1).code == "camera.refused"


def test_a_secure_camera_is_not_asked_in_the_clear() -> None:
    with camera(None) as (port, requests):
        assert explain(Address("rtsps", "127.0.0.1", port, "/s", user="line"), 1).code == "camera.tls"
    assert b"DESCRIBE" not in requests[0]
