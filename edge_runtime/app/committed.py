"""Hands results on once they are durable, to whoever acts on them at once, as a controller does that is told OK."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from edge_runtime.core.result import Result

_WAITING_MAX = 64  # per inspection; a hand-shake has one result open


class Committed:
    """Every method may be called from any thread; the receiver must be quick."""

    def __init__(self, is_durable: Callable[[], bool]) -> None:
        """``is_durable`` tells whether the disk takes what is put; while it does not, results are handed on at once."""
        self._is_durable = is_durable
        self._lock = threading.Lock()  # guards everything below
        self._waiting: dict[str, deque[Result]] = {}
        self._receiver: Callable[[Result], None] | None = None

    def listen(self, inspections: Collection[str], receiver: Callable[[Result], None] | None) -> None:
        """Hand results of ``inspections`` to ``receiver`` from now on; ``None``: to nobody."""
        with self._lock:
            self._receiver = receiver
            kept = {} if receiver is None else {name: self._waiting.get(name) for name in inspections}
            self._waiting = {name: found or deque(maxlen=_WAITING_MAX) for name, found in kept.items()}

    def put(self, result: Result) -> None:
        """Take a result that is about to be put into the spool."""
        with self._lock:
            waiting, receiver = self._waiting.get(result.inspection), self._receiver
        if waiting is None or receiver is None:
            return
        if self._is_durable():
            with self._lock:
                waiting.append(result)
        else:
            receiver(result)

    def committed(self, frames: Sequence[tuple[str, int]]) -> None:
        """Results of these (inspection, frame id) are on the disk."""
        with self._lock:
            receiver = self._receiver
            found = [result for name, frame_id in frames if (result := self._take(name, frame_id)) is not None]
        for result in found:
            if receiver is not None:
                receiver(result)

    def lost(self, frames: Sequence[tuple[str, int]]) -> None:
        """Results of these (inspection, frame id) will never be on the disk: nobody may act on what no record shows."""
        with self._lock:
            for name, frame_id in frames:
                self._take(name, frame_id)

    def _take(self, inspection: str, frame_id: int) -> Result | None:
        waiting = self._waiting.get(inspection)
        found = next((one for one in waiting or () if one.frame_id == frame_id), None)
        if waiting is not None and found is not None:
            waiting.remove(found)
        return found
