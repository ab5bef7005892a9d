"""What we believe about the primary host application (Sparkplug 3.0, 5.4 and 6.4.27).

Pure. A host keeps its times per server, and what a server retains is the last word there: so every connection begins
with a new ``PrimaryHost``, whose first STATE is valid whatever its time is.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.publish.sparkplug.topics import State


class HostIs(Enum):
    """What a host said last, as far as it was valid."""

    UNKNOWN = "unknown"
    ONLINE = "online"
    OFFLINE = "offline"


class PrimaryHost:
    """The state of one host on one connection."""

    def __init__(self) -> None:
        """Nothing was heard yet."""
        self.state = HostIs.UNKNOWN
        self._timestamp_ms = 0

    def hear(self, said: State) -> bool:
        """Take a STATE; return whether it was believed: one that is older than the last one says nothing now.

        tck-id-message-flow-edge-node-birth-publish-phid-wait-timestamp and
        tck-id-operational-behavior-edge-node-termination-host-offline-timestamp.
        """
        if self.state is not HostIs.UNKNOWN and said.timestamp_ms < self._timestamp_ms:
            return False
        self._timestamp_ms = said.timestamp_ms
        self.state = HostIs.ONLINE if said.online else HostIs.OFFLINE
        return True
