"""A part of the daemon whose service comes and goes with the settings, while the part itself stays."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from edge_runtime.system.service import ServiceGroup

if TYPE_CHECKING:
    from types import TracebackType

    from edge_runtime.system.service import Service


class ServiceBlock:
    """A block; who derives from it calls `_start` when there is something to do, and may add to `_end`.

    Threads: all of it belongs to the daemon's.
    """

    def __init__(self, stop_s: float) -> None:
        """Run nothing yet; a service is given ``stop_s`` seconds to end."""
        self._stop_s = stop_s
        self._group: ServiceGroup | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Nothing runs before there is something to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the service.

        Raises:
            ExceptionGroup: it had failed.
        """
        self._end()

    @property
    def failed(self) -> bool:
        """Whether the service failed; leaving the block raises why."""
        return self._group is not None and self._group.stop.is_set()

    def _start(self, service: Service) -> None:
        """Run ``service``, the only one."""
        self._group = self._stack.enter_context(ServiceGroup(join_timeout_s=self._stop_s))
        self._group.start(service)

    def _end(self) -> None:
        """End it, if it runs.

        Raises:
            ExceptionGroup: it had failed.
        """
        self._stack.close()
        self._group = None
