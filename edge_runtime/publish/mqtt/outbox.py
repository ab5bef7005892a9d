"""What is sent next on a connection, and what becomes of it.

Used by the publisher's thread only. What was in flight when a connection ended is sent first on the next one.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from edge_runtime.publish import payload
from edge_runtime.publish.mqtt.latest import Latest
from edge_runtime.publish.mqtt.link import FAILURE, PACKET_TOO_LARGE, TRY_AGAIN_LATER, Ended, Outgoing, words
from edge_runtime.publish.mqtt.mutes import Mutes
from edge_runtime.publish.mqtt.session import Sent, Session
from edge_runtime.publish.mqtt.unheard import Unheard
from edge_runtime.publish.spool.notices import is_result, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.publish.mqtt.documents import Documents
    from edge_runtime.publish.mqtt.link import Answered, LinkStats
    from edge_runtime.publish.spool.spool import Spool
    from edge_runtime.publish.spool.store import Row
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

_S = 1_000_000_000
_TURN_NS = _S // 4  # longest wait of the loop: how late a stop is seen
_LATEST_EXPIRY_S = 3600
_TAKES = 16  # from the spool at once, when what was taken goes back to it
ALONE_NS = 2 * _S  # long enough for the documents that every connection begins with
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
        require_subscriber: bool = False,
        dress: Callable[[Outgoing], Outgoing] | None = None,
    ) -> None:
        """Send what ``spool`` and ``documents`` hold, each as ``dress`` returns it; count in ``stats``."""
        self._spool = spool
        self._documents = documents
        self._identity = identity
        self._clock = clock
        self._stats = stats
        self._historical_after_s = historical_after_s
        self._dress = dress
        self._resend: deque[Row] = deque()
        self._latest = Latest()
        self._mutes = Mutes()
        self._require_subscriber = require_subscriber
        self._unheard = Unheard()
        self._rereads = 0  # what the spool's count was when it was asked to read again
        self._oversized: set[str] = set()  # topics of documents that do not fit: each is told once
        self.alone = False  # what Session.alone of the next connection is to be

    @property
    def done(self) -> bool:
        """Whether nothing is left to send and nothing will come."""
        return self._spool.drained and not self._spool.waiting and not self._resend

    def release(self) -> None:
        """Give back what was not answered: the next run sends it."""
        self._spool.release([*self._resend, *self._unheard.probes])

    def fill(self, session: Session) -> float:
        """Send what the window allows, documents first; return how long nothing else will be due."""
        now_ns = self._clock.mono_ns()
        if session.alone and not self._resend and now_ns - session.since_ns > ALONE_NS:
            session.alone = False

        def hold(document: Outgoing) -> bool:
            return self._hold(document) or (session.alone and not document.qos)

        for document in self._documents.take(session.room, hold):
            self._send(session, Sent(document, self._clock.mono_ns()))
        self._latest.put(self._spool.take_newest().values())
        self._send_latest(session, self._latest.take(session.room, self._clock.mono_ns()))
        now_ns = self._clock.mono_ns()
        if not session.silent(now_ns):
            for row in self._unheard.take(session.room, now_ns):
                self._send_row(session, row)
            while self._resend and session.room > 0:
                self._send_row(session, self._resend.popleft())
            self._send_owed(session)
        self._stats.in_flight = len(session.sent)
        return self._latest.wait_ns(self._clock.mono_ns(), _TURN_NS) / _S

    def _send_owed(self, session: Session) -> None:
        if self._unheard.returning and self._spool.rereads != self._rereads:
            self._unheard.returning.clear()
        for _ in range(_TAKES):
            rereads = self._spool.rereads
            room = min(session.room, self._spool.spare() + self._unheard.count)
            rows = self._spool.take(room) if room > 0 else []
            released = [row for row in rows if self._unheard.deaf(row.stream)]
            for row in rows:
                if not self._unheard.deaf(row.stream):
                    self._send_row(session, row)
            if not released:
                return
            self._spool.release(released)
            if self._spool.rereads != rereads:  # it was read again while we held them: they were left out
                self._read_again()

    def _read_again(self) -> None:
        self._rereads = self._spool.rereads
        self._spool.reread()

    def farewell(self, session: Session, status: Outgoing) -> None:
        """Send the newest results, which have no later now, and then ``status``."""
        self._send_latest(session, self._latest.take(session.room - 1, self._clock.mono_ns(), paced=False))
        if not self._hold(status):
            self._send(session, Sent(status, self._clock.mono_ns()))

    def _hold(self, document: Outgoing) -> bool:
        return self._mutes.waits(document.topic, self._clock.mono_ns())

    def _send_latest(self, session: Session, rows: Sequence[Row]) -> None:
        for row in rows:
            message = self._outgoing(row, payload.latest_topic(scope_of(row.stream)), latest=True)
            self._send(session, Sent(message, self._clock.mono_ns(), latest=row))

    def _send_row(self, session: Session, row: Row) -> None:
        message, now_ns = self._outgoing(row, row.stream, latest=False), self._clock.mono_ns()
        reason = self._mutes.standing(message.topic, now_ns)
        if reason is not None:
            self._refuse(row, f"{reason}, not tried again yet")
        else:
            self._send(session, Sent(message, now_ns, row))

    def _send(self, session: Session, sent: Sent) -> None:
        message = sent.message if self._dress is None else self._dress(sent.message)
        if not session.fits(message):
            self._does_not_fit(sent, f"packet too large for the broker: more than {session.packet_max} bytes")
            return
        try:
            mid = session.link.publish(message)
        except ValueError as error:
            self._does_not_fit(sent, str(error))
            return
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
        reason = words(answer.code)
        if answer.code in TRY_AGAIN_LATER:  # stays ours and is sent again on the next connection
            session.ended = session.ended or Ended(None, f"the broker is overloaded: {reason}")
            return
        if answer.code in _ABOUT_THE_TOPIC and sent.row is not None:
            topic = sent.message.topic
            if not self._mutes.refused(topic, reason, self._clock.mono_ns()).stands:  # may pass: the same
                session.ended = session.ended or Ended(None, f"the broker refuses {topic}: {reason}")
                return
        del session.sent[answer.mid]
        session.heard(sent, self._clock.mono_ns())
        session.opened += 1
        session.answered += sent.row is not None
        if answer.code >= FAILURE:
            self._failed(sent, reason)
            return
        self._mutes.taken(sent.message.topic)
        if sent.row is not None:
            self._taken(sent.row, answer.code, acked)

    def _taken(self, row: Row, code: int, acked: list[Row]) -> None:
        self._stats.no_subscribers += code == _NO_SUBSCRIBERS
        if code == _NO_SUBSCRIBERS and self._require_subscriber and is_result(row.stream):
            if not self._unheard.unheard(row, self._clock.mono_ns()):
                self._spool.release([row])
            return
        self._stats.acked += 1
        acked.append(row)
        if self._unheard.heard(row):
            self._read_again()

    def _failed(self, sent: Sent, reason: str) -> None:
        """The broker does not take this: a row becomes a dead letter, a retained document is tried again later."""
        if sent.row is not None:
            self._refuse(sent.row, reason)
        elif sent.message.retain:
            mute = self._mutes.refused(sent.message.topic, reason, self._clock.mono_ns())
            self._restore(sent, mute.until_ns)
        else:
            logger.error("the broker refuses %s: %s", sent.message.topic, reason)

    def _does_not_fit(self, sent: Sent, reason: str) -> None:
        topic = sent.message.topic
        if sent.row is not None:
            self._refuse(sent.row, reason)
        elif topic not in self._oversized:
            self._oversized.add(topic)
            logger.error("%s cannot be published: %s", topic, reason)

    def _refuse(self, row: Row, reason: str) -> None:
        if self._unheard.is_probe(row):
            self._unheard.forget(row)
            self._unheard.returning.add(row.stream)
            self._read_again()
        self._stats.refused += 1
        self._spool.refused(row, reason)

    def _restore(self, document: Sent, not_before_ns: int = 0) -> None:
        if document.latest is not None:
            self._latest.restore(document.latest, not_before_ns)
        else:
            self._documents.restore(document.message)

    def collect(self, session: Session) -> None:
        """Take back what was in flight, in its order, before what already waits to be sent again.

        But not the packet that was too large for a broker which cut the connection and had not said what it takes.
        """
        self.alone = session.ended is not None and session.ended.code == PACKET_TOO_LARGE
        if self.alone and session.alone and session.sent:
            (guilty,) = session.sent.values()
            session.sent.clear()
            self._failed(guilty, words(PACKET_TOO_LARGE))
        sent = list(session.sent.values())
        rows = [one.row for one in reversed(sent) if one.row is not None]
        self._resend.extendleft(row for row in rows if not self._unheard.is_probe(row))
        self._unheard.lost()
        for one in sent:
            if one.row is None:
                self._restore(one)
        session.sent.clear()
        self._stats.in_flight = 0
