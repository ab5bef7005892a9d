"""Joins deployments to the running box: the line, the registry's looks, the desk, and one thread for all of it.

Legal order: open the block -> ``prepare`` for settings -> ``attach`` the line that runs them -> ``detach`` -> the next
``prepare`` ... A deployment outlives its line: with the next one it is loaded beside anew.

Threads: ``prepare``, ``attach`` and ``detach`` belong to the daemon's; the rest may be used by any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_runtime.app.service_block import ServiceBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.delivery import Delivery
    from edge_runtime.app.deployment_service import DeploymentService
    from edge_runtime.config.schema import Settings
    from edge_runtime.core.command import Handler
    from edge_runtime.publish.contract.model import DeploymentInfo, RegistryState
    from edge_runtime.registry.box.order import Order
    from edge_runtime.registry.box.report import Report
    from edge_runtime.system.clock import Clock

STOP_S: Final = 2.0


class Deployments(ServiceBlock):
    """See the module docstring; a block."""

    def __init__(self, delivery: Delivery, clock: Clock, restart: Callable[[], None]) -> None:
        """Carry nothing out yet; ``restart`` has the line started anew."""
        super().__init__(STOP_S)
        self._delivery = delivery
        self._clock = clock
        self._restart = restart
        self._root: Path | None = None
        self._service: DeploymentService | None = None  # replaced as a whole
        self._order: Order | None = None

    def prepare(self, settings: Settings, order: Order | None) -> None:
        """Serve the slots of ``order`` from the next line on; ``None``: there are none."""
        root = None if order is None else order.root
        if root != self._root:
            self._end()
            self._root = root
        self._order = order
        if root is not None and self._service is None:
            from edge_runtime.app.deployment_service import DeploymentService  # noqa: PLC0415 - not without a registry

            service = DeploymentService(root, self._delivery, self._clock, settings, self._restart)
            self._start(service)
            self._service = service

    def attach(self, line: LineService, settings: Settings) -> None:
        """Use ``line``, which is about to run ``settings``."""
        service, order = self._service, self._order
        if service is not None and order is not None:
            service.attach(line, settings, order.wants)

    def detach(self) -> None:
        """The line is about to end."""
        if self._service is not None:
            self._service.detach()

    def take(self, report: Report, registry: RegistryState) -> None:
        """Somebody has looked at the registry."""
        service = self._service
        if service is not None:
            service.take(report, registry)

    def handlers(self) -> Mapping[str, Handler]:
        """Who carries out commands about models, by verb; nobody without a registry."""
        service = self._service
        return {} if service is None else service.commands.handlers

    def figures(self) -> dict[str, DeploymentInfo | None]:
        """How the last deployment of each slot is."""
        service = self._service
        return {} if service is None else dict(service.shown)

    def ends(self) -> dict[str, int]:
        """How many deployments ended since the daemon started, by how."""
        service = self._service
        return {} if service is None else dict(service.ends)

    def _end(self) -> None:
        self._service = None
        super()._end()
