"""What is sent next on a connection, and what becomes of it.

Used by the publisher's thread only. What was in flight when a connection ended is sent first on the next one.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from edge_runtime.publish import payload
from edge_runtime.publish.latest import Latest
from edge_runtime.publish.link import FAILURE, TRY_AGAIN_LATER, Ended, Outgoing, words
from edge_runtime.publish.notices import scope_of
from edge_runtime.publish.session import Sent, Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.publish.documents import Documents
    from edge_runtime.publish.link import Answered, LinkStats
    from edge_runtime.publish.spool import Spool
    from edge_runtime.publish.store import Row
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

_S = 1_000_000_000
_TURN_NS = _S // 4  # longest wait of the loop: how late a stop is seen
_LATEST_EXPIRY_S = 3600
_MUTE_NS = 10 * _S  # mosquitto 2.0.11 ends the connection with every refusal: a refused topic is tried this seldom
_ABOUT_THE_TOPIC = frozenset({0x87, 0x90})  # not authorized, topic name invalid: true for the next message on it too
_NO_SUBSCRIBERS = 0x10  # MQTT 5.0 3.4.2.1: a success


class Outbox:
    """See the module docstring."""

    def __init__(
        self,
        spool: Spool,
        documents: Documents,
        identity: payload.Identity,
        clock: Clock,
        stats: LinkStats,
        *,
        historical_after_s: float,
    ) -> None:
        """Send what ``spool`` and ``documents`` hold; count in ``stats``."""
        self._spool = spool
        self._documents = documents
        self._identity = identity
        self._clock = clock
        self._stats = stats
        self._historical_after_s = historical_after_s
        self._resend: deque[Row] = deque()
        self._latest = Latest()
        self._muted: dict[str, tuple[int, str]] = {}  # refused topic -> until, reason

    @property
    def done(self) -> bool:
        """Whether nothing is left to send and nothing will come."""
        return self._spool.drained and not self._spool.waiting and not self._resend

    def release(self) -> None:
        """Give back what was not answered: the next run sends it."""
        self._spool.release(list(self._resend))

    def fill(self, session: Session) -> float:
        """Send what the window allows, documents first; return how long nothing else will be due."""
        for document in self._documents.take(session.room):
            self._send_document(session, document)
        self._latest.put(self._spool.take_newest().values())
        self._send_latest(session, self._latest.take(session.room, self._clock.mono_ns()))
        while self._resend and session.room > 0:
            self._send_row(session, self._resend.popleft())
        if session.room > 0:
            for row in self._spool.take(session.room):
                self._send_row(session, row)
        self._stats.in_flight = len(session.sent)
        return self._latest.wait_ns(self._clock.mono_ns(), _TURN_NS) / _S

    def farewell(self, session: Session, status: Outgoing) -> None:
        """Send the newest results, which have no later now, and then ``status``."""
        self._send_latest(session, self._latest.take(session.room - 1, self._clock.mono_ns(), paced=False))
        self._send_document(session, status)

    def _send_latest(self, session: Session, rows: Sequence[Row]) -> None:
        for row in rows:
            message = self._outgoing(row, payload.latest_topic(scope_of(row.stream)), latest=True)
            self._send_document(session, message, row)

    def _send_document(self, session: Session, message: Outgoing, latest: Row | None = None) -> None:
        if self._muting(message.topic) is None:
            self._send(session, Sent(message, self._clock.mono_ns(), latest=latest))

    def _send_row(self, session: Session, row: Row) -> None:
        message = self._outgoing(row, row.stream, latest=False)
        if session.packet_max is not None and session.link.size(message) > session.packet_max:
            self._refuse(row, f"packet too large for the broker: more than {session.packet_max} bytes")
        elif (reason := self._muting(message.topic)) is not None:
            self._refuse(row, f"{reason}, not tried again yet")
        else:
            self._send(session, Sent(message, self._clock.mono_ns(), row))

    def _send(self, session: Session, sent: Sent) -> None:
        mid = session.link.publish(sent.message)
        self._stats.published += 1
        if sent.message.qos:
            session.sent[mid] = sent

    def _outgoing(self, row: Row, suffix: str, *, latest: bool) -> Outgoing:
        old = self._spool.is_historical(row, self._historical_after_s)
        body = payload.mark_historical(row.body) if old else row.body
        expiry_s = _LATEST_EXPIRY_S if latest else None
        return Outgoing(self._identity.topic(suffix), body, row.headers, retain=latest, expiry_s=expiry_s)

    # --- what became of it

    def answered(self, session: Session, answer: Answered, acked: list[Row]) -> None:
        """Take the broker's answer to a publish; a row that it took is added to ``acked``."""
        sent = session.sent.get(answer.mid)
        if sent is None:
            return  # a QoS 0 publish that left
        if answer.code in TRY_AGAIN_LATER:  # stays ours and is sent again on the next connection
            session.ended = session.ended or Ended(None, f"the broker is overloaded: {words(answer.code)}")
            return
        del session.sent[answer.mid]
        session.opened += 1
        if answer.code in _ABOUT_THE_TOPIC:
            self._mute(sent.message.topic, words(answer.code))
        if sent.row is None:
            return  # a document: the next one replaces it
        session.answered += 1
        if answer.code >= FAILURE:
            self._refuse(sent.row, words(answer.code))
        else:
            self._stats.acked += 1
            self._stats.no_subscribers += answer.code == _NO_SUBSCRIBERS
            acked.append(sent.row)

    def _refuse(self, row: Row, reason: str) -> None:
        self._stats.refused += 1
        self._spool.refused(row, reason)

    def _mute(self, topic: str, reason: str) -> None:
        if topic not in self._muted:
            logger.error("the broker refuses %s: %s", topic, reason)
        self._muted[topic] = (self._clock.mono_ns() + _MUTE_NS, reason)

    def _muting(self, topic: str) -> str | None:
        until_ns, reason = self._muted.get(topic, (0, None))
        return reason if self._clock.mono_ns() < until_ns else None

    def collect(self, session: Session) -> None:
        """Take back what was in flight, in its order, before what already waits to be sent again."""
        sent = list(session.sent.values())
        self._resend.extendleft(one.row for one in reversed(sent) if one.row is not None)
        for one in sent:
            if one.latest is not None:
                self._latest.restore(one.latest)
            elif one.row is None:
                self._documents.restore(one.message)
        session.sent.clear()
        self._stats.in_flight = 0
