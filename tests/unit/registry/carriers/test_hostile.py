"""What a server, or whoever sits in between, may try on a box that fetches from it; all on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import DataError, EdgeError, PermissionDeniedError, UnavailableError
from edge_runtime.registry.carriers import http as http_module
from edge_runtime.registry.carriers import sockets
from edge_runtime.registry.carriers.listing import make_listing
from edge_runtime.registry.carriers.oci import OciRegistry
from edge_runtime.registry.carriers.open import Access, open_carrier
from edge_runtime.registry.carriers.session import Session
from edge_runtime.registry.carriers.tls import tls_context
from edge_runtime.registry.descriptor import Descriptor, digest_of
from edge_runtime.system.service import Stop
from tests import hostile_registry as hostile
from tests.fakes.certificates import Authority
from tests.hostile_registry import Call, HostileRegistry, Thief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WEIGHTS = bytes(range(256)) * 64
PATIENT = Access(username="robot", password="hunter22")
QUICK = replace(PATIENT, connect_s=2, answer_s=0.3, gap_s=0.2, overall_s=0.3)
LISTING = make_listing({"1.root.json": b"root"})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        registry.put("model", WEIGHTS)
        registry.tag("tuf", "latest", LISTING)
        yield registry


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[HostileRegistry]:
    with HostileRegistry(tls=authority.sign("server")) as registry:
        registry.put("model", WEIGHTS)
        yield registry


BLOB = Descriptor(digest_of(WEIGHTS), len(WEIGHTS), "application/octet-stream")


def fetch(server: HostileRegistry, access: Access = PATIENT, start: int = 0) -> tuple[int, bytes]:
    """Read the blob; return where reading began, and what was read."""
    carrier = OciRegistry(f"oci://{server.address}", access)
    try:
        stream = carrier.open("model", BLOB, start)
        try:
            return stream.start, b"".join(iter(lambda: stream.read(1 << 16), b""))
        finally:
            stream.close()
    finally:
        carrier.close()


def refused(server: HostileRegistry, access: Access = PATIENT, start: int = 0) -> EdgeError:
    with pytest.raises(EdgeError) as caught:
        fetch(server, access, start)
    assert "hunter22" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("start", [0, 1, len(WEIGHTS) - 1])
def test_an_honest_server_is_read_from_anywhere(server: HostileRegistry, start: int) -> None:
    assert fetch(server, start=start) == (start, WEIGHTS[start:])


# --- more, less, other


@pytest.mark.parametrize("attack", [hostile.truncated, hostile.longer, hostile.giant_length])
def test_a_length_that_is_not_that_of_the_blob_is_refused_before_the_first_byte(
    server: HostileRegistry, attack: Callable[[Call], None]
) -> None:
    server.attack = attack
    error = refused(server)
    assert (type(error), error.code) == (DataError, "registry.size")


def test_chunks_without_end_are_read_up_to_the_size_and_no_further(server: HostileRegistry) -> None:
    server.attack = hostile.endless
    assert refused(server).code == "registry.too_long"


def test_a_body_that_is_cut_is_worth_another_try(server: HostileRegistry) -> None:
    server.attack = hostile.cut_in_the_middle
    error = refused(server)
    assert (type(error), error.code) == (UnavailableError, "registry.cut")


def chunks_that_end_early(call: Call) -> None:
    call.begin(None)
    call.handler.wfile.write(b"4\r\nabcd\r\n0\r\n\r\n")


def nonsense(call: Call) -> None:
    call.handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    call.cut()


@pytest.mark.parametrize("attack", [chunks_that_end_early, nonsense])
def test_what_is_no_answer_is_worth_another_try(server: HostileRegistry, attack: Callable[[Call], None]) -> None:
    server.attack = attack
    assert type(refused(server)) is UnavailableError


def test_attack_32_a_body_that_is_compressed_is_refused(server: HostileRegistry) -> None:
    server.attack = hostile.compressed
    assert refused(server).code == "registry.encoding"


# --- ranges


def test_attack_33_a_range_at_another_offset_is_refused(server: HostileRegistry) -> None:
    server.attack = hostile.range_lies
    assert refused(server, start=100).code == "registry.range"


def test_attack_33_a_range_of_another_length_or_none_at_all_is_refused(server: HostileRegistry) -> None:
    parts = [
        "bytes 100-16383/16385",
        "bytes 100-16382/16384",
        "bytes 100-",
        "bytes */16384",
        "bytes 100-16383",
        "",
        "x",
    ]
    for given in parts:
        server.attack = lambda call, given=given: call.send(Content_Range=given)  # type: ignore[misc]
        assert (given, refused(server, start=100).code) == (given, "registry.range")


def test_attack_33_a_part_that_nobody_asked_for_is_refused(server: HostileRegistry) -> None:
    server.attack = hostile.range_lies
    assert refused(server).code == "registry.refused"


def test_attack_33_a_part_of_another_object_is_not_appended(server: HostileRegistry) -> None:
    carrier = OciRegistry(f"oci://{server.address}", PATIENT)
    carrier.open("model", BLOB).close()
    server.attack, server.times = hostile.range_of_another_object, 1
    stream = carrier.open("model", BLOB, 100)
    found = b"".join(iter(lambda: stream.read(1 << 16), b""))
    assert (server.done, stream.start, found) == (1, 0, WEIGHTS)
    stream.close()
    carrier.close()


def test_a_part_is_asked_for_on_condition_that_it_is_of_the_same_object(server: HostileRegistry) -> None:
    carrier = OciRegistry(f"oci://{server.address}", PATIENT)
    carrier.open("model", BLOB).close()
    seen: list[str | None] = []

    def look(call: Call) -> None:
        seen.extend(call.handler.headers.get(name) for name in ("If-Range", "Range", "Accept-Encoding"))
        call.send()

    server.attack = look
    carrier.open("model", BLOB, 100).close()
    assert seen == [f'"{BLOB.digest}"', f"bytes=100-{len(WEIGHTS) - 1}", "identity"]
    carrier.close()


def test_what_is_remembered_of_blobs_is_bounded(server: HostileRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.registry.carriers.body._ETAGS_MAX", 2)
    carrier = OciRegistry(f"oci://{server.address}", PATIENT)
    for n in range(5):
        carrier.open("model", server.put("model", b"blob %d" % n)).close()
    assert len(carrier._bodies._etags) <= 2
    carrier.close()


@pytest.mark.parametrize("attack", [hostile.range_ignored, hostile.range_refused])
def test_a_server_that_cannot_do_ranges_is_read_from_the_beginning(
    server: HostileRegistry, attack: Callable[[Call], None]
) -> None:
    server.attack = attack
    assert fetch(server, start=100) == (0, WEIGHTS)


# --- slow


def drips_headers(call: Call) -> None:
    call.handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not call.handler.owner.ending.wait(0.1):
        call.handler.wfile.write(b"x")
    call.cut()


@pytest.mark.parametrize("attack", [hostile.never_answers, drips_headers, hostile.headers_without_end])
def test_attack_30_headers_have_a_deadline_that_no_byte_renews(
    server: HostileRegistry, attack: Callable[[Call], None]
) -> None:
    server.attack = attack
    assert type(refused(server, QUICK)) is UnavailableError


def test_attack_30_a_stall_in_the_body_ends(server: HostileRegistry) -> None:
    server.attack = hostile.stalls
    assert refused(server, QUICK).code == "registry.timeout"


def drips_chunk_sizes(call: Call) -> None:
    call.begin(None)
    while not call.handler.owner.ending.wait(0.1):
        call.handler.wfile.write(b"0")
    call.cut()


def test_attack_30_a_length_of_a_chunk_that_drips_ends(server: HostileRegistry) -> None:
    server.attack = drips_chunk_sizes
    assert refused(server, QUICK).code == "registry.timeout"


def drips_body(call: Call) -> None:
    call.begin(len(call.body))
    for byte in call.body:
        if call.handler.owner.ending.wait(0.1):
            break
        call.handler.wfile.write(bytes([byte]))
    call.cut()


def test_attack_30_a_small_document_has_a_deadline_as_a_whole(server: HostileRegistry) -> None:
    server.attack = drips_body
    carrier = OciRegistry(f"oci://{server.address}", QUICK)
    with pytest.raises(UnavailableError) as caught:
        carrier.listing()
    assert caught.value.code == "registry.timeout"
    carrier.close()


def test_a_stop_ends_every_wait(server: HostileRegistry) -> None:
    stop = Stop()
    server.attack = lambda call: (stop.set(), hostile.never_answers(call))[0]  # type: ignore[func-returns-value]
    patient = replace(QUICK, answer_s=50, stop=stop)
    assert refused(server, patient).code == "registry.stopped"
    assert refused(server, patient).code == "registry.stopped"


def test_a_stop_ends_the_wait_for_a_name_server_and_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, asked, done = Stop(), threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        asked.set()
        stop.set()
        done.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(UnavailableError, match="stops"):
        sockets.dial("registry.example", 443, 20, stop)
    with pytest.raises(TimeoutError, match="name server"):
        sockets.dial("registry.example", 443, 0.05, None)
    done.set()


def test_a_dead_address_does_not_hide_the_one_behind_it(
    server: HostileRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    found = [
        *real("192.0.2.1", server.port, type=socket.SOCK_STREAM),
        *real("127.0.0.1", server.port, type=socket.SOCK_STREAM),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    connected = sockets.dial("registry.example", server.port, 2, None)
    assert connected.getpeername()[0] == "127.0.0.1"
    connected.close()


def test_a_port_where_nobody_listens_is_said(free_port: int) -> None:
    carrier = open_carrier(f"oci://127.0.0.1:{free_port}/fleet", QUICK)
    with pytest.raises(UnavailableError, match=r"no connection: Connection refused"):
        carrier.listing()


# --- sent elsewhere


INSIDE = [
    "https://169.254.169.254/latest/meta-data/",
    "https://127.0.0.2:{port}/",
    "https://localhost:{port}/",
    "https://[::1]:{port}/",
    "https://[::ffff:127.0.0.2]:{port}/",
    "https://0.0.0.0:{port}/",
    "https://2130706434:{port}/",  # 127.0.0.2 in one number
    "https://0x7f.2:{port}/",
    "//127.0.0.2:{port}/",
    "https://me:secret@93.184.216.34/",
    "https:///nowhere",
    "https://host:port/",
    "https://ho st/",
    "https://[::1",
    "file:///etc/passwd",
    "ftp://93.184.216.34/",
    "http://93.184.216.34/",
]


def test_attack_28_a_redirect_inside_or_away_from_https_is_not_followed(server: HostileRegistry) -> None:
    with Thief() as thief:
        for location in INSIDE:
            server.attack = hostile.redirect(location.replace("{port}", str(thief.port)))
            error = refused(server)
            assert (location, type(error), error.code) == (location, DataError, "registry.redirect")
        assert thief.requests == []


def test_attack_28_a_name_that_leads_inside_is_not_followed(
    server: HostileRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    with Thief() as thief:
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda name, *more, **named: real(name.replace("storage.example", "127.0.0.2"), *more, **named),
        )
        server.attack = hostile.redirect(f"https://storage.example:{thief.port}/")
        assert refused(server).code == "registry.redirect"
        assert thief.requests == []


def test_attack_28_tls_is_not_given_up(
    tls_server: HostileRegistry, server: HostileRegistry, authority: Authority
) -> None:
    tls_server.attack = hostile.redirect(f"{server.url}{{path}}")  # the same host, without TLS
    assert refused(tls_server, replace(PATIENT, ca_file=authority.ca)).code == "registry.redirect"
    assert server.requests == []


def test_attack_28_the_password_stays_with_the_server_that_it_is_for(
    server: HostileRegistry, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.registry.carriers.session.is_loopback", lambda _: False)
    monkeypatch.setattr("edge_runtime.registry.carriers.session.is_redirect_allowed", lambda *_: True)
    monkeypatch.setattr(http_module, "is_redirect_allowed", lambda *_: True)
    here, there = authority.sign("here"), authority.sign("there", host="127.0.0.2")
    with HostileRegistry(tls=here) as other_port, HostileRegistry(tls=there, host="127.0.0.2") as other_host:
        for other in (other_port, other_host):
            other.put("model", WEIGHTS)
            server.attack = _with_password(hostile.redirect(f"{other.url}{{path}}"))
            carrier = OciRegistry(f"oci://{server.address}", PATIENT)
            carrier._session._http._access = replace(PATIENT, ca_file=authority.ca)  # on this host, that would mean TLS
            stream = carrier.open("model", BLOB, 5)
            assert (stream.start, stream.read(10)) == (5, WEIGHTS[5:15])
            stream.close()
            carrier.close()
            assert other.credentials == [""]
    assert server.credentials[-1].startswith("Basic ")


def _with_password(then: Callable[[Call], None]) -> Callable[[Call], None]:
    def attack(call: Call) -> None:
        if call.handler.headers.get("Authorization"):
            then(call)
        else:
            call.handler.answer(401, WWW_Authenticate='Basic realm="r"')

    return attack


def test_redirects_end(server: HostileRegistry) -> None:
    server.attack = hostile.redirect("{path}")
    error = refused(server)
    assert (error.code, len(server.requests)) == ("registry.redirect", 6)


def test_an_address_that_expired_is_made_anew_once(server: HostileRegistry) -> None:
    with HostileRegistry() as storage:
        storage.put("model", WEIGHTS)
        storage.attack, storage.times = hostile.refuse(403), 1
        server.attack = hostile.redirect(f"{storage.url}{{path}}?signature=secret")
        assert fetch(server) == (0, WEIGHTS)
        assert (len(server.requests), len(storage.requests)) == (2, 2)
        storage.times = 0
        error = refused(server)
        assert (type(error), len(server.requests)) == (PermissionDeniedError, 4)
        assert "signature" not in str(error)


# --- passwords


def test_attack_29_the_token_server_of_another_host_gets_nothing(server: HostileRegistry) -> None:
    with Thief() as thief:
        server.attack = hostile.realm(f"{thief.url}/token")
        error = refused(server)
        assert (type(error), error.code, thief.requests) == (PermissionDeniedError, "registry.realm", [])


def test_a_token_server_that_the_operator_named_may_be_anywhere(server: HostileRegistry) -> None:
    with Thief() as tokens:
        server.attack = hostile.realm(f"{tokens.url}/token")
        assert fetch(server, replace(PATIENT, realm_hosts=(tokens.address,))) == (0, WEIGHTS)
        assert len(tokens.loot) == 1


def test_attack_29_a_token_server_that_redirects_is_not_followed(server: HostileRegistry) -> None:
    with Thief() as thief:
        server.put("token", b"")
        server.attack = lambda call: (hostile.realm(f"{server.url}/v2/token/blobs/{digest_of(b'')}")(call)
            if "/model/" in call.handler.path else hostile.redirect(f"{thief.url}/")(call))  # fmt: skip
        error = refused(server)
        assert (type(error), error.code, thief.requests) == (DataError, "registry.redirect", [])


def test_a_wrong_password_is_sent_once_and_never_again(server: HostileRegistry) -> None:
    server.attack = lambda call: call.handler.answer(
        401,
        b'{"errors":[{"code":"UNAUTHORIZED","message":"no\\u001b[31m hunter22"}]}',
        WWW_Authenticate="Basic realm=r",
    )
    error = refused(server)
    assert (type(error), error.code, len(server.requests)) == (PermissionDeniedError, "registry.unauthorized", 2)
    assert "(UNAUTHORIZED: no [31m ***)" in str(error)


# --- what it says


STATUSES: dict[int, tuple[type[EdgeError], str]] = {
    204: (DataError, "registry.refused"),
    302: (DataError, "registry.redirect"),
    400: (DataError, "registry.refused"),
    403: (PermissionDeniedError, "registry.forbidden"),
    404: (DataError, "registry.missing"),
    410: (DataError, "registry.missing"),
    429: (UnavailableError, "registry.unavailable"),
    500: (UnavailableError, "registry.unavailable"),
    503: (UnavailableError, "registry.unavailable"),
}


def test_a_status_says_whether_to_try_again(server: HostileRegistry) -> None:
    found = {}
    for status in STATUSES:
        server.attack = hostile.refuse(status)
        error = refused(server)
        found[status] = (type(error), error.code)
    assert found == STATUSES
    assert len(server.requests) == len(STATUSES)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"errors":[{"code":"DENIED","message":"no such user"}]}', "(DENIED: no such user)"),
        (b'{"errors":[{"code":7}]}', "answered 500"),
        (b'{"errors":["x"]}', "answered 500"),
        (b"<html>a page</html>", "answered 500"),
        (b"out of\x1b]0;x\x07 order\r\n", "(out of ]0;x order)"),
        (b"x" * 100_000, "(" + "x" * 160 + ")"),
    ],
)
def test_what_it_says_is_quoted_shortly_and_cleanly(server: HostileRegistry, body: bytes, expected: str) -> None:
    server.attack = lambda call: call.handler.answer(500, body)
    assert refused(server).message.endswith(expected)


def test_an_overloaded_server_is_left_alone_for_as_long_as_it_asks(server: HostileRegistry) -> None:
    server.attack, server.times = hostile.refuse(503, Retry_After="0"), 1
    assert fetch(server) == (0, WEIGHTS)
    server.attack, server.times = hostile.refuse(429, Retry_After="3600"), 0
    before = len(server.requests)
    assert (type(refused(server)), len(server.requests) - before) == (UnavailableError, 1)


def test_a_connection_is_used_again(server: HostileRegistry) -> None:
    ports: set[int] = set()

    def look(call: Call) -> None:
        ports.add(call.handler.client_address[1])
        call.send()

    server.attack = look
    carrier = OciRegistry(f"oci://{server.address}", PATIENT)
    for known in (None, None, digest_of(LISTING)):
        carrier.listing(known)
    with pytest.raises(DataError):
        carrier.open("model", replace_digest(BLOB))
    carrier.listing()
    assert len(ports) == 1
    carrier.close()


def replace_digest(blob: Descriptor) -> Descriptor:
    return Descriptor(digest_of(b"missing"), blob.size, blob.media_type)


def test_a_kept_connection_that_was_closed_meanwhile_is_made_anew(server: HostileRegistry) -> None:
    def once(call: Call) -> None:
        call.send()
        call.handler.close_connection = True  # though it did not say so

    server.attack = once
    carrier = OciRegistry(f"oci://{server.address}", PATIENT)
    assert [carrier.listing() is not None for _ in range(3)] == [True] * 3
    carrier.close()


# --- TLS


def test_attack_31_a_certificate_for_another_host_is_refused(authority: Authority) -> None:
    with HostileRegistry(tls=authority.sign("other", host="127.0.0.2")) as server:
        error = refused(server, replace(PATIENT, ca_file=authority.ca))
    assert (type(error), error.code, server.requests) == (DataError, "registry.tls", [])


def test_attack_31_an_authority_that_nobody_named_is_refused(tls_server: HostileRegistry, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    assert refused(tls_server, replace(PATIENT, ca_file=stranger.ca)).code == "registry.tls"
    carrier = open_carrier(tls_server.url, PATIENT)  # the authorities of the system
    with pytest.raises(DataError, match=r"no TLS connection that can be trusted"):
        carrier.listing()
    assert tls_server.requests == []


def test_attack_31_an_expired_certificate_is_refused(authority: Authority) -> None:
    with HostileRegistry(tls=authority.sign("old", days=-1)) as server:
        error = refused(server, replace(PATIENT, ca_file=authority.ca))
    assert (error.code, "expired" in error.message) == ("registry.tls", True)


def test_attack_31_an_old_tls_is_refused(tls_server: HostileRegistry, authority: Authority) -> None:
    context = tls_context(replace(PATIENT, ca_file=authority.ca), home=True)
    assert (context.minimum_version, context.check_hostname, context.verify_mode) == (
        ssl.TLSVersion.TLSv1_2, True, ssl.CERT_REQUIRED,
    )  # fmt: skip
    assert fetch(tls_server, replace(PATIENT, ca_file=authority.ca)) == (0, WEIGHTS)


def test_attack_31_a_server_without_tls_gets_no_request(server: HostileRegistry, authority: Authority) -> None:
    error = refused(server, replace(PATIENT, ca_file=authority.ca, answer_s=1.5))
    assert error.code in {"registry.not_tls", "registry.timeout"}  # Python's server waits for a line
    assert server.requests == []


def test_a_line_that_is_no_answer_writes_no_line_of_its_own(server: HostileRegistry) -> None:
    server.attack = lambda call: call.handler.wfile.write(b"\x1b[2Jnonsense\r\n\r\n") and call.cut()
    message = refused(server).message
    assert r"\x1b[2Jnonsense" in message
    assert "\n" not in message


def test_attack_28_a_store_of_objects_that_asks_for_a_password_gets_none(server: HostileRegistry) -> None:
    with HostileRegistry() as storage:
        storage.put("model", WEIGHTS)
        storage.attack = hostile.refuse(401, WWW_Authenticate='Basic realm="give"')
        server.attack = hostile.redirect(f"{storage.url}{{path}}")
        assert refused(server).code == "registry.unauthorized"
        assert {*storage.credentials, *server.credentials} == {""}


@pytest.mark.parametrize(
    "inside", ["https://169.254.169.254/", "https://127.0.0.1/", "https://localhost/", "https://[::]/"]
)
def test_attack_28_nor_does_a_proxy_get_to_hear_of_an_address_inside(inside: str) -> None:
    session = Session(("https",), "registry.example", Access(proxy="http://192.0.2.7:3128"))
    with pytest.raises(DataError) as caught:
        session._target("https://registry.example/v2/", inside)
    assert caught.value.code == "registry.redirect"


def test_attack_04_another_listing_than_was_announced_is_refused(server: HostileRegistry) -> None:
    server.attack, server.on = hostile.other_content(make_listing({"1.root.json": b"another"})), "/manifests/sha256"
    carrier = OciRegistry(f"oci://{server.address}", PATIENT)
    with pytest.raises(DataError) as caught:
        carrier.listing(digest_of(b"an older one"))
    assert caught.value.code == "registry.digest"
    carrier.close()


def test_what_a_refusal_says_back_of_the_password_is_masked(server: HostileRegistry) -> None:
    def echo(call: Call) -> None:
        call.handler.answer(403, f"hunter22 {call.handler.headers['Authorization']}".encode())

    server.attack = _with_password(echo)
    assert "(*** Basic ***)" in refused(server).message
