"""Writes a registry into an OCI distribution registry (OCI distribution-spec 1.1, Push)."""

from __future__ import annotations

import re
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import quote

from edge_runtime.core.errors import BusyError, DataError, UnavailableError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.carriers.carrier import LATEST, TUF
from edge_runtime.registry.carriers.fischer import LOCK_BYTES_MAX, SETTLE_S, TAG, TagLock
from edge_runtime.registry.carriers.listing import ARTIFACT, LIMIT_BYTES, NOTHING, make_listing
from edge_runtime.registry.carriers.oci import ACCEPT, OciRegistry
from edge_runtime.registry.carriers.source import checked_chunks, part_of
from edge_runtime.registry.descriptor import EMPTY, INDEX, MANIFEST, describe, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_runtime.registry.carriers.access import Access
    from edge_runtime.registry.carriers.http import Reply
    from edge_runtime.registry.carriers.session import Body
    from edge_runtime.registry.descriptor import Descriptor

PIECE_BYTES: Final = 16 << 20  # of an upload: what is sent again after the connection was cut
_ANSWER_S: Final = 120.0  # a registry may hash a whole blob before it says that it has it
_CUTS_MAX: Final = 3
_LEAST: Final = re.compile(r"[0-9]{1,10}")
_OK, _CREATED, _ACCEPTED, _NO_CONTENT, _MISSING = 200, 201, 202, 204, 404


class OciPublication(OciRegistry):
    """A `Publication`; one thread."""

    def __init__(self, url: str, access: Access, *, piece_bytes: int = PIECE_BYTES, settle_s: float = SETTLE_S) -> None:
        """Be ready to write; nothing is connected yet.

        Args:
            url: see `OciRegistry`.
            access: who we are; needs the right to push.
            piece_bytes: larger blobs are sent in pieces.
            settle_s: see `TagLock`.

        Raises:
            ConfigError: code ``registry.url``.
        """
        super().__init__(url, access)
        self._piece_bytes = piece_bytes
        self._lock = TagLock(
            self.name,
            read=lambda: self._get(TUF, TAG, LOCK_BYTES_MAX),
            write=lambda raw: self._tag(TUF, TAG, raw),
            stop=access.stop,
            settle_s=settle_s,
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """See `Publication`; waits as long as `TagLock` says."""
        if self._lock.is_held:
            yield
            return
        self._put_bytes(TUF, NOTHING, EMPTY)
        self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def has(self, repository: str, blob: Descriptor) -> bool:
        """See `Publication`."""
        kind = "manifests" if blob.media_type in {MANIFEST, INDEX} else "blobs"
        path, scope = self._path(repository, kind, blob.digest), self._scope(repository, "pull,push")
        reply = self._session.ask("HEAD", path, scope=scope, headers=ACCEPT)
        if reply.status == _MISSING:
            reply.close()
            return False
        if reply.status != _OK:
            raise self._session.refusal(reply)
        size = reply.header("Content-Length")
        reply.close()
        return size is None or size == str(blob.size)

    def put(self, repository: str, blob: Descriptor, source: BinaryIO) -> None:
        """See `Publication`; ``source`` must be seekable."""
        if self.has(repository, blob):
            return
        begin = source.tell()
        for _ in checked_chunks(source, blob):  # other bytes are not sent at all
            self._lock.keep()
        path, piece_bytes = self._begin(repository)
        if blob.size <= piece_bytes:
            body: Body = part_of(source, begin, blob.size)
            reply = self._send("PUT", repository, _with_digest(path, blob), blob.size, body)
        else:
            path = self._send_pieces(repository, path, piece_bytes, blob, source)
            reply = self._send("PUT", repository, _with_digest(path, blob), 0, b"")
        self._demand_digest(reply, blob.digest)

    def tag(self, repository: str, tag: str, manifest: bytes) -> None:
        """See `Publication`."""
        self._lock.keep()
        self._tag(repository, tag, manifest)

    def _tag(self, repository: str, tag: str, manifest: bytes) -> None:
        kind = load_object(manifest, "manifest", limit_bytes=LIMIT_BYTES).get("mediaType")
        headers = {"Content-Type": kind if isinstance(kind, str) else MANIFEST}
        path, scope = self._path(repository, "manifests", tag), self._scope(repository, "pull,push")
        reply = self._session.ask("PUT", path, scope=scope, headers=headers, body=manifest, answer_s=_ANSWER_S)
        self._demand_digest(reply, digest_of(manifest))

    def publish(self, files: Mapping[str, bytes], replaces: str | None) -> str:
        """See `Publication`."""
        manifest = make_listing(files)
        token = digest_of(manifest)
        with self.lock():
            self._demand_current(replaces)
            for raw in files.values():
                self._put_bytes(TUF, raw, ARTIFACT)
            self._lock.confirm()
            self._demand_current(replaces)  # uploading took its time
            self.tag(TUF, LATEST, manifest)
            self._demand_current(token)
        return token

    def _demand_current(self, token: str | None) -> None:
        raw = self._get(TUF, LATEST, LIMIT_BYTES)
        found = None if raw is None else digest_of(raw)
        if found != token:
            message = f"{self.name}: another publisher was faster: the listing is {found}, expected {token}"
            raise BusyError("registry.changed", message, help="do it again: it is made from the new state then")

    def _put_bytes(self, repository: str, raw: bytes, media_type: str) -> None:
        self._lock.keep()
        self.put(repository, describe(raw, media_type), BytesIO(raw))

    def _begin(self, repository: str) -> tuple[str, int]:
        """Return where an upload begins, and how large its pieces are."""
        path = f"/v2/{self._repository(repository)}/blobs/uploads/"
        reply = self._send("POST", repository, path, 0, b"")
        least = reply.header("OCI-Chunk-Min-Length") or ""
        return self._next(reply), max(self._piece_bytes, int(least) if _LEAST.fullmatch(least) else 0)

    def _send_pieces(self, repository: str, path: str, piece_bytes: int, blob: Descriptor, source: BinaryIO) -> str:
        """Send a blob, which ends where ``source`` is, in pieces; after a cut, go on where the registry says."""
        begin = source.tell() - blob.size
        offset = cuts = 0
        while offset < blob.size:
            self._lock.keep()
            size = min(piece_bytes, blob.size - offset)
            body = part_of(source, begin + offset, size)
            piece = {"Content-Range": f"{offset}-{offset + size - 1}"}
            try:
                path = self._next(self._send("PATCH", repository, path, size, body, piece))
                offset += size
            except UnavailableError:
                cuts += 1
                if cuts > _CUTS_MAX:
                    raise
                path, offset = self._progress(repository, path, blob)
        return path

    def _progress(self, repository: str, path: str, blob: Descriptor) -> tuple[str, int]:
        """Return where and at which offset an upload goes on; from the beginning when the registry cannot resume.

        Docker's registry cannot when it got a part of a piece: its address of an upload holds an offset.
        """
        reply = self._session.ask("GET", path, scope=self._scope(repository, "pull,push"))
        if reply.status == _MISSING:
            reply.close()
            return self._begin(repository)[0], 0
        if reply.status != _NO_CONTENT:
            raise self._session.refusal(reply)
        found = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,18})", reply.header("Range") or "")
        last = int(found[1]) if found is not None else 0
        path = self._session.location(reply)
        return path, min(last + 1, blob.size) if last else 0  # 0-0 is said for an empty upload, too

    def _next(self, reply: Reply) -> str:
        """Return where an upload goes on."""
        if reply.status != _ACCEPTED:
            raise self._session.refusal(reply)
        return self._session.location(reply)

    def _send(
        self, method: str, repository: str, path: str, size: int, body: Body, more: Mapping[str, str] | None = None
    ) -> Reply:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size), **(more or {})}
        scope = self._scope(repository, "pull,push")
        return self._session.ask(method, path, scope=scope, headers=headers, body=body, answer_s=_ANSWER_S)

    def _demand_digest(self, reply: Reply, digest: str) -> None:
        if reply.status != _CREATED:
            raise self._session.refusal(reply)
        found = reply.header("Docker-Content-Digest")
        reply.close()
        if found not in {None, digest}:
            message = f"{self.name}: it keeps {str(found)[:80]} in place of {digest}"
            raise DataError("registry.digest", message, help="look at the registry, or a proxy before it")

    def _get(self, repository: str, tag: str, limit: int) -> bytes | None:
        path, scope = self._path(repository, "manifests", tag), self._scope(repository, "pull,push")
        reply = self._session.ask("GET", path, scope=scope, headers=ACCEPT)
        if reply.status == _MISSING:
            reply.close()
            return None
        if reply.status != _OK:
            raise self._session.refusal(reply)
        return self._session.document(reply, limit)


def _with_digest(path: str, blob: Descriptor) -> str:
    return f"{path}{'&' if '?' in path else '?'}digest={quote(blob.digest)}"
