"""A registry in an OCI distribution registry: ``oci://HOST[:PORT]/NAMESPACE`` (OCI distribution-spec 1.1, Pull)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edge_runtime.core.errors import ConfigError, DataError
from edge_runtime.registry.carriers.addresses import is_loopback
from edge_runtime.registry.carriers.body import Bodies
from edge_runtime.registry.carriers.carrier import LATEST, TUF
from edge_runtime.registry.carriers.listing import LIMIT_BYTES, Listing, parse_listing
from edge_runtime.registry.carriers.session import Session
from edge_runtime.registry.descriptor import DIGEST, INDEX, MANIFEST, digest_of

if TYPE_CHECKING:
    from edge_runtime.registry.carriers.access import Access
    from edge_runtime.registry.carriers.carrier import Stream
    from edge_runtime.registry.descriptor import Descriptor

ACCEPT: Final = {"Accept": f"{MANIFEST}, {INDEX}"}
_OK: Final = 200
_NO_HEAD: Final = frozenset({400, 405, 501})  # what servers without it answer
_NAME: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_NAME_CHARS_MAX: Final = 200
LOOK_S: Final = 5.0  # limit for an answer about a tag: a cache before a frozen registry is silent, a mirror may not be


class OciRegistry:
    """A `Carrier`; may be used by any number of threads at once. A check that finds nothing new is one ``HEAD``."""

    def __init__(self, url: str, access: Access) -> None:
        """Be ready to ask; nothing is connected yet.

        Raises:
            ConfigError: code ``registry.url``.
        """
        authority, self._namespace = _parse(url)
        self.name = f"oci://{authority}/{self._namespace}".rstrip("/")
        host = urlsplit(f"//{authority}").hostname or ""
        self._session = Session(_schemes(host, access), authority, access)
        self._bodies = Bodies(self._session)
        self._look_s = min(access.answer_s, LOOK_S)

    def listing(self, known: str | None = None) -> Listing | None:
        """See `Carrier`."""
        reference = LATEST if known is None else self._tagged()
        if reference == known:
            return None
        path, scope = self._path(TUF, "manifests", reference), self._scope(TUF)
        reply = self._session.ask("GET", path, scope=scope, headers=ACCEPT, answer_s=self._look_s)
        if reply.status != _OK:
            raise self._session.refusal(reply)
        raw = self._session.document(reply, LIMIT_BYTES)
        if reference != LATEST and digest_of(raw) != reference:
            message = f"{self.name}: the listing has the digest {digest_of(raw)}, expected {reference}"
            raise DataError("registry.digest", message, help="look at the registry, or a cache before it")
        listing = parse_listing(raw, self.name)
        return None if listing.token == known else listing

    def open(self, repository: str, blob: Descriptor, start: int = 0) -> Stream:
        """See `Carrier`; a manifest is always read from its beginning."""
        scope = self._scope(repository)
        if blob.media_type in {MANIFEST, INDEX}:
            path = self._path(repository, "manifests", blob.digest)
            return self._bodies.open(path, blob.size, 0, scope=scope, headers=ACCEPT)
        return self._bodies.open(self._path(repository, "blobs", blob.digest), blob.size, start, scope=scope)

    def close(self) -> None:
        """See `Carrier`."""
        self._session.close()

    def _tagged(self) -> str:
        """Return the digest of what is tagged now, or the tag itself when the registry does not say."""
        path, scope = self._path(TUF, "manifests", LATEST), self._scope(TUF)
        reply = self._session.ask("HEAD", path, scope=scope, headers=ACCEPT, answer_s=self._look_s)
        if reply.status in _NO_HEAD:
            reply.close()
            return LATEST
        if reply.status != _OK:
            raise self._session.refusal(reply)
        digest = reply.header("Docker-Content-Digest") or ""
        reply.close()
        return digest if DIGEST.fullmatch(digest) else LATEST

    def _path(self, repository: str, kind: str, reference: str) -> str:
        return f"/v2/{self._repository(repository)}/{kind}/{reference}"

    def _scope(self, repository: str, actions: str = "pull") -> str:
        return f"repository:{self._repository(repository)}:{actions}"

    def _repository(self, repository: str) -> str:
        if not _NAME.fullmatch(repository) or len(repository) > _NAME_CHARS_MAX:
            message = f"{self.name}: {repository[:80]!r} cannot be the name of a repository"
            raise DataError("registry.name", message, help="lower case letters, digits, and single . _ - between them")
        return f"{self._namespace}/{repository}".lstrip("/")


def _parse(url: str) -> tuple[str, str]:
    """Return ``HOST[:PORT]`` and the namespace, which may be empty."""
    authority, _, namespace = url.removeprefix("oci://").partition("/")
    namespace = namespace.rstrip("/")
    try:
        parts = urlsplit(f"//{authority}")
        valid = bool(parts.hostname) and parts.port != 0 and parts.username is None and parts.netloc == authority
    except ValueError:  # a port that is no number
        valid = False
    if not valid or re.search(r"[^\x21-\x7e]|[?#]", url) or (namespace and not _NAME.fullmatch(namespace)):
        shown = f"oci://{authority.rpartition('@')[2]}/{namespace}"
        message = f"{shown[:200]!r} is no address of a registry: expected oci://HOST[:PORT]/NAMESPACE in lower case"
        raise ConfigError("registry.url", message, help="a name and a password have settings of their own")
    return authority, namespace


def _schemes(host: str, access: Access) -> tuple[str, ...]:
    """Return how to speak with a registry: its address does not say whether it is one with TLS.

    On this machine one is without, unless there are authorities to believe. Elsewhere it is with TLS; one that turns
    out not to speak it is only spoken to when the operator allowed that.
    """
    if is_loopback(host):
        return ("https",) if access.ca_file is not None else ("http",)
    return ("https", "http") if access.allow_http else ("https",)
