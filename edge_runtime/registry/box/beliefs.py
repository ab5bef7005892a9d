"""What a box believes of its registry, between looks: what it kept, and the refresh that goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.core.errors import ConfigError, DataError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.registry.store.metadata import TrustStore
from edge_runtime.registry.trust.floors import Floors
from edge_runtime.registry.trust.refresh import refresh, unchanged
from edge_runtime.system.files import read_limited

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from edge_runtime.registry.box.order import Order
    from edge_runtime.registry.trust.refresh import Fetch
    from edge_runtime.registry.trust.trusted import Outcome

ANCHOR_BYTES_MAX: Final = 512 << 10


def read_anchor(path: Path) -> bytes:
    """Return the root of trust that a configuration names.

    Raises:
        ConfigError: it is not there, or too large to be one.
        PermissionDeniedError, StorageError: it cannot be read.
    """
    way_out = "registry.root names the root.json to trust: a copy of the one that edge-runtime registry init made"
    try:
        raw = read_limited(path, ANCHOR_BYTES_MAX)
        signed = load_object(raw, str(path), limit_bytes=ANCHOR_BYTES_MAX).get("signed")
    except (FileNotFoundError, DataError) as error:
        message = f"the root of trust {path} is not there, or is none"
        raise ConfigError("trust.pinned_root", message, help=way_out) from error
    if not isinstance(signed, dict) or signed.get("_type") != "root":
        raise ConfigError("trust.pinned_root", f"{path} is another file than a root.json", help=way_out)
    return raw


class Beliefs:
    """Below the directory of releases; who refreshes holds the lock of the store. One thread."""

    def __init__(self, order: Order) -> None:
        """Read what was kept.

        Raises:
            ConfigError: there is no root of trust.
            StorageError: code ``floors.unknown``, or the disk refuses.
            PermissionDeniedError: something may not be read.
        """
        self._site = order.site
        self._pinned = read_anchor(order.anchor)
        self._store = TrustStore(order.root)
        kept = self._store.read()
        self._kept: Mapping[str, bytes] = kept.files
        self._floors = kept.floors

    @property
    def floors(self) -> Floors:
        """The least that is accepted."""
        return self._floors or Floors()

    def refresh(self, fetch: Fetch, now: datetime) -> Outcome:
        """Verify what ``fetch`` gives, and store what is to be kept of it before anybody acts upon it.

        Raises:
            ConfigError: the root of trust is none.
            PermissionDeniedError, StorageError: the disk refuses; then nothing of it may be acted upon.
        """
        outcome = refresh(self._kept, fetch, self._pinned, self._floors, now=now, site=self._site)
        self._store.write(outcome.kept, outcome.floors)
        self._kept, self._floors = outcome.kept, outcome.floors
        return outcome

    def again(self, now: datetime) -> Outcome:
        """Judge what was kept once more, for example whether it is still fresh.

        Raises:
            ConfigError, PermissionDeniedError, StorageError: as `refresh`.
        """
        return self.refresh(unchanged(self._kept), now)
