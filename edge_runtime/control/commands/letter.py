"""One message on ``cmd/...``, as it is being read: what it asks, who claims to ask, and where the answer goes.

Legal order: ``Letter(...)`` -> ``read`` -> its attributes. When ``read`` refuses, the attributes say as much as was
understood until then, so that the refusal can be answered. Pure: clocks are passed in.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING

from edge_runtime.control.commands.refusal import RefusedError
from edge_runtime.control.commands.signature import Signature, sealed, signature_of
from edge_runtime.control.commands.verbs import TRIGGER, VERBS, check_arguments, text
from edge_runtime.core.command import Status
from edge_runtime.core.errors import DataError
from edge_runtime.core.jsonfields import load_object
from edge_runtime.publish.payload import dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.publish.mqtt.link import Inbound
    from edge_runtime.publish.payload import Identity

LIMIT_BYTES = 65_536
CORRELATION_MAX_BYTES = 64
LONGEST = 40  # letters of a verb that nobody knows, which are compared with those that are known
TOPIC_MAX = 512
EXECUTE_S = 30  # what a command has that does not say how long it is worth carrying out
EXECUTE_MAX_S = 300
ANONYMOUS = "anonymous"
_NS = 1_000_000_000
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_REPLY = re.compile(r"reply(/[^/+#\0\x01-\x1f]{1,128}){1,4}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where an answer goes: the topic, and the MQTT 5 correlation data to give back."""

    topic: str
    correlation: bytes | None


class Letter:
    """See the module docstring.

    Attributes:
        verb, target: from the topic; ``None`` until it was understood.
        id: the correlation id; ``None`` without one.
        reply_topic: ``None`` when there is nowhere to answer.
        principal: who claims to ask, or, once the desk has checked the signature, who has proven to.
        proven: whether it is the latter.
        arguments: the verb's fields.
        digest: SHA-256 over verb, target and arguments: what must be equal in a repeat.
        signature: as sent; not checked here.
        deadline_mono_ns: not carried out after it.
    """

    def __init__(self, message: Inbound, identity: Identity, *, mono_ns: int, utc_ns: int) -> None:
        """Look at the outside of ``message``, which arrived just now; understands nothing yet."""
        self._size_bytes = len(message.payload)
        if self._size_bytes > LIMIT_BYTES:
            message = replace(message, payload=b"")  # it may be as large as a packet, and hundreds may wait
        self._message = message
        self._identity = identity
        self._mono_ns = mono_ns
        self._utc_ns = utc_ns
        suffix = identity.suffix(message.topic) or ""
        words = suffix.split("/")
        self._levels = words[1:]
        self.verb: str | None = words[1] if len(words) > 1 else None
        self.target: str | None = words[2] if len(words) > 2 else None  # noqa: PLR2004 - cmd, verb, target
        self.id: str | None = None
        self.reply_topic: str | None = None
        self.principal = ANONYMOUS
        self.proven = False
        self.arguments: dict[str, object] = {}
        self.digest = b""
        self.signature: Signature | None = None
        self.deadline_mono_ns = mono_ns + EXECUTE_S * _NS

    @property
    def address(self) -> Address | None:
        """Where the answer goes."""
        return None if self.reply_topic is None else Address(self.reply_topic, self._message.correlation)

    @property
    def size_bytes(self) -> int:
        """Length of the body."""
        return self._size_bytes

    def read(self) -> None:
        """Understand the message.

        Raises:
            RefusedError: it is no command that could be carried out.
        """
        message = self._message
        self.read_properties()
        if self._size_bytes > LIMIT_BYTES:
            why = f"a command has at most {LIMIT_BYTES} bytes, got {self._size_bytes}"
            raise RefusedError(Status.TOO_LARGE, "oversized", why)
        document, signed_bytes, fields = self._document()
        self._read_common(document)
        verb = self._known_verb()
        self.arguments = check_arguments(verb, document)
        self._read_expiry(document)
        if not VERBS[verb].lenient and self.id is None:
            why = f"{verb} needs an id: MQTT 5 correlation data, or correlationId in its JSON object"
            raise RefusedError(Status.MALFORMED, "no_id", why)
        self.digest = hashlib.sha256(dumps(dict(sorted({**self.arguments, "": [verb, self.target]}.items())))).digest()
        self.signature = signature_of(fields, signed_bytes)
        self._message = replace(message, payload=b"")  # nobody needs it any more, and it may be carried out for minutes

    def read_properties(self) -> None:
        """Understand the MQTT 5 properties: where to answer, and the id.

        Raises:
            RefusedError: the command was retained, the response topic is not ours to publish to, or the correlation
                data are too long.
        """
        if self._message.retain:
            raise RefusedError(Status.FORBIDDEN, "retained", "a retained command is an old wish and is not executed")
        correlation, wanted = self._message.correlation, self._message.response_topic
        if correlation is not None and len(correlation) > CORRELATION_MAX_BYTES:
            why = f"correlation data have at most {CORRELATION_MAX_BYTES} bytes, got {len(correlation)}"
            raise RefusedError(Status.MALFORMED, "field", why)
        if correlation:
            self.id = correlation.hex()
        if wanted is not None:
            self._answer_at(wanted, "response topic")
        elif self.id is not None:
            self.reply_topic = self._identity.topic(f"reply/{self.id}")

    def _answer_at(self, topic: str, what: str) -> None:
        """Take ``topic`` for the answer; nobody can have us publish anywhere else (no confused deputy)."""
        suffix = self._identity.suffix(topic)
        # what JSON can hold and MQTT 5.0, 1.5.4 discourages makes a broker hang up on us: control and non-characters
        if suffix is None or len(topic) > TOPIC_MAX or not suffix.isprintable() or _REPLY.fullmatch(suffix) is None:
            root = self._identity.topic("reply/")
            raise RefusedError(Status.FORBIDDEN, "reply_topic", f"the {what} must be a topic below {root}")
        self.reply_topic = topic
        level = suffix.split("/")[1]
        # who writes out what would be the default is as anonymous as who leaves it out: a repeat may do either
        self.principal = ANONYMOUS if level == self.id else level

    def _document(self) -> tuple[dict[str, object], bytes, Mapping[str, object]]:
        """Return the JSON object, the bytes that a signature is about, and where that signature stands."""
        payload, headers = self._message.payload, dict(self._message.headers)
        if not payload.strip() and self.verb == TRIGGER:
            return {}, payload, headers
        document = _json(payload)
        inner = sealed(document)
        if inner is None:
            return document, payload, headers
        return _json(inner), inner, document

    def _read_common(self, document: Mapping[str, object]) -> None:
        """Understand the fields for clients without properties: an id and a reply topic of their own."""
        given, reply_to = document.get("correlationId"), document.get("replyTo")
        if given is not None:
            self.id = text("correlationId", given)
            if _ID.fullmatch(self.id):
                default = self._identity.topic(f"reply/{self.id}")
                self.reply_topic = default if self._message.response_topic is None else self.reply_topic
            elif self.verb != TRIGGER:  # where any text has always been taken
                self.id = None
                why = "correlationId must have 1 to 128 letters, digits, '_', '.', ':' and '-'"
                raise RefusedError(Status.MALFORMED, "field", why)
        if reply_to is not None and self._message.response_topic is None:
            self._answer_at(text("replyTo", reply_to), "replyTo")

    def _known_verb(self) -> str:
        verb, levels = self.verb, self._levels
        if verb is None or verb not in VERBS or len(levels) > 2 or "" in levels:  # noqa: PLR2004 - verb and target
            near = [] if verb in VERBS else get_close_matches(levels[0][:LONGEST], VERBS, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            message = f"there is no command {'/'.join(levels)[:80]!r}{hint}"
            raise RefusedError(Status.UNKNOWN, "unknown_verb", message)
        if verb == TRIGGER and self.target is None:
            raise RefusedError(Status.MALFORMED, "field", "a trigger names its inspection: cmd/trigger/{inspection}")
        return verb

    def _read_expiry(self, document: Mapping[str, object]) -> None:
        """Set the deadline: what the broker says is left, ``expiresAt``, or the default; the earliest counts."""
        expiry_s, expires_at = self._message.expiry_s, document.get("expiresAt")
        left_ns = (EXECUTE_S if expiry_s is None and expires_at is None else EXECUTE_MAX_S) * _NS
        if expiry_s is not None:
            left_ns = min(left_ns, expiry_s * _NS)
        if expires_at is not None:
            left_ns = min(left_ns, utc_ns_of("expiresAt", expires_at) - self._utc_ns)
        if left_ns <= 0:
            raise RefusedError(Status.EXPIRED, "expired", f"it was to be executed before {expires_at or 'now'}")
        self.deadline_mono_ns = self._mono_ns + left_ns


def utc_ns_of(where: str, value: object) -> int:
    """Return an RFC 3339 time with offset as nanoseconds since 1970.

    Raises:
        RefusedError: 400: it is none.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        why = f"{where} must be a time with its offset as in RFC 3339, got {value!r:.40}"
        raise RefusedError(Status.MALFORMED, "field", why)
    return int(moment.timestamp() * 1e6) * 1000


def _json(raw: bytes) -> dict[str, object]:
    try:
        return load_object(raw, "command", limit_bytes=LIMIT_BYTES)
    except DataError as error:
        raise RefusedError(Status.MALFORMED, "json", error.message[:300]) from error
