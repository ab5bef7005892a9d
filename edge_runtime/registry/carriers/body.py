"""A blob over HTTP: whole or from an offset on, and never more bytes than were asked for (RFC 9110, 14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.registry.carriers.http import without_query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.registry.carriers.http import Reply
    from edge_runtime.registry.carriers.session import Session

_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416
_ETAGS_MAX: Final = 1024
_STRONG: Final = re.compile(r'"[\x21\x23-\x7e]{1,256}"')  # RFC 9110, 8.8.3; a weak one says nothing about ranges
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class BodyStream:
    """Bytes of a blob from an answer; see `Stream`."""

    def __init__(self, reply: Reply, start: int, size: int) -> None:
        """Own ``reply``, whose body begins at offset ``start`` of a blob with ``size`` bytes."""
        self.start = start
        self._reply = reply
        self._size = size
        self._left = size - start

    def read(self, limit: int) -> bytes:
        """See `Stream`."""
        chunk = self._reply.read(min(limit, self._left) or 1)
        where = without_query(self._reply.url)
        if len(chunk) > self._left:
            raise DataError("registry.too_long", f"{where}: has more than the {self._size} bytes that were expected")
        if not chunk and self._left:
            message = f"{where}: ended {self._left} bytes before its {self._size} were here"
            raise UnavailableError("registry.cut", message)
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        """See `Stream`."""
        self._reply.close()


class Bodies:
    """Opens blobs of one server, and remembers what they were when reading began; any number of threads at once."""

    def __init__(self, session: Session) -> None:
        """Ask ``session``."""
        self._session = session
        self._etags: dict[str, str] = {}

    def open(
        self, path: str, size: int, start: int, *, scope: str = "", headers: Mapping[str, str] | None = None
    ) -> BodyStream:
        """Begin to read the blob at ``path``, from ``start`` on if the server can and its file is still the same.

        Raises:
            UnavailableError, PermissionDeniedError, DataError: as `Carrier.open`; ``registry.size`` for another length
                than expected, ``registry.range`` for another range than asked for.
        """
        etag = self._etags.get(path) if start else None
        # Closed on both sides: some servers refuse a range without an end (anchore/stereoscope#695).
        partial = {"Range": f"bytes={start}-{size - 1}"} if start else {}
        condition = {"If-Range": etag} if etag is not None else {}
        reply = self._session.ask("GET", path, scope=scope, headers={**(headers or {}), **partial, **condition})
        if start and (reply.status == _UNSATISFIABLE or _is_other(reply, etag)):
            reply.close()
            return self.open(path, size, 0, scope=scope, headers=headers)
        if reply.status not in ({_OK, _PARTIAL} if start else {_OK}):
            raise self._session.refusal(reply)
        begin = start if reply.status == _PARTIAL else 0
        try:
            _demand(reply, begin, size)
        except DataError:
            reply.close()
            raise
        self._remember(path, reply)
        return BodyStream(reply, begin, size)

    def _remember(self, path: str, reply: Reply) -> None:
        etag = reply.header("ETag")
        if etag is not None and _STRONG.fullmatch(etag):
            if len(self._etags) >= _ETAGS_MAX:
                self._etags.clear()
            self._etags[path] = etag


def _is_other(reply: Reply, etag: str | None) -> bool:
    """Tell whether a part is of another file than the one that reading began with."""
    return reply.status == _PARTIAL and etag is not None and reply.header("ETag") not in {None, etag}


def _demand(reply: Reply, begin: int, size: int) -> None:
    where = without_query(reply.url)
    if reply.status == _PARTIAL:
        found = _CONTENT_RANGE.fullmatch((reply.header("Content-Range") or "").strip())
        expected = (str(begin), str(size - 1))
        if found is None or found.groups()[:2] != expected or found[3] not in {"*", str(size)}:
            given = (reply.header("Content-Range") or "no range")[:80]
            message = f"{where}: asked for bytes {begin}-{size - 1}/{size}, it says {given!r}"
            raise DataError("registry.range", message, help="look at the server, or a cache before it")
    if reply.length is not None and reply.length != size - begin:
        message = f"{where}: sends {reply.length} bytes, expected {size - begin}"
        raise DataError("registry.size", message, help="another file has its place, or it is cut off: publish it again")
