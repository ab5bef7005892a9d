"""The thread that carries deployments out, for all slots of a box that has a registry.

Everything that happens (a look at the registry, an answer of the line, a command) waits in one bounded channel and is
taken in its order; a second of time is an event, too. What the disk takes long for delays a deployment and nothing
else: the line has its own thread, and never waits for this one.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from edge_runtime.app.deployment_commands import DeploymentCommands
from edge_runtime.app.deployment_store import DeploymentStore
from edge_runtime.app.lots_file import LotsFile
from edge_runtime.app.release_news import deployment_info, document
from edge_runtime.app.slot_deployment import SlotDeployment
from edge_runtime.control.deployment.deployment import State
from edge_runtime.core.errors import EdgeError
from edge_runtime.core.result import Event
from edge_runtime.publish.mqtt.link import Outgoing
from edge_runtime.publish.payload import encode_model
from edge_runtime.registry.box.shelf import as_it_is, on_disk
from edge_runtime.system.channel import Channel, Closed, Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.delivery import Delivery
    from edge_runtime.config.schema import Model, Settings
    from edge_runtime.publish.contract.model import DeploymentInfo, RegistryState
    from edge_runtime.registry.box.order import Want
    from edge_runtime.registry.box.report import Report, SlotReport
    from edge_runtime.system.clock import Clock
    from edge_runtime.system.service import Stop

logger = logging.getLogger(__name__)

WORK_MAX: Final = 256
BATCH: Final = 32
SLICE_S: Final = 0.2
TICK_NS: Final = 1_000_000_000
UNKNOWN: Final[RegistryState] = {"state": "unknown", "reason": None, "message": None, "checkedAt": None}
_ENDS: Final = frozenset(one.value for one in State if one.is_over)


class DeploymentService:
    """A ``system.service.Service``, and the `deployment_host.Host` of its slots."""

    name = "deployments"

    def __init__(
        self, root: Path, delivery: Delivery, clock: Clock, settings: Settings, restart: Callable[[], None]
    ) -> None:
        """Know no slot yet."""
        self.clock = clock
        self.store = DeploymentStore(root)
        self.models = self.store.store
        self.commands = DeploymentCommands(self, settings.site, clock)
        self.updates = settings.updates
        self.configured: Mapping[str, Model] = settings.models
        self.line: LineService | None = None
        self.lots = LotsFile(settings.state_dir)
        self._restart = restart
        self._is_restarting = False
        self._wants: tuple[Want, ...] = ()
        self.shown: Mapping[str, DeploymentInfo | None] = {}  # replaced as a whole; anybody reads it
        self.ends: Mapping[str, int] = {}  # likewise
        self._delivery = delivery
        self._work: Channel[Callable[[], None]] = Channel(WORK_MAX, Policy.REJECT)
        self.slots: Mapping[str, SlotDeployment] = {}  # replaced as a whole
        self._registry: RegistryState = UNKNOWN
        self._ticked_ns = 0
        self._reports: dict[str, SlotReport] = {}
        self._said: dict[str, object] = {}  # documents by slot; when the registry was looked at is no news

    def run(self, stop: Stop) -> None:
        """Do what waits, second by second, until stopped; nothing is lost by an end at any moment."""
        while not stop.is_set():
            for work in self._work.get_batch(BATCH, SLICE_S):
                self._do(work)
            now_ns = self.clock.mono_ns()
            if now_ns - self._ticked_ns >= TICK_NS:
                self._ticked_ns = now_ns
                self._make_slots()
                self.commands.take_wishes()
                for slot in list(self.slots.values()):
                    self._do(slot.tick)
            self._show()
        for work in self._work.get_batch(WORK_MAX, 0):  # the end of a line that ended in order is no crash
            self._do(work)
        self._work.close()

    # --- from any thread

    def later(self, work: Callable[[], None]) -> bool:
        """Have ``work`` done in this thread; ``False`` when it cannot be, and then every state has its deadline."""
        try:
            taken = self._work.put(work)
        except Closed:
            return False
        if not taken:
            logger.error("more than %d events wait for deployments: the disk does not answer", WORK_MAX)
        return taken

    def attach(self, line: LineService, settings: Settings, wants: tuple[Want, ...]) -> None:
        """Use ``line``, which runs ``settings``, from now on."""
        self.later(lambda: self._attach(line, settings, wants))

    def detach(self) -> None:
        """The line is about to end."""
        self.later(lambda: self._line(None))

    def restart(self) -> None:
        """Have the line started anew, once."""
        if not self._is_restarting:
            self._is_restarting = True
            self._restart()

    def take(self, report: Report, registry: RegistryState) -> None:
        """Somebody has looked at the registry."""
        self.later(lambda: self._take(report, registry))

    # --- our own thread

    def _do(self, work: Callable[[], None]) -> None:
        """What the disk refuses, outside of what the machine waits for, is said and tried again with the next event."""
        try:
            work()
        except EdgeError as error:
            logger.warning("deployments: %s", error)

    def _attach(self, line: LineService, settings: Settings, wants: tuple[Want, ...]) -> None:
        self.updates, self.configured, self._wants = settings.updates, settings.models, wants
        self.slots = {name: slot for name, slot in self.slots.items() if slot.want in wants}
        self._is_restarting = False
        self._line(line)
        self._make_slots()

    def _line(self, line: LineService | None) -> None:
        self.line = line
        for slot in self.slots.values():
            slot.on_line(line)

    def _make_slots(self) -> None:
        """Begin with the slots that are new; one whose directory cannot be read is tried again every second."""
        for want in self._wants:
            if want.slot not in self.slots:
                self._do(partial(self._make_slot, want))

    def _make_slot(self, want: Want) -> None:
        slot = SlotDeployment(want, self)
        self.slots = {**self.slots, want.slot: slot}
        if self.line is not None:
            slot.on_line(self.line)
        report = self._reports.get(want.slot)
        if report is not None:
            slot.on_report(report)

    def _take(self, report: Report, registry: RegistryState) -> None:
        self._registry = registry
        self._reports = {one.slot: one for one in report.slots}
        for one in report.slots:
            slot = self.slots.get(one.slot)
            if slot is not None:
                slot.on_report(one)
                if one.mended or slot.is_idle:
                    logger.info("the line is started anew: there is a release for %s", one.slot)
                    self.restart()

    def conditions_changed(self) -> None:
        """See `deployment_commands.Deployments`."""
        for slot in self.slots.values():
            slot.tell_conditions()

    def tell(self, kind: str, message: str, fields: Mapping[str, object]) -> None:
        """See `deployment_host.Host`."""
        end = kind.removeprefix("deployment.")
        if end in _ENDS:
            self.ends = {**self.ends, end: self.ends.get(end, 0) + 1}
        logger.info("%s", message)
        self._delivery.desk.note(kind, {"message": message, **fields})
        self._delivery.put(Event("system", kind, message, self.clock.utc_ns(), dict(fields)))

    def _show(self) -> None:
        """Say how the slots are whose document would be another one; nothing before something is known."""
        known = [one for one in self.slots.values() if one.report is not None or one.deployment is not None]
        changed = [one for one in known if one.is_changed]
        if not changed:
            return
        self.shown = {name: deployment_info(one.deployment) for name, one in self.slots.items()}
        for one in changed:
            one.is_changed = False
            self._do(partial(self._show_slot, one))

    def _show_slot(self, slot: SlotDeployment) -> None:
        now = on_disk(self.store.store, slot.want)
        report = now if slot.report is None else as_it_is(slot.report, now)
        if slot.note is not None and report.reason is None:
            report = replace(report, reason=slot.note[1], message=slot.note[2])
        fields = document(report, self._registry, deployment_info(slot.deployment))
        told = {**fields, "registry": {**fields["registry"], "checkedAt": None}}
        if self._said.get(slot.want.slot) == told:
            return
        self._said[slot.want.slot] = told
        delivery = self._delivery
        said = encode_model(delivery.identity, delivery.boot_id, self.clock.utc_ns(), fields)
        topic = delivery.identity.topic(said.topic)
        delivery.show_newest(Outgoing(topic, said.body, said.headers, retain=True))
