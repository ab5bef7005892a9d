"""Joins the hand-shakes with controllers to the running box: line, spool and broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.control.handshake.machine import Timing
from edge_runtime.control.handshake.service import HandshakeSpec

if TYPE_CHECKING:
    from edge_runtime.config.schema import Settings

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
