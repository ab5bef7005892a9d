"""The documents that say who and how we are: status with its Will, info, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.publish import payload
from edge_runtime.publish.mqtt.link import Outgoing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.publish.contract.status import StatusFields
    from edge_runtime.publish.mqtt.documents import Documents
    from edge_runtime.system.clock import Clock

_METRICS_EXPIRY_S = 60


class Presence:
    """Encodes them and leaves them in the documents' box; every method may be called from any thread."""

    def __init__(self, identity: payload.Identity, boot_id: str, clock: Clock, documents: Documents) -> None:
        """Speak for ``identity``."""
        self._identity = identity
        self._boot_id = boot_id
        self._clock = clock
        self._documents = documents
        self._status: StatusFields = {}
        self._info: Mapping[str, object] | None = None
        self._online = False

    def set_status(self, fields: StatusFields) -> None:
        """Keep the fields of ``status``; while online it is published."""
        self._status = fields
        if self._online:
            self._documents.put(self._state(online=True, reason=None))

    def set_info(self, fields: Mapping[str, object]) -> None:
        """Keep the fields of ``info``; while online it is published."""
        self._info = fields = dict(fields)
        if self._online:
            self._put_info(fields)

    def put_metrics(self, fields: Mapping[str, object]) -> None:
        """Publish ``metrics`` once."""
        message = payload.encode_metrics(self._identity, self._boot_id, self._clock.utc_ns(), fields)
        topic = self._identity.topic(message.topic)
        self._documents.put(Outgoing(topic, message.body, message.headers, qos=0, expiry_s=_METRICS_EXPIRY_S))

    def connected(self) -> None:
        """Publish ``status`` and ``info`` now, and on every change until ``disconnected``."""
        self._online = True
        self._documents.put(self._state(online=True, reason=None))
        if self._info is not None:
            self._put_info(self._info)

    def disconnected(self) -> None:
        """Keep changes for the next connection."""
        self._online = False

    def farewell(self) -> Outgoing:
        """Return the ``status`` of a clean stop."""
        return self._state(online=False, reason="shutdown")

    def will(self) -> Outgoing:
        """Return the ``status`` that the broker publishes when we vanish."""
        message = payload.encode_status(
            self._identity, self._boot_id, None, online=False, reason="connection-lost", fields={}
        )
        return self._retained(message)

    def _state(self, *, online: bool, reason: str | None) -> Outgoing:
        now_ns = self._clock.utc_ns()
        return self._retained(
            payload.encode_status(
                self._identity, self._boot_id, now_ns, online=online, reason=reason, fields=self._status
            )
        )

    def _put_info(self, fields: Mapping[str, object]) -> None:
        message = payload.encode_info(self._identity, self._boot_id, self._clock.utc_ns(), fields)
        self._documents.put(self._retained(message))

    def _retained(self, message: payload.Message) -> Outgoing:
        return Outgoing(self._identity.topic(message.topic), message.body, message.headers, retain=True)
