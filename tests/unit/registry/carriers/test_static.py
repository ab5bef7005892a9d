"""A registry behind a plain web server."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_runtime.core.errors import ConfigError, DataError, PermissionDeniedError
from edge_runtime.registry.carriers.open import Access, open_carrier, open_publication
from edge_runtime.registry.descriptor import describe
from tests.fakes.certificates import Authority
from tests.registries import PlainServer, StaticServer
from tests.servers import Handler, LoopbackServer

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.registry.carriers.carrier import Carrier

WEIGHTS = bytes(range(256)) * 400
BLOB = describe(WEIGHTS, "application/octet-stream")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = open_publication(f"oci-layout:{tmp_path / 'www' / 'models'}", Access())
    place.put("weld", BLOB, io.BytesIO(WEIGHTS))
    place.publish({"1.root.json": b"root"}, None)
    return tmp_path / "www"


def pulls(carrier: Carrier, *, resumes: bool) -> str:
    """Read everything, and return the token of the listing."""
    listing = carrier.listing()
    assert listing is not None
    for start in (0, 1000):
        stream = carrier.open("weld", BLOB, start)
        assert stream.start == (start if resumes else 0)
        assert b"".join(iter(lambda: stream.read(4096), b"")) == WEIGHTS[stream.start :]  # noqa: B023
        stream.close()
    return listing.token


def test_a_server_with_ranges_and_etags_is_read(root: Path) -> None:
    with StaticServer(root) as server:
        carrier = open_carrier(f"{server.url}/models/", Access())
        token = pulls(carrier, resumes=True)
        before = len(server.requests)
        assert carrier.listing(token) is None
        assert server.requests[before:] == ["GET /models/index.json"]
        place = open_publication(f"oci-layout:{root / 'models'}", Access())
        later = place.publish({"1.root.json": b"root", "timestamp.json": b"t"}, token)
        listing = carrier.listing(token)
        assert listing is not None
        assert (listing.token, carrier.listing(later)) == (later, None)
        carrier.close()


def test_the_server_of_python_without_ranges_is_read(root: Path) -> None:
    with PlainServer(root) as server:
        carrier = open_carrier(f"{server.url}/models", Access())
        token = pulls(carrier, resumes=False)
        assert carrier.listing(token) is None
        carrier.close()


def test_a_password_and_an_authority_of_ones_own(root: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    access = Access(username="robot", password="hunter22", ca_file=authority.ca)
    with StaticServer(root, authority.sign("web"), {"robot": "hunter22"}) as server:
        carrier = open_carrier(f"{server.url}/models", access)
        pulls(carrier, resumes=True)
        carrier.close()
        carrier = open_carrier(f"{server.url}/models", replace(access, username=None))
        with pytest.raises(PermissionDeniedError):
            carrier.listing()
        carrier.close()


class _Unchanged(Handler):
    """Says that nothing changed, whatever was asked."""

    def respond(self) -> None:
        self.answer(304)


def test_not_modified_is_believed_only_when_that_was_asked() -> None:
    with LoopbackServer(_Unchanged) as server:
        carrier = open_carrier(f"{server.url}/models", Access())
        with pytest.raises(DataError, match="answered 304"):
            carrier.listing()
        carrier.close()


class _Bare(Handler):
    """Serves the index without a word about which one it is."""

    def respond(self) -> None:
        path: Path = self.owner.root / self.path.lstrip("/")
        self.answer(200, path.read_bytes())


def test_a_server_that_does_not_say_what_changed_is_read_again(root: Path) -> None:
    with LoopbackServer(_Bare) as server:
        server.root = root  # type: ignore[attr-defined]
        carrier = open_carrier(f"{server.url}/models", Access())
        listing = carrier.listing()
        assert listing is not None
        assert carrier.listing(listing.token) is None
        assert len(server.requests) == 3
        carrier.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://host/x",
        "https://",
        "https://me:hunter22@host/x",
        "https://host:port/x",
        "https://host/x?y",
        "https://ho st",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_carrier(url, Access())
    assert (caught.value.code, "hunter22" in str(caught.value)) == ("registry.url", False)


def test_http_is_spoken_where_it_is_allowed() -> None:
    open_carrier("http://host/x", Access(allow_http=True))
    open_carrier("http://localhost/x", Access())


def test_nothing_is_published_to_what_can_only_be_read() -> None:
    for url in ("https://host/x", "oci-archive:/x.tar"):
        with pytest.raises(ConfigError, match="can only be read"):
            open_publication(url, Access())
