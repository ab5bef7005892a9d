"""Asks a box for something over its broker and waits for the answer: for the verb ``command`` and for tests.

What MQTT 5 has properties for stands in the JSON object here, as a gateway for MQTT 3.1.1 would write it.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.control.commands.ed25519 import sign
from edge_runtime.control.commands.letter import LIMIT_BYTES
from edge_runtime.control.commands.signature import SEALED, Signature, canonical
from edge_runtime.core.errors import DataError, UnavailableError
from edge_runtime.publish.mqtt.link import (
    FAILURE,
    Accepted,
    Answered,
    Ended,
    Inbound,
    Outgoing,
    SubscribeAnswered,
    words,
)
from edge_runtime.publish.mqtt.waker import Waker
from edge_runtime.publish.payload import dumps, timestamp
from edge_runtime.system.service import Stop

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_runtime.publish.mqtt.link import Dial, Happening, Link
    from edge_runtime.publish.payload import Identity

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of which box.

    Attributes:
        caller: first level of the reply topic: who asks, as the broker's access list knows it.
        key: private key to sign with, and the name under which the box knows it.
    """

    identity: Identity
    verb: str
    target: str | None
    command_id: str
    caller: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    key: tuple[Path, str] | None = None

    @property
    def reply_topic(self) -> str:
        """Where the answer is wanted."""
        return self.identity.topic(f"reply/{self.caller}/{self.command_id}")

    def message(self, utc_ns: int, timeout_s: float) -> Outgoing:
        """Return the command as it is sent.

        Raises:
            DataError: the private key cannot be used.
        """
        expires = timestamp(utc_ns + int(timeout_s * _NS))
        common = {"correlationId": self.command_id, "replyTo": self.reply_topic, "expiresAt": expires}
        body = dumps({**self.arguments, **common})
        if self.key is not None:
            body = self._sealed(body, timestamp(utc_ns), self.key)
        levels = f"cmd/{self.verb}" + (f"/{self.target}" if self.target else "")
        return Outgoing(self.identity.topic(levels), body, expiry_s=max(1, round(timeout_s)))

    def _sealed(self, inner: bytes, ts: str, key: tuple[Path, str]) -> bytes:
        path, name = key
        unsigned = Signature.of(name, ts, b"", inner)
        value = sign(path, canonical(self.identity, self.verb, self.target, self.command_id, unsigned))
        return dumps({SEALED: inner.decode(), "key": name, "ts": ts, "sig": base64.b64encode(value).decode()})


def ask(dial: Dial, wish: Wish, timeout_s: float) -> dict[str, object]:
    """Send the command and return the answer's document; blocks for at most ``timeout_s`` seconds.

    Raises:
        UnavailableError: the broker is not there or refuses, or nobody answers.
        DataError: the private key cannot be used, or the command is too large.
    """
    message = wish.message(time.time_ns(), timeout_s)
    if len(message.body) > LIMIT_BYTES:
        # the box would not look into it for its id, so nobody would be answered
        raise DataError("command.too_large", f"a command has at most {LIMIT_BYTES} bytes, this one {len(message.body)}")
    stop, waker = Stop(), Waker()
    link = dial(None)
    try:
        link.open(stop, clean=True)
        return _converse(link, waker, wish, message, time.monotonic() + timeout_s)
    finally:
        link.close()
        waker.close()


def _converse(link: Link, waker: Waker, wish: Wish, message: Outgoing, end_s: float) -> dict[str, object]:
    while (left_s := end_s - time.monotonic()) > 0:
        link.pump(min(left_s, 0.25), waker.descriptor)
        for happening in link.happened():
            document = _step(link, wish, message, happening)
            if document is not None:
                link.disconnect()
                link.pump(0.0, waker.descriptor)
                return document
    where = wish.identity.topic("")[:-1]
    way_out = (
        f"it may have been carried out: the same again with --id {wish.command_id} does nothing twice. Is the daemon "
        f"connected (edge-runtime status), and may your user read {wish.reply_topic}? --as names the user"
    )
    raise UnavailableError("command.no_answer", f"no answer of {where} to {wish.verb}", help=way_out)


def _step(link: Link, wish: Wish, message: Outgoing, happening: Happening) -> dict[str, object] | None:
    """Subscribe, then ask, then see the answer."""
    if isinstance(happening, Accepted):
        link.subscribe([wish.reply_topic])
    elif isinstance(happening, SubscribeAnswered):
        _refused(max(happening.codes), f"lets nobody like us read {wish.reply_topic}")
        link.publish(message)
    elif isinstance(happening, Answered):
        _refused(happening.code, f"does not take the command {wish.verb} from us")
    elif isinstance(happening, Ended):
        raise UnavailableError("command.broker", f"the connection to the broker ended: {happening.words}")
    elif isinstance(happening, Inbound):
        document = json.loads(happening.payload)
        return document if isinstance(document, dict) else None
    return None


def _refused(code: int, what: str) -> None:
    if code >= FAILURE:
        raise UnavailableError("command.broker", f"the broker {what}: {words(code)}", help="see its access list")
