"""Joins the registry to the running box: has it looked at, tells what came of it, starts what arrives first.

Legal order: open the block -> ``attach`` the settings of a line, which says what its slots run -> ``attach`` those of
the next one ... A service looks at the registry for as long as what is asked of it stays the same. What does the
looking is a process of its own, so nothing that a registry does or fails to do reaches the line.

Threads: ``attach`` belongs to the daemon's; ``figures`` and the handlers may be used by any.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_runtime.app.command_desk import BOX, NO_REGISTRY
from edge_runtime.app.service_block import ServiceBlock
from edge_runtime.core.command import Answer, Status
from edge_runtime.core.errors import EdgeError
from edge_runtime.core.result import Event
from edge_runtime.publish.payload import timestamp

if TYPE_CHECKING:
    from edge_runtime.app.delivery import Delivery
    from edge_runtime.app.deployments import Deployments
    from edge_runtime.app.plan import Released
    from edge_runtime.app.registry_watch import RegistryWatch
    from edge_runtime.config.schema import Settings
    from edge_runtime.core.command import Command, Reply
    from edge_runtime.publish.contract.metrics import RegistryFigures
    from edge_runtime.publish.contract.model import RegistryState
    from edge_runtime.registry.box.order import Order
    from edge_runtime.registry.box.report import Report
    from edge_runtime.system.clock import Clock

logger = logging.getLogger(__name__)

STOP_S: Final = 2.0
UNKNOWN: Final = "unknown"  # state of a registry that was not looked at yet


class Releases(ServiceBlock):
    """See the module docstring; a block."""

    def __init__(self, delivery: Delivery, clock: Clock, deployments: Deployments) -> None:
        """Look at nothing yet; ``deployments`` is told what a look finds."""
        super().__init__(STOP_S)
        self._delivery = delivery
        self._clock = clock
        self._deployments = deployments
        self._order: Order | None = None
        self._watch: RegistryWatch | None = None
        self._report: Report | None = None  # replaced as a whole by the service's thread
        self._checked_at: str | None = None

    def attach(self, settings: Settings) -> dict[str, Released]:
        """Serve ``settings`` from now on; return the release that each slot runs, if it has one.

        A directory that cannot be read counts as a slot without a release: the next look says why.
        """
        order = None
        if settings.registry is not None:
            from edge_runtime.app.registry_order import order_of_settings  # noqa: PLC0415 - not without a registry

            order = order_of_settings(settings, first=False)
        if order != self._order:
            self._end()
            self._order, self._report, self._checked_at = order, None, None
        self._deployments.prepare(settings, order)
        if order is not None and settings.registry is not None and self._watch is None:
            self._begin(order, settings.registry.poll_s)
        return {} if order is None else _current(order)

    def figures(self) -> RegistryFigures | None:
        """How the registry and the slots are; ``None`` without a registry."""
        watch, report = self._watch, self._report
        if watch is None:
            return None
        slots = () if report is None else report.slots
        deployments = self._deployments.figures()
        return {
            **self._state(report),
            "looks": watch.looks,
            "deployments": self._deployments.ends(),
            "slots": {
                one.slot: {
                    "state": one.standing.value,
                    "reason": one.reason,
                    "wanted": one.wanted,
                    "current": None if one.current is None else one.current.release,
                    "staged": None if one.staged is None else one.staged.release,
                    "revoked": one.revoked,
                    "deployment": deployments.get(one.slot),
                }
                for one in slots
            },
        }

    def _begin(self, order: Order, poll_s: float) -> None:
        from edge_runtime.app.registry_process import look  # noqa: PLC0415 - as above
        from edge_runtime.app.registry_watch import RegistryWatch  # noqa: PLC0415

        self._watch = RegistryWatch(order, poll_s, self._clock, look=look, on_report=self._on_report)
        self._start(self._watch)
        handlers = {**self._deployments.handlers(), "model.check": self._check}
        self._delivery.desk.serve(BOX, handlers)

    def _end(self) -> None:
        self._delivery.desk.serve(BOX, NO_REGISTRY)
        self._watch = None
        super()._end()

    def _check(self, command: Command, reply: Reply) -> None:
        """A hint that there may be something new; whoever sends it decides nothing but when."""
        watch, order = self._watch, self._order
        if watch is None or order is None:
            return NO_REGISTRY["model.check"](command, reply)
        if command.target is not None and command.target not in [one.slot for one in order.wants]:
            return reply(Answer(Status.UNKNOWN, f"no slot {command.target} has its model from the registry"))
        seconds = watch.nudge()
        when = "now" if seconds == 0 else f"in {seconds:.0f} s"
        return reply(Answer(Status.ACCEPTED, f"the registry is looked at {when}"))

    # --- the service's thread

    def _on_report(self, report: Report) -> None:
        from edge_runtime.app.release_news import news  # noqa: PLC0415 - as above
        from edge_runtime.registry.box.report import Contact  # noqa: PLC0415

        delivery, now_ns = self._delivery, self._clock.utc_ns()
        before, self._report = self._report, report
        if report.contact is Contact.OK:
            self._checked_at = timestamp(now_ns)
        for one in news(before, report):
            (logger.info if one.kind in ("model.current", "model.staged", "registry.ok") else logger.error)(
                "%s", one.message
            )
            delivery.put(Event("system", one.kind, one.message, now_ns, one.fields))
        self._deployments.take(report, self._state(report))

    def _state(self, report: Report | None) -> RegistryState:
        return {
            "state": UNKNOWN if report is None else report.contact.value,
            "reason": None if report is None else report.reason,
            "message": None if report is None else report.message,
            "checkedAt": self._checked_at,
        }


def _current(order: Order) -> dict[str, Released]:
    from edge_runtime.app.deployment_store import DeploymentStore  # noqa: PLC0415 - not without a registry

    store = DeploymentStore(order.root)
    found = {}
    for want in order.wants:
        try:
            released = store.running(want.slot, want.model)
        except EdgeError as error:
            logger.error("slot %s: its release cannot be read: %s", want.slot, error)  # noqa: TRY400 - no bug of ours
            continue
        if released is not None:
            found[want.slot] = released
    return found
