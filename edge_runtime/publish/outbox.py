"""What is sent next on a connection, and what becomes of it.

Used by the publisher's thread only. What was in flight when a connection ended is sent first on the next one.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from edge_runtime.publish import payload
from edge_runtime.publish.link import FAILURE, TRY_AGAIN_LATER, Ended, Outgoing, words
from edge_runtime.publish.session import Sent, Session
from edge_runtime.publish.store import Row

if TYPE_CHECKING:
    from edge_runtime.publish.documents import Documents
    from edge_runtime.publish.link import Answered, LinkStats
    from edge_runtime.publish.spool import Spool
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

_S = 1_000_000_000
_TURN_NS = _S // 4  # longest wait of the loop: how late a stop is seen
_LATEST_EVERY_NS = _S // 5  # per inspection
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
        self._latest: dict[str, Row] = {}
        self._latest_ns: dict[str, int] = {}
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
            self.send_document(session, document)
        due_s = self._fill_latest(session)
        while self._resend and session.room > 0:
            self._send_row(session, self._resend.popleft())
        if session.room > 0:
            for row in self._spool.take(session.room):
                self._send_row(session, row)
        self._stats.in_flight = len(session.sent)
        return due_s

    def _fill_latest(self, session: Session) -> float:
        for stream, row in self._spool.take_newest().items():
            if stream.startswith("result/"):
                self._latest[stream] = row
        now_ns = self._clock.mono_ns()
        due_ns = _TURN_NS
        for stream, row in list(self._latest.items()):
            wait_ns = self._latest_ns.get(stream, now_ns - _LATEST_EVERY_NS) + _LATEST_EVERY_NS - now_ns
            if wait_ns > 0:
                due_ns = min(due_ns, wait_ns)
            elif session.room > 0:
                del self._latest[stream]
                self._latest_ns[stream] = now_ns
                self.send_document(
                    session, self._outgoing(row, payload.latest_topic(stream.partition("/")[2]), latest=True)
                )
        return due_ns / _S

    def send_document(self, session: Session, document: Outgoing) -> None:
        """Send one document now, whatever the window says."""
        if self._muting(document.topic) is None:
            self._send(session, document, document)

    def _send_row(self, session: Session, row: Row) -> None:
        message = self._outgoing(row, row.stream, latest=False)
        if session.packet_max is not None and session.link.size(message) > session.packet_max:
            self._refuse(row, f"packet too large for the broker: more than {session.packet_max} bytes")
        elif (reason := self._muting(message.topic)) is not None:
            self._refuse(row, f"{reason}, not tried again yet")
        else:
            self._send(session, message, row)

    def _send(self, session: Session, message: Outgoing, item: Row | Outgoing) -> None:
        mid = session.link.publish(message)
        self._stats.published += 1
        if message.qos:
            session.sent[mid] = Sent(item, self._clock.mono_ns())

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
        item = sent.item
        if answer.code in _ABOUT_THE_TOPIC:
            self._mute(item, words(answer.code))
        if not isinstance(item, Row):
            return  # a document: the next one replaces it
        session.answered += 1
        if answer.code >= FAILURE:
            self._refuse(item, words(answer.code))
        else:
            self._stats.acked += 1
            self._stats.no_subscribers += answer.code == _NO_SUBSCRIBERS
            acked.append(item)

    def _refuse(self, row: Row, reason: str) -> None:
        self._stats.refused += 1
        self._spool.refused(row, reason)

    def _mute(self, item: Row | Outgoing, reason: str) -> None:
        topic = self._identity.topic(item.stream) if isinstance(item, Row) else item.topic
        if topic not in self._muted:
            logger.error("the broker refuses %s: %s", topic, reason)
        self._muted[topic] = (self._clock.mono_ns() + _MUTE_NS, reason)

    def _muting(self, topic: str) -> str | None:
        until_ns, reason = self._muted.get(topic, (0, None))
        return reason if self._clock.mono_ns() < until_ns else None

    def collect(self, session: Session) -> None:
        """Take back what was in flight, in its order, before what already waits to be sent again."""
        items = [sent.item for sent in session.sent.values()]
        self._resend.extendleft(reversed([item for item in items if isinstance(item, Row)]))
        self._documents.restore([item for item in items if isinstance(item, Outgoing) and item.retain])
        session.sent.clear()
        self._stats.in_flight = 0
