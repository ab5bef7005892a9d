"""Addresses, plain reasons and authentication of network cameras."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import re
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from edge_runtime.camera import network
from edge_runtime.camera.network import (
    Address,
    Answer,
    ask,
    authorities_file,
    authorization,
    connect,
    parse_address,
    refusal,
)
from edge_runtime.camera.source import BACKOFF_S
from edge_runtime.core.errors import PermissionDeniedError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CAMERA = Address("rtsp", "10.0.0.5", 554, "/s", user="line", password='s3"cret')


def test_a_url_is_taken_apart_and_the_password_never_shown() -> None:
    address = parse_address("rtsp://li%6Ee:p%40ss@10.0.0.5/cam?channel=1")
    expected = Address("rtsp", "10.0.0.5", 554, "/cam?channel=1", user="line", password="p@ss")
    assert address == expected
    assert "p@ss" not in repr(address)
    assert address.url == "rtsp://10.0.0.5:554/cam?channel=1"


@pytest.mark.parametrize(
    ("url", "where", "target"),
    [
        ("rtsps://cam.local", "cam.local:322", "/"),
        ("http://cam.local:8080/video", "cam.local:8080", "/video"),
        ("https://[fe80::1]/v", "fe80::1:443", "/v"),
    ],
)
def test_missing_ports_and_paths_are_filled_in(url: str, where: str, target: str) -> None:
    address = parse_address(url)
    assert (address.where, address.target) == (where, target)


def test_an_ipv6_host_keeps_its_brackets_in_a_request() -> None:
    assert parse_address("rtsp://[fe80::1]/v").url == "rtsp://[fe80::1]:554/v"


def test_nobody_at_the_port_is_refused(free_port: int) -> None:
    with pytest.raises(UnavailableError, match="refuses the connection") as caught:
        connect(Address("rtsp", "127.0.0.1", free_port, "/"), 2)
    assert caught.value.code == "camera.refused"


def test_an_unknown_name_is_said_so() -> None:
    with pytest.raises(UnavailableError, match="not known to the name server") as caught:
        connect(Address("rtsp", "no-such-camera.invalid", 554, "/"), 2)
    assert caught.value.code == "camera.unresolved"


def test_a_full_queue_of_a_dead_host_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.settimeout(0)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            with pytest.raises(UnavailableError, match="does not answer") as caught:
                connect(Address("rtsp", "127.0.0.1", port, "/"), 0.3)
        finally:
            for filler in fillers:
                filler.close()
    assert caught.value.code == "camera.timeout"


def test_a_port_without_tls_is_not_secure(free_port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", free_port)),
        pytest.raises(UnavailableError, match="no secure connection") as caught,
    ):
        connect(Address("https", "127.0.0.1", free_port, "/"), 0.3)
    assert caught.value.code == "camera.tls"


@pytest.mark.parametrize(
    ("status", "user", "kind", "code", "words"),
    [
        (401, None, PermissionDeniedError, "camera.unauthorized", "wants a user and a password"),
        (401, "line", PermissionDeniedError, "camera.unauthorized", "does not accept this user and password"),
        (403, "line", PermissionDeniedError, "camera.unauthorized", "does not accept"),
        (404, None, UnavailableError, "camera.not_found", "no stream at this path"),
        (503, None, UnavailableError, "camera.status", "status 503"),
    ],
)
def test_a_status_becomes_a_reason(status: int, user: str | None, kind: type, code: str, words: str) -> None:
    error = refusal(status, Address("rtsp", "10.0.0.5", 554, "/s", user=user))
    assert isinstance(error, kind)
    assert error.code == code
    assert words in str(error)


def test_without_a_user_nothing_is_answered() -> None:
    assert authorization(['Basic realm="x"'], "GET", "/", Address("http", "h", 80, "/")) is None


def test_basic_is_answered_when_it_is_all_there_is() -> None:
    assert authorization(['Basic realm="x"'], "GET", "/", CAMERA) == "Basic bGluZTpzMyJjcmV0"


def test_an_unknown_method_is_not_answered() -> None:
    assert authorization(['Digest realm="x", nonce="n", algorithm=SHA-512'], "GET", "/", CAMERA) is None


@pytest.mark.parametrize(
    ("algorithm", "name"), [("", "md5"), (", algorithm=MD5", "md5"), (", algorithm=SHA-256", "sha256")]
)
@pytest.mark.parametrize("qop", ["", ', qop="auth,auth-int"'])
def test_digest_is_preferred_and_right(algorithm: str, name: str, qop: str) -> None:
    challenge = f'Digest realm="cam", nonce="n0", opaque="o"{algorithm}{qop}'
    answer = authorization(['Basic realm="cam"', challenge], "DESCRIBE", "rtsp://10.0.0.5:554/s", CAMERA)
    assert answer is not None
    found = {key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', answer)}

    def hashed(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    first, second = hashed('line:cam:s3"cret'), hashed("DESCRIBE:rtsp://10.0.0.5:554/s")
    middle = f"n0:{found['nc']}:{found['cnonce']}:auth" if qop else "n0"
    assert found["response"] == hashed(f"{first}:{middle}:{second}")
    assert found["opaque"] == "o"
    assert 's3"cret' not in answer


def test_the_example_of_the_standard_gives_the_answer_of_the_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    # RFC 2617 section 3.5
    monkeypatch.setattr("secrets.token_hex", lambda _: "0a4f113b")
    camera = Address("http", "h", 80, "/", user="Mufasa", password="Circle Of Life")
    challenge = (
        'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",'
        ' opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    answer = authorization([challenge], "GET", "/dir/index.html", camera)
    assert 'response="6629fae49393a05397450978507c4ef1"' in str(answer)


def asked(answer: Iterable[bytes], within_s: float = 2.0) -> Answer:
    """Ask a camera that sends the pieces of ``answer`` until we hang up."""
    address = Address("http", "127.0.0.1", 80, "/")
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, contextlib.suppress(OSError):
            theirs.recv(4096)
            for piece in answer:
                theirs.sendall(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        return ask(ours, ["GET / HTTP/1.0"], address, time.monotonic() + within_s)
    finally:
        ours.close()
        thread.join()


def test_an_answer_is_taken_apart() -> None:
    answer = asked([b"HTTP/1.1 401 No\r\nX-Y: 1\r\nx-y:2\r\n", b"Z: 3\r\n\r\nrest"])
    assert (answer.status, answer.values("x-y"), answer.rest) == (401, ["1", "2"], b"rest")


@pytest.mark.parametrize("status", [b"20\xb2", b"2" * 5000, b"-1", b"", b"0200"])
def test_a_strange_status_is_a_reason_and_no_crash(status: bytes) -> None:
    with pytest.raises(UnavailableError, match="does not speak HTTP") as caught:
        asked([b"HTTP/1.0 " + status + b" OK\r\n\r\n"])
    assert caught.value.code == "camera.protocol"


def test_a_camera_that_answers_drop_by_drop_has_no_more_time_than_others() -> None:
    pause, started_s = threading.Event(), time.monotonic()
    drops = (piece for piece in itertools.repeat(b"H") if not pause.wait(0.02))
    with pytest.raises(TimeoutError):
        asked(drops, 0.2)
    assert time.monotonic() - started_s < 2


def test_a_connection_is_tried_for_less_than_a_lost_packet_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def swallowed(_address: object, timeout_s: float) -> None:
        limits.append(timeout_s)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", swallowed)
    with pytest.raises(UnavailableError, match="does not answer"):
        connect(CAMERA, 2.0)
    assert limits[0] + BACKOFF_S[0] < 1.0


def test_the_authorities_are_those_of_python_or_of_a_known_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert authorities_file() == bundle
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "no.pem"))
    monkeypatch.setattr(network, "_AUTHORITIES", (tmp_path / "no.pem", bundle))
    assert authorities_file() == bundle
    monkeypatch.setattr(network, "_AUTHORITIES", ())
    assert authorities_file() is None
