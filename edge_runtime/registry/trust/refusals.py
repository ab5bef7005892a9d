"""What is said when metadata is not believed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.registry.statements import stamp

if TYPE_CHECKING:
    from datetime import datetime

ATTACK_HELP: Final = "what runs goes on; compare the registry with its publisher's copy, and tell them"
OLDER_HELP: Final = "bring a newer stick, or look who serves an old copy: a cache, or an attacker; what runs goes on"
STRANGER_HELP: Final = "the root.json here is that of another registry: copy the one of this registry's publisher"
CLOCK_HELP: Final = "check the clock of this box, and whether the publisher still signs: edge-runtime registry status"
RESET_HELP: Final = "if this is a disk fault, remove tuf/ and floors.* below state_dir/models: it is trusted anew then"


class ExpiredError(UnavailableError):
    """What was signed is too old by now, or the clock is wrong: what runs goes on, nothing new begins, an alarm is due.

    Code ``trust.frozen`` for the timestamp, whose freshness is all that tells a quiet registry from one that is held
    back (freeze attack); ``trust.expired`` for everything that is signed for longer.
    """


def check_expiry(name: str, code: str, expires: datetime, reference: datetime) -> None:
    """Refuse metadata that has expired.

    Raises:
        ExpiredError: with this ``code``.
    """
    if reference >= expires:
        message = f"{name} expired at {stamp(expires)}, it is {stamp(reference)}"
        raise ExpiredError(code, message, help=CLOCK_HELP)


def dropped(role: str) -> DataError:
    """Return the error for a role whose metadata the snapshot does not list any more."""
    return DataError("trust.role_dropped", f"snapshot.json does not list {role}.json any more", help=ATTACK_HELP)


def too_large(name: str, size: int, limit: int) -> DataError:
    """Return the error for a file that is not read because of its size in bytes."""
    return DataError("trust.too_large", f"{name}: {size} bytes, at most {limit} are read", help=ATTACK_HELP)


def mixed(name: str, length: int, sha256: str) -> DataError:
    """Return the error for a file that is not the one that was signed."""
    message = f"{name}: expected {length} bytes with SHA-256 {sha256 or 'unknown'}, found others"
    return DataError("trust.mixed", message, help=ATTACK_HELP)
