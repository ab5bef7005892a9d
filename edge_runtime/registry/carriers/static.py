"""An image layout that a plain web server serves: ``https://HOST/DIRECTORY``; only for reading."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import ConfigError
from edge_runtime.core.source import redact_url
from edge_runtime.registry.carriers.addresses import is_loopback
from edge_runtime.registry.carriers.body import Bodies
from edge_runtime.registry.carriers.session import Session, split

if TYPE_CHECKING:
    from edge_runtime.registry.carriers.access import Access
    from edge_runtime.registry.carriers.carrier import Stream
    from edge_runtime.registry.carriers.http import Reply

_OK, _NOT_MODIFIED = 200, 304
_INDEX: Final = "index.json"  # the one file whose content changes
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")


class WebFiles:
    """The `Files` of a layout behind a web server; an index that did not change is not sent again."""

    def __init__(self, url: str, access: Access) -> None:
        """Be ready to ask; nothing is connected yet.

        Raises:
            ConfigError: code ``registry.url``.
        """
        scheme, authority, self._base = _parse(url, access)
        self.name = f"{scheme}://{authority}{self._base}"
        self._session = Session((scheme,), authority, access)
        self._bodies = Bodies(self._session)
        self._lock = threading.Lock()  # guards _kept
        self._kept: tuple[dict[str, str], bytes] | None = None  # conditions that say: as it was; and what it was

    def read(self, path: str, limit: int) -> bytes:
        """See `Files`."""
        with self._lock:
            kept = self._kept if path == _INDEX else None
        reply = self._session.ask("GET", f"{self._base}/{path}", headers=kept[0] if kept else {})
        if kept is not None and reply.status == _NOT_MODIFIED:
            reply.close()
            return kept[1]
        if reply.status != _OK:
            raise self._session.refusal(reply)
        conditions = _conditions(reply)
        raw = self._session.document(reply, limit)
        if path == _INDEX:
            with self._lock:
                self._kept = (conditions, raw) if conditions else None
        return raw

    def open(self, path: str, size: int, start: int) -> Stream:
        """See `Files`."""
        return self._bodies.open(f"{self._base}/{path}", size, start)

    def close(self) -> None:
        """See `Files`."""
        self._session.close()


def _conditions(reply: Reply) -> dict[str, str]:
    """Return the headers that ask for a file only if it is another one (RFC 9110, 13.1)."""
    etag, changed = reply.header("ETag"), reply.header("Last-Modified")
    if etag is not None:
        return {"If-None-Match": etag}
    return {} if changed is None else {"If-Modified-Since": changed}


def _parse(url: str, access: Access) -> tuple[str, str, str]:
    """Return scheme, ``HOST[:PORT]`` and path without a slash at its end."""
    parts = split(url)
    host = "" if parts is None or parts.port == 0 or parts.username is not None else parts.hostname
    if parts is None or not host or "?" in url or "#" in url or not _PRINTABLE.fullmatch(url):
        message = f"{redact_url(url)[:200]!r} is no address of a registry: expected https://HOST[:PORT]/DIRECTORY"
        raise ConfigError("registry.url", message, help="a name and a password have settings of their own")
    if parts.scheme == "http" and not access.allow_http and not is_loopback(host):
        message = f"{redact_url(url)[:200]!r}: is not asked without TLS"
        raise ConfigError("registry.url", message, help="write https://, or set registry.allow_http")
    return parts.scheme, parts.netloc, parts.path.rstrip("/")
