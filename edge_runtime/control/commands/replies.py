"""Puts an answer into ``vision.reply/1`` and onto its way: pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from edge_runtime.core.ids import uuid7
from edge_runtime.publish.mqtt.link import Outgoing
from edge_runtime.publish.payload import dumps, timestamp

if TYPE_CHECKING:
    from edge_runtime.control.commands.letter import Address
    from edge_runtime.core.command import Answer
    from edge_runtime.publish.contract.reply import Reply
    from edge_runtime.publish.payload import Identity

REPLY_SCHEMA: Final = "vision.reply/1"
_NS_PER_MS = 1_000_000
_TEXT_MAX = 512
_TEXTS = {
    200: "done",
    202: "accepted",
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "unknown",
    409: "conflict",
    410: "expired",
    413: "too large",
    429: "too many",
    500: "failed",
    503: "unavailable",
    504: "late",
}


class Scribe:
    """Writes the answers of one boot of one box."""

    def __init__(self, identity: Identity, boot_id: str) -> None:
        """Write for ``identity``."""
        self._identity = identity
        self._boot_id = boot_id

    def encode(
        self,
        answer: Answer,
        *,
        verb: str | None,
        target: str | None,
        command_id: str | None,
        utc_ns: int,
        random: bytes,
    ) -> bytes:
        """Return the document of ``answer``.

        Raises:
            ValueError: a field is NaN, or text that is not Unicode.
            TypeError: a field has no JSON form.
        """
        identity = self._identity
        fixed: Reply = {
            "schema": REPLY_SCHEMA,
            "id": uuid7(max(0, utc_ns) // _NS_PER_MS, random),
            "correlationId": command_id,
            "verb": verb,
            "target": target,
            "status": int(answer.status),
            "statusText": _TEXTS.get(int(answer.status), "answer"),
            "message": answer.message[:_TEXT_MAX],
            "ts": timestamp(utc_ns),
            "site": identity.site,
            "line": identity.line,
            "edge": identity.edge,
            "bootId": self._boot_id,
        }
        return dumps({**fixed, **answer.fields, **fixed})


def outgoing(address: Address, status: int, body: bytes, left_ns: int) -> Outgoing:
    """Return the message of an answer; the broker keeps it for as long as the command was worth executing."""
    return Outgoing(
        address.topic,
        body,
        headers=(("schema", REPLY_SCHEMA), ("id", str(json.loads(body)["id"])), ("status", str(status))),
        expiry_s=max(1, round(left_ns / 1e9)),
        correlation=address.correlation,
    )
