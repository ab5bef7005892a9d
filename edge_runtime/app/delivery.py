"""Delivery: spool and broker connection, which outlive every line of this process.

Commands come in through the same connection and go to the ``desk``.

Threads: ``put``, ``publish_metrics``, ``latency`` and the figures may be used by any thread.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, Self

from edge_runtime import __version__
from edge_runtime.app import sparkplug
from edge_runtime.app.command_desk import make_desk
from edge_runtime.app.command_replay import spool_handlers
from edge_runtime.app.committed import Committed
from edge_runtime.app.open_jobs import OpenJobs
from edge_runtime.core.result import Event, Result
from edge_runtime.publish.mqtt.client import Address, MqttDial, MqttSettings, TlsSettings
from edge_runtime.publish.mqtt.link import Outgoing
from edge_runtime.publish.mqtt.publisher import Publisher
from edge_runtime.publish.payload import Identity
from edge_runtime.publish.spool.limits import Durability, Policy, SpoolLimits
from edge_runtime.publish.spool.spool import Spool
from edge_runtime.system.clock import kernel_boot
from edge_runtime.system.metrics import Window
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from edge_runtime.config.delivery import Mqtt
    from edge_runtime.config.delivery import Spool as SpoolSettings
    from edge_runtime.config.schema import Settings
    from edge_runtime.pipeline.flight import FlightRecorder
    from edge_runtime.publish.contract.status import StatusFields
    from edge_runtime.publish.mqtt.link import Inbound
    from edge_runtime.publish.spool.store import Row
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

SPOOL_FILE = "spool.db"
SPOOL = "spool"  # who carries out commands about it
COMMANDS = ("cmd/#",)
CONTROLLER = "plc"
NS_PER_MS = 1e6
MB = 1 << 20
READER_EXPIRY_S = 60  # for so long the broker keeps what a reader of ours misses
PICTURE_EXPIRY_S = 30
STOP_S = 3.0
STOP_MIN_S = 1.0  # however late it is: what was put is to be committed


class AckListener(Protocol):
    """Who measures acknowledgements (``bench``, ``demo``); called by the publisher's thread."""

    def __call__(self, rows: Sequence[Row], /) -> None:
        """The broker has just acknowledged ``rows``."""
        ...


def delivery_settings(settings: Settings) -> tuple[object, ...]:
    """Return what delivery is made of; while it is equal, a reload leaves delivery alone."""
    box = (settings.site, settings.line, settings.edge, settings.state_dir)
    return (*box, settings.mqtt, settings.spool, settings.commands, *sparkplug.sparkplug_settings(settings))


class Delivery:
    """See the module docstring. Open it as a block; on leaving it drains for at most ``STOP_S``."""

    def __init__(
        self,
        settings: Settings,
        boot_id: str,
        clock: Clock,
        flight: FlightRecorder,
        *,
        on_acked: AckListener | None = None,
        left_s: Callable[[], float] = lambda: STOP_S,
    ) -> None:
        """Prepare; nothing is opened before the block. What is committed leaves ``flight``.

        ``left_s`` tells how many seconds there are for the drain when the block is left.
        """
        self.boot_id = boot_id
        self.identity = identity = Identity(settings.site, settings.line, settings.edge, settings.mqtt.topic_root)
        self.spool = Spool(
            settings.state_dir / SPOOL_FILE,
            identity,
            boot_id,
            clock,
            limits=spool_limits(settings.spool),
            durability=Durability(settings.spool.durability),
            kernel_boot=kernel_boot(),
            on_committed=self._committed,
            on_lost=self._lost,
        )
        self._publisher = Publisher(
            MqttDial(mqtt_settings(settings.mqtt, settings.client_id, session_expiry_s=settings.mqtt.session_expiry_s)),
            self.spool,
            identity,
            boot_id,
            clock,
            on_command=self._command,
            on_acked=on_acked,
            commands=COMMANDS,
        )
        self.desk = make_desk(settings, identity, boot_id, clock, post=self._publisher.post, tell=self.put)
        self.desk.serve(SPOOL, spool_handlers(self.spool))
        self._sparkplug = sparkplug.make_session(settings, self.spool, boot_id, clock, self.desk.inner.ask)
        self.committed = Committed(lambda: self.spool.stats().state == "ok")
        self.jobs = OpenJobs(settings.state_dir)
        self._on_signal: Callable[[Inbound, list[str]], None] | None = None
        self._flight = flight
        self._windows: dict[str, Window] = {}
        self._status: StatusFields = {}
        self._left_s = left_s
        self._group = ServiceGroup(join_timeout_s=STOP_S)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Open the spool and start to deliver what earlier boots left.

        Raises:
            BusyError: another process holds the spool.
            StorageError: the spool cannot be opened.
            PermissionDeniedError: it may not be opened.
        """
        with ExitStack() as stack:
            stack.callback(self._publisher.close)
            if self._sparkplug is not None:
                stack.callback(self._sparkplug.close)
            self.spool.open()
            self.jobs.begin()
            stack.callback(self.jobs.close)
            stack.callback(self.spool.close)
            self.desk.serve("spool", spool_handlers(self.spool))
            self.desk.open(__version__)
            stack.callback(self.desk.close)
            stack.enter_context(self._group)
            self.tell_status()
            self._group.start(self.spool)
            self._group.start(self._publisher)
            for service in self.desk.services:
                self._group.start(service)
            if self._sparkplug is not None:
                self._group.start(self._sparkplug)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit what was put, send what can be sent, say goodbye.

        Raises:
            ExceptionGroup: a thread of delivery had failed.
        """
        self._group.join_timeout_s = max(STOP_MIN_S, min(STOP_S, self._left_s()))
        self.spool.finish()
        self._stack.__exit__(kind, error, trace)

    @property
    def failed(self) -> bool:
        """Whether a thread of delivery failed; leaving the block raises why."""
        return self._group.stop.is_set()

    @property
    def last_committed(self) -> Callable[[str], tuple[int, int] | None] | None:
        """Tells (seq, frame id) of the newest committed result; ``None`` while the spool cannot be read."""
        return self.spool.last_committed if self.spool.stats().state == "ok" else None

    def put(self, item: Result | Event) -> None:
        """Take a result or an event (``pipeline.line.Sink``); never blocks."""
        if isinstance(item, Result):
            self.latency(item.inspection).add(item.timings.total)
            self.jobs.put(item)
            self.committed.put(item)
        else:
            logger.debug("event %s: %s", item.kind, item.message)
            if self._sparkplug is not None:
                sparkplug.note(self._sparkplug, item)
        self.spool.put(item)

    def latency(self, inspection: str) -> Window:
        """Capture to evaluation of the newest results of one inspection, ms."""
        return self._windows.setdefault(inspection, Window())

    def tell_status(self) -> None:
        """Keep the retained ``status`` true: which version speaks, and whether what it puts is durable."""
        stats = self.spool.stats()
        status: StatusFields = {"version": __version__, "spool": {"state": stats.state, "reason": stats.reason}}
        if status != self._status:
            self._status = status
            self._publisher.set_status(status)

    def set_up(self, inspection: str, *, paused: bool, recipe: str) -> None:
        """Say what an inspection begins with; later changes are events."""
        if self._sparkplug is not None:
            self._sparkplug.set_up(inspection, paused=paused, recipe=recipe)

    def set_info(self, fields: Mapping[str, object]) -> None:
        """Say what this box is made of, retained."""
        self._publisher.set_info(fields)

    def publish_metrics(self, document: Mapping[str, object]) -> None:
        """Send figures to whoever subscribed to them."""
        self._publisher.put_metrics(document)

    def show(self, camera: str, jpeg: bytes) -> bool:
        """Send a picture to whoever subscribed to it, once; ``False`` when too much waits for the broker."""
        topic = self.identity.topic(f"image/{camera}")
        picture = Outgoing(topic, jpeg, qos=0, expiry_s=PICTURE_EXPIRY_S, content_type="image/jpeg")
        return self._publisher.post(picture)

    def show_newest(self, document: Outgoing) -> None:
        """Publish a retained document; while the broker is away only the newest per topic is kept."""
        self._publisher.put_document(document)

    def on_signal(self, receiver: Callable[[Inbound, list[str]], None] | None) -> None:
        """Name who takes messages of controllers, with the levels that follow ``cmd/plc``; ``None``: nobody."""
        self._on_signal = receiver

    def broker(self) -> dict[str, object]:
        """How the connection is, as JSON-able values."""
        stats = self._publisher.stats
        return {
            "state": stats.state,
            "reason": stats.reason,
            "broker": stats.broker,
            "connects": stats.connects,
            "acked": stats.acked,
            "refused": stats.refused,
            "noSubscribers": stats.no_subscribers,
            "commandsRefused": stats.commands_refused,
        }

    def sparkplug(self) -> dict[str, object] | None:
        """How the Sparkplug node is, as JSON-able values; ``None`` without one."""
        return None if self._sparkplug is None else sparkplug.document(self._sparkplug)

    def reasons(self) -> tuple[str, ...]:
        """Why delivery is not as it should be; results wait meanwhile, so this stops nothing."""
        stats = self.spool.stats()
        return () if stats.state == "ok" else (f"spool: {stats.detail}",)

    def _command(self, message: Inbound) -> None:
        levels = (self.identity.suffix(message.topic) or "").split("/")
        receiver = self._on_signal
        if receiver is not None and levels[1:2] == [CONTROLLER]:
            receiver(message, levels[2:])
        else:
            self.desk.take(message)

    def _committed(self, frames: list[tuple[str, int]]) -> None:
        self.committed.committed(frames)
        self._forget(frames)

    def _lost(self, frames: list[tuple[str, int]]) -> None:
        self.committed.lost(frames)
        self._forget(frames)

    def _forget(self, frames: list[tuple[str, int]]) -> None:
        self.jobs.settled(frames)
        for inspection, frame_id in frames:
            self._flight.leave(inspection, frame_id)


def spool_limits(settings: SpoolSettings) -> SpoolLimits:
    """Translate the configuration's section; half of the room may be kept results, as long as it is not needed."""
    return SpoolLimits(
        max_bytes=settings.max_mb * MB,
        max_age_s=settings.max_age_h * 3600,
        keep_s=settings.retention_min * 60,
        keep_bytes=settings.max_mb * MB // 2,
        policy=Policy(settings.evict),
        drain_per_s=settings.drain_per_s,
    )


def mqtt_settings(settings: Mqtt, client_id: str, *, session_expiry_s: int = READER_EXPIRY_S) -> MqttSettings:
    """Translate the configuration's section; the loader has put what stands in ``password_file`` into ``password``."""
    tls = settings.tls
    secret = settings.password.get_secret_value() if settings.password is not None else None
    return MqttSettings(
        host=settings.host.strip("[]"),
        port=settings.port,
        fallback=tuple(Address.parse(text) for text in settings.fallback),
        client_id=client_id,
        username=settings.username,
        password=secret,
        tls=None if tls is None else TlsSettings(ca=tls.ca_file, cert=tls.cert_file, key=tls.key_file),
        keepalive_s=settings.keepalive_s,
        cloudevents=settings.cloudevents,
        session_expiry_s=session_expiry_s,
        will_delay_s=settings.will_delay_s,
        require_subscriber=settings.require_subscriber,
    )
