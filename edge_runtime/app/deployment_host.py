"""What the slots of a box need of the service that they live in, and what stands in for a model needs of its slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.app.assembly import LineService
    from edge_runtime.app.deployment_store import DeploymentStore
    from edge_runtime.app.lots_file import LotsFile
    from edge_runtime.config.schema import Model
    from edge_runtime.config.updates import Updates
    from edge_runtime.pipeline.slot import SlotSpec
    from edge_runtime.registry.box.order import Want
    from edge_runtime.registry.box.report import Ban, SlotReport
    from edge_runtime.system.clock import Clock


class Host(Protocol):
    """What a slot needs of the service that it lives in."""

    clock: Clock
    store: DeploymentStore
    updates: Updates
    configured: Mapping[str, Model]
    line: LineService | None
    lots: LotsFile

    def later(self, work: Callable[[], None]) -> bool:
        """Have ``work`` done in the thread of the service, ``False`` when it cannot be; from any thread."""
        ...

    def tell(self, kind: str, message: str, fields: Mapping[str, object]) -> None:
        """Write it into the audit trail and say it as an event."""
        ...

    def restart(self) -> None:
        """Have the line started anew."""
        ...


class ServedSlot(Protocol):
    """A slot, as what stands in for its model sees it; in the thread of the service."""

    want: Want
    host: Host
    note: tuple[str, str, str] | None
    is_changed: bool
    report: SlotReport | None

    @property
    def bans(self) -> tuple[Ban, ...]:
        """Which of its releases must not run."""
        ...

    @property
    def is_judging(self) -> bool:
        """Whether the candidate of a deployment may be judging."""
        ...

    def base(self, line: LineService) -> SlotSpec:
        """Return what it was planned with."""
        ...

    def give_way(self, reason: str, message: str) -> None:
        """End a deployment that does not judge yet."""
        ...
