"""The thread that flushes the spool's commits to the disk beside the sends, in groups."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from edge_runtime.core.errors import PermissionDeniedError, StorageError

if TYPE_CHECKING:
    from edge_runtime.publish.spool.ledger import Ledger
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

_IDLE_S = 0.2
_GROUP_S = 0.005  # flushes are at least this far apart: what is committed between them is a group


class Syncer:
    """A Service inside the spool's own group.

    Attributes:
        sync_failed: a flush failed: what is durable is unknown until the writer made it so and called ``forgive``.
        trouble: why the last flush, or the last write of the floors, failed.
    """

    name = "publish/sync"

    def __init__(self, ledger: Ledger, *, sync: bool) -> None:
        """Flush ``ledger``; without ``sync`` only its floors are kept, because commits sync themselves."""
        self._ledger = ledger
        self._sync = sync
        self._dirty = threading.Event()
        self.sync_failed = False
        self.trouble: StorageError | PermissionDeniedError | None = None

    def kick(self) -> None:
        """Something was committed."""
        self._dirty.set()

    def forgive(self) -> None:
        """What could not be flushed is durable now."""
        self.sync_failed = False
        self.trouble = None

    def run(self, stop: Stop) -> None:
        """Flush after every commit, at most every five milliseconds, until ``stop``."""
        while not stop.is_set():
            if self._dirty.wait(_IDLE_S):
                self._dirty.clear()
                self._flush()
                stop.wait(_GROUP_S)

    def _flush(self) -> None:
        try:
            if self._sync:
                self._ledger.sync()
        except (StorageError, PermissionDeniedError) as error:
            logger.error("commits could not be flushed: %s", error)  # noqa: TRY400 - the text says it all
            self.trouble = error
            self.sync_failed = True
            return
        try:
            self._ledger.cover()
        except (StorageError, PermissionDeniedError) as error:
            self.trouble = error
            return
        if not self.sync_failed:  # the next flush succeeds, because an error is told once: that proves nothing
            self.trouble = None
