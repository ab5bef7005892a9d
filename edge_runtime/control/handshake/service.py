"""Drives the hand-shakes of all inspections and shows their signals at the broker.

Each hand-shake is one retained document on ``plc/{inspection}``, published at every change and with every heartbeat.
It expires at the broker after three heartbeats, so that no old ``ready`` can be found there: a controller that sees no
new heartbeat for that long knows that the box is dead, and does not take silence for "no defect".
"""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_runtime.control.commands.policy import Bucket
from edge_runtime.control.handshake.document import encode
from edge_runtime.control.handshake.inputs import LIMIT_BYTES, Wire, parse
from edge_runtime.control.handshake.machine import Code, Handshake, Outcome, Timing, Trouble
from edge_runtime.core.errors import DataError
from edge_runtime.core.ids import RANDOM_BYTES, uuid7
from edge_runtime.core.result import Event
from edge_runtime.publish.mqtt.link import Outgoing
from edge_runtime.system.channel import Channel, Closed, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.control.handshake.machine import Job, Signals
    from edge_runtime.core.result import Result
    from edge_runtime.publish.payload import Identity
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
LINE_HUNG_NS = 2 * NS_PER_S  # a line that has not turned for so long is dead: no heartbeat
EXPIRE_AFTER = 3  # heartbeats
COUNTER_MAX = 1 << 16  # a word of a controller
QUEUE = 1024
EVENTS_PER_S = 5.0  # who floods the hand-shakes must not flood the spool
EVENTS_BURST_S = 10.0
_LOOK_NS = 100 * NS_PER_MS  # how often it is asked whether the line can judge


@dataclass(frozen=True, slots=True)
class HandshakeSpec:
    """One inspection with a hand-shake: milliseconds between heartbeats, and its deadlines."""

    inspection: str
    heartbeat_ms: int
    timing: Timing


class Surroundings(Protocol):
    """What the hand-shakes need of the running box; called by their thread."""

    def start_job(self, inspection: str, job: Job) -> None:
        """Have the next picture judged; ``Handshakes.on_refused`` or a result with the job's id follows."""
        ...

    def unavailable(self, inspection: str) -> Trouble | None:
        """Why the inspection cannot judge at the moment."""
        ...

    def line_turned_ns(self) -> int:
        """When the line's loop turned last, CLOCK_MONOTONIC; 0 while there is none."""
        ...

    def show(self, document: Outgoing) -> None:
        """Publish, keeping only the newest per topic while the broker is away."""
        ...

    def tell(self, event: Event) -> None:
        """Publish an event through the spool."""
        ...


@dataclass(slots=True)
class _Desk:
    spec: HandshakeSpec
    machine: Handshake
    heartbeat: int = 0
    next_beat_ns: int = 0
    shown: Signals | None = None
    told: Trouble | None = None


class Handshakes:
    """See the module docstring. A Service; ``on_...`` may be called from any thread and never block."""

    name = "control/handshake"

    def __init__(
        self, specs: list[HandshakeSpec], around: Surroundings, identity: Identity, boot_id: str, clock: Clock
    ) -> None:
        """Serve ``specs``; nothing is published before ``run``."""
        self._desks = {spec.inspection: _Desk(spec, Handshake(spec.timing)) for spec in specs}
        self._around = around
        self._identity = identity
        self._boot_id = boot_id
        self._clock = clock
        self._inbox: Channel[Callable[[], None]] = Channel(QUEUE, Policy.REJECT)
        self._looked_ns = 0
        self._events = Bucket(EVENTS_PER_S, clock.mono_ns(), burst_s=EVENTS_BURST_S)
        self.overflows = 0
        self.untold = 0

    @property
    def inspections(self) -> tuple[str, ...]:
        """Which inspections have a hand-shake."""
        return tuple(self._desks)

    def on_signal(self, inspection: str, name: str, payload: bytes, *, retained: bool) -> None:
        """A message came on ``cmd/plc/{inspection}/{name}``."""
        payload = payload[: LIMIT_BYTES + 1]  # one more is refused; hundreds may wait
        self._post(lambda: self._signal(inspection, name, payload, retained=retained))

    def on_result(self, result: Result) -> None:
        """A result is durable."""
        if result.job_id is not None and result.inspection in self._desks:
            self._post(lambda: self._result(result))

    def on_refused(self, inspection: str, job_id: str, text: str) -> None:
        """The line will not judge a job."""
        self._post(lambda: self._refused(inspection, job_id, text))

    def run(self, stop: Stop) -> None:
        """Serve until ``stop``, then show that nothing is ready any more."""
        while not stop.is_set():
            self.step(self._patience_s())
        self._inbox.close()
        self._available(Trouble(Code.NO_LINE, "the box is shutting down"))
        self._show()

    def step(self, timeout_s: float) -> None:
        """Do one round: what came in, what is due, what has to be shown."""
        try:
            found = self._inbox.get_batch(QUEUE, timeout_s)
        except Closed:
            found = []
        for act in found:
            act()
        now_ns = self._clock.mono_ns()
        if now_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now_ns
            for desk in self._desks.values():
                desk.machine.on_available(self._around.unavailable(desk.spec.inspection))
        for desk in self._desks.values():
            desk.machine.on_time(now_ns)
        self._show()

    def _patience_s(self) -> float:
        now_ns = self._clock.mono_ns()
        dues = [self._looked_ns + _LOOK_NS]
        for desk in self._desks.values():
            dues.append(desk.next_beat_ns)
            if desk.machine.due_ns is not None:
                dues.append(desk.machine.due_ns)
        return max(0.0, (min(dues) - now_ns) / NS_PER_S)

    def _post(self, act: Callable[[], None]) -> None:
        """Queue; what does not fit is counted: a deadline answers for it."""
        try:
            taken = self._inbox.put(act)
        except Closed:
            return
        if not taken:
            self.overflows += 1

    # --- in our thread

    def _signal(self, inspection: str, name: str, payload: bytes, *, retained: bool) -> None:
        desk = self._desks.get(inspection)
        if desk is None:
            text = f"signal {name[:40]} for {inspection[:64]}: that inspection has no hand-shake"
            self._tell("system", "handshake.refused", text, {})
            return
        try:
            signal = parse(name, payload, retained=retained)
        except DataError as error:
            desk.machine.on_bad_input(str(error))
            return
        if signal.wire is Wire.ACK:
            desk.machine.on_ack(level=signal.level)
        elif signal.wire is Wire.RESET:
            if signal.level:
                desk.machine.on_reset()
        else:
            desk.machine.on_available(self._around.unavailable(inspection))
            now_ns = self._clock.mono_ns()
            job = desk.machine.on_trigger(
                signal.part, self._job_id(), now_ns, level=signal.level, event_id=signal.event_id
            )
            if job is not None:
                self._around.start_job(inspection, job)

    def _job_id(self) -> str:
        return uuid7(max(0, self._clock.utc_ns()) // NS_PER_MS, os.urandom(RANDOM_BYTES))

    def _result(self, result: Result) -> None:
        machine = self._desks[result.inspection].machine
        job = machine.signals.job
        if job is not None:
            outcome = Outcome(job, result.evaluation, result.reason, result.id)
            if result.job_id == job.job_id and not machine.on_result(outcome, self._clock.mono_ns()):
                logger.warning("the result of job %s came after its hand-shake was over", job.job_id)

    def _refused(self, inspection: str, job_id: str, text: str) -> None:
        self._desks[inspection].machine.on_refused(job_id, text, self._clock.mono_ns())

    def _available(self, unavailable: Trouble | None) -> None:
        for desk in self._desks.values():
            desk.machine.on_available(unavailable)

    def _show(self) -> None:
        now_ns = self._clock.mono_ns()
        alive = now_ns - self._around.line_turned_ns() < LINE_HUNG_NS
        for desk in self._desks.values():
            signals = desk.machine.signals
            beat = alive and now_ns >= desk.next_beat_ns
            if beat:
                desk.heartbeat = (desk.heartbeat + 1) % COUNTER_MAX
            if now_ns >= desk.next_beat_ns:
                desk.next_beat_ns = now_ns + desk.spec.heartbeat_ms * NS_PER_MS
            if beat or signals != desk.shown:
                desk.shown = signals
                self._around.show(self._document(desk, signals))
            self._tell_trouble(desk, signals.trouble)

    def _document(self, desk: _Desk, signals: Signals) -> Outgoing:
        spec = desk.spec
        message = encode(
            spec.inspection,
            signals,
            self._identity,
            self._boot_id,
            self._clock.utc_ns(),
            heartbeat=desk.heartbeat,
            heartbeat_ms=spec.heartbeat_ms,
        )
        expiry_s = math.ceil(EXPIRE_AFTER * spec.heartbeat_ms / 1000)
        return Outgoing(
            self._identity.topic(message.topic), message.body, message.headers, retain=True, expiry_s=expiry_s
        )

    def _tell_trouble(self, desk: _Desk, trouble: Trouble | None) -> None:
        """Publish each trouble of a cycle once; that the line is not there has events of its own."""
        if trouble == desk.told:
            return
        desk.told = trouble
        if trouble is not None and trouble.code >= Code.NOT_READY:
            text = f"hand-shake of {desk.spec.inspection}: {trouble.text}"
            kind = f"handshake.{trouble.code.name.lower()}"
            self._tell(desk.spec.inspection, kind, text, {"code": int(trouble.code)})

    def _tell(self, scope: str, kind: str, text: str, fields: Mapping[str, object]) -> None:
        if not self._events.take(self._clock.mono_ns()):
            self.untold += 1
            return
        logger.warning("%s", text)
        self._around.tell(Event(scope, kind, text, self._clock.utc_ns(), dict(fields)))
