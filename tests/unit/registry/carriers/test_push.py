"""Uploads to registries that can do more than Docker's, and to such that do what they should not."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pytest

from edge_runtime.core.errors import BusyError, DataError, EdgeError, PermissionDeniedError, UnavailableError
from edge_runtime.registry.carriers.open import Access
from edge_runtime.registry.carriers.push import OciPublication
from edge_runtime.registry.descriptor import describe, digest_of
from tests.servers import Handler, LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WEIGHTS = bytes(range(256)) * 1024
BLOB = describe(WEIGHTS, "application/octet-stream")
PIECE = 1 << 16


class Uploads(LoopbackServer):
    """A registry of one repository that resumes uploads; ``meddle`` may answer in its place."""

    def __init__(self) -> None:
        super().__init__(_Uploads)
        self.received = bytearray()
        self.stored: dict[str, bytes] = {}
        self.meddle: Callable[[_Uploads], bool] = lambda _: False


class _Uploads(Handler):
    def respond(self) -> None:
        owner: Uploads = self.owner
        if owner.meddle(self):
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if "/uploads/" in self.path:
            self._upload(owner, body)
        elif self.command == "PUT":
            owner.stored[self.path.rpartition("/")[2]] = body
            self.answer(201)
        else:
            found = owner.stored.get(self.path.rpartition("/")[2])
            self.answer(404 if found is None else 200, found or b"")

    def _upload(self, owner: Uploads, body: bytes) -> None:
        place = {"Location": "/v2/ns/weld/blobs/uploads/1?s=1"}
        if self.command == "POST":
            owner.received.clear()
            self.answer(202, **place)
        elif self.command == "PATCH":
            assert self.headers["Content-Range"] == f"{len(owner.received)}-{len(owner.received) + len(body) - 1}"
            owner.received += body
            self.answer(202, **place)
        elif self.command == "GET":
            self.answer(204, **place, Range=f"0-{max(len(owner.received) - 1, 0)}")
        else:
            owner.received += body
            digest = digest_of(bytes(owner.received))
            owner.stored[digest] = bytes(owner.received)
            self.answer(201, Docker_Content_Digest=digest)


@pytest.fixture
def server() -> Iterator[Uploads]:
    with Uploads() as server:
        yield server


def place(server: Uploads, **more: Any) -> OciPublication:
    access = Access(username="robot", password="hunter22", gap_s=2, **more)
    return OciPublication(f"oci://{server.address}/ns", access, piece_bytes=PIECE, settle_s=0.05)


def put(server: Uploads) -> None:
    one = place(server)
    try:
        one.put("weld", BLOB, io.BytesIO(WEIGHTS))
    finally:
        one.close()


def refused(server: Uploads) -> EdgeError:
    with pytest.raises(EdgeError) as caught:
        put(server)
    assert BLOB.digest not in server.stored
    return caught.value


def test_an_upload_goes_on_at_the_byte_that_was_stored_last(server: Uploads) -> None:
    cuts = iter([1000, PIECE, 0])

    def cut(handler: _Uploads) -> bool:
        if handler.command != "PATCH" or (kept := next(cuts, None)) is None:
            return False
        server.received += handler.rfile.read(kept)
        handler.close_connection = True
        return True

    server.meddle = cut
    put(server)
    assert server.stored == {BLOB.digest: WEIGHTS}
    sent = [request for request in server.requests if request.startswith(("PATCH", "POST"))]
    # begun once; 3 cuts stored 1000 bytes, a piece, and nothing; what was left of 4 pieces are 3
    assert len(sent) == 1 + 3 + 3


def test_pieces_are_as_large_as_the_registry_wants_them(server: Uploads) -> None:
    def meddle(handler: _Uploads) -> bool:
        if handler.command != "POST":
            return False
        handler.answer(202, Location="/v2/ns/weld/blobs/uploads/1", OCI_Chunk_Min_Length=str(PIECE * 3))
        return True

    server.meddle = meddle
    put(server)
    assert [request.partition(" ")[0] for request in server.requests] == ["HEAD", "POST", "PATCH", "PATCH", "PUT"]
    assert server.stored == {BLOB.digest: WEIGHTS}


@pytest.mark.parametrize("range_", ["", "bytes 5", "0-999999999999", "7-9"])
def test_a_progress_that_makes_no_sense_does_not_store_another_blob(server: Uploads, range_: str) -> None:
    def meddle(handler: _Uploads) -> bool:
        if handler.command == "PATCH":
            handler.close_connection = True
            return True
        if handler.command == "GET":
            handler.answer(204, Location="/v2/ns/weld/blobs/uploads/1", Range=range_)
            return True
        return False

    server.meddle = meddle
    assert isinstance(refused(server), (UnavailableError, DataError))


@pytest.mark.parametrize(
    "location", ["", "http://127.0.0.2/upload", "https://thief.example/upload", "//thief.example/", "http://[", "a b"]
)
def test_attack_28_an_upload_is_not_sent_to_another_host(server: Uploads, location: str) -> None:
    def meddle(handler: _Uploads) -> bool:
        if handler.command != "POST":
            return False
        handler.answer(202, Location=location)
        return True

    server.meddle = meddle
    error = refused(server)
    if location:
        assert (type(error), error.code) == (DataError, "registry.redirect")


def test_scheme_and_port_of_an_upload_are_ours(server: Uploads) -> None:
    """Behind a proxy that ends TLS, a registry names addresses that only it can reach."""

    def meddle(handler: _Uploads) -> bool:
        if handler.command != "POST":
            return False
        handler.answer(202, Location="https://127.0.0.1:5000/v2/ns/weld/blobs/uploads/1?s=1")
        return True

    server.meddle = meddle
    put(server)
    assert server.stored == {BLOB.digest: WEIGHTS}


def test_an_upload_is_not_redirected(server: Uploads) -> None:
    def meddle(handler: _Uploads) -> bool:
        if handler.command != "POST":
            return False
        handler.answer(307, Location=f"{server.url}/elsewhere")
        return True

    server.meddle = meddle
    assert refused(server).code == "registry.redirect"
    assert not any("elsewhere" in request for request in server.requests)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PATCH", "PUT", "GET"])
def test_a_registry_that_refuses_is_quoted(server: Uploads, method: str) -> None:
    status = 0

    def meddle(handler: _Uploads) -> bool:
        if method == "GET" and handler.command == "PATCH":
            handler.close_connection = True
            return True
        if handler.command != method:
            return False
        handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        handler.answer(status, b'{"errors":[{"code":"DENIED","message":"not for robots"}]}')
        return True

    server.meddle = meddle
    for status, kind in ((403, PermissionDeniedError), (405, DataError), (500, UnavailableError)):
        error = refused(server)
        quoted = "" if method == "HEAD" else r" \(DENIED: not for robots\)"
        assert re.search(rf"answered {status}{quoted}", str(error))
        assert type(error) is kind


def test_a_registry_that_kept_something_else_is_not_believed(server: Uploads) -> None:
    def meddle(handler: _Uploads) -> bool:
        if handler.command != "PUT":
            return False
        handler.answer(201, Docker_Content_Digest=digest_of(b"another"))
        return True

    server.meddle = meddle
    assert refused(server).code == "registry.digest"


def test_a_lock_within_a_lock_is_the_same(server: Uploads) -> None:
    one = place(server)
    with one.lock():
        with one.lock():
            one.tag("weld", "7", b"{}")
        server.stored["lock"] = b'{"annotations":{"edge-runtime.number":"of another"}}'
        with pytest.raises(BusyError):
            one.publish({"1.root.json": b"x"}, None)
    assert (server.stored["7"], "latest" in server.stored) == (b"{}", False)
    one.close()
