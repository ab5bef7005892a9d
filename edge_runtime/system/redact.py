"""Keeps passwords out of logs, messages and files for people.

Two nets: whatever looks like credentials in a URL or behind a password-like name is masked by its shape, and whatever
was registered as a secret is masked by its value. Both would rather hide too much than too little.
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from edge_runtime.core.source import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "***"
SHORTEST_SECRET = 4  # characters; masking shorter ones by value would eat ordinary words and hide nothing

_SECRET_NAME = re.compile(
    r"(?i)pa*s+w|pass|pwd|(?:^|[_-])pw(?:$|[_-])|kennwort|secret|token|credential|psk|private|api_?key"
)
_FILE_NAME = re.compile(r"(?i)_(?:file|path|dir)$")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return ``text`` with credentials of URLs and every one of ``secrets``, however spelled, masked."""
    return redact_url(hide(text, secrets))


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with every one of ``secrets``, however spelled, masked."""
    for secret in secrets:
        for spelling in spellings(secret):
            text = text.replace(spelling, MASK)
    return text


def spellings(secret: str) -> tuple[str, ...]:
    """Return the forms in which ``secret`` turns up (plain, in URLs, in JSON), longest first; none if too short."""
    forms = {
        secret,
        unquote(secret),
        quote(secret, safe=""),
        quote(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }
    return tuple(sorted((form for form in forms if len(form) >= SHORTEST_SECRET), key=lambda form: (-len(form), form)))


def is_secret_name(name: str) -> bool:
    """Tell whether a setting of this name holds a secret itself; ``password_file`` does not."""
    return bool(_SECRET_NAME.search(name)) and not _FILE_NAME.search(name)


class Redactor:
    """The secrets of one process; all methods may be called from any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Start with ``secrets``."""
        self._lock = threading.Lock()  # guards the replacement of _secrets
        self._secrets: frozenset[str] = frozenset(secrets)

    def register(self, secret: str) -> None:
        """Mask ``secret`` from now on."""
        with self._lock:
            self._secrets = self._secrets | {secret}

    def redact(self, text: str) -> str:
        """See the function of the same name; longer secrets go first, so that one inside another leaves no rest."""
        return redact(text, sorted(self._secrets, key=len, reverse=True))
