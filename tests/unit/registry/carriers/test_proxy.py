"""Proxies: asked only when that is set, and what they may see."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import ConfigError, DataError, PermissionDeniedError, UnavailableError
from edge_runtime.registry.carriers.access import proxy_for
from edge_runtime.registry.carriers.open import Access, open_carrier, open_publication
from tests.fakes.certificates import Authority
from tests.registries import StaticServer, basic
from tests.servers import Handler, LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = {"1.root.json": b"root"}
ELSEWHERE = "192.0.2.7"  # documentation: nobody is there, so only a proxy can answer for it


class Proxy(LoopbackServer):
    """Lets everything through to one server, if the password is right."""

    def __init__(self, target: LoopbackServer) -> None:
        super().__init__(_ProxyHandler)
        self.target = target
        self.demanded = ""
        self.given: list[str] = []
        self.location = ""  # where a server behind it sends whoever asks without TLS


class _ProxyHandler(Handler):
    def do_CONNECT(self) -> None:  # noqa: N802 - as the base class calls it
        owner: Proxy = self.owner
        owner.given.append(self.headers.get("Proxy-Authorization", ""))
        if owner.demanded and owner.given[-1] != owner.demanded:
            self.answer(407)
            return
        self.close_connection = True
        with socket.create_connection((owner.target.host, owner.target.port)) as there:
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=self._copy, args=(there, self.connection))
            back.start()
            self._copy(self.connection, there)
            back.join()

    def respond(self) -> None:
        self.owner.given.append(self.headers.get("Proxy-Authorization", ""))
        if self.owner.location:
            self.answer(307, Location=self.owner.location)
        else:
            self.answer(502, b"as seen by the proxy")

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(1 << 16):
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[tuple[Proxy, Access]]:
    """A server that only the proxy reaches, and how to get there."""
    authority = Authority(tmp_path)
    place = open_publication(f"oci-layout:{tmp_path / 'www'}", Access())
    place.put("weld", *_blob())
    place.publish(FILES, None)
    certificate = authority.sign("web", host=ELSEWHERE)
    with StaticServer(tmp_path / "www", certificate, {"robot": "hunter22"}) as server, Proxy(server) as proxy:
        access = Access(username="robot", password="hunter22", ca_file=authority.ca, proxy=proxy.url, connect_s=2)
        yield proxy, access


def _blob() -> tuple[object, io.BytesIO]:
    from edge_runtime.registry.descriptor import describe

    return describe(b"weights", "x"), io.BytesIO(b"weights")


def test_tls_goes_through_a_proxy_that_does_not_see_the_password(behind: tuple[Proxy, Access]) -> None:
    proxy, access = behind
    carrier = open_carrier(f"https://{ELSEWHERE}", access)
    assert carrier.listing() is not None
    assert proxy.requests == [f"CONNECT {ELSEWHERE}:443"]
    assert proxy.credentials == [""]
    carrier.close()


def test_a_proxy_is_told_its_own_password_only(behind: tuple[Proxy, Access]) -> None:
    proxy, access = behind
    proxy.demanded = basic("me", "p@ss")
    carrier = open_carrier(f"https://{ELSEWHERE}", access)
    with pytest.raises(PermissionDeniedError, match="the proxy demands another name or password"):
        carrier.listing()
    carrier.close()
    knows = replace(access, proxy=f"http://me:p%40ss@{proxy.address}/")
    carrier = open_carrier(f"https://{ELSEWHERE}", knows)
    assert carrier.listing() is not None
    assert proxy.given == ["", proxy.demanded]
    carrier.close()


def test_without_tls_the_proxy_is_asked_itself(behind: tuple[Proxy, Access]) -> None:
    proxy, access = behind
    carrier = open_carrier(f"http://{ELSEWHERE}/models", replace(access, allow_http=True))
    with pytest.raises(UnavailableError, match=r"answered 502 \(as seen by the proxy\)"):
        carrier.listing()
    assert proxy.requests == [f"GET http://{ELSEWHERE}/models/index.json"]
    carrier.close()


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:1/", "http://[::1]/"]
)
def test_attack_28_a_redirect_to_an_inner_address_is_not_asked_through_a_proxy_either(
    behind: tuple[Proxy, Access], location: str
) -> None:
    """A proxy that can reach what the box must not would fetch it for the registry."""
    proxy, access = behind
    proxy.location = location
    carrier = open_carrier(f"http://{ELSEWHERE}/models", replace(access, allow_http=True))
    with pytest.raises(DataError) as caught:
        carrier.listing()
    assert caught.value.code == "registry.redirect"
    assert proxy.requests == [f"GET http://{ELSEWHERE}/models/index.json"]
    carrier.close()


def test_a_proxy_that_is_not_there_is_said(behind: tuple[Proxy, Access], free_port: int) -> None:
    carrier = open_carrier(f"https://{ELSEWHERE}", replace(behind[1], proxy=f"http://127.0.0.1:{free_port}"))
    with pytest.raises(UnavailableError, match="no connection: Connection refused"):
        carrier.listing()
    carrier.close()


def test_attack_31_a_proxy_cannot_be_the_registry(behind: tuple[Proxy, Access], tmp_path: Path) -> None:
    """It terminates TLS with a certificate for the right host of an authority that nobody named."""
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    carrier = open_carrier(f"https://{ELSEWHERE}", replace(behind[1], ca_file=Authority(stranger).ca))
    with pytest.raises(DataError) as caught:
        carrier.listing()
    assert caught.value.code == "registry.tls"
    carrier.close()


@pytest.mark.parametrize("proxy", ["https://proxy:3128", "socks5://proxy"])
def test_another_kind_of_proxy_is_a_mistake_of_the_configuration(proxy: str) -> None:
    carrier = open_carrier(f"https://{ELSEWHERE}", Access(proxy=proxy))
    with pytest.raises(ConfigError, match="a proxy is http://HOST:PORT"):
        carrier.listing()


def test_variables_of_the_environment_count_only_when_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    environment = Access(proxy="environment")
    hosts = ("registry.example", "inside.example", "localhost", "127.0.0.1")
    assert [proxy_for(environment, "https", host) for host in hosts] == ["http://proxy:3128", None, None, None]
    assert [proxy_for(Access(), "https", host) for host in hosts] == [None] * 4
    assert [proxy_for(Access(proxy="http://p"), "https", host) for host in hosts] == ["http://p"] * 2 + [None] * 2
    assert proxy_for(environment, "http", "registry.example") is None


class _Redirecting(Handler):
    def respond(self) -> None:
        self.answer(307, Location=f"https://{self.path.rpartition('=')[2].partition('/')[0]}/")


@pytest.mark.parametrize("host", ["2852039166", "127.1", "0x7f.1", "169.254.169.254.", "localhost.", "a.localhost"])
def test_attack_28_a_proxy_is_not_sent_to_an_address_in_disguise(host: str) -> None:
    with LoopbackServer(_Redirecting) as proxy:
        carrier = open_carrier(f"http://{ELSEWHERE}/to={host}", Access(proxy=proxy.url, allow_http=True))
        with pytest.raises(DataError) as caught:
            carrier.listing()
        carrier.close()
        assert (caught.value.code, len(proxy.requests)) == ("registry.redirect", 1)
