"""Drives the node: one thread with one connection at a time, which reads the spool and hands commands on.

Every connection is new: clean start, no session kept, and a Will that was built for it, because its bdSeq is
(Sparkplug 3.0, 6.4.20; principles-persistence-clean-session-50). Brokers are tried in their order, one after the other;
whatever ends a connection, the next one is tried.

States: connecting -> waiting (for the primary host) -> online -> (ended) -> connecting ...; ``refused`` while no broker
lets us in.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.core.command import Answer, Command, Status
from edge_runtime.core.errors import UnavailableError
from edge_runtime.publish.mqtt.link import (
    NEEDS_A_PERSON,
    Accepted,
    Backoff,
    Ended,
    Inbound,
    Outgoing,
    SubscribeAnswered,
)
from edge_runtime.publish.mqtt.waker import Waker
from edge_runtime.publish.sparkplug.commands import PAUSE, RECIPE
from edge_runtime.publish.sparkplug.feed import Feed
from edge_runtime.publish.sparkplug.node import Phase
from edge_runtime.publish.sparkplug.spoken import Ask, Leave, Now, Refused, Send, Subscribe
from edge_runtime.publish.sparkplug.stats import NodeStats
from edge_runtime.publish.sparkplug.topics import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_runtime.core.command import Reply
    from edge_runtime.publish.mqtt.link import Dial, Happening, Link
    from edge_runtime.publish.sparkplug.bdseq import BdSeq
    from edge_runtime.publish.sparkplug.commands import Order
    from edge_runtime.publish.sparkplug.feed import FeedStats
    from edge_runtime.publish.sparkplug.node import Node
    from edge_runtime.publish.sparkplug.spoken import Action
    from edge_runtime.publish.spool.follower import Follower
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

PRINCIPAL = "sparkplug"  # whoever may write NCMD and DCMD: a receiver cannot see who published
_S = 1_000_000_000
_MS = 1_000_000
_TURN_S = 0.25  # longest wait of the loop: how late a stop or a due birth is seen
_BUSY_S = 0.05  # while there is a backlog (feed.BATCH_PAUSE_NS)
_GAUGE_NS = _S  # the node's own numbers and the durable position, at most so often
_FAREWELL_NS = _S // 2
_FLUSH_UNTIL_S = 1.0  # of the time that a stop leaves: what is committed is sent until then
_STABLE_NS = 2 * _S
_KEEP_MARGIN_NS = 2 * _S
_COMMAND_NS = 10 * _S  # how long a command is worth carrying out, if the message does not say
_ANSWERS_MAX = 1024
_QUIET_NS = _S // 5  # between births and results: a host that reads births in another thread has them by then
_QUEUED_MAX = 1 << 20  # bytes for a broker that does not read: beyond it results stay in the spool


@dataclass(slots=True)
class _Connection:
    """One connection while it stands."""

    link: Link
    since_ns: int = 0
    births: int = 0
    ended: Ended | None = None
    left: bool = False


class SparkplugSession:
    """See the module docstring. A Service."""

    name = "publish/sparkplug"

    def __init__(
        self,
        dials: Sequence[Dial],
        node: Node,
        follower: Follower,
        bd_seq: BdSeq,
        clock: Clock,
        *,
        on_command: Callable[[Command, Reply], None],
        gauges: Callable[[], Mapping[str, int]] = dict,
        drained: Callable[[], bool] = lambda: True,
    ) -> None:
        """Publish what ``follower`` has as ``node``, through one of ``dials`` at a time.

        Args:
            dials: brokers in order; at least one.
            node: not used by anybody else.
            follower: likewise.
            bd_seq: likewise.
            clock: for intervals and labels.
            on_command: called by the session's thread; must only hand the command on. What it raises is counted,
                logged and answered.
            gauges: the node's own numbers, called about once a second; must not block.
            drained: whether nothing more will come, asked when we are to stop.
        """
        self._dials = tuple(dials)
        self._node = node
        self._follower = follower
        self._bd_seq = bd_seq
        self._clock = clock
        self._on_command = on_command
        self._gauges = gauges
        self._drained = drained
        keepalive_ns = max(dial.settings.keepalive_s for dial in self._dials) * _S
        self._feed = Feed(follower, node, keep_ns=2 * keepalive_ns + _KEEP_MARGIN_NS)
        self._waker = Waker()
        self._backoff = Backoff()
        self._server = 0
        self._next_gauge_ns = 0
        self._quiet_until_ns = 0
        self._lock = threading.Lock()  # guards _cameras, _setups and _answers
        self._cameras: dict[str, str] = {}  # newest state by camera, not taken yet
        self._setups: dict[tuple[str, str], bool | str] = {}  # newest value by inspection and metric, not taken yet
        self._answers: deque[tuple[Order, Answer]] = deque(maxlen=_ANSWERS_MAX)
        self._told: set[tuple[str, str | None, str | None]] = set()  # what was logged since a connection last stood
        self.stats = NodeStats()
        follower.set_listener(self._waker.poke)

    # --- any thread

    @property
    def feed_stats(self) -> FeedStats:
        """What became of results."""
        return self._feed.stats

    @property
    def owed(self) -> int:
        """Results that were missed and are not sent yet, an estimate."""
        return self._feed.owed

    def set_camera(self, camera: str, state: str) -> None:
        """Take a new state of a camera (``pipeline.camera_link.STATES``)."""
        with self._lock:
            self._cameras[camera] = state
        self._waker.poke()

    def set_up(self, inspection: str, *, paused: bool | None = None, recipe: str | None = None) -> None:
        """Take what an inspection is set to, whoever did that; ``None`` leaves it as it was."""
        found: dict[str, bool | str | None] = {PAUSE: paused, RECIPE: recipe}
        with self._lock:
            self._setups |= {(inspection, name): value for name, value in found.items() if value is not None}
        self._waker.poke()

    def close(self) -> None:
        """Free the descriptor of a session that will not run (again); idempotent."""
        self._follower.set_listener(None)
        self._waker.close()

    # --- the thread

    def run(self, stop: Stop) -> None:
        """Publish until ``stop``, then send what is committed while there is time, publish NDEATH and end."""
        try:
            while not stop.is_set():
                stop.wait(self._attempt(stop))
        finally:
            self.close()

    def _attempt(self, stop: Stop) -> float:
        """Live through one connection; return the pause before the next one."""
        dial = self._dials[self._server % len(self._dials)]
        self.stats.server = f"{dial.settings.host}:{dial.settings.port}"
        self.stats.bd_seq = number = self._bd_seq.take()
        will = self._node.will(number, self._now())
        connection = _Connection(dial(_outgoing(will)))
        try:
            try:
                connection.link.open(stop, clean=True)
            except UnavailableError:
                self._bd_seq.give_back()  # no CONNECT was sent
                raise
            self._serve(connection, dial, stop)
        except UnavailableError as error:
            connection.ended = Ended(None, error.message)
        finally:
            self._node.disconnected()
            connection.link.close()
        if stop.is_set():
            self._set_state("stopped", None)
            return 0.0
        return self._after(connection, dial)

    def _after(self, connection: _Connection, dial: Dial) -> float:
        ended = connection.ended or Ended(None, "the broker does not answer")
        if connection.since_ns and self._clock.mono_ns() - connection.since_ns > _STABLE_NS:
            self._backoff.reset()
            self._told.clear()
        self._server += 1
        slow = ended.code in NEEDS_A_PERSON and self._server % len(self._dials) == 0  # nobody else to try first
        self._set_state("refused" if ended.code in NEEDS_A_PERSON else "connecting", ended.words)
        return dial.settings.slow_retry_s if slow else self._backoff.next()

    def _serve(self, connection: _Connection, dial: Dial, stop: Stop) -> None:
        """Hear and speak until the connection ends or is left."""
        deadline_ns = self._clock.mono_ns() + int(dial.settings.connect_timeout_s * _S)
        while connection.ended is None:
            connection.link.pump(self._pause_s(connection), self._waker.descriptor)
            self._hear(connection)
            now = self._now()
            self._act(connection, self._node.tick(now), now)
            self._speak(connection, dial, now)
            if not connection.since_ns and now.mono_ns > deadline_ns:
                connection.ended = Ended(None, "the broker does not answer the connect")
            elif stop.is_set() and not connection.since_ns:
                return
            elif stop.is_set() and self._is_over(stop):
                self._act(connection, self._node.leave("stopped", now), now)

    def _is_over(self, stop: Stop) -> bool:
        return self._drained() or stop.left_s < _FLUSH_UNTIL_S

    def _pause_s(self, connection: _Connection) -> float:
        if not self._node.speaks():
            return _TURN_S
        held = self._held(connection, self._clock.mono_ns())
        if self._feed.more and not held:
            return 0.0
        return _BUSY_S if self._feed.owed or held else _TURN_S

    def _held(self, connection: _Connection, mono_ns: int) -> bool:
        """Whether results wait: for hosts that take in a birth, or for a broker that does not read."""
        return mono_ns < self._quiet_until_ns or connection.link.queued > _QUEUED_MAX

    # --- hear

    def _hear(self, connection: _Connection) -> None:
        for happening in connection.link.happened():
            if connection.left:
                connection.ended = connection.ended or (happening if isinstance(happening, Ended) else None)
                continue
            now = self._now()
            self._act(connection, self._digest(connection, happening, now), now)
        with self._lock:
            cameras, self._cameras = self._cameras, {}
            setups, self._setups = self._setups, {}
            answers = list(self._answers)
            self._answers.clear()
        now = self._now()
        for camera, state in cameras.items():
            self._act(connection, self._node.camera(camera, state, now), now)
        for (inspection, metric), value in setups.items():
            self._act(connection, self._node.setup(inspection, metric, value, now), now)
        for order, answer in answers:
            self._act(connection, self._node.answered(order, answer, now), now)

    def _digest(self, connection: _Connection, happening: Happening, now: Now) -> Sequence[Action]:
        if isinstance(happening, Accepted):
            connection.since_ns = now.mono_ns
            self.stats.connects += 1
            self._set_state("waiting", "the broker has not answered the subscription")
            return self._node.accepted(happening.packet_max, now)
        if isinstance(happening, Ended):
            connection.ended = connection.ended or happening
        elif isinstance(happening, SubscribeAnswered):
            self._feed.look(now)
            actions = self._node.subscribed(happening.codes, now)
            if self._node.phase is Phase.WAITING:
                self._set_state("waiting", f"primary host {self._node.spec.primary_host} is not online")
            return actions
        elif isinstance(happening, Inbound):
            self._feed.look(now) if self._node.phase is Phase.WAITING else None
            return self._node.received(happening.topic, happening.payload, now, retained=happening.retain)
        return ()

    # --- speak

    def _speak(self, connection: _Connection, dial: Dial, now: Now) -> None:
        """Send what is new and what is owed, if the node may."""
        if not self._node.speaks():
            if self._node.phase is not Phase.BORN:
                self._feed.look(now)
            return
        if self._held(connection, now.mono_ns):
            return
        self._act(connection, self._feed.live(now), now)
        self._act(connection, self._feed.history(now), now)
        if now.mono_ns >= self._next_gauge_ns:
            self._next_gauge_ns = now.mono_ns + _GAUGE_NS
            self._feed.settle(now)
            self._act(connection, self._node.gauge(self._gauges(), now), now)
            if dial.renewed():
                self._server -= 1  # the next connection is to the same one
                self._act(connection, self._node.leave("the certificates changed", now), now)

    def _act(self, connection: _Connection, actions: Sequence[Action], now: Now) -> None:
        for action in actions:
            if connection.left:
                return
            match action:
                case Send():
                    self._send(connection, action)
                case Subscribe(filters):
                    connection.link.subscribe(filters)
                case Ask(order):
                    self._ask(order, now)
                case Refused(reason):
                    self.stats.refused += 1
                    logger.warning("Sparkplug: %s", reason)
                case Leave(reason):
                    self._leave(connection, reason)

    def _send(self, connection: _Connection, message: Send) -> None:
        if message.kind is Kind.NBIRTH:
            self._born(connection)
        connection.link.publish(_outgoing(message))
        self.stats.sent[message.kind.value] += 1

    def _born(self, connection: _Connection) -> None:
        """The first birth of a connection makes everything that is not delivered historical."""
        connection.births += 1
        self._quiet_until_ns = self._clock.mono_ns() + _QUIET_NS
        if connection.births > 1:
            self.stats.rebirths += 1
            return
        self._feed.begin()
        self._set_state("online", None)

    def _leave(self, connection: _Connection, reason: str) -> None:
        """Say goodbye and see that it left: the broker then publishes the Will, too."""
        connection.left = True
        connection.link.disconnect(with_will=True)
        deadline_ns = self._clock.mono_ns() + _FAREWELL_NS
        while connection.ended is None and self._clock.mono_ns() < deadline_ns:
            connection.link.pump(0.05, self._waker.descriptor)
            for happening in connection.link.happened():
                if isinstance(happening, Ended):
                    connection.ended = happening
        connection.ended = Ended(None, reason)

    # --- commands

    def _ask(self, order: Order, now: Now) -> None:
        command = Command(
            order.verb,
            order.device,
            order.arguments,
            order.correlation_id,
            PRINCIPAL,
            now.mono_ns + _COMMAND_NS,
        )
        self.stats.commands += 1
        try:
            self._on_command(command, lambda answer: self._answered(order, answer))
        except Exception:  # the boundary to foreign code: results must flow whatever it does
            self.stats.callback_errors += 1
            logger.exception("command %s for %s failed", order.verb, order.device)
            self._answered(order, Answer(Status.FAILED, "the command failed; see the log of the daemon"))

    def _answered(self, order: Order, answer: Answer) -> None:
        """Take an answer; from any thread."""
        with self._lock:
            self._answers.append((order, answer))
        self._waker.poke()

    def _now(self) -> Now:
        return Now(self._clock.mono_ns(), self._clock.utc_ns() // _MS)

    def _set_state(self, state: str, reason: str | None) -> None:
        """Log a change once; the same again is silence, also when several servers take turns or one flaps."""
        stats = self.stats
        if (stats.state, stats.reason) == (state, reason):
            return
        stats.state, stats.reason = state, reason
        told = (state, stats.server, reason)
        if told in self._told:
            return
        self._told.add(told)
        if state in ("online", "stopped"):
            logger.info("Sparkplug at %s: %s", stats.server, state)
        elif state == "waiting":
            logger.info("Sparkplug at %s: %s", stats.server, reason)
        else:
            logger.warning("Sparkplug is not connected to %s: %s", stats.server, reason)


def _outgoing(message: Send) -> Outgoing:
    """Return the publish: QoS 1 for NDEATH, as Will and as goodbye, else 0 (payloads-*-qos); never retained."""
    return Outgoing(message.topic, message.body, qos=int(message.kind is Kind.NDEATH), content_type=None)
