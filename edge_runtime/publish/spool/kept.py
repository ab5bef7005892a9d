"""What is acknowledged and kept for a while, because an acknowledgement is not durable at the broker either."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class _Parcel:
    mono_ns: int
    ids: tuple[int, ...]
    size: int


class Kept:
    """Ids of kept rows in the order of their acknowledgement, bounded by age and bytes."""

    def __init__(self, *, keep_ns: int, keep_bytes: int) -> None:
        """Keep rows for ``keep_ns``, and of them at most ``keep_bytes``."""
        self._keep_ns = keep_ns
        self._keep_bytes = keep_bytes
        self._parcels: deque[_Parcel] = deque()
        self.size = 0

    def add(self, mono_ns: int, rows: Sequence[tuple[int, int]]) -> None:
        """Keep rows, given as (id, bytes), that were acknowledged at ``mono_ns``."""
        size = sum(size for _, size in rows)
        self._parcels.append(_Parcel(mono_ns, tuple(row_id for row_id, _ in rows), size))
        self.size += size

    def expired(self, now_mono_ns: int) -> list[int]:
        """Return ids that are past their time or beyond the bytes; they stay until ``drop`` is called with them."""
        ids: list[int] = []
        excess = self.size - self._keep_bytes
        for parcel in self._parcels:
            if now_mono_ns - parcel.mono_ns < self._keep_ns and excess <= 0:
                break
            ids.extend(parcel.ids)
            excess -= parcel.size
        return ids

    def all(self) -> list[int]:
        """Return every id."""
        return [row_id for parcel in self._parcels for row_id in parcel.ids]

    def drop(self, count: int) -> None:
        """Forget the ``count`` oldest ids: those that ``expired`` or ``all`` returned."""
        while count > 0:
            parcel = self._parcels.popleft()
            self.size -= parcel.size
            count -= len(parcel.ids)
