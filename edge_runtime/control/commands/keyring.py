"""Proves who signed a command: the key is known, the signature fits, the timestamp is near our clock.

Whether the signature was used before is asked where it is remembered, in ``Answers``. One thread.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_runtime.control.commands.answers import WINDOW_S
from edge_runtime.control.commands.ed25519 import is_signed_by, read_public
from edge_runtime.control.commands.letter import utc_ns_of
from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.control.commands.signature import canonical
from edge_runtime.core.command import Status
from edge_runtime.core.errors import DataError, PermissionDeniedError, StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_runtime.control.commands.letter import Letter
    from edge_runtime.publish.payload import Identity

logger = logging.getLogger(__name__)

_NS = 1_000_000_000


class Keyring:
    """See the module docstring."""

    def __init__(self, files: Mapping[str, Path], identity: Identity) -> None:
        """Know the public keys in ``files`` by the principal's name; each is read when it is first needed."""
        self._files = files
        self._identity = identity
        self._keys: dict[str, bytes] = {}

    def prove(self, letter: Letter, utc_ns: int) -> int | None:
        """Check the letter's signature and write the principal it proves into it; ``None`` when it has none.

        Returns the signature's timestamp, ns since 1970.

        Raises:
            RefusedError: 400: the signed command has no id; 401: the signature proves nothing.
        """
        signature = letter.signature
        if signature is None or letter.verb is None:
            return None
        if letter.id is None:
            raise RefusedError(Status.MALFORMED, "no_id", "a signed command needs an id: it is the nonce")
        key = self._key(signature.key)
        data = canonical(self._identity, letter.verb, letter.target, letter.id, signature)
        if not is_signed_by(key, signature.value, data):
            why = f"the signature does not fit key {signature.key}, this box, the command, its id and its bytes"
            raise RefusedError(Status.UNAUTHORIZED, "signature", why)
        signed_ns = utc_ns_of("ts of the signature", signature.ts)
        off_s = (utc_ns - signed_ns) / _NS
        if abs(off_s) > WINDOW_S:
            why = f"signed {off_s:+.0f} s from the time of this box, at most {WINDOW_S} are allowed; check the clocks"
            raise RefusedError(Status.UNAUTHORIZED, "signature_time", why)
        letter.principal, letter.proven = signature.key, True
        return signed_ns

    def _key(self, name: str) -> bytes:
        if name in self._keys:
            return self._keys[name]
        if name not in self._files:
            raise RefusedError(Status.UNAUTHORIZED, "signature", f"this box knows no key {name[:64]!r}")
        try:
            self._keys[name] = read_public(self._files[name])
        except (DataError, StorageError, PermissionDeniedError) as error:
            logger.error("commands.keys.%s: %s", name, error)  # noqa: TRY400 - for people
            why = f"the file of key {name} cannot be used on this box; its log says why"
            raise RefusedError(Status.UNAVAILABLE, "signature", why) from error
        return self._keys[name]
