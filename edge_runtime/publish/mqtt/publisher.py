"""Sends the spool to the broker, keeps the retained documents true, and hands commands in.

One thread does all of it, so nothing here needs a lock: it dials, waits for the broker's limits, then keeps at most
min(window, Receive Maximum) publishes in flight, counting every QoS 1 publish and across reconnects, because what was
in flight when a connection ended is sent first on the next one.

States: connecting -> online -> (ended) -> connecting ...; ``refused`` while the broker does not let us in.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from uuid import uuid4

from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt.cloudevents import CloudEvents
from edge_runtime.publish.mqtt.documents import Documents
from edge_runtime.publish.mqtt.link import (
    FAILURE,
    NEEDS_A_PERSON,
    UNUSABLE,
    Accepted,
    Answered,
    Backoff,
    Ended,
    Inbound,
    LinkStats,
    Outgoing,
    SubscribeAnswered,
    words,
)
from edge_runtime.publish.mqtt.outbox import Outbox
from edge_runtime.publish.mqtt.presence import Presence
from edge_runtime.publish.mqtt.session import Session
from edge_runtime.publish.mqtt.waker import Waker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_runtime.publish import payload
    from edge_runtime.publish.contract.status import StatusFields
    from edge_runtime.publish.mqtt.link import Dial, Happening
    from edge_runtime.publish.spool.spool import Spool
    from edge_runtime.publish.spool.store import Row
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

_S = 1_000_000_000
_TURN_S = 0.25  # longest wait of the loop: how late a stop is seen
_FLUSH_UNTIL_S = 1.0  # of the time that a stop leaves: what is committed is sent until then
_FAREWELL_NS = int(0.5 * _S)
_LOOK_NS = _S // 2  # how often the TLS files are looked at
_DRAIN_NS = 2 * _S
_STABLE_NS = 2 * _S  # a connection that stood for so long makes the next attempt quick


class Publisher:
    """See the module docstring. A Service."""

    name = "publish/mqtt"

    def __init__(
        self,
        dial: Dial,
        spool: Spool,
        identity: payload.Identity,
        boot_id: str,
        clock: Clock,
        *,
        on_command: Callable[[Inbound], None] | None = None,
        on_acked: Callable[[Sequence[Row]], None] | None = None,
        commands: Sequence[str] = ("cmd/trigger/+",),
    ) -> None:
        """Publish ``spool`` through ``dial``.

        ``on_command`` is called by the publisher's thread for each message on a topic of ``commands`` (suffixes, MQTT
        wildcards); it must only hand the message on. What it raises is counted and logged. ``on_acked`` is called by
        the same thread with the rows that the broker has just acknowledged; it must be quick and must not raise.
        """
        self._dial = dial
        self._spool = spool
        self._identity = identity
        self._clock = clock
        self._on_command = on_command
        self._on_acked = on_acked
        self._commands = tuple(commands)
        self._waker = Waker()
        self._documents = Documents()
        self._presence = Presence(identity, boot_id, clock, self._documents)
        self._backoff = Backoff()
        self._told: set[tuple[str, str, str | None]] = set()  # what was logged since a connection last stood
        self._hopeless = False  # a broker of this round refuses us until a person comes
        self.stats = LinkStats()
        self._dress = CloudEvents(identity, lambda: uuid4().hex) if dial.settings.cloudevents else None
        self._outbox = Outbox(
            spool,
            self._documents,
            identity,
            clock,
            self.stats,
            historical_after_s=dial.settings.historical_after_s,
            require_subscriber=dial.settings.require_subscriber,
            dress=self._dress,
        )
        spool.set_listener(self._waker.poke)

    # --- any thread

    def set_status(self, fields: StatusFields) -> None:
        """Publish ``status`` with these fields beside our own, now and after every reconnect."""
        self._presence.set_status(fields)
        self._waker.poke()

    def set_info(self, fields: Mapping[str, object]) -> None:
        """Publish ``info`` with these fields, now and after every reconnect."""
        self._presence.set_info(fields)
        self._waker.poke()

    def put_metrics(self, fields: Mapping[str, object]) -> None:
        """Publish ``metrics`` once, QoS 0; while we are offline only the newest is kept."""
        self._presence.put_metrics(fields)
        self._waker.poke()

    def put_document(self, document: Outgoing) -> None:
        """Publish a retained document with a full topic; while we are offline only the newest per topic is kept."""
        self._documents.put(document)
        self._waker.poke()

    def post(self, message: Outgoing) -> bool:
        """Queue a message with a full topic that is not spooled, for example a reply; False when the queue is full.

        Raises:
            ValueError: the topic is empty or has wildcards.
        """
        if not message.topic or set(message.topic) & set("+#\0"):
            msg = f"cannot publish to topic {message.topic!r}"
            raise ValueError(msg)
        queued = self._documents.post(message)
        self._waker.poke()
        return queued

    def close(self) -> None:
        """Free the descriptor of a publisher that will not run (again); idempotent."""
        self._spool.set_listener(None)
        self._waker.close()

    # --- the thread

    def run(self, stop: Stop) -> None:
        """Publish until ``stop``, then send what is committed while the stop leaves time, say goodbye and end."""
        try:
            while not stop.is_set():
                pause_s = self._attempt(stop)
                stop.wait(pause_s)
        finally:
            self._outbox.release()
            self.close()

    def _attempt(self, stop: Stop) -> float:
        """Live through one connection; return the pause before the next one."""
        will = self._presence.will()
        link = self._dial(will if self._dress is None else self._dress(will))
        session = Session(link, self._outbox.alone)
        try:
            # a trigger that came while we were away is about a part that has gone by
            link.open(stop, clean=True)
            self._await_accepted(session, stop)
            if session.ended is None and session.window:
                self._greet(session)
                self._serve(session, stop)
        except UnavailableError as error:
            session.ended = Ended(None, str(error), lasting=error.code in UNUSABLE)
        finally:
            self._presence.disconnected()
            link.close()
            self._outbox.collect(session)
        if stop.is_set():
            self._set_state("stopped", None, link.where)
            return 0.0
        return self._after(session)

    def _after(self, session: Session) -> float:
        ended = session.ended or Ended(None, "the broker does not answer")
        stood_ns = self._clock.mono_ns() - session.since_ns if session.since_ns else 0
        if session.answered or stood_ns > _STABLE_NS:
            self._backoff.reset()
        if stood_ns > _STABLE_NS:
            self._told.clear()
        lasting = ended.lasting or ended.code in NEEDS_A_PERSON
        self._hopeless = self._hopeless or lasting
        self._set_state("refused" if lasting else "connecting", ended.words, session.link.where)
        if self._dial.more:
            return 0.0
        slow, self._hopeless = self._hopeless, False
        return self._dial.settings.slow_retry_s if slow else self._backoff.next()

    def _await_accepted(self, session: Session, stop: Stop) -> None:
        deadline_ns = self._clock.mono_ns() + int(self._dial.settings.connect_timeout_s * _S)
        while session.ended is None and not session.window and not stop.is_set():
            left_ns = deadline_ns - self._clock.mono_ns()
            if left_ns <= 0:
                session.ended = Ended(None, "the broker does not answer the connect")
                return
            session.link.pump(min(_TURN_S, left_ns / _S), self._waker.descriptor)
            self._digest(session)

    def _greet(self, session: Session) -> None:
        self.stats.connects += 1
        session.since_ns = self._clock.mono_ns()
        if self._commands:
            session.link.subscribe([self._identity.topic(suffix) for suffix in self._commands])
        self._set_state("online", None, session.link.where)
        self._presence.connected()

    def _serve(self, session: Session, stop: Stop) -> None:
        looked_ns = session.since_ns
        while session.ended is None:
            if self._clock.mono_ns() - looked_ns > _LOOK_NS:
                looked_ns = self._clock.mono_ns()
                if self._dial.renewed():
                    self._drain(session)
                    return
            wait_s = self._outbox.fill(session)
            session.link.pump(wait_s, self._waker.descriptor)
            self._digest(session)
            self._watch(session)
            if stop.is_set():
                done = self._outbox.done and not session.sent
                if done or stop.left_s < _FLUSH_UNTIL_S:
                    self._farewell(session)
                    return

    def _drain(self, session: Session) -> None:
        """Leave a connection with nothing in flight, because the next one is to have the new certificates."""
        logger.info("the TLS files have changed: connecting to the broker with the new ones")
        self._await_answers(session, _DRAIN_NS)
        session.link.disconnect()
        session.link.pump(0.0, self._waker.descriptor)
        session.ended = session.ended or Ended(None, "the TLS files have changed")

    def _await_answers(self, session: Session, most_ns: int) -> None:
        deadline_ns = self._clock.mono_ns() + most_ns
        while session.sent and session.ended is None and self._clock.mono_ns() < deadline_ns:
            session.link.pump(0.05, self._waker.descriptor)
            self._digest(session)

    # --- what happened

    def _digest(self, session: Session) -> None:
        acked: list[Row] = []
        for happening in session.link.happened():
            if isinstance(happening, Answered):
                self._outbox.answered(session, happening, acked)
            else:
                self._other(session, happening)
        if acked:
            self._spool.acked(acked)
            if self._on_acked is not None:
                self._on_acked(acked)

    def _other(self, session: Session, happening: Happening) -> None:
        if isinstance(happening, Accepted):
            session.window = max(1, min(self._dial.settings.window, happening.receive_maximum))
            session.packet_max = happening.packet_max
            self.stats.window = session.window
        elif isinstance(happening, Ended):
            session.ended = session.ended or happening
        elif isinstance(happening, SubscribeAnswered):
            worst = max(happening.codes)
            self.stats.commands_refused = words(worst) if worst >= FAILURE else None
            if worst >= FAILURE:
                logger.error("the broker refuses our subscription to commands: %s", words(worst))
        elif isinstance(happening, Inbound):
            self._command(happening)

    def _command(self, message: Inbound) -> None:
        self.stats.commands += 1
        if self._on_command is None:
            return
        try:
            self._on_command(message)
        except Exception:  # the boundary to foreign code: results must flow whatever it does
            self.stats.callback_errors += 1
            logger.exception("the callback for %s failed", message.topic)

    def _watch(self, session: Session) -> None:
        """End a connection whose broker does not answer."""
        oldest = next(iter(session.sent.values()), None)
        if oldest is None or session.ended is not None:
            return
        age_s = (self._clock.mono_ns() - oldest.mono_ns) / _S
        if age_s > self._dial.settings.ack_timeout_s:
            session.ended = Ended(None, f"the broker has not acknowledged a publish for {age_s:.1f} s")

    def _farewell(self, session: Session) -> None:
        """Say that we stop on purpose, if the broker still listens; otherwise its Will says that we vanished."""
        if session.room <= 0:
            return
        self._outbox.farewell(session, self._presence.farewell())
        self._await_answers(session, _FAREWELL_NS)
        session.link.disconnect()
        session.link.pump(0.0, self._waker.descriptor)

    def _set_state(self, state: str, reason: str | None, where: str) -> None:
        """Log a change once; the same again is silence, also when several brokers take turns or one flaps."""
        stats = self.stats
        stats.state, stats.reason, stats.broker = state, reason, where
        told = (state, where, reason)
        if told in self._told:
            return
        self._told.add(told)
        if state == "online":
            logger.info("connected to the broker at %s, window %d", where, stats.window)
        elif state == "stopped":
            logger.info("left the broker at %s", where)
        else:
            logger.warning("not connected to the broker at %s: %s", where, reason)
