"""The daemon: delivery (spool and broker connection) around a line, for as long as nobody says stop.

Legal order: lock the state directory -> delivery opens -> first event -> line starts -> ready -> ... -> line settles
everything -> delivery drains -> unlock. A reload (SIGHUP) validates first; a wrong configuration changes nothing. A
right one ends the line and starts a new one; delivery stays unless its own settings changed.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from enum import Enum
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from edge_runtime import __version__
from edge_runtime.app.assembly import LineService
from edge_runtime.app.command_desk import LINE
from edge_runtime.app.controllers import Controllers
from edge_runtime.app.delivery import Delivery, delivery_settings
from edge_runtime.app.deployments import Deployments
from edge_runtime.app.leftovers import FlightFiles
from edge_runtime.app.line_commands import LineCommands
from edge_runtime.app.overview import Overview
from edge_runtime.app.picture_references import PictureReferences
from edge_runtime.app.plan import plan_line
from edge_runtime.app.releases import Releases
from edge_runtime.app.reload_vet import Loaded, loaded, try_models
from edge_runtime.control.health import Health
from edge_runtime.core.errors import EdgeError, PermissionDeniedError, StorageError
from edge_runtime.core.result import Event
from edge_runtime.system.clock import SystemClock
from edge_runtime.system.files import LockFile, make_directory
from edge_runtime.system.notify import Notifier, watchdog_interval_s
from edge_runtime.system.redact import redact
from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_runtime.config.schema import Settings
    from edge_runtime.core.result import Counters
    from edge_runtime.pipeline.facts import ModelFacts
    from edge_runtime.pipeline.flight import FlightRecorder
    from edge_runtime.publish.spool.store import Row

logger = logging.getLogger(__name__)

LOCK_FILE = "lock"
CACHE_DIR = "cache"
RESULT_STREAM = "result/"
STOP_S = 4.5  # SIGTERM must end the daemon within 5 s; the rest is for the interpreter
LINE_STOP_S = 3.0  # of them, for a line whose processes do not end by themselves (assembly.FINISH_S, Supervisor.stop)


class Wish(Enum):
    """What the outside asked of a running daemon."""

    STOP = "stop"
    RELOAD = "reload"
    RESTART = "restart"  # of the line alone, with the settings that it has


class Control:
    """Carries wishes to the daemon; from any thread and from signal handlers, at any instruction of ``wait``."""

    def __init__(self) -> None:
        """Nothing is wished yet."""
        self._end_s = math.inf  # when all is to be over; stays, once it is set
        self._wishes: SimpleQueue[Wish] = SimpleQueue()  # see Stop.set for why it is no Event

    def stop(self) -> None:
        """Ask for the end; wins over a reload."""
        if not self.stopping:
            self._end_s = time.monotonic() + STOP_S
        self._wishes.put(Wish.STOP)

    def reload(self) -> None:
        """Ask for a reload; several that nobody has taken yet are one."""
        if self._wishes.empty():
            self._wishes.put(Wish.RELOAD)

    def restart(self) -> None:
        """Ask for the line to be started anew."""
        self._wishes.put(Wish.RESTART)

    @property
    def stopping(self) -> bool:
        """Whether somebody asked for the end."""
        return self._end_s < math.inf

    def left_s(self) -> float:
        """Seconds until all is to be over: endless before somebody asks for the end."""
        return self._end_s - time.monotonic()

    def wait(self, timeout_s: float) -> Wish | None:
        """Return the wish that came within ``timeout_s`` seconds and take it, ``None`` without one; STOP stays."""
        wish = None
        if not self.stopping:
            with contextlib.suppress(Empty):
                wish = self._wishes.get(timeout=timeout_s)
        return Wish.STOP if self.stopping else wish


@dataclass(frozen=True, slots=True)
class Environment:
    """What the service manager told us."""

    notify_socket: str | None
    watchdog_usec: str | None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Environment:
        """Read the variables of sd_notify(3)."""
        return cls(environ.get("NOTIFY_SOCKET"), environ.get("WATCHDOG_USEC"))


@dataclass(frozen=True, slots=True)
class Report:
    """What the last line of a daemon did, after it ended: counters by inspection, facts by model slot.

    ``seqs`` holds the newest committed seq by inspection, ``acked`` the results that the broker acknowledged.
    """

    counters: Mapping[str, Counters]
    models: Mapping[str, ModelFacts | None]
    seqs: Mapping[str, int]
    acked: int

    def committed(self, inspection: str) -> int:
        """Results of an inspection that were ever committed in its state directory."""
        return self.seqs.get(inspection, 0)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What outlives a line."""

    delivery: Delivery
    commands: LineCommands
    controllers: Controllers
    deployments: Deployments
    releases: Releases

    @property
    def failed(self) -> bool:
        parts = (self.delivery, self.commands, self.controllers, self.deployments, self.releases)
        return any(one.failed for one in parts)


class Daemon:
    """See the module docstring. ``run`` blocks in the calling thread until ``control`` says stop."""

    def __init__(
        self,
        settings: Settings,
        control: Control,
        *,
        reload: Callable[[], Settings],
        environment: Environment,
        mask: Callable[[str], str] = redact,
    ) -> None:
        """Run ``settings``; ``reload`` reads them again and raises ConfigError when they are wrong.

        ``mask`` gives back a text of the configuration without secrets.
        """
        self._mask = mask
        self._settings = settings
        self._control = control
        self._reload = reload
        self._notifier = Notifier(environment.notify_socket)
        self._watchdog_s = watchdog_interval_s(environment.watchdog_usec)
        self._clock = SystemClock()
        self.boot_id = uuid.uuid4().hex
        self.report: Report | None = None
        self._acked = 0
        self._stays: Event | None = None  # what to tell in the next delivery about the one before
        self._frames_begun: dict[str, int] = {}
        self._loaded: frozenset[Loaded] = frozenset()  # what the configuration in force names

    def run(self) -> None:
        """Run until stopped.

        Raises:
            BusyError: another daemon holds the state directory.
            StorageError: the state directory cannot be used.
            PermissionDeniedError: it may not be used.
            ExceptionGroup: a part of the daemon failed; systemd starts it again.
        """
        running = True
        while running:
            state_dir = self._settings.state_dir
            make_directory(state_dir)
            with LockFile(state_dir / LOCK_FILE), closing(FlightFiles(state_dir, self.boot_id)) as flight:
                running = self._deliver(flight)
        self._notifier.send("STOPPING=1")

    def _deliver(self, flight: FlightFiles) -> bool:
        """Run lines until delivery's own settings change; return whether to go on with the new ones."""
        wanted = delivery_settings(self._settings)
        with (
            Delivery(
                self._settings,
                self.boot_id,
                self._clock,
                flight.recorder,
                on_acked=self._count_acked,
                left_s=self._control.left_s,
            ) as delivery,
            self._line_commands(delivery) as commands,
            Controllers(delivery, self._clock) as controllers,
            Deployments(delivery, self._clock, self._control.restart) as deployments,
            Releases(delivery, self._clock, deployments) as releases,
        ):
            delivery.desk.serve(LINE, commands.handlers)
            flight.begin(list(self._settings.inspections), delivery.last_committed)
            born = flight.event(self._clock.utc_ns(), __version__)
            for told in (born, delivery.jobs.event(self._clock.utc_ns()), self._stays):
                if told is not None:
                    delivery.put(told)
            self._stays = None
            parts = _Parts(delivery, commands, controllers, deployments, releases)
            running = self._run_line(parts, flight.recorder)
            while running and delivery_settings(self._settings) == wanted:
                flight.expect(list(self._settings.inspections), delivery.last_committed)
                running = self._run_line(parts, flight.recorder)
        self._note_delivered(delivery)
        return running

    def _line_commands(self, delivery: Delivery) -> LineCommands:
        return LineCommands(
            self._settings.state_dir,
            self._clock,
            tell=delivery.put,
            show=delivery.show,
            accepted=delivery.jobs.enter,
            restart=self._control.restart,
            mask=self._mask,
        )

    def _run_line(self, parts: _Parts, flight: FlightRecorder) -> bool:
        """Run one line until a wish ends it; return whether to go on with the (new) settings."""
        settings, delivery, commands = self._settings, parts.delivery, parts.commands
        released = parts.releases.attach(settings)
        plan = plan_line(settings, cpus=len(os.sched_getaffinity(0)), released=released)
        self._loaded = loaded(plan_line(settings, cpus=1).slots)
        cache_dir = _cache_dir(settings)
        setups = commands.setups(plan)
        for item in plan.inspections:
            setup = setups[item.spec.id]
            delivery.set_up(item.spec.id, paused=setup.paused, recipe=setup.recipe or item.ref.id)
        with ExitStack() as stack:
            line = LineService(
                plan,
                delivery,
                flight,
                cache_dir=cache_dir,
                frames_begun=self._frames_begun,
                setups=setups,
            )
            stack.callback(line.close)
            references = PictureReferences(
                line, settings.state_dir, self._clock, tell=delivery.put, note=delivery.desk.note
            )
            overview = Overview(line, delivery, parts.releases, references)
            commands.attach(line, settings)
            stack.callback(commands.detach)
            parts.controllers.attach(line, settings)
            stack.callback(parts.controllers.detach)
            parts.deployments.attach(line, settings)
            stack.callback(parts.deployments.detach)
            watchdog_s = self._watchdog_s
            health = Health(overview, settings.state_dir, self._notifier, clock=self._clock, watchdog_s=watchdog_s)
            with ServiceGroup(join_timeout_s=LINE_STOP_S) as group:
                group.start(line)
                group.start(health)
                self._notifier.send("READY=1")
                running = self._wait(group, parts, line)
            self._frames_begun |= line.frames_begun()
            self.report = Report(line.counters(), line.models(), {}, 0)
        return running and not self._control.stopping  # it may have come since

    def _note_delivered(self, delivery: Delivery) -> None:
        """Complete the report when delivery has drained."""
        if self.report is not None:
            seqs = {name: (delivery.spool.last_committed(name) or (0, 0))[0] for name in self.report.counters}
            self.report = replace(self.report, seqs=seqs, acked=self._acked)

    def _count_acked(self, rows: Sequence[Row]) -> None:
        self._acked += sum(1 for row in rows if row.stream.startswith(RESULT_STREAM))

    def _wait(self, group: ServiceGroup, parts: _Parts, line: LineService) -> bool:
        """Wait for a wish; return whether to go on. A failed part ends the wait, its group raises the failure."""
        while not (group.stop.is_set() or parts.failed):
            wish = self._control.wait(0.2)
            if wish is Wish.STOP:
                logger.info("stopping")
                self._notifier.send("STOPPING=1")
                return False
            if wish is Wish.RESTART:
                logger.info("the line is started anew")
                return True
            if wish is Wish.RELOAD and self._reloaded(parts, line, group):
                return True
        return False

    def _reloaded(self, parts: _Parts, line: LineService, group: ServiceGroup) -> bool:
        """Read the configuration again; return whether there is a good new one."""
        delivery = parts.delivery
        self._notifier.send("RELOADING=1")
        try:
            settings = self._reload()
            self._try_state_dir(settings.state_dir)
            plan = plan_line(settings, cpus=len(os.sched_getaffinity(0)))
            try_models(
                line, plan.slots, self._loaded, lambda: self._control.stopping or group.stop.is_set() or parts.failed
            )
        except (EdgeError, OSError) as error:
            report, code = (error.report(), error.code) if isinstance(error, EdgeError) else (str(error), "os.error")
            logger.error("the new configuration is refused, the old one goes on:\n%s", report)  # noqa: TRY400 - for people
            self._event(delivery, "config.refused", f"the new configuration is refused: {code}")
            self._notifier.send("READY=1")
            return False
        left, old = delivery.spool.stats().depth, self._settings.state_dir
        if left and self._moves_to(settings.state_dir):
            message = f"{left} results that no broker has acknowledged stay in {old}; run with it to send them"
            logger.warning("%s", message)
            fields: dict[str, object] = {"count": left, "stateDir": str(old)}
            self._stays = Event("system", "spool.left_behind", message, self._clock.utc_ns(), fields)
        self._settings = settings
        logger.info("the new configuration is taken")
        self._event(delivery, "config.reloaded", "the new configuration is taken")
        return True

    def _moves_to(self, state_dir: Path) -> bool:
        return os.path.realpath(state_dir) != os.path.realpath(self._settings.state_dir)

    def _try_state_dir(self, state_dir: Path) -> None:
        """See that another state directory can be used, while the line still runs in the old one.

        Raises:
            BusyError: another daemon holds it.
            StorageError: it cannot be used.
            PermissionDeniedError: it may not be used.
        """
        if self._moves_to(state_dir):
            make_directory(state_dir)
            with LockFile(state_dir / LOCK_FILE):
                return

    def _event(self, delivery: Delivery, kind: str, message: str) -> None:
        delivery.desk.note(kind, {"message": message})
        delivery.put(Event("system", kind, message, self._clock.utc_ns()))


def _cache_dir(settings: Settings) -> Path | None:
    """Where compiled models are kept; a disk that refuses costs start-up time, not the line."""
    if not settings.engine.cache:
        return None
    path = settings.state_dir / CACHE_DIR
    try:
        make_directory(path)
    except (StorageError, PermissionDeniedError) as error:
        logger.warning("compiled models cannot be cached: %s", error)
        return None
    return path
