"""Why the disk is left alone for a while, and for how long: pure."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.core.errors import BusyError, PermissionDeniedError, StorageError

logger = logging.getLogger(__name__)

_PAUSE_S = (0.1, 2.0)  # first and longest


class Trouble:
    """What the spool's disk last refused; written by one thread, read by any.

    Attributes:
        error: ``None`` while all is well.
        pause_s: how long to wait before the next attempt.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.error: StorageError | PermissionDeniedError | BusyError | None = None
        self.pause_s = _PAUSE_S[0]

    def note(self, error: StorageError | PermissionDeniedError | BusyError) -> None:
        """The disk refused; the first time is logged, each further time doubles the pause."""
        if self.error is None:
            logger.error("spool cannot write, results wait in memory: %s", error)
        else:
            self.pause_s = min(self.pause_s * 2, _PAUSE_S[1])
        self.error = error

    def over(self) -> None:
        """The disk took something."""
        if self.error is not None:
            logger.warning("spool works again after: %s", self.error)
            self.error, self.pause_s = None, _PAUSE_S[0]
