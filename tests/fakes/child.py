"""A child process that is none: it remembers what it was told. Tests/contract holds it against the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeChild:
    """What pipeline code uses of ``system.process.Child``."""

    def __init__(self, *, name: str = "camera/top", started_mono_ns: int = 0, restarts: int = 0) -> None:
        self.name = name
        self.pid = (1 << 22) + 7  # of no process: the kernel has none above
        self.restarts = restarts
        self.started_mono_ns = started_mono_ns
        self.sent: list[dict[str, object]] = []
        self.killed: list[str] = []
        self.gone = False

    def send(self, message: Mapping[str, object]) -> bool:
        if not self.gone:
            self.sent.append(dict(message))
        return not self.gone

    def kill(self, reason: str) -> None:
        self.killed.append(reason)
