"""CloudEvents 1.0 names beside ours, in binary mode: MQTT user properties (CloudEvents MQTT binding 1.0.2, 3.1). Pure.

``datacontenttype`` is the content type of the publish. ``id`` is that of a result or event; other documents get one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.publish.mqtt.link import Outgoing
    from edge_runtime.publish.payload import Identity

SPEC: Final = "1.0"


class CloudEvents:
    """Adds the attributes to messages of one box."""

    def __init__(self, identity: Identity, new_id: Callable[[], str]) -> None:
        """Speak for ``identity``; ``new_id`` makes an id for a document that has none."""
        self._identity = identity
        self._source = f"//{identity.site}/{identity.line}/{identity.edge}"
        self._new_id = new_id

    def __call__(self, message: Outgoing) -> Outgoing:
        """Return ``message`` with the attributes; what names no schema or is not ours comes back as it is."""
        known = dict(message.headers)
        schema, subject = known.get("schema"), self._identity.suffix(message.topic)
        if schema is None or subject is None:
            return message
        added = [
            ("specversion", SPEC),
            ("type", schema.replace("/", ".v")),
            ("source", self._source),
            ("subject", subject),
            ("dataschema", f"urn:edge-runtime:{schema}"),
        ]
        if "id" not in known:
            added.append(("id", self._new_id()))
        if "ts" in known:
            added.append(("time", known["ts"]))
        return replace(message, headers=(*message.headers, *added))
