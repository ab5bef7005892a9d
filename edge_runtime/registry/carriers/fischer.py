"""A lock that needs nothing but a tag that can be written and read: Fischer's algorithm.

Who finds the tag free writes a number that nobody else has, waits longer than such a write may take, and reads the tag
back: if the number still stands there, nobody else can write any more without having seen it (L. Lamport, A fast mutual
exclusion algorithm, 1987, algorithm 1). A write that took longer than it may does not count.

A holder writes a new number now and then. One whose number stands unchanged for the whole lease is dead, by the clock
of the one who watches: no two clocks are compared.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import BusyError, DataError, UnavailableError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.carriers.listing import NOTHING
from edge_runtime.registry.carriers.sockets import pause
from edge_runtime.registry.descriptor import EMPTY, MANIFEST, describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

TAG: Final = "lock"
LOCK_BYTES_MAX: Final = 16 << 10
LEASE_S: Final = 60.0
SETTLE_S: Final = 3.0
_ARTIFACT: Final = "application/vnd.edge-runtime.lock"
_HOLDER, _SINCE, _NUMBER = "edge-runtime.holder", "edge-runtime.since", "edge-runtime.number"


class TagLock:
    """The lock of one publisher; one thread. Legal order: ``acquire``, any of ``keep`` and ``confirm``, ``release``."""

    def __init__(
        self,
        name: str,
        read: Callable[[], bytes | None],
        write: Callable[[bytes], None],
        stop: Stop | None,
        *,
        settle_s: float = SETTLE_S,
        lease_s: float = LEASE_S,
    ) -> None:
        """Know the tag; nothing is read or written yet.

        Args:
            name: what is locked, for messages.
            read: returns the manifest under the tag, ``None`` when there is none.
            write: lets the tag name a manifest.
            stop: ends a wait.
            settle_s: longest time that a write may take from the read before it on; the same for all publishers.
            lease_s: how long the number of a holder must stand unchanged before it counts as dead; the same for all.
        """
        self._name = name
        self._read = read
        self._write = write
        self._stop = stop
        self._settle_s = settle_s
        self._lease_s = lease_s
        self._mine: bytes | None = None
        self._renewed_s = 0.0

    @property
    def is_held(self) -> bool:
        """Whether we have it, as far as we know."""
        return self._mine is not None

    def acquire(self) -> None:
        """Take the lock; waits until a dead holder is known to be dead, and a little for one that is not.

        Raises:
            BusyError: another publisher is at it.
            UnavailableError, PermissionDeniedError, DataError: as ``read`` and ``write``.
        """
        began_s = changed_s = time.monotonic()
        seen: bytes | None = None
        tried: bytes | None = None
        while True:
            read_s = time.monotonic()
            found = self._read()
            if found != seen:
                seen, changed_s = found, read_s
            if found == tried or not _is_held(found) or read_s - changed_s >= self._lease_s:
                tried = _document(secrets.token_hex(16))
                self._write(tried)
                if time.monotonic() - read_s <= self._settle_s:
                    self._wait(self._settle_s)
                    if self._read() == tried:
                        self._mine, self._renewed_s = tried, read_s
                        return
            elif seen == found and changed_s == read_s:
                logger.info("%s: waiting for another publisher (%s)", self._name, _who(found))
            if time.monotonic() - began_s > self._lease_s * 1.5 + self._settle_s * 3:
                message = f"{self._name}: another publisher is at it ({_who(found)})"
                raise BusyError(
                    "registry.locked", message, help="wait until it is done; if it died, this ends by itself"
                )
            self._wait(self._settle_s / 4)

    def keep(self) -> None:
        """Show that we live, when it is time to; does nothing when the lock is not held. Call it between long steps.

        Raises:
            BusyError: code ``registry.lock_lost``: it took too long, and another one may have it.
        """
        if self._mine is not None and time.monotonic() - self._renewed_s > self._lease_s / 3:
            self.confirm()
            mine, self._renewed_s = _document(secrets.token_hex(16)), time.monotonic()
            self._write(mine)
            self._mine = mine

    def confirm(self) -> None:
        """Make sure that the lock is still ours.

        Raises:
            BusyError: code ``registry.lock_lost``.
        """
        late = time.monotonic() - self._renewed_s > self._lease_s - 2 * self._settle_s
        if late or self._mine is None or self._read() != self._mine:
            message = f"{self._name}: it took too long, and another publisher may be at it"
            raise BusyError("registry.lock_lost", message, help="nothing was changed: do it again")

    def release(self) -> None:
        """Give the lock back if it is still ours; a registry that does not answer frees it by its lease."""
        mine, self._mine = self._mine, None
        try:
            if mine is not None and self._read() == mine:
                self._write(_document(None))
        except UnavailableError as error:
            logger.warning("%s: the lock stays for %g s: %s", self._name, self._lease_s, error.message)

    def _wait(self, seconds: float) -> None:
        pause(self._stop, seconds)


def _document(number: str | None) -> bytes:
    """Return a manifest that says who holds the lock, or that nobody does."""
    holder = f"{socket.gethostname()}, process {os.getpid()}"
    since = datetime.now(UTC).isoformat(timespec="seconds")
    notes = {} if number is None else {_HOLDER: holder, _SINCE: since, _NUMBER: number}
    empty = describe(NOTHING, EMPTY).as_fields()
    fields = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": _ARTIFACT, "config": empty, "layers": [empty]}
    return json.dumps({**fields, "annotations": notes}, separators=(",", ":")).encode()


def _notes(raw: bytes | None) -> dict[str, object]:
    try:
        notes = load_object(raw or b"{}", "lock", limit_bytes=LOCK_BYTES_MAX).get("annotations")
    except DataError:
        return {}
    return notes if isinstance(notes, dict) else {}


def _is_held(raw: bytes | None) -> bool:
    return _NUMBER in _notes(raw)


def _who(raw: bytes | None) -> str:
    notes = _notes(raw)
    return f"{str(notes.get(_HOLDER, 'nobody'))[:80]!r}, since {str(notes.get(_SINCE, 'just now'))[:40]!r}"
