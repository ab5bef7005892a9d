"""Joins the hand-shakes with controllers to the running box: line, spool and broker."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from edge_runtime.control.handshake.machine import Code, Timing, Trouble
from edge_runtime.control.handshake.service import Handshakes, HandshakeSpec
from edge_runtime.core.command import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_runtime.config.schema import Settings
    from edge_runtime.control.handshake.machine import Job
    from edge_runtime.core.command import Answer, Handler
    from edge_runtime.core.result import Event, Result
    from edge_runtime.publish.mqtt.link import Outgoing
    from edge_runtime.publish.payload import Identity
    from edge_runtime.system.clock import Clock

RESULT_GRACE_MS = 500  # a verdict comes at the inspection's own deadline at the latest, and has then to be committed
ACCEPTED_BELOW = 300
PRINCIPAL = "controller"
NS_PER_MS = 1_000_000


def handshake_specs(settings: Settings) -> list[HandshakeSpec]:
    """Return the configured hand-shakes."""
    return [
        HandshakeSpec(
            name,
            handshake.heartbeat_ms,
            Timing(handshake.result_ms or inspection.deadline_ms + RESULT_GRACE_MS, handshake.ack_ms),
        )
        for name, inspection in settings.inspections.items()
        if (handshake := inspection.handshake) is not None
    ]
