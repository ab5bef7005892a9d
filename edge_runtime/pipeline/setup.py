"""What an inspection is set to by commands, and from which frame on: pure.

A change takes effect between two frames: every frame up to the last one that the camera had begun belongs to the setup
before it, every later one to the new setup, whatever of them is still on its way (`SetupHistory.of`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CHANGES_KEPT: Final = 32
"""More than anybody can ask for while one frame is on its way from the camera."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What commands may set of an inspection.

    Attributes:
        recipe: id of the recipe that judges; ``None`` is the configured one.
        product_id: what results carry that name no product of their own.
        paused: frames are dropped and triggers refused.
    """

    recipe: str | None = None
    product_id: str | None = None
    paused: bool = False


AS_CONFIGURED: Final = Setup()


class SetupHistory:
    """Which setup a frame belongs to. Not thread-safe: its inspection owns it."""

    def __init__(self, first: Setup) -> None:
        """Every frame belongs to ``first`` until ``change``."""
        self._changes: list[tuple[int, Setup]] = [(0, first)]  # first frame id, ascending

    @property
    def current(self) -> Setup:
        """The newest setup."""
        return self._changes[-1][1]

    def change(self, setup: Setup, from_frame: int) -> None:
        """Let every frame from id ``from_frame`` on belong to ``setup``; ids never fall."""
        from_frame = max(from_frame, self._changes[-1][0])
        if len(self._changes) > 1 and self._changes[-1][0] == from_frame:
            del self._changes[
                -1
            ]  # no frame belongs to it, and a storm of changes must not push out those that have one
        self._changes.append((from_frame, setup))
        del self._changes[:-CHANGES_KEPT]

    def of(self, frame_id: int) -> Setup:
        """Return the setup of a frame, and forget those before it: frames come in the order of their ids."""
        while len(self._changes) > 1 and self._changes[1][0] <= frame_id:
            del self._changes[0]
        return self._changes[0][1]
