"""Real registries: what is pushed is pulled, with every way of saying who one is."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import BusyError, ConfigError, DataError, PermissionDeniedError, UnavailableError
from edge_runtime.registry.carriers.http import Http, Reply
from edge_runtime.registry.carriers.open import Access, open_carrier, open_publication
from edge_runtime.registry.carriers.push import OciPublication
from edge_runtime.registry.carriers.tls import tls_context
from edge_runtime.registry.descriptor import MANIFEST, Descriptor, describe, digest_of
from tests.fakes.certificates import Authority
from tests.registries import Registry, TokenServer, skopeo
from tests.servers import Handler, LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.registry.carriers.carrier import Carrier

WEIGHTS = bytes(range(256)) * 4096
BLOB = describe(WEIGHTS, "application/vnd.cncf.model.weight.v1.raw")
CONFIG = describe(b"{}", "application/vnd.cncf.model.config.v1+json")
FILES = {"1.root.json": b"root", "timestamp.json": b"time", "targets/floors.json": b"{}"}
RAW = json.dumps(
    {"schemaVersion": 2, "mediaType": MANIFEST, "config": CONFIG.as_fields(), "layers": [BLOB.as_fields()]}
).encode()
ROBOT = Access(username="robot", password="hunter22")
SETTLE_S = 0.1


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def plain() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def publication(registry: Registry, access: Access, namespace: str = "fleet/x", piece: int = 1 << 24) -> OciPublication:
    return OciPublication(f"oci://{registry.address}/{namespace}", access, piece_bytes=piece, settle_s=SETTLE_S)


def push(place: OciPublication, replaces: str | None = None) -> str:
    with place.lock():
        for blob, raw in ((CONFIG, b"{}"), (BLOB, WEIGHTS)):
            place.put("weld", blob, io.BytesIO(raw))
        place.tag("weld", "7", RAW)
        return place.publish(FILES, replaces)


def read(carrier: Carrier, blob: Descriptor, start: int = 0, repository: str = "weld") -> bytes:
    stream = carrier.open(repository, blob, start)
    try:
        return b"".join(iter(lambda: stream.read(1 << 16), b""))
    finally:
        stream.close()


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what will be asked from now on."""
    asked: list[str] = []
    exchange = Http.exchange

    def watched(self: Http, method: str, url: str, *more: Any) -> Reply:
        asked.append(f"{method} {url}")
        return exchange(self, method, url, *more)

    monkeypatch.setattr(Http, "exchange", watched)
    return asked


def pulls(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, access: Access, token: str, namespace: str = "fleet/x"
) -> None:
    """Demand that all is there, and that a check that finds nothing new is one request."""
    carrier = open_carrier(f"oci://{registry.address}/{namespace}", access)
    listing = carrier.listing()
    assert listing is not None
    assert listing.token == token
    assert {name: read(carrier, blob, repository="tuf") for name, blob in listing.files.items()} == FILES
    assert read(carrier, describe(RAW, MANIFEST)) == RAW
    assert read(carrier, BLOB, 1_000_000) == WEIGHTS[1_000_000:]
    with monkeypatch.context() as watched:
        asked = watch(watched)
        assert carrier.listing(token) is None
    assert asked == [f"HEAD {registry.url}/v2/{namespace}/tuf/manifests/latest"]
    assert carrier.listing(digest_of(b"an older one")) == listing
    carrier.close()


@pytest.mark.parametrize("piece", [1 << 24, 1 << 18])
def test_what_is_pushed_whole_or_in_pieces_is_pulled(
    plain: Registry, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = publication(plain, Access(), f"pieces/n{piece}", piece)
    assert (place.has("weld", BLOB), place.has("weld", describe(RAW, MANIFEST))) == (False, False)
    token = push(place)
    assert (place.has("weld", BLOB), place.has("weld", describe(RAW, MANIFEST))) == (True, True)
    place.close()
    pulls(monkeypatch, plain, Access(), token, f"pieces/n{piece}")


def test_skopeo_carries_a_registry_into_a_directory_and_an_archive(plain: Registry, tmp_path: Path) -> None:
    place = publication(plain, Access(), "carried")
    token = push(place)
    place.close()
    source = f"docker://{plain.address}/carried"
    for kind, url in (
        ("oci", f"oci-layout:{tmp_path / 'dir'}"),
        ("oci-archive", f"oci-archive:{tmp_path / 'one.tar'}"),
    ):
        target = f"{kind}:{url.partition(':')[2]}:tuf:latest"
        skopeo("copy", "--preserve-digests", "--src-tls-verify=false", f"{source}/tuf:latest", target)
        carrier = open_carrier(url, Access())
        listing = carrier.listing()
        assert listing is not None
        assert (listing.token, carrier.listing(token)) == (token, None)
        assert {name: read(carrier, blob) for name, blob in listing.files.items()} == FILES


def test_basic_authentication_over_tls_asks_once(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    access = replace(ROBOT, ca_file=authority.ca)
    with Registry(tls=authority.sign("basic"), users={"robot": "hunter22"}) as registry:
        place = publication(registry, access)
        token = push(place)
        place.close()
        carrier = open_carrier(f"oci://{registry.address}/fleet/x", access)
        with monkeypatch.context() as watched:
            asked = watch(watched)
            assert [carrier.listing(token) for _ in range(3)] == [None] * 3
        assert len(asked) == 4  # the first was asked who we are
        assert read(carrier, BLOB) == WEIGHTS
        carrier.close()
        for wrong, code in (
            (replace(access, password="other"), "registry.unauthorized"),
            (replace(access, username=None), "registry.unauthorized"),
        ):
            carrier = open_carrier(f"oci://{registry.address}/fleet/x", wrong)
            with pytest.raises(PermissionDeniedError) as caught:
                carrier.listing()
            assert caught.value.code == code
            carrier.close()


def test_a_client_certificate_is_shown(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    client = authority.sign("client")
    with Registry(tls=authority.sign("mtls"), client_ca=authority.ca) as registry:
        access = Access(ca_file=authority.ca, cert_file=client.cert, key_file=client.key)
        place = publication(registry, access)
        pulls(monkeypatch, registry, access, push(place))
        place.close()
        carrier = open_carrier(f"oci://{registry.address}/fleet/x", Access(ca_file=authority.ca))
        with pytest.raises((DataError, UnavailableError), match=r"TLS|cut"):
            carrier.listing()
        carrier.close()


@pytest.mark.parametrize("wrong", ["missing", "no PEM", "another key"])
def test_a_certificate_that_cannot_be_used_is_a_mistake_of_the_configuration(
    authority: Authority, tmp_path: Path, wrong: str
) -> None:
    client, other = authority.sign("client"), authority.sign("other")
    file = tmp_path / "x.pem"
    if wrong != "missing":
        file.write_bytes(b"nothing" if wrong == "no PEM" else client.cert.read_bytes())
    carrier = open_carrier("https://127.0.0.1:1/", Access(ca_file=authority.ca, cert_file=file, key_file=other.key))
    with pytest.raises(ConfigError) as caught:
        carrier.listing()
    assert caught.value.code == "registry.certificate"


def test_a_key_that_is_encrypted_is_not_asked_for_at_the_terminal(authority: Authority, tmp_path: Path) -> None:
    client = authority.sign("client")
    command = ["openssl", "ec", "-aes128", "-passout", "pass:hunter22", "-in", client.key, "-out", tmp_path / "key"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match="the key is encrypted"):
        tls_context(Access(cert_file=client.cert, key_file=tmp_path / "key"), home=True)


def test_only_the_registry_is_shown_a_certificate_and_held_to_the_authority(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path).ca))  # that of the system
    access = Access(ca_file=authority.ca, cert_file=tmp_path / "none.pem")
    context = tls_context(access, home=False)  # the certificate is not even looked for
    assert len(context.get_ca_certs()) == 2
    assert len(tls_context(Access(ca_file=authority.ca), home=True).get_ca_certs()) == 1
    with pytest.raises(ConfigError):
        tls_context(access, home=True)


def test_tokens_are_fetched_for_each_scope_and_kept() -> None:
    tokens = TokenServer({"robot": "hunter22", "reader": "hunter33"}, pull_only=("reader",))
    with tokens, Registry(token_server=tokens) as registry:
        place = publication(registry, ROBOT)
        token = push(place)
        place.close()
        reader = replace(ROBOT, username="reader", password="hunter33")
        before = len(tokens.requests)
        carrier = open_carrier(f"oci://{registry.address}/fleet/x", reader)
        for _ in range(3):
            assert carrier.listing(token) is None
            assert read(carrier, BLOB) == WEIGHTS
        assert len(tokens.requests) - before == 2  # one for each repository
        carrier.close()
        place = publication(registry, reader)
        with pytest.raises(PermissionDeniedError):
            place.tag("weld", "7", RAW)
        place.close()
        carrier = open_carrier(f"oci://{registry.address}/fleet/x", replace(ROBOT, password="wrong"))
        with pytest.raises(PermissionDeniedError):
            carrier.listing()
        carrier.close()


def test_a_token_that_ended_is_fetched_again() -> None:
    with TokenServer({"robot": "hunter22"}, life_s=-60) as tokens, Registry(token_server=tokens) as registry:
        carrier = open_carrier(f"oci://{registry.address}/fleet/x", ROBOT)
        for asked in (1, 2):
            with pytest.raises(PermissionDeniedError):  # this one ends before it begins
                carrier.listing()
            assert len(tokens.requests) == asked
        tokens.life_s = 300
        with pytest.raises(DataError, match=r"answered 404"):
            carrier.listing()
        carrier.close()


def test_a_cache_serves_blobs_while_the_registry_is_gone() -> None:
    with Registry() as origin:
        place = publication(origin, Access())
        token = push(place)
        place.close()
        with Registry(upstream=origin.url) as cache:
            carrier = open_carrier(f"oci://{cache.address}/fleet/x", replace(Access(), answer_s=2))
            assert carrier.listing(token) is None
            assert (read(carrier, describe(RAW, MANIFEST)), read(carrier, BLOB)) == (RAW, WEIGHTS)
            held = cache.data / "docker/registry/v2/blobs/sha256"
            while {BLOB.hex, digest_of(RAW)[7:]} - {path.name for path in held.glob("*/*") if (path / "data").exists()}:
                threading.Event().wait(0.01)  # it stores what it passed on a moment later
            origin.kill()
            assert (read(carrier, describe(RAW, MANIFEST)), read(carrier, BLOB)) == (RAW, WEIGHTS)
            carrier.close()


@pytest.mark.parametrize("tls", [False, True])
def test_a_frozen_registry_costs_no_more_than_its_limit(tls: bool, authority: Authority) -> None:  # noqa: FBT001
    access = Access(connect_s=0.2, ca_file=authority.ca) if tls else Access(answer_s=0.2)
    with socket.create_server(("127.0.0.1", 0)) as frozen:  # the kernel accepts, and nobody answers
        carrier = open_carrier(f"oci://127.0.0.1:{frozen.getsockname()[1]}/fleet/x", access)
        with pytest.raises(UnavailableError) as caught:
            carrier.listing()
        assert caught.value.code == "registry.timeout"
        carrier.close()


def test_what_is_not_there_is_said(plain: Registry) -> None:
    carrier = open_carrier(f"oci://{plain.address}/nothing/here", Access())
    for known in (None, digest_of(b"x")):
        with pytest.raises(DataError, match=r"nothing/here/tuf/manifests/latest: answered 404") as caught:
            carrier.listing(known)
        assert caught.value.code == "registry.missing"
    with pytest.raises(DataError) as caught:
        carrier.open("weld", BLOB)
    assert caught.value.code == "registry.missing"
    with pytest.raises(DataError, match="cannot be the name of a repository"):
        carrier.open("../weld", BLOB)
    carrier.close()


@pytest.mark.parametrize("given", [b"", WEIGHTS[:-1], WEIGHTS + b"x", b"x" + WEIGHTS[1:]])
def test_other_bytes_than_described_are_not_sent(plain: Registry, given: bytes) -> None:
    place, before = publication(plain, Access(), "other-bytes"), len(plain.requests())
    with pytest.raises(DataError) as caught:
        place.put("weld", BLOB, io.BytesIO(given))
    assert (caught.value.code, place.has("weld", BLOB)) == ("registry.digest", False)
    assert not any("POST" in request for request in plain.requests()[before:])
    place.close()


def test_a_publisher_that_was_slower_changes_nothing(plain: Registry) -> None:
    place = publication(plain, Access(), "slower")
    token = push(place)
    for replaces in (None, digest_of(b"another")):
        with pytest.raises(BusyError, match=r"another publisher was faster") as caught:
            place.publish({"1.root.json": b"mine"}, replaces)
        assert caught.value.code == "registry.changed"
    assert place.listing(token) is None
    later = place.publish({**FILES, "timestamp.json": b"later"}, token)
    listing = place.listing(token)
    assert listing is not None
    assert listing.token == later
    place.close()


class CuttingProxy(LoopbackServer):
    """Hands requests on to a registry, and cuts some uploads in the middle."""

    def __init__(self, upstream: Registry, cuts: int) -> None:
        super().__init__(_Cutting)
        self.upstream, self.cuts = upstream, cuts


class _Cutting(Handler):
    def respond(self) -> None:
        import urllib3

        owner: CuttingProxy = self.owner
        size = int(self.headers.get("Content-Length", "0"))
        if self.command == "PATCH" and owner.cuts:
            owner.cuts -= 1
            size //= 2
            self.close_connection = True
        body = self.rfile.read(size)
        headers = {k: v for k, v in self.headers.items() if k not in {"Content-Length", "Content-Range", "Host"}}
        with urllib3.PoolManager() as pools:
            url = f"{owner.upstream.url}{self.path}"
            answer = pools.request(self.command, url, body=body, headers=headers, redirect=False, retries=False)
        if not self.close_connection:
            given = {k: v for k, v in answer.headers.items() if k not in {"Content-Length", "Date"}}
            location = given.get("Location", "").replace(owner.upstream.address, "127.0.0.1:1")
            more = {"Location": location} if location else {}
            length = answer.headers.get("Content-Length", "0")
            self.answer(answer.status, answer.data, **{**given, **more}, Content_Length=length)


def test_an_upload_that_was_cut_goes_on_where_it_was(plain: Registry) -> None:
    with CuttingProxy(plain, 2) as proxy:
        place = OciPublication(f"oci://{proxy.address}/cut", Access(), piece_bytes=1 << 18)
        place.put("weld", BLOB, io.BytesIO(WEIGHTS))
        place.close()
        carrier = open_carrier(f"oci://{plain.address}/cut", Access())
        assert read(carrier, BLOB) == WEIGHTS
        carrier.close()
        proxy.cuts = 1000
        place = OciPublication(f"oci://{proxy.address}/cut-for-ever", Access(), piece_bytes=1 << 18)
        with pytest.raises(UnavailableError):
            place.put("weld", BLOB, io.BytesIO(WEIGHTS))
        place.close()


@pytest.mark.parametrize(
    "url",
    [
        *(
            "oci://",
            "oci:///ns",
            "oci://host:port/ns",
            "oci://host:0/ns",
            "oci://me:hunter22@host/ns",
            "oci://host/Upper",
        ),
        *(
            "oci://host/a//b",
            "oci://host/ns?x=1",
            "oci://host/ns#x",
            "oci://ho st/ns",
            "oci://host/../x",
            "oci://[::1/ns",
        ),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    for function in (open_carrier, open_publication):
        with pytest.raises(ConfigError) as caught:
            function(url, Access())
        assert (caught.value.code, "hunter22" in str(caught.value)) == ("registry.url", False)


@pytest.mark.parametrize(
    ("url", "access", "expected"),
    [
        ("oci://host/ns", Access(), ("https",)),
        ("oci://host:5000", Access(allow_http=True), ("https", "http")),
        ("oci://127.0.0.1:5000/ns", Access(), ("http",)),
        ("oci://localhost:5000/ns", Access(ca_file="x"), ("https",)),  # type: ignore[arg-type]
    ],
)
def test_attack_31_tls_is_left_out_only_on_this_machine_or_when_it_is_allowed(
    url: str, access: Access, expected: tuple[str, ...]
) -> None:
    carrier = open_carrier(url, access)
    assert carrier._session._schemes == expected  # type: ignore[attr-defined]


def test_a_registry_without_tls_elsewhere_is_asked_when_that_is_allowed(
    plain: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_runtime.registry.carriers.oci.is_loopback", lambda _: False)
    for allowed, code in ((True, "registry.missing"), (False, "registry.not_tls")):
        carrier = open_carrier(f"oci://{plain.address}/nothing", Access(allow_http=allowed))
        with pytest.raises(DataError) as caught:
            carrier.listing()
        assert caught.value.code == code
        carrier.close()
