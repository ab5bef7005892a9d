"""The rings this process reads from: named, and closed only when the last frame in work has let go of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from edge_runtime.system.ring import Ring

if TYPE_CHECKING:
    from edge_runtime.core.frame import SlotRef


class SharedRing:
    """A ring and how many frames in work need it; all methods from any thread."""

    def __init__(self, ring: Ring) -> None:
        """Own ``ring``, which is closed after `retire` and as many `drop` as there were `take`."""
        self.name = ring.name
        self._ring = ring
        self._users = 1  # whoever may still call `take`
        self._lock = threading.Lock()  # guards _users and the end of _ring

    def take(self) -> SharedRing:
        """Keep the ring open until `drop`; only before `retire`."""
        with self._lock:
            self._users += 1
        return self

    def drop(self) -> None:
        """Undo one `take`."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._ring.close()

    retire = drop

    def view(self, ref: SlotRef, size_bytes: int) -> memoryview:
        """See `Ring.view`; between `take` and `drop`."""
        return self._ring.view(ref, size_bytes)

    def is_current(self, ref: SlotRef) -> bool:
        """See `Ring.is_current`; between `take` and `drop`."""
        return self._ring.is_current(ref)


class Rings:
    """Names to rings; belongs to one thread."""

    def __init__(self) -> None:
        """Start with none."""
        self._rings: dict[str, SharedRing] = {}

    def attach(self, name: str, fd: int) -> None:
        """Map the ring behind ``fd`` (owned from now on, not if this raises) in place of the one of that name.

        Raises:
            DataError: it is no ring.
        """
        ring = SharedRing(Ring.attach(fd, name=name))
        self.detach(name)
        self._rings[name] = ring

    def detach(self, name: str) -> None:
        """Forget the ring; frames of it that are in work are finished."""
        ring = self._rings.pop(name, None)
        if ring is not None:
            ring.retire()

    def take(self, name: str) -> SharedRing | None:
        """Return the ring, held for one frame, or ``None``."""
        ring = self._rings.get(name)
        return None if ring is None else ring.take()

    def close(self) -> None:
        """Forget all of them."""
        for name in list(self._rings):
            self.detach(name)
